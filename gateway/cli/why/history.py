"""What the log says of each person, in constant memory: the last success, the refusals after it, and the numbers.

A person's requests are told apart by site, first part of the path, and device: one phone may be refused while webmail
works. Each has at most one episode of refusals that is still open; its next success ends it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

from gateway.cli.why.lines import (
    WRONG_PASSWORD,
    code_of,
    counted_address,
    holder_of,
    is_redirect,
    is_success,
    kept,
    login_of,
    more_of,
    path_of,
)
from gateway.logs.entry import Entry
from gateway.logs.filters import fold
from gateway.logs.reader import Hit

MAX_TRACKS: Final = 12  # of a person
MAX_ADDRESSES: Final = 16
MAX_CERTIFICATES: Final = 8
NEGOTIATION: Final = timedelta(seconds=30)  # the longest that the steps of a login take together
MAX_FINGERPRINTS: Final = 4096  # whose holder is remembered
NAMELESS: Final = ""  # neither certificate nor login
_FINGERPRINT: Final = "fingerprint "
_ADDRESS: Final = "address "
_STRAY: Final = frozenset(
    {
        "bad_request",
        "uri_rejected",
        "not_found",
        "method_not_allowed",
        "expectation_failed",
        "request_timeout",
        "no_rule",
    }
)


class Place(NamedTuple):
    """What a person wanted to reach, and with what."""

    site: str
    part: str  # the first part of the path
    device: str


CONNECTION: Final = Place("", "", "")  # of failed handshakes


@dataclass(slots=True)
class Episode:
    """Refusals in a row."""

    before: Hit | None  # the last success before the first
    first: Hit
    last: Hit
    count: int = 0
    codes: dict[str, int] = field(default_factory=dict)  # at most as many as there are
    after: Hit | None = None  # the first success after them


@dataclass(slots=True)
class Track:
    """One place of a person."""

    success: Hit | None = None
    open: Episode | None = None
    closed: Episode | None = None


@dataclass(slots=True)
class Person:
    """Somebody, by certificate or login; or clients without both."""

    name: str
    tracks: OrderedDict[Place, Track] = field(default_factory=OrderedDict)
    success: Hit | None = None
    addresses: OrderedDict[str, None] = field(default_factory=OrderedDict)  # of successes, IPv6 as /64, the newest last
    certificates: OrderedDict[str, Hit] = field(default_factory=OrderedDict)  # by fingerprint: the newest line of each
    observed: Hit | None = None
    redirects: int = 0
    lines: int = 0

    def add(self, hit: Hit) -> Episode | None:
        """Take a line in. Returns the episode that it belongs to if it is a refusal."""
        self.lines += 1
        entry, code = hit.entry, code_of(hit)
        if entry.cert_fingerprint is not None:
            _put(self.certificates, entry.cert_fingerprint, kept(hit), MAX_CERTIFICATES)
        if code is None:
            if entry.status is not None and 300 <= entry.status < 400 and is_redirect(hit):
                self.redirects += 1
            return None
        if is_success(code):
            self._succeed(kept(hit))
            return None
        return self._refuse(kept(hit), code)

    def _succeed(self, hit: Hit) -> None:
        place = place_of(hit.entry)
        track = self._track(place)
        for other, each in self.tracks.items():
            if each.open is not None and (each is track or _ends(each.open, other, hit, place)):
                each.open.after = hit
                each.closed = each.closed if _is_negotiation(each.open, hit) else each.open
                each.open = None
        track.success = self.success = hit
        if hit.entry.client_ip is not None:
            _put(self.addresses, counted_address(hit.entry.client_ip), None, MAX_ADDRESSES)
        if hit.entry.observed is not None:
            self.observed = hit

    def _refuse(self, hit: Hit, code: str) -> Episode:
        track = self._track(place_of(hit.entry))
        episode = track.open
        if episode is None:
            episode = track.open = Episode(track.success or self.success, hit, hit)
        episode.last = hit
        episode.count += 1
        episode.codes[code] = episode.codes.get(code, 0) + 1
        return episode

    def _track(self, place: Place) -> Track:
        track = self.tracks.get(place)
        if track is None:
            track = Track()
        _put(self.tracks, place, track, MAX_TRACKS)
        return track


def _is_negotiation(episode: Episode, success: Hit) -> bool:
    """Whether these are the steps of one NTLM or Negotiate login: the server answers 401 until the last one."""
    return (
        set(episode.codes) == {WRONG_PASSWORD}
        and more_of(episode.last).login == "connection"
        and success.entry.time - episode.first.entry.time <= NEGOTIATION
    )


def _ends(episode: Episode, where: Place, success: Hit, place: Place) -> bool:
    """Whether a success elsewhere shows that the cause is gone: a certificate was exchanged, or the handshake works."""
    refused = episode.last.entry
    if where == CONNECTION:
        return True
    if where.device != place.device:
        return False
    return (
        (refused.reason or "").startswith("certificate_")
        and success.entry.cert_fingerprint is not None
        and success.entry.cert_fingerprint != refused.cert_fingerprint
    )


def place_of(entry: Entry) -> Place:
    """The place that a request is for."""
    if entry.method is None and entry.uri is None:
        return CONNECTION
    part = path_of(entry).lstrip("/").partition("/")[0]
    return Place(fold(entry.site or entry.host or "")[:256], fold(part)[:64], fold(entry.device_id or "")[:128])


def address_name(entry: Entry) -> str:
    """The name for clients without a name: their address."""
    return _ADDRESS + (entry.client_ip or "unknown")


def is_address_name(name: str) -> bool:
    """Whether it is such a name."""
    return name.startswith(_ADDRESS)


class People:
    """All people, the least recently seen forgotten first if there are too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._holders: OrderedDict[str, str] = OrderedDict()  # by fingerprint
        self._full_names: dict[str, str | None] = {}  # of a name without a domain; None: there are several
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._people)

    def all(self) -> list[Person]:
        """Everyone, the most recently seen last."""
        return list(self._people.values())

    def name_of(self, entry: Entry) -> str:
        """Whose line this is: the certificate's holder, else the login; `NAMELESS` without both."""
        fingerprint = entry.cert_fingerprint
        holder = holder_of(entry)
        if fingerprint is not None:
            if holder is None:
                holder = self._holders.get(fingerprint)
            else:
                _put(self._holders, fingerprint, holder, MAX_FINGERPRINTS)
        if holder is not None:
            return holder
        login = login_of(entry)
        if login:
            return login
        return NAMELESS if fingerprint is None else _FINGERPRINT + fingerprint

    def discard(self, name: str) -> None:
        """Forget somebody."""
        self._people.pop(name, None)

    def add(self, name: str, hit: Hit) -> tuple[Person, Episode | None]:
        """Take in a line of the person with this name."""
        name = self._full(name)
        person = self._people.get(name)
        if person is None:
            person = self._people[name] = self._merged(name) or Person(name)
            if len(self._people) > self._limit:
                gone, _ = self._people.popitem(last=False)
                self._forget(gone)
        else:
            self._people.move_to_end(name)
        return person, person.add(hit)

    def _full(self, name: str) -> str:
        """`alice` is `alice@example.com` if no other domain has an alice."""
        return name if "@" in name else self._full_names.get(name) or name

    def _merged(self, name: str) -> Person | None:
        """The person who was known without a domain so far."""
        local, at, _ = name.partition("@")
        if not at:
            return None
        if local in self._full_names:
            self._full_names[local] = None
            return None
        self._full_names[local] = name
        bare = self._people.pop(local, None)
        if bare is not None:
            bare.name = name
        return bare

    def _forget(self, name: str) -> None:
        self.forgotten += 1
        local = name.partition("@")[0]
        if self._full_names.get(local) == name:
            del self._full_names[local]


def _put(into: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    into[key] = value
    into.move_to_end(key)
    if len(into) > limit:
        into.popitem(last=False)


def open_episode(person: Person) -> Episode | None:
    """The refusals that have not ended. Those of odd paths count only if there are no others."""
    return max(_open(person), key=lambda each: (not is_stray(each), each.last.entry.time), default=None)


def other_episodes(person: Person, than: Episode) -> list[Episode]:
    """The refusals elsewhere that have not ended either, the newest first: of another device, site or path."""
    found = [each for each in _open(person) if each is not than and not is_stray(each)]
    return sorted(found, key=lambda each: each.last.entry.time, reverse=True)


def _open(person: Person) -> list[Episode]:
    return [track.open for track in person.tracks.values() if track.open is not None]


def is_stray(episode: Episode) -> bool:
    """Whether all of its refusals are of requests that say little about a person: odd paths and bad programs."""
    return not set(episode.codes) - _STRAY


def closed_episode(person: Person) -> Episode | None:
    """The refusals that have ended last."""
    found = [track.closed for track in person.tracks.values() if track.closed is not None]
    return max(found, key=lambda each: each.last.entry.time, default=None)
