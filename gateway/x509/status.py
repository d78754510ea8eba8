"""What a revocation list or an OCSP answer says of one certificate."""

from __future__ import annotations

from enum import Enum, auto


class Status(Enum):
    """What is known of one certificate."""

    GOOD = auto()
    REVOKED = auto()
    UNKNOWN = auto()
