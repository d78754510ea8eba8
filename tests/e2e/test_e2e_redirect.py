"""The plain listener answers 308 to the same address over https, for the sites' own hosts, and nothing else."""

from __future__ import annotations

import socket
import ssl

import pytest
from support.client import Client, Stream
from support.gateway import HOST, INSIDE, free_port, settings_for
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    settings = settings_for({**credentials.site, "hosts": [HOST, f"*.{HOST}"]}, mail.url)
    settings["listen"].append({"address": f"{INSIDE}:{free_port()}", "redirect_to_https": True})
    return start(settings)


def ask(gateway, head: bytes, method="GET", source=INSIDE):
    with socket.create_connection(
        (INSIDE, gateway.ports[1]), timeout=PATIENCE_SECONDS, source_address=(source, 0)
    ) as plain:
        plain.sendall(head)
        stream = Stream(plain)
        answer = stream.answer(method)
        assert not stream.read_all()
    assert answer.get("Connection") == "close"
    return answer


@pytest.mark.parametrize(
    ("target", "host", "location"),
    [
        (b"/", HOST, f"https://{HOST}/"),
        (b"/webmail?a=b&c", HOST, f"https://{HOST}/webmail?a=b&c"),
        (b"/x/../%77ebmail", HOST.upper(), f"https://{HOST}/webmail"),
        (b"/webmail", f"{HOST}:80", f"https://{HOST}/webmail"),
        (b"/webmail", f"a.{HOST}.", f"https://a.{HOST}/webmail"),
        (b"//evil.example.com/x", HOST, f"https://{HOST}/evil.example.com/x"),
        (b"http://mail.example.com/webmail", HOST, f"https://{HOST}/webmail"),
        (b"/\xc3\xa9", HOST, f"https://{HOST}/%C3%A9"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_it_leads_to_the_same_address_over_https(gateway, mail, target, host, location, method):
    answer = ask(gateway, b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method.encode(), target, host.encode()), method)
    assert (answer.status, answer.get("Location"), answer.body) == (308, location, b"")
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["status"], record["method"], record["tls_version"]) == (308, method, None)
    assert not mail.received


@pytest.mark.parametrize("host", ["evil.example.com", "example.com", f"{HOST}.evil.example.com", f"a.b.{HOST}", INSIDE])
def test_a_foreign_host_leads_nowhere(gateway, host):
    answer = ask(gateway, f"GET /webmail HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.verdict == (421, "host_mismatch")
    assert answer.get("Location") is None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /webmail HTTP/1.1\r\n\r\n", 400),
        (b"GET /webmail HTTP/1.1\r\nHost: \r\n\r\n", 400),
        (b"GET /webmail HTTP/1.1\r\nHost: mail.example.com/x\r\n\r\n", 400),
        (b"GET /webmail HTTP/1.1\r\nHost: user@mail.example.com\r\n\r\n", 400),
        (b"GET /webmail%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: mail.example.com\r\n\r\n", 400),
        (b"GET /\\evil.example.com HTTP/1.1\r\nHost: mail.example.com\r\n\r\n", 400),
        (b"GET http://evil.example.com/ HTTP/1.1\r\nHost: mail.example.com\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: mail.example.com\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: mail.example.com\r\nX-A: " + b"a" * 33_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_for_a_site_is_refused(gateway, head, status):
    answer = ask(gateway, head)
    assert answer.status == status
    assert answer.get("Location") is None


def test_it_speaks_no_tls(gateway):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(gateway.ports[1])
