"""For `gateway check`: prepares everything that serving needs, and reports each fault at its entry in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.config.problems import START, Place, Problem
from gateway.config.reading import Value
from gateway.errors import ConfigError
from gateway.fetching.list_store import ListStore, stored_lists
from gateway.supervisor.reload.revision import prepare
from gateway.supervisor.reload.trial import Fault, faults_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.load import Loaded


def trial_problems(loaded: Loaded, path: Path, reported: tuple[Problem, ...], *, has_keys: bool) -> tuple[Problem, ...]:
    """Every problem at an entry without a `reported` one. If there are none at all, everything is prepared together.

    `has_keys`: the private keys were read; without them, only the rest is prepared.
    """
    known = {problem.place.path for problem in reported}
    found = []
    for fault in faults_of(loaded.config, has_keys=has_keys):
        place = Place(START) if loaded.root is None else _place(loaded.root, fault, loaded)
        if not any(one == place.path or one.startswith(f"{place.path}[") for one in known):
            found.append(Problem(str(path), place, fault.error.cause, fault.error.remedy))
    if found or reported or not has_keys:
        return tuple(found)
    try:
        prepare(loaded.config, stored_lists(loaded.config, ListStore.beside(path)))
    except ConfigError as error:
        return (Problem(str(path), Place(START), error.cause, error.remedy),)
    return ()


def _place(root: Value, fault: Fault, loaded: Loaded) -> Place:
    for value in _entries(root, fault.section):
        if fault.line not in {0, value.place.mark.line}:
            continue
        for item in value.items(fault.key) if fault.value is not None else ():
            if str(loaded.config.path.parent / str(item.data)) == fault.value:
                return item.place
        return value.at(fault.key)
    return Place(START)


def _entries(root: Value, section: str) -> Iterator[Value]:
    match section:
        case "sites":
            yield from root.items("sites")
        case "upstreams":
            yield from root.section("upstreams").data.values()
        case _:
            yield root.section(section)
