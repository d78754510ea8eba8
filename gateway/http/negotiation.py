"""Finds what a client prefers: HTML or text, and in which language (RFC 9110, 12.5.1 and 12.5.4).

Malformed values count as no preference. Quality values are compared as numbers: 0.8 > 0.75.
"""

from __future__ import annotations

import re
from typing import Final

MAX_PREFERENCE_BYTES: Final = 1024  # browsers send less than 300; the rest is ignored
MAX_PREFERENCES: Final = 32

_QUALITY: Final = re.compile(rb"\A[01](?:\.[0-9]{0,3})?\Z")


def wants_html(accept: bytes | None) -> bool:
    """True if `Accept` names text/html, as browsers do. Mail clients and scripts send `*/*`."""
    return any(name == b"text/html" for name, _ in _preferences(accept))


def chosen_language(accept_language: bytes | None, available: tuple[str, ...]) -> str:
    """The available language code that the client prefers; the first one if it names none of them."""
    best, best_quality = available[0], 0.0
    for name, quality in _preferences(accept_language):
        primary = name.partition(b"-")[0].decode("ascii", "replace")
        if primary in available and quality > best_quality:
            best, best_quality = primary, quality
    return best


def _preferences(value: bytes | None) -> list[tuple[bytes, float]]:
    """Lower-case members with their quality, without those of quality 0, which the client refuses."""
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
