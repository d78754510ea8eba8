"""One pass over the log: who matches WHO, and what happened to them. Memory is constant, whatever the log holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.cli.why.history import (
    NAMELESS,
    Episode,
    People,
    Person,
    address_name,
    is_address_name,
    open_episode,
)
from gateway.cli.why.lines import code_of, counted_address, is_success, kept, more_of
from gateway.cli.why.question import NUMBER, TIME, Question
from gateway.logs.entry import Entry
from gateway.logs.reader import Hit

MAX_PEOPLE: Final = 256  # that match WHO
MAX_ALL: Final = 1000  # of a request or a time, whose person is not known before
MAX_STRANGERS: Final = 250  # addresses of clients without a name
MAX_SIMILAR: Final = 5
MAX_NEAR: Final = 64  # people and places that were refused around a time


class Found(NamedTuple):
    """Refusals around a time, or the request that was asked for."""

    person: Person
    episode: Episode | None  # None: the request was let in
    hit: Hit


@dataclass(slots=True)
class Survey:
    """What the log says."""

    question: Question
    people: People = field(init=False)
    strangers: People = field(init=False)
    asked: Found | None = None
    near: OrderedDict[int, Found] = field(default_factory=OrderedDict)
    near_dropped: int = 0
    similar: dict[str, str] = field(default_factory=dict)  # people who have WHO as a part of a name, with that name
    named: set[str] = field(default_factory=set)  # of those in `people`, who match WHO as a name

    def __post_init__(self) -> None:
        self.people = People(MAX_ALL if self.question.reads_all else MAX_PEOPLE)
        self.strangers = People(MAX_STRANGERS)

    def read(self, hits: Iterable[Hit | None]) -> None:
        """Take all lines in."""
        take = self._scan if self.question.reads_all else self._match
        for hit in hits:
            if hit is not None:
                take(hit)

    def _match(self, hit: Hit) -> None:
        entry, question = hit.entry, self.question
        name = question.person_in(entry, self.people)
        if name == NAMELESS:
            self.strangers.add(address_name(entry), hit)
        elif name is not None:
            self.people.add(name, hit)
            if entry.reason is None and is_success(code_of(hit)):
                self.strangers.discard(address_name(entry))
        elif len(self.similar) < MAX_SIMILAR and (longer := question.longer_name_in(entry)) is not None:
            self.similar.setdefault(self.people.name_of(entry), longer)
        elif entry.reason is not None and question.network is None and self.people.name_of(entry) == NAMELESS:
            self.strangers.add(address_name(entry), hit)

    def _scan(self, hit: Hit) -> None:
        entry, question = hit.entry, self.question
        name = self.people.name_of(entry)
        if name == NAMELESS:
            person, episode = self.strangers.add(address_name(entry), hit)
        else:
            person, episode = self.people.add(name, hit)
        if question.is_asked_request(entry):
            question.note(NUMBER)
            self.asked = Found(person, episode, kept(hit))
        if episode is not None and question.is_near(entry):
            question.note(TIME)
            if id(episode) in self.near or len(self.near) < MAX_NEAR:
                self.near.setdefault(id(episode), Found(person, episode, kept(hit)))
            else:
                self.near_dropped += 1
                self._keep_nearer(Found(person, episode, kept(hit)))
        if question.moment is None and name != NAMELESS and question.person_in(entry, self.people) is not None:
            self.named.add(person.name)

    def _keep_nearer(self, new: Found) -> None:
        """Put a refusal in the place of the one that is farthest from the time, if it is nearer."""
        far = max(self.near, key=lambda each: self.distance(self.near[each]))
        if self.distance(new) < self.distance(self.near[far]):
            del self.near[far]
            self.near[id(new.episode)] = new

    def distance(self, found: Found) -> tuple[bool, float]:
        """How far a refusal is from the time that was asked for; people with a name come first."""
        seconds = abs(found.hit.entry.time.timestamp() - (self.question.moment or 0.0))
        return is_address_name(found.person.name), seconds

    def matching(self) -> list[Person]:
        """Everyone who matches WHO as a name or address."""
        if not self.question.reads_all:
            return [*self.people.all(), *(self.strangers.all() if self.question.network is not None else ())]
        return [each for each in self.people.all() if each.name in self.named]

    def likely(self, person: Person) -> tuple[Episode, Person] | None:
        """Refusals without a name after the last success that may be this person's: by address, or by the program."""
        found = [(open_episode(each), each) for each in self.nameless_after(person)]  # the newest first
        refused = [(episode, each) for episode, each in found if episode is not None]
        by_address = [each for each in refused if is_from(person, each[0].last.entry)]
        by_program = [each for each in refused if _has_same_program(person, each[0].last)]
        if by_address:
            return by_address[0]
        return by_program[0] if len(by_program) == 1 else None  # many people have the same browser

    def let_in_from(self, address: str) -> list[Person]:
        """Everyone with a name who was let in from this address."""
        return [each for each in self.people.all() if counted_address(address) in each.addresses]

    def nameless_after(self, person: Person) -> list[Person]:
        """Clients without a name that were refused after the last success, the newest first."""
        since = None if person.success is None else person.success.entry.time
        parts = {place.part for place, track in person.tracks.items() if track.success is not None}
        found = []
        for each in self.strangers.all():
            episode = open_episode(each)
            if episode is None or not (since is None or episode.last.entry.time > since):
                continue
            wanted = {place.part for place, track in each.tracks.items() if track.open is not None}
            if not parts or parts & wanted or is_from(person, episode.last.entry):  # the others are rather scanners
                found.append((episode.last.entry.time, each))
        found.sort(key=lambda each: each[0], reverse=True)
        return [each for _, each in found]


def is_from(person: Person, entry: Entry) -> bool:
    """Whether the address is one from which this person got in."""
    return entry.client_ip is not None and counted_address(entry.client_ip) in person.addresses


def _has_same_program(person: Person, hit: Hit) -> bool:
    if person.success is None:
        return False
    program = more_of(person.success).user_agent
    return program is not None and program == more_of(hit).user_agent


def label_of(person: Person) -> str:
    """The name as it is said."""
    if is_address_name(person.name):
        return f"the client at {person.name.partition(' ')[2]}"
    if person.name.startswith("fingerprint "):
        return f"the certificate {person.name.partition(' ')[2][:16]}…"
    return person.name
