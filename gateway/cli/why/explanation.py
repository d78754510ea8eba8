"""The form of an explanation, and how one is found for a code and a detail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why requests are refused with a code, in words for the admin.

    Texts may name `{who}`, `{holder}`, `{login}`, `{rule}`, `{detail}`, `{address}`, `{place}`, `{device}`, `{issuer}`,
    `{until}`, `{host}` and the groups of the pattern. `commands` are keys of `commands.COMMANDS`: the first one that
    can be written with what is known helps.
    """

    code: str
    name: str  # what it is, for scripts; the code itself for the general explanation
    pattern: str | None = None  # of the detail; None: any
    sentence: str
    causes: tuple[str, ...]
    remedy: str
    commands: tuple[str, ...] = ("line",)

    def found_in(self, detail: str) -> dict[str, str] | None:
        """The groups of the pattern if it is found."""
        if self.pattern is None:
            return {}
        found = re.search(self.pattern, detail, re.DOTALL)
        return None if found is None else {key: value or "" for key, value in found.groupdict().items()}


def explanation_of(code: str, detail: str, table: Iterable[Explanation]) -> tuple[Explanation, dict[str, str]]:
    """The first explanation of the code whose pattern is found in the detail. Raises `LookupError`."""
    for each in table:
        if each.code == code and (groups := each.found_in(detail)) is not None:
            return each, groups
    raise LookupError(code)
