"""The verdict: one sentence that says why, one that says what to do, and one command.

The table of reasons explains each code. Some causes are seen only if the log is joined with the registry, or a refusal
with the last success: those are here, and come first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.cli.why import causes_certificate, changes
from gateway.cli.why.case import Case
from gateway.cli.why.commands import command_of
from gateway.cli.why.explanation import Explanation, explanation_of
from gateway.cli.why.history import closed_episode
from gateway.cli.why.lines import path_of
from gateway.cli.why.missing import missing_certificate
from gateway.cli.why.reasons import TABLE
from gateway.cli.why.words import Said, moment
from gateway.facts import Reason
from gateway.logs.filters import HANDSHAKE_FAILED

# Causes that an edited rule, or another part of the configuration, can have.
_OF_CONFIGURATION: Final = frozenset(
    {
        Reason.CERTIFICATE_MISSING,
        "other_network",
        "never_installed",
        "never_issued",
        "no_valid_certificate",
        "wrong_ca",
        "ca_not_in_client_ca",
        "intermediate_missing",
        "no_client_ca",
        "list_missing",
        Reason.CERTIFICATE_NOT_ALLOWED,
        "device_not_listed",
        "no_device_id",
        Reason.USER_MISMATCH,
        "wrong_login",
        "certificate_without_email",
        Reason.DENIED_BY_RULE,
        Reason.NO_RULE,
        Reason.HOST_MISMATCH,
    }
)
_BEFORE_LOCKOUT: Final = timedelta(hours=1)  # in which the failures that count must be
_BY_CLIENT: Final = (changes.NETWORK, changes.CERTIFICATE, changes.LOGIN, changes.DEVICE, changes.PATH)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer."""

    code: str  # the reason code
    name: str  # the cause
    sentence: str
    remedy: str
    command: str | None
    causes: tuple[str, ...] = ()


def verdict_of(case: Case) -> Verdict:
    """Why, and what to do."""
    code = case.code
    explanation, groups = explanation_of(code, case.detail, TABLE)
    said = next((said for each in _SPECIAL.get(code, ()) if (said := each(case)) is not None), None)
    fields = fields_of(case) | groups
    if said is None:
        said = Said(
            explanation.name,
            explanation.sentence.format_map(fields),
            explanation.remedy.format_map(fields),
            explanation.commands,
        )
    said = _because_of_configuration(case, said) or _because_of_network(case, said) or said
    causes = () if said.name != explanation.name else _causes(explanation, fields)
    return Verdict(
        code, said.name, said.sentence, said.remedy, command_of((*said.commands, "line"), case.known()), causes
    )


def _causes(explanation: Explanation, fields: dict[str, str]) -> tuple[str, ...]:
    return tuple(cause.format_map(fields) for cause in explanation.causes)


def fields_of(case: Case) -> dict[str, str]:
    """What texts may name."""
    entry = case.newest.entry
    detail = case.detail.rstrip(". ") or "the log has no detail"
    host = entry.host or entry.site or "this site"
    path = path_of(entry)
    return {
        "who": case.who,
        "holder": case.holder,
        "login": entry.user or "the login",
        "rule": entry.rule or "no name",
        "detail": detail,
        "address": entry.client_ip or "this address",
        "place": f"{entry.method} {path}" if entry.method and path else f"requests to {host}",
        "device": entry.device_id or "the device",
        "issuer": case.more.cert_issuer or "another CA",
        "host": host,
        "status": str(entry.status or "none"),
    }


def _because_of_configuration(case: Case, said: Said) -> Said | None:
    """Whether the same request was let in before the configuration was changed."""
    before = case.before
    if before is None or said.name not in _OF_CONFIGURATION:
        return None
    by_client = {what for what in _BY_CLIENT if case.changed(what) is not None}
    if said.name in {Reason.DENIED_BY_RULE, Reason.NO_RULE} and case.newest.entry.cert_fingerprint is None:
        by_client.discard(changes.CERTIFICATE)  # where no rule requires a certificate, the handshake asks for none
    if by_client:
        return None
    config, rule = case.changed(changes.CONFIG), case.changed(changes.RULE)
    observed = before.entry.observed
    if observed == case.code and rule is None:
        return Said(
            "observation_ended",
            f'The rule "{case.newest.entry.rule}" was in observation and let this request in until '
            f"{moment(before.entry.time)}. Now it refuses. {said.sentence}",
            said.remedy,
            said.commands,
        )
    if config is None and (rule is None or case.changed(changes.ADDRESS) is not None):
        return None
    words = [f"The configuration was changed after {moment(before.entry.time)}"]
    if config is not None:
        words.append(f" ({config.before} → {config.after})")
    if rule is not None:
        words.append(f': before, the rule "{before.entry.rule or "none"}" let the same request in')
    else:
        words.append(", and the same request was let in before")
    return Said(
        "configuration_changed",
        f"{''.join(words)}. {said.sentence}",
        "Compare the configuration with the one before; if the change was not meant so, take it back and reload.",
        ("explain", "check", "rule", "line"),
    )


def _because_of_network(case: Case, said: Said) -> Said | None:
    """Whether a rule for another network decided before."""
    before, network = case.before, case.changed(changes.NETWORK)
    if before is None or network is None or said.name not in {Reason.DENIED_BY_RULE, Reason.NO_RULE}:
        return None
    if any(map(case.changed, (changes.LOGIN, changes.DEVICE, changes.PATH))) or case.changed(changes.RULE) is None:
        return None
    shown = case.sources.inside.shown
    return Said(
        "other_network",
        f'From {shown(before.entry.client_ip)}, the rule "{before.entry.rule or "none"}" let {case.who} in. Now the '
        f"requests come from {shown(case.newest.entry.client_ip)}. {said.sentence}",
        said.remedy,
        said.commands,
    )


def _mismatch(case: Case) -> Said | None:
    entry = case.newest.entry
    if "does not belong to the certificate" not in case.detail or entry.cert_email is not None:
        return None
    if "(email)" not in case.detail:
        return None
    return Said(
        "certificate_without_email",
        f'The certificate of {case.holder} has no e-mail address, and the rule "{entry.rule}" compares the login '
        f"{entry.user or ''} with it.",
        "Issue a certificate with the e-mail address, or use bind_user: cn in the rule.",
        ("issue", "certificate_lines"),
    )


def _locked(case: Case) -> Said | None:
    episode = case.episode
    entry = case.newest.entry
    who = re.search(r"too many failed attempts from ([^;]*)", case.detail)
    lockout = case.sources.live.lockout(entry.client_ip, entry.cert_fingerprint, entry.cert_email)
    counts = {} if episode is None else {code: count for code, count in episode.codes.items() if code != "locked_out"}
    ended = closed_episode(case.person)
    if not counts and ended is not None and entry.time - ended.last.entry.time < _BEFORE_LOCKOUT:
        counts = ended.codes  # a request without a login was let in meanwhile
    before = ", ".join(f"{code} ×{count}" for code, count in sorted(counts.items(), key=lambda each: -each[1]))
    otherwise = re.search(r"; otherwise (.*)", case.detail, re.DOTALL)
    state = ""
    if lockout is not None:
        state = f" The lockout ends {moment(datetime.fromisoformat(lockout['ends']))}."
    elif case.sources.live.state is not None:
        state = " The lockout is over now."
    cause = f" Before: {before}." if before else ""
    if not before and case.is_name and who is not None and " with the certificate " not in who[1]:
        cause = f" None of the failed attempts has the name of {case.who}: they may be of others at this address."
    if otherwise is not None and not before:
        cause += f" Without the lockout: {otherwise[1].rstrip('.')}."
    return Said(
        Reason.LOCKED_OUT,
        f"{who[1] if who else entry.client_ip} was locked out after too many failed attempts.{cause}{state}",
        "Correct the password or certificate on the device first; then end the lockout, or wait for its end.",
        ("unban",) if lockout is not None or case.sources.live.state is None else ("wrong_passwords",),
    )


def _handshake(case: Case) -> Said | None:
    """Whose fault it is that a device finds the site's certificate expired: the gateway knows when it ends."""
    state = case.sources.live.state
    if state is None or "alert certificate expired" not in case.detail or not state["sites"]:
        return None
    ended = [site for site in state["sites"] if site["certificate"]["seconds_left"] <= 0]
    if ended:
        name, end = ended[0]["name"], moment(datetime.fromisoformat(ended[0]["certificate"]["ends"]))
        return Said(
            "server_certificate_expired",
            f"The certificate of {name} ended {end}, so the device of {case.who} ended the handshake.",
            "Renew the site's certificate.",
            ("status",),
        )
    return Said(
        "clock_of_device",
        f"The device of {case.who} says that the certificate of this site has expired, but it is valid: the clock of "
        "the device is wrong, or an intermediate in the file has expired.",
        "Correct the date and time of the device; if others are refused too, look at the intermediates in the file.",
        ("check",),
    )


_SPECIAL: Final[dict[str, tuple[Callable[[Case], Said | None], ...]]] = {
    Reason.CERTIFICATE_MISSING: (missing_certificate,),
    Reason.CERTIFICATE_EXPIRED: (causes_certificate.expired,),
    Reason.CERTIFICATE_REVOKED: (causes_certificate.revoked,),
    Reason.CERTIFICATE_NOT_YET_VALID: (causes_certificate.not_yet,),
    Reason.CERTIFICATE_UNTRUSTED: (causes_certificate.untrusted,),
    Reason.USER_MISMATCH: (_mismatch,),
    Reason.LOCKED_OUT: (_locked,),
    HANDSHAKE_FAILED: (_handshake,),
}
