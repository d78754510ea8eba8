"""The one guard against certificates, keys, lists and OCSP answers that can't be read.

`cryptography` reads many parts only when they are asked for, and then raises whatever its parser meets: a `TypeError`
for a name that is typed as a BIT STRING, say. Most of these are no `ValueError`. Whoever reads foreign bytes catches
`UNREADABLE`.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    LookupError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)

# What `cryptography` says of broken DER and base64: its parser's own notation, which tells an operator nothing.
_NOT_WORDS: Final = ("ParseError", "InvalidData", "Unable to load PEM")


def in_words(error: Exception) -> str:
    """What can't be read, for messages: the error's own text where it is words."""
    text = str(error)
    if any(mark in text for mark in _NOT_WORDS):
        return "it can't be read as DER" if "ParseError" in text else "its PEM text is broken"
    return text
