"""One rule of the file, as data: what it matches, and what it does with requests that match.

Its patterns are parsed once, when the file is read: what was checked then is what decides on requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import inf
from typing import Literal

from gateway.facts import Action
from gateway.policy.hosts import HostPattern
from gateway.policy.uri import UriPattern

BindUser = Literal["email", "upn", "cn", "san"]


@dataclass(frozen=True, slots=True)
class CertificateConditions:
    """What a rule requires of a trusted certificate. All conditions must hold."""

    ca_fingerprints: frozenset[str] | None = None  # SHA-256 of CA certificates, lower-case hex; None: any
    subject: tuple[tuple[str, str], ...] = ()  # ("O", "Example Ltd"); values may hold * wildcards
    emails: tuple[str, ...] = ()  # patterns with *; empty: any
    fingerprints_sha256: frozenset[str] = frozenset()  # lower-case hex; empty: any
    bind_user: BindUser | None = None
    device_ids: frozenset[str] = frozenset()  # empty: any


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its patterns parsed. None stands for "every"."""

    name: str
    action: Action
    line: int  # in the YAML file, from 1
    networks: tuple[str, ...] | None = None  # network names and CIDRs, as written
    hosts: tuple[HostPattern, ...] | None = None
    uris: tuple[UriPattern, ...] | None = None
    methods: frozenset[str] | None = None  # upper case
    certificate: CertificateConditions | None = None
    enforce: bool | date = True  # only for require_certificate: whether, or from which day on (00:00 UTC), it refuses

    @property
    def enforced_from(self) -> float:
        """When the rule begins to refuse, in Unix seconds; until then it is in observation."""
        if isinstance(self.enforce, bool):
            return -inf if self.enforce else inf
        return datetime(self.enforce.year, self.enforce.month, self.enforce.day, tzinfo=UTC).timestamp()

    def refuses_at(self, now: float) -> bool:
        """Whether the rule refuses at `now` (Unix seconds). If not, it is in observation."""
        return self.enforce if isinstance(self.enforce, bool) else self.enforced_from <= now
