"""Connections that belong to one client: logins that a connection has, and upstreams with one connection a client."""

import pytest
from support.dialogue import get, header, request, response, status


def test_pinned_connections_are_one_clients_alone(make_world):
    world = make_world(upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "connections": "per_client"}})
    first, second = world.client(), world.client()
    first.says(get())
    server = world.accepts()
    server.hears()
    server.says(response())
    second.says(get())
    assert len(world.dials) == 1
    first.says(get())
    assert server.hears().startswith(b"GET ")
    server.says(response())
    assert world.busy() == [(2, 0)] or world.busy() == [(1, 0)]
    server.closes()
    assert first.is_lost  # both sides close together
    second.goes()
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize("challenge", ["NTLM", "Negotiate", 'Basic realm="x", NTLM'])
def test_a_login_that_belongs_to_the_connection_is_not_shared(world, challenge):
    client, other = world.client(), world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("401 Unauthorized", f"WWW-Authenticate: {challenge}"))
    other.says(get())
    assert len(world.dials) == 1
    client.says(get("/webmail", "Authorization: NTLM AAAA"))
    assert b"Authorization: NTLM AAAA" in server.hears()
    client.goes()
    assert server.is_lost


def log_in(world, client):
    """The client's own connection to the upstream, on which it sent credentials."""
    client.says(get("/webmail", "Authorization: NTLM AAAA"))
    server = world.accepts()
    server.says(response())
    client.hears()
    server.hears()
    return server


def test_a_login_begins_on_a_connection_that_nobody_had(world):
    """An idle one may be about to close, and a login is not tried again elsewhere."""
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    assert world.busy() == [(0, 1)]
    log_in(world, client)
    assert world.busy() == [(1, 1)]


def test_a_clients_own_connection_that_fails_ends_the_clients_too(world):
    client = world.client()
    server = log_in(world, client)
    client.says(get())
    server.goes()
    answer = client.hears()
    assert status(answer) == 502  # not sent again: its login is gone
    assert header(answer, "Connection") == "close"
    assert not client.is_open
    assert not world.dials
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize(
    "last",
    [
        response("200 OK", "Connection: close"),
        response("401 Unauthorized", "WWW-Authenticate: NTLM", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nall there is",
    ],
)
def test_an_answer_that_ends_a_clients_own_connection_ends_the_clients_too(world, last):
    client = world.client()
    server = log_in(world, client)
    client.says(get())
    server.says(last)
    server.closes()
    assert header(client.hears(), "Connection") == "close"
    client.says(get())
    assert not client.is_open
    assert not world.dials
    assert len(world.log) == 2


def test_a_challenge_that_ends_the_connection_ends_the_clients_too(world):
    """The first that speaks of such a login: whatever comes next would be on another connection."""
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", "Connection: close"))
    assert header(client.hears(), "Connection") == "close"
    assert not client.is_open


def test_bytes_behind_an_answer_end_both_connections(world):
    client = world.client()
    server = log_in(world, client)
    client.says(get())
    server.says(response() + b"HTTP/1.1 200 OK\r\n")
    assert not client.is_open
    assert server.is_lost
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize("behind", [b"", get()])
def test_an_early_answer_ends_both_connections_once_the_body_is_there(world, behind):
    """A reset while the client still sends would hide the answer from it."""
    client = world.client()
    server = log_in(world, client)
    client.says(request("POST", "/webmail", "Content-Length: 10") + b"hello")
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM"))
    assert server.is_lost
    assert client.is_open
    client.says(b"hello" + behind)
    assert not client.is_open
    assert not world.dials


def test_a_refusal_leaves_a_clients_own_connection_as_it_is(world):
    """It is the gateway's answer, and nothing happened behind it."""
    client = world.client()
    server = log_in(world, client)
    client.says(get("/secret"))
    assert status(client.hears()) == 403
    client.says(get())
    assert server.hears().startswith(b"GET /webmail ")
