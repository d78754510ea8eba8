"""The state as lines of text, and the problems in it that need an admin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gateway.admin.state import RESTART
from gateway.errors import as_clause

if TYPE_CHECKING:
    from gateway.admin.state import (
        AuthorityState,
        EndingState,
        LockoutState,
        NotificationsState,
        RegistryState,
        ServerState,
        State,
        WorkerState,
    )

# The gateway's own warnings begin as early.
SOON_DAYS: Final = 30
SHOWN_REASONS: Final = 5
SHOWN_LOCKOUTS: Final = 20
# Share of a worker's limit of open files; at the limit it takes no connection and opens none to upstream servers.
NEARLY_ALL_FILES: Final = 0.9
# Workers load new lists within a second, the longest ones within a few.
LISTS_LATE_SECONDS: Final = 5.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Line:
    """One line; the colour counts on a terminal only."""

    text: str
    colour: str | None = None
    is_heading: bool = False


def problems_of(state: State) -> list[str]:
    """The problems that need an admin now: cause and remedy, one line each."""
    found: list[str] = []
    if state["is_stopping"]:
        found.append("the gateway is stopping; it finishes open requests and takes no new connections")
    elif not state["is_serving"]:
        found.append("no worker serves; read in the gateway's log why, or restart the gateway")
    found += _missing(state)
    found += state.get("outages", ())  # a gateway before this program has none
    for worker in state["workers"]:
        found += _worker_problems(worker)
    for problem in state.get("list_problems", ()):
        found.append(f"{problem}; until then the last good list is used, without newer revocations")
    if (error := state["reload"]["error"]) is not None:
        what = "restart the gateway for this" if RESTART in error else "correct this and send SIGHUP"
        found.append(f"the newest reload was refused, and the old configuration stays in use; {what}:")
        found += [f"  {line}" for line in error.splitlines()]
    if (registry := state.get("registry")) is not None:  # a gateway before this program has none
        found += _registry_problems(registry)
    return [_printable(line) for line in found]


def _worker_problems(worker: WorkerState) -> Iterator[str]:
    if not worker["is_answering"]:
        yield f"worker {worker['pid']} does not answer ({_age(worker)}); it is replaced after ten seconds"
    used, most = worker["open_files"], worker["open_files_limit"]
    if used > most * NEARLY_ALL_FILES:
        yield f"worker {worker['pid']} has {used:,} of {most:,} files open; raise LimitNOFILE and restart the gateway"
    if (seconds := worker.get("lists_behind_seconds", 0.0)) > LISTS_LATE_SECONDS:
        late = f"worker {worker['pid']} has been without the newest revocation lists for {_duration(seconds)}"
        cause = worker["lists_error"] or "it has given no reason"
        yield f"{late}: {cause}; it is told again, and replaced after a minute"
    if (error := worker["reload_error"]) is not None:
        yield f"worker {worker['pid']} uses an older configuration: {error}; send SIGHUP again"


def _missing(state: State) -> Iterator[str]:
    missing = state["workers_wanted"] - len(state["workers"])
    if missing > 0:
        yield f"{_count(missing, 'worker')} missing; new ones are being started, the log says why the others ended"
    for helper in state["helpers"]:
        if helper["pid"] is None:
            yield f"the {helper['name']} is not running; a new one is being started, the log says why it ended"
        elif not helper["is_answering"]:
            yield f"the {helper['name']} (process {helper['pid']}) does not answer; it is replaced after twenty seconds"


def _registry_problems(registry: RegistryState) -> Iterator[str]:
    if registry["is_silent"]:
        yield "the keeper is not reporting, so no list is renewed; read the gateway's log, or restart the gateway"
    yield from registry.get("problems", ())  # a gateway before this program doesn't send them
    for trouble in registry["troubles"]:
        since, again = _when(trouble["since"]), _when(trouble["retry_at"])
        yield f"{trouble['what']}: {trouble['cause']}; {as_clause(trouble['remedy'])}"
        yield f"  since {since}; the next attempt is {again}, or at once after a reload (SIGHUP)"


def lines_of(state: State, problems: list[str]) -> Iterator[Line]:
    """The whole report."""
    up = _duration(state["uptime_seconds"])
    yield Line(f"gateway {state['version']}, up {up}, process {state['pid']}", is_heading=True)
    yield from _reload(state)
    yield from _workers(state)
    yield from _helpers(state)
    yield from _traffic(state)
    yield from _observation(state)
    yield from _sites(state)
    yield Line("upstreams", is_heading=True)
    for name, servers in state["upstreams"].items():
        for server in servers:
            yield _server(name, server)
    if (registry := state.get("registry")) is not None:
        yield from _registry(registry)
    yield from _lockouts(state)
    if state["warnings"]:
        yield Line("warnings", "yellow", is_heading=True)
        yield from (Line(f"  {_printable(line)}", "yellow") for line in state["warnings"])
    if problems:
        yield Line("problems", "red", is_heading=True)
        yield from (Line(f"  {line}", "red") for line in problems)


def _reload(state: State) -> Iterator[Line]:
    reload = state["reload"]
    counts = f"{_count(reload['succeeded'], 'reload')}, {reload['refused']} refused"
    yield Line("configuration", is_heading=True)
    yield Line(f"  {_printable(state['config'])}, read {_when(reload['loaded'])}; {counts}")
    if reload["refused_at"] is not None:
        yield Line(f"  the newest change was refused {_when(reload['refused_at'])}", "red")


def _workers(state: State) -> Iterator[Line]:
    answering = sum(worker["is_answering"] for worker in state["workers"])
    connections = _count(state["connections"], "connection")
    yield Line("workers", is_heading=True)
    is_whole = answering == state["workers_wanted"]
    yield Line(
        f"  {answering} of {state['workers_wanted']} answer, {connections}, {state['worker_restarts']} replaced",
        None if is_whole else "red",
    )
    for worker in state["workers"]:
        text = f"  {worker['pid']:>8}  since {_when(worker['started'])}  {_count(worker['connections'], 'connection')}"
        text += f", {_count(worker['open_files'], 'file')}"
        if behind := worker.get("lists_behind_seconds", 0.0):
            text += f", revocation lists {behind:.1f} s behind"
        if not worker["is_answering"]:
            yield Line(f"{text}, does not answer ({_age(worker)})", "red")
        else:
            yield Line(f"{text}, draining" if worker["is_draining"] else text)


def _helpers(state: State) -> Iterator[Line]:
    for helper in state["helpers"]:
        name, replaced = helper["name"], f"{helper['restarts']} replaced"
        if helper["pid"] is None or helper["started"] is None:
            yield Line(f"  {name}: not running, {replaced}", "red")
        elif not helper["is_answering"]:
            yield Line(f"  {helper['pid']:>8}  {name}, does not answer, {replaced}", "red")
        else:
            yield Line(f"  {helper['pid']:>8}  since {_when(helper['started'])}  {name}, {replaced}")


def _traffic(state: State) -> Iterator[Line]:
    passed = sum(answer["count"] for answer in state["answers"] if answer["reason"] is None)
    refusals: dict[str, int] = {}
    for answer in state["answers"]:
        if (reason := answer["reason"]) is not None:
            refusals[reason] = refusals.get(reason, 0) + answer["count"]
    often = sorted(refusals.items(), key=lambda item: -item[1])[:SHOWN_REASONS]
    named = ", ".join(f"{reason} {count:,}" for reason, count in often)
    handshakes = state["handshakes"]
    yield Line("traffic since the start", is_heading=True)
    yield Line(f"  {passed:,} passed, {sum(refusals.values()):,} refused{f': {named}' if named else ''}")
    yield Line(
        f"  handshakes: {handshakes['full']:,} full, {handshakes['resumed']:,} resumed, {handshakes['failed']:,} failed"
    )
    if dropped := state["dropped_log_lines"]:
        yield Line(f"  {dropped:,} lines of the access log were lost; the error log says why", "red")


def _observation(state: State) -> Iterator[Line]:
    rules = state.get("observation", [])  # an older gateway doesn't send them
    if rules:
        yield Line("rules in observation", is_heading=True)
    for rule in rules:
        yield Line(f"  {_printable(rule['rule'])}, line {rule['line']}: {rule['outlook']}", "yellow")
        yield Line(f"    {_count(rule['count'], 'such request')} let in since the start, 'observed' in the access log")


def _sites(state: State) -> Iterator[Line]:
    yield Line("sites", is_heading=True)
    for site in state["sites"]:
        yield Line(f"  {', '.join(site['hosts'])} to {_printable(site['upstream'])}")
        yield _ending("certificate", site["certificate"])
        for authority in site["client_cas"]:
            yield _ending("client CA", authority)
        for entry in site["crls"]:
            yield _ending("CRL", entry)


def _ending(kind: str, ending: EndingState) -> Line:
    seconds = ending["seconds_left"]
    if seconds < 0:
        left, colour = f"ended {_duration(-seconds)} ago", "red"
    else:
        left, colour = f"{_duration(seconds)} left", "yellow" if seconds < SOON_DAYS * _DAY and kind != "CRL" else ""
    return Line(f"    {kind:<11}  {_printable(ending['name'])}: ends {_when(ending['ends'])}, {left}", colour or None)


def _registry(registry: RegistryState) -> Iterator[Line]:
    looked = registry["looked"]
    yield Line("certificate registry", is_heading=True)
    yield Line("  not read yet" if looked is None else f"  read {_when(looked)}")
    for authority in registry["authorities"]:
        yield from _authority(authority)
    if registry["ending"]:
        counts = ", ".join(
            f"{each['count']:,} within {_duration(each['within_seconds'])}" for each in registry["ending"]
        )
        yield Line(f"  end without a successor: {counts}", "yellow" if registry["ending"][0]["count"] else None)
    for certificate in registry["next"]:
        who = _printable(certificate["email"] or certificate["name"])
        left = _duration(max(certificate["seconds_left"], 0))
        yield Line(f"    {certificate['serial']}  {who}: ends {_when(certificate['ends'])}, {left} left")
    if any((mails := registry["mails"]).values()):
        yield Line(f"  mails since the keeper's start: {mails['sent']:,} sent, {mails['refused']:,} refused")
    if (notifications := registry.get("notifications")) is not None:  # a gateway before this program has none
        yield _notifications(notifications)


def _notifications(notifications: NotificationsState) -> Line:
    since = _when(notifications["since"])
    if notifications["is_up"]:
        return Line(f"  other machines' revocations arrive at once, since {since}")
    cause = _printable(notifications["cause"] or "not connected yet")
    return Line(f"  other machines' revocations arrive seconds later, since {since}: {cause}", "yellow")


def _authority(authority: AuthorityState) -> Iterator[Line]:
    counts = ", ".join(f"{count:,} {status}" for status, count in authority["certificates"].items())
    yield Line(f"  {authority['name']}: {counts or 'no certificates'}")
    left = authority["list_seconds_left"]
    if authority["list_ends"] is None or left is None:
        yield Line("    no revocation list yet", "red")
        return
    how = "renewed by the gateway" if authority["is_kept"] else "renewed by 'gateway ca crl'"
    until = f"ended {_duration(-left)} ago" if left < 0 else f"{_duration(left)} left"
    text = f"    list {authority['list_number']}: ends {_when(authority['list_ends'])}, {until}; {how}"
    yield Line(text, "red" if left < 0 else None)


def _server(upstream: str, server: ServerState) -> Line:
    known, up = server["workers"], server["up_in"]
    if not known:
        condition, colour = "no report yet", None
    elif up == known:
        condition, colour = "up", None
    else:
        why = f": {_printable(server['cause'])}" if server["cause"] else ""
        condition, colour = f"down for {known - up} of {_count(known, 'worker')}{why}", "red"
    addresses = server.get("addresses", [])  # an older gateway doesn't send them
    at = f" ({', '.join(map(_printable, addresses))})" if addresses else ""
    text = f"  {_printable(upstream)}  {_printable(server['server'])}{at}  {server['busy']} busy, {server['idle']} idle"
    return Line(f"{text}, {condition}", colour)


def _lockouts(state: State) -> Iterator[Line]:
    lockouts = state.get("lockouts", [])  # an older gateway doesn't send them
    if lockouts:
        yield Line("locked out", is_heading=True)
    for lockout in lockouts[:SHOWN_LOCKOUTS]:
        left = _duration(lockout["seconds_left"])
        whose = _printable(lockout["address"]) + _certificate(lockout)
        yield Line(f"  {whose}  until {_when(lockout['ends'])}, {left} left")
    if len(lockouts) > SHOWN_LOCKOUTS:
        yield Line(f"  and {len(lockouts) - SHOWN_LOCKOUTS:,} more; --json lists all")


def _certificate(lockout: LockoutState) -> str:
    fingerprint, holder = lockout.get("certificate"), lockout.get("holder")  # an older gateway sends neither
    if fingerprint is None:
        return ""
    return f"  with the certificate {_printable(fingerprint[:16])}" + (f" of {_printable(holder)}" if holder else "")


def _age(worker: WorkerState) -> str:
    age = worker["report_age_seconds"]
    return "it has not reported yet" if age is None else f"its last report is {_duration(age)} old"


def _when(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    """The two largest units: `3 d 4 h`."""
    whole = int(seconds)
    if whole >= _DAY:
        return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
    if whole >= _HOUR:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    if whole >= _MINUTE:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole} s"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _printable(text: str) -> str:
    """The text with everything escaped that could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
