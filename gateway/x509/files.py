"""The contents of certificate and key files, kept with their path, so that no file is read twice.

Keeps true: the contents that were checked are served. `repr` shows no keys. Processes that need no
certificates don't load `cryptography` for these types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigError
from gateway.stamps import Stamp

if TYPE_CHECKING:
    from cryptography import x509

    from gateway.x509.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A file with at least one certificate. Compared by path only."""

    path: Path
    certificates: tuple[x509.Certificate, ...] = field(repr=False, compare=False)
    stamp: Stamp = field(default=None, repr=False, compare=False)  # of the file, from before it was read


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with a private key. Compared by path only."""

    path: Path
    key: PrivateKey | None = field(repr=False, compare=False)  # None: not read, by commands that need no key
    stamp: Stamp = field(default=None, repr=False, compare=False)  # of the file, from before it was read
    is_encrypted: bool = field(default=False, repr=False, compare=False)

    @property
    def private(self) -> PrivateKey:
        """The key, for a handshake. Raises `ConfigError` if it was not read."""
        if self.key is None:
            raise ConfigError(f"{self.path}: the key was not read", "load the configuration with its keys")
        return self.key
