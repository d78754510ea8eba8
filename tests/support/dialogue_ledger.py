"""What random dialogues asked for: a token for each request, and everything that went wrong.

A request's token stands in its target, its fields and its body, and in the head and the body of its answer. A byte that
belongs to somebody else is therefore seen wherever it arrives.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request of a conversation: all that is sent on one client connection."""

    token: str
    conversation: str
    method: str
    behaviour: str  # the upstream's
    body_bytes: int = 0
    manner: str = ""  # the client's
    may_break_off: bool = False  # the client may leave before all of it is sent
    status: int | None = None  # of its final answer, as soon as the client has read the head
    is_logged: bool = False  # whatever happens, the access log must have a line of it

    @property
    def target(self) -> str:
        return f"/webmail/{self.behaviour}/{self.token}/{self.body_bytes}"

    @property
    def body(self) -> bytes:
        return pattern(self.token, self.body_bytes)


def pattern(token: str, count: int) -> bytes:
    """So many bytes that belong to one request."""
    unit = token.encode() + b"."
    return (unit * (count // len(unit) + 1))[:count]


@dataclass
class Ledger:
    """Everything that was asked in one run. Clients' and upstreams' threads write to it."""

    asked: dict[str, Asked] = field(default_factory=dict)
    reached: Counter[str] = field(default_factory=Counter)  # tokens of requests at an upstream
    # Lines without a token, by the client's address and port: as many at most, and as many at least.
    odd: Counter[tuple[str, int]] = field(default_factory=Counter)
    owed: Counter[tuple[str, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, asked: Asked) -> Asked:
        with self._lock:
            self.asked[asked.token] = asked
        return asked

    def arrived(self, token: str) -> None:
        with self._lock:
            self.reached[token] += 1

    def problem(self, what: str) -> None:
        with self._lock:
            self.problems.append(what)
