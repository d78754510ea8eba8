"""Upgrades: before the 101, and the two streams after it."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, OUTSIDE, get, header, request, response, status
from support.websocket import ASK, SWITCH, upgraded


def test_after_the_101_both_talk_to_each_other(world):
    client, server = upgraded(world)
    client.says(b"\x81\x02hi")
    assert server.hears() == b"\x81\x02hi"
    server.says(b"\x81\x03yes")
    assert client.hears() == b"\x81\x03yes"
    assert world.log == []
    client.goes()
    assert server.is_lost
    assert (world.record["status"], world.record["bytes_in"], world.record["bytes_out"]) == (101, 4, 5)
    assert world.busy() == [(0, 0)]


def test_bytes_that_come_with_the_101_are_not_lost(world):
    client = world.client()
    client.says(ASK)
    client.says(b"early")
    server = world.accepts()
    server.hears()
    server.says(SWITCH + b"at once")
    assert client.hears().endswith(b"\r\n\r\nat once")
    assert server.hears() == b"early"
    client.goes()
    assert (world.record["bytes_in"], world.record["bytes_out"]) == (len("early"), len("at once"))


def test_an_upgrade_that_is_declined_is_an_answer_like_any_other(world):
    client = world.client()
    client.says(ASK)
    server = world.accepts()
    server.says(response(body=b"no"))
    assert client.hears().endswith(b"no")
    client.says(get())
    server.says(response(body=b"next"))
    assert client.hears().endswith(b"next")


@pytest.mark.parametrize(
    "ask",
    [
        request("POST", "/webmail", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 3", body=b"abc"),
        get("/webmail", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAAA"),
        get("/webmail", "Upgrade: websocket"),
    ],
)
def test_what_is_no_proper_upgrade_goes_without_one(world, ask):
    client = world.client()
    client.says(ask)
    server = world.accepts()
    head = server.hears()
    assert header(head, "Upgrade") is None
    server.says(SWITCH)
    assert status(client.hears()) == 502


def test_a_101_without_an_upgrade_is_a_bad_answer(world):
    client = world.client()
    client.says(ASK)
    world.accepts().says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert status(client.hears()) == 502


def test_each_side_may_stop_the_other(world):
    client, server = upgraded(world)
    server.is_slow = True
    client.says(b"x" * (HIGH_WATER_BYTES + 1))
    assert client.is_paused
    server.reads()
    assert not client.is_paused
    client.is_slow = True
    server.says(b"x" * (HIGH_WATER_BYTES + 1))
    assert server.is_paused
    client.reads()
    assert not server.is_paused


def test_a_client_that_has_said_all_still_hears_the_rest(world):
    client, server = upgraded(world)
    assert world.does(client.application.eof_received) is True
    assert server.has_said_eof
    server.says(b"rest")
    assert client.hears() == b"rest"
    server.closes()
    assert client.is_lost
    assert len(world.log) == 1


def test_an_upstream_that_has_said_all_still_hears_the_rest(world):
    client, server = upgraded(world)
    assert world.does(server.protocol.eof_received) is True
    assert client.has_said_eof
    client.says(b"rest")
    assert server.hears() == b"rest"
    assert world.does(client.application.eof_received) is True
    assert server.is_lost
    assert client.is_lost
    assert len(world.log) == 1


def test_a_transport_that_cannot_half_close_is_closed(world):
    client, server = upgraded(world)
    server.can_write_eof = lambda: False
    assert world.does(client.application.eof_received) is True
    assert server.is_lost
    assert client.is_lost
    assert not client.was_aborted
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize("first", ["client", "server", "tls"])
def test_what_the_client_said_is_written_before_the_end(world, first):
    """Both have ended, and the upstream has yet to read."""
    client, server = upgraded(world)
    server.is_slow = True
    client.says(b"x" * HIGH_WATER_BYTES)
    if first == "tls":
        server.can_write_eof = lambda: False
    if first == "server":
        assert world.does(server.protocol.eof_received) is True
    assert world.does(client.application.eof_received) is True
    if first == "client":
        assert world.does(server.protocol.eof_received) is False
        server.close()  # as the loop does then
        assert client.has_said_eof
    assert not server.is_lost
    assert not client.is_lost
    assert world.log == []
    server.reads()
    assert server.is_lost
    assert client.is_lost
    assert not client.was_aborted
    assert world.record["bytes_in"] == HIGH_WATER_BYTES
    assert world.busy() == [(0, 0)]


def test_an_upstream_that_never_reads_the_rest_is_not_waited_for_without_end(make_world):
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client, server = upgraded(world)
    server.is_slow = True
    client.says(b"x")
    world.does(server.protocol.eof_received)
    world.does(client.application.eof_received)
    world.passes(12)
    assert server.is_lost
    assert client.is_lost
    assert len(world.log) == 1


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_a_lost_upstream_ends_the_client_and_shows_whether_it_broke(world, error):
    client, server = upgraded(world)
    server.goes(error)
    assert client.is_lost
    assert client.was_aborted is (error is not None)
    assert len(world.log) == 1
    assert world.busy() == [(0, 0)]


def test_silence_of_both_ends_it_and_a_word_of_either_does_not(make_world):
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client, server = upgraded(world)
    for say in (client.says, server.says) * 3:
        world.passes(8)
        say(b".")
    assert client.is_open
    world.passes(12)
    assert client.is_lost
    assert server.is_lost
    assert len(world.log) == 1


def test_a_client_that_reads_slowly_without_a_break_is_not_silent(make_world):
    """The upstream may say no more until it has caught up; who stops reading is silent all the same."""
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client, server = upgraded(world)
    client.is_slow = True
    server.says(b"x" * 2 * HIGH_WATER_BYTES)
    assert server.is_paused
    for _ in range(4):
        world.passes(8)
        client.takes(8 * 1024)
    assert not client.is_closing()
    assert world.log == []
    world.passes(24)
    assert server.is_lost
    assert len(world.log) == 1


def test_a_client_that_has_caught_up_may_be_silent_as_long_as_ever(make_world):
    """It took data at the last moment, and the upstream, which had to wait for it, has had no time to say more."""
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client, server = upgraded(world)
    client.is_slow = True
    server.says(b"x" * 2 * HIGH_WATER_BYTES)
    world.passes(8)
    client.reads()
    assert not server.is_paused
    world.passes(8)
    assert world.log == []
    world.passes(4)
    assert len(world.log) == 1
    assert server.is_lost


def slow_server(make_world):
    """It has stopped reading, and the client is stopped too; what it had said already comes."""
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client, server = upgraded(world)
    server.is_slow = True
    client.says(b"x" * 2 * HIGH_WATER_BYTES)
    assert client.is_paused
    client.says(bytes(10_000))
    return world, client, server


def test_a_server_that_reads_slowly_without_a_break_is_not_silent(make_world):
    world, client, server = slow_server(make_world)
    for _ in range(4):
        world.passes(8)
        server.takes(1)
    assert not client.is_closing()
    assert world.log == []
    world.passes(24)
    assert server.is_lost
    assert len(world.log) == 1


def test_a_server_that_has_caught_up_may_be_silent_as_long_as_ever(make_world):
    world, client, server = slow_server(make_world)
    world.passes(8)
    server.reads()
    world.passes(8)
    assert world.log == []
    world.passes(4)
    assert len(world.log) == 1
    assert client.is_lost


def test_what_a_server_took_long_ago_is_no_word_of_it(make_world):
    world, _, server = slow_server(make_world)
    server.reads()
    for _ in range(3):
        world.passes(8)
        server.says(b".")
    world.passes(9)
    assert world.log == []
    world.passes(3)
    assert len(world.log) == 1


def test_a_server_that_reads_the_end_slowly_is_waited_for(make_world):
    world, client, server = slow_server(make_world)
    assert world.does(client.application.eof_received) is True
    for _ in range(4):
        server.takes(1)
        world.passes(9)
    assert world.log == []
    world.passes(12)
    assert len(world.log) == 1


def test_a_reload_that_refuses_it_cuts_it_at_once(files, world):
    leaf = files.ca.issue("CN=alice")
    client, server = upgraded(world, world.client(OUTSIDE, leaf))
    world.does(world.service.adopt, files.snapshot())
    assert client.is_open
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Nobody", "action": "deny"}]))
    assert client.was_aborted
    assert server.is_lost
    assert world.record["reason"] == "denied_by_rule"


def test_what_comes_too_late_changes_nothing(world):
    client, server = upgraded(world)
    tunnel = client.application._exchange
    assert repr(tunnel) == "<Tunnel b'/webmail/socket' in=0 out=0>"
    client.goes()
    for late in (tunnel.client_gone, tunnel.on_deadline):
        world.does(late)
    world.does(tunnel.upstream_lost, None)
    world.does(tunnel.fail, None)
    assert len(world.log) == 1
    assert world.busy() == [(0, 0)]
    assert server.is_lost
