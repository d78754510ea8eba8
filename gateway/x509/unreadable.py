"""The exceptions of `cryptography` for certificates, keys, lists and OCSP answers that can't be read.

`cryptography` reads many parts lazily, and then raises various exceptions, for example a `TypeError` for a name that is
typed as a BIT STRING. Many of them are not a `ValueError`. Code that reads foreign bytes must catch `UNREADABLE`.
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

# Marks of `cryptography`'s messages about broken DER and base64, which mean nothing to an admin.
_NOT_WORDS: Final = ("ParseError", "InvalidData", "Unable to load PEM")


def in_words(error: Exception) -> str:
    """What can't be read, for messages: the error's own text if it is readable."""
    text = str(error)
    if any(mark in text for mark in _NOT_WORDS):
        return "it can't be read as DER" if "ParseError" in text else "its PEM text is broken"
    return text
