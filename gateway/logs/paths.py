"""Paths in an access log, compared with a pattern as rules write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from gateway.config.uri_patterns import read_pattern
from gateway.errors import PatternError, UsageError
from gateway.policy.characters import fold
from gateway.policy.uri import UriPattern, UriRejected, normalise

_MIN_BEGINNING: Final = 2  # every path begins with a slash
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


# A path with another character, or with one of these sequences, may have another spelling or several readings.
_ORDINARY: Final = "A-Za-z0-9_~!$&'*,=@./-"
_UNUSUAL: Final = rf"""[^"?]*(?:[^"?{_ORDINARY}]|//|/[.]|[.](?:[/?]|"))"""
_LITERAL: Final = re.compile(r"/[A-Za-z0-9/_-]*")
_REPEATED: Final = frozenset("*?{")  # after a character that may then be missing


def parse(option: str, text: str) -> UriPattern:
    """A pattern as rules write it. Raises `UsageError` for what is none."""
    try:
        return read_pattern(text).pattern
    except PatternError as error:
        raise UsageError(f"{option}: {error.cause}", error.remedy) from error


def path_test(pattern: UriPattern) -> Callable[[str], bool]:
    """Whether a path, without its query, matches the pattern."""
    return lambda path: any(pattern.matches(form) for form in _forms(path))


def path_finder(pattern: UriPattern) -> str | None:
    """What the text of each path that matches begins with, in RE2 syntax; None if that could be anything."""
    begins = _beginning(pattern)
    return f"(?:(?i:{re.escape(begins)})|{_UNUSUAL})" if len(begins) >= _MIN_BEGINNING else None


def _beginning(pattern: UriPattern) -> str:
    """What all matching paths in ASCII begin with."""
    if pattern.kind != "regex":
        return pattern.folded if pattern.folded.isascii() else "/\\"  # such a path is never ordinary
    text = pattern.text[1:]
    found = _LITERAL.match(text)
    if found is None or "|" in text:
        return ""
    return found[0][:-1] if text[found.end() :][:1] in _REPEATED else found[0]


def _forms(path: str) -> tuple[str, ...]:
    """What rules look at, and all that servers may read; or the path as it came, if rules never saw it."""
    path = _ORIGIN.sub("", path, count=1) or "/"
    try:
        target = normalise(path.encode("utf-8", "surrogatepass"))
    except UriRejected:
        return (fold(unquote(path)),)
    return (target.match, *target.readings)
