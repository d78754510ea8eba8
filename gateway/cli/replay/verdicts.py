"""Compares what was decided on logged requests with what the rules of a configuration decide on them.

Keeps true: a request counts as unchanged only if the rules are sure to decide as before. Memory is constant, whatever
the log holds: verdicts are remembered for `MAX_REMEMBERED` different requests, and of each kind `MAX_CHANGES` changes
are listed; others are still counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.cli.replay.facts import LET_IN_AND_FAILED, Facts
from gateway.config.model import Config
from gateway.facts import Reason
from gateway.logs.entry import CombinedEntry, Entry
from gateway.logs.filters import REASONS
from gateway.logs.render import who_of
from gateway.policy.partial import PartialRules
from gateway.policy.rules import Rule

MAX_REMEMBERED: Final = 20_000  # different requests, at most 32 MiB; a log of a day has fewer
MAX_CHANGES: Final = 5_000  # of each kind, so that scans of the internet leave room for people
SHOWN_SEGMENTS: Final = 2  # of a path: `/owa/auth/…`
MAX_PEOPLE: Final = 1_000  # named for each fact that is missing
UNRECOGNISED_NAME: Final = "unrecognized_name"  # no site answers to the host: the handshake fails
COMBINED: Final = "combined"  # what is missing in lines of the combined format
# Why lines say nothing of the rules, besides reason codes.
NO_REQUEST: Final = "no_request"
NO_RULE_ASKED: Final = "no_rule_asked"
OTHER: Final = "other"

_OF_RULES: Final = frozenset(
    reason.value
    for reason in (
        Reason.CERTIFICATE_MISSING,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.CERTIFICATE_UNTRUSTED,
        Reason.CERTIFICATE_REVOKED,
        Reason.CERTIFICATE_WRONG_USAGE,
        Reason.CERTIFICATE_NOT_ALLOWED,
        Reason.USER_MISMATCH,
        Reason.DENIED_BY_RULE,
        Reason.NO_RULE,
        Reason.REVOCATION_UNKNOWN,
    )
)


class Kind(StrEnum):
    """How a verdict changes, in the order in which changes are shown."""

    SHUT_OUT = "shut_out"
    LET_IN = "let_in"
    OTHER_REASON = "other_reason"


class Verdict(NamedTuple):
    """What a request gets. `reason` None: it is let in."""

    reason: str | None
    rule: str | None
    observed: str | None = None  # a rule in observation lets it in and would refuse it so
    enforce: str | None = None  # from when on it refuses: a day, or "" if none is set


class Change(NamedTuple):
    """Requests of one person whose verdict changes in the same way."""

    kind: Kind
    person: str
    address: str
    method: str
    site: str
    path: str
    was: Verdict
    would_be: Verdict


@dataclass(slots=True)
class Seen:
    """How often something was seen, and when last."""

    count: int
    last: datetime


@dataclass(slots=True)
class Unknown:
    """Requests for which the log lacks something."""

    count: int = 0
    people: dict[str, int] = field(default_factory=dict)  # by person, for at most `MAX_PEOPLE`


class _Found(NamedTuple):
    kind: Kind | None  # None: unchanged
    would_be: Verdict | None  # None: it can't be told
    missing: str | None


_UNCHANGED: Final = _Found(None, None, None)


class Replay:
    """Replays lines, and holds what was found."""

    def __init__(self, config: Config, now: datetime) -> None:
        self.unchanged = 0
        self.changed = 0
        self.unlisted = 0  # changes beyond `MAX_CHANGES`
        self.changes: dict[Change, Seen] = {}
        self.unknown: dict[str, Unknown] = {}  # by what is missing
        self.not_judged: dict[str, int] = {}  # by reason; lines on which rules decided nothing
        self._facts = Facts(config)
        self._rules = PartialRules(config.rules, config.networks, now.timestamp())
        self._remembered: dict[tuple[object, ...], _Found] = {}
        self._listed = dict.fromkeys(Kind, 0)

    @property
    def cannot_tell(self) -> int:
        """Requests for which the log lacks something."""
        return sum(each.count for each in self.unknown.values())

    @property
    def requests(self) -> int:
        """Requests on which rules decided."""
        return self.unchanged + self.changed + self.cannot_tell

    def take(self, entries: Iterable[Entry]) -> None:
        """Replay these lines."""
        for entry in entries:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        if type(entry) is CombinedEntry:
            self._note_unknown(entry, COMBINED)
            return
        if (why := _why_not_judged(entry)) is not None:
            self.not_judged[why] = self.not_judged.get(why, 0) + 1
            return
        found = self._found(entry)
        if found is _UNCHANGED:
            self.unchanged += 1
        elif found.kind is None or found.would_be is None:
            self._note_unknown(entry, found.missing or "")
        else:
            self._note_change(entry, found.kind, found.would_be)

    def _found(self, entry: Entry) -> _Found:
        key = _key(entry)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._judge(entry)
        return found

    def _judge(self, entry: Entry) -> _Found:
        placed = self._facts.place(entry)
        if placed.host is not None and placed.site is None:
            return _compared(_was(entry), Verdict(UNRECOGNISED_NAME, None))
        outcomes = self._rules.outcomes(self._facts.request_of(entry, placed))
        if (told := outcomes.told) is None:
            return _Found(None, None, outcomes.missing[0].value)
        rule = told.rule
        return _compared(
            _was(entry),
            Verdict(
                None if told.reason is None else told.reason.value,
                None if rule is None else rule.name,
                None if told.observed is None else told.observed.value,
                None if told.observed is None or rule is None else _enforced(rule),
            ),
        )

    def _note_unknown(self, entry: Entry, missing: str) -> None:
        unknown = self.unknown.setdefault(missing, Unknown())
        unknown.count += 1
        person = person_of(entry)
        if person in unknown.people or len(unknown.people) < MAX_PEOPLE:
            unknown.people[person] = unknown.people.get(person, 0) + 1

    def _note_change(self, entry: Entry, kind: Kind, would_be: Verdict) -> None:
        self.changed += 1
        change = Change(
            kind,
            who_of(entry),
            entry.client_ip or "",
            entry.method or "",
            entry.host or entry.site or "",
            _shortened((entry.uri or "").partition("?")[0]),
            _was(entry),
            would_be,
        )
        seen = self.changes.get(change)
        if seen is not None:
            seen.count += 1
            seen.last = max(seen.last, entry.time)
        elif self._listed[kind] < MAX_CHANGES:
            self._listed[kind] += 1
            self.changes[change] = Seen(1, entry.time)
        else:
            self.unlisted += 1


def person_of(entry: Entry) -> str:
    """The login or the certificate's holder, or else the address."""
    return who_of(entry) or entry.client_ip or "-"


def _key(entry: Entry) -> tuple[object, ...]:
    """All that the verdict depends on. Rules look at no query but ActiveSync's."""
    uri = entry.uri or ""
    path = uri.partition("?")[0]
    if "%" in path or "sync" in path.lower():
        path = uri
    return (
        *(entry.client_ip, entry.client_port is None, entry.site, entry.host, entry.method, path),
        *(entry.reason, entry.observed, entry.rule, entry.decision, entry.login, entry.user, entry.device_id),
        *(entry.cert_fingerprint, entry.cert_subject, entry.cert_issuer, entry.cert_email),
        (entry.detail or "").startswith("the Destination: "),
    )


def _shortened(path: str) -> str:
    """Webmail has thousands of paths, and rules name their beginnings."""
    parts = path.split("/", SHOWN_SEGMENTS + 1)
    return "/".join([*parts[:-1], "…"]) if len(parts) > SHOWN_SEGMENTS + 1 and parts[-1] else path


def _why_not_judged(entry: Entry) -> str | None:
    """Why the line says nothing of the rules; None if they decided."""
    reason = None if entry.reason is None else entry.reason.partition(": ")[0]
    if entry.method is None:
        return reason if reason in REASONS else NO_REQUEST
    if reason is not None and reason not in REASONS:
        return OTHER
    if reason in _OF_RULES:
        return None
    if entry.rule is None:
        return reason or NO_RULE_ASKED
    return None if reason is None or reason in LET_IN_AND_FAILED else reason


def _was(entry: Entry) -> Verdict:
    refused = entry.reason if entry.reason in _OF_RULES else None
    return Verdict(refused, entry.rule, None if refused else entry.observed)


def _enforced(rule: Rule) -> str:
    return "" if isinstance(rule.enforce, bool) else rule.enforce.isoformat()


def _compared(was: Verdict, would_be: Verdict) -> _Found:
    """A rule in observation counts as what it does from its day on, and until then as letting in."""
    if was.reason is None:
        if would_be.reason is None and would_be.observed is None:
            return _UNCHANGED
        return _Found(Kind.SHUT_OUT, would_be, None)
    if would_be.reason is None:
        return _Found(Kind.LET_IN, would_be, None)
    return _UNCHANGED if would_be.reason == was.reason else _Found(Kind.OTHER_REASON, would_be, None)
