"""The kinds of values from which the schema is built, as plain data.

Each kind defines which values are valid. `reading` checks them; `json_schema` and `reference` describe them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

TEXT_CHARACTERS: Final = 4096  # the longest text of any key; a long regular expression has some hundred characters


@dataclass(frozen=True, slots=True)
class Text:
    """A text. `pattern` must match the whole text."""

    what: str = "a text"  # completes "… is not …"
    pattern: str | None = None
    example: str = ""  # completes "write …"
    is_secret: bool = False  # never quoted in a message
    can_be_empty: bool = False
    number_remedy: str = ""  # if a number was written, which replaces {}; by default: put it in quotes
    has_spaces: bool = True  # may contain white space and commas; otherwise these separate entries of a list


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]
    what: str = "a choice"


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class FlagOrDay:
    """true, false, or a day: `2027-03-01`."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, or one of a few words."""

    minimum: int
    maximum: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duration:
    """A time span, `10s`; bounds in seconds."""

    minimum_seconds: float
    maximum_seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, `32KiB`; bounds in bytes."""

    minimum_bytes: int
    maximum_bytes: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. If the items are texts, a single item may be written without brackets."""

    item: Kind
    minimum: int = 0

    @property
    def can_be_single(self) -> bool:
        """True if a single item counts as a list with one item."""
        return isinstance(self.item, Text | Choice)


@dataclass(frozen=True, slots=True)
class TableOf:
    """A mapping whose keys are names that the user chooses."""

    value: Kind
    key_pattern: str
    key_what: str  # completes "… is not …"
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys. With `short`, a value that is not a mapping is the value of that key."""

    fields: tuple[Field, ...]
    short: str | None = None
    by_name: dict[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {entry.name: entry for entry in self.fields})


@dataclass(frozen=True, slots=True)
class Field:
    """One known key of a record."""

    name: str
    kind: Kind
    description: str
    is_required: bool = False
    is_nullable: bool = False  # `null` means: not set
    default: object = None  # as it would be written in the file; None: not set
    default_note: str = ""  # the default in words, if it is not a fixed value


ScalarKind = Text | Choice | Flag | FlagOrDay | Whole | Duration | Size
Kind = ScalarKind | ListOf | TableOf | Record
