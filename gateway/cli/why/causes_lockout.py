"""Why a client is locked out: whose failed attempts were counted, and what would refuse it even without the lockout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gateway.cli.why.case import Case
from gateway.cli.why.history import Episode
from gateway.cli.why.lines import WRONG_PASSWORD
from gateway.cli.why.words import NO_NAME, Said, moment
from gateway.facts import Reason
from gateway.logs.filters import REASONS
from gateway.logs.reader import Hit

BEFORE_LOCKOUT: Final = timedelta(hours=1)  # in which the failures that count must be
_FROM: Final = re.compile(r"too many failed attempts from ([^;]*)")
_REFUSED_TOO: Final = re.compile(r"; otherwise (?P<code>[a-z_]+): (?P<detail>.*)", re.DOTALL)


def locked_out(case: Case, explain: Callable[[Case], Said]) -> Said:
    """The failed attempts before; if the request would be refused all the same, why, by `explain`."""
    entry = case.newest.entry
    named = _FROM.search(case.detail)
    who = named[1] if named is not None else entry.client_ip or "This address"
    said = f"{who} was locked out after too many failed attempts.{_before(case, who)}"
    lockout = case.sources.live.lockout(entry.client_ip, entry.cert_fingerprint, entry.cert_email)
    state = ""
    if lockout is not None:
        state = f" The lockout ends {moment(datetime.fromisoformat(lockout['ends']))}."
    elif case.sources.live.state is not None:
        state = " The lockout is over now."
    is_over = lockout is None and case.sources.live.state is not None
    other = refusal_without_lockout(case)
    if other is not None:
        told = explain(other)
        is_whole = other.newest.entry.rule is not None or NO_NAME not in told.sentence
        why = told.sentence if is_whole else f"{other.detail.rstrip('.')}."
        end = "" if is_over else " The lockout ends by itself, or with gateway status --unban."
        return Said(
            Reason.LOCKED_OUT,
            f"{said}{state} Without the lockout, the request would be refused too: {why}",
            f"{told.remedy}{end}",
            ("unban",),
            told.command,
        )
    if "; otherwise " in case.detail:
        said += " Without the lockout, the request would be let in."
    return Said(
        Reason.LOCKED_OUT,
        f"{said}{state}",
        "Correct the password or certificate on the device first; then end the lockout, or wait for its end.",
        ("wrong_passwords",) if is_over else ("unban",),
    )


def refusal_without_lockout(case: Case) -> Case | None:
    """The same request as it would be refused without the lockout; None if it would be let in."""
    found = _REFUSED_TOO.search(case.detail)
    if found is None or found["code"] not in REASONS:
        return None
    return as_refused(case, case.newest, found["code"], found["detail"])


def as_refused(case: Case, hit: Hit, code: str, detail: str | None) -> Case:
    """A case of its own of a request that would be refused with this code, without what was before."""
    rules = [each.first.entry.rule for each in _episodes(case) if code in each.codes]
    rule = hit.entry.rule or next(iter(rules), None)
    other = Hit(hit.line, msgspec.structs.replace(hit.entry, reason=code, detail=detail, rule=rule))
    episode = Episode(None, other, other, 1, {code: 1})
    return Case(case.person, case.who, case.sources, episode, is_name=case.is_name)


def _before(case: Case, who: str) -> str:
    entry = case.newest.entry
    counts: dict[str, int] = {}
    for episode in _episodes(case):
        gap = entry.time - episode.last.entry.time
        is_own = episode is case.episode
        if not is_own and not timedelta(0) <= gap < BEFORE_LOCKOUT:
            continue
        device = episode.last.entry.device_id
        place = f" (device {device})" if device is not None and device != entry.device_id else ""
        for code, count in episode.codes.items():
            if is_own or code == WRONG_PASSWORD or code.startswith("certificate_"):
                counts[f"{code} ×{{}}{place}"] = counts.get(f"{code} ×{{}}{place}", 0) + count
    counts = {text: count for text, count in counts.items() if not text.startswith(Reason.LOCKED_OUT)}
    if counts:
        texts = [text.replace("{}", str(count)) for text, count in sorted(counts.items(), key=lambda each: -each[1])]
        return f" Before: {', '.join(texts)}."
    if case.is_name and " with the certificate " not in who:
        return f" None of the failed attempts has the name of {case.who}: they may be of others at this address."
    return ""


def _episodes(case: Case) -> Iterator[Episode]:
    """All refusals that are known of the person, this case's first."""
    if case.episode is not None:
        yield case.episode
    for track in case.person.tracks.values():
        yield from (each for each in (track.open, track.closed) if each is not None and each is not case.episode)
