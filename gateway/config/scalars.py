"""Converts one scalar to the kind that the schema asks for: a text, a word, a flag, a number, a duration or a size.

A value without quotes is a number or boolean if YAML reads it so. A value from the environment may be of any kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from gateway.config.days import FIRST_YEAR, LAST_YEAR, is_out_of_range, meant_day, parse_day
from gateway.config.kinds import TEXT_CHARACTERS, Choice, Duration, Flag, FlagOrDay, ScalarKind, Size, Text, Whole
from gateway.config.problems import listing, quote
from gateway.config.units import format_duration, format_size, parse_duration, parse_size
from gateway.policy.hosts import HostRejected, normalise_host

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
# What YAML 1.2 (10.3.2) reads as a number; for an editor with the JSON Schema it is then not a text.
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+|\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
_SPECIAL_NUMBER: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

# The duration and the size of a remedy, where the bounds allow them.
_USUAL_SECONDS: Final = 10.0
_USUAL_BYTES: Final = 32 * 1024

_LEFT_OUT: Final = ("/", "http://")  # of paths and URLs, where people leave it out
_FLAG_WORDS: Final = {"on": "true", "yes": "true", "1": "true", "off": "false", "no": "false", "0": "false"}
_OBSERVING: Final = frozenset({"observe", "report", "reportonly", "report-only", "log", "audit", "test", "permissive"})
# What other programs call it. There is none for `allow`: nothing is opened by a guess.
_OTHER_WORDS: Final = {
    "require_certificate": ("require", "required", "certificate", "cert", "clientcertificate", "requirecert", "mtls"),
    "deny": ("block", "blocked", "reject", "drop", "refuse", "forbid", "forbidden", "403"),
    "if_present": ("optional",),
    "client_ip": ("iphash", "source", "sourceip", "sticky", "hash"),
    "least_connections": ("leastconn", "leastconnection"),
    "round_robin": ("rr",),
    "email": ("mail", "emailaddress"),
    "h2": ("http2", "http20"),
    "http/1.1": ("http1", "http10"),
}
_HSTS: Final = re.compile(r"(?i)max-age\s*=\s*\"?([0-9]{1,9})")
_NO_LETTER: Final = re.compile(r"[^a-z0-9]")
_IN_BRACKETS: Final = re.compile(r"[^<>]*<([^<>\s]{3,320})>")  # an address after its holder's name
_NUMBER_AND_UNIT: Final = re.compile(r"([0-9]{1,12})\s*([A-Za-z]{0,12})")
_DURATION_UNITS: Final = {
    **dict.fromkeys(("ms", "msec", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
_SIZE_UNITS: Final = {
    **dict.fromkeys(("b", "byte", "bytes"), ""),
    **dict.fromkeys(("k", "ki", "kib"), "KiB"),
    **dict.fromkeys(("m", "mi", "mib", "megabytes"), "MiB"),
    **dict.fromkeys(("g", "gi", "gib", "gigabytes"), "GiB"),
    **{unit.lower(): unit for unit in ("KB", "MB", "GB")},
}


@dataclass(frozen=True, slots=True)
class Single:
    """A scalar after substitution."""

    text: str
    written: str
    can_be_text: bool
    can_be_other: bool  # a number, a boolean or null: without quotes, or substituted


class UnfitError(Exception):
    """A scalar that is not valid for its key: cause and remedy."""


def _text(kind: Text, single: Single) -> str:
    text = single.text
    shown = "this value" if kind.is_secret else quote(single.written)
    remedy = f"write {kind.example}" if kind.example else "write a text"
    if not single.can_be_text:
        if text in NULLS:
            raise UnfitError("is empty", remedy)
        if kind.number_remedy:
            remedy = kind.number_remedy.format(text)
        elif kind.has_spaces or text not in _FLAGS:
            remedy = "put it in quotes"
        raise UnfitError(f"{shown} is a number or boolean, not {kind.what}", remedy)
    if not text and not kind.can_be_empty:
        raise UnfitError("is empty", remedy)
    if len(text) > TEXT_CHARACTERS:
        raise UnfitError(f"is longer than {TEXT_CHARACTERS} characters", "shorten it")
    if "\x00" in text or (kind.pattern is not None and not re.fullmatch(kind.pattern, text)):
        if kind.pattern is not None and not kind.is_secret:
            fitting = (f"{start}{text}" for start in _LEFT_OUT if re.fullmatch(kind.pattern, f"{start}{text}"))
            remedy = next((f"write {each}" for each in fitting), remedy)
        bare = _IN_BRACKETS.fullmatch(text)
        if bare is not None and kind.pattern is not None and re.fullmatch(kind.pattern, bare[1]):
            remedy = f'write "{bare[1]}"'
        meant = _NEAREST[kind.what](kind, text) if kind.what in _NEAREST else _with_ascii_domain(text)
        raise UnfitError(f"{shown} is not {kind.what}", meant or remedy)
    return text


def _nearest_path(kind: Text, text: str) -> str | None:
    """The remedy for a path without its slash, or behind a host."""
    path = "/" + re.sub(r"^https?://[^/]*", "", text).lstrip("/")
    return f"write {path}" if kind.pattern and re.fullmatch(kind.pattern, path) else None


def _nearest_pattern(_: Text, text: str) -> str | None:
    """The remedy for a regular expression of addresses."""
    return f'write "{text[1:]}"' if re.fullmatch(r"\.\*@[^@\s\\]+", text) else _with_ascii_domain(text)


def _nearest_fingerprint(kind: Text, text: str) -> str | None:
    """The remedy for a fingerprint with what openssl prints before it, and for one of another digest."""
    bare = text.rpartition("=")[2].strip().replace(" ", "")
    if kind.pattern and re.fullmatch(kind.pattern, bare):
        return f'write "{bare}"'
    if re.fullmatch(r"[0-9A-Fa-f]{40}", bare.replace(":", "")):
        return "this one is SHA-1; openssl x509 -noout -fingerprint -sha256 -in FILE prints the other"
    return None


_NEAREST: Final[dict[str, Callable[[Text, str], str | None]]] = {
    "a path": _nearest_path,
    "an e-mail pattern": _nearest_pattern,
    "a SHA-256 fingerprint": _nearest_fingerprint,
}


def _with_ascii_domain(text: str) -> str | None:
    """The remedy for an address whose domain has other letters than ASCII; None for other texts."""
    local, at, domain = text.rpartition("@")
    wildcard = "*." if domain.startswith("*.") else ""
    if not at or not local.isascii() or domain.isascii():
        return None
    try:
        address = f"{local}@{wildcard}{normalise_host(domain.removeprefix('*.'))}"
    except HostRejected:
        return None
    return f'write "{address}"'


def _choice(kind: Choice, single: Single) -> str:
    if single.text in kind.words:
        return single.text
    by_letters = {_NO_LETTER.sub("", word): word for word in kind.words}
    letters = _NO_LETTER.sub("", single.text.lower())
    meant = next((word for word, others in _OTHER_WORDS.items() if word in kind.words and letters in others), None)
    remedy = by_letters.get(letters) or meant or listing(kind.words)
    raise UnfitError(f"{quote(single.written)} is not {kind.what}", f"write {remedy}")


def _flag(_: Flag, single: Single) -> bool:
    if single.can_be_other and single.text in _FLAGS:
        return _FLAGS[single.text]
    remedy = _FLAG_WORDS.get(single.text.lower(), "true or false")
    raise UnfitError(f"{quote(single.written)} is not true or false", f"write {remedy}, without quotes")


def _flag_or_day(_: FlagOrDay, single: Single) -> bool | date:
    text = single.text
    if text in _FLAGS:
        return _flag(Flag(), single)
    if (day := parse_day(text)) is not None:
        return day
    if is_out_of_range(text):
        remedy = "write true, or false for no end date" if int(text[:4]) > LAST_YEAR else "write true"
        cause = f"{quote(single.written)} is not a day in the years {FIRST_YEAR} to {LAST_YEAR}"
        raise UnfitError(cause, f"{remedy}, or a day such as 2027-03-01")
    meant = meant_day(text)
    word = "false" if text.lower() in _OBSERVING else _FLAG_WORDS.get(text.lower())
    remedy = "write true, false or a day such as 2027-03-01" if word is None else f"write {word}"
    remedy = remedy if meant is None else f"write {meant.isoformat()}"
    raise UnfitError(f"{quote(single.written)} is not true, false or a day", remedy)


def _whole(kind: Whole, single: Single) -> int | str:
    if single.text in kind.words:
        return single.text
    remedy = f"write {listing([*kind.words, f'a number from {kind.minimum} to {kind.maximum}'])}"
    if not _WHOLE.fullmatch(single.text):
        raise UnfitError(f"{quote(single.written)} is not a whole number", remedy)
    if not single.can_be_other:
        raise UnfitError(f"{quote(single.written)} is a text, not a number", "remove the quotes")
    if not kind.minimum <= int(single.text) <= kind.maximum:
        raise UnfitError(f"{quote(single.written)} is out of bounds", remedy)
    return int(single.text)


def _duration(kind: Duration, single: Single) -> float:
    def is_good(text: str) -> bool:
        return kind.minimum_seconds <= (parse_duration(text) or 0.0) <= kind.maximum_seconds

    seconds = parse_duration(single.text)
    if seconds is None:
        raise UnfitError(
            f"{quote(single.written)} is not a duration",
            _with_unit(single.text, _DURATION_UNITS, ("s", "m", "h", "d"), is_good)
            or _hsts_meant(single.text)
            or "write a number and its unit: 500ms, 10s, 5m, 1h, 14d",
        )
    if not kind.minimum_seconds <= seconds <= kind.maximum_seconds:
        bounds = f"{format_duration(kind.minimum_seconds)} to {format_duration(kind.maximum_seconds)}"
        raise UnfitError(f"{quote(single.written)} is out of bounds", f"write a duration from {bounds}")
    return seconds


def _hsts_meant(text: str) -> str | None:
    """The remedy for the header's value in the place of its settings."""
    found = _HSTS.search(text)
    if found is None:
        return None
    others = [key for key in ("include_subdomains", "preload") if key.replace("_", "") in text.lower()]
    return f"write {{{', '.join([f'max_age: {found[1]}s', *(f'{key}: true' for key in others)])}}}"


def _with_unit(text: str, units: dict[str, str], usual: tuple[str, ...], is_good: Callable[[str], bool]) -> str | None:
    """The remedy for a number whose unit is misspelt or left out; None for other texts.

    `usual`: the units of which one was probably meant if there is none.
    """
    found = _NUMBER_AND_UNIT.fullmatch(text)
    if found is None:
        return None
    meant = usual if not found[2] else tuple(units[each] for each in (found[2].lower(),) if each in units)
    good = [spelled for spelled in (f"{found[1]}{unit}" for unit in meant) if is_good(spelled)]
    return f"write {listing(good)}" if good else None


def _size(kind: Size, single: Single) -> int:
    def is_good(text: str) -> bool:
        return kind.minimum_bytes <= (parse_size(text) or 0) <= kind.maximum_bytes

    size_bytes = parse_size(single.text)
    if size_bytes is None:
        raise UnfitError(
            f"{quote(single.written)} is not a size",
            _with_unit(single.text, _SIZE_UNITS, ("",), is_good)
            or "write a number of bytes or one with a unit: 512, 32KiB, 2GiB, 10MB",
        )
    if not kind.minimum_bytes <= size_bytes <= kind.maximum_bytes:
        bounds = f"{format_size(kind.minimum_bytes)} to {format_size(kind.maximum_bytes)}"
        raise UnfitError(f"{quote(single.written)} is out of bounds", f"write a size from {bounds}")
    return size_bytes


_CONVERTERS: Final[dict[type, Callable[[Any, Single], str | int | float | bool | date]]] = {
    Text: _text,
    Choice: _choice,
    Flag: _flag,
    FlagOrDay: _flag_or_day,
    Whole: _whole,
    Duration: _duration,
    Size: _size,
}


def convert(kind: ScalarKind, single: Single) -> str | int | float | bool | date:
    """The converted value: durations in seconds, sizes in bytes. Raises `UnfitError`."""
    return _CONVERTERS[type(kind)](kind, single)


def is_other(text: str) -> bool:
    """True if YAML reads `text` without quotes as null, a boolean or a number."""
    if text in NULLS or text in _FLAGS:
        return True
    return bool(_NUMBER.fullmatch(text) or _SPECIAL_NUMBER.fullmatch(text))


def expected(kind: ScalarKind) -> str:
    """What to write for this kind, for a remedy."""
    match kind:
        case Text():
            return kind.example or kind.what
        case Choice():
            return listing(kind.words)
        case Flag():
            return "true or false"
        case FlagOrDay():
            return "true, false or a day such as 2027-03-01"
        case Whole():
            return f"a number from {kind.minimum} to {kind.maximum}"
        case Duration():
            seconds = min(max(_USUAL_SECONDS, kind.minimum_seconds), kind.maximum_seconds)
            return f"a duration such as {format_duration(seconds)}"
        case Size():
            size_bytes = min(max(_USUAL_BYTES, kind.minimum_bytes), kind.maximum_bytes)
            return f"a size such as {format_size(size_bytes)}"
