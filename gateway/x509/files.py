"""What a file held when it was read: handed on with its path, so that nobody reads it a second time.

What this module keeps true: what was checked is what is served. Keys show in no representation. The processes that
need no certificate don't load `cryptography` for these types.
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
    """A file of certificates, at least one. Two are equal where their paths are."""

    path: Path
    certificates: tuple[x509.Certificate, ...] = field(repr=False, compare=False)
    stamp: Stamp = field(default=None, repr=False, compare=False)  # of the file, from before it was read


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with a private key. Two are equal where their paths are."""

    path: Path
    key: PrivateKey | None = field(repr=False, compare=False)  # None: not read, by commands that need no key
    stamp: Stamp = field(default=None, repr=False, compare=False)  # of the file, from before it was read

    @property
    def private(self) -> PrivateKey:
        """The key, for a handshake. Raises `ConfigError` where it was not read."""
        if self.key is None:
            raise ConfigError(f"{self.path}: the key was not read", "load the configuration with its keys")
        return self.key
