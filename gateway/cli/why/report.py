"""The answer in plain English: a few lines for a terminal, the phone in the other hand."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.cli.why.case import Case
from gateway.cli.why.changes import Change, certificate_name
from gateway.cli.why.history import Episode, Person, open_episode
from gateway.cli.why.lines import code_of, detail_of, path_of
from gateway.cli.why.registry import Certificate
from gateway.cli.why.survey import Found, label_of
from gateway.cli.why.verdict import Verdict
from gateway.cli.why.words import count_of, moment
from gateway.logs.reader import Hit
from gateway.logs.render import shown
from gateway.request_number import short_number

COLUMNS: Final = 100
_NAME_COLUMNS: Final = 15
MAX_LISTED: Final = 12
_MAX_CERTIFICATES: Final = 4


def rendered(lines: Sequence[tuple[str, str]]) -> str:
    """Names in a column, texts beside it, no control character anywhere. A command stays in one piece."""
    parts: list[str] = []
    for name, text in lines:
        safe = shown(text)
        if name == "command":
            parts.append(f"{'':<{_NAME_COLUMNS}} {safe}")
            continue
        wrapped = textwrap.wrap(
            safe,
            COLUMNS - _NAME_COLUMNS - 1,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
        parts += [f"{name if not index else '':<{_NAME_COLUMNS}} {line}".rstrip() for index, line in enumerate(wrapped)]
    return "\n".join(parts) + "\n"


def lines_of(case: Case, verdict: Verdict, taken: str, notes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The answer about one person."""
    yield "Who", taken
    yield from _success_lines(case)
    yield from _refusal_lines(case)
    for index, change in enumerate(case.changes):
        yield "" if index else "Changed", change_text(change)
    if case.episode is not None and case.before is not None and not case.changes:
        yield "Changed", "nothing that the log shows"
    for index, text in enumerate(registry_texts(case)):
        yield "" if index else "Registry", text
    yield "Lockout", lockout_text(case)
    if (observation := observation_text(case)) is not None:
        yield "Observation", observation
    for text in gateway_texts(case):
        yield "Gateway", text
    for note in notes:
        yield "Note", note
    yield "", ""
    yield (
        "Verdict",
        verdict.sentence[:1].upper() + verdict.sentence[1:]
        if verdict.sentence.startswith("the ")
        else verdict.sentence,
    )
    if verdict.causes:
        yield "Usual causes", "; ".join(verdict.causes) + "."
    yield "What helps", verdict.remedy
    if verdict.command is not None:
        yield "command", verdict.command


def _success_lines(case: Case) -> Iterator[tuple[str, str]]:
    before = case.before
    if before is None:
        if case.asked is None or code_of(case.asked):
            yield "Last success", "none in these files" + (" before the refusal" if case.person.success else "")
        return
    yield "Last success", request_text(case, before)
    yield "", _with_text(before)


def _refusal_lines(case: Case) -> Iterator[tuple[str, str]]:
    episode = case.episode
    if episode is None:
        if case.asked is not None:
            yield "The request", request_text(case, case.asked)
        return
    hit = case.shown
    yield "This refusal" if case.asked is not None else "First refusal", request_text(case, hit)
    yield "", refusal_text(hit)
    yield "", _with_text(hit)
    codes = ", ".join(f"{code} ×{count}" for code, count in sorted(episode.codes.items(), key=lambda each: -each[1]))
    since = count_of(episode.count, "refusal")
    if episode.count > 1:
        since += f" from {moment(episode.first.entry.time)} to {moment(episode.last.entry.time)}"
    yield "In all", f"{since} ({codes})"
    if code_of(episode.last) != code_of(hit) and case.asked is None:
        yield "Newest refusal", request_text(case, episode.last)
        yield "", refusal_text(episode.last)
    if episode.after is not None:
        yield "Since then", f"let in again: {request_text(case, episode.after)}"
    elif case.person.success is not None and case.person.success.entry.time > hit.entry.time:
        yield "Elsewhere", f"let in: {request_text(case, case.person.success)}, {_with_text(case.person.success)}"


def request_text(case: Case, hit: Hit) -> str:
    """When, from where, what."""
    entry = hit.entry
    text = f"{moment(entry.time)}, from {case.sources.inside.shown(entry.client_ip)}"
    if entry.method is None:
        return text
    host = entry.host or entry.site
    return f"{text}: {entry.method} {path_of(entry)}" + (f" on {host}" if host else "")


def _with_text(hit: Hit) -> str:
    entry = hit.entry
    certificate = certificate_name(entry)
    parts = ["no certificate" if certificate == "none" else f"certificate {certificate}"]
    if entry.user:
        parts.append(f"login {entry.user}")
    if entry.device_id:
        parts.append(f"device {entry.device_id}")
    if entry.rule:
        parts.append(f'rule "{entry.rule}"')
    return ", ".join(parts)


def refusal_text(hit: Hit) -> str:
    """Status, code and detail, and the number of the request."""
    entry, code = hit.entry, code_of(hit) or ""
    status = "no answer" if entry.status is None else str(entry.status)
    detail = detail_of(hit)
    number = f" (number {short_number(entry.request_id)})" if entry.request_id else ""
    return f"{status} {code}{f': {detail}' if detail else ''}{number}"


def change_text(change: Change) -> str:
    """`address: 10.0.0.5 → 203.0.113.9`."""
    return f"{change.what}: {change.before} → {change.after}"


def registry_texts(case: Case) -> list[str]:
    """What the registry says: of the shown certificate first."""
    registry = case.sources.registry
    if registry.problem is not None:
        return [f"not asked: {registry.problem}"]
    if not registry.authorities:
        return ["has no authority"]
    texts = []
    refused = case.certificate if case.episode is not None else None
    fingerprint = case.newest.entry.cert_fingerprint if case.episode is not None else None
    if fingerprint is not None and refused is None:
        texts.append("the certificate that was shown is not in the registry")
    chosen = [each for each in (refused, case.renewal if refused else None) if each is not None]
    chosen += [each for each in reversed(registry.certificates) if each not in chosen]
    texts += [certificate_text(case, each) for each in chosen[:_MAX_CERTIFICATES]]
    if len(chosen) > _MAX_CERTIFICATES:
        texts.append(f"and {len(chosen) - _MAX_CERTIFICATES} more")
    if not chosen and fingerprint is None:
        texts.append(
            "no certificate was ever issued to this name" if case.is_name else "not asked: the lines have no name"
        )
    return texts


def certificate_text(case: Case, certificate: Certificate) -> str:
    """One certificate of the registry."""
    who = certificate.email or certificate.name
    text = f"{certificate.serial} of {who}"
    if certificate.device:
        text += f" ({certificate.device})"
    match certificate.status:
        case "revoked" | "held":
            word = "on hold" if certificate.status == "held" else "revoked"
            why = (
                f", {certificate.reason}" if certificate.reason not in {None, "unspecified", "certificate-hold"} else ""
            )
            by = f" by {certificate.revoked_by}" if certificate.revoked_by else ""
            text += f": {word} since {moment(certificate.revoked)}{by}{why}"
        case "expired":
            text += f": expired {moment(certificate.ends)}"
        case "superseded":
            text += f": replaced by a newer one since {moment(certificate.superseded)}"
        case "pending":
            text += ": signed, but its files were never written"
        case _ if certificate.superseded is not None:
            text += f": renewed, and valid until {moment(min(certificate.superseded, certificate.ends))}"
        case _:
            text += f": valid from {moment(certificate.begins)} until {moment(certificate.ends)}"
    if certificate.renews is not None:
        text += f", renews {certificate.renews}"
    if not certificate.is_client:
        text += ", not for logging in"
    used = case.person.certificates.get(certificate.fingerprint)
    if used is not None:
        return f"{text}; last seen {moment(used.entry.time)}"
    return f"{text}; not seen in these files" if case.is_unseen(certificate) else text


def lockout_text(case: Case) -> str:
    """Whether the address or certificate is locked out now."""
    live = case.sources.live
    if live.state is None:
        return f"not asked: {live.problem}"
    hit = case.newest if case.episode is not None else case.person.success
    if hit is None:
        return "not asked: no address is known"
    entry = hit.entry
    found = live.lockout(entry.client_ip, entry.cert_fingerprint, entry.cert_email)
    if found is None:
        return f"{entry.client_ip or 'the address'} is not locked out now"
    holder = (
        ""
        if found["certificate"] is None
        else f" with the certificate of {found['holder'] or found['certificate'][:16]}"
    )
    minutes = max(1, round(found["seconds_left"] / 60))
    return f"{found['address']}{holder} is locked out for {count_of(minutes, 'more minute')}"


def observation_text(case: Case) -> str | None:
    """Whether a rule in observation lets in what it would refuse."""
    hit = case.person.observed
    if hit is None:
        return None
    outlook = case.sources.outlook(hit.entry.rule)
    return (
        f'the rule "{hit.entry.rule}" is in observation: it let in {hit.entry.method} {path_of(hit.entry)} at '
        f"{moment(hit.entry.time)} and would have refused it ({hit.entry.observed})"
        + (f"; {outlook}" if outlook else "")
    )


def gateway_texts(case: Case) -> list[str]:
    """Problems of the running gateway that refuse clients."""
    texts = list(case.sources.live.problems())
    state = case.sources.live.state
    if state is not None and case.episode is not None and "upstream" in case.code:
        for name, servers in state["upstreams"].items():
            down = [each for each in servers if not each["up_in"]]
            texts += [f"{name}: {each['server']} is down now: {each['cause'] or 'no cause'}" for each in down]
            if servers and not down:
                texts.append(f"{name}: all servers are up now")
    return texts


def listed(people: Sequence[Person], states: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Several people, each with what happened."""
    for person, state in zip(people[:MAX_LISTED], states, strict=False):
        yield "", f"{label_of(person)}: {state}"
    if len(people) > MAX_LISTED:
        yield "", f"and {len(people) - MAX_LISTED} more"


def refused_text(found: Found) -> str:
    """What was refused around a time, and whether it went on."""
    episode, entry = found.episode, found.hit.entry
    text = f"{moment(entry.time)} from {entry.client_ip}, {entry.method or 'handshake'} {path_of(entry)}".rstrip()
    text += f": {code_of(found.hit)}"
    if episode is None:
        return text
    after = "" if episode.after is None else f", let in again {moment(episode.after.entry.time)}"
    return f"{text} ×{episode.count}{after}"


def other_text(episode: Episode) -> str:
    """Refusals of the same person elsewhere, and what to ask for."""
    entry, code = episode.last.entry, code_of(episode.last)
    what = f"{entry.method} {path_of(entry)}" if entry.method else "a connection"
    device = f", device {entry.device_id}" if entry.device_id else ""
    ask = f"; ask for {short_number(entry.request_id)}" if entry.request_id else ""
    return f"refused too: {what}{device}, {code} ×{episode.count}, the last {moment(entry.time)}{ask}"


def state_text(person: Person) -> str:
    """A person's state in half a line."""
    episode = open_episode(person)
    success = "" if person.success is None else f"last let in {moment(person.success.entry.time)}"
    if episode is None:
        return success or count_of(person.lines, "line") + ", none of them a refusal"
    entry = episode.last.entry
    refused = (
        f"refused ×{episode.count} ({code_of(episode.last)}), the last {moment(entry.time)} from {entry.client_ip}"
    )
    return f"{refused}; {success}" if success else f"{refused}; never let in"
