"""Many clients at once, every way of leaving, and somebody decent among them who must not notice.

with Bystander(connect) as bystander:         # connect() makes one more connection
    crowd = gather(1000, connect)
    for number, client in enumerate(crowd):
        LEAVE[number % len(LEAVE)](client)
    bystander.is_served()
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from support.client import Client
from support.waiting import until

T = TypeVar("T")
Connect = Callable[[], Client]
THREADS = 4  # that shake hands


def gather(count: int, connect: Callable[[], T]) -> list[T]:
    """So many connections."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda _: connect(), range(count)))


def reset(client: Any) -> None:
    """Gone, as a crashed phone's is: an RST. `client`: one of ours, or a socket."""
    plain = getattr(client, "socket", client)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


def drop(client: Any) -> None:
    """A FIN without close_notify, and nobody there for an answer."""
    getattr(client, "socket", client).close()


def say_goodbye(client: Client) -> None:
    """close_notify, and a FIN right behind it."""
    client.socket.settimeout(0)
    with contextlib.suppress(OSError):
        client.socket.unwrap()
    client.socket.close()


LEAVE = (reset, drop, say_goodbye)


class Bystander:
    """Asks again and again in a thread, on a kept connection and on new ones; every answer must be its own."""

    def __init__(self, connect: Connect, target: str) -> None:
        """The upstream answers `target` with the target itself, query and all."""
        self._connect = connect
        self._target = target
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._failures: list[str] = []
        self._thread = threading.Thread(target=self._run, name="bystander")
        self.served = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.is_served()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if error is None:
            assert not self._failures, self._failures

    def is_served(self) -> None:
        """Both its kept connection and a new one, from now on."""
        before = self.served
        until(lambda: self._failures or self.served >= before + 4, "somebody else is served")
        assert not self._failures, self._failures

    def _run(self) -> None:
        try:
            with self._connect() as kept:
                while not self._stop.is_set():
                    self._ask(kept)
                    with self._connect() as another:
                        self._ask(another)
        except (OSError, EOFError, AssertionError) as error:
            self._failures.append(repr(error))

    def _ask(self, client: Client) -> None:
        target = f"{self._target}?{next(self._numbers)}"
        answer = client.ask("GET", target)
        assert (answer.status, answer.body) == (200, target.encode()), (target, answer)
        self.served += 1
