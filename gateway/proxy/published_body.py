"""The body of a publisher's answer: taken at once, and read by each client at that client's pace.

Keeps true: however slow its clients are, the publisher is soon rid of an answer. Clients that get the same version of a
list share one copy. All copies together are bounded: where a new one needs the memory, the clients of the oldest one
are cut.
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
    """Who hears of a body."""

    def on_body(self) -> None:
        """There is more of it."""

    def on_failure(self, error: RequestError) -> None:
        """It breaks off. Nothing follows."""


class Body:
    """Bytes that come, for readers that stay until they have left."""

    __slots__ = ("_count", "_data", "_on_unused", "_readers")

    def __init__(self, length_bytes: int, on_unused: Callable[[], None]) -> None:
        """`on_unused`: the last reader has left."""
        self._data = bytearray(length_bytes)
        self._count = 0
        self._readers: set[Reader] = set()
        self._on_unused = on_unused

    @property
    def length_bytes(self) -> int:
        """Of the whole."""
        return len(self._data)

    @property
    def left_bytes(self) -> int:
        """How much is yet to come."""
        return len(self._data) - self._count

    def part(self, at: int, most: int) -> bytes:
        """What has come, from `at` on. A copy: a client that doesn't take it must not keep the whole in memory."""
        return bytes(memoryview(self._data)[at : min(at + most, self._count)])

    def join(self, reader: Reader) -> None:
        """Hear of it from now on."""
        self._readers.add(reader)

    def leave(self, reader: Reader) -> None:
        """Hear of it no more."""
        self._readers.discard(reader)
        if not self._readers:
            self._on_unused()

    def fill(self, data: bytes) -> None:
        """More has come; at most `left_bytes`."""
        self._data[self._count : self._count + len(data)] = data
        self._count += len(data)
        for reader in tuple(self._readers):
            reader.on_body()

    def fail(self, error: RequestError) -> None:
        """There is no more to come, or no memory for it any more."""
        readers, self._readers = self._readers, set()
        for reader in readers:
            reader.on_failure(error)
        self._on_unused()


class SharedBodies:
    """Of one worker: what clients read now."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[Kind, str, str], Body] = {}  # the oldest first

    def of(self, question: Question, reply: Reply, on_unused: Callable[[], None]) -> tuple[Body, bool]:
        """The body of this answer, and whether it is there or on its way already; `on_unused` is a new one's."""
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
