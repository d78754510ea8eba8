"""What is known about a request of which not everything is known, such as a line of the access log tells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.facts import Address, ConnectionLogin, Login, Reason

# A judgement's reasons if nothing is known about the certificate. None: it is trusted.
ANY_JUDGEMENT: Final[frozenset[Reason | None]] = frozenset(
    {
        None,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.CERTIFICATE_UNTRUSTED,
        Reason.CERTIFICATE_REVOKED,
        Reason.CERTIFICATE_WRONG_USAGE,
        Reason.REVOCATION_UNKNOWN,
    }
)


class Missing(StrEnum):
    """A fact that the decision depends on, and that is not known."""

    CLIENT = "client"
    HOST = "host"
    PATH = "path"
    DESTINATION = "destination"
    CERTIFICATE = "certificate"  # whether the client has one
    TRUST = "trust"
    AUTHORITY = "authority"  # the CAs on the certificate's paths
    SUBJECT = "subject"
    EMAIL = "email"
    PRINCIPAL = "principal"  # user principal names
    NAMES = "names"  # the other alternative names, and whether a CA has name constraints
    LOGIN = "login"
    EARLIER_LOGINS = "earlier_logins"


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """What is known about a certificate. None: unknown."""

    fingerprint: str
    rdns: tuple[tuple[str, str], ...] | None = None
    emails: tuple[str, ...] = ()  # those that are known
    has_more_emails: bool = True  # whether it may have others

    @property
    def common_name(self) -> str | None:
        """As of `Identity`."""
        return next((value for name, value in reversed(self.rdns or ()) if name == "CN"), None)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is known about the judgement of the client's certificate."""

    reasons: frozenset[Reason | None]  # the possible ones; None: it is trusted
    certificate: KnownCertificate | None = None  # None: nothing is known, or no certificate was shown
    why: Missing = Missing.TRUST  # there are several reasons


@dataclass(frozen=True, slots=True)
class PartialRequest:
    """The known facts of a request, see `Request`."""

    address: Address | None  # None: any, also of a trusted proxy
    host: str | None  # None: any
    method: str
    paths: tuple[str, ...]  # the match form and the other readings; empty: any path. Then `sessions` is empty too
    shown: Shown
    # The possible logins of the request and of its connection. None: any login of the connection. Empty: any of both.
    sessions: tuple[tuple[Login, ConnectionLogin | None], ...] = ()
    has_destination: bool = False  # a second path, which is not known


Causes = dict[Missing, None]  # in the order in which they were met
