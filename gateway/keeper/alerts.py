"""Decides what is worth an alert: a certificate at a new place, and many refusals of one person.

Keeps true: only certificates that a rule required and accepted count for places, so a stranger with a certificate in
another person's name causes no mail to that person. Nothing is alerted of while the keeper learns, in the first day.
Memory is bounded, whatever clients send.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_network
from types import MappingProxyType
from typing import Final

import msgspec

from gateway.config.model import Alerts as Settings
from gateway.facts import STATUS_OF_REASON, Reason
from gateway.keeper.alert_state import MAX_DEVICES, MAX_NETWORKS, MAX_PENDING, MAX_PEOPLE, Event, Person, State
from gateway.keeper.renewal import text
from gateway.logs.entry import Entry

LEARN_SECONDS: Final = 86_400.0  # the first day only learns: otherwise everybody would get a mail
IPV4_BITS: Final = 24  # addresses that differ in the last byte are one network
IPV6_BITS: Final = 48  # what a provider gives to one customer at most (RFC 6177)
REFUSALS_SECONDS: Final = 600.0  # in this time, refusals are a burst
PLACE_PAUSE_SECONDS: Final = 3600.0  # between two mails to one holder; what is new meanwhile comes in the second
REFUSALS_PAUSE_SECONDS: Final = 86_400.0  # between two mails about one person: a phone tries again for weeks
PENDING_SECONDS: Final = 3 * 86_400.0  # an event that could not be mailed for so long is dropped
# The rest is told to the administrators in one mail. Each kind has its own limit, because strangers can cause refusals:
# they must not use up the mails that tell holders of a thief.
MAILS_AN_HOUR: Final = MappingProxyType({"place": 30, "refusals": 10})
MAX_REFUSED: Final = 2000  # people whose refusals are counted at the same time
LINES: Final = 10  # new places in one mail
ADDRESSES: Final = 5  # in one mail about refusals
_HOUR: Final = 3600.0
_NAME_CHARACTERS: Final = 254  # of a person (RFC 5321, 4.5.3.1.3, without the brackets) or a device
_OWN_FAULTS: Final = 500  # from this status on, the gateway or the mail server failed
_PAUSES: Final = {"place": PLACE_PAUSE_SECONDS, "refusals": REFUSALS_PAUSE_SECONDS}


@dataclass(slots=True)
class _Burst:
    """Refusals of one person since the first one."""

    began: float
    count: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)


class Alerts:
    """Looks at entries of the log, and keeps the state."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.state = state
        self.is_changed = False  # since it was saved, in more than the time up to which the log was read
        self._settings = settings
        self._bursts: dict[str, _Burst] = {}  # the oldest first

    def note(self, entry: Entry) -> None:
        """Look at one line of the log."""
        if entry.reason is None:
            if self._settings.new_place and _is_accepted(entry):
                self._note_place(entry)
        elif self._settings.refusals is not None:
            self._note_refusal(entry, self._settings.refusals)

    def due(self, now: float, *, has_admins: bool) -> tuple[list[Event], list[Event] | None]:
        """(events to mail now, each for itself; events for one mail to the administrators, None for no such mail)."""
        self._forget(now)
        single: list[Event] = []
        rest: list[Event] = []
        for kind in MAILS_AN_HOUR:
            left = self._left(kind)
            ready = self._ready(kind, now)
            fits = left if len(ready) <= left or not has_admins else max(0, left - 1)  # one is for the rest
            single += ready[:fits]
            if has_admins and left:
                rest += ready[fits:]
        used = sum(event.kind == "refusals" for event in single)
        has_unlisted = bool(self.state.unlisted) and has_admins and self._left("refusals") > used
        return single, rest if rest or has_unlisted else None

    def done(self, events: list[Event], now: float, *, is_folded: bool = False) -> None:
        """These events were mailed, in one mail. What was added to them since `due` stays pending."""
        state = self.state
        for kind in {event.kind for event in events} or {"refusals"}:
            state.sent.setdefault(kind, []).append(now)
        if is_folded:
            state.unlisted = 0
        for event in events:
            key = _key(event.kind, event.person)
            state.told[key] = now
            newer = state.pending.pop(key, None)
            if newer is not None and event.kind == "place" and newer.count > event.count:
                newer.lines, newer.count = newer.lines[len(event.lines) :], newer.count - event.count
                state.pending[key] = newer
        self.is_changed = True

    def _forget(self, now: float) -> None:
        state = self.state
        longest = max(_PAUSES.values())
        state.told = {key: at for key, at in state.told.items() if now - at < longest}
        state.sent = {kind: [at for at in times if now - at < _HOUR] for kind, times in state.sent.items()}
        state.pending = {key: each for key, each in state.pending.items() if now - each.first < PENDING_SECONDS}

    def _left(self, kind: str) -> int:
        return max(0, MAILS_AN_HOUR[kind] - len(self.state.sent.get(kind, ())))

    def _ready(self, kind: str, now: float) -> list[Event]:
        pending = self.state.pending.items()
        return [_copy(event) for key, event in pending if event.kind == kind and self._may_tell(key, now)]

    def _may_tell(self, key: str, now: float) -> bool:
        kind = key.partition(" ")[0]
        return now - self.state.told.get(key, float("-inf")) >= _PAUSES[kind]

    def _note_place(self, entry: Entry) -> None:
        email, network = (entry.cert_email or "").lower()[:_NAME_CHARACTERS], network_of(entry.client_ip)
        if not email or network is None:
            return
        people = self.state.people
        is_known = email in people
        person = people[email] = people.pop(email) if is_known else Person()
        device = None if entry.device_id is None else entry.device_id[:_NAME_CHARACTERS]
        new = []
        if _is_added(person.networks, network, MAX_NETWORKS):
            new.append(f"from {entry.client_ip}, in the network {network}")
        if device and _is_added(person.devices, device, MAX_DEVICES):
            new.append(f"on the device {device}, from {entry.client_ip}")
        if new:
            self.is_changed = True
        if len(people) > MAX_PEOPLE:
            del people[next(iter(people))]
        if new and is_known and entry.written - self.state.began >= LEARN_SECONDS:
            self._add_place(entry, email, new)

    def _add_place(self, entry: Entry, email: str, new: list[str]) -> None:
        event = self._pending("place", email, entry.written)
        if event is None:
            return
        event.last = entry.written
        event.count += len(new)
        event.name, event.serial = entry.common_name or "", entry.cert_serial or ""
        event.lines += [f"{text(entry.time)}  {line}" for line in new]
        del event.lines[LINES:]

    def _note_refusal(self, entry: Entry, threshold: int) -> None:
        person = (entry.cert_email or entry.user or "").lower()[:_NAME_CHARACTERS]
        if not person or not _is_refusal(entry.reason or ""):
            return
        burst = self._bursts.get(person)
        if burst is None or entry.written - burst.began > REFUSALS_SECONDS:
            self._bursts.pop(person, None)
            burst = self._bursts[person] = _Burst(entry.written)
            if len(self._bursts) > MAX_REFUSED:
                del self._bursts[next(iter(self._bursts))]
        burst.count += 1
        reason = entry.reason or ""
        burst.reasons[reason] = burst.reasons.get(reason, 0) + 1
        address = entry.client_ip or ""
        if address not in burst.addresses and len(burst.addresses) < ADDRESSES:
            burst.addresses.append(address)
        if burst.count < threshold or not self._may_tell(_key("refusals", person), entry.written):
            return
        event = self._pending("refusals", person, burst.began)
        if event is not None:
            event.last, event.count = entry.written, burst.count
            event.reasons, event.addresses = dict(burst.reasons), list(burst.addresses)

    def _pending(self, kind: str, person: str, first: float) -> Event | None:
        """The event about a person that waits, a new one if there is none; None if too many wait."""
        key, pending = _key(kind, person), self.state.pending
        self.is_changed = True
        if key not in pending:
            if sum(event.kind == kind for event in pending.values()) >= MAX_PENDING:
                self.state.unlisted += 1
                return None
            pending[key] = Event(kind, person, first, first)
        return pending[key]


def network_of(address: str | None) -> str | None:
    """The network in which an address is one place; None for text that is no address."""
    try:
        found = ip_address(address or "")
    except ValueError:
        return None
    bits = IPV4_BITS if isinstance(found, IPv4Address) else IPV6_BITS
    return str(ip_network((found.packed, bits), strict=False))


def _is_accepted(entry: Entry) -> bool:
    """Whether a rule required the certificate and accepted it; in observation it may be anybody's."""
    return entry.decision == "require_certificate" and entry.observed is None and entry.cert_fingerprint is not None


def _is_refusal(reason: str) -> bool:
    try:
        return STATUS_OF_REASON[Reason(reason)] < _OWN_FAULTS
    except ValueError:  # a failed handshake: whose, is not known
        return False


def _is_added(places: list[str], place: str, limit: int) -> bool:
    """Move a place to the end; True if it is new. The one that was not used for the longest time makes room."""
    is_new = place not in places
    if not is_new:
        places.remove(place)
    places.append(place)
    del places[:-limit]
    return is_new


def _copy(event: Event) -> Event:
    return msgspec.structs.replace(event, lines=list(event.lines))


def _key(kind: str, person: str) -> str:
    return f"{kind} {person}"
