"""A client that has said all: it gets the answers that are owed to it, and keeps no upstream busy for long."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, get, header, request, response, status

from gateway.proxy.client.half_closed import HALF_CLOSED_SECONDS

CHUNKS = b"1\r\n~\r\n" * 1000  # more than is read in one piece
UPGRADE = ("Connection: Upgrade", "Upgrade: chat")


def says_all(client):
    """Its close_notify; True where it is still written to. Without that the layer closes."""
    is_open = client.world.does(client.application.eof_received)
    if not is_open:
        client.world.does(client.close)
    return is_open


def test_the_answer_to_a_request_with_the_end_behind_it_is_delivered(world):
    client = world.client()
    client.says(get())
    assert says_all(client)
    assert says_all(client)  # the FIN behind the close_notify
    world.accepts().says(response(body=b"hi"))
    answer = client.hears()
    assert answer.endswith(b"\r\n\r\nhi")
    assert header(answer, "Connection") == "close"
    assert client.is_lost
    assert world.record["status"] == 200


def test_an_answer_that_has_begun_goes_on_and_the_connection_ends_behind_it(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 4", body=b"hi"))
    assert says_all(client)
    for byte in (b" ", b"!"):
        world.passes(HALF_CLOSED_SECONDS - 1)  # longer than that in all, and never without a byte
        server.says(byte)
    assert client.hears().endswith(b"\r\n\r\nhi !")
    assert client.is_lost
    assert world.record["status"] == 200


def test_pipelined_requests_are_answered_up_to_the_last(world):
    client = world.client()
    client.says(get("/webmail/1") + get("/secret") + get("/webmail/2"))
    assert says_all(client)
    server = world.accepts()
    server.says(response(body=b"one"))
    server.says(response(body=b"two"))
    answers = client.hears()
    assert [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]] == [200, 403, 200]
    assert client.is_lost
    assert len(world.log) == 3


def test_a_refusal_as_the_last_answer_ends_the_connection_too(world):
    client = world.client()
    client.says(get("/webmail/1") + get("/secret"))
    assert says_all(client)
    world.accepts().says(response(body=b"one"))
    assert client.hears().count(b"HTTP/1.1 403 ") == 1
    assert client.is_lost


@pytest.mark.parametrize("rest", [b"GET /webm", b"\r\n"])
def test_what_can_not_become_a_request_any_more_ends_the_connection(world, rest):
    client = world.client()
    client.says(get() + rest)
    assert says_all(client)
    world.accepts().says(response(body=b"hi"))
    world.passes(HALF_CLOSED_SECONDS + 1)
    assert client.is_lost
    assert len(world.log) == 1


def test_a_body_that_is_whole_before_the_upstream_is_connected_is_sent(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 5", body=b"hello"))
    assert says_all(client)
    server = world.accepts()
    assert server.hears().endswith(b"\r\n\r\nhello")
    server.says(response())
    assert status(client.hears()) == 200
    assert client.is_lost


def test_a_body_that_is_not_whole_ends_the_exchange(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 5", body=b"hell"))
    server = world.accepts()
    assert not says_all(client)
    assert server.is_lost
    assert world.record["status"] is None


@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)])
@pytest.mark.parametrize("body", [b"", b"hell"])
def test_a_body_that_is_not_whole_before_the_upstream_is_connected_ends_the_exchange_then(world, more, body):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 5", *more, body=body))
    assert says_all(client)
    server = world.accepts()
    assert (server.is_lost, client.is_lost) == (True, True)
    assert world.record["status"] is None


@pytest.mark.parametrize(("chunks", "is_whole"), [(CHUNKS + b"0\r\n\r\n", True), (CHUNKS, False)])
def test_a_body_in_many_pieces_is_fed_to_its_end_first(world, chunks, is_whole):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked", body=chunks))
    assert says_all(client)
    server = world.accepts()
    assert server.hears().count(b"~") == CHUNKS.count(b"~")
    assert server.is_lost is not is_whole
    assert len(world.log) == (not is_whole)


@pytest.mark.parametrize("said", [b"", get()[:20]])
def test_without_a_request_nothing_is_owed(world, said):
    client = world.client()
    client.says(said)
    assert not says_all(client)
    assert world.log == []


def test_a_poll_does_not_wait_for_a_client_that_may_have_gone(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    assert says_all(client)
    world.passes(HALF_CLOSED_SECONDS - 1)
    assert not server.is_lost
    world.passes(2)
    assert server.is_lost
    assert (client.is_lost, client.was_aborted) == (True, False)
    assert world.record["status"] is None
    assert world.busy() == [(0, 0)]


def test_an_answer_that_stops_coming_is_cut_so_that_it_does_not_look_whole(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    assert says_all(client)
    world.passes(HALF_CLOSED_SECONDS + 1)
    assert (server.is_lost, client.was_aborted) == (True, True)
    assert world.record["status"] == 200


def test_a_client_that_is_gone_frees_the_upstream_at_once(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    assert says_all(client)
    client.goes(ConnectionResetError())
    assert server.is_lost
    world.passes(HALF_CLOSED_SECONDS + 1)
    assert len(world.log) == 1


def test_a_client_that_reads_slowly_has_its_own_limit(world):
    client = world.client()
    client.is_slow = True
    client.says(get())
    assert says_all(client)
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 1000000", body=bytes(HIGH_WATER_BYTES + 1)))
    world.passes(HALF_CLOSED_SECONDS * 2)
    assert not server.is_lost
    client.reads()
    server.says(bytes(1000000 - HIGH_WATER_BYTES - 1))
    assert client.is_lost
    assert world.record["bytes_out"] == 1000000


def test_requests_behind_answers_that_are_not_read_yet_are_answered(world):
    client = world.client()
    client.is_slow = True
    client.says(get("/webmail/1"))
    world.accepts().says(response(body=bytes(HIGH_WATER_BYTES + 1)))
    client.says(get("/secret"))
    assert says_all(client)
    client.hears()
    client.reads()
    assert status(client.hears()) == 403
    assert client.is_lost


def test_an_upgrade_is_told_that_the_client_has_said_all(world):
    client = world.client()
    client.says(get("/webmail", *UPGRADE) + b"eager")
    assert says_all(client)
    server = world.accepts()
    server.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    assert server.hears().endswith(b"eager")
    assert server.has_said_eof
    world.passes(HALF_CLOSED_SECONDS + 1)
    server.says(b"rest")
    assert client.hears().endswith(b"rest")
    server.closes()
    assert client.is_lost
    assert len(world.log) == 1


def test_an_upstream_that_fails_after_the_end_is_told_to_the_client(world):
    client = world.client()
    client.says(get())
    assert says_all(client)
    world.refuses()
    assert status(client.hears()) == 502
    assert client.is_lost
