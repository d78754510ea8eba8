"""A client's connection: reading requests, holding what comes early, and the end."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, OUTSIDE, get, header, request, response, status

from gateway.config.model import Limits
from gateway.proxy.client.body_drain import MAX_DRAINED_BYTES
from gateway.proxy.client.receive_buffer import MAX_HELD_BYTES
from gateway.proxy.client.request_reader import MAX_REMEMBERED_BYTES
from gateway.proxy.lingering import (
    BRIEF_LINGER_SECONDS,
    LINGER_IDLE_SECONDS,
    LINGER_SECONDS,
    MAX_LINGERING_BYTES,
)
from gateway.proxy.refusal import MAX_REFUSALS_IN_A_ROW


def test_a_request_goes_to_the_upstream_and_its_answer_comes_back(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    assert server.hears().startswith(b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\n")
    server.says(response(body=b"hi"))
    answer = client.hears()
    assert (status(answer), header(answer, "Connection")) == (200, None)
    assert answer.endswith(b"\r\n\r\nhi")
    assert world.record["status"] == 200
    assert world.busy() == [(0, 1)]
    assert client.is_open


def test_pipelined_requests_are_answered_in_order(world):
    client = world.client()
    client.says(get("/webmail/1") + get("/webmail/2") + get("/secret") + get("/webmail/3"))
    server = world.accepts()
    for number in (b"1", b"2", b"3"):
        assert server.hears().startswith(b"GET /webmail/" + number)  # and none but this one
        server.says(response(body=number))
    statuses = [record["status"] for record in world.records]
    assert statuses == [200, 200, 403, 200]
    answers = client.hears()
    assert answers.index(b"\r\n\r\n1") < answers.index(b"\r\n\r\n2HTTP/1.1 403") < answers.index(b"\r\n\r\n3")


def test_one_request_of_a_read_is_answered_before_others_are_served(world):
    client, other = world.client(OUTSIDE), world.client("203.0.113.10")
    seen = []

    def both():
        client.application.data_received(get("/x") * 9)
        seen.append(len(world.log))
        other.application.data_received(get("/y"))
        seen.append(len(world.log))

    world.does(both)
    assert seen == [1, 2]
    assert [record["uri"] for record in world.records] == ["/x", "/y", *["/x"] * 8]


def test_a_connection_ends_with_so_many_refusals_in_a_row(world):
    client = world.client(OUTSIDE)
    for _ in range(MAX_REFUSALS_IN_A_ROW - 1):
        client.says(get("/x"))
        assert header(client.hears(), "Connection") is None
    client.says(get("/x") * 3)
    assert header(client.hears(), "Connection") == "close"
    assert not client.is_open
    assert len(world.log) == MAX_REFUSALS_IN_A_ROW


def test_a_request_that_is_let_through_begins_the_count_anew(world):
    client = world.client()
    server = None
    for _ in range(3):
        client.says(get("/secret") * (MAX_REFUSALS_IN_A_ROW - 1) + get())
        server = server or world.accepts()
        server.says(response())
    assert client.is_open
    assert len(world.log) == 3 * MAX_REFUSALS_IN_A_ROW


def test_a_trusted_proxy_keeps_its_connection_whatever_its_clients_ask_for(make_world):
    world = make_world(trusted_proxies=["10.0.0.9"])
    world.service.lockout.bans = {"203.0.113.9": world.clock.unix_seconds() + 60}
    proxy = world.client()
    proxy.says(get("/x", "X-Forwarded-For: 203.0.113.9") * MAX_REFUSALS_IN_A_ROW)
    proxy.says(get("/x", "X-Forwarded-For: 203.0.113.10") * MAX_REFUSALS_IN_A_ROW)
    statuses = [record["status"] for record in world.records]
    assert statuses == [429] * MAX_REFUSALS_IN_A_ROW + [403] * MAX_REFUSALS_IN_A_ROW
    assert proxy.is_open


def test_a_client_whose_requests_wait_is_not_read(world):
    client = world.client(OUTSIDE)
    seen = []

    def read():
        client.application.data_received(get("/x") * 3)
        seen.append(client.is_paused)
        client.application.data_received(get("/y") * 2)  # what was on its way

    world.does(read)
    assert seen == [True]
    assert [record["uri"] for record in world.records] == ["/x"] * 3 + ["/y"] * 2
    assert not client.is_paused
    assert client.hears().count(b"HTTP/1.1 403 ") == 5


def test_requests_that_wait_when_the_client_goes_are_not_read(world):
    client = world.client(OUTSIDE)

    def read_and_close():
        client.application.data_received(get("/x") * 3)
        client.close()

    world.does(read_and_close)
    assert len(world.log) == 1


def test_a_client_that_reads_again_before_its_turn_is_answered_once(world):
    client = world.client(OUTSIDE)

    def read():
        client.application.data_received(get("/x") * 3)
        client.application.pause_writing()
        client.application.resume_writing()

    world.does(read)
    assert client.hears().count(b"HTTP/1.1 403 ") == 3


def test_a_request_behind_one_that_failed_later_is_read_too(world):
    """The first is refused only when no server answers; by then the second lies there already."""
    client = world.client()
    client.says(get("/webmail/1") + get("/webmail/2"))
    world.refuses()
    assert status(client.hears()) == 502
    world.accepts().says(response(body=b"two"))
    assert client.hears().endswith(b"two")


def test_requests_that_find_no_server_at_once_do_not_pile_up_on_the_stack(make_world):
    world = make_world(upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "health": {"path": "/"}}})
    world.service.pools.of(world.service.snapshot.config.upstreams[0]).servers[0].condition.is_up = False
    client = world.client()
    client.says(get() * 800)
    assert client.hears().count(b"HTTP/1.1 503 ") == 800
    assert len(world.log) == 800


def test_a_header_section_must_be_whole_in_time_however_often_a_byte_comes(world):
    client = world.client()
    for byte in get():
        client.says(bytes((byte,)))
        world.passes(2)
    assert world.record["reason"] == "request_timeout"
    assert not client.is_open


def test_the_time_for_a_header_section_begins_with_its_first_byte(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    client.says(b"GET ")  # held while the first request is under way
    world.passes(30)
    server.says(response())
    world.passes(15)
    client.says(b"/webmail HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
    assert server.hears().count(b"GET /webmail") == 2


def test_who_says_nothing_after_the_handshake_is_let_go(world):
    client = world.client()
    world.passes(22)
    assert client.is_lost
    assert world.log == []


def test_a_handshake_that_takes_too_long_is_cut(world):
    client = world.client(is_shaking_hands=True)
    world.passes(12)
    assert client.was_aborted
    assert world.record["reason"] == "handshake_failed: not finished within 10 s"
    client.goes()
    assert len(world.log) == 1


def test_an_idle_connection_ends_after_its_keepalive_time(world):
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    world.passes(73)
    assert client.is_open
    world.passes(4)
    assert client.is_lost
    assert not client.was_aborted


def test_an_empty_line_before_a_request_is_skipped(world):
    client = world.client()
    client.says(b"\r\n\r\n")
    client.says(b"\r\n" + get())
    assert world.accepts().hears().startswith(b"GET /webmail ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /webmail\r\n\r\n", "bad_request"),
        (b"\x16\x03\x01\r\n\r\n", "bad_request"),
        (b"GET /webmail HTTP/1.1\nHost: x\n\n", "bad_request"),
        (b"GET /" + b"a" * 9000, "uri_too_long"),
        (get("/webmail", "X: " + "a" * 33_000), "headers_too_large"),
        (b"GET /webmail HTTP/1.1\r\nX: " + b"a" * 33_000, "headers_too_large"),
    ],
)
def test_what_is_no_request_is_answered_and_the_connection_closed(world, data, reason):
    client = world.client()
    client.says(data)
    assert header(client.hears(), "X-Gateway-Reason") == reason
    assert not client.is_open
    assert world.record["reason"] == reason
    assert world.record["bytes_in"] == len(data)


def test_a_closing_connection_lingers_so_that_the_answer_is_read_and_no_longer(world):
    client = world.client()
    client.says(b"nonsense\r\n\r\n")
    assert not client.is_lost
    world.passes(LINGER_IDLE_SECONDS + 2)
    assert client.is_lost


def too_large(world):
    """A client that goes on with a body that was refused."""
    client = world.client()
    client.says(request("POST", "/webmail", f"Content-Length: {1 << 40}"))
    assert status(client.hears()) == 413
    return client


def test_a_client_that_uploads_slowly_has_longer_to_read_its_answer_but_not_for_ever(world):
    client = too_large(world)
    for _ in range(int(LINGER_SECONDS / 3)):
        world.passes(3)
        assert not client.is_lost
        client.says(b"more")
    world.passes(3)
    assert client.is_lost
    assert client.was_aborted
    assert len(world.log) == 1


def test_a_client_that_is_still_sending_is_read_up_to_a_bound(world):
    client = too_large(world)
    client.says(bytes(MAX_LINGERING_BYTES))
    assert not client.is_lost
    client.says(b"x")
    assert client.was_aborted


def test_a_client_that_reads_slowly_is_not_cut_because_it_sends(world):
    client = world.client()
    client.is_slow = True
    client.says(request("POST", "/webmail", f"Content-Length: {MAX_DRAINED_BYTES * 2}"))
    world.accepts().says(response("401 Unauthorized", "Connection: close", body=bytes(HIGH_WATER_BYTES + 1)))
    client.says(bytes(MAX_DRAINED_BYTES + 1))
    assert not client.is_open
    client.says(b"more")
    world.passes(LINGER_SECONDS + 2)
    assert not client.is_lost


def test_what_comes_behind_an_end_that_does_not_linger_changes_nothing(world):
    client = world.client()
    client.is_slow = True
    client.says(get("/webmail", "Connection: close"))
    world.accepts().says(response())
    before = client.application.deadline
    client.says(b"more")
    assert (client.application.deadline, client.is_lost) == (before, False)


def test_a_connection_over_the_limit_lingers_briefly(world):
    client = world.client(is_over_limit=True)
    client.says(get())
    assert status(client.hears()) == 429
    client.says(b"more")
    world.passes(BRIEF_LINGER_SECONDS + 2)
    assert client.is_lost


def test_a_worker_that_ends_does_not_wait_long_for_what_lingers(world):
    client = too_large(world)
    world.does(world.service.connections.drain)
    client.says(b"more")
    assert not client.is_lost
    world.passes(BRIEF_LINGER_SECONDS + 2)
    assert client.is_lost


def test_a_body_that_is_still_drained_when_the_connection_has_been_idle_for_long_ends_without_a_reset(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000"))
    world.accepts().says(response("401 Unauthorized"))
    world.passes(80)
    assert not client.is_open
    assert not client.is_lost


# what comes early


def test_a_body_before_the_upstream_is_connected_is_held_bounded_and_sent_in_order(world):
    client = world.client()
    body = bytes(range(256)) * 1024
    client.says(request("POST", "/webmail", f"Content-Length: {len(body)}"))
    sent = 0
    while not client.is_paused:
        client.says(body[sent : sent + 1000])
        sent += 1000
    assert MAX_HELD_BYTES < sent <= MAX_HELD_BYTES + 1000
    server = world.accepts()
    assert not client.is_paused
    client.says(body[sent:])
    assert server.hears().partition(b"\r\n\r\n")[2] == body
    server.says(response())
    assert world.record["bytes_in"] == len(body)


def test_what_is_pipelined_behind_a_held_body_is_the_next_request(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 4", body=b"body") + get("/webmail/next"))
    server = world.accepts()
    assert server.hears().endswith(b"\r\n\r\nbody")
    server.says(response())
    assert server.hears().startswith(b"GET /webmail/next ")


def test_what_is_sent_ahead_is_held_up_to_a_bound(world):
    client = world.client()
    client.says(get("/webmail/1"))
    server = world.accepts()
    while not client.is_paused:
        client.says(get("/webmail/2") * 10)
    assert MAX_HELD_BYTES < len(client.application._receive_buffer.held) <= MAX_HELD_BYTES + len(get("/webmail/2") * 10)
    server.hears()
    server.says(response())
    assert server.hears().count(b"GET ") == 1


# both sides slow


def test_an_upstream_that_reads_slowly_stops_the_client(world):
    client = world.client()
    client.says(request("PUT", "/webmail", "Content-Length: 1000000"))
    server = world.accepts()
    server.is_slow = True
    client.says(b"x" * (HIGH_WATER_BYTES + 1))
    assert client.is_paused
    server.reads()
    assert not client.is_paused


def test_reading_goes_on_only_when_neither_held_bytes_nor_the_upstream_forbid_it(world):
    client = world.client()
    client.says(request("PUT", "/webmail", "Content-Length: 100000"))
    server = world.accepts()
    server.is_slow = True
    client.says(b"x" * 100_000 + get() * 2000)
    assert client.is_paused
    server.reads()
    assert client.is_paused  # too much is held still
    server.hears()
    held = []
    while client.is_paused:
        server.says(response())
        held.append(len(client.application._receive_buffer.held))
    assert held[-2] > MAX_HELD_BYTES >= held[-1]
    assert server.hears().count(b"GET ") == len(held)


def test_bytes_held_for_an_upstream_that_is_slow_at_once_do_not_let_the_client_go_on(world):
    """The release of the held bytes and the upstream's pause come in one step; the pause must win."""
    client = world.client()
    client.says(request("PUT", "/webmail", "Content-Length: 1000000"))
    client.says(b"x" * (MAX_HELD_BYTES + 1))
    server = world.accepts(is_slow=True)
    assert server.unread_bytes > HIGH_WATER_BYTES
    assert client.is_paused


def test_an_answer_before_the_slow_upstream_took_the_body_lets_the_client_go_on(world):
    client = world.client()
    client.says(request("PUT", "/webmail", "Content-Length: 200000"))
    server = world.accepts()
    server.is_slow = True
    client.says(b"x" * 100_000)
    assert client.is_paused
    server.says(response("413 Content Too Large"))
    assert not client.is_paused
    client.says(b"x" * 100_000 + get())
    world.accepts().says(response(body=b"next"))
    assert client.hears().endswith(b"next")


def test_a_slow_upstream_that_fails_lets_the_client_go_on(world):
    client = world.client()
    client.says(request("PUT", "/webmail", "Content-Length: 200000"))
    server = world.accepts()
    server.is_slow = True
    client.says(b"x" * 100_000)
    server.goes(ConnectionResetError("reset"))
    assert status(client.hears()) == 502
    assert not client.is_paused


def test_a_client_that_reads_slowly_stops_the_upstream(world):
    client = world.client()
    client.is_slow = True
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * (HIGH_WATER_BYTES + 1)))
    assert server.is_paused
    client.reads()
    assert not server.is_paused


def test_an_upstream_connection_that_was_stopped_is_read_again_by_the_next_exchange(world):
    """The last bytes of an answer fill the client's buffer: nobody else must inherit the pause."""
    slow = world.client()
    slow.is_slow = True
    slow.says(get())
    server = world.accepts()
    server.says(response(body=b"x" * (HIGH_WATER_BYTES + 1)))
    assert world.busy() == [(0, 1)]
    assert not server.is_paused
    quick = world.client()
    quick.says(get())
    server.says(response(body=b"yes"))
    assert quick.hears().endswith(b"yes")


def test_who_does_not_read_its_answers_gets_no_more_of_them(world):
    client = world.client()
    client.is_slow = True
    client.says(get() * 10)
    server = world.accepts()
    server.says(response(body=b"x" * (HIGH_WATER_BYTES + 1)))
    assert server.hears().count(b"GET ") == 1
    while not client.is_paused:
        client.says(get() * 100)
    assert server.hears() == b""
    client.reads()
    assert server.hears().count(b"GET ") == 1


def test_refusals_wait_for_their_reader_too(make_world):
    world = make_world(upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "health": {"path": "/"}}})
    world.service.pools.of(world.service.snapshot.config.upstreams[0]).servers[0].condition.is_up = False
    client = world.client()
    client.is_slow = True
    client.says(get() * 500)
    pages = len(world.log)
    assert 0 < pages < 500
    world.passes(3)
    client.reads()
    assert len(world.log) == 500
    assert client.is_open


def test_who_never_reads_is_cut(world):
    client = world.client()
    client.is_slow = True
    client.says(get())
    world.accepts().says(response(body=b"x" * (HIGH_WATER_BYTES + 1)))
    world.passes(80)
    assert client.was_aborted
    assert client.is_lost


def test_a_last_answer_that_is_never_read_does_not_hold_the_connection_for_ever(world):
    client = world.client()
    client.is_slow = True
    client.says(get("/webmail", "Connection: close"))
    world.accepts().says(response(body=b"x" * (HIGH_WATER_BYTES + 1)))
    assert not client.is_open
    world.passes(Limits().transfer_idle_seconds - 2)
    assert not client.is_lost
    world.passes(5)
    assert client.is_lost
    assert world.service.connections.open == set()


# a body that nobody wants


def test_the_rest_of_a_body_that_was_answered_early_is_thrown_away_up_to_a_limit(world):
    client = world.client()
    length = 1000 + MAX_DRAINED_BYTES
    client.says(request("POST", "/webmail", f"Content-Length: {length}", body=b"x" * 1000))
    server = world.accepts()
    server.says(response("401 Unauthorized"))
    assert server.is_lost  # it was promised a body
    client.says(b"x" * MAX_DRAINED_BYTES + get("/webmail/next"))
    assert client.is_open
    assert world.accepts().hears().startswith(b"GET /webmail/next ")


def test_one_byte_more_ends_the_connection(world):
    client = world.client()
    client.says(request("POST", "/webmail", f"Content-Length: {MAX_DRAINED_BYTES + 2}"))
    world.accepts().says(response("401 Unauthorized"))
    client.says(b"x" * (MAX_DRAINED_BYTES + 1))
    assert not client.is_open
    assert len(world.log) == 1


def test_a_body_answered_early_that_is_no_body_ends_the_connection(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked"))
    world.accepts().says(response("401 Unauthorized"))
    client.says(b"no chunk\r\n")
    assert not client.is_open
    assert len(world.log) == 1


def test_a_body_that_is_held_when_the_answer_ends_is_drained_too(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked", "Connection: close"))
    world.accepts().says(response("401 Unauthorized"))
    assert not client.is_open
    assert not client.is_lost  # it lingers: the client may still be sending


# requests that repeat themselves


def test_a_repeated_request_has_an_id_of_its_own(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    ids = set()
    for _ in range(3):
        ids.add(header(server.hears(), "X-Request-Id"))
        server.says(response())
        client.says(get())
    assert len(ids) == 3
    assert {record["request_id"] for record in world.records} == ids
    assert {record["rule"] for record in world.records} == {"Inside no certificate is needed"}


def test_a_long_request_is_not_remembered(world):
    client = world.client()
    client.says(get("/webmail", "X-Long: " + "a" * MAX_REMEMBERED_BYTES))
    world.accepts().says(response())
    assert client.application._reader._data is None
    client.says(get("/webmail"))
    assert client.application._reader._data == get("/webmail")


def test_a_remembered_request_is_forgotten_with_the_judgement(files, make_world):
    """A certificate that expires between two equal requests."""
    world = make_world()
    leaf = files.ca.issue("CN=alice", not_after=world.clock.now().replace(minute=1))
    client = world.client(OUTSIDE, leaf)
    client.says(get())
    server = world.accepts()
    server.says(response())
    world.passes(58)
    client.says(get())
    server.says(response())
    world.passes(5)
    client.hears()
    client.says(get())
    answer = client.hears()
    assert header(answer, "X-Gateway-Reason") == "certificate_expired"
    assert header(answer, "Connection") == "close"
    assert [record["status"] for record in world.records] == [200, 200, 403]


def test_a_remembered_request_is_forgotten_with_the_snapshot(files, world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Nobody", "action": "deny"}]))
    client.hears()
    client.says(get())
    assert status(client.hears()) == 403


def test_a_remembered_request_is_not_the_same_for_another_host(world):
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    client.hears()
    client.says(get(host="other.example.com"))
    assert status(client.hears()) == 421
    assert not client.is_open


# reload


def test_a_request_under_way_is_cut_when_the_new_rules_refuse_it(files, world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Nobody", "action": "deny"}]))
    assert header(client.hears(), "X-Gateway-Reason") == "denied_by_rule"
    assert server.is_lost
    record = world.record
    assert (record["reason"], record["rule"], record["decision"]) == ("denied_by_rule", "Nobody", "deny")


def test_an_answer_under_way_is_cut_short_when_the_new_list_revokes_its_certificate(files, world):
    leaf = files.ca.issue("CN=bob")
    (files.folder / "ca.crl").write_bytes(files.ca.crl([leaf.certificate]))
    client = world.client(OUTSIDE, leaf)
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 100", body=b"half"))
    world.does(world.service.adopt, files.snapshot(sites=[files.site(crl=["ca.crl"])]))
    assert client.was_aborted
    assert server.is_lost
    assert world.record["reason"] == "certificate_revoked"


def test_a_request_under_way_goes_on_where_the_new_rules_let_it(files, world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Everybody", "action": "allow"}]))
    server.says(response(body=b"still"))
    assert client.hears().endswith(b"still")
    record = world.record
    assert (record["reason"], record["decision"]) == (None, "allow")
    assert record["rule"] == "Inside no certificate is needed"  # the rule that let it begin


def test_each_line_names_the_configuration_that_judged_the_request_last(files, world):
    old = world.service.snapshot.config.digest
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    client.hears()
    client.says(get())
    new = files.snapshot(lockout={"failures": 7})
    world.does(world.service.adopt, new)
    server.says(response())
    client.hears()
    client.says(get())
    server.says(response())
    client.hears()
    assert old != new.config.digest
    assert [record["config"] for record in world.records] == [old, new.config.digest, new.config.digest]


def test_a_request_that_the_new_configuration_refuses_names_it(files, world):
    client = world.client()
    client.says(get())
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Nobody", "action": "deny"}]))
    client.hears()
    assert world.record["config"] == world.service.snapshot.config.digest


def test_a_site_that_is_gone_takes_its_connections_with_it(files, world):
    idle, busy = world.client(), world.client()
    busy.says(get())
    world.does(world.service.adopt, files.snapshot(sites=[files.site("other.example.com")]))
    assert not idle.is_open
    assert header(busy.hears(), "X-Gateway-Reason") == "host_mismatch"
    assert not busy.is_open
    assert world.record["config"] == world.service.snapshot.config.digest


def test_a_handshake_under_way_is_judged_by_the_new_snapshot(files, world):
    client = world.client(is_shaking_hands=True)
    world.does(world.service.adopt, files.snapshot(rules=[{"name": "Nobody", "action": "deny"}]))
    client.is_established = True
    world.does(client.application.handshake_done)
    client.says(get())
    assert status(client.hears()) == 403


# draining, and the rest


def test_draining_lets_an_exchange_finish_and_says_that_it_was_the_last(world):
    idle, busy = world.client(), world.client()
    busy.says(get())
    server = world.accepts()
    emptied = []
    world.service.connections.on_empty = lambda: emptied.append(True)
    world.does(world.service.connections.drain)
    assert idle.is_lost
    assert emptied == []
    server.says(response(body=b"last"))
    answer = busy.hears()
    assert header(answer, "Connection") == "close"
    assert answer.endswith(b"last")
    assert busy.is_lost
    assert emptied == [True]


def test_draining_does_not_prolong_what_is_closing_already(world):
    client = world.client()
    client.says(b"nonsense\r\n\r\n")
    world.passes(1)
    before = client.application.deadline
    client.is_slow = True
    world.does(world.service.connections.drain)
    assert client.application.deadline < before


def test_draining_leaves_a_slow_client_the_time_to_read_its_last_answer(world):
    client = world.client()
    client.is_slow = True
    client.says(get("/webmail", "Connection: close") + b"more")
    world.accepts().says(response("200 OK", body=bytes(HIGH_WATER_BYTES + 1)))
    assert not client.is_open
    before = client.application.deadline
    world.does(world.service.connections.drain)
    assert client.application.deadline == before


def test_a_connection_over_the_limit_gets_a_page(world):
    client = world.client(is_over_limit=True)
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "too_many_connections"
    assert not client.is_open


def test_a_failed_handshake_is_on_record(world):
    client = world.client(is_shaking_hands=True)
    world.does(client.application.handshake_failed, "no shared cipher")
    assert world.record["reason"] == "handshake_failed: no shared cipher"
    assert world.record["method"] is None
    assert world.record["client_ip"] == "10.0.0.9"


def test_a_session_may_be_left_behind_only_by_a_certificate_that_is_trusted_alone(files, world):
    trusted = world.client(OUTSIDE, files.ca.issue("CN=alice"))
    nobody = world.client(OUTSIDE, is_asked=True)
    assert (trusted.leaves_no_session, nobody.leaves_no_session) == (False, True)
    assert world.client().leaves_no_session is False


def test_a_connection_says_what_it_does(world):
    client = world.client()
    assert repr(client.application) == "<Http1Connection 10.0.0.9 idle>"
    client.says(get())
    assert "<Exchange GET" in repr(client.application)


def test_a_client_that_goes_ends_its_exchange(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    client.goes()
    assert server.is_lost
    assert world.record["status"] is None
    assert world.busy() == [(0, 0)]


def test_a_header_may_be_longer_than_what_is_held_of_anything_else(make_world):
    """Its own limit bounds it: reading must go on until it is whole."""
    world = make_world(limits={"header_bytes": "512KiB"})
    client = world.client()
    data = get("/webmail", "X-Long: " + "a" * (3 * MAX_HELD_BYTES))
    for start in range(0, len(data), 16_000):
        assert not client.is_paused
        client.says(data[start : start + 16_000])
    assert data.split(b"\r\n")[2] in world.accepts().hears()
