"""How the master starts the admin process: its listening socket and its program."""

from __future__ import annotations

import socket
from typing import Final, NoReturn

from gateway.config.model import Admin, Listener
from gateway.errors import OperationError
from gateway.supervisor.processes.channel import Channel
from gateway.supervisor.processes.program import become
from gateway.supervisor.sockets import open_listener

_MODULE: Final = "gateway.supervisor.helpers.admin_process"


def open_admin(admin: Admin) -> socket.socket:
    """The listening socket. Raises `OperationError`."""
    try:
        return open_listener(Listener(admin.address, admin.host, admin.port))
    except OperationError as error:
        raise OperationError(f"admin.address: {error.cause}", error.remedy) from error


def become_admin_process(channel: Channel, listening: socket.socket, bound_host: str) -> NoReturn:
    """Run the admin process in this new fork. Raises `OSError` if Python can't be started."""
    become(_MODULE, (channel, listening), bound_host)
