"""A list that was written as one value: `internal, office` for `[internal, office]`."""

from __future__ import annotations

import re
from typing import Final

from gateway.config.braces import expanded, has_comma_inside
from gateway.config.kinds import TEXT_CHARACTERS, Choice, Duration, Kind, Text
from gateway.config.marks import Scalar

_ANY_DIVIDER: Final = re.compile(r"\s*[,;]\s*|\s+")
_COMMA: Final = re.compile(r"\s*[,;]\s+|\s*;\s*|\s+,\s*")
# A comma that can't be part of a name: before the next path, URL or pattern, or after a file's extension.
_TIGHT_COMMA: Final = re.compile(r",(?=[/~=]|https?://)|(?<=\.[A-Za-z]{3}),(?=[^,]*\.[A-Za-z]{3}(?:,|$))")
_PARAMETER: Final = re.compile(r"[a-z_]+(?:=\S+)?")
_HAS_NAME: Final = re.compile(r"[A-Za-z0-9*]")
_DASH: Final = re.compile(r"-(?=[A-Za-z0-9/*:])")
_SPACED_DURATION: Final = re.compile(r"\s*[0-9.]+\s+[A-Za-z]+\s*")  # "30 days", which has another remedy
_NOT: Final = re.compile(r"\s*not\s", re.IGNORECASE)  # "not internal" is one entry


def list_in(kind: Kind, node: Scalar, *, is_all: bool = False) -> tuple[str, ...] | None:
    """The entries, if one entry of a list contains several; None if it is only one.

    `is_all`: the text is written in place of the whole list.
    """
    if "${" in node.text or len(node.text) > TEXT_CHARACTERS or _NOT.match(node.text):
        return None
    if has_comma_inside(node.text):
        names = None if node.text.startswith(("/", "=")) else expanded(node.text)  # paths have remedies of their own
        return None if names is None else tuple(names)
    if isinstance(kind, Duration) and _SPACED_DURATION.fullmatch(node.text):
        return None
    match kind:
        case Text(has_spaces=False) | Choice() | Duration():
            parts = _ANY_DIVIDER.split(node.text.strip())
        case Text():
            parts = _TIGHT_COMMA.split(node.text) if _TIGHT_COMMA.search(node.text) else _COMMA.split(node.text)
        case _:
            return None
    parts = [part.strip() for part in parts]
    if "://" in parts[0] and any(map(_PARAMETER.fullmatch, parts[1:])):
        return None  # a server as for nginx: https://10.0.0.5:443 weight=5
    if node.text.startswith("/") and any(not part.startswith(("/", "=", "~")) for part in parts):
        return None  # one path, with something behind it
    if not all(map(_HAS_NAME.search, parts)) or any(part.startswith("<") for part in parts):
        return None
    if is_all and node.is_plain and all(_DASH.match(part) for part in parts):
        return tuple(_DASH.sub("", part, count=1) for part in parts)  # list items without the space after their dash
    return tuple(parts) if len(parts) > 1 and all(parts) else None
