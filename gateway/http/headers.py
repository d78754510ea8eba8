"""What becomes of a header field on its way through: which pass, which end here, which we read.

Keeps true: a field whose name an upstream could take for one of ours is gone before ours are added.
Servers differ in what they take for the same name (CGI and WSGI turn `-` into `_`, others `.` too), so
names are compared folded: lower case, and everything that is no letter or digit as `-`.
"""

from __future__ import annotations

import re
from typing import Final

# RFC 9110 7.6.1 and its predecessors: they speak of one connection and are never forwarded.
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

# The gateway alone says these to the upstream; what the client sent under such a name is dropped.
FORWARDING: Final = frozenset(
    {
        b"x-request-id",
        # Other proxies' names for the client's address: an upstream that was behind one may still believe them.
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

# They make some servers act on another path or method than the one that was judged (IIS URL Rewrite, OData
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

# Other gateways' names for the user that they let in: ours are in `identity_headers` (with RFC 9440's), and an upstream
# that was behind one of those may still believe its. docs/pages.md says whose they are; each must be in its table.
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
# No prefix may take what mail programs send: X-ClientInfo, X-MS-PolicyKey, X-User-Identity and their like pass.
IDENTITY_PREFIXES: Final = (
    *(b"ssl-client-", b"x-ssl-client-", b"x-client-cert", b"x-auth-request-", b"x-webauth-", b"shib-"),
    *(b"x-amzn-oidc-", b"x-amzn-mtls-", b"cf-access-", b"cf-client-cert-"),
    *(b"x-goog-authenticated-user-", b"x-goog-iap-", b"x-ms-client-principal", b"x-ms-token-"),
    *(b"x-authentik-", b"x-pomerium-", b"tailscale-user-", b"wl-proxy-client-"),
    *(b"oidc-", b"x-vouch-idp-", b"impersonate-"),
)

# Removing these from a message because `Connection` names them would change what it says.
NEVER_HOP_BY_HOP: Final = frozenset(
    {b"host", b"content-length", b"content-type", b"content-encoding", b"authorization", b"cookie", b"expect", b"date"}
)

# Distinct names are few and short; hostile ones are neither, and must not fill the memory.
MAX_CACHED_NAMES: Final = 1024
MAX_CACHED_NAME_BYTES: Final = 64

_NOT_ALNUM: Final = re.compile(rb"[^a-z0-9]")


# How a field is treated. Plain integers, since every field of every message is asked: up to
# LAST_PASSING it goes on to the other side, and all but PASS and DROP are remembered as well.
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
DESTINATION: Final = 16  # it goes on in the spelling that was judged
KEEP_ALIVE: Final = 17
FORWARDED: Final = 18
KINDS: Final = 19

# Two of these are read differently by different servers; two of any other that we read are one list (RFC 9110 5.3).
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

# What only the gateway tells its clients: the number under which the log has the request, and why it was refused.
# An upstream that sends these would speak in the gateway's name.
_OURS_IN_RESPONSES: Final = frozenset({b"x-request-id"})
_OUR_PREFIX: Final = b"x-gateway-"


_STRIPPED_PREFIXES: Final = (FORWARDING_PREFIX, OVERRIDE_PREFIX, *IDENTITY_PREFIXES)


# RFC 9110 6.5.1: routing, authentication, request modifiers and what says how to read the content come before it.
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
    """A field name as the most careless server could read it."""
    return _NOT_ALNUM.sub(b"-", name.lower())


class Classifier(dict[bytes, int]):
    """Field name → how it is treated. A dict that fills itself by spelling, and begins anew at a bound."""

    __slots__ = ()

    def __missing__(self, name: bytes) -> int:
        kind = self._kind_of(name)
        if len(name) <= MAX_CACHED_NAME_BYTES:
            if len(self) >= MAX_CACHED_NAMES:
                self.clear()  # or whoever fills it first would keep the usual names out for ever
            self[name] = kind
        return kind

    def _kind_of(self, name: bytes) -> int:
        raise NotImplementedError


class RequestClassifier(Classifier):
    """For what clients send."""

    __slots__ = ("_stripped",)

    def __init__(self, stripped: frozenset[bytes] = frozenset()) -> None:
        """`stripped`: further folded names that never pass, the identity headers."""
        super().__init__()
        self._stripped = HOP_BY_HOP | FORWARDING | OVERRIDES | IDENTITIES | stripped

    def _kind_of(self, name: bytes) -> int:
        exact = _REQUEST_KINDS.get(name.lower())
        if exact is not None:
            return exact
        folded = fold(name)
        if folded in self._stripped or folded.startswith(_STRIPPED_PREFIXES):
            return DROP
        # "content_length": another spelling of a field that we read and judge by.
        return DROP if folded in _REQUEST_KINDS else PASS


class ResponseClassifier(Classifier):
    """For what upstreams send."""

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
    """The value of a field that goes on and that nothing else reads; several are one list (RFC 9110 5.3).

    `passing` is a head's; `name` in lower case.
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
