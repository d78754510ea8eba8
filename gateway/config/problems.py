"""What is wrong with a file, collected: every problem has a place, a cause and a remedy, and none hides another.

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

SHOWN_CHARACTERS: Final = 60  # of a value that a message quotes: one line stays readable in a terminal
SUGGESTION_SIMILARITY: Final = 0.6  # difflib's ratio from which a name is taken for a misspelling
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
    """Where a value stands: in the text, and in the schema."""

    mark: Mark = START
    path: str = ""  # "upstreams.mail.servers[0]"
    shape: str = ""  # the same with every name and number left open: "upstreams.*.servers[]"

    def key(self, name: str, mark: Mark, *, is_free: bool = False) -> Place:
        """The place of a mapping's value; `is_free` where the key is a name that the user chose."""
        shown = name if _PLAIN_KEY.fullmatch(name) else quote(name)
        return Place(mark, _join(self.path, shown), _join(self.shape, "*" if is_free else shown))

    def item(self, index: int, mark: Mark) -> Place:
        """The place of a list's item, counted from 0."""
        return Place(mark, f"{self.path}[{index}]", f"{self.shape}[]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or, for a warning, doubtful) and what to write instead."""

    file: str
    place: Place
    cause: str
    remedy: str = ""
    is_warning: bool = False
    is_note: bool = False  # nothing is wrong

    def __str__(self) -> str:
        mark = self.place.mark
        parts = [f"{self.file}:{mark.line}:{mark.column}:"]
        parts += ["warning:"] if self.is_warning else ["note:"] if self.is_note else []
        parts += [f"{self.place.path}:"] if self.place.path else []
        line = " ".join([*parts, f"{self.cause}; {self.remedy}" if self.remedy else self.cause])
        # File names are quoted as they are; none may move the cursor of a terminal or begin a line of its own.
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


class ConfigErrors(ConfigError):  # noqa: N818 - the plural says that it holds all of them
    """The file can't be used; `problems` holds all that is wrong with it, `warnings` the rest, in file order."""

    def __init__(
        self, problems: tuple[Problem, ...], warnings: tuple[Problem, ...] = (), partial: object = None
    ) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.partial = partial  # of the load: what could be read all the same, to be checked further
        self.problems = problems
        self.warnings = warnings


@dataclass(slots=True)
class Problems:
    """Collects problems while a file is read."""

    file: str  # as the user named it
    is_serving: bool = False  # not a check before serving, but serving itself
    _found: list[Problem] = field(default_factory=list)

    def error(self, place: Place, cause: str, remedy: str = "") -> None:
        """Note what makes the file unusable."""
        self._found.append(Problem(self.file, place, cause, remedy))

    def outdated(self, place: Place, cause: str, remedy: str = "") -> None:
        """Note what was good at another time. A gateway that serves goes on with it, and says so: what it guards stays
        shut for those whom it concerns, and a new revocation list must not wait for a server certificate's renewal.
        """
        self._found.append(Problem(self.file, place, cause, remedy, is_warning=self.is_serving))

    def warning(self, place: Place, cause: str, remedy: str = "") -> None:
        """Note what works and is probably not meant."""
        self._found.append(Problem(self.file, place, cause, remedy, is_warning=True))

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
    """`text` for a message: quoted, on one line, without control characters or a URL's secrets, shortened."""
    text = without_secrets(text)
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…")


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is probably a misspelling of."""
    if len(word) > SUGGESTION_WORD_CHARACTERS:
        return None
    by_folded = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_folded, n=1, cutoff=SUGGESTION_SIMILARITY)
    return by_folded[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown word: the nearest known one, or `otherwise` where none is near."""
    nearest = suggest(word, known)
    return f"write {nearest}" if nearest else otherwise


def listing(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
