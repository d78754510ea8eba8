"""Why a request came without a certificate: it was never issued, never installed, not needed so far, or not sent."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from gateway.cli.why import changes
from gateway.cli.why.case import Case
from gateway.cli.why.commands import command_of
from gateway.cli.why.live import Inside
from gateway.cli.why.registry import Certificate
from gateway.cli.why.words import NO_NAME, Said, moment

# Outlook for Windows, and Outlook for iOS and Android.
_OUTLOOK: Final = re.compile(r"Microsoft Outlook [0-9]|^Outlook-iOS|OutlookMobile", re.IGNORECASE)
_INSTALL: Final = "Install the certificate on this device. Then close the browser completely, so that it asks again."


def missing_certificate(case: Case) -> Said | None:
    """The cause, as far as the last success and the registry show it."""
    before, registry = case.before, case.sources.registry
    address = case.newest.entry.client_ip
    shown = case.sources.inside.shown(address)
    had_none = before is not None and before.entry.cert_fingerprint is None
    issued = _issued(case)
    if _OUTLOOK.search(case.more.user_agent or ""):
        return _outlook(case, shown)
    is_elsewhere = case.changed(changes.ADDRESS) is not None and case.changed(changes.RULE) is not None
    if had_none and before is not None and (is_elsewhere or case.changed(changes.NETWORK) is not None):
        return Said(
            "other_network",
            f"{case.who} was let in from {case.sources.inside.shown(before.entry.client_ip)} without "
            f"a certificate, and "
            f"now comes from {shown}, where one is required and none was sent.{issued}",
            f"{_INSTALL}{_new_address(before.entry.client_ip, address)}",
            ("show", "issue", "explain"),
        )
    if before is not None and before.entry.cert_fingerprint is not None:
        return _not_sent(case, shown)
    if not registry.is_known or not case.is_name:
        return None
    own = registry.usable()
    if not registry.certificates:
        return Said(
            "never_issued",
            f"{case.who} has no certificate: the registry has never issued one, and one is required from {shown}.",
            "Issue a certificate and install it.",
            ("issue", "certificates"),
        )
    if not own:
        newest = registry.certificates[-1]
        return Said(
            "no_valid_certificate",
            f"{case.who} sent no certificate and has no valid one: {newest.serial} is {state_text(newest)}.",
            "Issue a new certificate and install it.",
            ("issue", "reissue", "certificates"),
        )
    if any(each.fingerprint in case.person.certificates for each in own):
        return None
    has_one = f"{case.who} has the certificate {own[-1].serial}, issued {moment(own[-1].created)}, but"
    if not all(case.is_unseen(each) for each in own):
        return Said(
            "certificate_not_sent",
            f"{has_one} sent none from {shown}: it is not installed on this device, or the browser doesn't offer it.",
            _INSTALL,
            ("show",),
        )
    return Said(
        "never_installed",
        f"{has_one} it was never seen in these files: it is not installed, or the browser doesn't offer it.",
        _INSTALL,
        ("show",),
    )


def _outlook(case: Case, shown: str) -> Said:
    entry = case.newest.entry
    return Said(
        "program_without_certificates",
        f"{case.who} uses Outlook, which sends no client certificate: not on Windows, and not on phones, where "
        f"Microsoft's cloud connects in its place. One is required from {shown} by the rule "
        f'"{entry.rule or NO_NAME}".',
        "Use webmail or a mail program that sends the certificate. On Windows, Outlook needs a VPN, or a rule that "
        "allows its paths (/mapi, /rpc, /EWS, /Autodiscover) and leaves them to the mail server's own login.",
        ("explain", "address_lines"),
    )


def _new_address(before: str | None, now: str | None) -> str:
    """What else helps if an office got another public address."""
    if Inside().word(before) is None or Inside().is_inside(before):
        return ""
    return f" If {now} is the new address of an office, write it into networks.internal in place of {before}."


def _not_sent(case: Case, shown: str) -> Said:
    before = case.before
    name = changes.certificate_name(before.entry) if before is not None else ""
    when = moment(before.entry.time) if before is not None else ""
    device = case.changed(changes.DEVICE) or case.changed(changes.PROGRAM)
    other = " The request is from another device or program, where it may not be installed." if device else ""
    own = None if before is None else case.sources.registry.certificate(before.entry.cert_fingerprint)
    if own is not None and own.status != "live":
        sent = (
            f"{case.who} sent no certificate from {shown}. The last success, {when}, was with the certificate {name}, "
            f"which is {state_text(own)}: browsers don't offer such a one."
        )
        new = case.sources.registry.successor(own) or case.waiting(own)
        if new is not None:
            return Said(
                "newer_not_installed",
                f"{sent} A newer one, {new.serial}, was issued {moment(new.created)}.",
                f"Install the newer certificate {new.serial} on this device.",
                ("show",),
                command_of(("show",), replace(case.known(), certificate=new)),
            )
        return Said(
            "no_valid_certificate",
            sent,
            "Renew it or issue a new one, and install it.",
            ("renew", "unhold", "reissue", "show"),
        )
    return Said(
        "certificate_not_sent",
        f"{case.who} sent no certificate from {shown}. The last success, {when}, was with the "
        f"certificate {name}.{other}",
        "Install the certificate on this device, or choose it when the browser asks; close the "
        "browser completely first.",
        ("show", "certificate_lines"),
    )


def _issued(case: Case) -> str:
    registry = case.sources.registry
    if not registry.is_known or not case.is_name:
        return ""
    own = registry.usable()
    if own:
        return f" The registry has the certificate {own[-1].serial} for this person."
    return " The registry has no valid certificate for this person."


def state_text(certificate: Certificate) -> str:
    """Why a certificate is not valid."""
    if certificate.status == "expired":
        return f"expired since {moment(certificate.ends)}"
    if certificate.status in {"revoked", "held"}:
        word = "revoked" if certificate.status == "revoked" else "on hold"
        why = "" if certificate.reason in {None, "unspecified", "certificate-hold"} else f" ({certificate.reason})"
        return f"{word} since {moment(certificate.revoked)}{why}"
    if certificate.status == "superseded":
        return f"replaced by a newer one since {moment(certificate.superseded)}"
    return certificate.status
