"""The certificate desk: the registry, the folder with the authorities' files, and the person or program at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.pki.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Desk:
    """The things that every operation of the desk needs."""

    registry: Registry
    folder: Path
    actor: str  # the name that the audit trail has for each operation

    def file(self, authority: str, suffix: str) -> Path:
        """A file of an authority: `corp/corp.key` (secret), `.crt`, `.chain.crt`, `.crl`, `.ocsp.key`, `.ocsp.crt`."""
        return self.folder / authority / f"{authority}.{suffix}"
