"""Looks up the name of the access log's syslog server for `gateway check`.

Nothing is sent. A name that isn't found is a warning: the gateway starts all the same, and keeps lines until it is.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from gateway.config.load import Loaded
from gateway.config.problems import Problem

LookUp = Callable[[str, int], Any]


def log_problems(loaded: Loaded, file: str, look_up: LookUp = socket.getaddrinfo) -> tuple[Problem, ...]:
    """A warning if the server's name is not found; `file` as the user named it."""
    server, root = loaded.config.access_log.syslog, loaded.root
    if server is None or root is None or server.kind == "unix":
        return ()
    try:
        look_up(server.host, server.port)
    except (OSError, UnicodeError) as error:
        cause = f"the name {server.host} is not found: {getattr(error, 'strerror', None) or error}"
        remedy = "correct it, or write the server's IP address"
        place = root.section("access_log").at("path")
        return (Problem(file, place, cause, remedy, is_warning=True),)
    return ()
