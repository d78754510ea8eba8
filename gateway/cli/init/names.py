"""The names of what `gateway init` writes beside the configuration."""

from __future__ import annotations

from typing import Final

UNIT: Final = "gateway.service"
TEST_CERTIFICATE: Final = "test-certificate.crt"
TEST_KEY: Final = "test-certificate.key"
PKI: Final = "pki"
ISSUED: Final = "issued"  # p12 files and passwords, until they are handed out
LOGS: Final = "logs"


def passphrase_file(authority: str) -> str:
    """The file that opens an authority's key."""
    return f"{authority}.passphrase"
