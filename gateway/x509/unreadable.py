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
