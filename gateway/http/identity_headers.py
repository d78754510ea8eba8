"""The headers that tell the upstream who holds the client certificate.

Kept true here: only a trusted certificate is presented as an identity. Where a rule lets a request in without
asking for one (`allow`), a certificate that was shown and is not trusted gives `Verified: FAILED:…` and nothing
else; what it says of its holder is a claim that nobody checked.

A value is one line of visible ASCII. What isn't, and `%` itself, stands as percent-encoded UTF-8, so
`urldecode` in any language gives back the exact name, and no name can hold a line break. A value that
would be longer than `MAX_VALUE_BYTES` is left out, not cut: half a name is another name. An e-mail address
holds nothing that could end it for a reader who takes the value for a list, since a comma may stand in one.
"""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import quote

from gateway.config.model import IdentityHeaders
from gateway.errors import ConfigError
from gateway.facts import Identity, Judgement
from gateway.http.headers import fold

MAX_VALUE_BYTES: Final = 8000  # Apache takes 8,190 bytes for a field (LimitRequestFieldSize), nginx 8 KiB for a line
RFC9440_NAMES: Final = ("Client-Cert", "Client-Cert-Chain")

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# All of visible ASCII but "%"; spaces at the ends would be lost on the way and are escaped below.
_AS_IS: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
# Of an address: the atext of RFC 5322 3.2.3 and ".", again but "%"; in its domain also what a literal such as
# [IPv6:2001:db8::1] is written with (RFC 5321 4.1.3).
_AS_IS_IN_LOCAL_PART: Final = "!#$&'*+-./=?^_`{|}~"
_AS_IS_IN_DOMAIN: Final = _AS_IS_IN_LOCAL_PART + "[]:"


class IdentityHeaderWriter:
    """Renders the configured headers. Raises `ConfigError` for a name that is none (RFC 9110, 5.6.2)."""

    def __init__(self, settings: IdentityHeaders) -> None:
        self._settings = settings
        configured = (settings.subject, settings.email, settings.serial, settings.fingerprint, settings.verified)
        names = [*RFC9440_NAMES, *(name for name in configured if name is not None)]
        for name in names:
            if _TOKEN.fullmatch(name) is None:
                cause = f"identity_headers: {name!r} is not a header name"
                raise ConfigError(cause, "write a name of letters, digits and '-', such as X-Client-Email")
        # Folded names that must not pass from a client. RFC 9440's own even where they aren't sent: an upstream may
        # read them.
        self.names: frozenset[bytes] = frozenset(fold(name.encode("ascii")) for name in names)

    def headers_for(self, judgement: Judgement) -> bytes:
        """The header block for a judgement, each line with its CRLF. The same for every request with it: keep it."""
        settings = self._settings
        lines = [_line(settings.verified, _verified(judgement))]
        identity = judgement.identity
        if identity is not None and judgement.is_trusted:
            if settings.rfc9440:
                lines += _rfc9440(identity)
            lines += [
                _line(settings.subject, encoded(identity.subject)),
                # One address, the one the log names: an application takes the value for the user's name.
                _line(settings.email, encoded_address(identity.emails[0]) if identity.emails else ""),
                _line(settings.serial, encoded(identity.serial)),
                _line(settings.fingerprint, encoded(identity.fingerprint)),
            ]
        return "".join(lines).encode("ascii")


def encoded(text: str) -> str:
    """Text as visible ASCII: everything else, and `%`, as percent-encoded UTF-8 (RFC 3986, 2.1)."""
    value = quote(text, safe=_AS_IS, errors="backslashreplace")
    inner = value.strip(" ")
    before = len(value) - len(value.lstrip(" "))
    return "%20" * before + inner + "%20" * (len(value) - before - len(inner))


def encoded_address(address: str) -> str:
    """An e-mail address as `encoded` text in which nothing quotes, comments or parts one address from the next."""
    local_part, at, domain = address.rpartition("@")
    return (
        quote(local_part, safe=_AS_IS_IN_LOCAL_PART, errors="backslashreplace")
        + at
        + quote(domain, safe=_AS_IS_IN_DOMAIN, errors="backslashreplace")
    )


def _verified(judgement: Judgement) -> str:
    """In nginx's words ($ssl_client_verify), with our reason code."""
    if judgement.identity is None:
        return "NONE"
    return "SUCCESS" if judgement.reason is None else f"FAILED:{judgement.reason.value}"


def _rfc9440(identity: Identity) -> list[str]:
    """Client-Cert is an RFC 8941 byte sequence, Client-Cert-Chain a list of them without the leaf (RFC 9440, 2)."""
    leaf, chain = RFC9440_NAMES
    return [_line(leaf, _bytes(identity.der)), _line(chain, ", ".join(map(_bytes, identity.chain_der)))]


def _bytes(der: bytes) -> str:
    return f":{base64.b64encode(der).decode('ascii')}:"


def _line(name: str | None, value: str) -> str:
    return f"{name}: {value}\r\n" if name is not None and 0 < len(value) <= MAX_VALUE_BYTES else ""
