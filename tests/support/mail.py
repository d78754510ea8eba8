"""A mail server that writes down exactly which bytes reached it, and answers as its test wants.

    mail.answer("/webmail/slow", lambda dialogue: dialogue.send(b"HTTP/1.1 200 OK\\r\\n…"))
    mail.only()                       # the one request that came

Each connection has a thread of its own, so an answer is written as a plain dialogue of reads and writes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from support.stalling import send_patiently
from support.waiting import PATIENCE_SECONDS, until

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

IDLE_SECONDS = 30.0
GOODBYE_SECONDS = 0.2


@dataclass
class Received:
    """One request as it came."""

    head: bytes
    connection: int  # counted from 1
    body: bytearray = field(default_factory=bytearray)  # as framed: chunk sizes and trailers are in it

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:-2]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a field, in any case of its name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def request_id(self) -> str:
        (value,) = self.values(b"X-Request-Id")
        return value.decode()


class Dialogue:
    """One request and whatever is answered to it."""

    def __init__(self, connection: Connection, request: Received) -> None:
        self._connection = connection
        self.request = request

    def switch(self, data: bytes = b"") -> None:
        """Open a WebSocket, and send this over it (RFC 6455 4.2.2)."""
        accept = b""
        if keys := self.request.values(b"Sec-WebSocket-Key"):
            digest = hashlib.sha1(keys[0] + WEBSOCKET_GUID, usedforsecurity=False).digest()
            accept = b"Sec-WebSocket-Accept: %b\r\n" % base64.b64encode(digest)
        head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%b\r\n" % accept
        self.send(head + data)

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes behind the head; fewer only at the end."""
        data = self._connection.read(count)
        self.request.body += data
        return data

    def read_some(self, count: int) -> bytes:
        """Exactly `count` bytes that are not kept."""
        return self._connection.read(count)

    def read_line(self) -> bytes:
        """The next line, not kept; nothing at the end."""
        return self._connection.read_until(b"\r\n")

    def read_available(self) -> bytes:
        """What is there, as soon as there is anything, not kept; nothing at the end."""
        return self._connection.read_available()

    def read_chunk(self) -> bytes:
        """A chunk's payload, not kept; nothing for the last one."""
        size = int(self._connection.read_until(b"\r\n"), 16)
        return self._connection.read(size + 2)[:-2]

    def read_body(self) -> bytes:
        """The whole body as it is framed."""
        lengths = self.request.values(b"Content-Length")
        if lengths:
            return self.read(int(lengths[0]))
        if self.request.values(b"Transfer-Encoding"):
            while True:
                line = self._line()
                size = int(line.split(b";")[0], 16)
                if size:
                    self.read(size + 2)
                else:
                    while self._line() != b"\r\n":
                        pass
                    break
        return bytes(self.request.body)

    def _line(self) -> bytes:
        data = self._connection.read_until(b"\r\n")
        self.request.body += data
        return data

    def send(self, data: bytes) -> None:
        self._connection.socket.sendall(data)

    def send_patiently(self, data: bytes, is_stalled: threading.Event, seconds: float) -> None:
        """Send all of it, and say when nothing was taken for so long."""
        send_patiently(self._connection.socket, data, is_stalled, seconds)

    def answer(self, body: bytes = b"", *fields: bytes, status: bytes = b"200 OK") -> None:
        """A whole answer with a Content-Length."""
        lines = [b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body), b"", b""]
        self.send(b"\r\n".join(lines) + body)

    def close(self) -> None:
        """Say no more."""
        self._connection.close()

    def finish_sending(self) -> None:
        """Say no more, and listen on."""
        self._connection.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Drop the connection as a crashed server does."""
        linger = struct.pack("ii", 1, 0)
        self._connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._connection.is_closed = True  # without `shutdown`, which would say a FIN first
        self._connection.socket.close()

    def drop(self) -> None:
        """Close with bytes unread, as a server does that wants no more of them: a reset follows what was said."""
        self._connection.is_closed = True
        self._connection.socket.close()

    def finish(self) -> None:
        """Say over TLS that this was all (close_notify), then no more."""
        sock = self._connection.socket
        assert isinstance(sock, ssl.SSLSocket)
        sock.settimeout(GOODBYE_SECONDS)
        with contextlib.suppress(OSError):  # the gateway owes no close_notify of its own
            sock.unwrap()
        self._connection.close()

    def wait_closed(self) -> bytes:
        """What else comes, until the gateway closes."""
        return self._connection.read(1 << 30)


class Connection:
    """A socket with a buffer."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.socket = sock
        self.number = number
        self.is_closed = False
        self._buffer = bytearray()

    def _fill(self) -> bool:
        data = self.socket.recv(65536)
        self._buffer += data
        return bool(data)

    def read(self, count: int) -> bytes:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while len(self._buffer) < count and self._fill():
                pass
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_available(self) -> bytes:
        """What is there, as soon as there is anything; nothing at the end."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            _ = self._buffer or self._fill()
        return self.read(len(self._buffer))

    def read_until(self, end: bytes) -> bytes:
        """Up to and with `end`; nothing when the connection ended."""
        while (at := self._buffer.find(end)) < 0:
            if not self._fill():
                return b""
        return self.read(at + len(end))

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    def hang_up(self) -> None:
        """Say goodbye from another thread; the connection's own thread closes it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


Answer = Callable[[Dialogue], None]


def default_answer(dialogue: Dialogue) -> None:
    """200, after the body."""
    dialogue.read_body()
    dialogue.answer(b"mail\n", b"Content-Type: text/plain")


class MailServer:
    """Listens on loopback until `stop`."""

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self._context = context
        self.host = host
        self._listening = socket.create_server((host, port), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self.received: list[Received] = []
        self._answers: dict[bytes, Answer] = {}
        self._serving: dict[Connection, threading.Thread] = {}
        self.failures: list[BaseException] = []
        self._accepting = threading.Thread(target=self._accept, name="mail accepts")
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://{self.host}:{self.port}"

    def answer(self, path: str, answer: Answer) -> None:
        """From now on requests for this path, or for paths below it, are answered by this."""
        self._answers[path.encode()] = answer

    def only(self) -> Received:
        """The one request that came since the test began."""
        until(lambda: self.received, "a request reached the mail server")
        assert len(self.received) == 1, [request.line for request in self.received]
        return self.received[0]

    @property
    def open_connections(self) -> int:
        return sum(not connection.is_closed for connection in tuple(self._serving))

    def hang_up(self) -> None:
        """Close every connection, as an idle server does."""
        for connection in tuple(self._serving):
            if not connection.is_closed:
                connection.hang_up()

    def forget(self) -> None:
        """Between tests: no connections, no records, no special answers."""

        def is_alone() -> bool:
            self.hang_up()  # again and again: health checks connect by themselves, and some are only now accepted
            return not self.open_connections

        until(is_alone, "the mail server's connections end")
        for connection, thread in self._serving.copy().items():
            if connection.is_closed:
                thread.join(PATIENCE_SECONDS)
                del self._serving[connection]
        self.received.clear()
        self._answers.clear()
        failures, self.failures = self.failures, []
        assert not failures, failures

    def stop(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        self.forget()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            number += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(IDLE_SECONDS)
            connection = Connection(sock, number)
            thread = threading.Thread(target=self._serve, args=(connection,), name="mail serves")
            self._serving[connection] = thread  # before it answers, or a test may end without it
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            if self._context is not None:
                connection.socket = self._context.wrap_socket(connection.socket, server_side=True)
            while not connection.is_closed and (head := connection.read_until(b"\r\n\r\n")):
                request = Received(head, connection.number)
                self.received.append(request)
                self._answer_for(request)(Dialogue(connection, request))
        except (OSError, ssl.SSLError):  # the gateway closed, which is for the tests to judge
            pass
        except BaseException as error:  # noqa: BLE001 - told to the test by `forget`
            self.failures.append(error)
        finally:
            connection.close()

    def _answer_for(self, request: Received) -> Answer:
        path = request.target.partition(b"?")[0]
        fitting = [key for key in self._answers if path == key or path.startswith(key.rstrip(b"/") + b"/")]
        return self._answers[max(fitting, key=len)] if fitting else default_answer
