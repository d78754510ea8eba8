"""Collects all problems of a file. Every problem has a place, a cause and a remedy, and none hides another.

A problem is printed as `config.yaml:14:7: rules[2].action: 'permit' is not an action; write allow, …`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from gateway.errors import ConfigError
from gateway.redaction import without_secrets

SHOWN_CHARACTERS: Final = 60  # of a value in a message, so that a line stays readable in a terminal
SUGGESTION_SIMILARITY: Final = 0.65  # difflib's ratio from which a name counts as misspelt
SUGGESTION_WORD_CHARACTERS: Final = 64  # longer words aren't compared: difflib's time grows with the square

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in the file; both count from 1, columns in characters."""

    line: int
    column: int


START: Final = Mark(1, 1)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value in the text and in the schema."""

    mark: Mark = START
    path: str = ""  # "upstreams.mail.servers[0]"
    shape: str = ""  # the same without names and numbers: "upstreams.*.servers[]"

    def key(self, name: str, mark: Mark, *, is_free: bool = False) -> Place:
        """The place of a mapping's value. `is_free`: the key is a name that the user chose."""
        shown = name if _PLAIN_KEY.fullmatch(name) else quote(name)
        return Place(mark, _join(self.path, shown), _join(self.shape, "*" if is_free else shown))

    def item(self, index: int, mark: Mark) -> Place:
        """The place of a list's item, counted from 0."""
        return Place(mark, f"{self.path}[{index}]", f"{self.shape}[]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One error, warning or note, and what to write instead."""

    file: str
    place: Place
    cause: str
    remedy: str = ""
    is_warning: bool = False
    is_note: bool = False  # for information; nothing is wrong

    def __str__(self) -> str:
        mark = self.place.mark
        parts = [f"{self.file}:{mark.line}:{mark.column}:"]
        parts += ["warning:"] if self.is_warning else ["note:"] if self.is_note else []
        parts += [f"{self.place.path}:"] if self.place.path else []
        line = " ".join([*parts, f"{self.cause}; {self.remedy}" if self.remedy else self.cause])
        # File names are not shortened or quoted. They must not move the cursor of a terminal or begin a new line.
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


class ConfigErrors(ConfigError):  # noqa: N818 - the plural says that it holds all of them
    """The file can't be used. `problems` has all errors and `warnings` all warnings, in file order."""

    def __init__(
        self, problems: tuple[Problem, ...], warnings: tuple[Problem, ...] = (), partial: object = None
    ) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.partial = partial  # the part that could be read, for further checks
        self.problems = problems
        self.warnings = warnings


@dataclass(slots=True)
class Problems:
    """Collects problems while a file is read."""

    file: str  # as the user named it
    is_serving: bool = False  # the gateway serves with this file; otherwise it is only checked
    _found: list[Problem] = field(default_factory=list)

    def error(self, place: Place, cause: str, remedy: str = "") -> None:
        """Add an error, which makes the file unusable."""
        self._found.append(Problem(self.file, place, cause, remedy))

    def outdated(self, place: Place, cause: str, remedy: str = "") -> None:
        """Add an error about a file that is only outdated. For a gateway that already serves it is a warning.

        The clients concerned are refused anyway, and a new revocation list must not wait until a server certificate is
        renewed.
        """
        self._found.append(Problem(self.file, place, cause, remedy, is_warning=self.is_serving))

    def warning(self, place: Place, cause: str, remedy: str = "") -> None:
        """Add a warning: this works, but is probably not what the admin means."""
        self._found.append(Problem(self.file, place, cause, remedy, is_warning=True))

    def are_in(self, place: Place) -> bool:
        """True if an entry of the list at `place` has an error."""
        return any(problem.place.path.startswith(f"{place.path}[") for problem in self._found if not problem.is_warning)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The errors in file order."""
        return self._in_order(is_warning=False)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings in file order."""
        return self._in_order(is_warning=True)

    def _in_order(self, *, is_warning: bool) -> tuple[Problem, ...]:
        chosen = dict.fromkeys(problem for problem in self._found if problem.is_warning == is_warning)
        return tuple(sorted(chosen, key=lambda problem: (problem.place.mark.line, problem.place.mark.column)))


def quote(text: str) -> str:
    """`text` for a message: in quotes, on one line, shortened, without control characters and secrets in URLs."""
    text = without_secrets(text)
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None if no known word is similar."""
    if len(word) > SUGGESTION_WORD_CHARACTERS:
        return None
    by_folded = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_folded, n=1, cutoff=SUGGESTION_SIMILARITY)
    return by_folded[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown word: the most similar known word, or `otherwise` if no word is similar."""
    nearest = suggest(word, known)
    return f"write {nearest}" if nearest else otherwise


def listing(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
