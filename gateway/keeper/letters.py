"""The mails: plain text, in words that say what ends, when, what then, and what to do.

Keeps true: nothing that somebody else chose stands in a header but the address that the mail goes to, which is checked;
the same notice has the same Message-ID whoever sends it, so that a mail that was sent twice for once is known as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from types import MappingProxyType
from typing import Final

from gateway.config.units import format_duration
from gateway.errors import OperationError
from gateway.keeper.findings import NAMED, Findings
from gateway.keeper.renewal import text
from gateway.keeper.troubles import Trouble
from gateway.pki.registry.notices import Notice
from gateway.pki.registry.records import CertificateRecord, Purpose

# As much as somebody reads in a mail; with many sites one list that has ended makes many lines.
OUTAGES_NAMED: Final = 50
_POLICY: Final = SMTP.clone(cte_type="7bit")  # what every server on the way takes
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_USES: Final = MappingProxyType(
    {
        Purpose.CLIENT: ("for your mail", "you can no longer reach your mail from outside, nor sign mail with it"),
        Purpose.AUTH: ("for your mail", "you can no longer reach your mail from outside"),
        Purpose.SMIME: ("for signed and encrypted mail", "you can no longer sign mail with it"),
        Purpose.SMIME_SIGNING: ("for signing mail", "you can no longer sign mail with it"),
        Purpose.SMIME_ENCRYPTION: ("for encrypted mail", "nobody can encrypt mail for you with it any more"),
    }
)


class UndeliverableError(OperationError):
    """One mail can't be sent; others may."""


def to_holder(
    record: CertificateRecord, notice: Notice, sender: str, contact: str | None, now: datetime
) -> EmailMessage:
    """To somebody whose certificate ends. Raises `UndeliverableError` for an address that can't be written to."""
    use, then = _USES[record.purpose]
    whom = contact or "your administrator"
    device = "" if record.device is None else f"  device:      {_printable(record.device)}\n"
    body = f"""\
Hello,

your certificate {use} ends on {_date(record.not_after)}, {_left(record, now)}. After
that, {then}.

What to do: ask for a new one in time.

  {whom}

When you have it, install it on every device that has the old one. The old
one goes on working until it ends.

The certificate:

  name:        {_printable(record.common_name)}
  address:     {_printable(record.email or "")}
{device}  serial:      {record.serial}
  issued by:   {_printable(record.authority)}
  good until:  {text(record.not_after)}

The mail gateway wrote this by itself.
"""
    subject = f"Your certificate {use} ends on {_date(record.not_after)}"
    return _message(notice, (notice.recipient,), sender, subject, body, now)


def to_admins(
    findings: Findings, troubles: Sequence[Trouble], notice: Notice, recipients: Sequence[str], sender: str
) -> EmailMessage:
    """The summary of a day."""
    count = findings.ending[0][1]
    what = f"{count:,} certificate{'' if count == 1 else 's'} to renew" if count else "something to look at"
    body = "\n".join(_summary(findings, troubles))
    return _message(notice, recipients, sender, f"Mail gateway: {what}", body, findings.at)


def of_outages(
    outages: Sequence[str], notice: Notice, recipients: Sequence[str], sender: str, now: datetime
) -> EmailMessage:
    """What refuses clients now, to the administrators."""
    lines = "\n".join(f"- {_printable(line)}" for line in outages[:OUTAGES_NAMED])
    if (more := len(outages) - OUTAGES_NAMED) > 0:
        lines += f"\n  and {more:,} more, which 'gateway status' lists"
    body = f"""\
Clients are refused, or will be when a rule is no longer in observation, since
something that the mail gateway needs has ended or is missing:

{lines}

'gateway status' shows these lines as problems until they are solved, and the
access log has each refusal with its cause in "detail".

The mail gateway wrote this by itself, at most once a day for the same lines.
"""
    return _message(notice, recipients, sender, "Mail gateway: clients are refused", body, now)


def is_worth_a_summary(findings: Findings, troubles: Sequence[Trouble]) -> bool:
    """Whether there is anything that somebody should do."""
    return bool(findings.next or findings.problems or findings.warnings or findings.undelivered or troubles)


def _summary(findings: Findings, troubles: Sequence[Trouble]) -> Iterator[str]:
    yield f"The certificate registry at {text(findings.at)}."
    if troubles:
        yield "\nWhat does not work:\n"
        for trouble in troubles:
            yield f"- {trouble.what}: {trouble.cause}\n  {trouble.remedy}\n  (since {text(trouble.since)})"
    if findings.problems or findings.warnings:
        yield "\nWhat somebody should do:\n"
        yield from (f"- {_printable(line)}" for line in (*findings.problems, *findings.warnings))
    if findings.next:
        yield "\nCertificates that end, without a successor:\n"
        yield from (f"  {count:>6,} within {format_duration(w.total_seconds())}" for w, count in findings.ending)
        yield ""
        for record in findings.next:
            who = f"{record.email or '-'}  {record.common_name}"
            yield _printable(f"  {record.not_after:%Y-%m-%d}  {record.authority}  {record.serial}  {who}")
        horizon = format_duration(findings.ending[0][0].total_seconds())
        if (more := findings.ending[0][1] - len(findings.next)) > 0:
            yield f"  and {more:,} more, after the first {NAMED}"
        yield f"\nRenew one with 'gateway cert renew SERIAL'; list them with 'gateway cert list --expiring {horizon}'."
    if findings.undelivered:
        yield "\nMails that could not be delivered:\n"
        yield from (_printable(f"- {each.recipient}: {each.failure}") for each in findings.undelivered)
    yield "\nThe mail gateway wrote this by itself, at most once a day.\n"


def _message(
    notice: Notice, recipients: Sequence[str], sender: str, subject: str, body: str, now: datetime
) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    try:
        message["From"] = Address("Mail gateway", addr_spec=sender)
        addresses = [Address(addr_spec=address) for address in recipients]
        if not all(address.username and address.domain for address in addresses):
            raise ValueError(recipients)  # noqa: TRY301 - the same as `email`'s own
        message["To"] = addresses
    except (MessageError, ValueError, IndexError) as error:  # what `email` raises for what is no address
        raise UndeliverableError(f"{recipients[0]!r}: this address cannot be written to", "Correct it.") from error
    message["Subject"] = subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = _message_id(notice, sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office note comes back
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange (MS-OXCMAIL)
    message.set_content(body, cte="quoted-printable")
    return message


def _message_id(notice: Notice, sender: str) -> str:
    """The same for the same mail, and nobody else's: it tells nothing of the certificate."""
    seconds = int(notice.threshold.total_seconds())
    known = "\0".join((notice.kind, notice.topic, str(seconds), notice.recipient))
    return f"<{hashlib.sha256(known.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def _left(record: CertificateRecord, now: datetime) -> str:
    days = (record.not_after - now).days
    return f"in {days} days" if days > 1 else "within two days" if days == 1 else "within a day"


def _date(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in line)
