"""What the gateway says with every answer, its own and the mail server's: when it was, and under which number it is."""

from __future__ import annotations

import socket
import time
from email.utils import parsedate_to_datetime

import pytest
from support.client import Client, Stream
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e

PAST = "Sun, 06 Nov 1994 08:49:37 GMT"
SLACK_SECONDS = 30


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    settings = settings_for({**credentials.site, "hsts": "90d"}, mail.url)
    plain = {"address": f"{INSIDE}:{free_port()}", "redirect_to_https": True, "redirect_status": 302}
    settings["listen"].append(plain)
    return start(settings)


def check(gateway, answer) -> dict:
    """Its record; it has exactly one date, of now, and exactly one number."""
    date = parsedate_to_datetime(answer.get("Date"))
    assert abs(date.timestamp() - time.time()) < SLACK_SECONDS
    return gateway.log.of(answer.get("X-Request-Id"))


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        ("GET", b"200 OK", (b"Content-Length: 0",)),
        ("GET", b"200 OK", (b"Transfer-Encoding: chunked",)),
        ("HEAD", b"200 OK", (b"Content-Length: 5",)),
        ("GET", b"204 No Content", ()),
        ("GET", b"304 Not Modified", ()),
        ("GET", b"500 Internal Server Error", (b"Content-Length: 0", b"Connection: close")),
    ],
)
def test_an_answer_without_a_date_gets_one_and_each_has_its_number(gateway, mail, method, status, fields, wire):
    def answer(dialogue):
        end = b"0\r\n\r\n" if b"Transfer-Encoding: chunked" in fields else b""
        dialogue.send(b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", b""]) + end)

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        record = check(gateway, client.ask(method, "/webmail"))
    assert record["request_id"] == mail.only().request_id
    assert record["status"] == int(status[:3])


def test_the_mail_servers_own_date_passes(gateway, mail, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"", f"date: {PAST}".encode()))
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail").get("Date") == PAST


def test_a_switch_of_protocols_is_dated_and_numbered_too(gateway, mail, wire):
    def chat(dialogue):
        dialogue.switch()
        dialogue.close()

    mail.answer("/webmail/chat", chat)
    with wire.client(gateway.port) as client:
        exchange = client.open("/webmail/chat")
        answer = exchange.head()
        assert exchange.answer().body == b""
    assert answer.status == wire.switched
    assert check(gateway, answer)["status"] == 101


@pytest.mark.parametrize(
    ("target", "status"), [("/webmail/admin", 403), ("/%2e%2e%2f", 400), ("/webmail/" + "a" * 9000, 414)]
)
def test_refusals_are_dated_and_numbered(gateway, mail, target, status, wire):
    with wire.client(gateway.port) as client:
        answer = client.ask("GET", target)
    assert answer.status == check(gateway, answer)["status"] == status
    assert not mail.received


def test_what_is_no_request_is_refused_with_a_date_and_a_number(gateway):
    with Client(gateway.port, source=OUTSIDE) as client:
        client.send(b"nonsense\r\n\r\n")
        assert check(gateway, client.answer())["reason"] == "bad_request"


@pytest.mark.parametrize(("port", "status"), [("tls", 400), ("plain", 302)])
def test_plain_http_is_answered_with_a_date_and_a_number(gateway, port, status):
    tls, plain = gateway.ports
    with socket.create_connection((INSIDE, tls if port == "tls" else plain), timeout=PATIENCE_SECONDS) as client:
        client.sendall(f"GET /webmail HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = Stream(client).answer()
    assert answer.status == status
    check(gateway, answer)


@pytest.mark.parametrize(
    "lie", ["X-Request-Id", "x-request-id", "X_Request_Id", "X-Gateway-Reason", "x-gateway-reason", "X-Gateway-Other"]
)
def test_the_mail_server_does_not_speak_in_the_gateways_name(gateway, mail, lie, wire):
    def answer(dialogue):
        head = f"HTTP/1.1 403 Forbidden\r\n{lie}: denied_by_rule\r\nTransfer-Encoding: chunked\r\n\r\n"
        dialogue.send(f"{head}0\r\n{lie}: denied_by_rule\r\nX-Harmless: passes\r\n\r\n".encode())

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        answer = client.ask("GET", "/webmail")
    assert b"denied_by_rule" not in answer.raw_head
    assert [(name.lower(), value) for name, value in answer.trailers] == [("x-harmless", "passes")]
    assert check(gateway, answer)["reason"] is None


def test_strict_transport_security_is_the_sites_over_tls(gateway, mail, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"", b"Strict-Transport-Security: max-age=5"))
    for source, expected in ((INSIDE, 200), (OUTSIDE, 403)):
        with wire.client(gateway.port, source=source) as client:
            answer = client.ask("GET", "/webmail")
        assert (answer.status, answer.get("Strict-Transport-Security")) == (expected, "max-age=7776000")


@pytest.mark.parametrize(("host", "status"), [(HOST, 302), ("evil.example.com", 421)])
def test_plain_http_has_no_strict_transport_security_and_redirects_as_configured(gateway, host, status):
    with socket.create_connection((INSIDE, gateway.ports[1]), timeout=PATIENCE_SECONDS) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = Stream(plain).answer()
    assert (answer.status, answer.get("Strict-Transport-Security")) == (status, None)
