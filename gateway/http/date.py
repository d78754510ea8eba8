"""The `Date` field (RFC 9110 6.6.1). It has a resolution of seconds, so it is rendered once a second."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

from gateway.http.events import FieldParts, field


def date_field(unix_seconds: float) -> FieldParts:
    """The field for this time."""
    return _rendered(int(unix_seconds))


@lru_cache(maxsize=2)
def _rendered(seconds: int) -> FieldParts:
    return field(b"Date", formatdate(seconds, usegmt=True).encode("ascii"))
