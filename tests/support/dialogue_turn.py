"""One request at an upstream of a random dialogue: its body, which must be its own, and the parts of its answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from support.dialogue_ledger import Asked, pattern
from support.mail import Dialogue

SIZES = (0, 1, 5, 100, 1_000, 20_000)


class GoneError(Exception):
    """The gateway closed the connection within a request."""


class Turn:
    """One request at an upstream, and its answer."""

    def __init__(self, dialogue: Dialogue, asked: Asked) -> None:
        self.dialogue = dialogue
        self.asked = asked
        self.random = random.Random(asked.token)
        self.size = 0 if asked.method == "HEAD" else self.random.choice(SIZES)
        self.problems: list[str] = []

    @property
    def body(self) -> bytes:
        return pattern(self.asked.token, self.size)

    def head(self, *fields: str, status: str = "200 OK") -> bytes:
        lines = [f"HTTP/1.1 {status}", f"X-Token: {self.asked.token}", f"X-Size: {self.size}", *fields, "", ""]
        return "\r\n".join(lines).encode()

    def send(self, data: bytes) -> None:
        self.dialogue.send(data)

    def sized(self, *fields: str, status: str = "200 OK") -> bytes:
        """A whole answer with its length."""
        return self.head(f"Content-Length: {self.size}", *fields, status=status) + self.body

    def pieces(self, most: int = 3000) -> Iterator[bytes]:
        at = 0
        while at < self.size:
            count = self.random.randint(1, most)
            yield self.body[at : at + count]
            at += count

    def chunks(self, most: int = 3000) -> bytes:
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces(most))

    def chunked(self, most: int = 3000, *, end: bytes = b"0\r\n\r\n", fields: Sequence[str] = ()) -> bytes:
        """A whole answer in chunks; to HEAD its head."""
        head = self.head("Transfer-Encoding: chunked", *fields)
        return head if self.asked.method == "HEAD" else head + self.chunks(most) + end

    # the request's body

    def take(self) -> None:
        """Read the whole body, which must be this request's own. Raises `GoneError` when it ends before."""
        request = self.dialogue.request
        if request.values(b"Expect"):
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if lengths := request.values(b"Content-Length"):
            payload = self.dialogue.read_some(int(lengths[0]))
            is_whole = len(payload) == int(lengths[0])
        elif request.values(b"Transfer-Encoding"):
            payload, is_whole = self._take_chunks()
        else:
            payload, is_whole = b"", True
        expected = self.asked.body
        if (is_whole and payload != expected) or not expected.startswith(payload):
            self.problems.append(f"a body that is not its own: {len(payload)} of {len(expected)}: {payload[:80]!r}")
        if not is_whole:
            raise GoneError

    def _take_chunks(self) -> tuple[bytes, bool]:
        payload = bytearray()
        while (line := self.dialogue.read_line()).endswith(b"\r\n"):
            size = int(line.split(b";")[0], 16)
            if not size:
                while (line := self.dialogue.read_line()) not in (b"\r\n", b""):
                    if line.lower() != f"x-sum: {self.asked.token}\r\n".encode():
                        self.problems.append(f"a foreign trailer: {line!r}")
                return bytes(payload), line == b"\r\n"
            data = self.dialogue.read_some(size + 2)
            payload += data[:size]
            if len(data) < size + 2:
                break
            if data[size:] != b"\r\n":
                self.problems.append(f"a chunk without its end: {data[-20:]!r}")
        return bytes(payload), False
