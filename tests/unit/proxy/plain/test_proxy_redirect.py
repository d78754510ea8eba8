"""Plain HTTP: one answer, and to nobody's host but the sites'."""

from dataclasses import replace

import pytest
from support.dialogue import INSIDE, SocketEnd, get, header, request, status
from support.plain_http import plain_connection

from gateway.config.model import Listener
from gateway.proxy.connections import REFUSED_CONNECTIONS
from gateway.proxy.lingering import BRIEF_LINGER_SECONDS, LINGER_IDLE_SECONDS, MAX_LINGERING_BYTES

LISTENER = Listener("127.0.0.1:80", "127.0.0.1", 80, redirect_to_https=True)
PUBLISHING = Listener("127.0.0.1:80", "127.0.0.1", 80, pki=True)


def accept(world, address=INSIDE):
    peer = None if address is None else (address, 40000)
    return SocketEnd(world, plain_connection(world, LISTENER), peer)


def ask(world, data):
    end = accept(world)
    end.says(data)
    if not end.is_lost:
        assert end.has_said_eof, "the client may still be sending"
        end.goes()
    assert world.service.connections.open == set()
    return end.hears()


@pytest.mark.parametrize(
    ("data", "location"),
    [
        (get("/"), "https://mail.example.com/"),
        (get("/webmail?a=b&c=/x"), "https://mail.example.com/webmail?a=b&c=/x"),
        (get("/%77ebmail/./x//y"), "https://mail.example.com/webmail/x/y"),
        (get("/", host="MAIL.example.com:80"), "https://mail.example.com/"),
        (get("//evil.example.com/x"), "https://mail.example.com/evil.example.com/x"),
        (request("POST", "/webmail", "Content-Length: 5", body=b"hello"), "https://mail.example.com/webmail"),
    ],
)
def test_a_site_is_redirected_to_itself(world, data, location):
    answer = ask(world, data)
    assert status(answer) == 308
    assert header(answer, "Location") == location
    assert header(answer, "Connection") == "close"
    assert answer.endswith(b"\r\n\r\n")
    assert (world.record["status"], world.record["protocol"]) == (308, "HTTP/1.1")
    assert header(answer, "X-Request-Id") == world.record["request_id"]


def test_a_site_that_is_an_ipv6_address(files, make_world):
    world = make_world(sites=[files.site("mail.example.com", "[2001:db8::1]")])
    assert header(ask(world, get("/", host="[2001:DB8:0::1]:80")), "Location") == "https://[2001:db8::1]/"


def test_a_listener_may_say_302(world):
    end = SocketEnd(world, plain_connection(world, replace(LISTENER, redirect_status=302)), (INSIDE, 40000))
    end.says(get("/autodiscover/autodiscover.xml"))
    answer = end.hears()
    assert answer.startswith(b"HTTP/1.1 302 Found\r\n")
    assert header(answer, "Location") == "https://mail.example.com/autodiscover/autodiscover.xml"
    assert world.record["status"] == 302


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (get(host="evil.example.com"), "host_mismatch"),
        (get(host="mail.example.com@evil.example.com"), "bad_request"),
        (b"GET / HTTP/1.0\r\n\r\n", "bad_request"),
        (get("/\\evil"), "uri_rejected"),
        (b"nonsense\r\n\r\n", "bad_request"),
        (b"GET / HTTP/1.1\n", "bad_request"),
        (b"GET /" + b"a" * 9000, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 33_000, "headers_too_large"),
    ],
)
def test_everything_else_is_refused_without_a_location(world, data, reason):
    answer = ask(world, data)
    assert header(answer, "X-Gateway-Reason") == reason
    assert header(answer, "Location") is None
    assert world.record["reason"] == reason


def test_a_request_may_come_in_pieces(world):
    end = accept(world)
    for byte in get("/x"):
        end.says(bytes((byte,)))
    assert header(end.hears(), "Location") == "https://mail.example.com/x"


def test_a_client_that_is_still_sending_has_time_to_read_the_answer(world):
    for more, is_lost in ((b"x" * 10, False), (bytes(MAX_LINGERING_BYTES + 1), True)):
        end = accept(world)
        end.says(request("POST", "/webmail", "Content-Length: 500000", body=b"some"))
        assert status(end.hears()) == 308
        end.says(more)
        assert end.is_lost is is_lost
        world.passes(LINGER_IDLE_SECONDS + 2)
        assert end.is_lost
    end = accept(world)
    end.says(b"nonsense\r\n\r\n")
    assert not end.protocol.eof_received()
    assert not end.is_lost
    assert len(world.log) == 3
    end.goes()


def test_a_worker_that_ends_does_not_wait_long_for_a_client_that_is_still_sending(world):
    end = accept(world)
    end.says(request("POST", "/webmail", "Content-Length: 500000", body=b"some"))
    world.does(world.service.connections.drain)
    assert not end.is_lost
    world.passes(BRIEF_LINGER_SECONDS + 2)
    assert end.is_lost


@pytest.mark.parametrize("listener", [LISTENER, PUBLISHING])
@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: mail.example.com\r\nX: "])
def test_a_request_that_is_not_whole_in_time_is_told_so_and_on_record(world, listener, begun):
    end = SocketEnd(world, plain_connection(world, listener), (INSIDE, 40000))
    for _ in range(12):  # a byte now and then
        end.says(begun[:1])
        begun = begun[1:]
        world.passes(1.9)
    assert not end.is_lost
    assert status(end.hears()) == 408
    assert (world.record["status"], world.record["reason"], world.record["method"]) == (408, "request_timeout", None)
    world.passes(LINGER_IDLE_SECONDS + 2)
    assert end.is_lost
    assert len(world.log) == 1
    assert world.service.connections.open == set()


def test_who_says_nothing_is_cut(world):
    end = accept(world)
    world.passes(22)
    assert end.is_lost
    assert (end.hears(), world.log) == (b"", [])


def test_one_connection_has_one_answer(world):
    end = accept(world)
    end.is_slow = True
    end.says(get("/1") + get("/2"))
    end.protocol.data_received(get("/3"))
    assert end.hears().count(b"HTTP/1.1 ") == 1
    assert len(world.log) == 1


def test_over_the_limit_there_is_an_answer_and_then_none(make_world):
    world = make_world(limits={"connections_per_ip": 1})
    kept = [accept(world)]
    late = accept(world)
    assert status(late.hears()) == 429
    assert late.is_lost
    assert kept[0].is_closing() is False
    assert world.record["reason"] == "too_many_connections"
    world.service.connections._per_address.update(
        dict.fromkeys(world.service.connections._per_address, REFUSED_CONNECTIONS)
    )
    assert accept(world).is_lost
    world.service.connections._per_address.clear()
    world.service.connections._per_address.update({kept[0].protocol._peer.address: 1})


def test_who_is_gone_before_it_was_looked_at_leaves_nothing_behind(world):
    assert accept(world, None).is_lost
    assert world.service.connections.open == set()


def test_a_reload_changes_what_is_answered(files, world):
    end = accept(world)
    world.does(world.service.adopt, files.snapshot(sites=[files.site("other.example.com")]))
    end.says(get("/"))
    assert header(end.hears(), "X-Gateway-Reason") == "host_mismatch"
    assert world.record["config"] == world.service.snapshot.config.digest


def test_draining_closes(world):
    end = accept(world)
    world.does(world.service.connections.drain)
    assert end.is_lost


def test_cutting_closes_at_once(world):
    end = accept(world)
    world.does(world.service.connections.cut)
    assert end.is_lost
