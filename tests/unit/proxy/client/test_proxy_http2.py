"""A client's connection over HTTP/2: streams side by side, windows, priorities, GOAWAY, and the end."""

from datetime import timedelta

import pytest
from h2.errors import ErrorCodes
from support.dialogue import HIGH_WATER_BYTES, INSIDE, OUTSIDE, response
from support.pki import NOW

from gateway.config.model import Limits
from gateway.facts import parse_address
from gateway.http import http2_frames
from gateway.http.http2 import Http2Codec
from gateway.proxy.client.http2 import FULL_SECONDS, GOAWAY_SECONDS
from gateway.proxy.client.http2_stream import LINGER_SECONDS
from gateway.proxy.refusal import MAX_REFUSALS_IN_A_ROW
from gateway.tls.layer import SLICE_BYTES

FIRST_WINDOW = 65_535
LIFE_SECONDS = 30


def ended(client):
    """(error code, cause) with which the gateway has ended the connection."""
    client.reads()
    assert client.goaway is not None
    assert not client.end.is_open
    return client.goaway[1:]


# requests and answers


def test_a_request_goes_to_the_upstream_as_http_1_1_and_its_answer_comes_back(world):
    client = world.http2_client()
    answer = client.asks("/webmail?q=1", fields=[("user-agent", "test"), ("cookie", "a=1"), ("cookie", "b=2")])
    server = world.accepts()
    head = server.hears()
    assert head.startswith(b"GET /webmail?q=1 HTTP/1.1\r\nHost: mail.example.com\r\nuser-agent: test\r\n")
    assert b"cookie: a=1; b=2\r\n" in head
    server.says(response("200 OK", "Content-Type: text/plain", "Connection: keep-alive", body=b"hi"))
    client.reads()
    assert (answer.status, answer.body, answer.is_complete) == (200, b"hi", True)
    assert answer.fields["content-type"] == "text/plain"
    assert answer.fields["content-length"] == "2"
    assert "x-request-id" in answer.fields
    assert "connection" not in answer.fields
    record = world.record
    assert (record["status"], record["protocol"], record["uri"]) == (200, "HTTP/2.0", "/webmail?q=1")
    assert (record["bytes_out"], record["user_agent"]) == (2, "test")
    assert world.busy() == [(0, 1)]


def test_requests_are_served_side_by_side_and_answered_as_they_come(world):
    client = world.http2_client()
    slow, quick = client.asks("/webmail/slow"), client.asks("/webmail/quick")
    first, second = world.accepts(), world.accepts()
    second.says(response(body=b"quick"))
    client.reads()
    assert (quick.body, quick.is_complete, slow.status) == (b"quick", True, None)
    first.says(response(body=b"slow"))
    client.reads()
    assert (slow.body, slow.is_complete) == (b"slow", True)
    assert [record["uri"] for record in world.records] == ["/webmail/quick", "/webmail/slow"]


def test_one_request_of_a_read_is_answered_before_others_are_served(world):
    flood, other = world.http2_client(OUTSIDE), world.client("203.0.113.10")
    for number in range(9):
        stream_id = 1 + 2 * number
        head = [(":method", "GET"), (":scheme", "https"), (":authority", "mail.example.com"), (":path", "/x")]
        flood.connection.send_headers(stream_id, head, end_stream=True)
    data = flood.connection.data_to_send()
    seen = []

    def both():
        flood.end.application.data_received(data)
        seen.append(len(world.log))
        other.application.data_received(b"GET /y HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
        seen.append(len(world.log))

    world.does(both)
    assert seen == [1, 2]
    assert [record["uri"] for record in world.records] == ["/x", "/y", *["/x"] * 8]


def test_a_body_with_a_length_is_forwarded_with_it(world):
    client = world.http2_client()
    answer = client.asks(method="POST", body=b"abc", fields=[("content-length", "6")], ends=False)
    server = world.accepts()
    head, _, body = server.hears().partition(b"\r\n\r\n")
    assert b"Content-Length: 6" in head
    assert body == b"abc"
    client.sends(answer, b"def", ends=True)
    assert server.hears() == b"def"
    server.says(response())
    client.reads()
    assert answer.is_complete
    assert world.record["bytes_in"] == 6


def test_a_body_without_a_length_is_chunked_for_the_upstream_with_its_trailers(world):
    client = world.http2_client()
    answer = client.asks(method="POST", body=b"abc", ends=False)
    server = world.accepts()
    head, _, body = server.hears().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"3\r\nabc\r\n"
    client.ends(answer, [("x-sum", "7")])
    assert server.hears() == b"0\r\nx-sum: 7\r\n\r\n"
    server.says(response())
    client.reads()
    assert answer.is_complete


def test_a_body_that_comes_before_the_upstream_is_connected_waits(world):
    client = world.http2_client()
    answer = client.asks(method="PUT", body=b"abc")
    server = world.accepts()
    assert server.hears().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    server.says(response("201 Created"))
    client.reads()
    assert answer.status == 201


def test_an_answer_with_trailers_and_one_without_a_length(world):
    client = world.http2_client()
    answer = client.asks()
    server = world.accepts()
    server.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    client.reads()
    assert (answer.body, answer.is_complete) == (b"abc", False)
    server.says(b"0\r\nX-Sum: 7\r\n\r\n")
    client.reads()
    assert answer.trailers == [("x-sum", "7")]
    assert answer.is_complete


def test_interim_answers_and_a_100_for_the_body(world):
    client = world.http2_client()
    answer = client.asks(method="POST", ends=False, fields=[("expect", "100-continue")])
    server = world.accepts()
    server.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    client.reads()
    assert answer.interim == [100, 103]
    client.sends(answer, b"abc", ends=True)
    server.says(response())
    client.reads()
    assert answer.status == 200


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body(world, method):
    client = world.http2_client()
    answer = client.asks(method=method)
    world.accepts().says(response("304 Not Modified" if method == "GET" else "200 OK", "Content-Length: 9"))
    client.reads()
    assert answer.is_complete
    assert answer.body == b""


def test_an_early_answer_ends_the_stream_and_the_rest_of_the_body_is_not_wanted(world):
    client = world.http2_client()
    answer = client.asks(method="POST", body=b"abc", ends=False)
    server = world.accepts()
    server.says(response("413 Content Too Large", "Connection: close"))
    client.reads()
    assert (answer.status, answer.is_complete, answer.reset) == (413, True, None)
    client.sends(answer, b"x" * 10_000)  # it may not have read the answer yet
    world.passes(LINGER_SECONDS + 2)
    client.reads()
    assert answer.reset == ErrorCodes.NO_ERROR
    other = client.asks()
    world.accepts().says(response())
    client.reads()
    assert other.status == 200


# refusals


def test_a_refusal_is_answered_and_logged_and_the_connection_goes_on(world):
    client = world.http2_client()
    refused = client.asks("/secret")
    assert (refused.status, refused.fields["x-gateway-reason"]) == (403, "denied_by_rule")
    assert refused.is_complete
    answer = client.asks()
    world.accepts().says(response())
    client.reads()
    assert answer.status == 200
    assert [record["status"] for record in world.records] == [403, 200]


def test_where_another_certificate_could_help_the_client_is_asked_to_connect_again(world):
    client = world.http2_client(OUTSIDE)
    refused = client.asks()
    assert (refused.status, refused.fields["x-gateway-reason"]) == (403, "certificate_missing")
    assert ended(client) == (ErrorCodes.NO_ERROR, b"")


def test_many_refusals_in_a_row_end_the_connection(world):
    client = world.http2_client()
    for _ in range(MAX_REFUSALS_IN_A_ROW - 1):
        client.asks("/secret")
        assert client.goaway is None
    client.asks("/secret")
    assert ended(client) == (ErrorCodes.NO_ERROR, b"")
    assert len(world.records) == MAX_REFUSALS_IN_A_ROW


def test_another_host_than_the_handshakes_is_misdirected(make_world, files):
    world = make_world(sites=[files.site("mail.example.com", "other.example.com")])
    client = world.http2_client()
    answer = client.asks(host="other.example.com")
    assert (answer.status, answer.fields["x-gateway-reason"]) == (421, "host_mismatch")
    answer = client.asks(host="MAIL.example.com:443")
    world.accepts().says(response())
    client.reads()
    assert answer.status == 200


def test_a_request_that_is_malformed_is_reset_and_logged(world):
    client = world.http2_client()
    client.connection.config.normalize_outbound_headers = False
    client.connection.config.validate_outbound_headers = False
    answer = client.asks(fields=[("connection", "close")])
    assert answer.reset == ErrorCodes.PROTOCOL_ERROR
    assert (world.record["status"], world.record["reason"]) == (None, "bad_request")
    assert world.record["detail"].startswith("HTTP/2: ")


def test_a_client_that_breaks_the_rules_is_told_why(world):
    client = world.http2_client()
    poll = client.asks()
    server = world.accepts()
    client.end.says(b"\0\0\1\6\0\0\0\0\0x")  # a PING of one byte
    assert ended(client)[0] == ErrorCodes.FRAME_SIZE_ERROR
    assert server.is_lost
    assert poll.status is None
    fault, request = sorted(world.records, key=lambda record: record["uri"] or "")
    assert (fault["reason"], fault["protocol"]) == ("bad_request", "HTTP/2.0")
    assert "PING" in fault["detail"]
    assert (request["uri"], request["status"]) == ("/webmail", None)


def test_a_login_of_the_connection_needs_http_1_1(world):
    client = world.http2_client()
    answer = client.asks(fields=[("authorization", "NTLM TlRMTVNTUAABAAAA")])
    assert answer.reset == ErrorCodes.HTTP_1_1_REQUIRED
    assert not world.dials
    assert world.record["reason"] == "http_1_1_required"


def test_an_upstream_that_offers_only_such_a_login_needs_http_1_1(world):
    client = world.http2_client()
    answer = client.asks()
    server = world.accepts()
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM"))
    client.reads()
    assert (answer.status, answer.reset) == (None, ErrorCodes.HTTP_1_1_REQUIRED)
    assert (world.record["status"], world.record["reason"]) == (401, "http_1_1_required")
    assert server.is_lost  # never another client's


@pytest.mark.parametrize("body", [[b"x" * 500], [b"", b"x" * 400, b"x" * 100]], ids=["at once", "in parts"])
def test_the_body_of_such_an_answer_is_read_and_dropped(world, body):
    client = world.http2_client()
    answer = client.asks()
    server = world.accepts()
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", "Content-Length: 500", body=body[0]))
    for part in body[1:]:
        server.says(part)
    client.reads()
    assert (answer.status, answer.body, answer.reset) == (None, b"", ErrorCodes.HTTP_1_1_REQUIRED)
    assert (world.record["status"], world.record["reason"]) == (401, "http_1_1_required")
    assert server.is_lost
    assert client.end.application.works() == []
    world.does(client.end.application.drain)
    client.flush()
    assert not client.end.is_open  # no stream is left


def test_such_an_answer_does_not_wait_for_the_rest_of_the_request(world):
    client = world.http2_client()
    answer = client.asks(method="POST", body=b"abc", ends=False)
    server = world.accepts()
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", body=b"no"))
    client.reads()
    assert answer.reset == ErrorCodes.HTTP_1_1_REQUIRED
    assert world.record["reason"] == "http_1_1_required"
    assert server.is_lost


# windows


def test_an_answer_larger_than_the_window_waits_and_the_upstream_with_it(world):
    client = world.http2_client(opens_windows=False)
    answer = client.asks()
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 100000", body=b"x" * 70_000))
    client.reads()
    assert len(answer.body) == FIRST_WINDOW
    assert server.is_paused
    client.connection.acknowledge_received_data(FIRST_WINDOW, client.stream_of(answer))
    client.flush()
    assert not server.is_paused
    server.says(b"x" * 30_000)
    client.reads()
    assert (len(answer.body), answer.is_complete) == (100_000, True)
    assert world.record["bytes_out"] == 100_000


def test_a_stream_without_a_window_does_not_hold_up_another(world):
    client = world.http2_client(opens_windows=False)
    client.connection.increment_flow_control_window(1_000_000)  # of the connection only
    client.flush()
    stuck, other = client.asks("/webmail/1"), client.asks("/webmail/2")
    first, second = world.accepts(), world.accepts()
    first.says(response("200 OK", "Content-Length: 100000", body=b"x" * 100_000))
    second.says(response(body=b"hi"))
    client.reads()
    assert (len(stuck.body), stuck.is_complete) == (FIRST_WINDOW, False)
    assert (other.body, other.is_complete) == (b"hi", True)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_window_that_ends_with_a_part_of_the_answer_is_used_again_when_it_opens(world, is_slow):
    client = world.http2_client(opens_windows=False)
    client.connection.increment_flow_control_window(2**20)
    client.flush()
    answer = client.asks()
    stream_id = client.stream_of(answer)
    client.connection.increment_flow_control_window(1, stream_id)
    client.flush()
    client.end.is_slow = is_slow
    world.accepts().says(response(body=b"x" * 150_000))
    client.end.reads()
    client.reads()
    assert len(answer.body) == 4 * SLICE_BYTES
    for count in (5, 6, 8):
        client.connection.increment_flow_control_window(count * SLICE_BYTES - len(answer.body), stream_id)
        client.flush()
        assert len(answer.body) == count * SLICE_BYTES


def test_a_window_that_never_opens_ends_the_stream(world):
    client = world.http2_client(opens_windows=False)
    answer = client.asks()
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 100000", body=b"x" * 70_000))
    world.passes(Limits().transfer_idle_seconds + 2)
    client.reads()
    assert answer.reset == ErrorCodes.INTERNAL_ERROR
    assert server.is_lost
    assert world.record["reason"] == "request_timeout"
    assert client.end.is_open


def test_the_rest_of_a_complete_answer_is_given_up_too(world):
    client = world.http2_client(opens_windows=False)
    answer = client.asks()
    world.accepts().says(response(body=b"x" * 70_000))
    client.reads()
    assert len(answer.body) == FIRST_WINDOW
    world.passes(Limits().transfer_idle_seconds + 2)
    client.reads()
    assert answer.reset == ErrorCodes.CANCEL
    assert client.end.is_open


def test_an_upload_is_held_up_while_the_upstream_reads_slowly(world):
    client = world.http2_client()
    answer = client.asks(method="POST", ends=False)
    stream_id = client.stream_of(answer)
    server = world.accepts(is_slow=True)
    sent = 0
    while window := min(client.connection.local_flow_control_window(stream_id), 16_384):
        client.sends(answer, b"x" * window)
        sent += window
    assert HIGH_WATER_BYTES < sent <= 2 * 256 * 1024 + HIGH_WATER_BYTES
    server.reads()
    client.reads()
    assert client.connection.local_flow_control_window(stream_id) > 0
    other = client.asks()
    world.accepts().says(response())
    client.reads()
    assert other.status == 200


def test_a_body_that_is_too_long_is_refused_when_the_upstream_reads_again(make_world):
    world = make_world(limits={"body": 150_000})
    client = world.http2_client()
    answer = client.asks(method="POST", ends=False)
    server = world.accepts(is_slow=True)
    for _ in range(12):
        client.sends(answer, b"x" * 16_384)
    assert answer.status is None
    server.reads()
    client.reads()
    assert (answer.status, world.record["reason"]) == (413, "body_too_large")
    assert server.is_lost
    assert answer.reset is None
    world.passes(LINGER_SECONDS + 2)
    client.reads()
    assert answer.reset == ErrorCodes.NO_ERROR
    assert len(world.log) == 1


def test_the_end_of_a_body_that_waited_for_the_upstream_is_told_when_it_reads_again(world):
    client = world.http2_client()
    answer = client.asks(method="POST", ends=False)
    server = world.accepts(is_slow=True)
    for _ in range(12):
        client.sends(answer, b"x" * 16_384)
    client.ends(answer, [("x-sum", "5")])
    server.reads()
    assert server.hears().endswith(b"0\r\nx-sum: 5\r\n\r\n")
    server.says(response())
    client.reads()
    assert answer.is_complete
    assert world.record["bytes_in"] == 12 * 16_384
    assert world.busy() == [(0, 1)]


def test_a_client_that_reads_nothing_gets_no_more_requests_served(world):
    client = world.http2_client()
    client.connection.increment_flow_control_window(2**30)
    client.flush()
    client.end.is_slow = True
    large = client.asks("/webmail/large")
    client.connection.increment_flow_control_window(2**30, client.stream_of(large))
    client.flush()
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 1000000", body=b"x" * 500_000))
    assert server.is_paused
    client.asks("/webmail/next")
    assert not world.dials
    client.end.reads()
    assert world.dials


def test_windows_that_open_little_by_little_in_one_read_cost_one_look_at_the_streams(world, monkeypatch):
    client = world.http2_client(opens_windows=False)
    answer = client.asks()
    world.accepts().says(response(body=b"x" * 200_000))
    client.reads()
    assert len(answer.body) == FIRST_WINDOW
    looks, sendable_bytes = [], Http2Codec.sendable_bytes

    def look(codec, stream_id):
        looks.append(stream_id)
        return sendable_bytes(codec, stream_id)

    monkeypatch.setattr(Http2Codec, "sendable_bytes", look)
    for _ in range(100):
        client.connection.increment_flow_control_window(512)
        client.connection.increment_flow_control_window(512, client.stream_of(answer))
    client.flush()
    assert len(answer.body) == FIRST_WINDOW + 51_200
    assert len(looks) < 20


# priorities


def blocked(world, *priorities):
    """Answers of 30 KiB that wait for the connection's window."""
    client = world.http2_client(opens_windows=False)
    full = client.asks("/webmail/full")
    world.accepts().says(response("200 OK", "Content-Length: 70000", body=b"x" * 70_000))
    client.reads()
    assert len(full.body) == FIRST_WINDOW
    answers = []
    for priority in priorities:
        answers.append(client.asks(fields=[("priority", priority)] if priority else []))
        world.ends[-1].says(response(body=b"x" * 30_000))
    return client, answers


def after(client, answers, window):
    """How much of each answer comes when the connection's window opens so far."""
    before = [len(answer.body) for answer in answers]
    client.connection.increment_flow_control_window(window)
    client.flush()
    return [len(answer.body) - length for answer, length in zip(answers, before, strict=True)]


def test_the_most_urgent_answer_goes_first(world):
    client, answers = blocked(world, "u=5", "u=1", "u=3")
    assert after(client, answers, 40_000) == [0, 30_000, 10_000]
    assert after(client, answers, 60_000) == [30_000, 0, 20_000]


def test_incremental_answers_share_and_others_go_one_after_the_other(world):
    client, answers = blocked(world, "u=2, i", "u=2, i", "u=4", "u=4")
    assert after(client, answers, 4 * 8192) == [16_384, 16_384, 0, 0]
    assert after(client, answers, 2 * 13_616 + 20_000) == [13_616, 13_616, 20_000, 0]


def test_a_client_that_says_nothing_gets_its_answers_in_turns(world):
    client, answers = blocked(world, None, None)
    assert after(client, answers, 2 * 16_384) == [16_384, 16_384]


# the end of streams and of the connection


def test_a_request_that_the_client_resets_is_ended_and_logged(world):
    client = world.http2_client()
    answer = client.asks()
    server = world.accepts()
    client.resets(answer)
    assert server.is_lost
    assert (world.record["uri"], world.record["status"]) == ("/webmail", None)
    assert client.end.is_open


def test_an_answer_that_breaks_off_resets_its_stream_only(world):
    client = world.http2_client()
    answer, other = client.asks("/webmail/1"), client.asks("/webmail/2")
    first, second = world.accepts(), world.accepts()
    first.says(response("200 OK", "Content-Length: 10", body=b"half"))
    first.goes()
    client.reads()
    assert (answer.body, answer.reset) == (b"half", ErrorCodes.INTERNAL_ERROR)
    second.says(response())
    client.reads()
    assert other.is_complete


def test_a_stale_upstream_connection_ends_no_connection(world):
    client = world.http2_client()
    client.asks()
    world.accepts().says(response())
    answer = client.asks(method="POST", fields=[("content-length", "0")])
    world.ends[-1].goes()
    client.reads()
    assert answer.status == 502
    assert client.end.is_open


def test_an_idle_connection_is_told_goodbye(world):
    client = world.http2_client()
    client.asks()
    world.accepts().says(response())
    client.reads()
    world.passes(Limits().keepalive_seconds + 2)
    assert ended(client) == (ErrorCodes.NO_ERROR, b"")


def test_a_client_that_asks_for_nothing_is_told_goodbye(world):
    client = world.http2_client()
    world.passes(Limits().header_time_seconds + 2)
    assert ended(client) == (ErrorCodes.NO_ERROR, b"")


def test_a_drain_serves_what_has_begun_and_what_is_on_its_way(world):
    client = world.http2_client()
    begun = client.asks("/webmail/1")
    server = world.accepts()
    client.connection.send_headers(
        3,
        [(":method", "GET"), (":scheme", "https"), (":authority", "mail.example.com"), (":path", "/webmail/2")],
        end_stream=True,
    )
    on_its_way = client.connection.data_to_send()
    world.does(world.service.connections.drain)
    client.end.says(on_its_way)
    second = world.accepts()
    client.reads()
    assert client.goaway is not None
    server.says(response(body=b"1"))
    client.reads()
    assert begun.is_complete
    assert client.end.is_open
    second.says(response(body=b"2"))
    assert ended(client)[0] == ErrorCodes.NO_ERROR
    assert [record["status"] for record in world.records] == [200, 200]


def test_a_client_that_does_not_answer_the_goaway_is_not_waited_for(world):
    client = world.http2_client()
    world.does(world.service.connections.drain)
    assert client.end.is_open  # it was not read yet
    world.passes(GOAWAY_SECONDS + 2)
    assert not client.end.is_open


def test_after_a_reload_the_client_is_asked_to_connect_again_and_no_request_is_lost(world, files):
    client = world.http2_client()
    answer = client.asks()
    server = world.accepts()
    world.does(world.service.adopt, files.snapshot(limits={"headers": 50}))
    client.reads()
    assert client.goaway is not None
    server.says(response(body=b"hi"))
    client.reads()
    assert answer.is_complete
    assert ended(client)[0] == ErrorCodes.NO_ERROR


def test_a_reload_to_rules_that_refuse_ends_streams(world, files):
    client = world.http2_client()
    waiting, begun = client.asks("/webmail/1"), client.asks("/webmail/2")
    _, second = world.accepts(), world.accepts()
    second.says(response("200 OK", "Content-Length: 10", body=b"half"))
    deny = [{"name": "Nobody", "action": "deny"}]
    world.does(world.service.adopt, files.snapshot(rules=deny))
    client.reads()
    assert (waiting.status, waiting.is_complete) == (403, True)
    assert (begun.status, begun.reset) == (200, ErrorCodes.INTERNAL_ERROR)
    assert [record["reason"] for record in world.records] == ["denied_by_rule"] * 2


def test_a_certificate_that_ends_ends_its_streams(world, files):
    leaf = files.ca.issue("CN=ending", not_after=NOW + timedelta(seconds=LIFE_SECONDS))
    client = world.http2_client(OUTSIDE, leaf)
    waiting, begun = client.asks("/webmail/1"), client.asks("/webmail/2")
    _, second = world.accepts(), world.accepts()
    second.says(response("200 OK", "Content-Length: 10", body=b"half"))
    world.passes(LIFE_SECONDS + 3)
    client.reads()
    assert (waiting.status, waiting.fields["x-gateway-reason"]) == (403, "certificate_expired")
    assert begun.reset == ErrorCodes.INTERNAL_ERROR
    assert ended(client)[0] == ErrorCodes.NO_ERROR


def test_a_client_that_is_gone_ends_its_requests(world):
    client = world.http2_client(INSIDE)
    client.asks("/webmail/1"), client.asks("/webmail/2")
    first, second = world.accepts(), world.accepts()
    client.end.goes()
    assert first.is_lost
    assert second.is_lost
    assert sorted(record["uri"] for record in world.records) == ["/webmail/1", "/webmail/2"]
    assert world.service.connections.open == set()


def test_requests_that_are_reset_before_their_turn_have_their_lines(world):
    client = world.http2_client()
    head = [(":method", "GET"), (":scheme", "https"), (":authority", "mail.example.com"), (":path", "/webmail/7")]
    for stream_id in (1, 3, 5):
        client.connection.send_headers(stream_id, head, end_stream=True)
        client.connection.reset_stream(stream_id, error_code=8)
    client.flush()
    assert not world.dials
    assert [(each["uri"], each["method"], each["status"]) for each in world.records] == [
        ("/webmail/7", "GET", None)
    ] * 3
    assert client.end.is_open


def test_requests_of_a_client_that_reads_nothing_do_not_wait_for_ever(world):
    client = world.http2_client()
    client.connection.increment_flow_control_window(2**30)
    client.flush()
    client.end.is_slow = True
    large = client.asks("/webmail/large")
    client.connection.increment_flow_control_window(2**30, client.stream_of(large))
    client.flush()
    world.accepts().says(response(body=b"x" * 500_000))
    client.asks("/webmail/next")
    world.passes(Limits().transfer_idle_seconds + 2)
    assert client.end.is_lost
    assert sorted(record["uri"] for record in world.records) == ["/webmail/large", "/webmail/next"]
    assert not world.dials


def test_too_many_faults_of_a_client_end_its_connection(world):
    client = world.http2_client()
    client.connection.config.normalize_outbound_headers = False
    client.connection.config.validate_outbound_headers = False
    poll = client.asks("/webmail/poll")
    server = world.accepts()
    while client.goaway is None:
        client.asks(fields=[("connection", "close")])
    assert ended(client)[0] == ErrorCodes.ENHANCE_YOUR_CALM
    assert server.is_lost
    assert poll.status is None
    assert "requests that were reset by the gateway" in world.records[-2]["detail"]


def test_logins_that_the_gateway_must_reset_are_counted_too(world):
    client = world.http2_client()
    while client.goaway is None:
        client.asks(fields=[("authorization", "NTLM TlRMTVNTUAABAAAA")])
    assert ended(client)[0] == ErrorCodes.ENHANCE_YOUR_CALM
    assert world.records[-1]["detail"].startswith("HTTP/2: more than 100 requests that were reset by the gateway")


def test_a_client_that_says_goodbye_gets_the_answers_under_way(world):
    client = world.http2_client()
    answer = client.asks()
    server = world.accepts()
    client.connection.close_connection()
    machine = client.connection.state_machine
    client.end.says(client.connection.data_to_send())
    machine.state = type(machine.state).CLIENT_OPEN  # the library would read nothing any more
    server.says(response(body=b"hi"))
    assert ended(client)[0] == ErrorCodes.NO_ERROR
    assert (answer.body, answer.is_complete) == (b"hi", True)


def test_a_request_over_the_rate_waits_and_others_of_the_connection_with_it(make_world):
    world = make_world(limits={"requests_per_second_per_ip": 1})
    client = world.http2_client()
    answers = [client.asks("/secret") for _ in range(8)]
    answered = sum(answer.status is not None for answer in answers)
    assert 0 < answered < 8
    world.passes(1.5)
    client.reads()
    assert sum(answer.status is not None for answer in answers) == answered + 1


def test_requests_that_are_reset_while_the_client_reads_nothing_hold_nothing(world):
    client = world.http2_client()
    client.connection.increment_flow_control_window(2**30)
    client.flush()
    client.end.is_slow = True
    large = client.asks("/webmail/large")
    client.connection.increment_flow_control_window(2**30, client.stream_of(large))
    client.flush()
    world.accepts().says(response(body=b"x" * 500_000))
    waiting = [client.asks(method="POST", body=b"x" * 10_000, ends=False) for _ in range(20)]
    for each in waiting:
        client.resets(each)
    application = client.end.application
    assert len(application.works()) == 0
    assert len(application._streams) == len(application._begun) + 1 == 1
    assert [record["method"] for record in world.records if record["method"] == "POST"] == ["POST"] * 20


def test_a_body_that_goes_on_after_the_answer_holds_up_no_other(world):
    client = world.http2_client()
    early = client.asks(method="POST", body=b"abc", ends=False)
    world.accepts().says(response("413 Content Too Large", "Connection: close"))
    client.reads()
    stream_id = client.stream_of(early)
    while window := min(client.connection.local_flow_control_window(stream_id), 16_384):
        client.sends(early, b"x" * window)
    assert client.connection.outbound_flow_control_window > 256 * 1024
    client.connection.reset_stream(stream_id)
    client.flush()
    assert not client.end.application._streams
    early = client.asks(method="POST", body=b"abc", ends=False)
    world.accepts().says(response("413 Content Too Large", "Connection: close"))
    client.ends(early)
    assert (early.status, early.reset) == (413, None)
    assert not client.end.application._streams


# requests beside others count as connections


def polls(client, world, count):
    """Requests that the mail server does not answer yet, and its ends of them."""
    answers = [client.asks("/webmail/poll") for _ in range(count)]
    return answers, [world.accepts() for _ in range(len(world.dials))]


def is_admitted(world):
    """May another connection come from the same address?"""
    service = world.service
    return service.connections.admit(parse_address(INSIDE), service.snapshot.config.limits)


def test_requests_beside_others_count_as_connections_of_their_client(make_world):
    world = make_world(limits={"connections_per_ip": 3})
    client = world.http2_client(INSIDE)
    polls(client, world, 2)
    assert is_admitted(world)
    _, servers = polls(client, world, 2)
    assert len(servers) == 1
    assert not is_admitted(world)
    assert world.busy() == [(3, 0)]
    servers[0].says(response())  # it is followed at once by the request that waits
    client.reads()
    assert world.busy() == [(3, 0)]


def test_a_request_over_the_limit_waits_and_is_refused_after_a_while(make_world):
    world = make_world(limits={"connections_per_ip": 3})
    client = world.http2_client(INSIDE)
    (*_, last), servers = polls(client, world, 4)
    world.passes(FULL_SECONDS - 1)
    client.reads()
    assert last.status is None
    world.passes(2)
    client.reads()
    assert (last.status, last.fields["x-gateway-reason"]) == (429, "too_many_connections")
    assert (world.record["uri"], world.record["status"]) == ("/webmail/poll", 429)
    for server in servers:  # those under way are served
        server.says(response())
    client.reads()
    assert [answer.status for answer in client.answers.values()] == [200, 200, 200, 429]
    assert ended(client) == (ErrorCodes.NO_ERROR, b"")


def test_another_client_has_requests_of_its_own(make_world):
    world = make_world(limits={"connections_per_ip": 3})
    polls(world.http2_client(INSIDE), world, 3)
    _, servers = polls(world.http2_client("10.0.0.77"), world, 3)
    assert len(servers) == 3


@pytest.mark.parametrize("end", ["answered", "reset", "gone", "ended"])
def test_requests_that_have_ended_no_longer_count(make_world, end):
    world = make_world(limits={"connections_per_ip": 3})
    client = world.http2_client(INSIDE)
    answers, servers = polls(client, world, 4)
    assert not is_admitted(world)
    if end == "answered":
        for server in (*servers, servers[0]):  # the first one has the request that waited
            server.says(response())
    elif end == "reset":
        for answer in answers:
            client.resets(answer)
    elif end == "gone":
        client.end.goes()
    else:
        client.end.says(http2_frames.frame(http2_frames.PING, 0, 0, b"short"))
    assert is_admitted(world)
    left = 3 if end == "gone" else 2
    polls(world.http2_client(INSIDE), world, 4)
    assert world.busy()[0][0] == left
