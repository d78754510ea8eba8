"""WebSockets over HTTP/2 (RFC 8441): judged as the GET that the upstream gets, then two streams of bytes."""

import pytest
from h2.errors import ErrorCodes
from support.dialogue import HIGH_WATER_BYTES, OUTSIDE, header, response
from support.http2_exchange import switching

from gateway.config.model import Limits

FIRST_WINDOW = 65_535


def asks(client, path="/webmail", *fields, protocol="websocket"):
    """An extended CONNECT; the library wants pseudo-fields first."""
    return client.asks(path, "CONNECT", ends=False, fields=[(":protocol", protocol), *fields])


def opened(world, client):
    answer = asks(client, "/webmail/socket", ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat"))
    server = world.accepts()
    server.says(switching(server.hears(), "Sec-WebSocket-Protocol: chat"))
    client.reads()
    return answer, server


def test_a_websocket_is_opened_and_both_talk_to_each_other(world):
    client = world.http2_client()
    answer = asks(client, "/webmail/socket", ("sec-websocket-version", "13"), ("origin", "https://mail.example.com"))
    server = world.accepts()
    head = server.hears()
    assert head.startswith(b"GET /webmail/socket HTTP/1.1\r\nHost: mail.example.com\r\nsec-websocket-version: 13\r\n")
    assert header(head, "Upgrade") == "websocket"
    assert header(head, "Connection") == "Upgrade"
    assert header(head, "Transfer-Encoding") is None
    server.says(switching(head, "Sec-WebSocket-Protocol: chat") + b"first")
    client.reads()
    assert (answer.status, answer.body) == (200, b"first")
    assert answer.fields["sec-websocket-protocol"] == "chat"
    assert {"sec-websocket-accept", "upgrade", "connection", "content-length"}.isdisjoint(answer.fields)
    client.sends(answer, b"\x81\x02hi")
    assert server.hears() == b"\x81\x02hi"
    server.says(b"\x81\x03yes")
    client.reads()
    assert answer.body == b"first\x81\x03yes"
    client.resets(answer)
    assert server.is_lost
    record = world.record
    assert (record["method"], record["uri"], record["protocol"]) == ("GET", "/webmail/socket", "HTTP/2.0")
    assert (record["status"], record["bytes_in"], record["bytes_out"]) == (101, 4, 10)


def test_other_requests_go_on_beside_it(world):
    client = world.http2_client()
    socket, server = opened(world, client)
    other = client.asks()
    world.accepts().says(response(body=b"hi"))
    client.reads()
    assert (other.body, other.is_complete) == (b"hi", True)
    client.sends(socket, b"still here")
    assert server.hears() == b"still here"


def test_data_that_comes_before_the_101_is_not_lost(world):
    client = world.http2_client()
    answer = asks(client)
    server = world.accepts()
    head = server.hears()
    client.sends(answer, b"early")
    assert server.hears() == b""
    server.says(switching(head))
    assert server.hears() == b"early"


def test_the_client_may_close_its_direction_first(world):
    client = world.http2_client()
    answer, server = opened(world, client)
    client.sends(answer, b"bye", ends=True)
    assert server.hears() == b"bye"
    assert server.has_said_eof
    server.says(b"good")
    server.says(b"bye")
    server.closes()
    client.reads()
    assert (answer.body, answer.is_complete, answer.reset) == (b"goodbye", True, None)
    assert client.end.is_open


def test_the_server_may_close_its_direction_first(world):
    client = world.http2_client()
    answer, server = opened(world, client)
    server.says(b"bye")
    server.closes()
    client.reads()
    assert (answer.body, answer.is_complete) == (b"bye", True)
    client.ends(answer)
    assert server.is_lost
    assert world.record["bytes_out"] == 3
    assert client.asks().reset is None


def test_a_tunnel_that_breaks_off_is_reset(world):
    client = world.http2_client()
    answer, server = opened(world, client)
    server.says(b"part")
    server.goes(ConnectionResetError("reset"))
    client.reads()
    assert (answer.body, answer.is_complete) == (b"part", False)
    assert answer.reset == ErrorCodes.INTERNAL_ERROR
    assert client.end.is_open


def test_each_side_may_stop_the_other(world):
    client = world.http2_client(opens_windows=False)
    answer, server = opened(world, client)
    server.says(b"x" * 70_000)
    client.reads()
    assert server.is_paused
    client.connection.acknowledge_received_data(len(answer.body), client.stream_of(answer))
    client.flush()
    assert not server.is_paused
    assert len(answer.body) == 70_000
    server.is_slow = True
    stream_id, sent = client.stream_of(answer), 0
    while window := min(client.connection.local_flow_control_window(stream_id), 16_384):
        client.sends(answer, b"y" * window)
        sent += window
    assert HIGH_WATER_BYTES < sent <= 2 * 256 * 1024 + HIGH_WATER_BYTES
    server.reads()
    client.reads()
    assert client.connection.local_flow_control_window(stream_id) > 0
    assert server.hears() == b"y" * sent


def test_silence_ends_it(world):
    client = world.http2_client()
    answer, server = opened(world, client)
    seconds = server.protocol.pool.upstream.timeouts.response_seconds
    world.passes(seconds - 2)
    client.sends(answer, b"x")
    world.passes(seconds - 2)
    assert not server.is_lost
    world.passes(4)
    client.reads()
    assert server.is_lost
    assert answer.is_complete
    assert world.record["status"] == 101


@pytest.mark.parametrize("status", [401, 403, 426, 302, 500])
def test_a_server_may_decline(world, status):
    client = world.http2_client()
    answer = asks(client)
    world.accepts().says(response(f"{status} No", body=b"no"))
    client.reads()
    assert (answer.status, answer.body) == (status, b"no")
    world.passes(2)
    client.reads()
    assert client.end.is_open
    assert world.record["status"] == status


@pytest.mark.parametrize(
    "answer",
    [
        response("200 OK", body=b"a page"),
        response("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"),
        response("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: x"),
    ],
)
def test_a_server_that_does_not_know_websockets_opens_no_tunnel(world, answer):
    client = world.http2_client()
    asked = asks(client)
    world.accepts().says(answer)
    client.reads()
    assert asked.status == 502
    assert world.record["reason"] == "upstream_bad_response"


def test_it_is_judged_as_a_get(make_world):
    rules = [{"name": "read only", "methods": ["GET"], "uri": ["/webmail"], "action": "allow"}]
    world = make_world(rules=rules)
    client = world.http2_client(OUTSIDE)
    assert asks(client, "/secret").status == 403
    asks(client, "/webmail")
    assert world.accepts().hears().startswith(b"GET /webmail ")


def test_another_protocol_is_refused(world):
    client = world.http2_client()
    assert asks(client, protocol="connect-udp").status == 400
    assert not world.dials
    assert world.record["reason"] == "bad_request"


def test_a_reload_that_refuses_it_ends_it(world, files):
    client = world.http2_client()
    answer, server = opened(world, client)
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Nothing", "action": "deny"}]))
    client.reads()
    assert answer.reset == ErrorCodes.INTERNAL_ERROR
    assert server.is_lost
    assert world.record["reason"] == "denied_by_rule"


def test_a_window_that_never_opens_ends_it(world):
    client = world.http2_client(opens_windows=False)
    answer, server = opened(world, client)
    server.says(b"x" * 70_000)
    seconds = server.protocol.pool.upstream.timeouts.response_seconds
    world.passes(seconds + 2)
    assert server.is_lost
    world.passes(Limits().transfer_idle_seconds + 2)
    client.reads()
    assert (answer.is_complete, answer.reset) == (False, ErrorCodes.CANCEL)
    assert len(answer.body) == FIRST_WINDOW
