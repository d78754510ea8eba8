"""The schema as a page of Markdown: docs/configuration.md. A test checks that the page is up to date.

`python -m gateway.config.reference > docs/configuration.md` updates it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Final

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
from gateway.config.schema import SCHEMA
from gateway.config.units import format_duration, format_size

_INTRODUCTION: Final = """\
# The configuration file

The configuration is one YAML file; begin with a copy of `config.example.yaml`. `gateway check` reads it, with every
file that it names, and reports all errors in one run, as `config.yaml:14:7: rules[2].action: …; what to write instead`.
`gateway schema` prints its JSON Schema: with `# yaml-language-server: $schema=gateway.schema.json` as the first line,
editors complete and check the file while you type.

- Relative paths are relative to the file's own folder.
- `${NAME}` and `${NAME:-default}` in values are replaced by environment variables; `$$` is a literal `$`. A variable
  that is not set and has no default is an error. Passwords never appear in messages. Inside
  `[…]` and `{…}`, put a value with a variable in quotes: `{email: "${NAME}"}`.
- Durations have a unit: `500ms`, `10s`, `5m`, `1h`, `14d`. Sizes are in bytes, or have a unit: `4096`, `32KiB`, `10MB`.
- A list of texts that has only one entry may be written without brackets.
- Unknown and duplicate keys are errors, never ignored. YAML tags are refused; anchors and aliases work.
"""


def markdown() -> str:
    """The whole page."""
    lines = [_INTRODUCTION, *_table("Top level", SCHEMA)]
    for title, record in _records(SCHEMA, ""):
        lines += _table(f"`{title}`", record)
    return "\n".join(lines)


def _records(kind: Kind, title: str) -> Iterator[tuple[str, Record]]:
    """Every mapping below `kind` in the order of the file, with its path."""
    match kind:
        case Record():
            for entry in kind.fields:
                path = f"{title}.{entry.name}" if title else entry.name
                if isinstance(entry.kind, Record):
                    yield path, entry.kind
                yield from _records(entry.kind, path)
        case ListOf(item=Record() as record):
            yield f"{title}[]", record
            yield from _records(record, f"{title}[]")
        case TableOf(value=Record() as record):
            yield f"{title}.NAME", record
            yield from _records(record, f"{title}.NAME")
        case _:
            return


def _table(title: str, record: Record) -> list[str]:
    rows = [f"## {title}", "", "| key | value | when left out | meaning |", "|---|---|---|---|"]
    return [*rows, *map(_row, record.fields), ""]


def _row(entry: Field) -> str:
    cells = (f"`{entry.name}`", _value(entry.kind), _default(entry), entry.description)
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _value(kind: Kind) -> str:
    match kind:
        case Record():
            short = "" if kind.short is None else f"{_value(kind.by_name[kind.short].kind)}; or a "
            return f"{short}mapping, see below"
        case ListOf():
            return f"list; each entry: {_value(kind.item)}" if not isinstance(kind.item, Record) else "list, see below"
        case TableOf():
            return "mapping with names as keys" + (", see below" if isinstance(kind.value, Record) else "")
        case _:
            return _scalar(kind)


def _scalar(kind: ScalarKind) -> str:
    match kind:
        case Text():
            what = kind.what.removeprefix("a ").removeprefix("an ")
            return f"{what}, e.g. {kind.example}" if kind.example else what
        case Choice():
            return ", ".join(f"`{word}`" for word in kind.words)
        case Flag():
            return "`true`, `false`"
        case FlagOrDay():
            return "`true`, `false`, or a day such as `2027-03-01`"
        case Whole():
            return ", ".join([*(f"`{word}`" for word in kind.words), f"{kind.minimum} to {kind.maximum}"])
        case Duration():
            return f"{format_duration(kind.minimum_seconds)} to {format_duration(kind.maximum_seconds)}"
        case Size():
            return f"{format_size(kind.minimum_bytes)} to {format_size(kind.maximum_bytes)}"


def _default(entry: Field) -> str:
    if entry.is_required:
        return "**required**"
    if entry.default_note:
        return entry.default_note
    if entry.default is None:
        return "not set"
    if isinstance(entry.kind, Record) and entry.kind.short is None:
        return "the defaults below"
    text = entry.default if isinstance(entry.default, str) else json.dumps(entry.default)
    return f"`{text}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())
