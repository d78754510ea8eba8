"""The master's side of the publisher: its socket, its instructions and its start.

Keeps true: the socket exists before the first worker, and longer than any publisher: a question that comes while a new
one starts waits for it. Only this user can connect. The registry's URL may have a password, so it is sent over the
channel, because arguments of processes are visible to all users.
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

from gateway import access
from gateway.config.model import Pki
from gateway.errors import OperationError
from gateway.supervisor.processes.channel import Channel, Message
from gateway.supervisor.processes.children import Child, Children, Role
from gateway.supervisor.processes.environment import database_variables
from gateway.supervisor.processes.program import become

# Workers send one question per connection.
BACKLOG: Final = 256
_MODULE: Final = "gateway.supervisor.helpers.publisher_process"


class PublisherRole:
    """The publisher's part of the master."""

    def __init__(self, pki: Pki, options: str, children: Children) -> None:
        """Open the socket. `options`: with which `gateway ca` finds the registry. Raises `OperationError`."""
        self._pki = pki
        self._options = options
        self._children = children
        self._folder, self._listening = _open()
        self.path = Path(self._listening.getsockname())
        self.role = Role("the publisher", self._become, _hear, self._instruct)

    def _become(self, channel: Channel) -> None:
        become(_MODULE, (channel, self._listening))

    def _instruct(self) -> None:
        newest = self._children.of(self.role)[-1]
        self._children.send(newest, instructions(self._pki, self._options, os.environ))

    def let_go(self) -> None:
        """Close the publisher's socket in a worker."""
        self._listening.close()

    def discard(self) -> None:
        """Remove the socket and its folder, when the gateway stops."""
        self._listening.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def instructions(pki: Pki, options: str, variables: Mapping[str, str]) -> Message:
    """The message that tells the publisher what to publish."""
    known = {"store": pki.store, "folder": str(pki.folder), "options": options}
    return {"do": "publish", **known, "environment": database_variables(variables)}


def _hear(_child: Child, _message: Message) -> None:
    """The publisher sends no messages."""


def _open() -> tuple[Path, socket.socket]:
    """A new folder that only this user can open, and a listening socket in it. Raises `OperationError`."""
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
        f"set TMPDIR to a folder with a short path that the user {access.user_name()} can write to",
    )
