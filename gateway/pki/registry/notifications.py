"""Notifications of a new revocation list to every gateway on the same PostgreSQL database (its LISTEN and NOTIFY).

A notification carries no data: a gateway only asks the registry earlier than it would have. So a notification that is
lost, repeated or forged does no harm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from gateway.pki.registry.engine import locate, patience

# All registries in a database share this name; an identifier has at most 63 bytes.
CHANNEL: Final = "gateway_revocation_lists"
NEW_LIST: Final = ""
_POSTGRESQL: Final = "postgresql"
# With these, the kernel notices a server that disappeared: nothing else is sent between two notifications.
_KEEPALIVES: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def tell(connection: Connection) -> None:
    """Send a notification when the transaction commits; if it is rolled back, or with SQLite, none is sent."""
    if connection.dialect.name == _POSTGRESQL:
        connection.execute(select(func.pg_notify(CHANNEL, NEW_LIST)))


def connection_arguments(store: str, folder: Path) -> dict[str, Any] | None:
    """Arguments of libpq for a separate connection; None if the registry is not in PostgreSQL.

    Raises `UsageError` for a URL that can't be read.
    """
    url = locate(store, folder)
    if url.get_backend_name() != _POSTGRESQL:
        return None
    _, arguments = url.get_dialect()().create_connect_args(url)
    return {**_KEEPALIVES, **patience(url), **arguments}
