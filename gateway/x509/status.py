"""The status that a revocation list or an OCSP answer gives a certificate."""

from __future__ import annotations

from enum import Enum, auto


class Status(Enum):
    """Whether a certificate is revoked; UNKNOWN if lists or responders don't say."""

    GOOD = auto()
    REVOKED = auto()
    UNKNOWN = auto()
