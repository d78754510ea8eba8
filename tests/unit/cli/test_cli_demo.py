"""The demo's parts against real sockets, files and processes; the whole of it, gateway included, is run in e2e/."""

from __future__ import annotations

import http.client
import json
import shlex
import signal
import stat
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.cli import app, demo_folder, demo_mail, demo_report, demo_run
from gateway.cli.demo_certificates import VALID_DAYS, Authority
from gateway.cli.demo_report import Result, print_how_to_go_on
from gateway.cli.demo_requests import ATTEMPTS, Answer, Place, ask, curl_line
from gateway.errors import OperationError, UsageError

# A gateway as bad as a test needs it: TLS on the demo's port, one canned answer for everything.
FAKE_GATEWAY = """
import http.server, re, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        {header}
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_OPTIONS = do_GET
port = int(re.search(r'127.0.0.1:([0-9]+)"', open("config.yaml").read())[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.daemon_threads = False
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server-key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("up", flush=True)
{last}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return demo_folder.prepare(tmp_path, mail_port=1)


def _fake(
    *, status: int = 200, header: str = "pass", last: str = "server.serve_forever()", ignores_sigterm: bool = False
) -> list[str]:
    script = FAKE_GATEWAY.format(status=status, header=header, last=last)
    if ignores_sigterm:
        script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + script
    return [sys.executable, "-c", script]


def _use(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = demo_run.gateway_running
    monkeypatch.setattr(demo_run, "gateway_running", lambda _, place: real(command, place))


def test_the_sample_mail_server_answers_webmail_activesync_options_and_ping():
    with demo_mail.running() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/webmail", headers={"X-Client-Email": "<alice>@example.com"})
        page = connection.getresponse()
        assert page.status == 200
        text = page.read().decode()
        assert "&lt;alice&gt;@example.com" in text
        assert "<alice>" not in text
        connection.request("OPTIONS", "/microsoft-server-ACTIVESYNC?x=1")
        options = connection.getresponse()
        assert (options.status, options.read()) == (200, b"")
        assert options.headers["MS-ASProtocolVersions"] == "14.0,14.1,16.0,16.1"
        connection.request("POST", "/Microsoft-Server-ActiveSync?Cmd=Ping&User=alice&DeviceId=d", body=b"\x03\x01")
        ping = connection.getresponse()
        assert (ping.status, ping.read()) == (200, demo_mail.PING_ANSWER)
        assert ping.headers["Content-Type"] == demo_mail.WBXML_TYPE
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("OPTIONS", "/webmail", b"", 405),
        ("POST", "/webmail?Cmd=Ping", b"", 501),
        ("POST", "/Microsoft-Server-ActiveSync?Cmd=Sync", b"", 501),
        ("POST", "/Microsoft-Server-ActiveSync?Cmd=Ping&Cmd=Sync", b"", 501),
        ("POST", "/Microsoft-Server-ActiveSync?Cmd=Ping", b"x" * demo_mail.MAX_BODY_BYTES, 200),
        ("POST", "/Microsoft-Server-ActiveSync?Cmd=Ping", b"x" * (demo_mail.MAX_BODY_BYTES + 1), 413),
    ],
)
def test_the_sample_mail_server_refuses_what_it_does_not_know(method: str, path: str, body: bytes, status: int):
    with demo_mail.running() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request(method, path, body=body)
        assert connection.getresponse().status == status
        connection.close()


def test_certificates_are_for_their_purpose_and_end_soon(place: Place):
    server = x509.load_pem_x509_certificate((place.folder / "server.pem").read_bytes())
    alice = x509.load_pem_x509_certificate(place.pem("alice")[0].read_bytes())
    ca = x509.load_pem_x509_certificate(place.ca.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "mail.example.com" in names.get_values_for_type(x509.DNSName)
    usage = alice.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    for certificate in (server, alice):
        certificate.verify_directly_issued_by(ca)
        assert certificate.not_valid_after_utc <= clock.now() + timedelta(days=VALID_DAYS)
    stranger = x509.load_pem_x509_certificate(place.pem("stranger")[0].read_bytes())
    with pytest.raises(ValueError, match="Issuer"):
        stranger.verify_directly_issued_by(ca)


def test_the_p12_opens_with_the_printed_password_only_and_holds_the_chain(place: Place):
    data = place.p12("alice").read_bytes()
    key, certificate, chain = pkcs12.load_key_and_certificates(data, place.password.encode())
    assert key is not None
    assert certificate is not None
    assert certificate.public_key() == key.public_key()
    assert [authority.subject.rfc4514_string() for authority in chain] == ["CN=Demo CA,O=Example Ltd"]
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_key_and_certificates(data, b"wrong")


def test_private_files_are_the_owners_alone(place: Place):
    for file in (*place.folder.glob("*-key.pem"), *place.folder.glob("*.p12")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_authority_signs_no_authorities():
    authority = Authority.create("Test CA")
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_each_demo_has_a_password_of_its_own(tmp_path: Path):
    passwords = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        passwords.add(demo_folder.prepare(tmp_path / name, mail_port=1).password)
    assert len(passwords) == 2
    assert all(len(password) >= demo_folder.PASSWORD_BYTES * 4 // 3 for password in passwords)


def test_an_outside_address_that_this_machine_lacks_is_explained():
    with pytest.raises(OperationError, match=r"192\.0\.2\.1 is not an address of this machine") as failed:
        demo_folder.free_addresses("192.0.2.1")
    assert "alias 192.0.2.1" in failed.value.remedy


def test_a_kept_folder_must_be_new_or_empty_and_stays(tmp_path: Path):
    new = tmp_path / "a" / "b"
    with demo_folder.folder_for(new) as folder:
        (folder / "x").touch()
    assert (new / "x").exists()
    with pytest.raises(UsageError, match="not empty"), demo_folder.folder_for(new):
        pass
    with pytest.raises(UsageError, match=r"Not a directory|File exists"), demo_folder.folder_for(new / "x"):
        pass


def test_a_folder_that_is_not_kept_goes():
    with demo_folder.folder_for(None) as folder:
        (folder / "x").touch()
    assert not folder.exists()


def test_curl_lines_ask_what_the_demo_asked(place: Place):
    words = shlex.split(curl_line(ATTEMPTS[3], place))
    assert words[words.index("--interface") + 1] == "127.0.0.2"
    assert words[words.index("--resolve") + 1] == f"mail.example.com:{place.port}:127.0.0.1"
    assert words[words.index("--cert") + 1] == f"{place.folder}/alice.p12:{place.password}"
    assert words[words.index("--request") + 1] == "OPTIONS"
    assert words[-1] == f"https://mail.example.com:{place.port}/Microsoft-Server-ActiveSync"
    assert "--cert" not in shlex.split(curl_line(ATTEMPTS[1], place))


def test_an_answer_is_read_with_its_reason_and_shown(place: Place):
    command = _fake(status=403, header='self.send_header("X-Gateway-Reason", "certificate_missing")')
    with demo_run.gateway_running(command, place):
        answer = ask(ATTEMPTS[1], place)
    assert answer == ATTEMPTS[1].expected
    assert str(answer) == "403 certificate_missing"


def test_no_answer_is_an_error_that_names_the_request_and_the_log(place: Place):
    with pytest.raises(OperationError, match=r"Webmail from inside.*no answer") as failed:
        ask(ATTEMPTS[0], place)
    assert str(place.log) in failed.value.remedy


def test_a_gateway_that_ends_at_once_is_an_error_with_its_own_words(place: Place):
    command = [sys.executable, "-c", "import sys; print('no such certificate'); sys.exit(2)"]
    with (
        pytest.raises(OperationError, match="ended with exit code 2: no such certificate"),
        demo_run.gateway_running(command, place),
    ):
        pass


def test_a_gateway_that_never_answers_is_an_error_and_is_stopped(place: Place):
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with (
        pytest.raises(OperationError, match="does not answer: its log is empty"),
        demo_run.gateway_running(command, place, ready_seconds=0.2),
    ):
        pass


def test_a_gateway_that_does_not_stop_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo_run, "STOP_SECONDS", 0.1)
    with demo_run.gateway_running(_fake(ignores_sigterm=True), place) as gateway:
        pass
    assert gateway.returncode == -signal.SIGKILL


def test_the_demo_fails_when_an_answer_is_not_the_one_it_should_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    _use(_fake(status=200), monkeypatch)
    assert app.run(["demo", "--json", "--keep", str(tmp_path / "kept")]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [row["right"] for row in shown] == [True, False, True, True, False, False]
    assert (shown[1]["expected"], shown[1]["actual"]) == ("403 certificate_missing", "200")
    assert (tmp_path / "kept" / "alice.p12").exists()


def test_the_table_says_which_answers_are_wrong(capsys: pytest.CaptureFixture[str]):
    results = [Result(ATTEMPTS[0], Answer(200)), Result(ATTEMPTS[1], Answer(200))]
    demo_report.print_table(results)
    shown = capsys.readouterr().out
    assert shown.count("right") == 1
    assert shown.count("WRONG") == 1


def test_the_demo_goes_on_until_it_is_ended_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def ended_from_outside(place: Place, *, has_ipv6: bool) -> None:
        print_how_to_go_on(place, has_ipv6=has_ipv6)
        signal.raise_signal(signal.SIGTERM)

    _use(_fake(), monkeypatch)
    monkeypatch.setattr(demo_run, "print_how_to_go_on", ended_from_outside)
    before = signal.getsignal(signal.SIGTERM)
    assert demo_run.run(is_once=False, keep=None, as_json=False) is False
    shown = capsys.readouterr().out
    assert shown.count("curl -i") == len(ATTEMPTS)
    assert "alice.p12" in shown
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_gateway_that_ends_while_the_demo_goes_on_is_an_error(monkeypatch: pytest.MonkeyPatch):
    last = f"[server.handle_request() for _ in range({len(ATTEMPTS) + 1})]; server.server_close()"
    _use(_fake(last=last), monkeypatch)
    with pytest.raises(OperationError, match="ended with exit code 0"):
        demo_run.run(is_once=False, keep=None, as_json=False)
