"""The master's side of the fetcher, which is started as soon as there is a URL to fetch.

Keeps true: each new fetcher gets the plan over its channel; a fetcher that does not read the channel is replaced.
"""

from __future__ import annotations

import os
import signal
from typing import Final, NoReturn

from gateway.fetching.list_store import ListStore
from gateway.fetching.plan import Plan, to_message
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.processes.program import become

_MODULE: Final = "gateway.supervisor.helpers.fetcher_process"


class FetcherRole:
    """Starts the fetcher and tells it what to fetch."""

    def __init__(self, children: Children, store: ListStore) -> None:
        self._children = children
        self._store = store
        self._plan: Plan = {}
        self.role = Role("the fetcher", become_fetcher, _hear, self._brief)

    def follow(self, plan: Plan) -> None:
        """Let the fetcher follow `plan` from now on."""
        if plan == self._plan:
            return
        self._plan = plan
        if self._children.of(self.role):
            self._brief()
        elif plan and not self._children.is_due(self.role):
            self._children.begin(self.role)

    def fetch_now(self) -> None:
        """Let the fetcher send a request to every server now."""
        self._tell({"do": "fetch now"})

    def _brief(self) -> None:
        self._tell({"do": "fetch", "plan": to_message(self._plan, self._store)})

    def _tell(self, message: Message) -> None:
        for child in self._children.of(self.role):
            if not self._children.send(child, message):
                os.kill(child.pid, signal.SIGKILL)  # it does not read; its successor gets the newest plan


def become_fetcher(channel: Channel) -> NoReturn:
    """Run the fetcher in this new fork. Raises `OSError` if Python can't be started."""
    become(_MODULE, (channel,))


def _hear(_child: Child, _message: Message) -> None:
    """The fetcher sends no messages: lists reach the gateway as files."""
