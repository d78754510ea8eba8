"""Clients that hold their body back until they hear a 100 (RFC 9110 10.1.1)."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, get, header, request, response, status

from gateway.config.model import Limits
from gateway.proxy.exchange.exchange import CONTINUE_SECONDS

IDLE_SECONDS = Limits().transfer_idle_seconds
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
WAITS = request("POST", "/webmail", "Content-Length: 5", "Expect: 100-continue")


def waiting(world):
    """A client that waits for its 100, and the server that knows it."""
    client = world.client()
    client.says(WAITS)
    server = world.accepts()
    assert header(server.hears(), "Expect") == "100-continue"
    return client, server


def finishes(world, client, server):
    """The body is sent and answered, and both connections go on."""
    client.says(b"hello")
    assert server.hears() == b"hello"
    server.says(response(body=b"thanks"))
    assert client.hears().endswith(b"thanks")
    assert client.is_open
    assert world.busy() == [(0, 1)]
    assert (world.record["status"], world.record["bytes_in"]) == (200, 5)


def test_the_servers_own_100_is_the_only_one(world):
    client, server = waiting(world)
    server.says(CONTINUE)
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == CONTINUE
    finishes(world, client, server)


def test_a_server_that_says_nothing_is_spoken_for_once(world):
    client, server = waiting(world)
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == CONTINUE
    server.says(CONTINUE)  # it was only slow
    assert client.hears() == b""
    finishes(world, client, server)


def test_after_our_100_the_body_must_come_as_any_other(world):
    client, _ = waiting(world)
    world.passes(CONTINUE_SECONDS + 1)
    assert client.hears() == CONTINUE
    world.passes(IDLE_SECONDS - 2)
    assert world.log == []
    world.passes(4)
    assert header(client.hears(), "X-Gateway-Reason") == "request_timeout"


def test_after_the_servers_100_too(world):
    client, server = waiting(world)
    server.says(CONTINUE)
    world.passes(IDLE_SECONDS - 2)
    assert world.log == []
    world.passes(4)
    assert client.hears().startswith(CONTINUE + b"HTTP/1.1 408 ")


def test_who_does_not_wait_is_told_nothing(world):
    client, server = waiting(world)
    client.says(b"hel")
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == b""
    client.says(b"lo")
    assert server.hears() == b"hello"
    server.says(response(body=b"thanks"))
    assert client.hears().endswith(b"thanks")
    assert client.is_open


def test_a_body_that_came_with_the_head_is_not_waited_for(world):
    client = world.client()
    client.says(WAITS + b"hello")
    server = world.accepts()
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == b""
    server.says(response(body=b"thanks"))
    assert client.is_open


def test_a_body_that_ends_the_exchange_at_once_leaves_nothing_to_wait_for(make_world):
    world = make_world(limits={"body": 3})
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked", "Expect: 100-continue"))
    client.says(b"5\r\nhello\r\n")
    world.accepts()
    assert status(client.hears()) == 413


def test_a_server_that_speaks_http_1_0_is_not_waited_for(world):
    first = world.client()
    first.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    server.hears()
    world.log.clear()
    client = world.client()
    client.says(WAITS)
    server.hears()
    assert client.hears() == CONTINUE
    client.says(b"hello")
    server.says(response(body=b"thanks"))  # it speaks HTTP/1.1 from now on
    assert client.hears().endswith(b"thanks")
    client.says(WAITS)
    assert client.hears() == b""


@pytest.mark.parametrize("answer", [response("401 Unauthorized", "WWW-Authenticate: Basic"), response("413 No")])
def test_a_final_answer_in_its_place_ends_the_connection(world, answer):
    """Whether the body or the next request comes now can't be told."""
    client, server = waiting(world)
    server.says(answer)
    heard = client.hears()
    assert header(heard, "Connection") == "close"
    assert not client.is_open
    client.says(get("/webmail/next"))
    assert world.dials == []
    assert len(world.log) == 1
    assert server.is_lost


def test_a_login_that_belongs_to_the_connection_goes_on_with_the_body(world):
    """.NET sends it where a session's challenge is the answer, to keep the connection."""
    client, server = waiting(world)
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM"))
    assert status(client.hears()) == 401
    assert client.is_open


def test_an_early_hint_is_no_100(world):
    client, server = waiting(world)
    server.says(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == b"HTTP/1.1 103 Early Hints\r\n\r\n" + CONTINUE
    finishes(world, client, server)


def test_without_a_body_there_is_nothing_to_wait_for(world):
    client = world.client()
    client.says(get("/webmail", "Expect: 100-continue"))
    server = world.accepts()
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == b""
    server.says(response())
    assert client.is_open


def test_the_wait_for_a_100_begins_anew_when_a_slow_server_has_read_the_head(make_world):
    """It could not answer before. The client waits no longer than with a server that is quick."""
    world = make_world(limits={"header_bytes": 2 * HIGH_WATER_BYTES})
    client = world.client()
    client.says(
        request("POST", "/webmail", "Content-Length: 5", "Expect: 100-continue", f"X: {'x' * HIGH_WATER_BYTES}")
    )
    server = world.accepts(is_slow=True)
    world.passes(CONTINUE_SECONDS / 2)
    server.reads()
    server.hears()
    world.passes(CONTINUE_SECONDS + 5)
    assert client.hears() == CONTINUE
    finishes(world, client, server)
