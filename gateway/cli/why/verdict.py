"""The verdict: one sentence that says why, one that says what to do, and one command.

The table of reasons explains each code. Some causes are seen only if the log is joined with the registry, or a refusal
with the last success: those are here, and come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.cli.why import causes_certificate, causes_lockout, changes
from gateway.cli.why.case import Case
from gateway.cli.why.commands import command_of
from gateway.cli.why.explanation import Explanation, explanation_of
from gateway.cli.why.lines import login_of, path_of
from gateway.cli.why.missing import missing_certificate
from gateway.cli.why.reasons import TABLE
from gateway.cli.why.words import NO_NAME, Said, moment
from gateway.facts import Reason
from gateway.logs.filters import HANDSHAKE_FAILED
from gateway.logs.reader import Hit

# Causes that an edited rule, or another part of the configuration, can have.
_OF_CONFIGURATION: Final = frozenset(
    {
        Reason.CERTIFICATE_MISSING,
        "other_network",
        "never_installed",
        "never_issued",
        "no_valid_certificate",
        "program_without_certificates",
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
    is_certain = said.name != explanation.name or said.command is not None
    causes = () if is_certain else _causes(explanation, fields)
    command = said.command or command_of((*said.commands, "line"), case.known())
    return Verdict(code, said.name, said.sentence, said.remedy, command, causes)


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
        "rule": entry.rule or NO_NAME,
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
    if before.entry.observed == case.code and case.changed(changes.RULE) is None:
        return Said(
            "observation_ended",
            f'The rule "{case.newest.entry.rule}" was in observation and let this request in until '
            f"{moment(before.entry.time)}. Now it refuses. {said.sentence}",
            said.remedy,
            said.commands,
        )
    if changes.has_same_configuration(before, case.newest):
        return None  # if another rule decided, the request was another one
    return _changed_configuration(case, before, said)


def _changed_configuration(case: Case, before: Hit, said: Said) -> Said | None:
    config, rule = case.changed(changes.CONFIG), case.changed(changes.RULE)
    is_same = changes.is_same_request(before, case.newest)
    if config is None and (rule is None or not is_same or case.changed(changes.ADDRESS) is not None):
        return None
    when = moment(before.entry.time) + ("" if config is None else f" ({config.before} → {config.after})")
    if not is_same and said.name == Reason.HOST_MISMATCH:
        return None
    if not is_same and rule is not None:
        return said._replace(
            sentence=f"{said.sentence} The configuration was changed after {when}: the rule may be new."
        )
    if rule is not None:
        what = f': before, the rule "{before.entry.rule or "none"}" let the same request in'
    else:
        what = f", and {'the same request' if is_same else 'a request like this one'} was let in before"
    return Said(
        "configuration_changed",
        f"The configuration was changed after {when}{what}. {said.sentence}",
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
    if "does not belong to the certificate" not in case.detail:
        return None
    if entry.cert_email is not None:
        return _with_own_certificate(case)
    if "(email)" not in case.detail:
        return None
    return Said(
        "certificate_without_email",
        f'The certificate of {case.holder} has no e-mail address, and the rule "{entry.rule}" compares the login '
        f"{entry.user or ''} with it.",
        "Issue a certificate with the e-mail address, or use bind_user: cn in the rule.",
        ("issue", "certificate_lines"),
    )


def _with_own_certificate(case: Case) -> Said | None:
    """Whether the person who logs in has a certificate besides the one of somebody else that was shown."""
    login = login_of(case.newest.entry)
    own = [each for each in case.sources.registry.usable() if login in {each.holder, each.holder.partition("@")[0]}]
    if not own or own[-1].fingerprint == case.newest.entry.cert_fingerprint:
        return None
    serial = own[-1].serial
    return Said(
        "wrong_login",
        f"The login {case.newest.entry.user} does not belong to the certificate, which is of {case.holder}. The "
        f"registry has the certificate {serial} for {own[-1].holder}.",
        f"Install the certificate {serial} on the device of {own[-1].holder}, and remove the one of {case.holder}; or "
        f"correct the login if the device is {case.holder}'s.",
        ("certificate_lines", "show"),
        command_of(("show",), replace(case.known(), certificate=own[-1])),
    )


def _locked(case: Case) -> Said:
    def explain(other: Case) -> Said:
        told = verdict_of(other)
        return Said(told.name, told.sentence, told.remedy, (), told.command)

    return causes_lockout.locked_out(case, explain)


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
