"""Word of a new revocation list, from whoever made it to every gateway on the same PostgreSQL (its LISTEN and NOTIFY).

Keeps true: a word is a hint and nothing more. It holds no fact, so that one that is lost, repeated or made up by
somebody else changes no more than when the registry is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from gateway.pki.registry.engine import locate, patience

# One name for every registry of a database: it is an identifier, of 63 bytes at most.
CHANNEL: Final = "gateway_revocation_lists"
NEW_LIST: Final = ""
_POSTGRESQL: Final = "postgresql"
# A server that went away without a word is noticed by the kernel after this; between two words nothing is sent.
_KEEPALIVES: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def tell(connection: Connection) -> None:
    """Tell of a new list when the transaction commits, and not at all if it doesn't. SQLite has nobody to tell."""
    if connection.dialect.name == _POSTGRESQL:
        connection.execute(select(func.pg_notify(CHANNEL, NEW_LIST)))


def connection_arguments(store: str, folder: Path) -> dict[str, Any] | None:
    """What libpq is to be given for a connection of its own; None where the registry is no PostgreSQL.

    Raises `UsageError` for a URL that can't be read.
    """
    url = locate(store, folder)
    if url.get_backend_name() != _POSTGRESQL:
        return None
    _, arguments = url.get_dialect()().create_connect_args(url)
    return {**_KEEPALIVES, **patience(url), **arguments}
