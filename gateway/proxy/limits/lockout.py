"""What a worker counts for the lockout, under which keys, and the refusal of locked-out clients.

Keeps true: a client with a trusted certificate is counted by address and certificate, every other client by address. So
the clients of an office, which share an address, can't lock out the holder of a certificate there, and a holder who is
locked out at one address can still log in from another.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from gateway.config.model import Lockout as LockoutSettings
from gateway.errors import RequestError
from gateway.facts import Identity, Judgement, Reason, counted_text, parse_address
from gateway.logs.text import text_of

# For mail addresses in the status, which admins type; longer ones are cut.
MAX_HOLDER_CHARACTERS: Final = 64
# Failed attempts are reported to the master in batches.
REPORT_SECONDS: Final = 0.1
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{8,64}")  # the first digits identify a certificate

# The reasons that `lockout.count: [certificate]` counts. A missing certificate isn't counted: any web page can make a
# browser send requests without one.
CERTIFICATE_FAILURES: Final = frozenset(
    {
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.CERTIFICATE_UNTRUSTED,
        Reason.CERTIFICATE_REVOKED,
        Reason.CERTIFICATE_WRONG_USAGE,
        Reason.CERTIFICATE_NOT_ALLOWED,
    }
)


class LockedOut(RequestError):  # noqa: N818 - named for what it is, as the reason code
    """Too many failed attempts; the client may try again after `retry_after_seconds`."""

    def __init__(self, seconds: float, key: str, otherwise: str) -> None:
        """`key`: the client's; `otherwise`: how the request would have been decided, only for the log."""
        super().__init__(Reason.LOCKED_OUT, "too many failed attempts from this address")
        self.retry_after_seconds = max(1, math.ceil(seconds))
        self.for_log = f"too many failed attempts from {Who.of(key)}; otherwise {otherwise}"


class Who(NamedTuple):
    """The parts of a key."""

    address: str  # an IPv4 address, or the /64 of an IPv6 one
    fingerprint: str | None  # of the trusted certificate; None without one
    holder: str | None  # the certificate's first mail address, else its common name

    @classmethod
    def of(cls, key: str) -> Who:
        """Split a key into its parts."""
        address, _, rest = key.partition(" ")
        fingerprint, _, holder = rest.partition(" ")
        return cls(address, fingerprint or None, holder or None)

    def __str__(self) -> str:
        return f"{self.address} with {self.certificate}" if self.fingerprint else self.address

    @property
    def certificate(self) -> str:
        """The certificate in words; empty without one."""
        if self.fingerprint is None:
            return ""
        return f"the certificate {self.fingerprint[:16]}" + (f" of {self.holder}" if self.holder else "")

    def is_called(self, name: str) -> bool:
        """True if `name`, a mail address or at least eight digits of a fingerprint, matches this certificate."""
        if self.fingerprint is None:
            return False
        return name == (self.holder or "").lower() if "@" in name else self.fingerprint.startswith(name)


def key_of(address: str, judgement: Judgement) -> str:
    """The key of a client: its address as text, and its certificate if trusted."""
    key = key_of_text(address)
    identity = judgement.identity
    return key if identity is None or not judgement.is_trusted else f"{key} {identity.fingerprint} {_holder(identity)}"


def key_of_text(text: str) -> str:
    """The key for an address, or for a written key without certificate. Raises `ValueError`."""
    return counted_text(parse_address(text.partition("/")[0]))


def certificate_name(text: str) -> str | None:
    """A mail address or fingerprint in the form for `Who.is_called`; None if it is neither."""
    name = text.strip().lower()
    digits = name.replace(":", "")
    if "@" in name:
        return name
    return digits if _FINGERPRINT.fullmatch(digits) else None


def _holder(identity: Identity) -> str:
    name = identity.emails[0] if identity.emails else identity.common_name or ""
    text = text_of(name, MAX_HOLDER_CHARACTERS)
    return "".join(letter if letter.isprintable() else "?" for letter in text)  # it is written into the error log too


class Lockout:
    """What one worker counts for the lockout. The master decides for all workers, and tells them the bans."""

    __slots__ = ("_failures", "_loop", "bans", "on_failures")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.bans: dict[str, float] = {}  # key → locked out until, in Unix seconds
        self.on_failures: Callable[[dict[str, int]], None] | None = None
        self._failures: dict[str, int] = {}  # key → failed attempts not reported yet
        self._loop = loop

    def note(self, settings: LockoutSettings | None, key: str, what: Literal["login", "certificate"]) -> None:
        """Count a failed login or a refused certificate; `key`: see `key_of`. `settings`: None without a lockout."""
        if settings is None or what not in settings.count or self.on_failures is None:
            return
        if not self._failures:
            self._loop.call_later(REPORT_SECONDS, self._report)
        self._failures[key] = self._failures.get(key, 0) + 1

    def _report(self) -> None:
        failures, self._failures = self._failures, {}
        if self.on_failures is not None:
            self.on_failures(failures)

    def banned_seconds(self, key: str, now: float) -> float:
        """For how many more seconds a client is locked out; 0 if it is not. Call it only if there are `bans`."""
        return max(0.0, self.bans.get(key, now) - now)
