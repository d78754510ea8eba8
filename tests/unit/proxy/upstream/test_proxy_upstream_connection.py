"""One connection to an upstream server, where no exchange holds it or it is just being lost."""

import socket

import pytest
from support.dialogue import get, request, response


def idle(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    return server


def test_an_answer_to_nothing_ends_the_connection(world):
    server = idle(world)
    server.says(response(body=b"poison"))
    assert server.is_lost
    assert world.busy() == [(0, 0)]


def test_a_connection_that_closes_while_idle_is_forgotten(world):
    server = idle(world)
    server.closes()
    assert world.busy() == [(0, 0)]


def test_a_connection_that_is_closing_is_not_taken(world):
    server = idle(world)
    server.close()  # not lost yet
    client = world.client()
    client.says(get())
    world.accepts().says(response(body=b"fresh"))
    assert client.hears().endswith(b"fresh")
    assert world.busy() == [(0, 1)]


def test_an_answer_whose_connection_closes_with_it_is_whole_and_the_connection_gone(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server._is_closing = True  # the socket failed to be written to, and says so later
    server.heard.clear()
    server.protocol.data_received(response(body=b"ok"))
    assert client.hears().endswith(b"ok")
    assert world.busy() == [(0, 0)]
    server.goes()
    assert world.busy() == [(0, 0)]


def test_a_connection_that_is_lost_at_its_release_counts_once(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    protocol = server.protocol
    protocol._is_lost = True
    server.says(response())
    assert world.busy() == [(1, 0)]  # the loss itself will count it down
    protocol.state.busy -= 1


def test_pauses_of_a_connection_that_nobody_holds_stop_nobody(world):
    protocol = idle(world).protocol
    protocol.pause_writing()
    assert protocol.is_write_paused
    protocol.resume_writing()
    assert not protocol.is_write_paused


def test_a_connection_says_what_it_does(world):
    assert repr(idle(world).protocol) == "<UpstreamConnection http://10.0.0.5:8080 idle after 1>"


@pytest.fixture
def unread():
    """A socket with these bytes in it."""
    ends = socket.socketpair()

    def made(data):
        ends[1].sendall(data)
        ends[0].setblocking(False)
        return ends[0]

    yield made
    for end in ends:
        end.close()


REFUSAL = response("413 Content Too Large", body=b"too large")


@pytest.mark.parametrize(
    ("data", "answered", "record"),
    [
        (REFUSAL, b"too large", (413, None)),
        (REFUSAL[:-1], b"too larg", (413, "upstream_bad_response")),
        (REFUSAL[:20], b"", (502, "upstream_bad_response")),
        (b"", b"", (502, "upstream_unreachable")),
    ],
)
def test_an_answer_before_a_reset_that_was_met_in_writing_is_read(world, unread, data, answered, record):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10", body=b"hello"))
    server = world.accepts()
    server.kernel = unread(data)
    server.goes(BrokenPipeError())
    assert client.hears().partition(b"\r\n\r\n")[2].startswith(answered)
    assert (world.record["status"], world.record["reason"]) == record
    assert world.busy() == [(0, 0)]


def test_a_whole_request_whose_last_bytes_the_server_has_not_taken_counts_as_one_in_writing(world, unread):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 100000"))
    server = world.accepts(is_slow=True)
    client.says(bytes(100000))
    server.kernel = unread(REFUSAL)
    server.goes(BrokenPipeError())
    assert client.hears().endswith(b"too large")
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_nothing_else_is_read_from_a_socket_that_is_lost(world, unread, is_encrypted):
    """Encrypted bytes mean nothing, and where nothing was being written all was read already."""
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 5", body=b"hell" if is_encrypted else b"hello"))
    server = world.accepts()
    server.kernel = unread(REFUSAL)
    if is_encrypted:
        server.protocol.secured_by(server)
        server.protocol._socket = object()
    server.goes(ConnectionResetError())
    assert world.record["status"] == 502
