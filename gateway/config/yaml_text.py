"""A text as it is written in a YAML file, for remedies that can be copied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gateway.config.scalars import is_other

# Safe without quotes wherever it stands, in brackets too: no white space, and ':' and '#' only inside of a word.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/.=~$(_][A-Za-z0-9/.=~$()_+*^|-]*(?::[A-Za-z0-9/.=~$()_+*^|-]+)*")


def as_yaml(text: str) -> str:
    """`text` without quotes where YAML takes it as it is, in brackets too, and with quotes elsewhere."""
    if _PLAIN.fullmatch(text) and not is_other(text):
        return text
    return as_quoted(text)


def as_quoted(text: str) -> str:
    """`text` in double quotes, or in single ones where it has what double ones would change."""
    if "\\" in text or '"' in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def as_yaml_list(texts: Iterable[str]) -> str:
    """`[a, "*.b"]`."""
    return f"[{', '.join(map(as_yaml, texts))}]"
