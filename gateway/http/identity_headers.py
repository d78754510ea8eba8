"""Writes the headers that tell the upstream who holds the client certificate.

Keeps true: only a trusted certificate is presented as an identity. If a rule lets a request in without requiring one
(`allow`), a certificate that is not trusted gives only `Verified: FAILED:…`, because the names in it were not checked.

A value is one line of visible ASCII. All other characters, and `%`, become percent-encoded UTF-8, so `urldecode` in any
language returns the exact name, and a name can't contain a line break. A value longer than `MAX_VALUE_BYTES` is left
out, not cut, because half a name is another name. In an e-mail address everything is encoded that could end the address
for a program that reads the value as a list.
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

MAX_VALUE_BYTES: Final = 8000  # Apache accepts 8,190 bytes for a field (LimitRequestFieldSize), nginx 8 KiB for a line
RFC9440_NAMES: Final = ("Client-Cert", "Client-Cert-Chain")

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# All of visible ASCII except "%". Spaces at the ends would be lost, so they are escaped below.
_AS_IS: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
# In an address: the atext of RFC 5322 3.2.3 and ".", except "%"; in its domain also the characters of a literal such as
# [IPv6:2001:db8::1] (RFC 5321 4.1.3).
_AS_IS_IN_LOCAL_PART: Final = "!#$&'*+-./=?^_`{|}~"
_AS_IS_IN_DOMAIN: Final = _AS_IS_IN_LOCAL_PART + "[]:"


class IdentityHeaderWriter:
    """Renders the configured headers. Raises `ConfigError` for a name that is not a token (RFC 9110, 5.6.2)."""

    def __init__(self, settings: IdentityHeaders) -> None:
        self._settings = settings
        configured = (settings.subject, settings.email, settings.serial, settings.fingerprint, settings.verified)
        names = [*RFC9440_NAMES, *(name for name in configured if name is not None)]
        for name in names:
            if _TOKEN.fullmatch(name) is None:
                cause = f"identity_headers: {name!r} is not a header name"
                raise ConfigError(cause, "write a name of letters, digits and '-', such as X-Client-Email")
        # Folded names that must not pass from a client; RFC 9440's even if they aren't sent, because an upstream may
        # read them.
        self.names: frozenset[bytes] = frozenset(fold(name.encode("ascii")) for name in names)

    def headers_for(self, judgement: Judgement) -> bytes:
        """The header block for a judgement, each line with its CRLF. The same for all its requests, so keep it."""
        settings = self._settings
        lines = [_line(settings.verified, _verified(judgement))]
        identity = judgement.identity
        if identity is not None and judgement.is_trusted:
            if settings.rfc9440:
                lines += _rfc9440(identity)
            lines += [
                _line(settings.subject, encoded(identity.subject)),
                # Only one address, the one in the log: applications use the value as the user's name.
                _line(settings.email, encoded_address(identity.emails[0]) if identity.emails else ""),
                _line(settings.serial, encoded(identity.serial)),
                _line(settings.fingerprint, encoded(identity.fingerprint)),
            ]
        return "".join(lines).encode("ascii")


def encoded(text: str) -> str:
    """Text as visible ASCII; other characters, and `%`, become percent-encoded UTF-8 (RFC 3986, 2.1)."""
    value = quote(text, safe=_AS_IS, errors="backslashreplace")
    inner = value.strip(" ")
    before = len(value) - len(value.lstrip(" "))
    return "%20" * before + inner + "%20" * (len(value) - before - len(inner))


def encoded_address(address: str) -> str:
    """An e-mail address as `encoded` text, without characters that quote, comment or separate addresses."""
    local_part, at, domain = address.rpartition("@")
    return (
        quote(local_part, safe=_AS_IS_IN_LOCAL_PART, errors="backslashreplace")
        + at
        + quote(domain, safe=_AS_IS_IN_DOMAIN, errors="backslashreplace")
    )


def _verified(judgement: Judgement) -> str:
    """The value as nginx writes it ($ssl_client_verify), with the gateway's reason code."""
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
