"""One record for each request, refusal and failed handshake; complete, in order, and without anybody's secrets."""

from __future__ import annotations

import base64
import hashlib
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from support.client import TLS_1_2, TLS_1_3, Client, ask, context_for
from support.gateway import HOST, INSIDE, OUTSIDE, AccessLog, settings_for
from support.waiting import PATIENCE_SECONDS, until

from gateway.logs.record import KEYS

pytestmark = pytest.mark.e2e


def test_a_served_request_is_recorded_completely(gateway, mail, credentials, outside):
    with Client(gateway.port, source=outside, identity=credentials["alice"], version=TLS_1_3) as client:
        port = client.socket.getsockname()[1]
        fields = ["User-Agent: Phone/1.0", "Referer: https://mail.example.com/", "Content-Type: application/x"]
        answer = client.ask("POST", "/webmail?Cmd=Ping&DeviceId=ABC", *fields, body=b"12345")
    assert answer.status == 200
    (record,) = gateway.log.of_address(outside)

    assert tuple(record) == KEYS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record.pop("request_id") == mail.only().request_id
    assert 0 < record.pop("upstream_ms") <= record.pop("duration_ms") < 5000
    certificate = x509.load_pem_x509_certificate(credentials["alice"].certificate.read_bytes())
    assert int(record.pop("cert_serial"), 16) == certificate.serial_number
    assert record.pop("cert_fingerprint") == certificate.fingerprint(hashes.SHA256()).hex()
    assert record == {
        "client_ip": outside,
        "client_port": port,
        "listener": f"{INSIDE}:{gateway.port}",
        "site": HOST,
        "method": "POST",
        "host": HOST,
        "uri": "/webmail?Cmd=Ping&DeviceId=ABC",
        "protocol": "HTTP/1.1",
        "status": 200,
        "reason": None,
        "detail": None,
        "observed": None,
        "rule": "Webmail and ActiveSync from outside",
        "decision": "require_certificate",
        "bytes_in": 5,
        "bytes_out": len(answer.body),
        "login": "none",
        "user": None,
        "device_id": None,
        "upstream": mail.url,
        "upstream_status": 200,
        "tls_version": "TLSv1.3",
        "tls_cipher": record["tls_cipher"],
        "tls_group": record["tls_group"],
        "tls_resumed": False,
        "cert_subject": "emailAddress=alice@example.com,CN=alice,O=Example Ltd,C=DE",
        "cert_issuer": "CN=Example Root CA,O=Example Ltd,C=DE",
        "cert_email": "alice@example.com",
        "user_agent": "Phone/1.0",
        "referer": "https://mail.example.com/",
        "config": hashlib.sha256(gateway.config.read_bytes()).hexdigest()[:8],
    }
    assert record["tls_cipher"].startswith("TLS_")
    assert record["tls_group"]


def test_a_phone_is_recorded_with_its_user_and_device(gateway, credentials, outside):
    target = "/Microsoft-Server-ActiveSync?Cmd=Ping&User=alice&DeviceId=ABC123&DeviceType=phone"
    with Client(gateway.port, source=outside, identity=credentials["alice"]) as client:
        login = base64.b64encode(b"alice:secret").decode()
        assert client.ask("POST", target, f"Authorization: Basic {login}", body=b"x").status == 200
    (record,) = gateway.log.of_address(outside)
    assert (record["login"], record["user"], record["device_id"]) == ("basic", "alice", "ABC123")


def test_every_request_is_accounted_for_once(gateway, mail, credentials):
    """What the mail server got and what the client was refused: together that is the log, no more and no less."""
    before = Counter(record["request_id"] for record in gateway.log.records() if record["method"])
    refused = Counter()
    for source, identity in ((INSIDE, None), (OUTSIDE, credentials["alice"]), (OUTSIDE, None)):
        for target in ("/webmail", "/", "/webmail/admin", "/%00", "/webmail/x"):
            with Client(gateway.port, source=source, identity=identity) as client:
                for _ in range(3):
                    answer = client.ask("GET", target)
                    if answer.reason is not None:
                        refused[answer.get("X-Request-Id")] += 1
                    if answer.get("Connection") == "close":
                        break
    served = Counter(request.request_id for request in mail.received)
    assert served
    assert refused
    assert not served & refused

    def new():
        return Counter(record["request_id"] for record in gateway.log.records() if record["method"]) - before

    until(lambda: len(new()) >= len(served + refused), "all records are written")
    assert new() == served + refused


def test_secrets_stay_out_of_it(gateway, mail, credentials, outside):
    """Wherever a password or cookie stands in a request or answer, it is not in the log, nor in what stderr says."""
    secret = "hunter2-and-more"
    basic = base64.b64encode(f"alice:{secret}".encode()).decode()
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"x", b"Set-Cookie: " + secret.encode()))
    fields = [f"Authorization: Basic {basic}", f"Cookie: session={secret}", f"Proxy-Authorization: Basic {basic}"]
    with Client(gateway.port, source=outside, identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail", *fields).status == 200
        assert client.ask("GET", "/", *fields).status == 403
    with Client(gateway.port, source=outside) as client:
        assert client.ask("GET", "/webmail", *fields).status == 403
    with Client(gateway.port, source=outside) as client:
        client.send(f"GET /webmail HTTP/1.1\r\nAuthorization : Basic {basic}\r\n\r\n".encode())
        assert client.answer().status == 400
    gateway.log.of_address(outside, 4)
    for text in (gateway.log.path.read_text(), gateway.errors):
        assert secret not in text
        assert basic not in text


def test_hostile_text_stays_on_its_line(gateway, outside):
    with Client(gateway.port, source=outside) as client:
        client.ask("GET", "/webmail?\xe4\"\\'", 'User-Agent: \xff\xfe"}{\x80 \\u0000', "Referer: " + "x" * 9000)
    (record,) = gateway.log.of_address(outside)
    assert record["status"] == 403
    assert len(record["referer"]) < 9000


@pytest.mark.parametrize(
    "data", [b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\n\r\n", b"OPTIONS * HTTP/1.0\r\n\r\n"]
)
def test_plain_http_on_the_tls_port_is_answered_in_words_and_recorded(gateway, outside, data):
    with socket.create_connection(
        (INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0)
    ) as plain:
        plain.sendall(data)
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in answer
    (record,) = gateway.log.of_address(outside)
    assert (record["method"], record["tls_version"]) == (None, None)
    assert record["reason"]


def test_a_failed_handshake_is_recorded(gateway, outside):
    """A client without a cipher in common, and one that doesn't like our certificate."""
    context = context_for(None, None, TLS_1_2)
    context.set_ciphers("AES128-SHA")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(gateway.port, "/webmail", source=outside, context=context)
    suspicious = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    suspicious.maximum_version = TLS_1_2
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(gateway.port, "/webmail", source=outside, context=suspicious)
    for record in gateway.log.of_address(outside, 2):
        assert record["reason"].startswith("handshake_failed: ")
        assert (record["method"], record["status"], record["request_id"]) == (None, None, None)
        assert record["site"] in (None, HOST)


def test_the_combined_format_is_what_log_tools_expect(start, credentials, mail):
    settings = settings_for(credentials.site, mail.url, access_log={"path": "access.jsonl", "format": "combined"})
    gateway = start(settings)
    with Client(gateway.port) as client:
        client.ask("GET", "/webmail?a", 'User-Agent: "quoted" \\', "Referer: https://a/")
    pattern = r'127\.0\.0\.1 - - \[[^]]+\] "GET /webmail\?a HTTP/1\.1" 200 5 "https://a/" "\\"quoted\\" \\\\"\n'
    until(lambda: re.search(pattern, gateway.log.path.read_text()), "the combined line")
    gateway.log = AccessLog(gateway.folder / "there is none in JSON")


def logs(gateway, *arguments: str) -> list[list[str]]:
    """The columns of each line that `gateway logs` prints for this gateway's configuration."""
    command = [sys.executable, "-m", "gateway", "logs", "-c", str(gateway.config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.stderr == ""
    assert done.returncode == (0 if done.stdout else 1)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_the_number_on_a_refusal_page_finds_the_line(start, credentials, mail, outside):
    gateway = start(settings_for(credentials.site, mail.url))
    with Client(gateway.port, source=outside) as client:
        answer = client.ask("GET", "/webmail?secret", "Accept: text/html")
    number = re.search(r">([A-Z0-9]{4}-[A-Z0-9]{4})<", answer.body.decode())
    assert number is not None
    gateway.log.of_address(outside)
    (found,) = logs(gateway, "--request", number[1])
    assert found[1:5] == [outside, "403", "certificate_missing", "the client sent no certificate"]
    assert logs(gateway, "--ip", outside, "--denied", "--uri", "/webmail") == [found]
    assert logs(gateway, "--request", answer.get("X-Request-Id")) == [found]
    assert logs(gateway, "--ip", outside, "--status", "2xx") == []


def test_a_log_is_followed_through_a_rotation(start, credentials, mail, tmp_path, outside):
    gateway = start(settings_for(credentials.site, mail.url))
    shown = tmp_path / "shown"
    command = [sys.executable, "-m", "gateway", "logs", "-c", str(gateway.config), "--follow", "--ip", outside]

    def ask_for(target: str) -> None:
        with Client(gateway.port, source=outside) as client:
            client.ask("GET", target)

    ask_for("/before")
    gateway.log.of_address(outside)
    with shown.open("wb") as output, subprocess.Popen(command, stdout=output) as process:
        try:
            until(lambda: "/before" in shown.read_text(), "what was there is shown")
            ask_for("/first")
            until(lambda: "/first" in shown.read_text(), "what came is shown")
            gateway.log.path.rename(gateway.log.path.with_name("access.jsonl.1"))
            ask_for("/to-the-old-file")
            until(lambda: "/to-the-old-file" in shown.read_text(), "what the worker wrote before it was told is shown")
            gateway.signal(signal.SIGUSR1)
            until(gateway.log.path.exists, "the new file is there")
            ask_for("/second")
            until(lambda: "/second" in shown.read_text(), "what came after the rotation is shown")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
    targets = [line.split("\t")[-1] for line in shown.read_text().splitlines()]
    assert targets == ["/before", "/first", "/to-the-old-file", "/second"]
    assert [line[-1] for line in logs(gateway, "--ip", outside)] == targets
