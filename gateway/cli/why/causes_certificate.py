"""Causes of refused certificates that only log and registry together show: renewed ones, holds, clocks, other CAs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from gateway.cli.why.case import Case
from gateway.cli.why.words import Said, moment
from gateway.facts import Reason

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
    successor = case.successor
    if certificate is None or successor is None:
        return None
    return _renewed(case, f"expired {moment(certificate.ends)}")


def _renewed(case: Case, what_happened: str) -> Said:
    certificate, successor = case.certificate, case.successor
    old = certificate.serial if certificate else ""
    new = successor.serial if successor else ""
    created = moment(successor.created) if successor else ""
    used = None if successor is None else case.person.certificates.get(successor.fingerprint)
    seen = "which was not seen in these files" if used is None else f"which was last seen {moment(used.entry.time)}"
    return Said(
        "renewed_old_in_use",
        f"{case.who} still uses the old certificate {old}, which {what_happened}. It was renewed {created}: the new "
        f"one is {new}, {seen}.",
        f"Install the new certificate {new} on this device, and remove the old one.",
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
    if case.successor is not None and certificate.reason in {"superseded", None}:
        return _renewed(
            case, f"was revoked {moment(certificate.revoked or certificate.superseded)} because it was renewed"
        )
    if certificate.revoked is None:
        return None
    why = "" if certificate.reason in {None, "unspecified"} else f" ({certificate.reason})"
    return Said(
        Reason.CERTIFICATE_REVOKED,
        f"The certificate {certificate.serial} of {case.holder} was revoked {moment(certificate.revoked)}{by}{why}.",
        f"If {case.who} may come in, issue a new certificate and install it.",
        ("show_new", "reissue", "show") if _has_newer(case) else ("reissue", "show"),
    )


def _has_newer(case: Case) -> bool:
    return case.successor is not None


def not_yet(case: Case) -> Said | None:
    """Whose clock is wrong."""
    begin, certificate = _stamp(case.detail), case.certificate
    if begin is None:
        return None
    when = moment(case.newest.entry.time)
    if certificate is not None and certificate.created > case.newest.entry.time:
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


def untrusted(case: Case) -> Said | None:
    """Whether the CA is one of the registry, and which certificate to use instead."""
    if "not issued by a CA that this site trusts" not in case.detail:
        return None
    registry, issuer = case.sources.registry, case.more.cert_issuer
    authority = registry.authority_of(issuer)
    host = case.newest.entry.host or case.newest.entry.site or "this site"
    if authority is not None:
        return Said(
            "ca_not_in_client_ca",
            f"The certificate of {case.holder} is from your authority '{authority.name}', but {host} doesn't trust it: "
            "it is missing in client_ca, or the device did not send the intermediate.",
            f"Add the certificate of '{authority.name}' to client_ca of this site, and reload.",
            ("authorities",),
        )
    before = case.before
    if before is not None and before.entry.cert_fingerprint == case.newest.entry.cert_fingerprint:
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
