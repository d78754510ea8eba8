"""Connections that belong to one client: logins that a connection has, and upstreams with one connection a client."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, get, header, request, response, status

from gateway.config.model import Limits

IDLE_SECONDS = Limits().transfer_idle_seconds


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


CHALLENGE = response("401 Unauthorized", "WWW-Authenticate: NTLM")


def early(world, *more, sent=b"", rest="Content-Length: 10"):
    """A login that is answered while its body is still to come."""
    client = world.client()
    client.says(request("POST", "/webmail", rest, *more) + sent)
    server = world.accepts()
    server.hears()
    server.says(CHALLENGE)
    answer = client.hears()
    assert status(answer) == 401
    assert header(answer, "Connection") is None
    assert world.log == []
    return client, server


@pytest.mark.parametrize("behind", [b"", get()])
@pytest.mark.parametrize(
    ("framing", "sent", "rest"),
    [
        ("Content-Length: 10", b"hello", b"world"),
        ("Content-Length: 10", b"", b"helloworld"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_login_outlasts_an_early_answer(world, expect, framing, sent, rest, behind):
    """The rest of the body goes where its beginning went, and the login goes on there."""
    client, server = early(world, *expect, rest=framing, sent=sent)
    client.says(rest + behind)
    server_heard = server.hears()
    assert server_heard.startswith(rest)
    assert world.record["bytes_in"] == 10
    assert (world.record["status"], world.record["reason"]) == (401, None)
    if not behind:
        assert server_heard == rest
        client.says(get())
        server_heard = server.hears()
    assert b"GET /webmail HTTP/1.1\r\n" in server_heard
    server.says(response(body=b"mail"))
    assert client.hears().endswith(b"mail")
    assert client.is_open
    assert not world.dials


def test_the_rest_of_a_body_piece_by_piece_has_the_time_of_a_body(world):
    client, server = early(world, rest="Content-Length: 100000")
    for _ in range(9):
        world.passes(IDLE_SECONDS - 2)
        client.says(bytes(10_000))
    assert world.log == []
    world.passes(IDLE_SECONDS + 2)
    assert server.is_lost
    assert not client.is_open
    assert not client.was_aborted  # it has its answer, and may still read it
    assert (world.record["status"], world.record["bytes_in"], world.record["reason"]) == (401, 90_000, None)


@pytest.mark.parametrize("end", ["goes", "closes", "speaks"])
@pytest.mark.parametrize("behind", [b"", get()])
def test_a_server_that_ends_before_the_body_ends_the_clients_connection_after_it(world, end, behind):
    """A reset while the client still sends would hide the answer from it."""
    client, server = early(world, sent=b"hello")
    if end == "speaks":
        server.says(b"HTTP/1.1 200 OK\r\n\r\n")
        assert server.is_lost
    else:
        getattr(server, end)()
    assert client.hears() == b""
    assert client.is_open
    client.says(b"world" + behind)
    assert not client.is_open
    assert not client.was_aborted
    assert not world.dials
    assert len(world.log) == 1
    assert world.busy() == [(0, 0)]


def test_a_malformed_rest_ends_both_connections(world):
    client, server = early(world, rest="Transfer-Encoding: chunked")
    client.says(b"nonsense\r\n")
    assert server.is_lost
    assert client.hears() == b""
    assert not client.is_open
    assert len(world.log) == 1


def test_a_client_that_goes_before_the_rest_takes_its_server_with_it(world):
    client, server = early(world, sent=b"hello")
    client.goes()
    assert server.is_lost
    assert (world.record["status"], world.record["bytes_in"]) == (401, 5)
    assert world.busy() == [(0, 0)]


def test_an_answer_before_the_server_has_read_the_body_is_no_end_of_a_login(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 100000"))
    server = world.accepts(is_slow=True)
    client.says(bytes(100_000) + get())
    assert client.is_paused
    server.says(CHALLENGE)
    assert status(client.hears()) == 401
    server.hears()
    assert world.log == []
    server.reads()
    assert len(world.log) == 1
    assert server.hears().startswith(b"GET /webmail ")
    assert not client.is_paused
    server.says(response())
    assert client.is_open


def test_a_client_that_reads_its_early_answer_slowly_has_the_time_of_a_body_afterwards(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10"))
    server = world.accepts()
    client.is_slow = True
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", body=bytes(HIGH_WATER_BYTES + 1)))
    client.reads()
    world.passes(IDLE_SECONDS + 2)
    assert server.is_lost
    assert not client.is_open
    assert len(world.log) == 1


def test_an_early_answer_that_ends_its_connection_ends_the_clients_once_the_body_is_there(world):
    client = world.client()
    server = log_in(world, client)
    client.says(request("POST", "/webmail", "Content-Length: 10") + b"hello")
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", "Connection: close"))
    assert header(client.hears(), "Connection") == "close"
    assert server.is_lost
    client.says(b"hello")
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
