"""The cases of h2spec, asked of the codec alone. `tests/e2e/test_e2e_http2_spec.py` asks a running gateway the same."""

import pytest
from support.http2_client import POST, Client
from support.http2_spec import (  # noqa: F401 - the tests
    PING,
    TestErrorCodes,
    TestFrameDefinitions,
    TestFrames,
    TestGeneric,
    TestHpack,
    TestHpackIsRead,
    TestPreface,
    TestRequests,
    TestStreams,
)

from gateway.http import http2_frames as f
from gateway.http.http2_frames import frame
from gateway.http.http2_streams import ConnectionEnded, Data, End

ANSWER = b"body"


class CodecClient(Client):
    """A client of the codec, which answers each request with `ANSWER` when it is asked for it."""

    streams = 2

    def __init__(self, **options) -> None:
        super().__init__(streams=self.streams, **options)
        self._next: int | None = None  # byte of `ANSWER` that is not sent

    def first_frame(self):
        return self.preface[0]

    def next(self, kind):
        """The next frame, which must be of this kind."""
        one, *_ = self.answers()
        assert one.type == kind
        return one

    def is_alive(self):
        """The gateway answers a PING."""
        self.send(PING)
        return self.connection.ended is None and any(
            answer.type == f.PING and answer.opaque_data == b"h2spec.." for answer in self.answers()
        )

    def is_alive_or_done(self):
        """The same, or the gateway has nothing more to do and ends the connection without an error."""
        return self.is_alive()

    def is_request(self, stream_id=1, payload=b"", fields=(), trailers=()):
        """The stream has brought one whole request."""
        events = self.seen()
        assert events[0].method in {b"GET", b"HEAD", b"POST"}
        assert set(fields) <= set(events[0].fields)
        assert events[-1] == End(stream_id, list(trailers))
        data = b"".join(event.payload for event in events if isinstance(event, Data))
        return {event.stream_id for event in events} == {stream_id} and data == payload

    def data(self, stream_id, size):
        """The next part of the answer that the windows allow, which is of this size."""
        if self._next is None:
            self._next = 0
            self.connection.send_head(stream_id, 200, [])
        self.answers()
        sent = self.connection.send_data(stream_id, ANSWER[self._next :], self.now)
        self._next += sent
        data = b"".join(one.data for one in self.answers() if one.type == f.DATA)
        assert len(data) == sent == size
        return data


@pytest.fixture
def fresh():
    return CodecClient(first=None)


@pytest.fixture
def client():
    return CodecClient()


def test_a_body_longer_than_its_length_is_not_handed_on(client):
    client.send(client.headers(1, [*POST, (b"content-length", b"1")], is_last=False))
    client.send(frame(f.DATA, f.END_STREAM, 1, b"test"))
    assert not any(isinstance(event, Data) for event in client.events)


def test_a_request_whose_fields_cannot_be_read_is_not_handed_on(client):
    client.send(frame(f.HEADERS, f.END_STREAM | f.END_HEADERS, 1, client.block(POST) + b"\x80"))
    assert [type(event) for event in client.events] == [ConnectionEnded]
