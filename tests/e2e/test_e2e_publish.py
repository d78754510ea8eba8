"""What authorities publish, asked for by openssl and curl, used by the gateway's own sites, and attacked."""

from __future__ import annotations

import base64
import os
import signal
import socket
from itertools import product
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509 import ocsp as codec
from sqlalchemy import update
from support import postgres
from support.client import Stream, ask
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.programs import run
from support.published import PublishedDesk, fresh_database, rows
from support.waiting import AT_ONCE_SECONDS, PATIENCE_SECONDS, until

from gateway import clock
from gateway.pki import crl as lists
from gateway.pki import pkcs8
from gateway.pki.registry.tables import AUTHORITIES

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

WELL_KNOWN = "/.well-known/gateway"
GOOD, REVOKED, UNKNOWN = (getattr(codec.OCSPCertStatus, name) for name in ("GOOD", "REVOKED", "UNKNOWN"))
POST = (
    b"POST /.well-known/gateway/ocsp HTTP/1.1\r\nHost: pki.example.com\r\n"
    b"Content-Type: application/ocsp-request\r\n%b\r\n\r\n"
)
SECRET = "not-for-the-process-list"
LONG_LIST_BYTES = 14 * 1024 * 1024
# More than the publisher takes connections, so many at a time, and no more from one address than it may have.
SLOW_CLIENTS, BATCH, OTHER_CLIENTS = 540, 10, 60
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 6)]
SLOW_CLIENT_BYTES = 160 * 1024  # of a worker's memory


@pytest.fixture(scope="module", autouse=True)
def _quick_keys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pkcs8, "SCRYPT_COST", 2**4)
        yield


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def desk(request, tmp_path_factory):
    """In each database; PostgreSQL's URL holds a password, though nobody asks for it."""
    folder = tmp_path_factory.mktemp("desk")
    if request.param == "sqlite":
        made = PublishedDesk(folder, free_port())
        yield made
        made.close()
        return
    with postgres.cluster() as url:
        made = PublishedDesk(folder, free_port(), fresh_database(url).replace("gateway@", f"gateway:{SECRET}@"))
        yield made
        made.close()


@pytest.fixture(scope="module")
def gateway(start, credentials, mail, desk):
    """A site whose users are judged by our own OCSP, one by our own list, and the listener that publishes both."""
    common = {**credentials.server, "client_ca": [str(desk.ca)], "upstream": "mail"}
    settings = settings_for(credentials.site, mail.url, pki=desk.settings, admin={"address": f"{INSIDE}:{free_port()}"})
    settings["sites"] += [
        {"hosts": ["ocsp.example.com"], **common, "ocsp": {"mode": "hard"}},
        {"hosts": ["list.example.com"], **common, "crl": [desk.list_url]},
    ]
    settings["listen"].append({"address": f"{INSIDE}:{desk.port}", "pki": True, "redirect_to_https": True})
    balanced = {"address": f"{INSIDE}:{free_port()}", "pki": True, "proxy_protocol_from": [f"{INSIDE}/32"]}
    settings["listen"].append(balanced)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNRELATED_PASSWORD", SECRET)
        started = start(settings)
    started.expected_errors += [
        r"the publisher \d+ ended \(signal SIGKILL\)",
        r"gateway\.warnings: list\.example\.com: no revocation list of 'CN=corp CA'",  # until it is fetched
    ]
    until(lambda: lists_of(started), "our own list was fetched", seconds=30)
    started.note_open_files()
    return started


def lists_of(gateway):
    return [record for record in gateway.log.records() if record["upstream"] == "pki" and record["status"] == 200]


@pytest.fixture(scope="module")
def alice(desk):
    return desk.issue("alice")


@pytest.fixture(scope="module")
def bob(desk):
    holder = desk.issue("bob")
    desk.revoke(holder)
    return holder


def status_of(der: bytes) -> codec.OCSPCertStatus:
    response = codec.load_der_ocsp_response(der)
    assert response.response_status is codec.OCSPResponseStatus.SUCCESSFUL
    return response.certificate_status


# openssl and curl


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("options", [(), ("-nonce",), ("-no_nonce",)])
def test_openssl_is_told_who_is_good_and_who_is_not(desk, alice, bob, options):
    assert ": good" in desk.openssl_ocsp("-cert", str(alice.identity.certificate), *options)
    text = desk.openssl_ocsp("-cert", str(bob.identity.certificate), *options)
    assert ": revoked" in text
    assert "Reason: keyCompromise" in text
    assert "0x1234: unknown" in desk.openssl_ocsp("-serial", "0x1234", *options)


@pytest.mark.usefixtures("gateway")
def test_openssl_sees_a_revocation_in_the_next_answer(desk):
    carol = desk.issue("carol")
    which = ("-cert", str(carol.identity.certificate), "-no_nonce")
    assert ": good" in desk.openssl_ocsp(*which)
    assert ": good" in desk.openssl_ocsp(*which)
    desk.revoke(carol)
    until(lambda: ": revoked" in desk.openssl_ocsp(*which), "the revocation is told", seconds=AT_ONCE_SECONDS)


@pytest.mark.parametrize("wanted", ["/", "+", "//", "=", "+/"])
@pytest.mark.parametrize("spell", [lambda text: text, lambda text: quote(text, safe="")])
def test_a_question_in_the_target_may_hold_every_character(gateway, desk, alice, wanted, spell):
    text, nonce = desk.question_with(alice.issued.certificate, wanted)
    answer, body = desk.curl(f"{WELL_KNOWN}/ocsp/{spell(text)}")
    assert (answer.status, answer.get("Content-Type")) == (200, "application/ocsp-response")
    assert answer.get("Cache-Control") == "no-store"
    assert answer.get("Date") is not None
    assert status_of(body) is GOOD
    response = codec.load_der_ocsp_response(body)
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["upstream"], record["upstream_status"], record["bytes_out"]) == ("pki", 200, len(body))
    assert (record["tls_version"], record["listener"]) == (None, f"{INSIDE}:{desk.port}")


@pytest.mark.usefixtures("gateway")
def test_an_answer_without_a_nonce_may_be_kept_for_minutes(desk, alice):
    text = base64.b64encode(desk.question(alice.issued.certificate)).decode()
    answer, body = desk.curl(f"{WELL_KNOWN}/ocsp/{quote(text, safe='')}")
    assert status_of(body) is GOOD
    assert answer.get("Cache-Control") == "max-age=300, public, no-transform, must-revalidate"
    again, same = desk.curl(f"{WELL_KNOWN}/ocsp/{text}", "-H", f"If-None-Match: {answer.get('ETag')}")
    assert (again.status, same) == (304, b"")


@pytest.mark.usefixtures("gateway")
def test_the_list_is_the_newest_and_openssl_verifies_it(desk, tmp_path):
    dave = desk.issue("dave")
    desk.revoke(dave)

    def fetched() -> bytes:
        answer, body = desk.curl(f"{WELL_KNOWN}/crl/corp.crl")
        assert (answer.status, answer.get("Content-Type")) == (200, "application/pkix-crl")
        serial = dave.issued.certificate.serial_number
        is_there = x509.load_der_x509_crl(body).get_revoked_certificate_by_serial_number(serial) is not None
        return body if is_there else b""

    path = tmp_path / "corp.crl"
    path.write_bytes(until(fetched, "the newest list is served", seconds=AT_ONCE_SECONDS))
    code, output = run("openssl", ["crl", "-inform", "DER", "-in", str(path), "-CAfile", str(desk.ca), "-noout"])
    assert (code, output) == (0, b"verify OK\n")
    answer, _ = desk.curl(f"{WELL_KNOWN}/crl/corp.crl")
    for condition in (f"If-None-Match: {answer.get('ETag')}", f"If-Modified-Since: {answer.get('Last-Modified')}"):
        unchanged, nothing = desk.curl(f"{WELL_KNOWN}/crl/corp.crl", "-H", condition)
        assert (unchanged.status, nothing) == (304, b"")
    head, nothing = desk.curl(f"{WELL_KNOWN}/crl/corp.crl", "--head")
    assert (head.status, head.get("Content-Length")) == (200, answer.get("Content-Length"))


@pytest.mark.usefixtures("gateway")
def test_the_authoritys_certificate_is_where_certificates_say(desk, alice):
    access = alice.issued.certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    urls = {entry.access_location.value for entry in access}
    assert urls == {desk.ocsp_url, desk.issuer_url}
    answer, body = desk.curl(desk.issuer_url.removeprefix(desk.base))
    assert answer.get("Content-Type") == "application/pkix-cert"
    assert x509.load_der_x509_certificate(body) == desk.corp.certificate


# our own sites


def verdict(gateway, host, holder):
    return ask(gateway.port, "/webmail", source=OUTSIDE, server_name=host, host=host, identity=holder.identity).verdict


def test_a_site_that_asks_our_own_responder_refuses_who_was_revoked(gateway, desk, alice, bob):
    assert verdict(gateway, "ocsp.example.com", alice) == (200, None)
    assert verdict(gateway, "ocsp.example.com", bob) == (403, "certificate_revoked")
    erin = desk.issue("erin")
    desk.revoke(erin)
    assert verdict(gateway, "ocsp.example.com", erin) == (403, "certificate_revoked")


def test_a_site_that_fetches_our_own_list_refuses_who_was_revoked(gateway, desk, alice):
    frank = desk.issue("frank")
    until(lambda: verdict(gateway, "list.example.com", alice) == (200, None), "the list was fetched", seconds=30)
    assert verdict(gateway, "list.example.com", frank) == (200, None)
    desk.revoke(frank)
    gateway.signal(signal.SIGHUP)
    until(lambda: verdict(gateway, "list.example.com", frank) == (403, "certificate_revoked"), "it is fetched again")
    assert verdict(gateway, "list.example.com", alice) == (200, None)


# what nobody should ask


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (f"{WELL_KNOWN}/crl/../corp/corp.key", (404, "not_found")),
        (f"{WELL_KNOWN}/crl/%2e%2e/%2e%2e/etc/passwd", (404, "not_found")),
        (f"{WELL_KNOWN}/crl/..%2fcorp.crl", (404, "not_found")),
        (f"{WELL_KNOWN}/crl/corp.key", (404, "not_found")),
        (f"{WELL_KNOWN}/ca/corp.ocsp.crt", (404, "not_found")),
        (f"{WELL_KNOWN}/ca/corp%00.crt", (404, "not_found")),
        (f"{WELL_KNOWN}/crl/nobody.crl", (404, "not_found")),
        (f"{WELL_KNOWN}/crl/corp.crl?x", (404, "not_found")),
        (f"{WELL_KNOWN}/", (404, "not_found")),
        (f"{WELL_KNOWN}/ocsp", (405, "method_not_allowed")),
        (f"{WELL_KNOWN}/ocsp/MAA", (400, "bad_request")),
        (f"{WELL_KNOWN}/ocsp/%2e%2e%2fcrl", (400, "bad_request")),
        (f"{WELL_KNOWN}/ocsp/" + "A" * 8300, (414, "uri_too_long")),
        ("/.well-known/gateway/%ff", (404, "not_found")),
        ("/%2ewell-known/gateway/crl/corp.key", (308, None)),
        ("/.well-known/../etc/passwd", (308, None)),
        ("/\\etc", (400, "uri_rejected")),
    ],
)
def test_nothing_else_is_there(gateway, desk, target, verdict):
    answer = desk.raw(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert answer.verdict == verdict
    assert answer.get("Date") is not None
    assert b"PRIVATE KEY" not in answer.body
    assert gateway.log.of(answer.get("X-Request-Id"))["status"] == verdict[0]


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(
    ("pieces", "verdict"),
    [
        ((POST % b"Content-Length: 8193",), (413, "body_too_large")),
        ((POST % b"Content-Length: 99999999999", b"x" * 100_000), (413, "body_too_large")),
        ((POST % b"Transfer-Encoding: chunked", b"4000\r\n" + b"x" * 0x4000), (413, "body_too_large")),
        ((POST % b"Transfer-Encoding: chunked", b"nonsense\r\n"), (400, "bad_request")),
        ((POST % b"Transfer-Encoding: gzip, chunked",), (400, "bad_request")),
        ((POST % b"Content-Length: 3\r\nTransfer-Encoding: chunked",), (400, "bad_request")),
        ((POST % b"Content-Length: 3\r\nContent-Length: 4",), (400, "bad_request")),
        ((POST.replace(b"ocsp-request", b"x-www-form-urlencoded") % b"Content-Length: 0",), (400, "bad_request")),
        ((b"PUT /.well-known/gateway/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n",), (405, "method_not_allowed")),
        ((b"TRACE /.well-known/gateway/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n",), (400, "bad_request")),
        ((b"GET /.well-known/gateway/crl/corp.crl HTTP/1.1\r\n\r\n",), (400, "bad_request")),
        ((b"GET /webmail HTTP/1.1\r\nHost: elsewhere.example.com\r\n\r\n",), (421, "host_mismatch")),
        ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",), (400, "bad_request")),
    ],
)
def test_what_is_no_question_is_refused_with_a_reason(desk, pieces, verdict):
    assert desk.raw(*pieces).verdict == verdict


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("noise", [b"", b"x", b"0\x82\xff\xff" + b"\x00" * 50, b"0" * 8192, Random(1).randbytes(500)])
def test_noise_is_malformed_and_costs_no_signature(desk, noise):
    answer = desk.raw(POST % b"Content-Length: %d" % len(noise), noise, method="POST")
    assert (answer.status, answer.get("Cache-Control")) == (200, "no-store")
    assert answer.body == b"0\x03\x0a\x01\x01"  # malformedRequest, not signed


@pytest.mark.usefixtures("gateway")
def test_a_chunked_question_is_answered(desk, alice):
    der = desk.question(alice.issued.certificate)
    pieces = [b"%x\r\n%b\r\n" % (len(der[at : at + 7]), der[at : at + 7]) for at in range(0, len(der), 7)]
    answer = desk.raw(POST % b"Transfer-Encoding: chunked", *pieces, b"0\r\n\r\n", method="POST")
    assert status_of(answer.body) is GOOD


def test_behind_a_balancer_the_client_is_who_it_says(gateway):
    head = f"GET {WELL_KNOWN}/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection((INSIDE, gateway.ports[2]), timeout=PATIENCE_SECONDS) as plain:
        plain.sendall(f"PROXY TCP4 203.0.113.7 192.0.2.1 50000 80\r\n{head}".encode())
        answer = Stream(plain).answer()
    assert answer.status == 200
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["client_ip"], record["client_port"], record["upstream"]) == ("203.0.113.7", 50000, "pki")


def test_one_connection_has_one_answer(gateway, desk):
    head = f"GET {WELL_KNOWN}/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with socket.create_connection((INSIDE, desk.port), timeout=PATIENCE_SECONDS) as plain:
        plain.sendall(head + head + head)
        stream = Stream(plain)
        answer = stream.answer()
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert not stream.read_all()
    assert gateway.log.of(answer.get("X-Request-Id"))["bytes_out"] == len(answer.body)


def test_a_client_that_sends_byte_by_byte_holds_nobody_up(gateway, desk, alice):
    slow = socket.create_connection((INSIDE, desk.port), timeout=PATIENCE_SECONDS)
    with slow:
        slow.sendall(POST % b"Content-Length: 100" + b"0")
        assert ": good" in desk.openssl_ocsp("-cert", str(alice.identity.certificate))

    def is_logged():
        return [each for each in gateway.log.records() if (each["status"], each["method"]) == (None, "POST")]

    assert len(until(is_logged, "what it began is written down")) == 1


# a list of megabytes, and clients that do not read it


def test_hundreds_of_slow_clients_of_a_long_list_hold_nobody_up_and_share_one_copy(gateway, desk, alice):
    """More than the publisher takes connections; beside them clients that say nothing, or half."""
    which = ("-cert", str(alice.identity.certificate), "-no_nonce")
    body = os.urandom(LONG_LIST_BYTES)
    with desk.desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).values(crl_der=body, crl_number=AUTHORITIES.c.crl_number + 1))
    head = f"GET {WELL_KNOWN}/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    clients = []
    try:
        assert desk.curl(f"{WELL_KNOWN}/crl/corp.crl")[1] == body
        before = gateway.resident_bytes()
        for number in range(OTHER_CLIENTS):
            clients.append(slow_client(desk.port, ADDRESSES[number % len(ADDRESSES)]))
            clients[-1].sendall((head[:-2], b"", POST % b"Content-Length: 100")[number % 3])
        for batch in range(0, SLOW_CLIENTS, BATCH):
            asking = [
                slow_client(desk.port, ADDRESSES[number % len(ADDRESSES)]) for number in range(batch, batch + BATCH)
            ]
            clients += asking
            for client in asking:
                client.sendall(head)
            assert [client.recv(12) for client in asking] == [b"HTTP/1.1 200"] * BATCH
        assert ": good" in desk.openssl_ocsp(*which)
        assert desk.curl(f"{WELL_KNOWN}/crl/corp.crl")[1] == body
        grown = gateway.resident_bytes() - before
        assert grown < 2 * gateway.settings["workers"] * LONG_LIST_BYTES + SLOW_CLIENTS * SLOW_CLIENT_BYTES
        assert ": good" in desk.openssl_ocsp(*which)
    finally:
        for client in clients:
            client.close()
        lists.renew(desk.desk, desk.corp, clock.now())
    gateway.check_open_files()


def slow_client(port: int, address: str) -> socket.socket:
    """Its kernel takes a few KiB of an answer, and the rest stays the gateway's."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_SECONDS)
    client.bind((address, 0))
    client.connect((INSIDE, port))
    return client


# the process


def publisher_of(gateway) -> int:
    (pid,) = until(lambda: gateway.helpers("gateway-publish"), "the publisher runs")
    return pid


def test_a_publisher_that_is_killed_comes_back(gateway, desk, alice):
    before = publisher_of(gateway)
    os.kill(before, signal.SIGKILL)
    until(lambda: desk.curl(f"{WELL_KNOWN}/crl/corp.crl")[0].status == 200, "the next one serves")
    assert ": good" in desk.openssl_ocsp("-cert", str(alice.identity.certificate), "-timeout", "15")
    after = publisher_of(gateway)
    assert after != before
    code, output = run("curl", ["-s", f"http://{gateway.settings['admin']['address']}/status"])
    assert code == 0, output


def test_while_it_does_not_answer_there_is_a_reason(gateway, desk):
    pid = publisher_of(gateway)
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = desk.raw(f"GET {WELL_KNOWN}/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.verdict == (503, "no_healthy_upstream")
        record = gateway.log.of(answer.get("X-Request-Id"))
        assert (record["upstream"], record["upstream_status"]) == ("pki", None)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert desk.curl(f"{WELL_KNOWN}/crl/corp.crl")[0].status == 200


def test_no_password_is_in_a_process_list_or_an_environment(gateway):
    assert publisher_of(gateway)
    assert SECRET in os.fsdecode(Path(f"/proc/{gateway.process.pid}/environ").read_bytes())
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    assert len(children) >= 4  # a worker, the fetcher, the publisher, the admin process
    for pid, name in product(children, ("cmdline", "environ")):
        assert not [entry for entry in rows(f"/proc/{pid}/{name}") if SECRET in entry or "sqlite" in entry]


def test_nobody_else_can_connect_to_its_socket(gateway):
    assert publisher_of(gateway)
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()]
    paths = [Path(name) for name in names if name.endswith("/publisher")]
    assert paths
    for path in paths:
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_log_names_no_secret(gateway):
    assert SECRET not in gateway.errors
