"""`gateway logs --why WHO`: reads the log once, asks registry and gateway, and prints the answer.

Exit code 0: there is an answer about one person. 1: WHO matches several people, or the log has no lines of WHO.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Final

from gateway.access import exists
from gateway.cli.why import live
from gateway.cli.why.case import Case, Sources
from gateway.cli.why.document import document_of, people_document
from gateway.cli.why.history import (
    Episode,
    Person,
    closed_episode,
    is_address_name,
    is_stray,
    open_episode,
    other_episodes,
)
from gateway.cli.why.lines import SERVER_ERROR, code_of, login_of
from gateway.cli.why.question import DEVICE, NUMBER, TIME, Question, in_order, question_of
from gateway.cli.why.registry import Asker, Registry
from gateway.cli.why.report import lines_of, listed, other_text, refused_text, rendered, state_text
from gateway.cli.why.survey import Found, Survey, label_of
from gateway.cli.why.unrefused import let_in
from gateway.cli.why.verdict import verdict_of
from gateway.cli.why.words import count_of, moment
from gateway.facts import Reason
from gateway.logs.entry import Entry
from gateway.logs.filters import Filters, fold
from gateway.logs.reader import Hit, Reader
from gateway.x509.serials import serial_text

MAX_HINTS: Final = 5
# What refuses everyone alike.
_SHARED: Final = frozenset(
    {
        Reason.LOCKED_OUT,
        Reason.REVOCATION_UNKNOWN,
        Reason.TOO_MANY_CONNECTIONS,
        Reason.UPSTREAM_UNREACHABLE,
        Reason.UPSTREAM_BAD_RESPONSE,
        Reason.UPSTREAM_TIMEOUT,
        Reason.NO_HEALTHY_UPSTREAM,
        SERVER_ERROR,
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options."""

    who: str
    config: Path | None
    files: tuple[Path, ...]
    store: str | None
    as_json: bool


def answer(
    asked: Asked, filters: Filters, now: datetime, hits_of: Callable[[Reader], Iterable[Hit | None]]
) -> tuple[bool, Reader]:
    """Print the answer. Returns whether there is one about one person, and the reader, which counts what it skipped."""
    question = question_of(asked.who, now)
    asker = Asker(asked.store, asked.config, now)
    registry = Registry("WHO is not a name") if question.network or question.moment else _of_question(asker, question)
    for certificate in registry.certificates:
        question.fingerprints[certificate.fingerprint] = certificate.holder
    passes = filters.matches()
    reader = Reader(passes, question.finder())
    survey = Survey(question)
    survey.read(hits_of(reader))
    searched = None if question.reads_all else frozenset(question.fingerprints)
    if question.network is not None or filters.filters:
        searched = frozenset()
    config = asked.config if asked.config is not None and exists(asked.config) else None
    store = None if asker.is_default else asker.store
    configured = live.Configured.of(config, now)
    sources = Sources(now, configured.inside, registry, live.Live(), config, store, asked.files, configured.outlooks)
    sources.searched = searched
    return _Answer(asked, question, survey, asker, sources).give(), reader


def _of_question(asker: Asker, question: Question) -> Registry:
    numbers = []
    if question.digits:
        numbers = [serial_text(int(question.digits, 16)), question.digits.zfill(64)]
    return asker.find([question.text], numbers)


class _Answer:
    """Chooses whom the answer is about, and gives it."""

    def __init__(self, asked: Asked, question: Question, survey: Survey, asker: Asker, sources: Sources) -> None:
        self._asked = asked
        self._question = question
        self._survey = survey
        self._asker = asker
        self._sources = sources
        self._notes: list[str] = []

    def give(self) -> bool:
        """Print. Returns whether it is about one person."""
        survey, question = self._survey, self._question
        if survey.asked is not None:
            return self._of_one(survey.asked.person, survey.asked.episode, survey.asked.hit)
        if question.moment is not None:
            return self._of_time(list(survey.near.values()))
        matching = survey.matching()
        if not matching:
            return self._of_nobody()
        if len(matching) == 1:
            return self._of_one(matching[0])
        return self._of_several(matching)

    def _of_time(self, near: Sequence[Found]) -> bool:
        if not near:
            return self._say_none(f"nothing was refused within five minutes of {self._moment()}")
        telling = [
            each
            for each in near
            if not is_address_name(each.person.name) or each.episode is None or not is_stray(each.episode)
        ]
        for chosen in (near, telling):
            people = {id(found.person): found for found in chosen}
            if len(people) == 1:
                found = next(iter(people.values()))
                others = [each.person for each in near if each.person is not found.person]
                self._note_others(others, "refused at that time")
                return self._of_one(found.person, found.episode, found.hit)
        people = {id(found.person): found for found in near}
        if (shared := _of_shared_cause([found.person for found in people.values()])) is not None:
            self._note_others([each.person for each in people.values() if each.person is not shared], "refused too")
            chosen_one = people[id(shared)]
            return self._of_one(shared, chosen_one.episode, chosen_one.hit)
        about = f"{len(people)} people or addresses were refused within five minutes of {self._moment()}"
        if self._survey.near_dropped:
            about += f" (and {count_of(self._survey.near_dropped, 'more refusal')})"
        nearest = sorted(people.values(), key=self._survey.distance)
        return self._ask_for_one([found.person for found in nearest], about, [refused_text(each) for each in nearest])

    def _note_others(self, others: Sequence[Person], where: str) -> None:
        if others:
            texts = "; ".join(f"{label_of(each)}, {state_text(each)}" for each in others[:MAX_HINTS])
            self._notes.append(f"{count_of(len(others), 'other')} {where}: {texts}")

    def _moment(self) -> str:
        return moment(datetime.fromtimestamp(self._question.moment or 0.0).astimezone())

    def _of_several(self, people: Sequence[Person]) -> bool:
        """Several people share an address, a device or a name. One of them is refused, or the admin has to choose."""
        refused = [each for each in people if open_episode(each) is not None]
        shares = self._question.network is not None or set(self._question.taken_for) == {DEVICE}
        if shares and len(refused) == 1:
            self._note_others([each for each in people if each is not refused[0]], f"with {self._asked.who}")
            return self._of_one(refused[0])
        if shares and (shared := _of_shared_cause(refused)) is not None:
            self._note_others([each for each in people if each is not shared], f"with {self._asked.who}")
            return self._of_one(shared)
        people = sorted(people, key=lambda each: open_episode(each) is None)  # those who are refused first
        return self._ask_for_one(people, f"{self._asked.who} matches {len(people)} people")

    def _ask_for_one(self, people: list[Person], about: str, states: Sequence[str] = ()) -> bool:
        options = [_option(each, self._asked.who) for each in people]
        states = states or [state_text(each) for each in people]
        if self._asked.as_json:
            _print_json(people_document(self._asked.who, self._taken(), about, people, options))
            return False
        lines = [("Who", f"{about}. Ask for one of them:"), *listed(people, states)]
        lines += [("", ""), ("command", f"gateway logs {_option_text(options[0])}{self._log()}")]
        sys.stdout.write(rendered(lines))
        return False

    def _say_none(self, about: str) -> bool:
        searched = (
            "address, login, mail address, CN, serial, fingerprint and device of each line, and the request numbers"
        )
        advice = (
            "Try another spelling, another name of the person, the address, or the number or time of a refusal. "
            "Without certificate and login a request has no name"
        )
        if (
            self._sources.registry.is_known
            and not self._sources.registry.certificates
            and self._question.network is None
        ):
            about += ", and the registry has no certificate of this name"
        if names := self._similar():
            about += f"; but it is a part of these names: {', '.join(names[:MAX_HINTS])}"
        hints = [] if self._question.reads_all else self._hints(Person(self._question.text))
        if self._asked.as_json:
            _print_json(people_document(self._asked.who, self._taken(), about, [], []))
            return False
        lines = [("Who", f"{about}. Searched: {searched}."), ("Try", f"{advice}.")]
        if self._sources.registry.problem is not None and self._question.network is None:
            lines.append(("Registry", f"not asked: {self._sources.registry.problem}"))
        lines += [("Note", hint) for hint in hints]
        lines += [("", ""), ("command", f"gateway logs --denied --since 1d{self._log()}")]
        sys.stdout.write(rendered(lines))
        return False

    def _similar(self) -> list[str]:
        """People whose names have WHO as a part, each with the name to ask for first."""
        if self._question.network is not None or self._question.reads_all:
            return []
        found = self._survey.similar | self._asker.similar(self._question.text)
        return [key if key == fold(name) else f"{key} ({name})" for key, name in found.items()]

    def _of_nobody(self) -> bool:
        registry = self._sources.registry
        holders = {each.holder for each in registry.certificates}
        if self._question.network is None and len(holders) == 1:
            return self._of_one(Person(next(iter(holders))))
        return self._say_none(f"no line of the log is about {self._asked.who}")

    def _of_one(self, person: Person, episode: Episode | None = None, asked: Hit | None = None) -> bool:
        survey, sources = self._survey, self._sources
        is_likely = False
        shown = person
        if asked is None:
            episode = open_episode(person)
            if episode is None and not is_address_name(person.name) and (found := survey.likely(person)) is not None:
                (episode, shown), is_likely = found, True
        sources.registry = self._registry_of(person, episode)
        sources.live = live.ask(sources.config)
        is_name = not is_address_name(person.name)
        case = Case(
            person,
            label_of(person),
            sources,
            episode,
            asked if asked is not None and code_of(asked) else None,
            is_likely,
            is_name=is_name,
            success=person.success if is_likely else None,
        )
        if is_likely:
            self._notes.append(
                f"these requests have no name, but came from {shown.name.partition(' ')[2]}, with the address or the "
                f"program of {case.who}: they are probably of the same person"
            )
        elif asked is not None and case.asked is None:
            case.asked = asked
        if not is_name and self._question.network is None:
            self._note_others(survey.let_in_from(person.name.partition(" ")[2]), "let in from this address before")
        if episode is not None and asked is None:
            self._notes += [other_text(each) for each in other_episodes(shown, episode)[:MAX_HINTS]]
        strangers = survey.nameless_after(person) if episode is None else []
        if episode is None and is_name:
            self._notes += self._hints(person)
        ended = closed_episode(person)
        if episode is None and ended is not None and asked is None:
            past = Case(person, case.who, sources, ended, is_name=is_name)
            self._notes.append(f"the refusals until {moment(ended.last.entry.time)}: {verdict_of(past).sentence}")
        verdict = let_in(case, strangers) if episode is None else verdict_of(case)
        if self._asked.as_json:
            _print_json(document_of(self._asked.who, self._taken(), case, verdict, self._notes))
        else:
            sys.stdout.write(rendered(list(lines_of(case, verdict, self._taken_text(person), self._notes))))
        return True

    def _hints(self, person: Person) -> list[str]:
        """Refusals without a name, the newest first."""
        if self._question.network is not None:
            return []
        found = self._survey.nameless_after(person)[:MAX_HINTS]
        return [f"refused without a name: {label_of(each)}, {state_text(each)}" for each in found]

    def _registry_of(self, person: Person, episode: Episode | None) -> Registry:
        """What the registry says about the person, and about the certificate that was refused."""
        entries: list[Entry] = [hit.entry for hit in person.certificates.values()]
        if episode is not None:
            entries += [episode.first.entry, episode.last.entry]
        numbers = {entry.cert_fingerprint for entry in entries if entry.cert_fingerprint}
        names = set() if is_address_name(person.name) else {person.name}
        names |= {entry.cert_email for entry in entries if entry.cert_email}
        if episode is not None and code_of(episode.last) == Reason.USER_MISMATCH:
            names |= {login for login in (login_of(episode.last.entry),) if login}
        if self._question.network is None and not self._question.reads_all:
            names.add(self._question.text)
        return self._asker.find(names, numbers)

    def _taken(self) -> list[str]:
        kinds = in_order(self._question.taken_for)
        if self._survey.asked is not None:
            return [NUMBER]
        return [TIME] if self._question.moment is not None else kinds

    def _taken_text(self, person: Person) -> str:
        kinds = self._taken()
        taken = (
            f"{self._asked.who} was taken for {' and '.join(kinds)}"
            if kinds
            else f"{self._asked.who}: only in the registry"
        )
        name = label_of(person)
        return f"{taken}: {name}" if name != self._asked.who else taken

    def _log(self) -> str:
        if self._asked.files:
            return "".join(f" {quote(str(file))}" for file in self._asked.files)
        return "" if self._sources.config is None else f" -c {quote(str(self._sources.config))}"


def _of_shared_cause(people: Sequence[Person]) -> Person | None:
    """The one who was refused last, if all are refused for the same cause that has nothing to do with a person."""
    episodes = [(episode, each) for each in people if (episode := open_episode(each)) is not None]
    if not episodes or {code_of(episode.last) for episode, _ in episodes} - _SHARED:
        return None
    if len({code_of(episode.last) for episode, _ in episodes}) > 1:
        return None
    return max(episodes, key=lambda each: each[0].last.entry.time)[1]


def _option(person: Person, who: str) -> str:
    """What to ask for, to get the answer about this person: the name, or the number of a request without one."""
    name = person.name.removeprefix("fingerprint ")
    if not is_address_name(name) and name.isprintable() and name != fold(who.strip()):
        return name
    episode = open_episode(person) or closed_episode(person)
    hit = person.success if episode is None else episode.last
    number = None if hit is None else hit.entry.request_id
    return number or name.partition(" ")[2] or name


def _option_text(value: str) -> str:
    return f"--why={quote(value)}" if value.startswith("-") else f"--why {quote(value)}"


def _print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")
