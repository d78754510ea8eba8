"""What `cryptography` raises for X.509 data that can't be read: whoever reads data of others catches all of it.

`InvalidVersion`, `DuplicateExtension` and `UnsupportedGeneralNameType` are no `ValueError`, and extensions are read
only when they are asked for.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
