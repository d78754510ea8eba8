"""The HTTP/2 side of `support.wire`, made with the library h2: it also checks all that the gateway sends.

Only calls that wait for something read from the connection, and the gateway's windows open by what a test has read: a
test that doesn't read is a slow reader. Several threads may use one connection.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from support.client import TIMEOUT_SECONDS, Answer, Client
from support.gateway import HOST

PIECE_BYTES = 16384
WINDOW_BYTES = 4 * 1024 * 1024  # what a test that reads lets come at once
PSEUDO = {"Host": ":authority"}


class StreamResetError(ConnectionResetError):
    """The gateway ended the stream; `code` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"RST_STREAM {ErrorCodes(code).name}")
        self.code = ErrorCodes(code)


class Http2Exchange:
    """One request on its stream, and the answer."""

    def __init__(self, client: Http2Client, stream_id: int, length: int | None, *, is_sent: bool) -> None:
        self.client = client
        self.stream_id = stream_id
        self._unsent = length  # of a body whose length was announced
        self._heads: deque[Answer] = deque()
        self._interim: list[int] = []
        self._head: Answer | None = None
        self._data = bytearray()
        self._unacknowledged = 0  # what came on the connection and nobody has read yet
        self._trailers: list[tuple[str, str]] = []
        self._is_sent = is_sent  # the request, to its end
        self.has_ended = False
        self.reset: int | None = None

    # the request

    def send(self, data: bytes) -> None:
        """More of the body."""
        self._send(data, None, TIMEOUT_SECONDS)

    def send_patiently(self, data: bytes, is_stalled: threading.Event, seconds: float) -> None:
        """Send all of it, and say when nothing was taken for so long."""
        self._send(data, is_stalled, seconds)

    def stuff(self, seconds: float) -> int:
        """Send zeros until nothing more was taken for so long; how many."""
        sent = 0
        try:
            while True:
                self._send(bytes(PIECE_BYTES), None, seconds)
                sent += PIECE_BYTES
        except TimeoutError:
            return sent

    def _send(self, data: bytes, is_stalled: threading.Event | None, seconds: float) -> None:
        view = memoryview(data)
        while view:
            if not self.client.wait(lambda: self._window() or self.reset is not None, seconds):
                self.client.check_open()
                if is_stalled is None or is_stalled.is_set():
                    raise TimeoutError
                is_stalled.set()
                seconds = TIMEOUT_SECONDS
                continue
            size = self._send_piece(view)
            view = view[size:]
        self.client.flush()

    def _window(self) -> int:
        return 0 if self.reset is not None else self.client.machine.local_flow_control_window(self.stream_id)

    def _send_piece(self, view: memoryview) -> int:
        with self.client.lock:
            if self.reset is not None:
                if self.reset == ErrorCodes.NO_ERROR:
                    return len(view)  # the answer is there, and the rest of the request not wanted
                raise StreamResetError(self.reset)
            size = min(len(view), self._window(), PIECE_BYTES)
            is_last = False
            if self._unsent is not None:
                self._unsent -= size
                self._is_sent = is_last = self._unsent == 0
            self.client.machine.send_data(self.stream_id, bytes(view[:size]), end_stream=is_last)
        self.client.flush()
        return size

    def finish(self, *trailers: str) -> None:
        """The end of a body that is streamed, or of this direction."""
        with self.client.lock:
            self._is_sent = True
            if trailers:
                fields = [_pair(each) for each in trailers]
                self.client.machine.send_headers(self.stream_id, fields, end_stream=True)
            else:
                self.client.machine.end_stream(self.stream_id)
        self.client.flush()

    def end(self) -> None:
        """End this direction of another protocol, and wait for the end of the other."""
        self.finish()
        assert self.is_over()

    def abandon(self, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """The answer is no longer wanted."""
        with self.client.lock:
            self.client.machine.reset_stream(self.stream_id, code)
        self.client.flush()

    # the answer

    def next_head(self) -> Answer:
        """A 1xx answer, or the status and the fields of the one that counts."""
        self._wait_for(lambda: self._heads)
        answer = self._heads.popleft()
        if answer.status < 200:
            self._interim.append(answer.status)
        else:
            answer.interim = self._interim
            self._head = answer
        return answer

    def head(self) -> Answer:
        """Status and fields of the answer."""
        while self._head is None:
            self.next_head()
        return self._head

    def read(self, count: int) -> bytes:
        """So many bytes of the body, or of what follows a switch of protocols."""
        self.head()
        self._wait_for(lambda: self._take_in(count) >= count)
        return self._take(count)

    def read_available(self, most: int) -> bytes:
        """What is there, as soon as there is anything."""
        self._wait_for(lambda: self._data)
        return self._take(min(most, len(self._data)))

    def answer(self) -> Answer:
        """The answer with all that is left of its body, and its trailers."""
        answer, body = self.head(), bytearray()
        while not self.has_ended:
            self._wait_for(lambda: self._data or self.has_ended)
            body += self._take(len(self._data))
        answer.body += bytes(body) + self._take(len(self._data))
        answer.trailers = self._trailers
        return answer

    def is_refused(self) -> bool:
        """Whether the gateway has said that it wants no more of the request."""
        self.client.wait(lambda: self.reset is not None, 0)
        return self.reset is not None or self.client.is_closed

    def is_over(self) -> bool:
        """True when the gateway reads no more of this request: it has ended the stream properly (RFC 9113 8.1)."""
        self.client.wait(lambda: self.reset is not None or (self.has_ended and self._is_sent), TIMEOUT_SECONDS)
        return self.has_ended and self.reset == (None if self._is_sent else ErrorCodes.NO_ERROR)

    def is_silent(self, seconds: float) -> bool:
        """True when nothing comes for so long."""
        return not self.client.wait(
            lambda: self._heads or self._data or self.has_ended or self.reset is not None, seconds
        )

    def _take_in(self, count: int) -> int:
        """How much is there; a window that is smaller than what is wanted opens by what has come."""
        if len(self._data) < count:
            self._acknowledge()
        return len(self._data)

    def _take(self, count: int) -> bytes:
        with self.client.lock:
            data = bytes(self._data[:count])
            del self._data[:count]
        self._acknowledge(keeps_unread=True)
        return data

    def _acknowledge(self, *, keeps_unread: bool = False) -> None:
        with self.client.lock:  # another thread reads from the connection
            size = max(0, self._unacknowledged - (len(self._data) if keeps_unread else 0))
            if not size:
                return
            self._unacknowledged -= size
            self.client.machine.acknowledge_received_data(size, self.stream_id)
        self.client.flush()

    def _wait_for(self, holds: Any) -> None:
        def settled() -> bool:
            return bool(holds()) or self.has_ended or self.reset is not None or self.client.is_closed

        if not self.client.wait(settled, TIMEOUT_SECONDS):
            raise TimeoutError
        if not holds():
            if self.reset is not None:
                raise StreamResetError(self.reset)
            self.client.check_open()
            raise EOFError(bytes(self._data))

    def event(self, event: h2.events.Event) -> None:
        """What has come on this stream."""
        match event:
            case h2.events.InformationalResponseReceived() | h2.events.ResponseReceived():
                fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                (status,) = [value for name, value in fields if name == ":status"]
                rest = [pair for pair in fields if pair[0] != ":status"]
                raw = b"".join(b"%b: %b\r\n" % (name, value) for name, value in event.headers)
                self._heads.append(Answer(int(status), rest, raw_head=raw))
            case h2.events.DataReceived():
                self._data += event.data
                self._unacknowledged += event.flow_controlled_length
            case h2.events.TrailersReceived():
                self._trailers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
            case h2.events.StreamEnded():
                self.has_ended = True
            case h2.events.StreamReset():
                self.reset = event.error_code


@dataclass(frozen=True)
class GoAway:
    """The gateway's word that it serves no streams behind the last one; `last_stream_id` may name none yet."""

    code: int
    last_stream_id: int
    cause: bytes


class Machine(h2.connection.H2Connection):
    """h2 takes a connection for closed at its first GOAWAY, but requests under way go on (RFC 9113 6.8)."""

    def __init__(self, config: h2.config.H2Configuration) -> None:
        super().__init__(config)
        self.goaways: list[GoAway] = []

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
        self.goaways.append(GoAway(frame.error_code, frame.last_stream_id, frame.additional_data))
        return [], []


class Http2Client:
    """A connection; `options` as of `Client`."""

    def __init__(self, port: int, *, buffer_bytes: int | None = None, **options: Any) -> None:
        """`buffer_bytes`: how much is taken in for it, about, by the kernel and by its windows."""
        self._plain = Client(port, buffer_bytes=buffer_bytes, **options)
        self.host = options.get("server_name") or HOST
        self.socket: ssl.SSLSocket = self._plain.socket
        self.socket.settimeout(0)
        self.lock = threading.RLock()
        self.is_closed = False  # by the gateway
        self.error: OSError | None = None
        self._exchanges: dict[int, Http2Exchange] = {}
        self._last: Http2Exchange | None = None
        self._unsent = bytearray()
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.machine = Machine(config)
        window = WINDOW_BYTES if buffer_bytes is None else h2.settings.Settings().initial_window_size
        self.machine.local_settings = h2.settings.Settings(
            initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        self.machine.initiate_connection()
        if buffer_bytes is None:
            self.machine.increment_flow_control_window(WINDOW_BYTES)
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def say_goodbye(self) -> None:
        """Close with GOAWAY, and with close_notify when the gateway has read it."""
        with self.lock:
            self.machine.close_connection()
        self.flush()
        assert self.is_at_end()
        with contextlib.suppress(OSError):  # the gateway may be gone by then
            self.socket.unwrap()
        self.close()

    # requests

    def start(self, method: str, target: str | bytes, *fields: str, body: bytes = b"", length: int | None = None,
              is_streamed: bool = False, host: str | None = None) -> Http2Exchange:  # fmt: skip
        """A request. With `length` or where it `is_streamed`, its body follows."""
        target = target if isinstance(target, str) else target.decode("latin-1")
        pairs = [(":method", method), (":scheme", "https"), (":authority", host or self.host), (":path", target)]
        pairs += [_pair(line) for each in fields for line in each.split("\r\n")]
        if body:
            length = len(body)
        if length is not None:
            pairs.append(("content-length", str(length)))
        exchange = self.start_raw(pairs, length=length, is_last=not is_streamed and not length)
        if body:
            exchange.send(body)
        return exchange

    def start_raw(
        self, pairs: list[tuple[str, str]], *, length: int | None = None, is_last: bool = True
    ) -> Http2Exchange:
        """A request of just these fields."""
        with self.lock:
            exchange = Http2Exchange(self, self.machine.get_next_available_stream_id(), length, is_sent=is_last)
            self._exchanges[exchange.stream_id] = self._last = exchange
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
            self.machine.send_headers(exchange.stream_id, encoded, end_stream=is_last)
        self.flush()
        return exchange

    def open(self, target: str, *fields: str, protocol: str = "websocket", is_eager: bool = False) -> Http2Exchange:
        """Another protocol at that address (RFC 8441). Unless it `is_eager`, it is there when this returns."""
        assert self.wait(lambda: self.machine.remote_settings.enable_connect_protocol, TIMEOUT_SECONDS)
        pairs = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":authority", self.host)]
        exchange = self.start_raw([*pairs, (":path", target), *map(_pair, fields)], is_last=False)
        if not is_eager:
            assert exchange.head().status == 200, exchange.head()
        return exchange

    def ask(self, method: str, target: str | bytes, *fields: str, body: bytes = b"", host: str | None = None) -> Answer:
        """One request and its answer."""
        return self.start(method, target, *fields, body=body, host=host).answer()

    # the connection

    @property
    def goaways(self) -> list[GoAway]:
        """What the gateway has said about the connection's end."""
        return self.machine.goaways

    @property
    def is_going_away(self) -> bool:
        """True once the gateway has asked for no more requests."""
        return bool(self.goaways)

    def check_open(self) -> None:
        """Raises what has ended the connection."""
        if self.error is not None:
            raise self.error
        if self.is_closed:
            raise EOFError(self.goaways)

    def is_at_end(self) -> bool:
        """True when the gateway closes now, properly."""
        return self.wait(lambda: self.is_closed, TIMEOUT_SECONDS) and self.error is None

    def wait(self, holds: Any, seconds: float) -> bool:
        """Read on until this holds; False when it doesn't within so many seconds, or when nothing more comes."""
        deadline = time.monotonic() + seconds
        while True:
            with self.lock:
                if holds():
                    return True
                if self.is_closed:
                    return False
                has_read = self._receive()
            if not has_read:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                # Another thread may take what comes, so this one looks again soon.
                select.select([self.socket], [self.socket] if self._unsent else [], [], min(left, 0.05))
                self.flush()

    def flush(self) -> None:
        """Send what is to be sent; as much of it as the kernel takes, where the gateway reads no more."""
        with self.lock:
            self._unsent += self.machine.data_to_send()
            try:
                while self._unsent:
                    del self._unsent[: self.socket.send(self._unsent)]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError as error:
                if not self._receive():
                    self.is_closed, self.error = True, error

    def _receive(self) -> bool:
        """True when something came, be it the end."""
        try:
            data = self.socket.recv(65536)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self.is_closed, self.error = True, error
            return True
        if not data:
            self.is_closed = True
            return True
        for event in self.machine.receive_data(data):
            self._take(event)
        self.flush()
        return True

    def _take(self, event: h2.events.Event) -> None:
        stream_id = getattr(event, "stream_id", None)
        if stream_id in self._exchanges:
            self._exchanges[stream_id].event(event)


def _pair(field: str) -> tuple[str, str]:
    name, _, value = field.partition(":")
    return name.lower(), value.strip()
