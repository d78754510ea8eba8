"""Causes of refused certificates that only log and registry together show: renewed ones, holds, clocks, other CAs."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from gateway.cli.why import changes
from gateway.cli.why.case import Case
from gateway.cli.why.commands import command_of
from gateway.cli.why.missing import state_text
from gateway.cli.why.registry import Authority, Certificate
from gateway.cli.why.words import Said, moment
from gateway.facts import Reason

MAX_OTHERS: Final = 3  # certificates of the same person that are named

_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?) UTC")


def _stamp(text: str) -> datetime | None:
    found = _STAMP.search(text)
    return None if found is None else datetime.fromisoformat(found[1]).replace(tzinfo=UTC)


def expired(case: Case) -> Said | None:
    """Whether the clock was wrong, or the certificate was renewed."""
    end, certificate = _stamp(case.detail), case.certificate
    if end is not None and end > case.sources.now:
        return Said(
            "clock",
            f"This machine's clock was ahead: the certificate of {case.holder} is valid until {moment(end)}, which is "
            f"still to come, but was refused as expired at {moment(case.newest.entry.time)}.",
            "Correct the clock, and keep it correct with NTP.",
            ("clock",),
        )
    if certificate is None:
        return None
    what_happened = f"expired {moment(certificate.ends)}"
    if case.renewal is not None:
        return _renewed(case, certificate, case.renewal, what_happened)
    return _newer(case, certificate, what_happened)


def _renewed(case: Case, old: Certificate, new: Certificate, what_happened: str) -> Said:
    created = moment(new.created)
    if new.status != "live":
        return _newer(case, old, what_happened) or Said(
            "renewal_not_valid",
            f"The certificate {old.serial} of {case.holder} {what_happened}. It was renewed {created}, but the new "
            f"one, {new.serial}, is not valid either: it is {state_text(new)}.",
            "Issue a new certificate and install it.",
            ("reissue", "issue", "show"),
        )
    used = case.person.certificates.get(new.fingerprint)
    seen = ", which was not seen in these files" if case.is_unseen(new) else ""
    if used is not None:
        seen = f", which was last seen {moment(used.entry.time)}"
    return Said(
        "renewed_old_in_use",
        f"{case.who} still uses the old certificate {old.serial}, which {what_happened}. It was renewed {created}: the "
        f"new one is {new.serial}{seen}.",
        f"Install the new certificate {new.serial} on this device, and remove the old one.",
        ("show_new",),
    )


def revoked(case: Case) -> Said | None:
    """When, by whom and why; or that it is on hold, or was renewed."""
    certificate, detail = case.certificate, case.detail
    if certificate is None or detail.startswith("the CA "):
        return None
    by = f" by {certificate.revoked_by}" if certificate.revoked_by else ""
    if certificate.status == "held":
        return Said(
            "on_hold",
            f"The certificate {certificate.serial} of {case.holder} is on hold"
            + (f" since {moment(certificate.revoked)}{by}." if certificate.revoked else "."),
            "Release it if the device is back.",
            ("unhold",),
        )
    if certificate.status in {"live", "superseded"} and "put on hold" in detail:
        return Said(
            "hold_released",
            f"The certificate {certificate.serial} of {case.holder} was on hold, and has been released since.",
            "Try again. If it is still refused, the gateway has an old revocation list.",
            ("crl", "status"),
        )
    if case.renewal is not None and certificate.reason in {"superseded", None}:
        when = moment(certificate.revoked or certificate.superseded)
        return _renewed(case, certificate, case.renewal, f"was revoked {when} because it was renewed")
    if certificate.revoked is None:
        return None
    why = "" if certificate.reason in {None, "unspecified"} else f" ({certificate.reason})"
    newer = _newer(case, certificate, f"was revoked {moment(certificate.revoked)}{by}{why}")
    return newer or Said(
        Reason.CERTIFICATE_REVOKED,
        f"The certificate {certificate.serial} of {case.holder} was revoked {moment(certificate.revoked)}{by}{why}."
        f"{_others(case, certificate)}",
        f"If {case.who} may come in, issue a new certificate and install it.",
        ("show_new", "reissue", "show"),
    )


def _newer(case: Case, old: Certificate, what_happened: str) -> Said | None:
    """Whether another certificate was issued since, and waits to be installed."""
    new = case.waiting(old)
    if new is None:
        return None
    return Said(
        "newer_not_installed",
        f"The certificate {old.serial} of {case.holder} {what_happened}. A newer one, {new.serial}, was issued "
        f"{moment(new.created)} and was not seen in these files.",
        f"Install the newer certificate {new.serial} on this device, and remove the old one.",
        ("show",),
        command_of(("show",), replace(case.known(), certificate=new)),
    )


def _others(case: Case, revoked: Certificate) -> str:
    """The valid certificates of the same person: those of other devices, or one that waits to be installed."""
    usable = [each for each in case.sources.registry.usable() if each.email and each.email == revoked.email]
    if not usable:
        return ""
    named = ", ".join(f"{each.serial}{f' ({each.device})' if each.device else ''}" for each in usable[-MAX_OTHERS:])
    return f" Other certificates of the same person are valid: {named}."


def not_yet(case: Case) -> Said | None:
    """Whose clock is wrong."""
    begin, certificate = _stamp(case.detail), case.certificate
    if begin is None:
        return None
    when = moment(case.newest.entry.time)
    if certificate is not None and certificate.created > case.sources.now:
        why = (
            f"the registry says that it was issued {moment(certificate.created)}, which is still to come, so the clock "
            "of the machine that issued it was ahead, or this machine's clock is behind"
        )
    elif certificate is not None and certificate.created > case.newest.entry.time:
        why = f"the registry says that it was issued {moment(certificate.created)}, so the clock was behind"
    elif begin <= case.sources.now:
        why = "the date has passed since, so it is valid now"
    else:
        why = "the date is still to come by this machine's clock"
    return Said(
        "clock",
        f"The certificate of {case.holder} is valid from {moment(begin)} on, and this machine's clock "
        f"said {when}: {why}.",
        "Compare this machine's clock with the right time, and keep it correct with NTP.",
        ("clock",),
    )


def _other_site(case: Case, right: str, asked: str, when: str) -> Said:
    return Said(
        "other_site",
        f"The same certificate of {case.holder} was let in on {right} at {when}. This request was for {asked}, another "
        "site, which does not trust the CA of this certificate.",
        f"Use {right} on the device. Only if the people of this CA may come in on {asked} too, add the CA to client_ca "
        "of that site.",
        ("certificate_lines", "authorities"),
    )


def _own_authority(case: Case, authority: Authority, host: str) -> Said:
    """Which certificate is missing: the authority's in client_ca, or an intermediate on the device."""
    name, before = authority.name, case.before
    whose = f"The certificate of {case.holder} is from your authority '{name}'"
    if authority.is_root:
        return Said(
            "ca_not_in_client_ca",
            f"{whose}, but {host} doesn't trust it: it is missing in client_ca.",
            f"Add the certificate of '{name}' to client_ca of this site, and reload.",
            ("authorities",),
        )
    if (
        before is not None
        and before.entry.cert_fingerprint == case.newest.entry.cert_fingerprint
        and changes.has_same_configuration(before, case.newest)
    ):
        return Said(
            "intermediate_missing",
            f"{whose}, an intermediate CA, and was let in at {moment(before.entry.time)} with the same configuration. "
            "So most likely the device does not send the certificate of this CA with its own any more; or the files "
            "that client_ca names were changed.",
            f"Install the certificate again with its intermediate (the whole p12 file), or add the certificate of "
            f"'{name}' to client_ca of this site and reload: then no device has to send it.",
            ("show", "authorities"),
        )
    return Said(
        "ca_not_in_client_ca",
        f"{whose}, an intermediate CA. {host} doesn't trust it: it is missing in client_ca, and the device did not "
        "send it, or the CA above it is missing there too.",
        f"Add the certificate of '{name}' to client_ca of this site, and reload: then no device has to send it.",
        ("authorities",),
    )


def untrusted(case: Case) -> Said | None:
    """Whether the CA is one of the registry, and which certificate to use instead."""
    if "not issued by a CA that this site trusts" not in case.detail:
        return None
    registry, issuer = case.sources.registry, case.more.cert_issuer
    authority = registry.authority_of(issuer)
    host = case.newest.entry.host or case.newest.entry.site or "this site"
    before = case.before
    was_let_in = before is not None and before.entry.cert_fingerprint == case.newest.entry.cert_fingerprint
    if before is not None and was_let_in and (other := before.entry.site) not in {None, case.newest.entry.site}:
        return _other_site(case, before.entry.host or str(other), host, moment(before.entry.time))
    if authority is not None:
        return _own_authority(case, authority, host)
    if before is not None and was_let_in:
        return Said(
            "intermediate_missing",
            f"The same certificate of {case.holder} was let in at {moment(before.entry.time)}. Now its issuer, "
            f"{issuer or 'the CA'}, is not found: the device did not send the intermediate certificate, or the CA was "
            "taken out of client_ca.",
            "Install the certificate again with its intermediate (the whole p12 file), or add the intermediate to "
            "client_ca.",
            ("show", "authorities"),
        )
    own = registry.usable()
    instead = ""
    if own:
        instead = (
            f" The registry has the certificate {own[-1].serial} for {own[-1].email or own[-1].name}: use that one."
        )
    elif registry.is_known:
        instead = " The registry has no valid certificate for this person."
    return Said(
        "wrong_ca",
        f"The certificate that was shown is from another CA, {issuer or 'which the log does not name'}, which {host} "
        f"does not trust; or its intermediate certificate was not sent.{instead}",
        "Let the device use the certificate from your authority; if this CA is yours, add it or its intermediate to "
        "client_ca.",
        ("show", "issue", "certificates", "authorities") if not own else ("certificates",),
    )
