"""The mails, as plain text: what ends, when, what happens then, and what to do.

Keeps true: the only foreign text in a header is the recipient's address, which is checked. A notice has the same
Message-ID on all machines, so that mail programs recognize a mail that was sent twice.
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

from gateway.commands import at_desk
from gateway.config.units import format_duration
from gateway.errors import OperationError, as_sentence
from gateway.keeper.findings import Findings
from gateway.keeper.renewal import text
from gateway.keeper.troubles import Trouble
from gateway.pki.registry.notices import Notice
from gateway.pki.registry.records import CertificateRecord, Purpose

# More lines are not read in a mail. With many sites, one list that has ended makes many lines.
OUTAGES_NAMED: Final = 50
_POLICY: Final = SMTP.clone(cte_type="7bit")  # every server on the way accepts this
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_USES: Final = MappingProxyType(
    {
        Purpose.CLIENT: ("for your mail", "you can no longer reach your mail from outside or sign mail with it"),
        Purpose.AUTH: ("for your mail", "you can no longer reach your mail from outside"),
        Purpose.SMIME: ("for signed and encrypted mail", "you can no longer sign mail with it"),
        Purpose.SMIME_SIGNING: ("for signing mail", "you can no longer sign mail with it"),
        Purpose.SMIME_ENCRYPTION: ("for encrypted mail", "other people can no longer use it to encrypt mail for you"),
    }
)


class UndeliverableError(OperationError):
    """One mail can't be sent, but other mails can."""


def to_holder(
    record: CertificateRecord, notice: Notice, sender: str, contact: str | None, now: datetime
) -> EmailMessage:
    """To the holder of a certificate that ends soon. Raises `UndeliverableError` for an address that is not valid."""
    use, then = _USES[record.purpose]
    helper = contact or "your administrator"
    device = "" if record.device is None else f"  device:      {printable(record.device)}\n"
    body = f"""\
Hello,

your certificate {use} ends on {_date(record.not_after)}, {_left(record, now)}. After
that, {then}.

What to do: ask for a new certificate before that day. Contact:

  {helper}

Install the new certificate on every device that has the old one. The old one
works until it ends.

The certificate:

  name:        {printable(record.common_name)}
  address:     {printable(record.email or "")}
{device}  serial:      {record.serial}
  issued by:   {printable(record.authority)}
  valid until: {text(record.not_after)}

The mail gateway sent this mail automatically.
"""
    subject = f"Your certificate {use} ends on {_date(record.not_after)}"
    return message(notice, (notice.recipient,), sender, subject, body, now)


def to_admins(
    findings: Findings, troubles: Sequence[Trouble], notice: Notice, recipients: Sequence[str], sender: str
) -> EmailMessage:
    """The daily summary, to the administrators."""
    count = findings.ending[0][1]
    what = f"{count:,} certificate{'' if count == 1 else 's'} to renew" if count else "the registry needs attention"
    body = "\n".join(_summary(findings, troubles))
    return message(notice, recipients, sender, f"Mail gateway: {what}", body, findings.at)


def of_outages(
    outages: Sequence[str], notice: Notice, recipients: Sequence[str], sender: str, now: datetime
) -> EmailMessage:
    """Why clients are refused now, to the administrators."""
    lines = "\n".join(f"- {printable(line)}" for line in outages[:OUTAGES_NAMED])
    if (more := len(outages) - OUTAGES_NAMED) > 0:
        lines += f"\n  and {more:,} more; run 'gateway status' to see them"
    body = f"""\
The mail gateway refuses clients, or will refuse them when a rule is no longer
in observation. A certificate, a revocation list or an OCSP answer that it
needs has expired or is missing:

{lines}

'gateway status' shows these problems until they are solved. The access log
has the cause of each refusal in "detail".

The mail gateway sends this mail automatically, at most once a day for the
same problems.
"""
    return message(notice, recipients, sender, "Mail gateway: clients are refused", body, now)


def is_worth_a_summary(findings: Findings, troubles: Sequence[Trouble]) -> bool:
    """True if the administrators have anything to do."""
    return bool(findings.next or findings.problems or findings.warnings or findings.undelivered or troubles)


def _summary(findings: Findings, troubles: Sequence[Trouble]) -> Iterator[str]:
    yield f"The certificate registry at {text(findings.at)}."
    if troubles:
        yield "\nWhat does not work:\n"
        for trouble in troubles:
            yield f"- {trouble.what}: {trouble.cause}\n  {as_sentence(trouble.remedy)}\n  (since {text(trouble.since)})"
    if findings.problems or findings.warnings:
        yield "\nWhat to do:\n"
        yield from (f"- {printable(line)}" for line in (*findings.problems, *findings.warnings))
    if findings.next:
        yield "\nCertificates that expire soon and were not renewed:\n"
        yield from (f"  {count:>6,} within {format_duration(w.total_seconds())}" for w, count in findings.ending)
        yield ""
        for record in findings.next:
            who = f"{record.email or '-'}  {record.common_name}"
            yield printable(f"  {record.not_after:%Y-%m-%d}  {record.authority}  {record.serial}  {who}")
        horizon = format_duration(findings.ending[0][0].total_seconds())
        if (more := findings.ending[0][1] - len(findings.next)) > 0:
            yield f"  and {more:,} more"
        seen, renewed = f"'gateway cert list --expiring {horizon}'", "'gateway cert renew SERIAL'"
        yield f"\nRun {at_desk(seen, findings.options)} to see them all,"
        yield f"and {at_desk(renewed, findings.options)} to renew one."
    if findings.undelivered:
        yield "\nMails that could not be delivered:\n"
        yield from (printable(f"- {each.recipient}: {each.failure}") for each in findings.undelivered)
    yield "\nThe mail gateway sends this mail automatically, at most once a day.\n"


def message(
    notice: Notice, recipients: Sequence[str], sender: str, subject: str, body: str, now: datetime
) -> EmailMessage:
    """A mail with the gateway's header fields. Raises `UndeliverableError` for an address that is not valid."""
    message = EmailMessage(policy=_POLICY)
    try:
        message["From"] = Address("Mail gateway", addr_spec=sender)
        addresses = [Address(addr_spec=address) for address in recipients]
        if not all(address.username and address.domain for address in addresses):
            raise ValueError(recipients)  # noqa: TRY301 - the same as `email`'s own
        message["To"] = addresses
    except (MessageError, ValueError, IndexError) as error:  # `email` raises these for an address that is not valid
        raise UndeliverableError(f"{recipients[0]!r} is not a valid mail address", "Correct the address.") from error
    message["Subject"] = subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = _message_id(notice, sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office note comes back
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange (MS-OXCMAIL)
    message.set_content(body, cte="quoted-printable")
    return message


def _message_id(notice: Notice, sender: str) -> str:
    """An identifier that is the same for the same mail, unique, and says nothing about the certificate."""
    seconds = int(notice.threshold.total_seconds())
    known = "\0".join((notice.kind, notice.topic, str(seconds), notice.recipient))
    return f"<{hashlib.sha256(known.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def _left(record: CertificateRecord, now: datetime) -> str:
    days = (record.not_after - now).days
    return f"in {days} days" if days > 1 else "within two days" if days == 1 else "within a day"


def _date(moment: datetime) -> str:
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def printable(line: str) -> str:
    """Text on one line, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
