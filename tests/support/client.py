"""Clients of the gateway: Python's own ssl with raw HTTP on top, curl, and `openssl s_client`.

with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
    answer = client.ask("GET", "/webmail")
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from support.gateway import HOST, INSIDE
from support.programs import run
from support.stalling import send_patiently
from support.waiting import PATIENCE_SECONDS

TIMEOUT_SECONDS = PATIENCE_SECONDS
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = (TLS_1_2, TLS_1_3)


@dataclass
class Answer:
    """A whole answer."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)  # statuses of the 1xx answers before it
    raw_head: bytes = b""

    def get(self, name: str) -> str | None:
        """The value of a field that stands once at most."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None

    @property
    def reason(self) -> str | None:
        return self.get("X-Gateway-Reason")

    @property
    def verdict(self) -> tuple[int, str | None]:
        """Status and reason code: what the gateway promises."""
        return self.status, self.reason


def context_for(
    ca: Path | None = None,
    identity: Any = None,
    version: ssl.TLSVersion | None = None,
    *,
    is_weak: bool = False,
) -> ssl.SSLContext:
    """A client's TLS settings; `is_weak` lets it use keys and digests that it would refuse itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if is_weak:
        context.set_ciphers("DEFAULT@SECLEVEL=0")
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


class Stream:
    """Reads answers from anything with `recv`."""

    def __init__(self, sock: Any) -> None:
        self.socket = sock
        self._buffer = bytearray()

    def _fill(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(bytes(self._buffer))
        self._buffer += data

    def read_until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            self._fill()
        return self.read(at + len(end))

    def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_all(self) -> bytes:
        """All there is until the end."""
        try:
            while True:
                self._fill()
        except EOFError:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, with the body that its framing says (RFC 9112, 6.3)."""
        interim = []
        while True:
            answer = parse_head(self.read_until(b"\r\n\r\n"))
            if answer.status >= 200:
                break
            interim.append(answer.status)
        answer.interim = interim
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if answer.get("Transfer-Encoding") is not None:
            assert answer.get("Content-Length") is None
            self._read_chunks(answer)
        elif (length := answer.get("Content-Length")) is not None:
            answer.body = self.read(int(length))
        else:
            answer.body = self.read_all()
        return answer

    def _read_chunks(self, answer: Answer) -> None:
        assert answer.get("Transfer-Encoding") == "chunked"
        body = bytearray()
        while size := int(self.read_until(b"\r\n"), 16):
            body += self.read(size)
            assert self.read(2) == b"\r\n"
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            answer.trailers.append(_field(line[:-2]))
        answer.body = bytes(body)


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    assert colon, line
    return name, value.strip()


def parse_head(head: bytes) -> Answer:
    """Status line and fields, strictly; those of HTTP/2 as curl writes them."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = re.fullmatch(rb"HTTP/(?:1\.1|2) ([1-5][0-9]{2}) .*", first)
    assert match, head
    return Answer(int(match[1]), [_field(line) for line in lines], raw_head=head)


class Client(Stream):
    """One TLS connection to the gateway."""

    def __init__(
        self,
        port: int,
        *,
        source: str = INSIDE,
        server_name: str | None = HOST,
        context: ssl.SSLContext | None = None,
        identity: Any = None,
        version: ssl.TLSVersion | None = None,
        session: ssl.SSLSession | None = None,
        preamble: bytes = b"",
        buffer_bytes: int | None = None,
    ) -> None:
        """`buffer_bytes`: how much the kernel takes in for it, about; else as much as it likes."""
        self.host = server_name or HOST
        plain = _connected(port, source, buffer_bytes)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = context or context_for(None, identity, version)
        plain.sendall(preamble)
        try:
            # An end without close_notify must be seen: that is how an answer that was cut short looks.
            wrapped = context.wrap_socket(
                plain, server_hostname=server_name, session=session, suppress_ragged_eofs=False
            )
        except BaseException:
            plain.close()
            raise
        super().__init__(wrapped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_patiently(self, data: bytes, is_stalled: threading.Event, seconds: float) -> None:
        """Send all of it, and say when nothing was taken for so long."""
        send_patiently(self.socket, data, is_stalled, seconds)

    def request(
        self, method: str, target: str | bytes, *fields: str, body: bytes = b"", host: str | None = None
    ) -> bytes:
        """A request's bytes; a body gets a Content-Length."""
        target = target if isinstance(target, bytes) else target.encode("latin-1")
        lines = [b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: " + (host or self.host).encode()]
        lines += [text.encode("latin-1") for text in fields]
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join((*lines, b"", b"")) + body

    def ask(self, method: str, target: str | bytes, *fields: str, body: bytes = b"", host: str | None = None) -> Answer:
        """One request and its answer."""
        self.send(self.request(method, target, *fields, body=body, host=host))
        return self.answer(method)

    def is_at_end(self) -> bool:
        """True when the gateway closes now, properly."""
        return self.socket.recv(1) == b""


def _connected(port: int, source: str, buffer_bytes: int | None) -> socket.socket:
    plain = socket.socket()
    try:
        if buffer_bytes is not None:  # before there is a connection, or it has no effect on its window
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        plain.settimeout(TIMEOUT_SECONDS)
        plain.bind((source, 0))
        plain.connect((INSIDE, port))
    except BaseException:
        plain.close()
        raise
    return plain


def ask(port: int, target: str | bytes, *, method: str = "GET", host: str | None = None, **options: Any) -> Answer:
    """One request on a connection of its own; `options` as of `Client`."""
    with Client(port, **options) as client:
        return client.ask(method, target, host=host)


def curl(
    port: int, target: str, *arguments: str, ca: Path, source: str = INSIDE, version: ssl.TLSVersion | None = None
) -> Answer:
    """One request by curl, which verifies the gateway's certificate by `ca`."""
    tls = {TLS_1_2: ["--tls-max", "1.2"], TLS_1_3: ["--tlsv1.3"], None: []}[version]
    code, output = run(
        "curl",
        [
            *("-q", "--silent", "--show-error", "--include", "--http1.1", "--path-as-is", "--max-time", "30"),
            *("--interface", source, "--resolve", f"{HOST}:{port}:{INSIDE}", "--cacert", str(ca)),
            *tls,
            *arguments,
            f"https://{HOST}:{port}{target}",
        ],
    )
    assert code == 0, output
    head, _, body = output.partition(b"\r\n\r\n")
    answer = parse_head(head + b"\r\n\r\n")
    answer.body = body
    return answer


def s_client(port: int, target: str, *arguments: str, source: str = INSIDE, server_name: str | None = HOST) -> str:
    """One request by `openssl s_client`; everything it prints."""
    name = ["-servername", server_name] if server_name else ["-noservername"]
    request = f"GET {target} HTTP/1.1\r\nHost: {server_name or HOST}\r\nConnection: close\r\n\r\n"
    _, output = run(
        "openssl",
        ["s_client", "-connect", f"{INSIDE}:{port}", "-bind", f"{source}:0", "-ign_eof", *name, *arguments],
        text=request.encode(),
    )
    return output.decode("latin-1")
