"""The publisher, as the master keeps it: its socket, what it is told, and the program that it becomes.

Keeps true: the socket is there before the first worker is, and outlives every publisher: who asks while a new one
starts waits for it. Nobody but this user can connect. The registry's URL may hold a password, so it goes over the
channel: the arguments of a process are in every process list.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.model import Pki
from gateway.errors import OperationError
from gateway.supervisor.channel import Channel, Message
from gateway.supervisor.child_environment import database_variables
from gateway.supervisor.children import Child, Children, Role
from gateway.supervisor.program import become

# Workers ask one question a connection.
BACKLOG: Final = 256
_MODULE: Final = "gateway.supervisor.publisher"


class Publishing:
    """The publisher's part of the master."""

    def __init__(self, pki: Pki, children: Children) -> None:
        """Open the socket. Raises `OperationError`."""
        self._pki = pki
        self._children = children
        self._folder, self._listening = _open()
        self.path = Path(self._listening.getsockname())
        self.role = Role("the publisher", self._become, _hear, self._instruct)

    def _become(self, channel: Channel) -> None:
        become(_MODULE, (channel, self._listening))

    def _instruct(self) -> None:
        newest = self._children.of(self.role)[-1]
        self._children.send(newest, instructions(self._pki, os.environ))

    def let_go(self) -> None:
        """Close, in another process, what is the publisher's."""
        self._listening.close()

    def discard(self) -> None:
        """The gateway ends."""
        self._listening.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def instructions(pki: Pki, variables: Mapping[str, str]) -> Message:
    """What the publisher must know."""
    known = {"store": pki.store, "folder": str(pki.folder)}
    return {"do": "publish", **known, "environment": database_variables(variables)}


def _hear(_child: Child, _message: Message) -> None:
    """It says nothing."""


def _open() -> tuple[Path, socket.socket]:
    """A listening socket, in a folder that only this user can look into."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="gateway-"))
    except OSError as error:
        raise _cannot(error) from error
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(folder / "publisher"))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise _cannot(error) from error
    return folder, listening


def _cannot(error: OSError) -> OperationError:
    return OperationError(
        f"listen[].pki: the publisher's socket cannot be made: {error.strerror or error}",
        "let TMPDIR name a folder that this user can write to, with a short name",
    )
