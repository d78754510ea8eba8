"""What a gateway's only worker has open, by its own account and by the kernel's."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from support.gateway import INSIDE, Gateway
from support.waiting import PATIENCE_SECONDS


@dataclass(frozen=True)
class Census:
    """Counts that are back where they were when nothing stays behind."""

    connections: int
    tasks: int
    open_files: int
    busy: int  # connections to upstreams
    idle: int
    descriptors: int  # as /proc/PID/fd has them


def state_of(gateway: Gateway) -> dict[str, Any]:
    """`/status` of its admin address."""
    port = int(gateway.settings["admin"]["address"].rpartition(":")[2])
    connection = http.client.HTTPConnection(INSIDE, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/status")
        state: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return state


def census_of(gateway: Gateway) -> Census:
    """As it is now; the worker must answer."""
    state = state_of(gateway)
    (worker,) = state["workers"]
    servers = [server for servers in state["upstreams"].values() for server in servers]
    return Census(
        connections=worker["connections"],
        tasks=worker["tasks"],
        open_files=worker["open_files"],
        busy=sum(server["busy"] for server in servers),
        idle=sum(server["idle"] for server in servers),
        descriptors=gateway.open_files().get(worker["pid"], 0),
    )
