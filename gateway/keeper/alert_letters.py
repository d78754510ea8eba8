"""The mails of alerts, as plain text.

Keeps true: what a client sent stands only in the body, without control characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from shlex import quote
from typing import Final

from gateway.keeper.alert_state import Event
from gateway.keeper.letters import message, printable
from gateway.keeper.renewal import text
from gateway.pki.registry.notices import Kind, Notice

NAMED: Final = 50  # people in one mail to the administrators


def of_places(event: Event, sender: str, contact: str | None, now: datetime) -> EmailMessage:
    """To the holder of a certificate that was used at a new place. Raises `UndeliverableError`."""
    places = "\n".join(f"  {printable(line)}" for line in event.lines)
    if (more := event.count - len(event.lines)) > 0:
        places += f"\n  and at {more:,} more"
    body = f"""\
Hello,

your certificate for mail was used at a place where it was not used before:

{places}

If this was you, on a journey or with a new device, you need not do anything.

If it was not you, somebody else may have your certificate. Contact at once:

  {contact or "your administrator"}

The certificate:

  name:        {printable(event.name)}
  address:     {printable(event.person)}
  serial:      {printable(event.serial)}

The mail gateway sent this mail automatically, at most once an hour.
"""
    subject = "Your mail certificate was used at a new place"
    return message(_notice(event), (event.person,), sender, subject, body, now)


def of_refusals(event: Event, recipients: Sequence[str], sender: str, now: datetime) -> EmailMessage:
    """To the administrators: one person is refused again and again."""
    reasons = sorted(event.reasons.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{reason} ({count:,})" for reason, count in reasons)
    person = printable(event.person)
    body = f"""\
The mail gateway refused requests of one person again and again:

  who:        {person}
  how often:  {event.count:,} times from {_time(event.first)} to {_time(event.last)}
  reasons:    {shown}
  addresses:  {printable(", ".join(event.addresses))}

The name is the one in the certificate or login that was sent. If it was
refused, it may be another person's.

This command explains it:

  gateway logs --why {quote(person)}

The mail gateway sends this mail automatically, at most once a day for the
same person.
"""
    subject = "Mail gateway: many refusals of one person"
    return message(_notice(event), recipients, sender, subject, body, now)


def of_many(
    events: Sequence[Event], unlisted: int, recipients: Sequence[str], sender: str, now: datetime
) -> EmailMessage:
    """To the administrators: more alerts than there may be mails in an hour."""
    lines = "\n".join(f"- {_in_short(event)}" for event in events[:NAMED])
    if more := max(0, len(events) - NAMED) + unlisted:
        lines += f"\n  and {more:,} more" if lines else f"- {more:,} alerts"
    body = f"""\
There were more alerts than the mail gateway may send in an hour. These were
not mailed, and will not be:

{lines}

The access log has the details: gateway logs --since 2h
"""
    first = min((event.first for event in events), default=now.timestamp())
    notice = Notice(Kind.ALERT, f"many {now.timestamp()} {first}", ", ".join(recipients))
    return message(notice, recipients, sender, "Mail gateway: many alerts", body, now)


def _in_short(event: Event) -> str:
    person = printable(event.person)
    if event.kind == "place":
        return f"{person}: certificate used at a new place, {printable(event.lines[0] if event.lines else '')}"
    return f"{person}: refused {event.count:,} times since {_time(event.first)}"


def _notice(event: Event) -> Notice:
    """What the mail is about: for its Message-ID."""
    return Notice(Kind.ALERT, f"{event.kind} {event.person} {event.first}", event.person)


def _time(unix_seconds: float) -> str:
    return text(datetime.fromtimestamp(unix_seconds, UTC))
