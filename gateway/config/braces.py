"""Names in braces, as shells and some web servers have them: `/{owa,ecp}`. Neither YAML nor rules know them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Final

MAX_NAMES: Final = 16  # that a remedy lists; more don't fit a line

_NAMES: Final = re.compile(r"\{([^{}]*,[^{}]*)\}")
_REPEATS: Final = re.compile(r"\{[0-9,\s]*\}")  # in a regular expression, which may lack its ~
_COMMA_INSIDE: Final = re.compile(r"\{[^{}]*,[^{}]*\}")


def expanded(text: str) -> list[str] | None:
    """The values that were meant: `/owa` and `/ecp`. None where it has no list of names in braces, or too many."""
    if text.startswith("~") or "${" in text or (text.startswith(("/", "=")) and _REPEATS.search(text)):
        return None
    parts = _NAMES.split(text)
    choices = [[name.strip() for name in part.split(",")] if index % 2 else [part] for index, part in enumerate(parts)]
    count = 1
    for each in choices:
        count *= len(each)
    if not 1 < count <= MAX_NAMES or any(not name for each in choices[1::2] for name in each):
        return None
    return ["".join(chosen) for chosen in product(*choices)]


def has_comma_inside(text: str) -> bool:
    """Whether a comma stands in braces, so that it divides no entries of a list."""
    return _COMMA_INSIDE.search(text) is not None


def torn(texts: Sequence[str]) -> tuple[int, str] | None:
    """The first value that a list has in pieces: how many follow its first one, and the whole of it."""
    for index, text in enumerate(texts):
        if "\\" in text or text.count("{") <= text.count("}"):
            continue
        for end in range(index + 2, len(texts) + 1):
            whole = ",".join(texts[index:end])
            if whole.count("{") == whole.count("}"):
                return index, whole
    return None
