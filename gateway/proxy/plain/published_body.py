"""The body of a publisher's answer: read at once from the publisher, and by each client at its own pace.

Keeps true: slow clients never delay the publisher. Clients that get the same version of a list share one copy. All
copies together are limited: if a new one needs the memory, the clients of the oldest one are disconnected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.published import Kind
from gateway.http.relay import Question, Reply

# As long as the longest list that the publisher serves.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
# Of one worker: four versions of the longest list.
MAX_SHARED_BYTES: Final = 64 * 1024 * 1024
_SHARED_KINDS: Final = (Kind.LIST, Kind.CERTIFICATE)


class Reader(Protocol):
    """Receives a body."""

    def on_body(self) -> None:
        """More bytes of the body have arrived."""

    def on_failure(self, error: RequestError) -> None:
        """The body failed and will not be completed."""


class Body:
    """A body that is filled gradually, for readers between `join` and `leave`."""

    __slots__ = ("_count", "_data", "_on_unused", "_readers")

    def __init__(self, length_bytes: int, on_unused: Callable[[], None]) -> None:
        """`on_unused`: called when the last reader has left."""
        self._data = bytearray(length_bytes)
        self._count = 0
        self._readers: set[Reader] = set()
        self._on_unused = on_unused

    @property
    def length_bytes(self) -> int:
        """The length of the complete body."""
        return len(self._data)

    @property
    def left_bytes(self) -> int:
        """How many bytes have not arrived yet."""
        return len(self._data) - self._count

    def part(self, at: int, most: int) -> bytes:
        """A copy of the available bytes from `at` on: a slow client's write buffer must not keep the whole body."""
        return bytes(memoryview(self._data)[at : min(at + most, self._count)])

    def join(self, reader: Reader) -> None:
        """Call this reader from now on."""
        self._readers.add(reader)

    def leave(self, reader: Reader) -> None:
        """Stop calling this reader."""
        self._readers.discard(reader)
        if not self._readers:
            self._on_unused()

    def fill(self, data: bytes) -> None:
        """Append bytes, at most `left_bytes`, and tell the readers."""
        self._data[self._count : self._count + len(data)] = data
        self._count += len(data)
        for reader in tuple(self._readers):
            reader.on_body()

    def fail(self, error: RequestError) -> None:
        """Tell the readers that the body can't be completed."""
        readers, self._readers = self._readers, set()
        for reader in readers:
            reader.on_failure(error)
        self._on_unused()


class SharedBodies:
    """The bodies that clients of one worker read now."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[Kind, str, str], Body] = {}  # the oldest first

    def of(self, question: Question, reply: Reply, on_unused: Callable[[], None]) -> tuple[Body, bool]:
        """(the body of this answer, True if another client is already reading it); `on_unused`: for a new body."""
        etag = dict(reply.fields).get("ETag")
        wanted = question.wanted
        length_bytes = 0 if question.is_head else reply.length_bytes
        if etag is None or wanted.kind not in _SHARED_KINDS or not length_bytes:
            return Body(length_bytes, on_unused), False
        key = wanted.kind, wanted.name, etag
        if (known := self._bodies.get(key)) is not None and known.length_bytes == length_bytes:
            return known, True

        def forget() -> None:
            if self._bodies.get(key) is body:
                del self._bodies[key]
            on_unused()

        body = Body(length_bytes, forget)
        self._bodies[key] = body
        self._make_room()
        return body, False

    def _make_room(self) -> None:
        while sum(body.length_bytes for body in self._bodies.values()) > MAX_SHARED_BYTES:
            cause = "the client took the answer too slowly, and its memory was needed for newer answers"
            self._bodies.pop(next(iter(self._bodies))).fail(RequestError(Reason.REQUEST_TIMEOUT, cause))
