"""Rules from patterns as they are written in the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.facts import Action
from gateway.policy.hosts import parse_host_pattern
from gateway.policy.rules import Rule
from gateway.policy.uri import parse_pattern


def rule_of(
    name: str,
    action: Action,
    line: int,
    *,
    hosts: Sequence[str] | None = None,
    uris: Sequence[str] | None = None,
    **conditions: Any,
) -> Rule:
    """A rule whose `hosts` and `uris` are parsed, as the loader does it."""
    return Rule(
        name,
        action,
        line,
        hosts=None if hosts is None else tuple(map(parse_host_pattern, hosts)),
        uris=None if uris is None else tuple(map(parse_pattern, uris)),
        **conditions,
    )
