"""Where fetched revocation lists are kept."""

from __future__ import annotations

import os
from pathlib import Path


def list_folder(home: Path) -> Path:
    """`state/crl` in `home`, the configuration file's folder, or `crl` below systemd's StateDirectory."""
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or home / "state"
    return Path(state) / "crl"
