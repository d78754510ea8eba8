"""The schema as JSON Schema 2020-12, for editors. It accepts every file that the loader accepts."""

from __future__ import annotations

from typing import Any, Final

from gateway.config.days import DAY_PATTERN
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
from gateway.config.units import DURATION_PATTERN, SIZE_PATTERN

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FROM_ENVIRONMENT: Final = {"$ref": "#/$defs/from_environment"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the whole file, as a new document."""
    return {
        "$schema": _DIALECT,
        "title": "gateway configuration",
        **_schema(SCHEMA),
        "$defs": {
            "from_environment": {
                "type": "string",
                "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
                "description": "Holds environment variables: ${NAME} or ${NAME:-default}.",
            }
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    match kind:
        case Record():
            many: dict[str, Any] = {
                "type": "object",
                "properties": {entry.name: _field(entry) for entry in kind.fields},
                "required": [entry.name for entry in kind.fields if entry.is_required],
                "additionalProperties": False,
            }
            short = None if kind.short is None else _schema(kind.by_name[kind.short].kind)
            return many if short is None else {"anyOf": [short, many]}
        case TableOf():
            return {
                "type": "object",
                "propertyNames": {"pattern": f"^(?:{kind.key_pattern})$"},
                "additionalProperties": _schema(kind.value),
                "minProperties": kind.minimum,
            }
        case ListOf():
            item = _schema(kind.item)
            many = {"type": "array", "items": item, "minItems": kind.minimum}
            return {"anyOf": [many, item]} if kind.can_be_single else many
        case _:
            return _scalar(kind)


def _scalar(kind: ScalarKind) -> dict[str, Any]:
    match kind:
        case Text():
            return _text(kind)
        case Choice():
            # YAML 1.1 readers take `off` for false.
            numbers = [int(word) for word in kind.words if word.isdecimal()]  # without quotes
            exact: dict[str, Any] = {"enum": [*kind.words, *numbers, *([False] if "off" in kind.words else [])]}
        case Flag():
            exact = {"type": "boolean"}
        case FlagOrDay():
            exact = {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^(?:{DAY_PATTERN})$"}]}
        case Whole():
            exact = {"type": "integer", "minimum": kind.minimum, "maximum": kind.maximum}
            if kind.words:
                exact = {"anyOf": [exact, {"enum": list(kind.words)}]}
        case Duration():
            exact = {"type": "string", "pattern": f"^(?:{DURATION_PATTERN})$"}
        case Size():
            number = {"type": "integer", "minimum": kind.minimum_bytes, "maximum": kind.maximum_bytes}
            exact = {"anyOf": [number, {"type": "string", "pattern": f"^(?:{SIZE_PATTERN})$"}]}
    return {"anyOf": [exact, _FROM_ENVIRONMENT]}


def _text(kind: Text) -> dict[str, Any]:
    plain: dict[str, Any] = {"type": "string"}
    if not kind.can_be_empty:
        plain["minLength"] = 1
    if kind.pattern is None:
        return plain
    # `$$` in the file stands for `$`, so only the loader checks a text with it.
    return {
        "anyOf": [
            {**plain, "pattern": f"^(?:{kind.pattern})$"},
            _FROM_ENVIRONMENT,
            {"type": "string", "pattern": r"\$\$"},
        ]
    }


def _field(entry: Field) -> dict[str, Any]:
    schema = _schema(entry.kind)
    if entry.is_nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    schema["description"] = entry.description
    if entry.default is not None:
        schema["default"] = entry.default
    return schema
