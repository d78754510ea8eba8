r"""Which characters a path may contain, how servers may read them, and how case is folded before paths are compared.

Keeps true: `has_twins` reports every character that some server drops, folds to ASCII, or reads as `/`,
`\`, `.`, `;` or `%`. Folding works letter by letter, so it never makes a path longer and never makes a separator.
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category, is_normalized, normalize

# The only four characters that servers which ignore case beyond ASCII read as an ASCII letter (Java's
# equalsIgnoreCase, Go's EqualFold, PCRE, Python's re): İ ı ſ and the Kelvin sign. A test checks all of Unicode.
_TAKEN_FOR_ASCII: Final = str.maketrans("\u0130\u0131\u017f\u212a", "iisk")

# What Windows code pages turn into `/` or `\` where Unicode has no such mapping (fraction and division slash, set
# minus, reverse solidus operator, big solidi, Yen and Won signs), and the Greek question mark, which is `;` in NFC.
# Some servers read a backslash as a slash.
_SEPARATORS: Final = str.maketrans("\u2044\u2215\u2216\u29f5\u29f8\u29f9\u00a5\u20a9\\\u037e", "/////////;")

# Some readers drop these, though they are letters or marks: grapheme joiner, Hangul and other fillers, variation
# selectors (Default_Ignorable_Code_Point outside the category Cf).
_OTHER_IGNORABLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)

# Control characters, line and paragraph separators; private use characters, which Cygwin, Samba and macOS read as
# ASCII characters, each in a different way.
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Co", "Zl", "Zp"})


_SPECIAL: Final = _OTHER_IGNORABLE | set(map(chr, {**_TAKEN_FOR_ASCII, **_SEPARATORS}))
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
# What Windows and others drop at the end of a name. Unicode has no space above U+3000.
BLANKS: Final = "." + "".join(character for character in map(chr, range(0x3001)) if character.isspace())


def objection(text: str) -> str | None:
    """Which character of a decoded path is not allowed, and why, in one line; None if all are allowed."""
    if text.isascii():
        return None
    for character in dict.fromkeys(_NOT_ASCII.findall(text)):  # each once, in their order
        if category(character) in _REFUSED_CATEGORIES:
            return f"U+{ord(character):04X} is a control, line separator or private use character"
    return None


def has_twins(text: str) -> bool:
    """Whether a path has a character that some server drops, or reads as one or several other characters."""
    if text.isascii():
        return False
    unusual = set(_NOT_ASCII.findall(text))
    return not _SPECIAL.isdisjoint(unusual) or "Cf" in map(category, unusual) or not is_normalized("NFKC", text)


def canonical(text: str) -> str:
    """Text as macOS and others compose it (NFC)."""
    return normalize("NFC", text)


def compatible(text: str) -> str:
    """Text with compatibility characters as the plain ones that they stand for (NFKC): `…` is `...`."""
    return normalize("NFKC", text)


def with_plain_separators(text: str) -> str:
    """Text with `/` and `;` for the characters that code pages turn into these, and `/` for backslashes."""
    return text.translate(_SEPARATORS)


def without_invisible(text: str) -> str:
    """Text without invisible characters, which some readers drop."""
    return "".join([character for character in text if not _is_invisible(character)])


def fold(text: str) -> str:
    """Text with case folded letter by letter (Unicode simple case folding). Letters without such a fold stay."""
    if text.isascii():
        return text.lower()
    folded = text.casefold()
    # Full folding works letter by letter too, and never shortens. If the length is the same, no letter became several.
    return folded if len(folded) == len(text) else "".join(map(_fold, text))


def fold_widely(text: str) -> str:
    """`fold`, with the four letters that some servers read as ASCII letters replaced by these."""
    return fold(text if text.isascii() else text.translate(_TAKEN_FOR_ASCII))


def _is_invisible(character: str) -> bool:
    return category(character) == "Cf" or character in _OTHER_IGNORABLE


def _fold(character: str) -> str:
    folded = character.casefold()
    if len(folded) != 1:  # ß becomes ss in full folding; no server reads a path like that
        folded = character.lower()
    return folded if len(folded) == 1 else character
