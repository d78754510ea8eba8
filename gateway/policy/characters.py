r"""Which characters a path may hold, and how case is folded before a path is compared.

Kept true here: no character passes that a mail server, file system or code page could take for `/`,
`\`, `.` or `%`, that folds to an ASCII letter, or that some readers drop; and folding goes letter by
letter, so that it never makes a path longer and never makes a separator.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# The only four that servers which ignore case beyond ASCII take for an ASCII letter (Java's
# equalsIgnoreCase, Go's EqualFold, PCRE, Python's re): İ ı ſ and the Kelvin sign. A test walks all of Unicode.
_TAKEN_FOR_ASCII: Final = frozenset("\u0130\u0131\u017f\u212a")

# What Windows code pages turn into `/` or `\` where Unicode has no such mapping (fraction and division slash, set
# minus, reverse solidus operator, big solidi, Yen and Won signs), and the Greek question mark, which is `;` in NFC.
_TAKEN_FOR_STRUCTURE: Final = frozenset("\u2044\u2215\u2216\u29f5\u29f8\u29f9\u00a5\u20a9\u037e")

_STRUCTURE: Final = frozenset("/\\.%")

# Control, format, private use, line and paragraph separators: invisible, dropped by some readers, or mapped to
# ASCII by others (Cygwin's private use characters).
_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Co", "Zl", "Zp"})


def objection(text: str) -> str | None:
    """Why a decoded path may not hold its characters, in one line; None where it may."""
    if text.isascii():
        return None
    for character in dict.fromkeys(text):  # each once, in their order
        if character >= "\x80" and (why := _objection(character)) is not None:
            return f"U+{ord(character):04X} {why}"
    return None


def fold(text: str) -> str:
    """Text with case folded letter by letter (Unicode simple case folding); what has no single-letter fold stays."""
    if text.isascii():
        return text.lower()
    folded = text.casefold()
    # Full folding works letter by letter too, and never shortens: of this length, no letter became several.
    return folded if len(folded) == len(text) else "".join(map(_fold, text))


def _objection(character: str) -> str | None:
    if unicodedata.category(character) in _REFUSED_CATEGORIES:
        return "is a control or invisible character"
    if character in _TAKEN_FOR_ASCII:
        return "is taken for an ASCII letter by servers that ignore case"
    if character in _TAKEN_FOR_STRUCTURE or not _STRUCTURE.isdisjoint(unicodedata.normalize("NFKC", character)):
        return "can be taken for a slash, backslash, dot, semicolon or percent sign"
    return None


def _fold(character: str) -> str:
    folded = character.casefold()
    if len(folded) != 1:  # ß becomes ss in full folding; no server reads a path so
        folded = character.lower()
    return folded if len(folded) == 1 else character
