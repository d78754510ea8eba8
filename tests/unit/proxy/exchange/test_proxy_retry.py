"""Requests that meet a connection which its server was just closing: sent again, refused, or left to the client."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, get, header, request, response, status

from gateway.proxy.exchange.retry import STALE_SECONDS
from gateway.proxy.limits.kept_bodies import MAX_KEPT_BODY_BYTES, MAX_KEPT_BYTES

OWN = {"upstreams": {"mail": {"servers": ["http://10.0.0.5:8080"], "connections": "per_client"}}}
SERVERS = ["http://10.0.0.5:8080", "http://10.0.0.6:8080"]
HELLO = {
    "PROPFIND": request("PROPFIND", "/webmail", "Content-Length: 5", body=b"hello"),
    "REPORT": request("REPORT", "/webmail", "Content-Length: 5", body=b"hello"),
    "PUT": request("PUT", "/webmail", "Content-Length: 5", body=b"hello"),
    "DELETE": request("DELETE", "/webmail", "Content-Length: 5", body=b"hello"),
}
NEVER = {
    "POST": request("POST"),
    "a body of a POST": request("POST", "/webmail", "Content-Length: 2", body=b"hi"),
    "PATCH": request("PATCH"),
    "an If-Match": request("PUT", "/webmail", 'If-Match: "1"', "Content-Length: 2", body=b"hi"),
    "an If-None-Match": request("PUT", "/webmail", "If-None-Match: *", "Content-Length: 2", body=b"hi"),
    "an If_Match": request("PUT", "/webmail", "if_match: *", "Content-Length: 2", body=b"hi"),
    "an If-Match without a body": request("DELETE", "/webmail", 'If-Match: "1"'),
    "another condition": request("DELETE", "/webmail", "If-Unmodified-Since: Mon, 30 Nov 2026 00:00:00 GMT"),
    "a lock": request("PUT", "/webmail", "If: (<urn:uuid:1>)", "Content-Length: 2", body=b"hi"),
    "a schedule tag": request("DELETE", "/webmail", 'If-Schedule-Tag-Match: "1"'),
    "a condition on a search": request("REPORT", "/webmail", 'If-Match: "1"', "Content-Length: 2", body=b"hi"),
}


def warm(world, client=None, path="/webmail"):
    """An upstream connection that has served a client's request and lies idle."""
    client = client or world.client()
    client.says(get(path))
    server = world.accepts()
    server.says(response())
    server.hears()
    client.hears()
    world.log.clear()
    return server


def kept_bytes(world):
    return world.service.kept_bodies.kept_bytes


def test_a_request_on_a_connection_that_died_idle_is_sent_again_once(world):
    stale = warm(world)
    client = world.client()
    client.says(get("/webmail/again"))
    assert b"/webmail/again" in stale.hears()
    stale.goes(ConnectionResetError("reset"))
    fresh = world.accepts()
    assert b"/webmail/again" in fresh.hears()
    fresh.says(response(body=b"yes"))
    assert client.hears().endswith(b"yes")
    assert world.record["status"] == 200
    assert world.busy() == [(0, 1)]


def test_it_is_not_sent_a_third_time(world):
    stale = warm(world)
    client = world.client()
    client.says(get())
    stale.goes()
    world.accepts().goes()
    assert status(client.hears()) == 502
    assert world.dials == []


def test_another_server_is_asked_where_the_first_is_down(make_world):
    world = make_world(upstreams={"mail": {"servers": SERVERS, "balance": "client_ip"}})
    client = world.client()
    stale = warm(world, client)
    client.says(HELLO["PUT"])
    stale.goes()
    assert world.dials[0].server.host == stale.server.host
    world.refuses()
    other = world.accepts()
    assert other.server.host != stale.server.host
    assert other.hears().endswith(b"\r\n\r\nhello")
    other.says(response())
    assert world.record["upstream"] == f"http://{other.server.host}:8080"
    assert sorted(world.busy()) == [(0, 0), (0, 1)]


@pytest.mark.parametrize("data", NEVER.values(), ids=NEVER)
def test_what_may_have_another_effect_when_sent_twice_is_not_sent_again(world, data):
    stale = warm(world)
    client = world.client()
    client.says(data)
    stale.goes()
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert world.dials == []
    assert kept_bytes(world) == 0


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT"])
def test_other_repeatable_methods_are_sent_again_too(world, method):
    stale = warm(world)
    world.client().says(request(method))
    stale.goes()
    assert world.accepts().hears().startswith(method.encode())


@pytest.mark.parametrize("field", ['If-None-Match: "1"', 'If-Match: "1"'])
def test_a_browser_that_asks_whether_its_copy_is_good_is_served_too(world, field):
    stale = warm(world)
    client = world.client()
    client.says(get("/webmail", field))
    stale.goes()
    world.accepts().says(response("304 Not Modified"))
    assert status(client.hears()) == 304


@pytest.mark.parametrize("begun", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP"])
@pytest.mark.parametrize("data", [get(), HELLO["PUT"]], ids=["GET", "PUT"])
def test_a_server_that_had_begun_to_answer_was_not_dead(world, data, begun):
    stale = warm(world)
    client = world.client()
    client.says(data)
    stale.says(begun)
    assert kept_bytes(world) == 0
    stale.goes()
    assert b"HTTP/1.1 502 " in client.hears()
    assert world.dials == []


def test_the_first_request_of_a_connection_is_not_sent_again(world):
    client = world.client()
    client.says(get())
    world.accepts().goes()
    assert status(client.hears()) == 502
    assert world.dials == []


def test_a_server_that_worked_on_the_request_was_not_dead(world):
    stale = warm(world)
    client = world.client()
    client.says(get())
    world.passes(STALE_SECONDS + 1)
    stale.goes()
    assert status(client.hears()) == 502
    assert world.dials == []


# bodies


@pytest.mark.parametrize("data", HELLO.values(), ids=HELLO)
def test_a_small_body_is_sent_again_with_its_request(world, data):
    stale = warm(world)
    client = world.client()
    client.says(data)
    sent = stale.hears()
    assert kept_bytes(world) == 5
    stale.goes()
    fresh = world.accepts()
    assert fresh.hears() == sent
    assert kept_bytes(world) == 0
    fresh.says(response(body=b"done"))
    assert client.hears().endswith(b"done")
    assert (world.record["status"], world.record["bytes_in"]) == (200, 5)


@pytest.mark.parametrize("behind", [b"", get("/webmail/next")])
@pytest.mark.parametrize(
    ("framing", "pieces", "whole"),
    [
        ("Content-Length: 10", [b"hel", b"lo", b"wor", b"ld"], b"helloworld"),
        (
            "Transfer-Encoding: chunked",
            [b"3\r\nhel\r\n", b"2\r\nlo\r\n", b"3\r\nwor\r\n", b"2\r\nld\r\n0\r\nX-Sum: 1\r\n\r\n"],
            b"3\r\nhel\r\n2\r\nlo\r\n3\r\nwor\r\n2\r\nld\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
    ],
)
def test_a_body_that_is_still_coming_goes_on_where_its_beginning_went(world, framing, pieces, whole, behind):
    """The first piece comes before the connection ends, the second before there is another one."""
    stale = warm(world)
    client = world.client()
    client.says(request("PUT", "/webmail", framing, body=pieces[0]))
    stale.goes()
    client.says(pieces[1])
    fresh = world.accepts()
    client.says(pieces[2])
    client.says(pieces[3] + behind)
    assert fresh.hears().partition(b"\r\n\r\n")[2] == whole
    fresh.says(response(body=b"stored"))
    assert client.hears().endswith(b"stored")
    assert world.record["bytes_in"] == 10
    assert (b"/webmail/next" in fresh.hears()) is bool(behind)


def test_a_request_whose_body_the_client_holds_back(world):
    stale = warm(world)
    client = world.client()
    client.says(request("PUT", "/webmail", "Content-Length: 5", "Expect: 100-continue"))
    stale.goes()
    fresh = world.accepts()
    assert b"Expect: 100-continue" in fresh.hears()
    fresh.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.says(b"hello")
    assert fresh.hears() == b"hello"
    fresh.says(response())
    assert client.hears().count(b"HTTP/1.1 100 ") == 1
    assert world.record["status"] == 200


def test_the_time_for_an_answer_begins_anew(make_world):
    upstream = {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "5m"}}
    world = make_world(upstreams={"mail": upstream})
    stale = warm(world)
    client = world.client()
    client.says(HELLO["PUT"])
    stale.goes()
    world.accepts()
    world.passes(299)
    assert client.hears() == b""
    world.passes(3)
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_timeout"


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_KEPT_BODY_BYTES, True), (MAX_KEPT_BODY_BYTES + 1, False)])
@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_a_body_may_be_as_long_as_the_bound_and_no_longer(world, framing, size, is_kept):
    stale = warm(world)
    client = world.client()
    if framing == "Content-Length":
        client.says(request("PUT", "/webmail", f"Content-Length: {size}", body=bytes(size)))
    else:
        client.says(request("PUT", "/webmail", "Transfer-Encoding: chunked"))
        for begin in range(0, size, 1000):
            count = min(1000, size - begin)
            client.says(b"%x\r\n%b\r\n" % (count, bytes(count)))
        client.says(b"0\r\n\r\n")
    assert (kept_bytes(world) >= size) is is_kept
    sent = stale.hears()
    stale.goes()
    if is_kept:
        assert world.accepts().hears() == sent
    else:
        assert status(client.hears()) == 502
    assert kept_bytes(world) == 0


def test_a_body_that_will_be_too_long_is_not_kept_from_the_start(world):
    stale = warm(world)
    client = world.client()
    client.says(request("PUT", "/webmail", f"Content-Length: {MAX_KEPT_BODY_BYTES + 1}", body=b"its beginning"))
    assert kept_bytes(world) == 0
    stale.goes()
    assert status(client.hears()) == 502


def test_a_body_in_single_bytes_is_not_kept_at_any_price(world):
    stale = warm(world)
    client = world.client()
    client.says(request("PUT", "/webmail", "Transfer-Encoding: chunked"))
    for _ in range(MAX_KEPT_BODY_BYTES // 4):
        client.application.data_received(b"1\r\nx\r\n")
    assert kept_bytes(world) == 0
    stale.goes()
    assert status(client.hears()) == 502


def test_a_worker_keeps_so_much_and_no_more(world):
    count = MAX_KEPT_BYTES // MAX_KEPT_BODY_BYTES
    clients = [world.client(f"10.1.0.{number}") for number in range(count + 1)]
    for client in clients:
        client.says(get())
    servers = [world.accepts() for _ in clients]
    for server in servers:
        server.says(response())
        server.hears()
    for client in clients:
        client.hears()
        client.says(
            request("PUT", "/webmail", f"Content-Length: {MAX_KEPT_BODY_BYTES}", body=bytes(MAX_KEPT_BODY_BYTES))
        )
    assert kept_bytes(world) == MAX_KEPT_BYTES
    for server in servers:
        server.goes()
    assert len(world.dials) == count
    assert [status(heard) for client in clients if (heard := client.hears())] == [502]
    clients[0].goes()
    assert kept_bytes(world) == MAX_KEPT_BYTES - MAX_KEPT_BODY_BYTES


def test_what_is_kept_is_freed_when_the_answer_begins_or_nobody_waits_for_it(world):
    first, second = warm(world), world.client()
    second.says(HELLO["PUT"])
    assert kept_bytes(world) == 5
    first.says(b"HTTP/1.1 200 OK\r\n")
    assert kept_bytes(world) == 0
    first.says(b"Content-Length: 0\r\n\r\n")
    second.says(HELLO["PUT"])
    assert kept_bytes(world) == 5
    second.goes()
    assert kept_bytes(world) == 0


def test_nothing_is_kept_on_a_connection_that_could_not_have_died_idle(world):
    client = world.client()
    client.says(HELLO["PUT"])
    world.accepts()
    assert kept_bytes(world) == 0


def test_a_client_that_was_stopped_for_a_server_that_is_gone_is_read_again(world):
    size = MAX_KEPT_BODY_BYTES
    assert size == HIGH_WATER_BYTES  # its head is what makes it too much
    stale = warm(world)
    stale.is_slow = True
    client = world.client()
    client.says(request("PUT", "/webmail", f"Content-Length: {size}", body=bytes(size - 10)))
    assert client.is_paused
    stale.goes()
    assert not client.is_paused
    client.says(bytes(10))
    fresh = world.accepts()
    assert fresh.hears().endswith(b"\r\n\r\n" + bytes(size))
    fresh.says(response())
    assert status(client.hears()) == 200


# a client's own connection


def test_a_clients_own_connection_that_died_idle_is_replaced(make_world):
    world = make_world(**OWN)
    client = world.client()
    stale = warm(world, client)
    client.says(HELLO["PUT"] + get("/webmail/next"))
    stale.goes(ConnectionResetError("reset"))
    fresh = world.accepts()
    fresh.hears()
    fresh.says(response(body=b"stored"))
    assert fresh.hears().startswith(b"GET /webmail/next ")
    fresh.says(response(body=b"next"))
    assert client.hears().endswith(b"next")
    assert client.is_open
    assert [record["status"] for record in world.records] == [200, 200]
    assert world.busy() == [(1, 0)]  # this client's own again


@pytest.mark.parametrize("data", NEVER.values(), ids=NEVER)
def test_what_is_not_sent_again_is_left_to_a_client_that_was_answered_before(make_world, caplog, data):
    world = make_world(**OWN)
    client = world.client()
    stale = warm(world, client)
    client.says(data + get())
    stale.goes()
    assert client.hears() == b""
    assert not client.is_open
    assert not client.was_aborted
    assert world.dials == []
    record = world.record
    assert (record["status"], record["reason"], record["upstream"]) == (None, "upstream_unreachable", SERVERS[0])
    assert record["detail"] == "the upstream closed the connection: before the answer was complete"
    assert f"request {record['request_id']}: the upstream closed the connection" in caplog.text
    assert world.busy() == [(0, 0)]


def test_a_client_that_was_not_answered_yet_is_told(make_world):
    world = make_world(**OWN)
    client = world.client()
    client.says(request("POST"))
    world.accepts().goes()
    answer = client.hears()
    assert (status(answer), header(answer, "Connection")) == (502, "close")
    assert not client.is_open


def test_a_server_that_fails_twice_is_told_of(make_world):
    world = make_world(**OWN)
    client = world.client()
    stale = warm(world, client)
    client.says(get())
    stale.goes()
    world.accepts().goes()
    assert status(client.hears()) == 502
    assert not client.is_open


def test_a_server_that_was_at_work_is_told_of(make_world):
    world = make_world(**OWN)
    client = world.client()
    stale = warm(world, client)
    client.says(request("POST"))
    world.passes(STALE_SECONDS + 1)
    stale.goes()
    assert status(client.hears()) == 502


def test_a_connection_from_the_pool_is_nobodys_own_after_a_reload_either(files, world):
    stale = warm(world)
    client = world.client()
    client.says(request("POST"))
    world.does(world.service.adopt, files.snapshot(**OWN))
    stale.goes()
    assert status(client.hears()) == 502


# logins that a connection has

TOKEN = "Authorization: NTLM AAAA"
CHALLENGE = response("401 Unauthorized", "WWW-Authenticate: NTLM")


@pytest.mark.parametrize("data", [get(), get("/webmail", TOKEN), HELLO["PUT"]], ids=["GET", "token", "PUT"])
@pytest.mark.parametrize("settings", [{}, OWN], ids=["shared", "per_client"])
def test_a_login_is_never_replaced_by_none(make_world, settings, data):
    world = make_world(**settings)
    client = world.client()
    client.says(get("/webmail", TOKEN))
    server = world.accepts()
    server.says(response())
    client.hears()
    client.says(data)
    assert kept_bytes(world) == 0
    server.goes()
    assert client.hears() == b""
    assert not client.is_open
    assert world.dials == []
    assert [record["status"] for record in world.records] == [200, None]


def test_credentials_are_never_sent_twice(make_world):
    """The first that the client sends, on a connection that it has for itself already."""
    world = make_world(**OWN)
    client = world.client()
    stale = warm(world, client)
    client.says(get("/webmail", TOKEN))
    stale.goes()
    assert client.hears() == b""
    assert not client.is_open
    assert world.dials == []


def test_a_client_that_was_only_asked_to_log_in_has_nothing_to_lose(world):
    client = world.client()
    client.says(get())
    stale = world.accepts()
    stale.says(CHALLENGE)
    client.hears()
    client.says(get("/webmail", "Authorization: Basic YTpi"))
    stale.goes()
    world.accepts().says(response(body=b"mail"))
    assert client.hears().endswith(b"mail")


def test_a_login_whose_connection_can_t_be_used_any_longer_is_left_to_the_client(files, world):
    client = world.client()
    client.says(get("/webmail", TOKEN))
    server = world.accepts()
    server.says(response())
    client.hears()
    moved = files.snapshot(upstreams={"mail": {"servers": SERVERS[1:]}})
    world.does(world.service.adopt, moved)
    client.says(get())
    assert client.hears() == b""
    assert not client.is_open
    assert server.is_lost
    assert world.dials == []
    assert [record["status"] for record in world.records] == [200, None]


def test_a_login_that_could_not_be_sent_is_tried_again(world):
    client = world.client()
    client.says(get("/webmail", TOKEN))
    world.refuses()
    assert status(client.hears()) == 502
    client.says(get("/webmail", TOKEN))
    world.accepts().says(response())
    assert status(client.hears()) == 200


# what a server says of the time that it has


def hinted(world, client, value):
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", f"Keep-Alive: {value}"))
    assert header(client.hears(), "Keep-Alive") is None
    server.hears()
    return server


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("timeout=5", 4), ("max=9, Timeout = 10", 9), ('timeout="5"', 4), ("timeout=1", 0.5), ("timeout=0, max=100", 0)],
)
@pytest.mark.parametrize("settings", [{}, OWN], ids=["shared", "per_client"])
def test_a_connection_that_is_about_to_be_closed_is_not_used(make_world, settings, value, seconds):
    world = make_world(**settings)
    client = world.client()
    server = hinted(world, client, value)
    if seconds:
        world.clock.seconds += seconds - 0.01
        client.says(request("POST"))
        assert server.hears().startswith(b"POST ")
        server.says(response("200 OK", f"Keep-Alive: {value}"))
        assert world.dials == []
    world.clock.seconds += seconds
    client.says(request("POST"))
    assert server.is_lost
    fresh = world.accepts()
    assert fresh.hears().startswith(b"POST ")
    fresh.says(response())
    assert client.is_open
    assert sum(map(sum, world.busy())) == 1


@pytest.mark.parametrize("value", ["max=100", "timeout", "timeout=x", "timeout=1234567890", "xtimeout=5", "timeout=-1"])
def test_what_says_nothing_of_time_changes_nothing(world, value):
    client = world.client()
    server = hinted(world, client, value)
    world.passes(58)
    client.says(get())
    assert server.hears().startswith(b"GET ")


def test_a_server_that_says_nothing_any_more_has_the_usual_time(world):
    client = world.client()
    server = hinted(world, client, "timeout=5")
    client.says(get())
    server.says(response())
    world.passes(30)
    assert not server.is_lost


def test_a_connection_that_is_about_to_be_closed_ends_by_itself(world):
    client = world.client()
    older = world.client()
    client.says(get())
    older.says(get())
    kept, hinted_at = world.accepts(), world.accepts()
    kept.says(response())
    hinted_at.says(response("200 OK", "Keep-Alive: timeout=5"))
    world.passes(3)
    assert world.busy() == [(0, 2)]
    world.passes(2)
    assert hinted_at.is_lost
    assert world.busy() == [(0, 1)]


def test_a_login_on_a_connection_that_is_about_to_be_closed_is_left_to_the_client(world):
    client = world.client()
    client.says(get("/webmail", TOKEN))
    server = world.accepts()
    server.says(response("200 OK", "Keep-Alive: timeout=5"))
    client.hears()
    server.hears()
    world.passes(4)
    client.says(get())
    assert client.hears() == b""
    assert server.hears() == b""
    assert not client.is_open
    assert [record["status"] for record in world.records] == [200, None]
