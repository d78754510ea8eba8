"""`*` wildcards in the values that certificates are compared with.

Keeps true: for any pattern, a comparison takes no longer than the product of both lengths, and `*` is the
only special character.
"""

from __future__ import annotations


class Glob:
    """A pattern in which `*` stands for any number of characters, including none."""

    __slots__ = ("_first", "_last", "_middle")

    def __init__(self, pattern: str) -> None:
        first, *rest = pattern.split("*")
        self._first = first
        self._last = rest[-1] if rest else None
        self._middle = tuple(part for part in rest[:-1] if part)

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        if self._last is None:
            return text == self._first
        end = len(text) - len(self._last)
        if not (text.startswith(self._first) and text.endswith(self._last) and len(self._first) <= end):
            return False
        position = len(self._first)
        for part in self._middle:
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True
