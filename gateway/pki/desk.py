"""The desk itself: the registry, the folder with the authorities' files, and who is sitting there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.pki.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Desk:
    """What every work at the desk needs. `actor` is written beside everything that is done."""

    registry: Registry
    folder: Path
    actor: str

    def file(self, authority: str, suffix: str) -> Path:
        """A file of an authority: `corp/corp.key` (secret), `.crt`, `.chain.crt`, `.crl`, `.ocsp.key`, `.ocsp.crt`."""
        return self.folder / authority / f"{authority}.{suffix}"
