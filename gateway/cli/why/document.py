"""The answer as JSON, for scripts. Keys are only added."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.cli.why.case import Case
from gateway.cli.why.history import Person, open_episode
from gateway.cli.why.lines import code_of, detail_of, more_of
from gateway.cli.why.registry import Certificate
from gateway.cli.why.report import gateway_texts
from gateway.cli.why.survey import label_of
from gateway.cli.why.verdict import Verdict
from gateway.logs.reader import Hit


def people_document(
    who: str, taken: Sequence[str], about: str, people: Sequence[Person], options: Sequence[str]
) -> dict[str, Any]:
    """The answer if WHO matches several people, or the log has no lines of WHO."""
    found = []
    for person, option in zip(people, options, strict=True):
        episode = open_episode(person)
        found.append(
            {
                "who": label_of(person),
                "ask_for": option,
                "last_success": _time(person.success),
                "last_refusal": None if episode is None else _time(episode.last),
                "reason": None if episode is None else code_of(episode.last),
                "refusals": 0 if episode is None else episode.count,
            }
        )
    return {"asked": who, "taken_for": list(taken), "who": None, "about": about, "people": found, "verdict": None}


def document_of(who: str, taken: Sequence[str], case: Case, verdict: Verdict, notes: Sequence[str]) -> dict[str, Any]:
    """The answer about one person."""
    episode, sources, person = case.episode, case.sources, case.person
    registry, state = sources.registry, sources.live.state
    hit = case.newest if episode is not None else person.success
    lockout = (
        None
        if hit is None
        else sources.live.lockout(hit.entry.client_ip, hit.entry.cert_fingerprint, hit.entry.cert_email)
    )
    return {
        "asked": who,
        "taken_for": list(taken),
        "who": case.who,
        "people": None,
        "is_likely": case.is_likely,
        "last_success": _line(case, case.before),
        "first_refusal": None if episode is None else _line(case, episode.first),
        "last_refusal": None if episode is None else _line(case, episode.last),
        "refusals": 0 if episode is None else episode.count,
        "reasons": {} if episode is None else episode.codes,
        "let_in_again": None if episode is None else _time(episode.after),
        "newest_success": _line(case, person.success),
        "changed": [change._asdict() for change in case.changes],
        "registry": {
            "problem": registry.problem,
            "authorities": [each.name for each in registry.authorities],
            "certificates": [_certificate(case, each) for each in registry.certificates],
            "shown_is_known": None
            if hit is None or hit.entry.cert_fingerprint is None
            else case.sources.registry.certificate(hit.entry.cert_fingerprint) is not None,
        },
        "lockout": {
            "problem": None if state is not None else sources.live.problem,
            "is_locked_out": None if state is None else lockout is not None,
            "address": None if lockout is None else lockout["address"],
            "certificate": None if lockout is None else lockout["certificate"],
            "ends": None if lockout is None else lockout["ends"],
        },
        "observed": None
        if person.observed is None
        else {
            "rule": person.observed.entry.rule,
            "reason": person.observed.entry.observed,
            "time": _time(person.observed),
        },
        "gateway": gateway_texts(case),
        "notes": list(notes),
        "verdict": {
            "reason": verdict.code or None,
            "cause": verdict.name,
            "text": verdict.sentence,
            "usual_causes": list(verdict.causes),
            "remedy": verdict.remedy,
            "command": verdict.command,
        },
    }


def _time(hit: Hit | None) -> str | None:
    return None if hit is None else _stamp(hit.entry.time)


def _stamp(time: datetime | None) -> str | None:
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def _line(case: Case, hit: Hit | None) -> dict[str, Any] | None:
    if hit is None:
        return None
    entry, more = hit.entry, more_of(hit)
    return {
        "time": _stamp(entry.time),
        "request_id": entry.request_id,
        "client_ip": entry.client_ip,
        "network": case.sources.inside.word(entry.client_ip),
        "site": entry.site,
        "method": entry.method,
        "host": entry.host,
        "uri": entry.uri,
        "status": entry.status,
        "reason": code_of(hit) or None,
        "detail": detail_of(hit) or None,
        "rule": entry.rule,
        "cert_serial": entry.cert_serial,
        "cert_fingerprint": entry.cert_fingerprint,
        "cert_email": entry.cert_email,
        "user": entry.user,
        "device_id": entry.device_id,
        "config": more.config,
    }


def _certificate(case: Case, each: Certificate) -> dict[str, Any]:
    used = case.person.certificates.get(each.fingerprint)
    return {
        "serial": each.serial,
        "fingerprint": each.fingerprint,
        "authority": each.authority,
        "name": each.name,
        "email": each.email,
        "device": each.device,
        "state": each.status,
        "not_before": _stamp(each.begins),
        "not_after": _stamp(each.ends),
        "superseded_at": _stamp(each.superseded),
        "revoked_at": _stamp(each.revoked),
        "revocation_reason": each.reason,
        "renews": each.renews,
        "last_used": _time(used),
    }
