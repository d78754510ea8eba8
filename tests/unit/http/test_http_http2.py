"""A connection as its owner sees it: requests in, answers out, windows, and how it ends."""

import pytest
from support.http2_client import GET, POST, SETTINGS, Client, setting

from gateway.facts import Reason
from gateway.http import http2_frames as f
from gateway.http.http2 import OrderError
from gateway.http.http2_frames import CLIENT_PREFACE, ErrorCode, frame
from gateway.http.http2_requests import Request
from gateway.http.http2_streams import (
    MAX_CLOSED_STREAMS,
    ClientGoesAway,
    Data,
    End,
    PriorityChanged,
    RefusedRequest,
    Reset,
    WindowOpened,
)
from gateway.http.priority import Priority


@pytest.fixture
def client():
    return Client()


def updates(answers):
    return [(answer.stream_id, answer.window_increment) for answer in answers if answer.type == f.WINDOW_UPDATE]


def data(stream_id, payload=b"", *, is_last=False):
    return frame(f.DATA, f.END_STREAM if is_last else 0, stream_id, payload)


class TestBeginning:
    def test_what_the_gateway_says_of_itself(self):
        settings, update = Client(first=None, streams=7).preface
        assert settings.settings == {
            f.MAX_CONCURRENT_STREAMS: 7,
            f.INITIAL_WINDOW_SIZE: 256 * 1024,
            f.MAX_HEADER_LIST_SIZE: 8000,
            f.ENABLE_CONNECT_PROTOCOL: 1,
            f.NO_RFC7540_PRIORITIES: 1,
        }
        assert (update.stream_id, update.window_increment) == (0, 1024 * 1024 - 65_535)

    def test_no_update_for_the_smallest_window(self):
        assert len(Client(first=None, connection_window_bytes=65_535).preface) == 1

    def test_settings_are_acknowledged_on_both_sides(self):
        client = Client(first=None)
        client.send(CLIENT_PREFACE + SETTINGS)
        (answer,) = client.answers()
        assert (answer.type, set(answer.flags)) == (f.SETTINGS, {"ACK"})
        assert not client.connection.has_settings_read
        client.send(frame(f.SETTINGS, f.ACK, 0, b""))
        assert client.connection.has_settings_read
        assert client.is_served()

    @pytest.mark.parametrize("size", range(1, 24))
    def test_a_wrong_preface_ends_the_connection_at_its_first_wrong_byte(self, size):
        client = Client(first=None)
        client.send(CLIENT_PREFACE[: size - 1])
        assert client.events == []
        client.send(b"?")
        assert client.ended() == (ErrorCode.PROTOCOL_ERROR, "the client does not begin with HTTP/2's preface")

    @pytest.mark.parametrize("first", [frame(f.SETTINGS, f.ACK, 0, b""), frame(f.PING, 0, 0, bytes(8))])
    def test_the_first_frame_is_settings(self, first):
        client = Client(first=None)
        client.send(CLIENT_PREFACE, first)
        assert client.ended() == (ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")


class TestRequests:
    def test_without_a_body(self, client):
        client.send(client.headers(1, [*GET, (b"accept", b"*/*")]))
        request = Request(1, b"GET", b"mail.example", b"/", None, [(b"accept", b"*/*")], None, False)
        assert client.seen() == [request, End(1, [])]

    def test_with_a_body_and_trailers(self, client):
        head = client.headers(1, [*POST, (b"content-length", b"4")], is_last=False)
        client.send(head, data(1, b"bo"), data(1, b"dy"), client.headers(1, [(b"x-sum", b"1")]))
        request, *rest = client.seen()
        assert (request.content_length, request.has_body) == (4, True)
        assert rest == [Data(1, b"bo"), Data(1, b"dy"), End(1, [(b"x-sum", b"1")])]

    def test_an_empty_frame_can_end_a_body(self, client):
        client.send(client.headers(1, POST, is_last=False), data(1, b"body"), data(1, is_last=True))
        assert client.seen()[1:] == [Data(1, b"body"), End(1, [])]

    def test_several_at_a_time(self, client):
        client.send(client.headers(1, POST, is_last=False), client.headers(3), data(1, b"a", is_last=True))
        assert [event.stream_id for event in client.seen()] == [1, 3, 3, 1, 1]
        assert client.connection.open_streams == 2

    def test_extended_connect(self, client):
        connect = [(b":method", b"CONNECT"), *GET[1:], (b":protocol", b"websocket")]
        client.send(client.headers(1, connect, is_last=False), data(1, b"frame"))
        request, payload = client.seen()
        assert (request.method, request.protocol, payload) == (b"CONNECT", b"websocket", Data(1, b"frame"))
        client.send(client.headers(1, [(b"x", b"y")]))
        assert client.was_reset(1) == (ErrorCode.PROTOCOL_ERROR, "a second field block does not end the request")

    @pytest.mark.parametrize("has_body", [True, False])
    def test_a_method_that_is_not_supported_can_be_answered(self, client, has_body):
        client.send(client.headers(1, [(b":method", b"TRACE"), *GET[1:]], is_last=not has_body))
        if has_body:
            client.send(data(1, b"body"))
        (refused,) = client.seen()
        assert isinstance(refused, RefusedRequest)
        assert refused.error.reason is Reason.BAD_REQUEST
        client.connection.send_head(1, 400, [], is_last=True)
        kinds = [answer.type for answer in client.answers()]
        assert kinds == ([f.HEADERS, f.RST_STREAM] if has_body else [f.HEADERS])
        assert client.connection.open_streams == 0

    def test_a_request_for_two_hosts_can_be_answered(self, client):
        client.send(client.headers(1, [*GET, (b"host", b"other.example")]))
        (refused,) = client.seen()
        assert (refused.stream_id, refused.error.status) == (1, 421)
        client.connection.send_head(1, 421, [], is_last=True)
        assert [answer.type for answer in client.answers()] == [f.HEADERS]
        assert client.is_served()

    @pytest.mark.parametrize("ends", ["data", "trailers"])
    def test_a_body_shorter_than_its_length(self, client, ends):
        client.send(client.headers(1, [*POST, (b"content-length", b"5")], is_last=False), data(1, b"body"))
        client.send(data(1, is_last=True) if ends == "data" else client.headers(1, [(b"x", b"y")]))
        assert client.was_reset(1)[0] == ErrorCode.PROTOCOL_ERROR
        assert client.is_served()

    def test_malformed_trailers(self, client):
        client.send(client.headers(1, POST, is_last=False), client.headers(1, [(b"x", b"a\nb")]))
        assert client.was_reset(1) == (ErrorCode.PROTOCOL_ERROR, "a field value has control characters")

    def test_frames_that_come_after_the_gateway_has_reset_the_stream(self, client):
        client.send(client.headers(1, GET[1:], is_last=False), data(1, bytes(9)), client.headers(1, [(b"x", b"y")]))
        client.send(f.window_update_frame(1, 9), f.rst_stream_frame(1, 8), data(1, is_last=True))
        assert client.was_reset(1)[0] == ErrorCode.PROTOCOL_ERROR
        assert client.is_served()

    def test_the_oldest_closed_streams_are_forgotten(self):
        client = Client(own_resets=1000, ignored_frames=1000)
        for at in range(MAX_CLOSED_STREAMS + 1):
            client.send(client.headers(2 * at + 1, GET[1:], is_last=False))
        client.send(data(3, b"late"))
        assert client.connection.ended is None
        client.send(data(1, b"late"))
        assert client.ended() == (ErrorCode.STREAM_CLOSED, "a frame is for a stream that has ended")

    def test_frames_for_streams_that_were_skipped(self, client):
        client.send(client.headers(5), data(3))
        assert client.ended()[0] == ErrorCode.STREAM_CLOSED

    @pytest.mark.parametrize("late", [data(4), f.window_update_frame(4, 9), f.rst_stream_frame(4, 8)])
    def test_frames_for_streams_of_the_server(self, client, late):
        client.send(client.headers(5), late)
        assert client.ended() == (ErrorCode.PROTOCOL_ERROR, "a frame is for a stream that was never opened")

    def test_a_block_whose_stream_the_owner_resets_before_its_end(self, client):
        client.send(
            client.headers(1, POST, is_last=False), frame(f.HEADERS, f.END_STREAM, 1, client.block([(b"x", b"y")]))
        )
        client.connection.reset(1, ErrorCode.INTERNAL_ERROR, client.now)
        client.seen()
        client.send(frame(f.CONTINUATION, f.END_HEADERS, 1, b""))
        assert client.seen() == []
        assert client.is_served()

    def test_priorities(self, client):
        update = frame(f.PRIORITY_UPDATE, 0, 0, b"\x00\x00\x00\x01u=1, i")
        client.send(update, client.headers(1), update)
        assert client.seen()[-1] == PriorityChanged(1, Priority(urgency=1, is_incremental=True))
        assert client.is_served()

    def test_the_client_goes_away(self, client):
        client.send(f.goaway_frame(0, ErrorCode.NO_ERROR, b"bye"))
        assert client.seen() == [ClientGoesAway(ErrorCode.NO_ERROR, b"bye")]


class TestAnswers:
    def test_head_data_and_trailers(self, client):
        client.send(client.headers(1))
        connection = client.connection
        connection.send_informational(1, 103, [(b"Link", b"</a>")])
        connection.send_head(1, 200, [(b"Content-Type", b"text/plain"), (b"Connection", b"close"), (b":x", b"y")])
        assert connection.send_data(1, b"body", client.now) == 4
        connection.send_trailers(1, [(b"X-Sum", b"1"), (b"Transfer-Encoding", b"chunked")])
        hints, head, body, trailers = client.answers()
        assert client.fields(hints) == [(b":status", b"103"), (b"link", b"</a>")]
        assert client.fields(head) == [(b":status", b"200"), (b"content-type", b"text/plain")]
        assert (body.data, set(body.flags)) == (b"body", set())
        assert (client.fields(trailers), set(trailers.flags)) == ([(b"x-sum", b"1")], {"END_HEADERS", "END_STREAM"})
        assert connection.open_streams == 0
        assert connection.ended is None

    def test_names_are_written_alike_however_often_they_come(self, client):
        client.send(client.headers(1))
        fields = [(b"X-%d" % at, b"twelve bytes") for at in range(1100)]
        fields += [(b"Upgrade", b"h2c"), (b"X-" + b"A" * 70, b"")]
        for _ in range(2):
            client.connection.send_informational(1, 103, fields)
        first, more, second, again = client.answers()
        for head, rest in ((first, more), (second, again)):
            head.data += rest.data
            sent = client.fields(head)
            assert len(sent) == 1102  # with :status, without Upgrade
            assert all(name == name.lower() for name, _ in sent)

    def test_an_answer_without_a_body(self, client):
        client.send(client.headers(1))
        client.connection.send_head(1, 304, [], is_last=True)
        (head,) = client.answers()
        assert set(head.flags) == {"END_HEADERS", "END_STREAM"}

    @pytest.mark.parametrize("payload", [b"", b"body"])
    def test_the_last_data_ends_the_answer(self, client, payload):
        client.send(client.headers(1))
        client.connection.send_head(1, 200, [])
        assert client.connection.send_data(1, payload, client.now, is_last=True) == len(payload)
        _, body = client.answers()
        assert (body.data, set(body.flags)) == (payload, {"END_STREAM"})
        assert client.connection.open_streams == 0

    def test_no_frame_for_no_data(self, client):
        client.send(client.headers(1))
        client.connection.send_head(1, 200, [])
        client.answers()
        assert client.connection.send_data(1, b"", client.now) == 0
        assert client.answers() == []

    def test_large_data_goes_in_frames_that_every_client_takes(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(f.MAX_FRAME_SIZE, 2**20)), client.headers(1))
        client.connection.send_head(1, 200, [])
        client.answers()
        body = bytes(range(256)) * 160
        assert client.connection.send_data(1, body, client.now, is_last=True) == len(body)
        sent = client.answers()
        assert [len(each.data) for each in sent] == [16_384, 16_384, 8192]
        assert [set(each.flags) for each in sent] == [set(), set(), {"END_STREAM"}]
        assert b"".join(each.data for each in sent) == body

    def test_the_clients_table_size_is_kept(self, client):
        client.send(frame(f.SETTINGS, 0, 0, setting(f.HEADER_TABLE_SIZE, 0)))
        client.decoder.max_allowed_table_size = 0
        for stream_id in (1, 3, 5):
            client.send(client.headers(stream_id))
            client.connection.send_head(stream_id, 200, [(b"x-long", b"value")], is_last=True)
            assert client.fields(client.answers()[-1])[1:] == [(b"x-long", b"value")]

    def test_the_order_of_an_answer(self, client):
        connection = client.connection
        client.send(client.headers(1, POST, is_last=False))
        for status in (99, 101, 200):
            with pytest.raises(OrderError):
                connection.send_informational(1, status, [])
        with pytest.raises(OrderError):
            connection.send_data(1, b"body", client.now)
        with pytest.raises(OrderError):
            connection.send_trailers(1, [])
        with pytest.raises(OrderError):
            connection.send_head(1, 103, [])
        connection.send_head(1, 200, [])
        with pytest.raises(OrderError):
            connection.send_head(1, 200, [])
        with pytest.raises(OrderError):
            connection.send_informational(1, 103, [])
        connection.send_trailers(1, [])
        with pytest.raises(OrderError):
            connection.send_data(1, b"body", client.now)

    def test_nothing_is_sent_on_streams_that_have_ended(self, client):
        connection = client.connection
        connection.send_informational(1, 103, [])
        connection.send_head(1, 200, [])
        assert connection.send_data(1, b"body", client.now) == 0
        connection.send_trailers(1, [])
        connection.reset(1, ErrorCode.CANCEL, client.now)
        connection.take(1, 9)
        connection.discard(1)
        assert connection.sendable_bytes(1) == 0
        assert client.answers() == []


class TestSendWindows:
    @pytest.fixture
    def answering(self, client):
        """Two answers have begun; the client's windows are those of the beginning."""
        client.send(client.headers(1), client.headers(3))
        for stream_id in (1, 3):
            client.connection.send_head(stream_id, 200, [])
        client.seen()
        client.answers()
        return client

    def test_a_stream_that_lacks_a_window_is_told_of_the_next(self, answering):
        connection = answering.connection
        assert connection.sendable_bytes(1) == 65_535
        assert connection.send_data(1, bytes(70_000), 100.0, is_last=True) == 65_535
        assert connection.send_data(1, bytes(4_465), 105.0, is_last=True) == 0
        assert connection.stalled(100.0) == []
        assert connection.stalled(100.1) == [1]
        answering.send(f.window_update_frame(1, 1000))
        assert answering.seen() == [WindowOpened(1)]
        assert connection.send_data(1, bytes(4_465), 106.0, is_last=True) == 0
        answering.send(f.window_update_frame(0, 2000))
        assert answering.seen() == [WindowOpened(0)]
        assert connection.send_data(1, bytes(4_465), 107.0, is_last=True) == 1000
        assert connection.stalled(107.0) == []
        assert connection.stalled(108.0) == [1]
        answering.send(f.window_update_frame(1, 3465), f.window_update_frame(0, 3465))
        assert connection.send_data(1, bytes(3_465), 109.0, is_last=True) == 3465
        assert connection.stalled(200.0) == []
        sent = b"".join(answer.data for answer in answering.answers())
        assert len(sent) == 70_000

    def test_updates_where_nothing_waits_are_no_events(self, answering):
        answering.send(f.window_update_frame(1, 1000), f.window_update_frame(0, 1000))
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 100_000)))
        assert answering.seen() == []
        assert answering.connection.sendable_bytes(1) == 66_535

    def test_a_larger_first_window_lets_streams_go_on(self, answering):
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 10)))
        assert answering.connection.send_data(1, bytes(20), 100.0) == 10
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 5)))
        assert answering.seen() == []
        assert answering.connection.sendable_bytes(1) == 0
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 30)))
        assert answering.seen() == [WindowOpened(0)]
        assert answering.connection.send_data(1, bytes(10), 100.0) == 10

    def test_a_window_that_ended_with_the_last_part_can_be_waited_for(self, answering):
        connection = answering.connection
        assert connection.send_data(1, bytes(65_535), 100.0) == 65_535
        answering.send(f.window_update_frame(1, 10))
        assert answering.seen() == []
        connection.await_window(1, 105.0)
        connection.await_window(1, 106.0)
        connection.await_window(99, 106.0)  # which is no stream
        assert connection.stalled(105.1) == [1]
        assert connection.stalled(105.0) == []
        answering.send(f.window_update_frame(1, 10))
        assert answering.seen() == [WindowOpened(1)]

    def test_an_empty_end_needs_no_window(self, answering):
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 1)))
        assert answering.connection.send_data(1, b"x", 100.0) == 1
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 0)))
        answering.connection.send_data(1, b"", 100.0, is_last=True)
        assert answering.connection.open_streams == 1

    def test_the_first_window_may_not_make_one_too_large(self, answering):
        answering.send(f.window_update_frame(1, 2**31 - 1 - 65_535))
        answering.send(frame(f.SETTINGS, 0, 0, setting(f.INITIAL_WINDOW_SIZE, 65_536)))
        assert answering.ended() == (ErrorCode.FLOW_CONTROL_ERROR, "a window has more than 2147483647 bytes")

    def test_one_stream_does_not_hold_up_another(self, answering):
        answering.send(f.window_update_frame(0, 100_000))
        assert answering.connection.send_data(1, bytes(70_000), 100.0) == 65_535
        assert answering.connection.send_data(3, bytes(60_000), 100.0, is_last=True) == 60_000
        assert answering.connection.stalled(200.0) == [1]

    @pytest.mark.parametrize("end", ["by client", "by gateway", "all"])
    def test_streams_that_end_wait_for_no_window(self, answering, end):
        answering.connection.send_data(1, bytes(70_000), 100.0)
        if end == "by client":
            answering.send(f.rst_stream_frame(1, ErrorCode.CANCEL))
            assert answering.seen() == [Reset(1, ErrorCode.CANCEL, "the client reset the stream", True)]
        elif end == "by gateway":
            answering.connection.reset(1, ErrorCode.CANCEL, 100.0)
        else:
            answering.connection.end(ErrorCode.NO_ERROR, "")
        assert answering.connection.stalled(200.0) == []


class TestReceiveWindows:
    def upload(self, client, size, stream_id=1):
        while size:
            piece = min(size, 16_384)
            client.send(data(stream_id, bytes(piece)))
            size -= piece

    def test_windows_open_only_as_the_owner_takes_the_data(self, client):
        client.send(client.headers(1, POST, is_last=False))
        self.upload(client, 256 * 1024)
        assert updates(client.answers()) == []
        client.connection.take(1, 1000)
        assert updates(client.answers()) == [(1, 1000)]
        self.upload(client, 1000)
        client.connection.take(1, 256 * 1024)
        assert updates(client.answers()) == [(1, 256 * 1024)]
        self.upload(client, 256 * 1024)
        client.connection.take(1, 256 * 1024)
        assert updates(client.answers()) == [(1, 256 * 1024), (0, 512 * 1024 + 1000)]

    def test_the_client_is_told_when_it_has_no_more_left_than_was_taken(self, client):
        client.send(client.headers(1, POST, is_last=False))
        self.upload(client, 128 * 1024)
        client.connection.take(1, 128 * 1024 - 1)
        assert updates(client.answers()) == []
        client.connection.take(1, 1)
        assert updates(client.answers()) == [(1, 128 * 1024)]

    def test_what_is_thrown_away_lets_only_other_requests_send_more(self):
        client = Client(connection_window_bytes=100_000, stream_window_bytes=100_000)
        client.send(client.headers(1, POST, is_last=False))
        self.upload(client, 100_000)
        client.connection.drop(1, 60_000)
        client.connection.drop(1, 60_000)
        client.connection.drop(99, 10)
        assert updates(client.answers()) == [(0, 60_000)]
        client.connection.drop(1, 1)
        assert updates(client.answers()) == []

    def test_a_slow_upload_does_not_hold_up_another(self):
        client = Client(connection_window_bytes=150_000, stream_window_bytes=100_000)
        client.send(client.headers(1, POST, is_last=False), client.headers(3, POST, is_last=False))
        self.upload(client, 100_000)
        for _ in range(20):
            self.upload(client, 40_000, 3)
            client.connection.take(3, 40_000)
            assert (0, 40_000) in updates(client.answers())

    def test_a_byte_more_than_the_window_of_a_stream(self, client):
        client.send(client.headers(1, POST, is_last=False))
        self.upload(client, 256 * 1024)
        assert client.connection.ended is None
        client.send(data(1, b"x"))
        assert client.ended() == (ErrorCode.FLOW_CONTROL_ERROR, "a DATA frame is larger than the window")

    def test_a_byte_more_than_the_window_of_the_connection(self):
        client = Client(connection_window_bytes=100_000)
        client.send(client.headers(1, POST, is_last=False), client.headers(3, POST, is_last=False))
        self.upload(client, 50_000)
        self.upload(client, 50_000, 3)
        assert client.connection.ended is None
        client.send(data(1, b"x"))
        assert client.ended()[0] == ErrorCode.FLOW_CONTROL_ERROR

    def test_taking_more_than_there_is_gives_no_more_back(self, client):
        client.send(client.headers(1, POST, is_last=False))
        self.upload(client, 128 * 1024)
        client.connection.take(1, 10**9)
        assert updates(client.answers()) == [(1, 128 * 1024)]

    def test_padding_is_given_back_at_once(self, client):
        client.send(client.headers(1, POST, is_last=False))
        for _ in range(600):
            client.send(frame(f.DATA, f.PADDED, 1, b"\xff" + b"x" + bytes(255)))
            client.connection.take(1, 1)
        assert client.connection.ended is None
        assert sum(increment for stream_id, increment in updates(client.answers()) if stream_id) > 128 * 1024

    def test_no_update_for_a_request_that_has_ended(self, client):
        client.send(client.headers(1, POST, is_last=False))
        self.upload(client, 256 * 1024)
        client.send(data(1, is_last=True))
        client.connection.take(1, 256 * 1024)
        assert updates(client.answers()) == []

    @pytest.mark.parametrize("end", ["by client", "by gateway", "answered", "late"])
    def test_what_a_stream_held_is_given_back_as_it_ends(self, end):
        client = Client(connection_window_bytes=100_000, stream_window_bytes=100_000)
        client.send(client.headers(1, POST, is_last=False))
        if end == "late":
            client.connection.reset(1, ErrorCode.INTERNAL_ERROR, client.now)
        self.upload(client, 60_000)
        if end == "by client":
            client.send(f.rst_stream_frame(1, ErrorCode.CANCEL))
        elif end == "by gateway":
            client.connection.reset(1, ErrorCode.INTERNAL_ERROR, client.now)
        elif end == "answered":
            client.connection.send_head(1, 200, [], is_last=True)
            client.send(data(1, is_last=True))
        assert sum(increment for stream_id, increment in updates(client.answers()) if not stream_id) > 50_000
        client.connection.take(1, 60_000)
        assert updates(client.answers()) == []

    def test_a_body_that_is_not_wanted(self, client):
        client.send(client.headers(1, POST, is_last=False), data(1, b"begin"))
        client.seen()
        client.connection.discard(1)
        for _ in range(40):
            self.upload(client, 16_384)
        assert client.seen() == []
        client.connection.send_head(1, 413, [])
        client.connection.send_data(1, b"too large", client.now, is_last=True)
        *_, reset = client.answers()
        assert (reset.type, reset.error_code) == (f.RST_STREAM, ErrorCode.NO_ERROR)
        self.upload(client, 16_384)
        assert client.is_served()

    def test_a_body_that_is_not_wanted_after_the_answer(self, client):
        client.send(client.headers(1, POST, is_last=False), data(1, b"begin"))
        client.connection.send_head(1, 200, [], is_last=True)
        client.answers()
        client.connection.discard(1)
        (reset,) = client.answers()
        assert (reset.type, reset.error_code) == (f.RST_STREAM, ErrorCode.NO_ERROR)
        assert client.connection.open_streams == 0

    def test_a_body_that_is_not_wanted_but_ends(self, client):
        client.send(client.headers(1, POST, is_last=False))
        client.connection.discard(1)
        client.send(data(1, b"body"), client.headers(1, [(b"x", b"y")]))
        client.connection.send_head(1, 413, [], is_last=True)
        assert [answer.type for answer in client.answers()] == [f.HEADERS]
        assert [type(event) for event in client.seen()] == [Request]

    def test_a_request_may_end_after_its_answer(self, client):
        client.send(client.headers(1, POST, is_last=False))
        client.connection.send_head(1, 200, [], is_last=True)
        client.send(data(1, b"body"))
        assert client.connection.open_streams == 1
        client.send(client.headers(1, [(b"x", b"y")]))
        assert client.seen()[1:] == [Data(1, b"body"), End(1, [(b"x", b"y")])]
        assert client.connection.open_streams == 0


class TestEnd:
    def test_in_two_steps(self, client):
        client.send(client.headers(1))
        connection = client.connection
        connection.announce_end()
        connection.announce_end()
        goaway, ping = client.answers()
        assert (goaway.last_stream_id, goaway.error_code) == (2**31 - 1, ErrorCode.NO_ERROR)
        client.send(client.headers(3), frame(f.PING, f.ACK, 0, b"another."))
        assert client.answers() == []
        client.send(frame(f.PING, f.ACK, 0, ping.opaque_data))
        (goaway,) = client.answers()
        assert (goaway.last_stream_id, goaway.error_code) == (3, ErrorCode.NO_ERROR)
        connection.refuse_new_streams()
        assert client.answers() == []
        client.seen()
        upload = client.headers(5, POST, is_last=False)
        client.send(upload, data(5, b"body"), client.headers(5, [(b"x", b"y")]), client.headers(7))
        assert client.seen() == []
        for stream_id in (1, 3):
            connection.send_head(stream_id, 200, [(b"x", b"y")], is_last=True)
        assert [client.fields(answer)[1] for answer in client.answers()] == [(b"x", b"y")] * 2
        assert connection.open_streams == 0
        connection.end(ErrorCode.NO_ERROR, "done")
        (goaway,) = client.answers()
        assert goaway.last_stream_id == 3

    def test_an_acknowledgement_that_was_not_asked_for(self, client):
        client.send(frame(f.PING, f.ACK, 0, b"goingend"))
        assert client.is_served()

    def test_by_the_owner(self, client):
        client.send(client.headers(1))
        client.connection.end(ErrorCode.INTERNAL_ERROR, "why")
        client.connection.end(ErrorCode.NO_ERROR, "again")
        (goaway,) = client.answers()
        assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (1, 2, b"why")
        assert client.connection.ended == (ErrorCode.INTERNAL_ERROR, "why")
        assert client.connection.open_streams == 0
        assert client.connection.receive(client.headers(3), client.now) == []

    def test_an_error_ends_all_streams(self, client):
        client.send(client.headers(1), client.headers(3), data(0))
        assert client.ended()[0] == ErrorCode.PROTOCOL_ERROR
        assert client.connection.open_streams == 0
        client.connection.send_head(1, 200, [])
        assert client.answers() == []
