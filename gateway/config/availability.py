"""Keys that are in the schema and whose feature is not there yet: refused, never silently ignored.

To make one available, remove its line here, and bring the reference in step with
`python -m gateway.config.reference > docs/configuration.md`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

# The key's path, every name as `*` and every list index as `[]`; with `=pattern` only such values are refused.
NOT_YET: Final[dict[str, str]] = {}


def unavailable(shape: str, text: str | None) -> str | None:
    """What is missing for the key at `shape` with this value (None: a list or mapping); None where nothing is."""
    if feature := NOT_YET.get(shape):
        return feature
    if text is None:
        return None
    for key, feature in NOT_YET.items():
        path, separator, pattern = key.partition("=")
        if separator and path == shape and fnmatchcase(text, pattern):
            return feature
    return None
