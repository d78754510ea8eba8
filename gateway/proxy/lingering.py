"""Ends a connection whose client may still be sending: arriving bytes are counted and thrown away.

Closing a socket with unread bytes sends a reset, which can destroy an answer that the client has not read yet. So the
connection sends its FIN after the answer and continues reading until the client closes too.

Keeps true: a client that uploads slowly can read its answer before any reset. No connection lingers for more than
`LINGER_SECONDS`, for more than `LINGER_IDLE_SECONDS` without a byte, or for more than `MAX_LINGERING_BYTES`. Lingering
connections count for `limits.connections` and `limits.connections_per_ip` like all others.
"""

from __future__ import annotations

from typing import Final

# nginx's defaults for lingering_time and lingering_timeout. Both are shorter than the limit for idle connections, so a
# client gains nothing by lingering.
LINGER_SECONDS: Final = 30.0
LINGER_IDLE_SECONDS: Final = 5.0
# For a connection above a limit, and while the worker ends.
BRIEF_LINGER_SECONDS: Final = 2.0
# A mail with large attachments. The bytes are not decrypted, so reading them costs little.
MAX_LINGERING_BYTES: Final = 64 * 1024 * 1024


class Lingering:
    """How long one connection lingers, on the monotonic clock."""

    __slots__ = ("_discarded_bytes", "_end_seconds", "_idle_seconds", "deadline")

    def __init__(self, now: float, *, is_brief: bool) -> None:
        """`now`: when the FIN is sent."""
        self._end_seconds = now + (BRIEF_LINGER_SECONDS if is_brief else LINGER_SECONDS)
        self._idle_seconds = BRIEF_LINGER_SECONDS if is_brief else LINGER_IDLE_SECONDS
        self._discarded_bytes = 0
        self.deadline = now + self._idle_seconds  # when it ends, if no more bytes arrive

    def discards(self, count: int, now: float) -> bool:
        """Count bytes that arrived and were thrown away. False: too many, close at once."""
        self._discarded_bytes += count
        self.deadline = min(now + self._idle_seconds, self._end_seconds)
        return self._discarded_bytes <= MAX_LINGERING_BYTES

    def shorten(self, now: float) -> None:
        """Linger only briefly, because the worker ends."""
        self._end_seconds = min(self._end_seconds, now + BRIEF_LINGER_SECONDS)
        self.deadline = min(self.deadline, self._end_seconds)
