"""The cases of h2spec, asked of a running gateway over TLS, with a mail server behind it."""

import contextlib

import pytest
from support.client import context_for
from support.gateway import settings_for
from support.http2_client import SETTINGS
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
from support.http2_wire import Wire, h2_context

from gateway.http import http2_frames as f
from gateway.http.http2_frames import CLIENT_PREFACE, ErrorCode
from gateway.http.http2_limits import Limits

pytestmark = pytest.mark.e2e

HOST = "mail.example"  # of the requests in the list
ANSWER = b"body"


class WireClient(Wire):
    """A client of the gateway, which passes its requests to `mail`."""

    streams = Limits(uri_bytes=0, list_bytes=0, fields=0).streams

    def __init__(self, mail, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._mail = mail
        self._data = b""  # of the answer that `data` reads
        self._has_head = False

    def first_frame(self):
        return self.frame()

    def next(self, kind):
        """The next frame, which must be of this kind."""
        one = self.frame()
        assert one.type == kind
        return one

    def is_alive(self):
        """The gateway answers a PING."""
        try:
            self.ping(PING[f.FRAME_HEADER_BYTES :])
        except EOFError:
            return False
        return not self._goaways()

    def is_alive_or_done(self):
        """The same, or the gateway has nothing more to do and ends the connection without an error."""
        return self.is_alive() or {one.error_code for one in self._goaways()} == {ErrorCode.NO_ERROR}

    def _goaways(self):
        return [one for one in self.seen if one.type == f.GOAWAY]

    def is_request(self, stream_id=1, payload=b"", fields=(), trailers=()):
        """The mail server got one whole request, and its answer came back."""
        status, _, _ = self.answer(stream_id)
        request = self._mail.only()
        assert set(fields) <= set(request.fields)
        body, its_trailers = dechunked(request)
        assert its_trailers == list(trailers)
        return status == 200 and not self._goaways() and body == payload

    def is_served(self, stream_id=101):
        """An ordinary request is answered on this connection."""
        self.send(self.headers(stream_id))
        return self.answer(stream_id)[0] == 200

    def was_reset(self, stream_id):
        """(code,) of the only stream that the gateway has reset."""
        last = self.until(lambda one: one.type == f.RST_STREAM)
        assert last.stream_id == stream_id
        assert self.is_alive()
        assert len([one for one in self.seen if one.type == f.RST_STREAM]) == 1
        return (last.error_code,)

    def data(self, stream_id, size):
        """The next part of the answer that the windows allow, which is of this size."""
        if not self._has_head:
            self.until(lambda one: one.type == f.HEADERS and one.stream_id == stream_id)
            self._has_head = True
        before = len(self._data)
        while len(self._all_data(stream_id)) < before + size:
            self.frame()
        self.ping()  # nothing more comes
        self._data = self._all_data(stream_id)
        assert len(self._data) == before + size
        return self._data[before:]

    def _all_data(self, stream_id):
        return b"".join(one.data for one in self.seen if one.type == f.DATA and one.stream_id == stream_id)


def dechunked(request):
    """The body and the trailers of a request over HTTP/1.1."""
    data, payload = bytes(request.body), b""
    if not request.values(b"Transfer-Encoding"):
        return data, []
    while size := int((line := data.partition(b"\r\n")[0]), 16):
        at = len(line) + 2
        payload, data = payload + data[at : at + size], data[at + size + 2 :]
    return payload, [tuple(line.split(b": ")) for line in data.split(b"\r\n")[1:] if line]


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    settings = settings_for(credentials.site, mail.url)
    settings["sites"][0]["hosts"] = [HOST]
    return start(settings)


@pytest.fixture(scope="module")
def context():
    return h2_context(context_for())


@pytest.fixture(autouse=True)
def answers(mail):
    def answer(dialogue):
        with contextlib.suppress(OSError, ValueError):  # the request is cut short
            dialogue.read_body()
            dialogue.answer(ANSWER)

    mail.answer("/", answer)


@pytest.fixture
def fresh(gateway, mail, context):
    with WireClient(mail, gateway.port, context=context, server_name=HOST, first=None) as made:
        yield made


@pytest.fixture
def client(fresh):
    """Both sides have read the other's settings."""
    fresh.send(CLIENT_PREFACE + SETTINGS)
    fresh.until(lambda one: one.type == f.SETTINGS and "ACK" in one.flags)
    return fresh
