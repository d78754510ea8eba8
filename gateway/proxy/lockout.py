"""Which requests lockout counts together, and the refusal of clients that are locked out.

Keeps true: a client that shows a trusted certificate is counted by its address and the certificate, every other client
by its address. So the clients of an office, which share an address, can't lock out the holder of a certificate there,
and a holder that is locked out at one address is not locked out at another.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from gateway.errors import RequestError
from gateway.facts import Identity, Judgement, Reason, counted_text, parse_address
from gateway.logs.text import text_of

# Shown in the status and to be typed: longer mail addresses are cut there.
MAX_HOLDER_CHARACTERS: Final = 64
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{8,64}")  # the first digits tell certificates apart

# What `lockout.count: [certificate]` adds. A missing certificate is not among them: any web page can make a browser
# send requests without one.
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
    """Too many failed logins; `retry_after_seconds` until the client may try again."""

    def __init__(self, seconds: float, key: str, otherwise: str) -> None:
        """`key`: the client's; `otherwise`: what would have become of the request. Only the log says that."""
        super().__init__(Reason.LOCKED_OUT, "too many failed attempts from this address")
        self.retry_after_seconds = max(1, math.ceil(seconds))
        self.for_log = f"too many failed attempts from {Who.of(key)}; otherwise {otherwise}"


class Who(NamedTuple):
    """The parts of a key."""

    address: str  # an IPv4 address, or the /64 of an IPv6 one
    fingerprint: str | None  # the trusted certificate's, None for all who show none
    holder: str | None  # its first mail address, else its common name

    @classmethod
    def of(cls, key: str) -> Who:
        """Take a key apart."""
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
        """True where a mail address, or at least eight digits of a fingerprint, mean this certificate."""
        if self.fingerprint is None:
            return False
        return name == (self.holder or "").lower() if "@" in name else self.fingerprint.startswith(name)


def key_of(address: str, judgement: Judgement) -> str:
    """The key of a client: its address in text, and its certificate where that is trusted."""
    key = key_of_text(address)
    identity = judgement.identity
    return key if identity is None or not judgement.is_trusted else f"{key} {identity.fingerprint} {_holder(identity)}"


def key_of_text(text: str) -> str:
    """The key of an address, or of such a key, that was written down. Raises `ValueError`."""
    return counted_text(parse_address(text.partition("/")[0]))


def certificate_name(text: str) -> str | None:
    """A mail address or fingerprint as `Who.is_called` takes it; None for what is neither."""
    name = text.strip().lower()
    digits = name.replace(":", "")
    if "@" in name:
        return name
    return digits if _FINGERPRINT.fullmatch(digits) else None


def _holder(identity: Identity) -> str:
    name = identity.emails[0] if identity.emails else identity.common_name or ""
    text = text_of(name, MAX_HOLDER_CHARACTERS)
    return "".join(letter if letter.isprintable() else "?" for letter in text)  # it goes into the error log, too
