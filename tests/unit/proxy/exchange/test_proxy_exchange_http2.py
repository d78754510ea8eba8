"""An exchange for a request of HTTP/2: a frame ends its body, and the upstream reads HTTP/1.1."""

import pytest
from support.dialogue import response
from support.http2_exchange import RequestStream, http2_request, switching

from gateway.config.model import Limits
from gateway.facts import Reason
from gateway.http.body import MAX_TRAILER_BYTES
from gateway.http.events import END, Data, Head, Interim
from gateway.proxy.exchange.exchange import CONTINUE_SECONDS

IDLE_SECONDS = Limits().transfer_idle_seconds


def body_of(server):
    return server.hears().partition(b"\r\n\r\n")[2]


def test_a_request_without_a_body(world):
    stream = RequestStream(world, http2_request("GET", "/webmail", (b"x-a", b"1")))
    server = world.accepts()
    head = server.hears()
    assert head.startswith(b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\nx-a: 1\r\n")
    assert head.count(b"\r\n\r\n") == 1
    server.says(response(body=b"hi"))
    head, *rest = stream.events
    assert isinstance(head, Head)
    assert rest == [Data(b"hi"), END]
    assert stream.is_done
    assert stream.records[0].protocol == "HTTP/2.0"
    assert world.busy() == [(0, 1)]


def test_a_body_without_a_length_is_chunked_and_ends_with_its_frame(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    server = world.accepts()
    stream.says(b"abc")
    stream.says(b"de")
    head, _, body = server.hears().partition(b"\r\n\r\n")
    assert head.endswith(b"\r\nTransfer-Encoding: chunked")
    assert body == b"3\r\nabc\r\n2\r\nde\r\n"
    stream.ends((b"x-sum", b"5"), (b"x-client-email", b"spoofed"), (b"content-type", b"text/html"))
    assert server.hears() == b"0\r\nx-sum: 5\r\n\r\n"
    server.says(response())
    assert stream.is_done
    assert stream.records[0].bytes_in == 5
    assert world.busy() == [(0, 1)]


def test_a_body_that_came_before_the_upstreams_connection(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    stream.says(b"abc")
    stream.ends()
    assert body_of(world.accepts()) == b"3\r\nabc\r\n0\r\n\r\n"


def test_an_empty_body_without_a_length(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    server = world.accepts()
    stream.ends()
    assert body_of(server) == b"0\r\n\r\n"


def test_a_body_with_a_length_is_complete_with_its_bytes(world):
    stream = RequestStream(world, http2_request("POST", "/webmail", (b"content-length", b"3"), has_body=True))
    server = world.accepts()
    stream.says(b"abc")
    stream.ends((b"x-sum", b"5"))
    head, _, body = server.hears().partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 3" in head
    assert body == b"abc"
    server.says(response())
    assert stream.is_done


def test_the_end_of_a_request_without_a_body_changes_nothing(world):
    stream = RequestStream(world, http2_request("GET", "/webmail", (b"content-length", b"0"), has_body=True))
    server = world.accepts()
    stream.work.request_end([])
    head, _, body = server.hears().partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 0" in head
    assert body == b""


def test_a_body_that_ends_before_its_length_is_never_whole(world):
    """The connection ends such a stream; should it not, the exchange must."""
    stream = RequestStream(world, http2_request("POST", "/webmail", (b"content-length", b"4"), has_body=True))
    server = world.accepts()
    stream.says(b"abc")
    stream.ends()
    assert stream.refused.reason == Reason.BAD_REQUEST
    assert server.is_lost


def test_an_answer_before_the_requests_end(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    server = world.accepts()
    stream.says(b"abc")
    server.says(response("403 Forbidden"))
    assert stream.is_done
    assert server.is_lost
    assert world.busy() == [(0, 0)]


def test_an_answer_that_begins_before_the_requests_end(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    server = world.accepts()
    stream.says(b"abc")
    server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
    stream.ends()
    server.says(b"i")
    assert stream.is_done
    assert world.busy() == [(0, 1)]


def test_a_login_on_the_connection_waits_for_the_requests_end(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    server = world.accepts()
    stream.pins = True
    stream.says(b"abc")
    server.says(response())
    assert not stream.is_done
    stream.ends()
    assert stream.is_done
    assert not server.is_lost


def test_a_body_longer_than_the_limit(make_world):
    world = make_world(limits={"body": 4})
    stream = RequestStream(world, http2_request("POST", has_body=True))
    world.accepts()
    stream.says(b"abcde")
    assert stream.refused.reason == Reason.BODY_TOO_LARGE


def test_trailers_longer_than_the_limit(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    server = world.accepts()
    stream.says(b"abc")
    stream.ends((b"x-sum", b"a" * MAX_TRAILER_BYTES))
    assert stream.refused.reason == Reason.BAD_REQUEST
    assert server.is_lost


def test_the_end_counts_for_the_pace(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    world.accepts()
    stream.says(b"a")
    world.passes(IDLE_SECONDS)
    stream.ends()
    assert stream.refused.reason == Reason.REQUEST_TIMEOUT


def test_the_deadline_is_the_clients_until_the_request_ends(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    world.accepts()
    stream.says(b"abc")
    stream.passes(IDLE_SECONDS)
    assert stream.refused.reason == Reason.REQUEST_TIMEOUT


def test_the_deadline_is_the_upstreams_once_the_request_has_ended(world):
    stream = RequestStream(world, http2_request("POST", has_body=True))
    world.accepts()
    stream.says(b"abc")
    stream.ends()
    stream.passes(world.service.pools.of(world.service.snapshot.config.upstreams[0]).upstream.timeouts.response_seconds)
    assert stream.refused.reason == Reason.UPSTREAM_TIMEOUT


def test_the_end_answers_the_question_whether_the_client_waits_for_a_100(world):
    stream = RequestStream(world, http2_request("POST", "/webmail", (b"expect", b"100-continue"), has_body=True))
    server = world.accepts()
    assert b"\r\nExpect: 100-continue\r\n\r\n" in server.hears()
    stream.ends()
    stream.passes(CONTINUE_SECONDS)
    assert stream.events == []


def test_a_client_that_waits_for_a_100(world):
    stream = RequestStream(world, http2_request("POST", "/webmail", (b"expect", b"100-continue"), has_body=True))
    world.accepts()
    stream.passes(CONTINUE_SECONDS)
    assert stream.events == [Interim(100, b"Continue", ())]


@pytest.mark.parametrize("trailers", [(), ((b"x-sum", b"5"),)])
def test_a_body_is_sent_again_with_its_end(world, trailers):
    first = RequestStream(world, http2_request())
    server = world.accepts()
    server.says(response())
    assert first.is_done
    stream = RequestStream(world, http2_request("PUT", has_body=True))
    stream.says(b"abc")
    stream.ends(*trailers)
    server.hears()
    server.closes()
    again = world.accepts()
    end = b"0\r\nx-sum: 5\r\n\r\n" if trailers else b"0\r\n\r\n"
    assert body_of(again) == b"3\r\nabc\r\n" + end
    again.says(response())
    assert stream.is_done
    assert world.service.kept_bodies.kept_bytes == 0


# a tunnel


def test_the_end_of_the_request_closes_the_clients_direction_of_a_tunnel(world):
    stream = RequestStream(world, http2_request("CONNECT", has_body=True, protocol=b"websocket"))
    server = world.accepts()
    server.says(switching(server.hears()))
    stream.says(b"ping")
    stream.ends()
    assert server.hears() == b"ping"
    assert server.has_said_eof
    server.says(b"pong")
    server.closes()
    assert stream.tunnelled == b"pong"
    assert stream.is_done
