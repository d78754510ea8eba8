"""Answers to clients that speak HTTP/2: logins of a connection are not offered, and a tunnel begins with a 101 only."""

import pytest
from support.dialogue import response
from support.http2_exchange import RequestStream, http2_request, switching

from gateway.facts import Reason
from gateway.http.events import Data, Head, Upgrade

OTHER = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of another key, from RFC 6455 1.3


def asked(world, *challenges, more=()):
    """The stream and its server, after a 401 with these fields."""
    stream = RequestStream(world, http2_request())
    server = world.accepts()
    lines = [f"WWW-Authenticate: {challenge}" for challenge in challenges]
    server.says(response("401 Unauthorized", *lines, *more))
    return stream, server


def offered(stream):
    fields = stream.events[0].fields
    return [fields[at + 2] for at in range(0, len(fields), 4) if fields[at].lower() == b"www-authenticate"]


@pytest.mark.parametrize(
    ("challenges", "remaining"),
    [
        (['NTLM, Basic realm="a, b"'], [b'Basic realm="a, b"']),
        (["Negotiate", "NTLM", 'Basic realm="x"'], [b'Basic realm="x"']),
        (['Basic realm="x", charset="UTF-8", negotiate'], [b'Basic realm="x", charset="UTF-8"']),
        (["Bearer, Negotiate, Digest qop=auth"], [b"Bearer, Digest qop=auth"]),
        (["Bearer", "NTLM , Basic realm=x"], [b"Bearer", b"Basic realm=x"]),
        (['Basic realm="x"'], [b'Basic realm="x"']),
    ],
)
def test_logins_of_a_connection_are_not_offered_beside_others(world, challenges, remaining):
    stream, _ = asked(world, *challenges, more=["X-A: 1"])
    assert offered(stream) == remaining
    assert b"X-A: 1\r\n" in b"".join(stream.events[0].fields)
    assert not stream.pins
    assert world.busy() == [(0, 1)]


@pytest.mark.parametrize(
    "challenges",
    [
        ["NTLM"],
        ["Negotiate, NTLM"],
        ["Negotiate", ", NTLM"],
        ['NTLM, Basic realm="x'],  # malformed: what a client reads in it is not known
        ["NTLM", 'Basic realm="x"y'],
        ["NTLM TlRMTVNTUAACAAAA, Basic realm=x"],  # a login is under way
        ['Basic realm="a, NTLM, b"'],  # some clients may not read the quotes
    ],
)
def test_a_login_of_a_connection_is_seen_where_no_other_is_certain(world, challenges):
    stream, _ = asked(world, *challenges)
    assert offered(stream) == [challenge.encode() for challenge in challenges]
    assert stream.pins


def test_a_server_that_keeps_its_connection_logged_in(world):
    stream, _ = asked(world, "NTLM", "Basic realm=x", more=["Persistent-Auth: true"])
    assert offered(stream) == [b"Basic realm=x"]
    assert stream.pins


@pytest.mark.parametrize("case", [str, str.upper, str.lower])
def test_a_websocket_begins_with_a_101(world, case):
    stream = RequestStream(world, http2_request("CONNECT", has_body=True, protocol=b"websocket"))
    server = world.accepts()
    head = server.hears()
    assert head.startswith(b"GET /webmail HTTP/1.1\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
    server.says(switching(head, "Sec-WebSocket-Protocol: chat", name=case("Sec-WebSocket-Accept")) + b"hello")
    upgrade, data = stream.events
    assert isinstance(upgrade, Upgrade)
    assert upgrade.fields[:4] == [b"Sec-WebSocket-Protocol", b": ", b"chat", b"\r\n"]
    assert b"sec-websocket-accept" not in {name.lower() for name in upgrade.fields[::4]}
    assert data == Data(b"hello")


@pytest.mark.parametrize(
    "answer",
    [
        response("200 OK"),
        response("204 No Content"),
        b"HTTP/1.1 299 Odd\r\n\r\n",
        response("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"),
        response(
            "101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Accept: {OTHER}"
        ),
        response("101 Switching Protocols", "Connection: Upgrade", "Upgrade: other"),
    ],
)
def test_no_other_answer_opens_a_tunnel(world, answer):
    stream = RequestStream(world, http2_request("CONNECT", has_body=True, protocol=b"websocket"))
    server = world.accepts()
    server.says(answer)
    assert stream.events == []
    assert stream.refused.reason == Reason.UPSTREAM_BAD_RESPONSE
    assert server.is_lost


def test_two_accepts_are_not_one(world):
    stream = RequestStream(world, http2_request("CONNECT", has_body=True, protocol=b"websocket"))
    server = world.accepts()
    head = server.hears()
    server.says(switching(head, "Sec-WebSocket-Accept: x"))
    assert stream.refused.reason == Reason.UPSTREAM_BAD_RESPONSE


@pytest.mark.parametrize("status", ["302 Found", "403 Forbidden", "426 Upgrade Required", "503 Service Unavailable"])
def test_a_server_may_refuse_a_websocket(world, status):
    stream = RequestStream(world, http2_request("CONNECT", has_body=True, protocol=b"websocket"))
    world.accepts().says(response(status, body=b"no"))
    head = stream.events[0]
    assert isinstance(head, Head)
    assert head.status == int(status[:3])
    assert stream.is_done


def test_other_requests_are_not_switched(world):
    stream = RequestStream(world, http2_request())
    server = world.accepts()
    server.says(switching(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n"))
    assert stream.refused.reason == Reason.UPSTREAM_BAD_RESPONSE
