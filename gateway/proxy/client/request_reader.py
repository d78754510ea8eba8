"""Reads the heads of a client's requests, and remembers the last request.

Keeps true: a request is recognised again only if all its bytes are equal. The memory is cleared when another request
was read, and by code that changes what the decision depended on.
"""

from __future__ import annotations

from typing import Final

from gateway.config.model import Limits
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.proxy.exchange.admission import Admitted
from gateway.proxy.snapshot import Snapshot

# Requests up to this length are kept, to recognise them: polls are short, and there are many idle connections.
MAX_REMEMBERED_BYTES: Final = 2048


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    __slots__ = ("_admitted", "_data", "_head")

    def __init__(self) -> None:
        self._data: bytes | None = None  # the last request, if it was short and had no data after it
        self._head: RequestHead | None = None
        self._admitted: Admitted | None = None  # the result for it

    def again(self, data: bytes) -> Admitted | None:
        """The result for the last request, if `data` is equal to it and it passed; else None."""
        return self._admitted if data == self._data else None

    def passed(self, admitted: Admitted) -> None:
        """Remember that the last request passed, for equal ones."""
        self._admitted = admitted

    def refused(self) -> None:
        """Forget the last request, because it was refused."""
        self._admitted = self._data = None

    def forget(self) -> None:
        """Forget everything, because the configuration or the connection's logins have changed."""
        self._admitted = self._data = self._head = None

    def find_end(self, data: bytes, limits: Limits) -> int:
        """Where the head ends; -1 if it is not complete. Raises `RequestError` if it is already too long."""
        end = data.find(END_OF_HEAD)
        if end < 0:
            check_unfinished(data, uri_bytes=limits.uri_bytes, header_bytes=limits.header_bytes)
        return end

    def read(self, data: bytes, end: int, snapshot: Snapshot) -> tuple[RequestHead, bytes]:
        """(the head that ends at `end`, the bytes after it). Raises `RequestError`."""
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
