"""The limits of an HTTP/2 connection, and counts of what a client may do only so often.

Keeps true: everything that a client can repeat at less cost than it makes the gateway work is counted, and one too many
ends the connection with ENHANCE_YOUR_CALM and a cause that names the limit. Time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.http.http2_frames import FIRST_WINDOW_BYTES, ConnectionFault, ErrorCode

# The counts below are for this time. A count begins anew when it is over, so that at most twice as much can fall into
# any such time.
COUNTED_SECONDS: Final = 10.0
# A smaller WINDOW_UPDATE is counted: it would make the gateway send a frame for a few bytes (CVE-2019-9511). Clients
# send one for half a window, or for what they have read at once.
SMALL_UPDATE_BYTES: Final = 512
# A block is shorter than its fields, except with a Huffman code that makes them longer. Up to this many times the list
# a block is decoded, so that the request can be answered; a longer one ends the connection.
BLOCK_TO_LIST: Final = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client connection may take."""

    # Of each request, from the configuration.
    uri_bytes: int
    list_bytes: int  # names and values, and 32 bytes for each field (RFC 9113 10.5.1), so that empty ones count
    fields: int  # each part of a cookie counts (CVE-2026-49975)
    # Requests at a time. RFC 9113 6.5.2 advises against fewer than 100; browsers use no more.
    streams: int = 100
    # What one request's body may have under way; 256 KiB are 5 MB/s over a round trip of 50 ms.
    stream_window_bytes: int = 256 * 1024
    # The same for all requests together: the memory that bodies can take.
    connection_window_bytes: int = 1024 * 1024
    # Further frames of one block. A block of 64 KiB has three; with an unlimited number of empty ones, a block that
    # never ends would cost only the gateway (CVE-2024-27316, CVE-2026-33871).
    continuations: int = 16
    # There are eight settings; clients send some unknown ones to keep servers tolerant.
    settings_in_frame: int = 32
    # What the gateway owes the client in answers to PING and SETTINGS, updates and resets, and the client doesn't read.
    control_bytes: int = 64 * 1024
    # In COUNTED_SECONDS. A person who changes pages quickly resets some dozens of requests (CVE-2023-44487).
    client_resets: int = 200
    # Malformed or refused requests, and resets by the gateway for other reasons (CVE-2025-8671).
    own_resets: int = 100
    settings: int = 20
    pings: int = 100
    # DATA frames without data that don't end the request (CVE-2019-9518).
    empty_data: int = 100
    small_updates: int = 500
    # Frames without effect: PRIORITY, PRIORITY_UPDATE, unknown types, acknowledgements, frames for closed streams.
    ignored_frames: int = 1000

    def __post_init__(self) -> None:
        if min(self.stream_window_bytes, self.connection_window_bytes) < FIRST_WINDOW_BYTES:
            # A client may use this much before it has read the settings.
            raise ValueError(f"windows have at least {FIRST_WINDOW_BYTES} bytes")

    @property
    def block_bytes(self) -> int:
        """The longest encoded field block."""
        return BLOCK_TO_LIST * self.list_bytes


class Count:
    """How often something happened in the current `COUNTED_SECONDS`."""

    __slots__ = ("_end", "_left", "_limit", "_what")

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._left = 0
        self._end = float("-inf")

    def one_more(self, now: float) -> None:
        """Count one. Raises `ConnectionFault` for the first one over the limit."""
        if now >= self._end:
            self._end = now + COUNTED_SECONDS
            self._left = self._limit
        if not self._left:
            cause = f"more than {self._limit} {self._what} in {COUNTED_SECONDS:.0f} s"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, cause)
        self._left -= 1
