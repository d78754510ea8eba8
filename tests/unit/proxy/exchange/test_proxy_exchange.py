"""One request and its answer: framing both ways, what goes wrong on the way, and the deadlines."""

import pytest
from support.dialogue import HIGH_WATER_BYTES, get, header, request, response, status

from gateway.config.model import Limits
from gateway.proxy.exchange.answer import MAX_INTERIM_ANSWERS, MAX_RESPONSE_HEAD_BYTES

IDLE_SECONDS = Limits().transfer_idle_seconds
BYTES_PER_SECOND = Limits().body_bytes_per_second


# framing


def test_a_chunked_request_is_chunked_anew_with_its_trailers(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked"))
    server = world.accepts()
    client.says(b"3;extension=gone\r\nabc\r")
    client.says(b"\n2\r\nde\r\n0\r\nX-Sum: 5\r\nX-Client-Email: spoofed\r\n\r\n")
    head, _, body = server.hears().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    server.says(response())
    assert world.record["bytes_in"] == 5


def test_a_chunked_answer_is_chunked_anew_with_its_trailers(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Transfer-Encoding: chunked", body=b"3;x=y\r\nab"))
    server.says(b"c\r\n0\r\nServer-Timing: 1\r\nKeep-Alive: 5\r\n\r\n")
    head, _, body = client.hears().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"2\r\nab\r\n1\r\nc\r\n0\r\nServer-Timing: 1\r\n\r\n"
    assert world.record["bytes_out"] == 3
    assert client.is_open
    assert world.busy() == [(0, 1)]


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 200 OK\r\n\r\nto the ")
    server.says(b"end")
    server.closes()
    assert client.hears().endswith(b"7\r\nto the \r\n3\r\nend\r\n0\r\n\r\n")
    assert client.is_open
    assert world.busy() == [(0, 0)]
    assert len(world.log) == 1


# Without an error: a TLS connection whose socket was closed without close_notify.
@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_an_answer_that_ends_with_a_broken_connection_is_not_whole(world, error):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 200 OK\r\n\r\npart")
    server.goes(error)
    assert not client.hears().endswith(b"0\r\n\r\n")
    assert client.was_aborted
    assert world.record["reason"] == "upstream_bad_response"


def test_an_http_1_0_client_gets_no_chunks_and_its_connection_closed(world):
    client = world.client()
    client.says(b"GET /webmail HTTP/1.0\r\nHost: mail.example.com\r\n\r\n")
    server = world.accepts()
    assert b"HTTP/1.1\r\n" in server.hears()
    server.says(response("200 OK", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"))
    answer = client.hears()
    assert answer.endswith(b"Connection: close\r\n\r\nabc")
    assert b"chunked" not in answer
    assert not client.is_open
    assert world.record["protocol"] == "HTTP/1.0"


def test_an_http_1_0_client_may_keep_its_connection(world):
    client = world.client()
    client.says(b"GET /webmail HTTP/1.0\r\nHost: mail.example.com\r\nConnection: keep-alive\r\n\r\n")
    world.accepts().says(response(body=b"abc"))
    assert header(client.hears(), "Connection") == "keep-alive"
    assert client.is_open


def test_an_http_1_0_client_that_keeps_alive_is_closed_where_only_that_ends_the_answer(world):
    client = world.client()
    client.says(b"GET /webmail HTTP/1.0\r\nHost: mail.example.com\r\nConnection: keep-alive\r\n\r\n")
    server = world.accepts()
    server.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
    server.closes()
    assert client.hears().endswith(b"Connection: close\r\n\r\nabc")
    assert not client.is_open


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", response("200 OK", "Content-Length: 1000")),
        ("HEAD", response("200 OK", "Transfer-Encoding: chunked")),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", response("304 Not Modified", "Content-Length: 1000")),
    ],
)
def test_an_answer_without_a_body_ends_with_its_head(world, method, answer):
    client = world.client()
    client.says(request(method))
    server = world.accepts()
    server.says(answer)
    heard = client.hears()
    assert heard.endswith(b"\r\n\r\n")
    assert b"chunked" not in heard
    assert world.record["bytes_out"] == 0
    server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")  # some servers send a body all the same
    assert server.is_lost
    assert world.busy() == [(0, 0)]
    client.says(get())
    world.accepts().says(response(body=b"next"))
    assert client.hears().endswith(b"next")


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", response("200 OK", "Content-Length: 1000")),
        ("HEAD", response("200 OK", "Transfer-Encoding: chunked")),
        ("HEAD", response("401 Unauthorized", "Content-Length: 1000")),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", response("204 No Content", "Content-Length: 5")),
        ("GET", response("204 No Content", "Transfer-Encoding: chunked")),
        ("GET", response("304 Not Modified", "Content-Length: 1000")),
        ("GET", response("304 Not Modified", "Transfer-Encoding: chunked")),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_a_body_that_should_not_be_there_is_nobodys_answer(make_world, own, method, answer):
    """It comes when the next request is on its way already."""
    mail = {"servers": ["http://10.0.0.5:8080"], "connections": "per_client" if own else "shared"}
    world = make_world(upstreams={"mail": mail})
    client = world.client()
    client.says(request(method))
    server = world.accepts()
    server.says(answer)
    client.hears()
    server.hears()
    client.says(request("POST", "/webmail", "Content-Length: 1", body=b"x"))
    assert server.hears() == b""
    server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert client.hears() == b""
    world.accepts().says(response(body=b"next"))
    assert client.hears().endswith(b"next")
    assert client.is_open
    assert world.busy() == [(1, 0)] if own else [(0, 1)]
    assert len(world.log) == 2


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", response("200 OK", "Content-Length: 0")),
        ("GET", response("204 No Content", "Content-Length: 0")),
        ("GET", response("304 Not Modified", "Content-Length: 0")),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
def test_an_answer_behind_which_nothing_is_to_be_expected_leaves_its_connection(world, method, answer):
    client = world.client()
    client.says(request(method))
    server = world.accepts()
    server.says(answer)
    client.hears()
    assert world.busy() == [(0, 1)]
    client.says(get())
    server.says(response(body=b"next"))
    assert client.hears().endswith(b"next")


@pytest.mark.parametrize("own", [False, True])
def test_a_client_does_not_notice_a_body_that_comes_with_the_head(make_world, own):
    mail = {"servers": ["http://10.0.0.5:8080"], "connections": "per_client" if own else "shared"}
    world = make_world(upstreams={"mail": mail})
    client = world.client()
    client.says(request("HEAD") + get())
    server = world.accepts()
    server.says(response("200 OK", body=b"poison"))
    assert client.hears().endswith(b"\r\n\r\n")
    assert server.is_lost
    world.accepts().says(response(body=b"next"))
    assert client.hears().endswith(b"next")
    assert client.is_open


def test_a_login_ends_with_a_body_that_comes_with_the_head(world):
    client = world.client()
    client.says(request("HEAD", "/webmail", "Authorization: NTLM AAAA"))
    server = world.accepts()
    server.says(response("200 OK", body=b"poison"))
    assert server.is_lost
    assert not client.is_open


@pytest.mark.parametrize("what", ["says", "closes"])
def test_a_client_does_not_notice_what_becomes_of_a_connection_that_is_not_used_again(make_world, what):
    own = {"servers": ["http://10.0.0.5:8080"], "connections": "per_client"}
    world = make_world(upstreams={"mail": own})
    client = world.client()
    client.says(request("HEAD"))
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 6"))
    client.hears()
    server.says(b"poison") if what == "says" else server.closes()
    assert server.is_lost
    assert client.is_open
    client.says(get())
    world.accepts().says(response(body=b"next"))
    assert client.hears().endswith(b"next")


def test_a_login_is_not_given_up_for_it(world):
    """What might come would be the same client's."""
    client = world.client()
    client.says(request("HEAD", "/webmail", "Authorization: NTLM AAAA"))
    server = world.accepts()
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM BBBB", "Content-Length: 1000"))
    client.hears()
    server.hears()
    client.says(request("HEAD", "/webmail", "Authorization: NTLM CCCC"))
    assert server.hears().startswith(b"HEAD ")


def test_a_connection_that_is_lost_while_it_ends_is_counted_once(world):
    client = world.client()
    client.says(request("HEAD"))
    server = world.accepts()
    protocol = server.protocol
    protocol._is_lost = True
    server.says(response("200 OK", "Content-Length: 1000"))
    assert world.busy() == [(1, 0)]  # the loss itself will count it down
    protocol.state.busy -= 1


def test_bytes_behind_an_answer_cost_the_connection(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response(body=b"ok") + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert client.hears().endswith(b"ok")
    assert server.is_lost
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize("line", ["Connection: close", "Connection: Close, X"])
def test_an_upstream_that_closes_is_not_used_again(world, line):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", line))
    assert server.is_lost
    assert client.is_open


# interim answers


def test_interim_answers_pass_before_the_final_one(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Expect: 100-continue", "Content-Length: 2"))
    server = world.accepts()
    assert header(server.hears(), "Expect") == "100-continue"
    server.says(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
    assert client.hears() == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    client.says(b"hi")
    server.says(b"HTTP/1.1 102 Processing\r\n\r\n" + response())
    assert client.hears().startswith(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert world.record["status"] == 200


def test_an_http_1_0_client_hears_no_interim_answers(world):
    client = world.client()
    client.says(b"GET /webmail HTTP/1.0\r\nHost: mail.example.com\r\n\r\n")
    world.accepts().says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response())
    assert client.hears().startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("protocol", [b"websocket", b""])
def test_protocols_switched_unasked_are_a_bad_answer(world, protocol):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol)
    assert status(client.hears()) == 502
    assert server.is_lost
    assert world.record["reason"] == "upstream_bad_response"


def test_interim_answers_without_end_are_a_bad_answer(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INTERIM_ANSWERS)
    assert world.log == []
    server.says(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert world.record["reason"] == "upstream_bad_response"


# bad answers, and upstreams that are lost


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"220 mail ESMTP\r\n\r\n",
        response("200 OK", "Transfer-Encoding: gzip"),
        response("200 OK", "Content-Length: x"),
        response("200 OK", "Content-Length: 1", "Content-Length: 2"),
        response("200 OK", "Transfer-Encoding: chunked", body=b"no chunk\r\n"),
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_RESPONSE_HEAD_BYTES,
    ],
)
def test_what_is_no_answer_is_a_502(world, answer):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(answer)
    heard = client.hears()
    assert (status(heard), header(heard, "X-Gateway-Reason")) == (502, "upstream_bad_response")
    assert server.is_lost
    assert client.is_open
    assert world.record["status"] == 502


def test_a_header_section_of_an_answer_may_come_in_any_pieces(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    for byte in response(body=b"slowly"):
        server.says(bytes((byte,)))
    assert client.hears().endswith(b"\r\n\r\nslowly")


def test_a_body_that_breaks_later_cuts_the_answer_short(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Transfer-Encoding: chunked", body=b"1\r\na\r\n"))
    server.says(b"no chunk\r\n")
    assert client.was_aborted
    assert (world.record["status"], world.record["reason"]) == (200, "upstream_bad_response")


@pytest.mark.parametrize("how", ["closes", "goes"])
def test_an_upstream_lost_before_the_head_is_a_502(world, how):
    client = world.client()
    client.says(get())
    server = world.accepts()
    getattr(server, how)()
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert client.is_open
    assert world.busy() == [(0, 0)]


def test_an_upstream_lost_within_its_head_is_a_bad_answer(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(b"HTTP/1.1 200 O")
    server.closes()
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_bad_response"


def test_an_upstream_lost_within_its_body_cuts_the_answer_short(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 10", body=b"half "))
    server.closes()
    assert client.was_aborted
    assert world.record["reason"] == "upstream_bad_response"
    assert world.record["bytes_out"] == 5


def test_no_server_is_reachable(world):
    client = world.client()
    client.says(get())
    world.refuses()
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert world.record["upstream"] is None
    assert world.busy() == [(0, 0)]
    assert client.is_open


def test_a_server_that_does_not_answer_the_connection_in_time_is_unreachable(world):
    client = world.client()
    client.says(get())
    world.passes(6)
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert world.busy() == [(0, 0)]
    assert world.dials == []


# the client goes


def test_a_client_that_goes_while_the_upstream_is_connected_ends_the_attempt(world):
    client = world.client()
    client.says(get())
    client.goes()
    assert world.dials == []
    assert world.busy() == [(0, 0)]
    assert world.record["status"] is None


def test_a_client_that_goes_within_the_answer_frees_the_upstream(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 10", body=b"half "))
    client.goes()
    assert server.is_lost
    assert world.busy() == [(0, 0)]
    assert (world.record["status"], world.record["bytes_out"]) == (200, 5)


# limits and deadlines


def test_a_body_may_be_as_long_as_the_limit_and_no_longer(make_world):
    world = make_world(limits={"body": 1000})
    announced, chunked = world.client(), world.client()
    announced.says(request("POST", "/webmail", "Content-Length: 1001"))
    assert header(announced.hears(), "X-Gateway-Reason") == "body_too_large"
    chunked.says(request("POST", "/webmail", "Transfer-Encoding: chunked"))
    server = world.accepts()
    chunked.says(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert chunked.is_open
    chunked.says(b"1\r\nx\r\n")
    assert header(chunked.hears(), "X-Gateway-Reason") == "body_too_large"
    assert server.is_lost
    assert not chunked.is_open


def test_a_body_that_is_no_body_is_refused(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked"))
    server = world.accepts()
    client.says(b"no chunk\r\n")
    assert header(client.hears(), "X-Gateway-Reason") == "bad_request"
    assert server.is_lost
    assert not client.is_open


def test_a_body_that_was_held_and_is_no_body_is_refused(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Transfer-Encoding: chunked", body=b"no chunk\r\n"))
    server = world.accepts()
    assert header(client.hears(), "X-Gateway-Reason") == "bad_request"
    assert server.is_lost


def test_a_client_that_sends_nothing_of_its_body_is_refused(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10", body=b"half "))
    world.accepts()
    world.passes(IDLE_SECONDS - 1)
    client.says(b"more")
    world.passes(IDLE_SECONDS - 1)
    assert world.log == []
    world.passes(3)
    assert world.record["reason"] == "request_timeout"


def test_a_body_that_trickles_is_refused_after_a_minute(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000000"))
    world.accepts()
    for _ in range(70):
        client.says(b"x" * (BYTES_PER_SECOND - 2))
        world.passes(1)
    assert world.record["reason"] == "request_timeout"


def test_a_body_at_the_least_pace_may_take_for_ever(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000000"))
    world.accepts()
    for _ in range(10 * int(IDLE_SECONDS)):
        client.says(b"x" * BYTES_PER_SECOND)
        world.passes(1)
    assert world.log == []


def test_nobody_lives_on_what_was_sent_before(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000000", body=bytes(500_000)))
    server = world.accepts()
    for _ in range(2 * int(IDLE_SECONDS) + 10):
        server.hears()
        client.says(b"x")
        world.passes(1)
    assert world.record["reason"] == "request_timeout"
    assert world.record["duration_ms"] < (2 * IDLE_SECONDS + 2) * 1000


def test_time_in_which_the_upstream_did_not_read_is_not_the_clients(make_world):
    world = make_world(limits={"transfer_idle": "10m"})
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000000"))
    server = world.accepts(is_slow=True)
    client.says(bytes(2 * HIGH_WATER_BYTES))
    world.passes(500)
    server.reads()
    world.passes(500)
    client.says(b"x")
    assert world.log == []
    world.passes(500)
    client.says(b"x")
    assert world.record["reason"] == "request_timeout"


def test_no_least_pace_may_be_asked_for(make_world):
    world = make_world(limits={"body_bytes_per_second": 0})
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000000"))
    world.accepts()
    for _ in range(20):
        client.says(b"x")
        world.passes(IDLE_SECONDS - 2)
    assert world.log == []


@pytest.mark.parametrize("method", ["RPC_IN_DATA", "RPC_OUT_DATA"])
def test_outlook_anywhere_may_trickle(world, method):
    client = world.client()
    client.says(request(method, "/webmail", "Content-Length: 1073741824"))
    world.accepts()
    for _ in range(10):
        world.passes(300)
        client.says(b"ping")
    assert client.is_open
    assert world.log == []


def test_an_upstream_that_does_not_answer_is_a_504(make_world):
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client = world.client()
    client.says(get())
    server = world.accepts()
    world.passes(9)
    assert world.log == []
    world.passes(3)
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_timeout"
    assert server.is_lost


def test_a_poll_may_wait_for_59_minutes_where_nothing_is_said(world):
    """The longest heartbeat of a phone; within the default time for an answer, of an hour."""
    answered, forgotten = world.client(), world.client()
    answered.says(request("POST", "/Microsoft-Server-ActiveSync"))
    server = world.accepts()
    forgotten.says(request("POST", "/Microsoft-Server-ActiveSync"))
    world.accepts()
    world.passes(59 * 60)
    assert world.log == []
    server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
    assert answered.hears().endswith(b"\r\n\r\nnew")
    world.passes(60 + 1)
    assert header(forgotten.hears(), "X-Gateway-Reason") == "upstream_timeout"


def test_the_time_for_an_answer_begins_when_the_body_is_complete(make_world):
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10", body=b"half "))
    world.accepts()
    world.passes(30)
    client.says(b"whole")
    world.passes(9)
    assert world.log == []
    world.passes(3)
    assert world.record["reason"] == "upstream_timeout"


def test_an_answer_may_take_for_ever_as_long_as_something_comes(make_world):
    world = make_world(
        upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": "10s"}}},
    )
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Transfer-Encoding: chunked"))
    for _ in range(10):
        world.passes(8)
        server.says(b"1\r\n.\r\n")
    assert client.is_open
    world.passes(12)
    assert client.was_aborted
    assert world.record["reason"] == "upstream_timeout"


def test_a_body_and_its_answer_may_stream_both_ways_at_once_for_hours(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 1000000"))
    server = world.accepts()
    server.says(response("200 OK", "Transfer-Encoding: chunked"))
    for _ in range(20):
        client.says(b"x" * 10_000)
        server.says(b"1\r\n.\r\n")
        world.passes(50)
    assert client.is_open
    for _ in range(3):  # and one way at a time
        server.says(b"1\r\n.\r\n")
        world.passes(50)
    assert client.is_open
    assert world.log == []


def test_an_interim_answer_does_not_give_the_client_an_hour_for_its_body(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10", "Expect: 100-continue"))
    world.accepts().says(b"HTTP/1.1 100 Continue\r\n\r\n")
    world.passes(IDLE_SECONDS + 2)
    assert world.record["reason"] == "request_timeout"


def test_a_client_that_stops_reading_within_an_answer_is_cut(world):
    client = world.client()
    client.is_slow = True
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * (HIGH_WATER_BYTES + 1)))
    server.says(b"x")  # on its way already
    world.passes(IDLE_SECONDS - 2)
    assert world.log == []
    world.passes(4)
    assert client.was_aborted
    assert world.record["reason"] == "request_timeout"
    assert server.is_lost


ENOUGH_BYTES = int((IDLE_SECONDS + 2) * Limits().body_bytes_per_second)  # for a span of time, and its end


def slow_reader(world, *more, size=1_000_000):
    client = world.client()
    client.is_slow = True
    client.says(get("/webmail"))
    server = world.accepts()
    server.says(response("200 OK", f"Content-Length: {size}", *more, body=b"x" * (HIGH_WATER_BYTES + 1)))
    return client, server


def test_a_client_that_reads_slowly_and_never_stops_is_not_cut(world):
    """Its socket takes nothing more for minutes, since the kernel still has so much for it."""
    client, server = slow_reader(world)
    for _ in range(5):
        client.takes(ENOUGH_BYTES)
        world.passes(IDLE_SECONDS + 1)
        assert world.log == []
    world.passes(IDLE_SECONDS + 1)
    assert client.was_aborted
    assert world.record["reason"] == "request_timeout"
    assert server.is_lost


def test_a_client_that_reads_a_byte_now_and_then_is_cut(world):
    client, server = slow_reader(world)
    client.takes(ENOUGH_BYTES // 2)
    world.passes(IDLE_SECONDS + 2)
    assert client.was_aborted
    assert server.is_lost


@pytest.mark.parametrize("last", [(), ("Connection: close",)])
def test_the_end_of_an_answer_may_be_read_as_slowly_as_its_beginning(world, last):
    client, _ = slow_reader(world, *last, size=HIGH_WATER_BYTES + 1)
    assert world.record["status"] == 200
    for _ in range(5):
        client.takes(ENOUGH_BYTES)
        world.passes(IDLE_SECONDS + 1)
        assert not client.was_aborted
    world.passes(IDLE_SECONDS + 1)
    assert client.was_aborted


def test_who_has_read_the_end_of_an_answer_may_be_idle_as_long_as_anybody(world):
    client, _ = slow_reader(world, size=HIGH_WATER_BYTES + 1)
    client.reads()
    world.passes(Limits().keepalive_seconds - 1)
    assert client.is_open
    world.passes(2)
    assert not client.is_open


def test_sending_does_not_excuse_a_client_from_reading(world):
    client = world.client()
    client.is_slow = True
    client.says(request("POST", "/webmail", "Content-Length: 1000000"))
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * (HIGH_WATER_BYTES + 1)))
    for _ in range(7):
        client.says(b"x" * 10_000)
        world.passes(10)
    assert client.was_aborted


RESPONSE_SECONDS = 5 * IDLE_SECONDS
PATIENT = {"servers": ["http://10.0.0.5:8080"], "timeouts": {"response": f"{RESPONSE_SECONDS:g}s"}}


def slow_upload(make_world, size=1_000_000, framing="Content-Length: 1000000"):
    """A server that has stopped reading; the client is stopped too, and what it had sent already comes."""
    world = make_world(upstreams={"mail": PATIENT})
    client = world.client()
    client.says(request("POST", "/webmail", framing))
    server = world.accepts(is_slow=True)
    client.says(b"x" * (HIGH_WATER_BYTES + 1))
    assert client.is_paused
    client.says(bytes(min(size - HIGH_WATER_BYTES - 1, 10_000)))
    return world, client, server


def test_an_upstream_that_stops_reading_the_body_is_the_one_to_blame(make_world, caplog):
    """It has the time for an answer, and the client's own does not run."""
    world, client, server = slow_upload(make_world)
    world.passes(RESPONSE_SECONDS - 1)
    assert world.log == []
    world.passes(3)
    answer = client.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (504, "upstream_timeout")
    assert server.is_lost
    assert "read nothing of the request's body" in world.record["detail"]
    assert "read nothing of the request's body" in caplog.text


def test_an_upstream_that_reads_the_body_slowly_and_never_stops_is_waited_for(make_world):
    """Its socket takes nothing more for long, since the kernel still has so much for it."""
    world, client, server = slow_upload(make_world)
    for _ in range(5):
        server.takes(1)
        world.passes(RESPONSE_SECONDS)
        assert world.log == []
    world.passes(RESPONSE_SECONDS)
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_timeout"


def test_the_clients_time_runs_again_when_the_upstream_has_caught_up(make_world):
    world, client, server = slow_upload(make_world)
    world.passes(RESPONSE_SECONDS - 1)
    server.reads()
    assert not client.is_paused
    world.passes(IDLE_SECONDS - 1)
    assert world.log == []
    world.passes(3)
    assert header(client.hears(), "X-Gateway-Reason") == "request_timeout"


def test_an_upstream_that_has_yet_to_read_the_end_of_a_body_is_waited_for(make_world):
    size = HIGH_WATER_BYTES + 1
    world, client, server = slow_upload(make_world, size, f"Content-Length: {size}")
    for _ in range(3):
        server.takes(1)
        world.passes(RESPONSE_SECONDS)
    assert world.log == []
    server.reads()
    world.passes(RESPONSE_SECONDS - 1)  # the time for an answer begins here
    assert world.log == []
    world.passes(3)
    assert "did not answer" in world.record["detail"]
    assert client.is_lost or not client.is_open


def test_a_small_body_that_is_not_taken_is_no_reason_to_wait_longer(make_world):
    world = make_world(upstreams={"mail": PATIENT})
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 5"))
    server = world.accepts(is_slow=True)
    client.says(b"hello")
    world.passes(RESPONSE_SECONDS - 1)
    server.takes(1)
    world.passes(3)
    assert "did not answer" in world.record["detail"]


def test_a_head_that_is_taken_slowly_is_no_body(make_world):
    world = make_world(upstreams={"mail": PATIENT})
    client = world.client()
    client.says(get())
    protocol = world.accepts().protocol
    world.does(protocol.pause_writing)
    assert client.is_paused
    world.passes(2)
    world.does(protocol.resume_writing)
    assert not client.is_paused
    world.passes(RESPONSE_SECONDS - 3)
    assert world.log == []
    world.passes(3)
    assert world.record["reason"] == "upstream_timeout"


def test_a_client_that_reads_nothing_is_to_blame_beside_an_upstream_that_does_not_either(make_world):
    world, client, server = slow_upload(make_world)
    client.is_slow = True
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * (HIGH_WATER_BYTES + 1)))
    world.passes(IDLE_SECONDS + 2)
    assert world.record["reason"] == "request_timeout"


def test_a_client_that_has_caught_up_leaves_the_upstream_its_time(make_world):
    world, client, server = slow_upload(make_world)
    client.is_slow = True
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * (HIGH_WATER_BYTES + 1)))
    world.passes(IDLE_SECONDS - 2)
    client.reads()
    world.passes(RESPONSE_SECONDS - 2)
    assert world.log == []
    world.passes(4)
    assert world.record["reason"] == "upstream_timeout"


def test_an_answer_before_its_upstream_has_read_the_body_costs_the_connection(world):
    """What is still in its buffer is not what the next client's request should stand behind."""
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 100000"))
    server = world.accepts(is_slow=True)
    client.says(b"x" * 100_000)
    server.says(response())
    assert status(client.hears()) == 200
    assert world.busy() == [(0, 0)]
    assert server.is_lost
    assert not client.is_paused
    assert client.is_open


def test_an_exchange_says_what_it_does(world):
    client = world.client()
    client.says(get())
    world.accepts()
    exchange = client.application._exchange
    assert (
        repr(exchange)
        == "<Exchange GET b'/webmail' UPSTREAM via <UpstreamConnection http://10.0.0.5:8080 busy after 0>>"
    )


def turn(client):
    return repr(client.application._exchange).split()[3]


def test_an_exchange_says_whose_turn_it_is(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10", "Expect: 100-continue"))
    assert turn(client) == "CONNECTING"
    server = world.accepts()
    assert turn(client) == "AWAIT_CONTINUE"
    server.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert turn(client) == "CLIENT_BODY"
    client.says(b"hello")
    assert turn(client) == "CLIENT_BODY"
    client.says(b"world")
    assert turn(client) == "UPSTREAM"
    client.is_slow = True
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * (HIGH_WATER_BYTES + 1)))
    assert turn(client) == "CLIENT_READS"
    client.reads()
    assert turn(client) == "UPSTREAM"


def test_an_exchange_says_that_a_login_needs_the_rest_of_the_body(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10"))
    world.accepts().says(response("401 Unauthorized", "WWW-Authenticate: NTLM"))
    assert turn(client) == "LOGIN_TAIL"
    client.says(b"hello")
    assert turn(client) == "LOGIN_TAIL"


def test_what_comes_too_late_changes_nothing(world):
    """Each of these may be called once more by a transport that is on its way out."""
    client = world.client()
    client.says(get())
    server = world.accepts()
    exchange = client.application._exchange
    server.says(response())
    before = len(world.log)
    world.does(exchange.client_gone)
    world.does(exchange.upstream_lost, None)
    world.does(exchange.on_deadline)
    world.does(exchange.resume_response)
    world.does(exchange.pause_response)
    assert exchange.request_data(b"late") == b"late"
    assert len(world.log) == before
    assert world.busy() == [(0, 1)]


def test_an_answer_of_204_has_no_length(world):
    """RFC 9110 8.6; a client could take the next answer for its body."""
    client = world.client()
    client.says(get())
    world.accepts().says(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
    assert b"Content-Length" not in client.hears()


def test_trailers_that_belong_into_a_head_do_not_pass(world):
    """RFC 9110 6.5.1: whoever merges them would read another message."""
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("200 OK", "Transfer-Encoding: chunked", body=b"0\r\nSet-Cookie: a=b\r\nX-Sum: 1\r\n\r\n"))
    assert client.hears().endswith(b"0\r\nX-Sum: 1\r\n\r\n")


@pytest.mark.parametrize(("size", "times"), [(16 * 1024, 0), (16 * 1024 + 1, 1)])
def test_what_a_large_answer_needed_is_not_held_while_idle(world, size, times):
    client = world.client()
    client.says(get())
    world.accepts().says(response(body=b"x" * size))
    client.hears()
    assert client.buffers_released == times


def test_an_answer_with_bare_line_feeds_is_not_waited_for(world):
    client = world.client()
    client.says(get())
    world.accepts().says(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
    assert status(client.hears()) == 502
