"""Verdicts where nothing is refused now: it works, it works again, or the log has nothing about the person."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from gateway.cli.why.case import Case
from gateway.cli.why.causes_lockout import as_refused
from gateway.cli.why.commands import Known, command_of
from gateway.cli.why.history import Person, closed_episode, is_address_name
from gateway.cli.why.lines import code_of, is_redirect, more_of
from gateway.cli.why.missing import state_text
from gateway.cli.why.registry import Certificate
from gateway.cli.why.verdict import Verdict, verdict_of
from gateway.cli.why.words import count_of, moment
from gateway.facts import Reason
from gateway.logs.reader import Hit

LET_IN, OBSERVED, WORKS_AGAIN = "let_in", "observed", "works_again"
NEVER_SEEN, ONLY_REDIRECTED = "never_seen", "only_redirected"
# A line in observation has no detail, and these reasons are clear without it.
_TOLD_WITHOUT_DETAIL = frozenset(
    {
        Reason.CERTIFICATE_MISSING,
        Reason.CERTIFICATE_EXPIRED,
        Reason.CERTIFICATE_NOT_YET_VALID,
        Reason.CERTIFICATE_REVOKED,
    }
)
_ASK = (
    "Ask for the number on the page, or for the time of the refusal: a request without certificate and "
    "login has no name."
)


def let_in(case: Case, strangers: Sequence[Person]) -> Verdict:
    """The verdict without refusals."""
    person, success = case.person, case.person.success
    if case.asked is not None and not code_of(case.asked):
        return _asked(case, case.asked)
    if success is None:
        return _never(case, strangers)
    observed = person.observed
    if observed is not None and (observed is success or observed.entry.time == success.entry.time):
        return _observed(case, observed)
    if (ended_certificate := _no_longer(case, success)) is not None:
        return ended_certificate
    ended = closed_episode(person)
    others = f" {_ASK}" if strangers and not is_address_name(person.name) else ""
    command = f"gateway logs --ip {strangers[0].name.partition(' ')[2]}" if others else None
    if ended is not None:
        codes = ", ".join(ended.codes)
        return Verdict(
            "",
            WORKS_AGAIN,
            f"{case.who} gets in again since {moment(ended.after and ended.after.entry.time)}, after "
            f"{count_of(ended.count, 'refusal')} ({codes}) from {moment(ended.first.entry.time)} on.{others}",
            "To see why it was refused, ask for the number of one of these refusals.",
            _with_files(case, f"gateway logs --why {_number(ended.last)}"),
        )
    sentence = f"{case.who} gets in: nothing with this name was refused after {moment(success.entry.time)}."
    if (waiting := _waiting(case, success)) is not None:
        text, serial = waiting
        remedy = f"Install the new certificate {serial}."
        return Verdict("", LET_IN, f"{sentence} {text}", remedy, command_show(case, serial))
    return Verdict(
        "",
        LET_IN,
        f"{sentence}{others}",
        _ASK if not others else "Look at the refusals without a name.",
        _with_files(case, command or "gateway logs --denied --since 1h"),
    )


def _observed(case: Case, observed: Hit) -> Verdict:
    """The verdict on a request that only the observation let in: what would have refused it, and from when on."""
    entry = observed.entry
    outlook = case.sources.outlook(entry.rule)
    sentence = (
        f'{case.who} gets in, but only because the rule "{entry.rule}" is in observation'
        + (f" ({outlook})" if outlook else "")
        + f": it would have refused the request of {moment(entry.time)} ({entry.observed})."
    )
    remedy, command = "Help this person to a certificate before the rule is enforced.", None
    if entry.observed in _TOLD_WITHOUT_DETAIL:
        told = verdict_of(as_refused(case, observed, entry.observed, None))
        sentence += f" {told.sentence}"
        remedy = f"Before the rule is enforced: {told.remedy}"
        command = told.command if (told.command or "").startswith("gateway cert") else None
    command = command or _with_files(case, "gateway logs --observed")
    return Verdict(entry.observed or "", OBSERVED, sentence, remedy, command)


def _no_longer(case: Case, success: Hit) -> Verdict | None:
    """The verdict if the registry says that the certificate of the last success is not valid any more."""
    registry = case.sources.registry
    certificate = registry.certificate(success.entry.cert_fingerprint)
    if certificate is None or certificate.status == "live":
        return None
    successor = registry.successor(certificate) or case.waiting(certificate)
    desk = f"gateway cert{_desk(case)}"
    sentence = (
        f"{case.who} was let in last at {moment(success.entry.time)}, with the certificate {certificate.serial}. It is "
        f"{state_text(certificate)}, so it does not let anyone in any more."
    )
    if certificate.status == "held":
        return Verdict(
            "", "on_hold", sentence, "Release it if the device is back.", f"{desk} unhold {certificate.serial}"
        )
    if successor is not None:
        remedy = f"Install the new certificate {successor.serial}."
        return Verdict("", "renewed_old_in_use", sentence, remedy, f"{desk} show {successor.serial}")
    renewal = registry.renewal(certificate)
    if renewal is not None:
        sentence += f" Its renewal {renewal.serial} is {state_text(renewal)}."
    elif certificate.status == "expired":
        remedy = "Renew the certificate and install the new one."
        return Verdict("", Reason.CERTIFICATE_EXPIRED, sentence, remedy, f"{desk} renew {certificate.serial}")
    remedy = f"If {case.who} may come in, issue a new certificate and install it."
    command = command_of(("reissue", "show"), _known(case, success, certificate))
    name = Reason.CERTIFICATE_REVOKED if renewal is None else "renewal_not_valid"
    return Verdict("", name, sentence, remedy, command)


def _known(case: Case, success: Hit, certificate: Certificate) -> Known:
    sources = case.sources
    return Known(
        success.entry, case.person.name, sources.registry, certificate, config=sources.config, store=sources.store
    )


def _waiting(case: Case, success: Hit) -> tuple[str, str] | None:
    """That a newer certificate waits to be installed, and its serial number."""
    registry = case.sources.registry
    certificate = registry.certificate(success.entry.cert_fingerprint)
    successor = None if certificate is None else registry.successor(certificate)
    if certificate is None or successor is None or not case.is_unseen(successor):
        return None
    end = min(each for each in (certificate.superseded, certificate.ends) if each is not None)
    text = (
        f"The certificate {certificate.serial} is valid until {moment(end)}, and the renewed one, {successor.serial}, "
        "was not seen in these files: install it before."
    )
    return text, successor.serial


def _asked(case: Case, asked: Hit) -> Verdict:
    """The verdict on a request that was not refused."""
    entry = asked.entry
    name, remedy = LET_IN, "If the page shows an error, it is the mail server's own: read its log."
    if entry.reason is not None:
        name, sentence = "dropped", "The browser opened this connection in advance and dropped it. It was not refused."
        remedy = "Nothing has to be done. Look at the other lines of this address."
    elif entry.status is None:
        name, sentence = "went_away", "The client went away before the answer, so it got none."
        remedy = "Try again. A phone does so whenever its connection changes."
    elif entry.status < 400 and is_redirect(asked):
        name, sentence = ONLY_REDIRECTED, "This request came over http and was sent on to https."
        remedy = "Look for the request over https: it has a number of its own."
    elif entry.status == 401:
        name, sentence = (
            "asked_to_log_in",
            "The gateway let this request in, and the mail server asked for a login (401).",
        )
        remedy = "Nothing has to be done: most programs ask once without a login. Look at the next line."
    else:
        upstream = more_of(asked).upstream or "the mail server"
        sentence = f"This request was let in: {upstream} answered it with {entry.status}."
    return Verdict("", name, sentence, remedy, _with_files(case, f"gateway logs --request {_number(asked)} --json"))


def _never(case: Case, strangers: Sequence[Person]) -> Verdict:
    person, registry = case.person, case.sources.registry
    if person.redirects:
        return Verdict(
            "",
            ONLY_REDIRECTED,
            f"From {case.who}, there were only requests over http, which were sent on to https "
            f"({count_of(person.redirects, 'time')}): no connection over https arrived.",
            "Look whether port 443 can be reached from there, and whether the device may open https addresses.",
            _with_files(case, f"gateway logs --all --since 1d{_address(person)}"),
        )
    usable = registry.usable()
    if usable and not is_address_name(person.name) and case.is_unseen(usable[-1]):
        newest = usable[-1]
        return Verdict(
            "",
            NEVER_SEEN,
            f"{case.who} has the certificate {newest.serial}, issued {moment(newest.created)}, but no "
            f"request with it and "
            "none with this login is in these files: the certificate is not installed, or the device "
            "asks another server.",
            f"Install the certificate. {_ASK}",
            command_show(case, newest.serial),
        )
    if registry.certificates and not usable and not is_address_name(person.name):
        newest = registry.certificates[-1]
        return Verdict(
            "",
            "no_valid_certificate",
            f"{case.who} has no valid certificate, and no request of this name is in these files: {newest.serial} is "
            f"{state_text(newest)}.",
            "Issue a new certificate if this person may come in.",
            command_show(case, newest.serial),
        )
    if registry.is_known and not registry.certificates and not is_address_name(person.name):
        return Verdict(
            "",
            NEVER_SEEN,
            f"Neither the log nor the registry knows {case.who}: no certificate was issued to this name.",
            "Check the spelling, or issue a certificate.",
            f"gateway cert{_desk(case)} list",
        )
    return Verdict(
        "",
        NEVER_SEEN,
        f"The log has no request of {case.who} that was let in or refused.",
        _ASK if strangers else "Check the spelling, and whether these files are of the right days.",
        _with_files(case, "gateway logs --denied --since 1d"),
    )


def command_show(case: Case, serial: str) -> str:
    """The command that shows a certificate."""
    return f"gateway cert{_desk(case)} show {serial}"


def _desk(case: Case) -> str:
    sources = case.sources
    if sources.config is not None:
        return f" -c {quote(str(sources.config))}"
    return "" if sources.store is None or "@" in sources.store else f" --store {quote(sources.store)}"


def _with_files(case: Case, command: str) -> str:
    sources = case.sources
    if sources.files:
        return command + "".join(f" {quote(str(file))}" for file in sources.files)
    return command if sources.config is None else f"{command} -c {quote(str(sources.config))}"


def _number(hit: Hit) -> str:
    number = hit.entry.request_id
    return number if number is not None and number.isalnum() and number.isascii() else "NUMBER"


def _address(person: Person) -> str:
    return f" --ip {person.name.partition(' ')[2]}" if is_address_name(person.name) else ""
