"""Frozen values: what is known about a client, its certificate and its request.

These are the values that the packages pass to each other: `tls/` makes a `Judgement`, `policy/` reads
it and makes a `Decision`, `proxy/` acts on it and `logs/` writes both down. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Address = IPv4Address | IPv6Address


class Action(StrEnum):
    """What a rule does with a request that it matches."""

    ALLOW = "allow"
    REQUIRE_CERTIFICATE = "require_certificate"
    DENY = "deny"


class Origin(Enum):
    """What a request's address stands for. The value: rules with these actions match only if they list the address."""

    CLIENT = frozenset[Action]()
    # A trusted proxy's address that another trusted proxy named. It passed on an unnamed client, or is the client.
    PROXY = frozenset({Action.ALLOW})
    # The address of a trusted proxy that named no client. The client is in no network; rules that deny match as usual.
    UNNAMED = frozenset({Action.ALLOW, Action.REQUIRE_CERTIFICATE})


class Reason(StrEnum):
    """Why a request was refused: `X-Gateway-Reason` on the wire, `reason` in the access log."""

    BAD_REQUEST = "bad_request"
    URI_REJECTED = "uri_rejected"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_WRONG_USAGE = "certificate_wrong_usage"
    CERTIFICATE_NOT_ALLOWED = "certificate_not_allowed"
    USER_MISMATCH = "user_mismatch"
    DENIED_BY_RULE = "denied_by_rule"
    NO_RULE = "no_rule"
    REVOCATION_UNKNOWN = "revocation_unknown"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    URI_TOO_LONG = "uri_too_long"
    EXPECTATION_FAILED = "expectation_failed"
    HEADERS_TOO_LARGE = "headers_too_large"
    HOST_MISMATCH = "host_mismatch"
    LOCKED_OUT = "locked_out"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_BAD_RESPONSE = "upstream_bad_response"
    NO_HEALTHY_UPSTREAM = "no_healthy_upstream"
    UPSTREAM_TIMEOUT = "upstream_timeout"


# The reason in the log of a request that was reset, so that the client asks again over HTTP/1.1 (RFC 9113 section 7).
HTTP_1_1_REQUIRED: Final = "http_1_1_required"

STATUS_OF_REASON: Final = MappingProxyType(
    {
        Reason.BAD_REQUEST: 400,
        Reason.URI_REJECTED: 400,
        Reason.CERTIFICATE_MISSING: 403,
        Reason.CERTIFICATE_EXPIRED: 403,
        Reason.CERTIFICATE_NOT_YET_VALID: 403,
        Reason.CERTIFICATE_UNTRUSTED: 403,
        Reason.CERTIFICATE_REVOKED: 403,
        Reason.CERTIFICATE_WRONG_USAGE: 403,
        Reason.CERTIFICATE_NOT_ALLOWED: 403,
        Reason.USER_MISMATCH: 403,
        Reason.DENIED_BY_RULE: 403,
        Reason.NO_RULE: 403,
        Reason.REVOCATION_UNKNOWN: 403,
        Reason.NOT_FOUND: 404,
        Reason.METHOD_NOT_ALLOWED: 405,
        Reason.REQUEST_TIMEOUT: 408,
        Reason.BODY_TOO_LARGE: 413,
        Reason.URI_TOO_LONG: 414,
        Reason.EXPECTATION_FAILED: 417,
        Reason.HOST_MISMATCH: 421,
        Reason.LOCKED_OUT: 429,
        Reason.TOO_MANY_CONNECTIONS: 429,
        Reason.HEADERS_TOO_LARGE: 431,
        Reason.UPSTREAM_UNREACHABLE: 502,
        Reason.UPSTREAM_BAD_RESPONSE: 502,
        Reason.NO_HEALTHY_UPSTREAM: 503,
        Reason.UPSTREAM_TIMEOUT: 504,
    }
)

# With another certificate, or with one at all, the same request could pass. The connection is closed, so
# that the client makes a new handshake and can choose again.
ANOTHER_CERTIFICATE_COULD_HELP: Final = frozenset(
    {
        Reason.CERTIFICATE_MISSING,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.CERTIFICATE_UNTRUSTED,
        Reason.CERTIFICATE_REVOKED,
        Reason.CERTIFICATE_WRONG_USAGE,
        Reason.CERTIFICATE_NOT_ALLOWED,
        Reason.USER_MISMATCH,
        Reason.REVOCATION_UNKNOWN,
    }
)


def parse_address(text: str) -> Address:
    """An IP address from text; an IPv4-mapped IPv6 address counts as IPv4. Raises `ValueError`."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return IPv6Address(address.packed)
    return address


_IPV6_CLIENT_BITS: Final = 64  # a subscriber has at least a /64 (RFC 6177)


def counted(address: Address) -> Address:
    """The address under which a client is counted: for IPv6 the first address of its /64."""
    if isinstance(address, IPv4Address):
        return address
    return IPv6Address(int(address) >> _IPV6_CLIENT_BITS << _IPV6_CLIENT_BITS)


def counted_text(address: Address) -> str:
    """`counted` as text: `192.0.2.1`, `2001:db8::/64`."""
    return str(address) if isinstance(address, IPv4Address) else f"{counted(address)}/{_IPV6_CLIENT_BITS}"


class Endpoint(NamedTuple):
    """One end of a TCP connection."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of an accepted connection."""

    address: Address  # the client's; IPv4-mapped IPv6 is already converted to IPv4
    port: int
    listener: str  # the listener's configured address, "0.0.0.0:443"
    reached: Endpoint | None = None  # where the client connected to, if a balancer in front says so


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client certificate says about its holder. Names are typed: an address in a DNS name is not an e-mail."""

    fingerprint: str  # SHA-256 over the DER, lower-case hex
    serial: str  # upper-case hex, an even number of digits
    subject: str  # RFC 4514
    issuer: str  # RFC 4514
    rdns: tuple[tuple[str, str], ...]  # subject attributes in certificate order: ("O", "Example Ltd")
    common_name: str | None  # the most specific CN of the subject
    emails: tuple[str, ...]  # rfc822Name SANs, then emailAddress attributes of the subject
    upns: tuple[str, ...]  # otherName 1.3.6.1.4.1.311.20.2.3
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    not_before: datetime  # aware, UTC
    not_after: datetime  # aware, UTC
    der: bytes
    chain_der: tuple[bytes, ...]  # leaf's issuer first, without the leaf; the verified path if there is one
    path_fingerprints: frozenset[str]  # SHA-256 of every CA on a verified path, including the anchors; else empty
    is_constrained: bool = False  # all verified paths have a CA with name constraints: only addresses are bound


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a client certificate is accepted: only if `reason` is None and `identity` is not."""

    identity: Identity | None  # None if no certificate was sent
    reason: Reason | None
    detail: str  # one line for log and page: "expired 2026-01-31 12:00:00 UTC"
    is_on_hold: bool = False  # revoked, and the authority may release it again (certificateHold)

    @property
    def is_trusted(self) -> bool:
        """True if the client sent a certificate and it was accepted."""
        return self.identity is not None and self.reason is None


NO_CERTIFICATE: Final = Judgement(None, Reason.CERTIFICATE_MISSING, "the client sent no certificate")


@dataclass(frozen=True, slots=True)
class Login:
    """The mail login and device that a request names."""

    users: tuple[str, ...]  # every user name found: HTTP Basic first, then ActiveSync's query
    device_id: str | None
    problem: str | None  # why it can't be read unambiguously; None if it can
    kind: LoginKind = "none"  # how it logs in, by its Authorization field
    is_hidden: bool = False  # the Authorization field logs a user in whose name can't be read


# `connection`: NTLM, Negotiate and every scheme that is not known to be valid for one request only.
LoginKind = Literal["none", "basic", "digest", "bearer", "connection"]

NO_LOGIN: Final = Login((), None, None)


@dataclass(frozen=True, slots=True)
class ConnectionLogin:
    """The logins that were sent on an upstream connection that serves one client only.

    A server may take any of them for the login of the requests that follow on that connection.
    """

    users: tuple[str, ...] = ()  # the names that could be read
    is_hidden: bool = False  # a login's name could not be read; always so for NTLM and Negotiate


NO_CONNECTION_LOGIN: Final = ConnectionLogin()


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that a rule can check. `path` is the folded match form of the path that is forwarded."""

    address: Address
    host: str  # lower case, without port and trailing dot, IDN as A-labels
    method: str
    path: str  # policy.uri.Target.match
    judgement: Judgement = NO_CERTIFICATE
    login: Login = NO_LOGIN
    connection_login: ConnectionLogin = NO_CONNECTION_LOGIN
    origin: Origin = Origin.CLIENT


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say. A request passes only with `reason` None."""

    action: Action  # the deciding rule's; DENY if no rule matched
    reason: Reason | None
    rule: str | None  # the rule's name; None if no rule matched
    line: int | None  # the rule's line in the YAML file
    detail: str  # one line saying why
    observed: Reason | None = None  # why the rule would have refused if it were not in observation
