"""The end of a connection whose client may still be sending: what arrives is counted and thrown away.

A socket that is closed with unread bytes in it is reset, and the reset can destroy an answer that the client has not
read yet. So the connection sends its FIN behind the answer and goes on reading until the client closes too.

Keeps true: a client that uploads slowly can read its answer before any reset; no connection lingers for longer than
`LINGER_SECONDS`, for longer than `LINGER_IDLE_SECONDS` without a byte, or for more than `MAX_LINGERING_BYTES`.
Lingering connections count for `limits.connections` and `limits.connections_per_ip` as all others do.
"""

from __future__ import annotations

from typing import Final

# nginx's defaults, lingering_time and lingering_timeout. Both are shorter than the time that an idle connection has,
# so a client gains nothing by them.
LINGER_SECONDS: Final = 30.0
LINGER_IDLE_SECONDS: Final = 5.0
# For a connection above a limit, whose place is scarce, and while the worker ends.
BRIEF_LINGER_SECONDS: Final = 2.0
# A mail with large attachments. The bytes are not decrypted, so reading them costs little.
MAX_LINGERING_BYTES: Final = 64 * 1024 * 1024


class Lingering:
    """How long one connection lingers, on the monotonic clock."""

    __slots__ = ("_discarded_bytes", "_end_seconds", "_idle_seconds", "deadline")

    def __init__(self, now: float, *, is_brief: bool) -> None:
        """It begins now, with the FIN."""
        self._end_seconds = now + (BRIEF_LINGER_SECONDS if is_brief else LINGER_SECONDS)
        self._idle_seconds = BRIEF_LINGER_SECONDS if is_brief else LINGER_IDLE_SECONDS
        self._discarded_bytes = 0
        self.deadline = now + self._idle_seconds  # when it ends, as far as is known

    def discards(self, count: int, now: float) -> bool:
        """So many bytes arrived and were thrown away. False: that was too much, close at once."""
        self._discarded_bytes += count
        self.deadline = min(now + self._idle_seconds, self._end_seconds)
        return self._discarded_bytes <= MAX_LINGERING_BYTES

    def shorten(self, now: float) -> None:
        """The worker ends: don't keep it waiting."""
        self._end_seconds = min(self._end_seconds, now + BRIEF_LINGER_SECONDS)
        self.deadline = min(self.deadline, self._end_seconds)
