"""Checks a marked tree against the schema: unknown, duplicate and missing keys, wrong types, bounds, choices.

The result is a tree of `Value`s in which every value has the type of the schema. Wrong values are reported and left
out. Later checks look at the values that are present, so that one mistake doesn't hide another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from gateway.config.braces import expanded, torn
from gateway.config.environment import SubstitutionError, is_substituted, substitute
from gateway.config.kinds import (
    Choice,
    Duration,
    Field,
    Flag,
    FlagOrDay,
    Kind,
    ListOf,
    Record,
    ScalarKind,
    Size,
    TableOf,
    Text,
    Whole,
)
from gateway.config.marks import Mapping, Node, Scalar, Sequence
from gateway.config.meant import defaults_meant, key_meant, list_meant, mapping_meant, names_meant
from gateway.config.one_value import list_in
from gateway.config.problems import Place, Problems, did_you_mean, listing, quote, suggest
from gateway.config.scalars import NULLS, Single, UnfitError, convert, expected, is_other
from gateway.config.yaml_hints import clean
from gateway.config.yaml_text import as_quoted, as_yaml, as_yaml_list

_ATTRIBUTES: Final = {
    "commonname": "CN",
    "organization": "O",
    "organizationname": "O",
    "organizationalunit": "OU",
    "organizationalunitname": "OU",
    "country": "C",
    "countryname": "C",
    "locality": "L",
    "state": "ST",
    "email": "emailAddress",
    "emailaddress": "emailAddress",
    "serialnumber": "serialNumber",
}
# $NAME and $(NAME) of shells and other programs. As a whole value or its first folder, it is meant as a variable.
_OTHER_VARIABLE: Final = re.compile(
    r"\$(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\((?P<other>[A-Za-z_][A-Za-z0-9_]*)\))(?P<rest>/.*)?"
)

_CLIENTS_HOST: Final = frozenset({"host", "http_host"})  # nginx's variables for the Host that the client sent
_UNSET: Final = "unset"  # replaces variables that are not set, in values that are not used


@dataclass(frozen=True, slots=True)
class Value:
    """A checked value and its place."""

    data: Any  # str, int, float (seconds), bool, date, None, tuple[Value, ...] or dict[str, Value]
    place: Place
    written: str = ""  # a scalar as it is written in the file, before substitution: for messages
    keys: MappingOf[str, Place] = field(default_factory=dict)  # of a mapping: every key, also with errors
    has_unknown_keys: bool = False  # keys of a mapping of which it can't be told what they stand for

    def get(self, name: str) -> Value | None:
        """The value of a key; None if it is absent, null or wrong."""
        value: Value | None = self.data.get(name)
        return None if value is None or value.data is None else value

    def plain(self, name: str, default: Any) -> Any:
        """The bare value of a scalar key, or `default`; null stays None."""
        value = self.data.get(name)
        return default if value is None else value.data

    def items(self, name: str) -> tuple[Value, ...]:
        """The items of a list key; empty if it is absent."""
        value = self.get(name)
        return value.data if value is not None else ()

    def section(self, name: str) -> Value:
        """The mapping at a key; an empty one if it is absent."""
        return self.get(name) or Value({}, self.place)

    def at(self, name: str) -> Place:
        """The place of a key; that of the mapping if the key is absent."""
        return self.data[name].place if name in self.data else self.keys.get(name, self.place)


class Reader:
    """Reads one tree; problems go to `problems`."""

    def __init__(
        self, problems: Problems, environ: MappingOf[str, str], is_needed: Callable[[Place], bool] = lambda _: True
    ) -> None:
        """`is_needed`: whether the value at a place is used. In values that are not used, variables need not be set."""
        self._problems = problems
        self._environ = environ
        self._is_needed = is_needed

    def read(self, kind: Kind, node: Node, place: Place) -> Value | None:
        """The checked value; None (and an error) if it is wrong."""
        match kind:
            case Record():
                return self._record(kind, node, place)
            case TableOf():
                return self._table(kind, node, place)
            case ListOf():
                return self._list(kind, node, place)
            case Text() | Choice() | Flag() | FlagOrDay() | Whole() | Duration() | Size():
                return self._scalar(kind, node, place)
            case _:
                assert_never(kind)

    def _record(self, kind: Record, node: Node, place: Place) -> Value | None:
        if kind.short is not None and isinstance(node, Scalar) and (remedy := defaults_meant(kind, node)) is not None:
            self._wrong_type(node, place, "", remedy)
            return None
        if kind.short is not None and not isinstance(node, Mapping):
            value = self._field(kind.by_name[kind.short], node, place)
            return None if value is None else Value({kind.short: value}, place, keys={kind.short: place})
        if not isinstance(node, Mapping):
            self._wrong_type(
                node, place, f"a mapping with the keys {listing(kind.by_name, 'and')}", mapping_meant(kind, node, place)
            )
            return None
        has_unknown = False
        data: dict[str, Value] = {}
        keys: dict[str, Place] = {}
        guessed: dict[str, Place] = {}  # misspelt keys count as present, with an unknown value
        for key, child in self._entries(node, place):
            entry = kind.by_name.get(key.text)
            at = place.key(key.text, child.mark)
            if entry is None:
                name, remedy = self._unknown_key(kind, key, child, {*keys, *guessed})
                if name is None:
                    has_unknown = True
                else:
                    guessed[name] = at
                self._problems.error(place.key(key.text, key.mark), "unknown key", remedy)
                continue
            keys[entry.name] = at
            if (value := self._field(entry, child, at)) is not None:
                data[entry.name] = value
        for entry in kind.fields:
            if entry.is_required and entry.name not in keys and entry.name not in guessed:
                missing = place.key(entry.name, place.mark)
                self._problems.error(missing, "this key is missing", f"add it: {_first_line(entry.description)}")
        return Value(data, place, keys={**guessed, **keys}, has_unknown_keys=has_unknown)

    def _unknown_key(self, kind: Record, key: Scalar, child: Node, present: set[str]) -> tuple[str | None, str]:
        """The key that was probably meant, None if that can't be told, and the remedy."""
        if (meant := key_meant(kind, key, child, present)) is not None:
            return meant
        known = [name for name in kind.by_name if name not in present]
        otherwise = f"remove it, or write one of {listing(kind.by_name)}"
        return suggest(key.text, known), did_you_mean(key.text, known, otherwise)

    def _field(self, entry: Field, node: Node, place: Place) -> Value | None:
        if entry.is_nullable and isinstance(node, Scalar):
            single = self._substituted(node, place)
            if single is None:
                return None
            if single.can_be_other and single.text in NULLS and single.text in {"", single.written}:
                return Value(None, place)
        return self.read(entry.kind, node, place)

    def _table(self, kind: TableOf, node: Node, place: Place) -> Value | None:
        if not isinstance(node, Mapping):
            self._wrong_type(node, place, "a mapping with names as keys", names_meant(kind, node))
            return None
        data: dict[str, Value] = {}
        keys: dict[str, Place] = {}
        for key, child in self._entries(node, place):
            at = place.key(key.text, child.mark, is_free=True)
            if not re.fullmatch(kind.key_pattern, key.text):
                named = place.key(key.text, key.mark, is_free=True)
                self._problems.error(named, f"{quote(key.text)} is not {kind.key_what}", _key_remedy(kind, key.text))
                continue
            keys[key.text] = place.key(key.text, key.mark, is_free=True)
            if (value := self.read(kind.value, child, at)) is not None:
                data[key.text] = value
        if len(node.entries) < kind.minimum:
            self._problems.error(place, "is empty", "write at least one entry, or remove the key")
        return Value(data, place, keys=keys)

    def _list(self, kind: ListOf, node: Node, place: Place) -> Value | None:
        if isinstance(node, Scalar) and (parts := list_in(kind.item, node, is_all=True)):
            self._problems.error(place, "is one value, not a list", f"write {as_yaml_list(parts)}")
            return None
        if isinstance(node, Scalar) and kind.can_be_single and not (node.is_plain and node.text in NULLS):
            item = self.read(kind.item, node, Place(node.mark, place.path, f"{place.shape}[]"))
            return None if item is None else Value((item,), place)
        if not isinstance(node, Sequence):
            if isinstance(kind.item, Record) and isinstance(node, Mapping):
                self._problems.error(place, "is a mapping, not a list", "begin each entry with '- '")
                return None
            if isinstance(node, Mapping) and (names := _names(node)):
                self._problems.error(place, "is a mapping, not a list", f"write {as_yaml_list(names)}")
                return None
            meant = list_meant(kind.item, node, place)
            self._wrong_type(node, place, f"a list{_entries_of(kind.item)}", meant)
            return None
        if len(node.items) < kind.minimum:
            self._problems.error(place, "the list is empty", "write at least one entry, or remove the key")
            return None
        if self._is_torn(kind, node, place):
            return None
        found = [self._item(kind, child, place.item(index, child.mark)) for index, child in enumerate(node.items)]
        return Value(tuple(value for value in found if value is not None), place)

    def _is_torn(self, kind: ListOf, node: Sequence, place: Place) -> bool:
        """Report a value in whose braces a comma was taken for one of the list."""
        if not isinstance(kind.item, Text):
            return False
        found = torn([item.text if isinstance(item, Scalar) else "" for item in node.items])
        if found is None:
            return False
        index, whole = found
        names = expanded(whole)
        remedy = ", ".join(map(as_yaml, names)) if names else as_quoted(whole)
        cause = f"the braces of {quote(whole)} are divided by their comma"
        self._problems.error(place.item(index, node.items[index].mark), cause, f"write {remedy}")
        return True

    def _item(self, kind: ListOf, node: Node, place: Place) -> Value | None:
        if isinstance(node, Scalar):
            parts, cause = list_in(kind.item, node), f"{quote(node.text)} is one value"
        else:
            parts = _names(node) if isinstance(node, Mapping) and isinstance(kind.item, Text | Choice) else None
            cause = "braces list no names"
        if not parts:
            return self.read(kind.item, node, place)
        self._problems.error(place, cause, f"write {', '.join(map(as_yaml, parts))}")
        return None

    def _scalar(self, kind: ScalarKind, node: Node, place: Place) -> Value | None:
        if not isinstance(node, Scalar):
            self._wrong_type(node, place, _only_item(kind, node) or expected(kind))
            return None
        single = self._substituted(node, place)
        if single is None:
            return None
        try:
            data = convert(kind, single)
        except UnfitError as unfit:
            if self._is_needed(place) or _UNSET not in single.text:
                self._problems.error(place, *unfit.args)
            return None
        return Value(data, place, node.text)

    def _entries(self, node: Mapping, place: Place) -> Iterator[tuple[Scalar, Node]]:
        """Every key once. A second key of the same name is reported and left out."""
        seen: dict[str, Scalar] = {}
        for key, child in self._readable(node, place):
            if key.text in seen:
                first = seen[key.text].mark
                at = place.key(key.text, key.mark)
                self._problems.error(at, f"this key is already in line {first.line}", "remove one of the two")
                continue
            seen[key.text] = key
            yield key, child

    def _readable(self, node: Mapping, place: Place) -> Iterator[tuple[Scalar, Node]]:
        """The entries, with corrected keys. Wrong characters in a key are reported."""
        for key, child in node.entries:
            if key.fault is None:
                yield key, child
                continue
            name, _, value = clean(key.text).partition(":")
            self._problems.error(place.key(name, key.mark), *key.fault)
            yield Scalar(key.mark, name), Scalar(key.mark, value.strip()) if value.strip() else child

    def _substituted(self, node: Scalar, place: Place) -> Single | None:
        if node.fault is not None:
            self._problems.error(place, *node.fault)
            return None
        if (found := _OTHER_VARIABLE.fullmatch(node.text)) is not None:
            name = found["name"] or found["other"]
            if name in _CLIENTS_HOST and place.shape.endswith(".host"):
                self._problems.error(place, f"{quote(node.text)} is not replaced", "write preserve")
                return None
            cause = f"{quote(node.text)} is not replaced by a variable's value"
            rest = found["rest"] or ""
            remedy = f'write "${{{name}}}{rest}", or "${node.text}" for the text itself'
            self._problems.error(place, cause, remedy)
            return None
        try:
            text = substitute(node.text, self._environ, None if self._is_needed(place) else _UNSET)
        except SubstitutionError as error:
            self._problems.error(place, error.cause, error.remedy)
            return None
        if is_substituted(node.text):
            return Single(text, node.text, can_be_text=True, can_be_other=True)
        return Single(text, node.text, not (node.is_plain and is_other(text)), node.is_plain)

    def _wrong_type(self, node: Node, place: Place, expected: str, remedy: str | None = None) -> None:
        match node:
            case Mapping():
                found = "a mapping"
            case Sequence():
                found = "a list"
            case Scalar():
                found = "empty" if node.is_plain and node.text in NULLS else "a single value"
        subject = "" if place.path else "the file "
        self._problems.error(place, f"{subject}is {found}", remedy or f"write {expected}")


def _entries_of(item: Kind) -> str:
    """What the entries of a list must be, as the end of a remedy."""
    match item:
        case Text() | Choice():
            return f" in which each entry is {item.what}"
        case Record() | TableOf() | ListOf():
            return ", and begin each entry with '- '"
        case _:
            return f" in which each entry is {expected(item)}"


def _only_item(kind: ScalarKind, node: Node) -> str | None:
    """The item of a list that has one, if it is a value of this kind; None otherwise."""
    if not isinstance(node, Sequence) or len(node.items) != 1 or not isinstance(item := node.items[0], Scalar):
        return None
    if isinstance(kind, Text) and kind.is_secret:
        return None
    is_plain_other = item.is_plain and is_other(item.text)
    try:
        convert(kind, Single(item.text, item.text, not is_plain_other, item.is_plain))
    except UnfitError:
        return None
    return item.text if is_plain_other else as_yaml(item.text)


def _names(node: Mapping) -> tuple[str, ...] | None:
    """The names in braces where they have no values: `{internal, office}`."""
    is_list = all(isinstance(value, Scalar) and value.is_plain and not value.text for _, value in node.entries)
    return tuple(key.text for key, _ in node.entries) if is_list else None


def _key_remedy(kind: TableOf, text: str) -> str:
    if kind.key_pattern.startswith("CN|"):
        meant = _ATTRIBUTES.get(text.lower(), text.upper())
        if re.fullmatch(kind.key_pattern, meant):
            return f"write {meant}"
        return "write CN, O, OU, C, L, ST, UID, DC, emailAddress, serialNumber or an OID"
    if re.fullmatch(kind.key_pattern, text.lower()):
        return f"write {text.lower()}"
    return "begin with a letter and use letters, digits, '_', '.' and '-'"


def _first_line(description: str) -> str:
    return description.split(". ", maxsplit=1)[0].split(": ", maxsplit=1)[0].rstrip(".")
