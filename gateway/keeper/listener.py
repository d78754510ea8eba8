"""Receives notifications of new revocation lists that other machines make, over a separate connection to PostgreSQL.

Keeps true: a notification only says that the registry has something new. The keeper also reads the registry every few
seconds, so a failure here costs seconds, and it is reported. A test notification, sent over another connection as
another machine's would be, proves that notifications arrive: a connection pooler in transaction mode accepts LISTEN and
passes nothing on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

from psycopg import AsyncConnection, sql

from gateway import clock, tasks
from gateway.keeper.told import NotificationsReport
from gateway.pki.registry.notifications import CHANNEL

# How often a test notification is sent.
PROOF_SECONDS: Final = 60.0
# How long a notification may take, or a new connection (DNS, TCP, TLS and login together).
ANSWER_SECONDS: Final = 10.0
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
# A cause may quote the server, or have one line for each of its addresses.
_MAX_CAUSE_CHARACTERS: Final = 200

_LISTEN: Final = sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))
_NOTIFY: Final = sql.SQL("SELECT pg_notify({}, %s)").format(sql.Literal(CHANNEL))
_log = logging.getLogger("gateway.keeper")


class Word(Enum):
    """What the listener tells the keeper."""

    LISTENS = auto()  # notifications arrive from now on; earlier ones are lost, so read the registry
    NEW_LIST = auto()
    REPORT = auto()  # `report` has changed


class _DeafError(Exception):
    """The server accepts LISTEN, but no notification arrives."""

    def __init__(self) -> None:
        super().__init__(
            "a test notification did not arrive, probably because of a connection pooler in transaction mode; "
            "write the database server's own address in pki.store"
        )


class Listener:
    """Listens until it is closed, and connects again when the connection ends."""

    def __init__(self, arguments: dict[str, Any], tell: Callable[[Word], None]) -> None:
        """`arguments`: libpq's parameters of the connection. `tell` is called with each `Word`."""
        self._arguments = arguments
        self._tell = tell
        self._is_up: bool | None = None  # None: not known yet
        self._since: datetime = clock.now()
        self._cause: str | None = None
        self._task = tasks.spawn(self._run(), name="notifications of new lists")

    @property
    def report(self) -> NotificationsReport:
        """Whether notifications arrive now."""
        return {"is_up": self._is_up is True, "since": self._since.timestamp(), "cause": self._cause}

    def close(self) -> None:
        """Close the connection."""
        self._task.cancel()

    async def _run(self) -> None:
        delay_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - any failure is reported and tried again
                if self._is_up:
                    delay_seconds = FIRST_RETRY_SECONDS
                self._lost(_cause(error))
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(2 * delay_seconds, MAX_RETRY_SECONDS)

    async def _listen(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await self._connect()
        async with connection:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.execute(_LISTEN)
            self._tell(Word.LISTENS)
            while True:
                token = secrets.token_hex(8)
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._say(token)
                if not await self._hear(connection, ANSWER_SECONDS, token):
                    raise _DeafError
                self._works()
                await self._hear(connection, PROOF_SECONDS)

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(**self._arguments, autocommit=True)

    async def _say(self, word: str) -> None:
        async with await self._connect() as connection:
            await connection.execute(_NOTIFY, (word,))

    async def _hear(self, connection: AsyncConnection, seconds: float, token: str | None = None) -> bool:
        """Listen for `seconds`, or until `token` arrives; True if it did. Tokens of other machines are ignored."""
        async with aclosing(connection.notifies(timeout=seconds)) as words:
            async for word in words:
                if word.payload == token:
                    return True
                if not word.payload:
                    self._tell(Word.NEW_LIST)
        return False

    def _works(self) -> None:
        if self._is_up:
            return
        if self._is_up is False:
            _log.info("notifications of other machines' revocations arrive again")
        self._is_up, self._cause, self._since = True, None, clock.now()
        self._tell(Word.REPORT)

    def _lost(self, cause: str) -> None:
        if self._is_up is not False:
            self._since = clock.now()
            _log.warning(
                "no notifications of other machines' revocations: %s; until they arrive, the registry is read every "
                "few seconds",
                cause,
            )
        elif cause == self._cause:
            return
        self._is_up, self._cause = False, cause
        self._tell(Word.REPORT)


def _cause(error: Exception) -> str:
    """The first line of libpq's message, which holds no password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_MAX_CAUSE_CHARACTERS]
