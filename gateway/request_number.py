"""The short form of a request id, which a person can read out over the phone: `K7MP-3XWA`.

The same id always has the same short form, so the number on a page finds the request in the log. The number reveals
nothing about the id, and is not a secret.
"""

from __future__ import annotations

import hashlib
from typing import Final

# Without characters that look alike in some font or handwriting: 0 O D Q, 1 I L, 2 Z, 5 S, 8 B, U V, G 6.
ALPHABET: Final = "34679ACEFHJKMNPRTWXY"
# 20⁸ numbers: among a million requests of a day another one has the same number once in 25,000 searches.
CHARACTERS: Final = 8
_GROUP: Final = 4
_NUMBERS: Final = len(ALPHABET) ** CHARACTERS


def short_value(request_id: str) -> int:
    """What the short form spells, as a number: readers of logs compare it for a million ids in a second."""
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()) % _NUMBERS


def parse_short_number(text: str) -> int | None:
    """The value that a short form spells, in any case, with its hyphen or without; None if it is none."""
    characters = text.upper().replace("-", "").replace(" ", "")
    if len(characters) != CHARACTERS or not set(characters) <= set(ALPHABET):
        return None
    value = 0
    for character in reversed(characters):
        value = value * len(ALPHABET) + ALPHABET.index(character)
    return value


def short_number(request_id: str) -> str:
    """Eight characters in two groups."""
    value = short_value(request_id)
    digits = []
    for _ in range(CHARACTERS):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    text = "".join(digits)
    return f"{text[:_GROUP]}-{text[_GROUP:]}"
