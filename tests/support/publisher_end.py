"""The publisher's end of the workers' questions, in a dialogue: what they ask, and what it answers as told."""

from __future__ import annotations

from typing import Any

from support.dialogue import Transport, World

from gateway.http.relay import Question, Reply, read_question, reply_line
from gateway.proxy.plain.publisher_client import PublisherClient

PATH = "/run/publisher"


class PublisherEnd(Transport):
    """One question's connection."""

    def __init__(self, world: World, protocol: Any) -> None:
        super().__init__(world)
        self.protocol = protocol

    def _protocol(self) -> Any:
        return self.protocol

    @property
    def question(self) -> Question:
        """What is asked; there is one line and no more."""
        assert self.heard.count(b"\n") == 1
        return read_question(bytes(self.heard))

    def answers(self, body: bytes, *fields: tuple[str, str], status: int = 200) -> None:
        """A whole answer."""
        self.says(reply_line(Reply(status, fields, len(body))) + body)


class PublisherEnds:
    """Stands where the publisher's socket is. `error`: nobody is there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ends: list[PublisherEnd] = []
        self.error: OSError | None = None
        world.loop.create_unix_connection = self._connect  # type: ignore[method-assign]
        world.publisher = PublisherClient(PATH)  # type: ignore[arg-type, attr-defined]

    async def _connect(self, make: Any, path: str) -> tuple[PublisherEnd, Any]:
        assert path == PATH
        if self.error is not None:
            raise self.error
        protocol = make()
        end = PublisherEnd(self.world, protocol)
        self.ends.append(end)
        protocol.connection_made(end)
        return end, protocol

    @property
    def end(self) -> PublisherEnd:
        """The newest question's."""
        return self.ends[-1]
