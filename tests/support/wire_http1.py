"""The HTTP/1.1 side of `support.wire`."""

from __future__ import annotations

import contextlib
import ssl
import threading

from support.client import TIMEOUT_SECONDS, Answer, Client, _field, parse_head

PIECE_BYTES = 16384


class Http1Exchange:
    """One request on a connection, and its answer."""

    def __init__(self, client: Http1Client, method: str, *, is_chunked: bool = False) -> None:
        self.client = client
        self._method = method
        self._is_chunked = is_chunked
        self._head: Answer | None = None
        self._left: int | None = 0  # of the body, or of its chunk; None until the connection's end
        self._has_chunks = False
        self._interim: list[int] = []

    # the request

    def send(self, data: bytes) -> None:
        """More of the body."""
        self.client.send(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    def finish(self, *trailers: str) -> None:
        """The end of a body that is streamed."""
        self.client.send(b"0\r\n" + "".join(f"{each}\r\n" for each in trailers).encode("latin-1") + b"\r\n")

    def send_patiently(self, data: bytes, is_stalled: threading.Event, seconds: float) -> None:
        """Send all of it, and say when nothing was taken for so long."""
        assert not self._is_chunked
        self.client.send_patiently(data, is_stalled, seconds)

    def stuff(self, seconds: float) -> int:
        """Send zeros until nothing more was taken for so long; how many."""
        sent = 0
        self.client.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while True:
                self.send(bytes(PIECE_BYTES))
                sent += PIECE_BYTES
        self.client.socket.settimeout(TIMEOUT_SECONDS)
        return sent

    def end(self) -> None:
        """End this direction of another protocol, and wait for the end of the other."""
        self.client.socket.unwrap().close()

    def abandon(self) -> None:
        """The answer is no longer wanted."""
        self.client.close()

    # the answer

    def next_head(self) -> Answer:
        """A 1xx answer, or the status and the fields of the one that counts."""
        answer = parse_head(self.client.read_until(b"\r\n\r\n"))
        if 100 <= answer.status < 200 and answer.status != 101:
            self._interim.append(answer.status)
            return answer
        answer.interim = self._interim
        self._head = answer
        length = answer.get("Content-Length")
        if self._method == "HEAD" or answer.status in (204, 304):
            self._left = 0
        elif answer.get("Transfer-Encoding") is not None:
            assert (answer.get("Transfer-Encoding"), length) == ("chunked", None)
            self._has_chunks = True
        else:
            self._left = None if length is None else int(length)
        return answer

    def head(self) -> Answer:
        """Status and fields of the answer."""
        while self._head is None:
            self.next_head()
        return self._head

    def read(self, count: int) -> bytes:
        """So many bytes of the body, or of what follows a switch of protocols."""
        self.head()
        if not self._has_chunks:
            if self._left is not None:
                assert count <= self._left
                self._left -= count
            return self.client.read(count)
        data = bytearray()
        while len(data) < count:
            if not self._left and not self._next_chunk():
                raise EOFError(bytes(data))
            assert self._left is not None
            piece = self.client.read(min(count - len(data), self._left))
            self._take_chunk(len(piece))
            data += piece
        return bytes(data)

    def read_available(self, most: int) -> bytes:
        """What is there, as soon as there is anything, undoing no framing."""
        return self.client.socket.recv(most)

    def _next_chunk(self) -> bool:
        self._left = int(self.client.read_until(b"\r\n"), 16)
        if self._left:
            return True
        self._has_chunks = False
        while (line := self.client.read_until(b"\r\n")) != b"\r\n":
            self.head().trailers.append(_field(line[:-2]))
        return False

    def _take_chunk(self, size: int) -> None:
        assert self._left is not None
        self._left -= size
        if not self._left:
            assert self.client.read(2) == b"\r\n"

    def answer(self) -> Answer:
        """The answer with all that is left of its body, and its trailers."""
        answer = self.head()
        if self._has_chunks:
            body = bytearray()
            while self._left or self._next_chunk():
                assert self._left is not None
                piece = self.client.read(self._left)
                self._take_chunk(len(piece))
                body += piece
            answer.body = bytes(body)
        elif self._left is None:
            answer.body = self.client.read_all()
        else:
            answer.body, self._left = self.client.read(self._left), 0
        return answer

    def is_refused(self) -> bool:
        """Whether the gateway has said that it wants no more of the request; here `send` fails instead."""
        return False

    def is_over(self) -> bool:
        """True when the gateway reads no more of this request: it closes its connection properly."""
        return self.client.is_at_end()

    def is_silent(self, seconds: float) -> bool:
        """True when nothing comes for so long."""
        self.client.socket.settimeout(seconds)
        try:
            if not self.client._buffer:
                self.client._fill()
        except (TimeoutError, ssl.SSLWantReadError):  # without a time-out it is the latter
            return True
        except EOFError:
            return False
        finally:
            self.client.socket.settimeout(TIMEOUT_SECONDS)
        return False


class Http1Client(Client):
    """A connection."""

    is_going_away = False  # an answer says it, by `Connection: close`

    def say_goodbye(self) -> None:
        """Close with close_notify."""
        self.socket.unwrap().close()

    def start(self, method: str, target: str, *fields: str, body: bytes = b"", length: int | None = None,
              is_streamed: bool = False, host: str | None = None) -> Http1Exchange:  # fmt: skip
        """A request. With `length` or where it `is_streamed`, its body follows."""
        if length is not None:
            fields = (*fields, f"Content-Length: {length}")
        if is_streamed:
            fields = (*fields, "Transfer-Encoding: chunked")
        self.send(self.request(method, target, *fields, body=body, host=host))
        return Http1Exchange(self, method, is_chunked=is_streamed)

    def open(self, target: str, *fields: str, protocol: str = "websocket", is_eager: bool = False) -> Http1Exchange:
        """Another protocol at that address. Unless it `is_eager`, it is there when this returns."""
        exchange = self.start("GET", target, "Connection: Upgrade", f"Upgrade: {protocol}", *fields)
        if not is_eager:
            head = exchange.head()
            assert (head.status, head.get("Upgrade")) == (101, protocol), head
        return exchange
