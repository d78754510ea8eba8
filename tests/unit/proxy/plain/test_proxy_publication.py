"""The listener with `pki: true`: what it asks the publisher, what it hands on, and what never gets so far."""

import base64
import json

import pytest
from support.dialogue import HIGH_WATER_BYTES, INSIDE, SocketEnd, get, header, request, status
from support.plain_http import plain_connection
from support.publisher_end import PublisherEnd, PublisherEnds

from gateway.config.model import Limits, Listener
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.published import MAX_OCSP_REQUEST_BYTES, Kind, Wanted
from gateway.http.relay import MAX_LINE_BYTES, Question, Reply, refusal_line, reply_line
from gateway.proxy.lingering import LINGER_IDLE_SECONDS
from gateway.proxy.plain import published_body
from gateway.proxy.plain.connection import MAX_UNWANTED_BYTES
from gateway.proxy.plain.publication import ANSWER_SECONDS, CHUNK_BYTES, TRANSFER_SECONDS
from gateway.proxy.plain.publisher_client import MAX_QUESTIONS_AT_ONCE

BOTH = Listener("127.0.0.1:80", "127.0.0.1", 80, redirect_to_https=True, pki=True)
ALONE = Listener("127.0.0.1:80", "127.0.0.1", 80, pki=True)
LIST = "/.well-known/gateway/crl/corp.crl"
OCSP = "/.well-known/gateway/ocsp"
IDLE_SECONDS = Limits().transfer_idle_seconds
QUESTION = b"0\xff\xff\xfe\xfb\xef\xbe"  # no request, but its base64 has every character that is in the way
POST = request(
    "POST", OCSP, "Content-Type: application/ocsp-request", f"Content-Length: {len(QUESTION)}", body=QUESTION
)


@pytest.fixture
def publisher(world):
    return PublisherEnds(world)


def accept(world, listener=BOTH):
    return SocketEnd(world, plain_connection(world, listener), (INSIDE, 40000))


def ask(world, data, listener=BOTH):
    end = accept(world, listener)
    end.says(data)
    return end


def refusal(world, end, reason):
    """It was refused so, once, and is over."""
    answer = end.hears()
    assert header(answer, "X-Gateway-Reason") == reason
    assert answer.count(b"HTTP/1.1 ") == 1
    if not end.is_lost:
        assert end.has_said_eof
        world.passes(LINGER_IDLE_SECONDS + 2)
        assert end.is_lost
    assert world.record["reason"] == reason
    return answer


# the question


def test_a_list_is_asked_for_and_handed_on(world, publisher):
    end = ask(world, get(LIST, 'If-None-Match: "a"', 'If-None-Match: "b"', "If-Modified-Since: yesterday"))
    assert publisher.end.question == Question(
        Wanted(Kind.LIST, "corp"), is_cacheable=True, if_none_match=b'"a", "b"', if_modified_since=b"yesterday"
    )
    publisher.end.answers(b"list", ("Content-Type", "application/pkix-crl"))
    assert publisher.end.is_lost
    assert end.is_lost
    answer = end.hears()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\nContent-Length: 4\r\n")
    assert answer.endswith(b"Connection: close\r\n\r\nlist")
    record = world.record
    assert header(answer, "X-Request-Id") == record["request_id"]
    assert (record["status"], record["upstream"], record["upstream_status"], record["bytes_out"]) == (
        200,
        "pki",
        200,
        4,
    )
    assert (record["uri"], record["reason"], record["bytes_in"]) == (LIST, None, 0)
    assert world.service.connections.open == set()


@pytest.mark.parametrize("host", ["mail.example.com", "pki.example.com", "10.0.0.1:80"])
def test_it_is_there_under_every_name(world, publisher, host):
    ask(world, get("/.well-known/gateway/ca/corp.crt", host=host))
    assert publisher.end.question.wanted == Wanted(Kind.CERTIFICATE, "corp")


def test_a_question_in_the_target_is_read_with_its_slashes(world, publisher):
    text = base64.b64encode(QUESTION).decode()
    assert "//" in text
    ask(world, get(f"{OCSP}/{text}"))
    assert publisher.end.question == Question(Wanted(Kind.OCSP, request=QUESTION), is_cacheable=True)


@pytest.mark.parametrize(
    "data",
    [
        POST,
        request(
            "POST", OCSP, "Transfer-Encoding: chunked", body=b"3\r\n0\xff\xff\r\n4\r\n\xfe\xfb\xef\xbe\r\n0\r\n\r\n"
        ),
        POST.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_question_in_a_body_may_come_in_pieces(world, publisher, data):
    end = accept(world)
    for byte in data:
        assert not publisher.ends
        end.says(bytes((byte,)))
    assert publisher.end.question == Question(Wanted(Kind.OCSP, request=QUESTION))
    publisher.end.answers(b"answer")
    assert end.hears().endswith(b"\r\n\r\nanswer")
    assert end.is_lost
    assert world.record["bytes_in"] == len(QUESTION)


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(world, publisher):
    head, _, body = POST.replace(b"Host:", b"Expect: 100-continue\r\nHost:").partition(b"\r\n\r\n")
    end = ask(world, head + b"\r\n\r\n")
    assert end.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
    end.says(body)
    publisher.end.answers(b"answer")
    assert end.hears().startswith(b"HTTP/1.1 200 OK\r\n")
    at_once = ask(world, head + b"\r\n\r\n" + body)
    assert at_once.hears() == b""


def test_the_longest_question_passes_and_one_byte_more_does_not(world, publisher):
    def post(size, *more):
        return request("POST", OCSP, *(more or (f"Content-Length: {size}",)), body=b"" if more else b"0" * size)

    ask(world, post(MAX_OCSP_REQUEST_BYTES))
    assert len(publisher.end.question.wanted.request) == MAX_OCSP_REQUEST_BYTES
    assert header(ask(world, post(MAX_OCSP_REQUEST_BYTES + 1)).hears(), "X-Gateway-Reason") == "body_too_large"
    chunked = ask(world, post(0, "Transfer-Encoding: chunked"))
    chunked.says(b"%x\r\n" % (MAX_OCSP_REQUEST_BYTES + 1) + b"0" * (MAX_OCSP_REQUEST_BYTES + 1))
    assert header(chunked.hears(), "X-Gateway-Reason") == "body_too_large"
    assert len(publisher.ends) == 1


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (get("/.well-known/gateway/crl/../../etc/passwd"), 404, "not_found"),
        (get("/.well-known/gateway/crl/%2e%2e/corp.crl"), 404, "not_found"),
        (get("/.well-known/gateway/"), 404, "not_found"),
        (request("POST", LIST, "Content-Length: 0"), 405, "method_not_allowed"),
        (get(OCSP), 405, "method_not_allowed"),
        (get(f"{OCSP}/x"), 400, "bad_request"),
        (POST.replace(b"ocsp-request", b"json"), 400, "bad_request"),
        (request("POST", OCSP, "Transfer-Encoding: chunked", body=b"zz\r\n"), 400, "bad_request"),
        (request("POST", OCSP, "Content-Length: 999999999"), 413, "body_too_large"),
        (request("POST", OCSP, "Content-Length: 4", "Transfer-Encoding: chunked"), 400, "bad_request"),
    ],
)
def test_what_is_no_question_reaches_nobody(world, publisher, data, code, reason):
    answer = refusal(world, ask(world, data), reason)
    assert status(answer) == code
    assert not publisher.ends
    assert header(answer, "Allow") == {get(OCSP): "POST"}.get(data, "GET, HEAD" if code == 405 else None)


def test_the_rest_is_redirected_or_refused_as_the_listener_says(world, publisher):
    assert header(ask(world, get("/webmail")).hears(), "Location") == "https://mail.example.com/webmail"
    assert header(ask(world, get("/webmail", host="x.example.com")).hears(), "X-Gateway-Reason") == "host_mismatch"
    answer = ask(world, get("/webmail"), ALONE).hears()
    assert (status(answer), header(answer, "Location")) == (404, None)
    assert b"this listener serves only addresses below /.well-known/gateway/" in answer
    assert not publisher.ends


def test_without_a_publisher_there_is_a_reason(world):
    refusal(world, ask(world, get(LIST)), "no_healthy_upstream")


def test_what_comes_behind_a_request_is_no_request(world, publisher):
    end = ask(world, get(LIST) + get(LIST))
    end.says(get(LIST))
    assert len(publisher.ends) == 1
    publisher.end.answers(b"list")
    assert end.hears().count(b"HTTP/1.1 ") == 1
    noisy = ask(world, get(LIST))
    noisy.says(b"x" * (MAX_UNWANTED_BYTES + 1))
    assert noisy.is_lost
    assert publisher.end.is_lost
    assert len(world.log) == 2


# the answer


def test_a_head_has_the_length_and_no_body(world, publisher):
    end = ask(world, request("HEAD", LIST))
    assert publisher.end.question.is_head
    publisher.end.says(reply_line(Reply(200, (), 1000)))
    answer = end.hears()
    assert header(answer, "Content-Length") == "1000"
    assert answer.endswith(b"\r\n\r\n")
    assert end.is_lost


def test_who_has_it_is_told_so_without_a_length(world, publisher):
    end = ask(world, get(LIST))
    publisher.end.answers(b"", ("ETag", '"a"'), status=304)
    answer = end.hears()
    assert answer.startswith(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n')
    assert header(answer, "Content-Length") is None
    assert world.record["status"] == 304


def test_an_answer_may_come_in_pieces(world, publisher):
    end = ask(world, get(LIST))
    for byte in reply_line(Reply(200, (), 3)) + b"abc":
        assert not end.is_lost
        publisher.end.says(bytes((byte,)))
    assert end.hears().endswith(b"\r\n\r\nabc")


def test_what_the_publisher_refuses_is_refused_with_its_reason(world, publisher):
    end = ask(world, get(LIST))
    publisher.end.says(refusal_line(RequestError(Reason.NOT_FOUND, "there is no authority 'corp'")))
    answer = refusal(world, end, "not_found")
    assert b"there is no authority 'corp'" in answer
    assert world.record["upstream"] == "pki"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"nonsense\n", "upstream_bad_response"),
        (b"{" * (MAX_LINE_BYTES + 1), "upstream_bad_response"),
        (None, "no_healthy_upstream"),
    ],
)
def test_a_publisher_that_says_nothing_good_is_a_refusal(world, publisher, said, reason):
    end = ask(world, get(LIST))
    if said is None:
        assert not publisher.end.protocol.eof_received()
        publisher.end.goes(ConnectionResetError("Connection reset by peer"))
    else:
        publisher.end.says(said)
        publisher.end.says(b"more")
    refusal(world, end, reason)


def test_nobody_at_the_socket_is_a_refusal(world, publisher):
    publisher.error = ConnectionRefusedError("Connection refused")
    refusal(world, ask(world, get(LIST)), "no_healthy_upstream")


def test_a_publisher_that_is_silent_is_not_waited_for_longer(world, publisher):
    end = ask(world, get(LIST))
    world.passes(ANSWER_SECONDS + 2)
    refusal(world, end, "no_healthy_upstream")
    assert publisher.end.is_lost


@pytest.mark.parametrize("said", [b"list and more", None])
def test_half_an_answer_is_not_taken_for_the_whole(world, publisher, said):
    end = ask(world, get(LIST))
    publisher.end.says(reply_line(Reply(200, (), 8)))
    if said is None:
        publisher.end.says(b"list")
        publisher.end.goes()
    else:
        publisher.end.says(said)
    assert end.is_lost
    assert not end.has_said_eof
    record = world.record
    assert record["status"] == 200
    assert record["reason"] == ("no_healthy_upstream" if said is None else "upstream_bad_response")


# the pace


def whole(body, etag='"1"'):
    return reply_line(Reply(200, (("ETag", etag),), len(body))) + body


def test_a_slow_client_does_not_hold_the_publisher_up(world, publisher):
    end = ask(world, get(LIST))
    end.is_slow = True
    body = bytes(range(256)) * (10 * HIGH_WATER_BYTES // 256)
    publisher.end.answers(body)
    assert publisher.end.is_lost
    assert not publisher.end.is_paused
    assert not end.is_lost
    assert end.unread_bytes <= HIGH_WATER_BYTES + 2 * CHUNK_BYTES
    end.reads()
    assert end.is_lost
    assert end.hears().endswith(b"\r\n\r\n" + body)
    assert world.record["bytes_out"] == len(body)


def test_a_pause_before_the_answer_counts_too(world, publisher):
    end = accept(world)

    def asks_and_is_full():
        end.protocol.data_received(get(LIST))
        end.protocol.pause_writing()

    world.does(asks_and_is_full)
    publisher.end.answers(b"list")
    assert b"list" not in bytes(end.heard)
    world.does(end.protocol.resume_writing)
    assert end.hears().endswith(b"list")


def test_clients_of_one_version_share_it_and_the_publisher_sends_it_once(world, publisher):
    body = b"x" * 10 * HIGH_WATER_BYTES
    slow = ask(world, get(LIST))
    slow.is_slow = True
    first = publisher.end
    first.says(whole(body)[: 2 * HIGH_WATER_BYTES])  # still on its way
    early = ask(world, get(LIST))
    publisher.end.says(whole(body)[:HIGH_WATER_BYTES])
    assert publisher.end.is_lost
    assert not first.is_lost
    first.says(whole(body)[2 * HIGH_WATER_BYTES :])
    late = ask(world, get(LIST))
    publisher.end.says(whole(body)[:HIGH_WATER_BYTES])
    other = ask(world, get(LIST))
    publisher.end.says(whole(b"newer", '"2"'))
    assert [end.hears()[-len(body) :] for end in (early, late)] == [body, body]
    assert other.hears().endswith(b"newer")
    slow.reads()
    assert slow.hears().endswith(body)
    assert all(end.is_lost for end in publisher.ends)
    assert world.publisher.bodies._bodies == {}


def test_what_is_shared_goes_on_for_the_others_when_one_leaves_and_ends_with_the_last(world, publisher):
    asked, joined = ask(world, get(LIST)), ask(world, get(LIST))
    first, second = publisher.ends
    first.says(whole(b"abcd")[:-2])
    second.says(whole(b"abcd")[:-3])
    asked.goes()
    assert not first.is_lost
    first.says(b"cd")
    assert joined.hears().endswith(b"abcd")
    left = ask(world, get(LIST))
    publisher.end.says(whole(b"abcd")[:-2])
    left.goes()
    assert publisher.end.is_lost


def test_what_is_shared_breaks_off_for_all(world, publisher):
    ends = [ask(world, get(LIST)) for _ in range(2)]
    for end in publisher.ends:
        end.says(whole(b"abcd")[:-2])
    publisher.ends[0].goes()
    assert all(end.is_lost for end in ends)
    assert [json.loads(line)["reason"] for line in world.log] == ["no_healthy_upstream"] * 2


def test_where_newer_lists_need_the_memory_the_clients_of_the_oldest_are_cut(world, publisher, monkeypatch):
    monkeypatch.setattr(published_body, "MAX_SHARED_BYTES", 4 * 10**6)
    ends = []
    for number in range(5):
        end = ask(world, get(LIST))
        end.is_slow = True
        publisher.end.says(whole(b"x" * 10**6, f'"{number}"'))
        ends.append(end)
    assert [end.is_lost for end in ends] == [True, False, False, False, False]
    assert (world.record["status"], world.record["reason"]) == (200, "request_timeout")


def test_an_answer_longer_than_any_list_is_not_begun(world, publisher):
    end = ask(world, get(LIST))
    publisher.end.says(reply_line(Reply(200, (), published_body.MAX_BODY_BYTES + 1)))
    refusal(world, end, "upstream_bad_response")


def test_a_worker_has_a_bounded_number_of_questions_under_way(world, publisher):
    ends = [ask(world, get(LIST)) for _ in range(MAX_QUESTIONS_AT_ONCE + 2)]
    assert len(publisher.ends) == MAX_QUESTIONS_AT_ONCE
    ends[-2].goes()  # before its turn
    for asked in tuple(publisher.ends):
        asked.answers(b"list")
    assert len(publisher.ends) == MAX_QUESTIONS_AT_ONCE + 1
    publisher.end.answers(b"list")
    assert ends[-1].hears().endswith(b"list")


def test_a_client_that_reads_nothing_is_cut(world, publisher):
    end = ask(world, get(LIST))
    end.is_slow = True
    publisher.end.says(reply_line(Reply(200, (), 10**6)))
    publisher.end.says(b"x" * (HIGH_WATER_BYTES + 1))
    world.passes(IDLE_SECONDS + 2)
    assert end.is_lost
    assert publisher.end.is_lost
    assert (world.record["status"], world.record["reason"]) == (200, "request_timeout")


def test_a_client_that_reads_ever_so_little_is_cut_in_the_end(world, publisher):
    end = ask(world, get(LIST))
    publisher.end.says(reply_line(Reply(200, (), 10**6)))
    for _ in range(int(TRANSFER_SECONDS / 30) + 1):
        if end.is_lost:
            break
        publisher.end.says(b"x")
        world.passes(30)
    assert end.is_lost
    assert 0 < world.record["bytes_out"] <= TRANSFER_SECONDS / 30 + 1


def test_the_last_bytes_are_not_waited_for_either(world, publisher):
    end = ask(world, get(LIST))
    end.is_slow = True
    publisher.end.answers(b"x" * (HIGH_WATER_BYTES + 1))
    assert not end.is_lost
    assert publisher.end.is_lost
    world.passes(IDLE_SECONDS + 2)
    assert end.is_lost
    world.does(end.protocol.resume_writing)
    assert len(world.log) == 1


def test_a_question_that_does_not_come_is_not_waited_for(world, publisher):
    end = ask(world, POST[:-1])
    world.passes(22)
    refusal(world, end, "request_timeout")
    silent = accept(world)
    world.passes(22)
    assert silent.is_lost
    assert not publisher.ends


# the end


def test_a_client_that_leaves_takes_its_question_along(world, publisher):
    end = ask(world, get(LIST))
    end.goes()
    assert publisher.end.is_lost
    assert (world.record["status"], world.record["uri"]) == (None, LIST)
    assert world.service.connections.open == set()


def test_a_client_that_only_stops_sending_gets_its_answer(world, publisher):
    end = ask(world, get(LIST))
    assert end.protocol.eof_received()
    publisher.end.answers(b"list")
    assert end.hears().endswith(b"list")
    assert not ask(world, POST[:-1]).protocol.eof_received()


def test_an_answer_that_comes_after_its_client_left_is_nobodys(world, publisher):
    waiting = []

    async def connect(make, _path):
        waiting.append(make)
        await world.loop.create_future()

    world.loop.create_unix_connection = connect
    end = ask(world, get(LIST))
    end.goes()
    late = publisher.ends
    protocol = waiting[0]()
    late.append(PublisherEnd(world, protocol))
    world.does(protocol.connection_made, late[0])
    assert late[0].is_lost
    assert not late[0].heard
    world.does(protocol.data_received, b"nonsense\n")
    world.passes(10)
    assert len(world.log) == 1


def test_draining_lets_an_answer_end(world, publisher):
    idle, busy = accept(world), ask(world, get(LIST))
    world.does(world.service.connections.drain)
    assert idle.is_lost
    assert not busy.is_lost
    publisher.end.answers(b"list")
    assert busy.is_lost
    assert busy.hears().endswith(b"list")


def test_cutting_writes_down_what_was_under_way(world, publisher):
    end = ask(world, get(LIST))
    world.does(world.service.connections.cut)
    assert end.is_lost
    assert publisher.end.is_lost
    assert world.record["status"] is None
