"""Tells an unsupported encryption of a private key from a wrong passphrase."""

from __future__ import annotations

import re
from shlex import quote as for_shell
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm

_TRADITIONAL: Final = re.compile(rb"^DEK-Info: ([A-Z0-9-]{1,32}),", re.MULTILINE)  # RFC 1421 section 4.6.1.3
_OID: Final = re.compile(r"algorithm: ([0-9.]{3,64})")
_NAMES: Final = {
    "1.3.14.3.2.7": "DES-CBC",
    "1.2.410.200004.1.4": "SEED-CBC",
    "1.2.392.200011.61.1.1.1": "CAMELLIA",
    "1.2.410.200046.1.1": "ARIA",
}
_MODERN: Final = ("CAMELLIA", "ARIA")  # OpenSSL reads the others only with its legacy provider
_WORDS: Final = ("unknown cipher", "Unknown key encryption")  # of `cryptography`; a wrong passphrase has others


def unsupported_encryption(error: Exception, data: bytes, name: str) -> tuple[str, str] | None:
    """(cause, remedy) if `error` means that the encryption of the key in file `name` isn't supported; else None."""
    if not isinstance(error, UnsupportedAlgorithm) and not any(word in str(error) for word in _WORDS):
        return None
    kind = _kind(error, data)
    providers = "" if kind.startswith(_MODERN) else "-provider legacy -provider default "
    out = for_shell(f"{name}.pem")
    command = f"openssl pkey {providers}-aes256 -in {for_shell(name)} -out {out}"
    cause = f"is encrypted with {kind or 'a cipher'}, which isn't supported"
    return cause, f"encrypt it with AES and name {out}: {command}"


def _kind(error: Exception, data: bytes) -> str:
    if (found := _TRADITIONAL.search(data)) is not None:
        return found[1].decode("ascii")
    told = _OID.search(str(error))
    if told is None:
        return ""
    return next((name for oid, name in _NAMES.items() if f"{told[1]}.".startswith(f"{oid}.")), told[1])
