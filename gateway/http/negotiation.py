"""What a client would rather read: HTML or text, and in which language (RFC 9110, 12.5.1 and 12.5.4).

Hostile or broken values count as no preference. Quality values are compared as they are written: "0.8" > "0.75".
"""

from __future__ import annotations

import re
from typing import Final

MAX_PREFERENCE_BYTES: Final = 1024  # browsers send below 300; what stands behind is not looked at
MAX_PREFERENCES: Final = 32

_QUALITY: Final = re.compile(rb"\A[01](?:\.[0-9]{0,3})?\Z")


def wants_html(accept: bytes | None) -> bool:
    """Whether `Accept` names text/html. A browser does; a mail client or a script, with `*/*`, doesn't."""
    return any(name == b"text/html" for name, _ in _preferences(accept))


def chosen_language(accept_language: bytes | None, available: tuple[str, ...]) -> str:
    """Of the available language codes the one the client prefers; the first where it names none of them."""
    best, best_quality = available[0], 0.0
    for name, quality in _preferences(accept_language):
        primary = name.partition(b"-")[0].decode("ascii", "replace")
        if primary in available and quality > best_quality:
            best, best_quality = primary, quality
    return best


def _preferences(value: bytes | None) -> list[tuple[bytes, float]]:
    """Lower-case members with their quality, without those of quality 0, which are refused ones."""
    if value is None:
        return []
    found = []
    for member in value[:MAX_PREFERENCE_BYTES].lower().split(b",", MAX_PREFERENCES)[:MAX_PREFERENCES]:
        name, *parameters = (part.strip(b" \t") for part in member.split(b";"))
        quality = 1.0
        for parameter in parameters:
            key, _, text = parameter.partition(b"=")
            if key.strip(b" \t") == b"q":
                quality = float(text) if _QUALITY.match(text := text.strip(b" \t")) else 0.0
        if quality > 0:
            found.append((name, quality))
    return found
