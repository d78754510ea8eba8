"""The master's child processes: forks that talk to the master over a channel and are replaced when they end.

Keeps true: the master never waits for a child, nor for room in a channel; a child that ends is replaced at once if it
ran for `STEADY_SECONDS`, otherwise after a pause that grows with each failed start; a child has no open descriptors of
its siblings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway import clock
from gateway.errors import OperationError
from gateway.supervisor.processes.channel import Channel, ChannelClosed, Message
from gateway.supervisor.processes.forking import fork

# If a child has run this long, its start was not the reason for its end.
STEADY_SECONDS: Final = 10.0
FIRST_DELAY_SECONDS: Final = 0.1
MAX_DELAY_SECONDS: Final = 30.0

_log = logging.getLogger("gateway.master")


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """A kind of child, such as a worker or the fetcher."""

    name: str  # in the log
    main: Callable[[Channel], None]  # runs in the child; the process ends when it returns
    hear: Callable[[Child, Message], None]  # runs in the master, for each message
    on_started: Callable[[], None] = lambda: None  # runs in the master after each start


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """One child process."""

    role: Role
    pid: int
    channel: Channel
    started: float  # Unix seconds
    started_seconds: float  # monotonic


class Children:
    """All child processes."""

    def __init__(self, selector: selectors.BaseSelector, let_go: Callable[[], None]) -> None:
        """`let_go` runs first in every new child: it closes what only the master needs and calls `Children.let_go`."""
        self._selector = selector
        self._let_go = let_go
        self._children: dict[int, Child] = {}
        self._delay_seconds: defaultdict[Role, float] = defaultdict(float)
        self._due: list[tuple[float, Role]] = []  # children to start, and when: monotonic seconds
        self._is_ending = False
        self.on_heard: Callable[[Child], None] = lambda _: None  # called for each message, before it is processed
        self.replaced: defaultdict[Role, int] = defaultdict(int)  # how many ended unexpectedly

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self._children.values()))

    def of(self, role: Role) -> list[Child]:
        """The children in a role, oldest first."""
        return [child for child in self if child.role is role]

    def start(self, role: Role) -> None:
        """Fork a child; does not return in the child. Raises `OperationError`."""
        pid, ours = fork(role.name, self._let_go, role.main)
        child = Child(role, pid, ours, clock.unix_seconds(), clock.monotonic_seconds())
        self._children[pid] = child
        self._selector.register(ours, selectors.EVENT_READ, child)
        role.on_started()

    def begin(self, role: Role) -> None:
        """Start a child now; if that fails, try again later."""
        self._due.append((clock.monotonic_seconds(), role))
        self.replace()

    def let_go(self) -> None:
        """Close the channels of the siblings, in a new child."""
        for other in self:
            other.channel.close()

    # messages

    def send(self, child: Child, message: Message) -> bool:
        """Send without waiting; False if the channel is closed."""
        try:
            child.channel.send(message)
        except ChannelClosed:
            return False
        self._watch(child)
        return True

    def on_event(self, child: Child, events: int) -> None:
        """Read or write a child's channel, when the selector says that this is possible."""
        try:
            if events & selectors.EVENT_WRITE:
                child.channel.flush()
                self._watch(child)
            messages = child.channel.receive() if events & selectors.EVENT_READ else []
        except ChannelClosed:
            self._forget(child)  # SIGCHLD reports its end
            return
        for message in messages:
            self.on_heard(child)
            try:
                child.role.hear(child, message)
            except Exception:  # noqa: BLE001 - no message of a child may stop the master
                _log.exception("%s %d sent a message that the master can't process", child.role.name, child.pid)

    def _watch(self, child: Child) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.channel.has_unsent else 0)
        with contextlib.suppress(KeyError):  # the channel is closed already
            self._selector.modify(child.channel, events, child)

    def signal(self, role: Role | None, number: signal.Signals) -> None:
        """Signal every child in a role, or all."""
        for child in self:
            if role is None or child.role is role:
                os.kill(child.pid, number)

    # ends and starts

    def reap(self) -> list[Child]:
        """Remove the children that have ended, and return them."""
        ended = []
        for pid, status in _ended():
            child = self._children.pop(pid, None)
            if child is None:
                continue  # as process 1 of a container, the master inherits other programs' children
            self._forget(child)
            child.channel.close()
            if not self._is_ending:
                self._note_end(child, status)
            ended.append(child)
        return ended

    def _forget(self, child: Child) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.channel)

    def _note_end(self, child: Child, status: int) -> None:
        role, now = child.role, clock.monotonic_seconds()
        is_steady = now - child.started_seconds >= STEADY_SECONDS
        delay = self._put_off(role, now, is_steady=is_steady)
        self.replaced[role] += 1
        _log.error("%s %d ended (%s); a new one starts in %.1f s", role.name, child.pid, _end(status), delay)

    def _put_off(self, role: Role, now: float, *, is_steady: bool = False) -> float:
        """Plan the next start in a role; returns after how many seconds it comes."""
        delay = 0.0 if is_steady else min(MAX_DELAY_SECONDS, max(FIRST_DELAY_SECONDS, self._delay_seconds[role] * 2))
        self._delay_seconds[role] = delay
        self._due.append((now + delay, role))
        return delay

    def replace(self) -> None:
        """Start the children that are due; a start that fails is tried again later."""
        now = clock.monotonic_seconds()
        due = [role for at, role in self._due if at <= now]
        self._due = [(at, role) for at, role in self._due if at > now]
        for role in due:
            try:
                self.start(role)
            except OperationError as error:
                _log.error("%s; %s; it is tried again in %.1f s", error.cause, error.remedy, self._put_off(role, now))

    def end(self) -> None:
        """Replace no children from now on."""
        self._is_ending = True
        self._due.clear()

    def is_due(self, role: Role) -> bool:
        """True if a child in this role is waiting to be started."""
        return any(waiting is role for _, waiting in self._due)

    def due_seconds(self) -> float | None:
        """When the next child is due to start, monotonic; None if none is."""
        return min((at for at, _ in self._due), default=None)


def _ended() -> list[tuple[int, int]]:
    """(process id, wait status) of the children that ended."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(found)
    return ended


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"signal {-code}"
