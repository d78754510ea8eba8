"""Writes a text as it must be in a YAML file, so that remedies can be copied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gateway.config.scalars import is_other

# Safe without quotes, in brackets too: no white space, and ':' only inside a word.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/.=~$(_][A-Za-z0-9/.=~$()_+*^|-]*(?::[A-Za-z0-9/.=~$()_+*^|-]+)*")


def as_yaml(text: str) -> str:
    """`text`, in quotes if YAML needs them."""
    if _PLAIN.fullmatch(text) and not is_other(text):
        return text
    return as_quoted(text)


def as_quoted(text: str) -> str:
    """`text` in double quotes; in single quotes if it contains a backslash or a double quote."""
    if "\\" in text or '"' in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def as_yaml_list(texts: Iterable[str]) -> str:
    """A list in brackets: `[a, "*.b"]`."""
    return f"[{', '.join(map(as_yaml, texts))}]"
