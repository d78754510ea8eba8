"""Which header fields are forwarded, which are dropped, and which the gateway reads.

Keeps true: a field whose name an upstream could mistake for one of the gateway's is removed before the gateway's fields
are added. Servers differ in which names they treat as equal (CGI and WSGI turn `-` into `_`, others `.` too), so names
are compared folded: in lower case, with everything that is not a letter or digit as `-`.
"""

from __future__ import annotations

import re
from typing import Final

# RFC 9110 7.6.1 and its predecessors: they are about one connection and are never forwarded.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Only the gateway sends these to the upstream; a client's fields with these names are dropped.
FORWARDING: Final = frozenset(
    {
        b"x-request-id",
        # Other proxies' names for the client's address: an upstream that was behind one may still trust them.
        b"x-forwarded",
        b"forwarded-for",
        b"x-real-ip",
        b"x-client-ip",
        b"client-ip",
        b"x-cluster-client-ip",
        b"x-originating-ip",
        b"x-remote-ip",
        b"x-remote-addr",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"x-envoy-external-address",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"fly-client-ip",
        b"iv-remote-address",
        b"iv-remote-address-ipv6",
    }
)
FORWARDING_PREFIX: Final = b"x-forwarded-"

# They make some servers use another path or method than the one that was judged (IIS URL Rewrite, OData
# and Google APIs), on another login (SOGo's x-webobjects-*), or on a proxy of the client's choice (`Proxy`,
# CVE-2016-5385).
OVERRIDES: Final = frozenset(
    {
        b"proxy",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
    }
)
OVERRIDE_PREFIX: Final = b"x-webobjects-"

# Other gateways' names for the authenticated user: an upstream that was behind one may still trust them. Ours and those
# of RFC 9440 are in `identity_headers`. docs/pages.md says which product uses which; each must be in its table.
IDENTITIES: Final = frozenset(
    {
        *(b"remote-user", b"remote-groups", b"remote-email", b"remote-name"),
        *(b"x-remote-user", b"x-authenticated-user", b"x-auth-user", b"x-commonaccesstoken"),
        *(b"x-ssl-cert", b"x-arr-clientcert", b"x-vouch-user"),
        *(b"sm-user", b"sm-userdn", b"sm-usergroups", b"sm-universalid", b"sm-dominocn"),
        *(b"smuser", b"smuserdn", b"smuniversalid"),
        *(b"iv-user", b"iv-user-l", b"iv-groups", b"iv-creds"),
        *(b"x-credential-username", b"x-credential-identifier", b"x-authenticated-groups"),
        *(b"x-consumer-id", b"x-consumer-custom-id", b"x-consumer-username", b"x-consumer-groups"),
    }
)
# No prefix may match what mail programs send: X-ClientInfo, X-MS-PolicyKey, X-User-Identity and others must pass.
IDENTITY_PREFIXES: Final = (
    *(b"ssl-client-", b"x-ssl-client-", b"x-client-cert", b"x-auth-request-", b"x-webauth-", b"shib-"),
    *(b"x-amzn-oidc-", b"x-amzn-mtls-", b"cf-access-", b"cf-client-cert-"),
    *(b"x-goog-authenticated-user-", b"x-goog-iap-", b"x-ms-client-principal", b"x-ms-token-"),
    *(b"x-authentik-", b"x-pomerium-", b"tailscale-user-", b"wl-proxy-client-"),
    *(b"oidc-", b"x-vouch-idp-", b"impersonate-"),
)

# Removing these because `Connection` names them would change the message's meaning.
NEVER_HOP_BY_HOP: Final = frozenset(
    {b"host", b"content-length", b"content-type", b"content-encoding", b"authorization", b"cookie", b"expect", b"date"}
)

# Real names are few and short; hostile ones are not, and must not fill the memory.
MAX_CACHED_NAMES: Final = 1024
MAX_CACHED_NAME_BYTES: Final = 64

_NOT_ALNUM: Final = re.compile(rb"[^a-z0-9]")


# How a field is treated; plain integers, because every field of every message is looked up. Up to LAST_PASSING a field
# is forwarded, and the values of all but PASS and DROP are kept for the gateway.
PASS: Final = 0
USER_AGENT: Final = 1
REFERER: Final = 2
ACCEPT: Final = 3
ACCEPT_LANGUAGE: Final = 4
AUTHORIZATION: Final = 5
CHALLENGE: Final = 6
DATE: Final = 7
LAST_PASSING: Final = DATE
DROP: Final = 8
HOST: Final = 9
CONTENT_LENGTH: Final = 10
TRANSFER_ENCODING: Final = 11
CONNECTION: Final = 12
EXPECT: Final = 13
UPGRADE: Final = 14
FORWARDED_FOR: Final = 15
DESTINATION: Final = 16  # forwarded in the spelling that was judged
KEEP_ALIVE: Final = 17
FORWARDED: Final = 18
KINDS: Final = 19

# Servers differ in which of two such fields they use; two of the others are joined to a list (RFC 9110 5.3).
ONCE: Final = frozenset({HOST, CONTENT_LENGTH, TRANSFER_ENCODING, AUTHORIZATION, EXPECT, DESTINATION})

_REQUEST_KINDS: Final = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"expect": EXPECT,
    b"authorization": AUTHORIZATION,
    b"upgrade": UPGRADE,
    b"x-forwarded-for": FORWARDED_FOR,
    b"forwarded": FORWARDED,
    b"destination": DESTINATION,
    b"user-agent": USER_AGENT,
    b"referer": REFERER,
    b"accept": ACCEPT,
    b"accept-language": ACCEPT_LANGUAGE,
}

_RESPONSE_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"www-authenticate": CHALLENGE,
    b"keep-alive": KEEP_ALIVE,
    b"date": DATE,
    b"persistent-auth": AUTHORIZATION,  # IIS: the connection stays logged in; no answer has an Authorization field
}

# Only the gateway sends these to clients: the request's number in the log, and the reason of a refusal. From an
# upstream they are dropped.
_OURS_IN_RESPONSES: Final = frozenset({b"x-request-id"})
_OUR_PREFIX: Final = b"x-gateway-"


_STRIPPED_PREFIXES: Final = (FORWARDING_PREFIX, OVERRIDE_PREFIX, *IDENTITY_PREFIXES)


# RFC 9110 6.5.1: fields for routing, authentication, request modifiers and the content's format must be in the head.
NEVER_IN_TRAILERS: Final = frozenset(
    {
        *(b"accept", b"accept-language", b"authorization", b"cache-control", b"content-encoding", b"content-range"),
        *(
            b"content-type",
            b"cookie",
            b"date",
            b"expires",
            b"location",
            b"range",
            b"referer",
            b"set-cookie",
            b"trailer",
        ),
        *(b"user-agent", b"vary", b"www-authenticate"),
    }
)


def fold(name: bytes) -> bytes:
    """A field name as the least strict server could read it."""
    return _NOT_ALNUM.sub(b"-", name.lower())


class Classifier(dict[bytes, int]):
    """Field name → how it is treated. A dict that caches each spelling, and is cleared at `MAX_CACHED_NAMES`."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> int:
        kind = self._kind_of(name)
        if len(name) <= MAX_CACHED_NAME_BYTES:
            if len(self) >= MAX_CACHED_NAMES:
                self.clear()  # otherwise a client could fill it and keep the usual names out
            self[name] = kind
        return kind

    def _kind_of(self, name: bytes) -> int:
        raise NotImplementedError


class RequestClassifier(Classifier):
    """For requests from clients."""

    __slots__ = ("_stripped",)

    def __init__(self, stripped: frozenset[bytes] = frozenset()) -> None:
        """`stripped`: further folded names that are never forwarded, the identity headers."""
        super().__init__()
        self._stripped = HOP_BY_HOP | FORWARDING | OVERRIDES | IDENTITIES | stripped

    def _kind_of(self, name: bytes) -> int:
        exact = _REQUEST_KINDS.get(name.lower())
        if exact is not None:
            return exact
        folded = fold(name)
        if folded in self._stripped or folded.startswith(_STRIPPED_PREFIXES):
            return DROP
        # "content_length": another spelling of a field that the gateway reads.
        return DROP if folded in _REQUEST_KINDS else PASS


class ResponseClassifier(Classifier):
    """For answers from upstreams."""

    __slots__ = ()

    def _kind_of(self, name: bytes) -> int:
        lower = name.lower()
        exact = _RESPONSE_KINDS.get(lower)
        if exact is not None:
            return exact
        folded = fold(name)
        if lower in HOP_BY_HOP or folded in _OURS_IN_RESPONSES or folded.startswith(_OUR_PREFIX):
            return DROP
        return PASS


def value_of(passing: list[bytes], name: bytes) -> bytes | None:
    """The value of a forwarded field that is not in `values`; several are joined to a list (RFC 9110 5.3).

    `passing`: as in `RequestHead.passing`; `name`: in lower case.
    """
    found = [passing[at + 2] for at in range(0, len(passing), 4) if passing[at].lower() == name]
    return b", ".join(found) if found else None


def connection_options(value: bytes) -> frozenset[bytes]:
    """The lower-case members of a `Connection` field value (RFC 9110 7.6.1)."""
    usual = _USUAL_OPTIONS.get(value)
    if usual is not None:
        return usual
    return frozenset(option.strip(b" \t").lower() for option in value.split(b",")) - {b""}


_USUAL_OPTIONS: Final = {
    value: frozenset({value.lower()})
    for value in (b"keep-alive", b"Keep-Alive", b"close", b"Close", b"Upgrade", b"upgrade")
}
