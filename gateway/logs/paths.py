"""Paths in an access log, compared with a pattern as rules write it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from gateway.config.uri_patterns import read_pattern
from gateway.errors import UsageError
from gateway.policy.characters import fold
from gateway.policy.rules import PatternError
from gateway.policy.uri import UriRejected, normalise

_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def path_test(option: str, text: str) -> Callable[[str], bool]:
    """Whether a path, without its query, matches the pattern. Raises `UsageError` for what is no pattern."""
    try:
        pattern = read_pattern(text).pattern
    except PatternError as error:
        raise UsageError(f"{option}: {error.cause}", error.remedy) from error
    return lambda path: any(pattern.matches(form) for form in _forms(path))


def _forms(path: str) -> tuple[str, ...]:
    """What rules look at, and all that servers may read; or the path as it came, if rules never saw it."""
    path = _ORIGIN.sub("", path, count=1) or "/"
    try:
        target = normalise(path.encode("utf-8", "surrogatepass"))
    except UriRejected:
        return (fold(unquote(path)),)
    return (target.match, *target.readings)
