"""Who is counted, and kept out, together after too many failed logins; and the refusal of those who are."""

from __future__ import annotations

import math

from gateway.errors import RequestError
from gateway.facts import Reason, counted_text, parse_address


class LockedOut(RequestError):  # noqa: N818 - named for what it is, as the reason code
    """Too many failed logins from this address; `retry_after_seconds` until it may try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Reason.LOCKED_OUT, "too many failed attempts from this address")
        self.retry_after_seconds = max(1, math.ceil(seconds))


def key_of_text(text: str) -> str:
    """The key of an address, or of a key, that was written down. Raises `ValueError`."""
    return counted_text(parse_address(text.partition("/")[0]))
