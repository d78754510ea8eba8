"""From a client's bytes to the head of its next request, and the memory of the last one.

Keeps true: a request is known again only by all of its bytes; what was remembered of it is forgotten as soon as
another was read in between, and by whoever changes what it was judged by.
"""

from __future__ import annotations

from typing import Final

from gateway.config.model import Limits
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.proxy.admission import Admitted
from gateway.proxy.snapshot import Snapshot

# A request's bytes are kept to know it again, up to this length: polls are short, and idle connections many.
MAX_REMEMBERED_BYTES: Final = 2048


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    __slots__ = ("_admitted", "_data", "_head")

    def __init__(self) -> None:
        self._data: bytes | None = None  # the last request, where it was short and stood alone
        self._head: RequestHead | None = None
        self._admitted: Admitted | None = None  # what became of it

    def again(self, data: bytes) -> Admitted | None:
        """What became of the last request, where this is the same to the byte and it passed."""
        return self._admitted if data == self._data else None

    def passed(self, admitted: Admitted) -> None:
        """The last request may pass, and so may its like."""
        self._admitted = admitted

    def refused(self) -> None:
        """The last request, or its like, may not pass."""
        self._admitted = self._data = None

    def forget(self) -> None:
        """Heads are parsed and requests judged by something else from now on."""
        self._admitted = self._data = self._head = None

    def find_end(self, data: bytes, limits: Limits) -> int:
        """Where the head ends; -1 where more must come. Raises `RequestError` for what is too long already."""
        end = data.find(END_OF_HEAD)
        if end < 0:
            check_unfinished(data, uri_bytes=limits.uri_bytes, header_bytes=limits.header_bytes)
        return end

    def read(self, data: bytes, end: int, snapshot: Snapshot) -> tuple[RequestHead, bytes]:
        """(the head that ends at `end`, the bytes behind it). Raises `RequestError`."""
        limits = snapshot.config.limits
        self._admitted = None
        self._head = head = parse_request(
            data,
            end,
            snapshot.classify,
            uri_bytes=limits.uri_bytes,
            headers=limits.headers,
            header_bytes=limits.header_bytes,
            known=self._head,
        )
        rest = data[end + len(END_OF_HEAD) :]
        self._data = data if not rest and len(data) <= MAX_REMEMBERED_BYTES else None
        return head, rest
