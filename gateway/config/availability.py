"""Keys that are in the schema but whose feature does not exist yet. They are refused, never silently ignored.

To make a key available, remove its line here and update the reference with
`python -m gateway.config.reference > docs/configuration.md`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

# The key's path, with every name as `*` and every list index as `[]`. `=pattern`: only matching values are refused.
NOT_YET: Final[dict[str, str]] = {}


def unavailable(shape: str, text: str | None) -> str | None:
    """The feature that is missing for the key at `shape` with this value (None: a list or mapping), or None."""
    if feature := NOT_YET.get(shape):
        return feature
    if text is None:
        return None
    for key, feature in NOT_YET.items():
        path, separator, pattern = key.partition("=")
        if separator and path == shape and fnmatchcase(text, pattern):
            return feature
    return None
