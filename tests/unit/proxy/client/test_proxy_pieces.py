"""Bodies in many small pieces, from either side: a few at a time, and all of them in order."""

import pytest
from support.dialogue import get, request, response

from gateway.http.body import MAX_CHUNKS_AT_ONCE
from gateway.proxy.client.body_drain import MAX_DRAINED_BYTES
from gateway.proxy.upstream.connection import LARGE_READ_BYTES

MANY = 10 * MAX_CHUNKS_AT_ONCE
CHUNKS = b"1\r\nx\r\n" * MANY
LAST = b"0\r\n\r\n"


@pytest.fixture
def upload(world):
    """A client and the server that it uploads to, the request's head having arrived."""
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked"))
    server = world.accepts()
    server.hears()
    return client, server


@pytest.fixture
def download(world):
    """A client and the server whose chunked answer it gets, the answer's head having arrived."""
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.hears()
    return client, server


def payload(data):
    """Of chunks, without their framing."""
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        found += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return found


def at_once(world, function, data, end):
    """How much payload `end` has when `data` was received, before anything else happens."""
    seen = []

    def receive():
        function(data)
        seen.append(len(payload(bytes(end.heard))))

    world.does(receive)
    return seen[0]


def test_an_upload_in_chunks_of_a_byte_goes_on_after_others(world, upload):
    client, server = upload
    assert at_once(world, client.application.data_received, CHUNKS, server) == MAX_CHUNKS_AT_ONCE
    assert len(payload(server.hears())) == MANY
    assert not client.is_paused
    client.says(LAST + get("/webmail/next"))
    assert server.hears() == LAST
    server.says(response())
    assert server.hears().startswith(b"GET /webmail/next ")


def test_a_client_is_not_read_while_its_chunks_wait(world, upload):
    client, server = upload
    seen = []

    def receive():
        client.application.data_received(CHUNKS)
        seen.append(client.is_paused)
        client.application.data_received(b"1\r\ny\r\n" + LAST)  # what was on its way

    world.does(receive)
    assert seen == [True]
    assert payload(server.hears()[: -len(LAST)]) == b"x" * MANY + b"y"


def test_chunks_that_wait_for_their_server_go_on_in_pieces_too(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked") + CHUNKS + LAST)
    server = world.accepts()
    assert payload(server.hears().partition(b"\r\n\r\n")[2][: -len(LAST)]) == b"x" * MANY
    server.says(response())
    assert world.record["bytes_in"] == MANY


def test_chunks_that_wait_are_thrown_away_where_their_upload_fails(world, upload):
    client, server = upload

    def receive():
        client.application.data_received(CHUNKS)
        server._lose(None)

    world.does(receive)
    assert client.hears().startswith(b"HTTP/1.1 502 ")
    assert not client.is_open


def test_an_unwanted_body_in_chunks_of_a_byte_is_thrown_away_in_pieces(world, upload):
    client, server = upload
    server.says(response("401 Unauthorized"))

    def receive():
        client.application.data_received(CHUNKS)
        client.application.data_received(CHUNKS + LAST + get("/webmail/next"))  # what was on its way

    world.does(receive)
    assert client.is_open
    assert world.accepts().hears().startswith(b"GET /webmail/next ")


def test_an_unwanted_body_is_thrown_away_up_to_a_limit_with_its_framing(upload):
    client, server = upload
    server.says(response("401 Unauthorized"))
    for _ in range(MAX_DRAINED_BYTES // len(CHUNKS)):
        client.says(CHUNKS)
        assert client.is_open
    client.says(CHUNKS)
    assert not client.is_open


def test_an_answer_in_chunks_of_a_byte_goes_on_after_others(world, download):
    client, server = download
    assert at_once(world, server.protocol.data_received, CHUNKS, client) == MAX_CHUNKS_AT_ONCE
    assert len(payload(client.hears())) == MANY
    assert not server.is_paused
    server.says(LAST)
    assert client.hears() == LAST
    assert world.record["bytes_out"] == MANY
    assert world.busy() == [(0, 1)]


def test_a_server_is_not_read_while_its_chunks_wait(world, download):
    client, server = download
    seen = []

    def receive():
        server.protocol.data_received(CHUNKS)
        seen.append(server.is_paused)
        server.protocol.data_received(b"1\r\ny\r\n" + LAST)  # what was on its way

    world.does(receive)
    assert seen == [True]
    assert payload(client.hears()[: -len(LAST)]) == b"x" * MANY + b"y"
    assert world.busy() == [(0, 1)]


@pytest.mark.parametrize("end", ["its last word", "lost"])
def test_an_answer_whose_rest_waits_when_its_connection_ends_arrives_whole(world, download, end):
    client, server = download

    def receive():
        server.protocol.data_received(CHUNKS + LAST)
        if end == "lost":
            server._lose(None)
        else:
            server.protocol.eof_received()

    world.does(receive)
    assert payload(client.hears()[: -len(LAST)]) == b"x" * MANY
    assert world.record["reason"] is None


def test_an_answer_that_waits_when_its_client_goes_is_dropped(world, download):
    client, server = download

    def receive():
        server.protocol.data_received(CHUNKS)
        client._lose(None)

    world.does(receive)
    assert server.is_lost
    assert world.record["bytes_out"] == MAX_CHUNKS_AT_ONCE


def test_a_client_that_reads_slowly_gets_the_waiting_rest_later(world, download):
    client, server = download

    def receive():
        server.protocol.data_received(CHUNKS + LAST)
        client.application.pause_writing()

    world.does(receive)
    assert len(payload(client.hears())) == MAX_CHUNKS_AT_ONCE
    assert server.is_paused

    def pause_and_resume():
        client.application.resume_writing()
        client.application.pause_writing()
        client.application.resume_writing()

    world.does(pause_and_resume)
    assert payload(client.hears()[: -len(LAST)]) == b"x" * (MANY - MAX_CHUNKS_AT_ONCE)
    assert not server.is_paused


def test_a_client_that_stops_reading_within_a_piece_is_waited_for(download):
    client, server = download
    client.is_slow = True
    server.says(b"1\r\nx\r\n" * (MAX_CHUNKS_AT_ONCE - 1) + b"11000\r\n" + bytes(0x11000) + b"\r\n" + CHUNKS)
    assert server.is_paused
    heard = client.hears()
    client.reads()
    assert len(payload(heard + client.hears())) == MAX_CHUNKS_AT_ONCE - 1 + 0x11000 + MANY


def test_a_large_read_of_an_answer_lets_others_be_served(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    seen = []

    def receive():
        server.protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(LARGE_READ_BYTES))
        seen.append(server.is_paused)

    world.does(receive)
    assert seen == [True]
    assert not server.is_paused
    client.is_slow = True
    server.says(bytes(LARGE_READ_BYTES + 1))
    assert server.is_paused, "the client reads slowly"
    client.reads()
    assert not server.is_paused


def test_a_connection_whose_large_read_ended_its_exchange_is_kept(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response(body=bytes(LARGE_READ_BYTES + 1)))
    assert world.busy() == [(0, 1)]
    assert not server.is_paused


def test_a_connection_that_is_lost_before_its_turn_stays_lost(world):
    client = world.client()
    client.says(get())
    server = world.accepts()

    def receive():
        server.protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(LARGE_READ_BYTES))
        server._lose(None)

    world.does(receive)
    assert server.is_paused
    assert client.was_aborted


def test_a_tunnel_lets_others_be_served_too(world):
    client = world.client()
    client.says(get("/webmail", "Connection: Upgrade", "Upgrade: websocket"))
    server = world.accepts()
    server.says(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.hears()
    seen = []

    def receive():
        server.protocol.data_received(bytes(LARGE_READ_BYTES + 1))
        seen.append(server.is_paused)

    world.does(receive)
    assert seen == [True]
    assert not server.is_paused
    assert len(client.hears()) == LARGE_READ_BYTES + 1
