"""Opening the registry: this module opens the database, updates its schema, and provides transactions.

A writing transaction takes SQLite's write lock at its start, so it can't fail halfway because another one wrote after
its first read. All errors are `OperationError` or `UsageError`; no message contains statements or their values.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway import clock
from gateway.access import exists
from gateway.errors import OperationError, UsageError
from gateway.pki.files import PRIVATE_MODE, make_folder
from gateway.pki.registry.migrations import migrate

# How long one writer waits for others. A transaction takes a few milliseconds, so this is enough for hundreds in a row.
LOCK_WAIT_SECONDS: Final = 20
RETRY_SECONDS: Final = 0.01
# Readers don't wait for locks. A database server that is silent for so long is not available.
CONNECT_SECONDS: Final = 5
_WRITES: Final = "gateway_writes"


class Registry:
    """An open registry. Use as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str, folder: Path | None = None, *, may_make: bool = True) -> Self:
        """Open or make the registry at an SQLAlchemy URL; SQLite paths are relative to `folder`.

        Without `may_make`, no new file is made. Raises `UsageError` if the file is missing then, or if the URL can't be
        used, and `OperationError` if the database doesn't answer.
        """
        located = locate(url, folder)
        if not may_make:
            _check_made(located)
        registry = cls(_engine(located))
        try:
            with registry.writing() as connection:
                migrate(connection)
        except BaseException:
            registry.close()
            raise
        return registry

    @classmethod
    def open_for_reading(cls, url: str, folder: Path | None = None) -> Self:
        """Open it only for reading: nothing is made, migrated or locked, and statements can't change anything.

        Raises `UsageError`. A database that is missing or doesn't answer raises an error only at the first query.
        """
        return cls(_reading_engine(locate(url, folder)))

    def close(self) -> None:
        """Close all connections to the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> str:
        """The registry's URL for messages, without its password and query, which may have one too (`?password=`)."""
        return self._engine.url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep a connection open during many transactions: each time the last one closes, SQLite merges its log."""
        with self._mapped(), self._engine.connect():
            yield

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises `OperationError`."""
        with self._transaction(is_writing=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, or rolled back after any exception. Raises `OperationError`."""
        with self._transaction(is_writing=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, is_writing: bool) -> Iterator[Connection]:
        with (
            self._mapped(),
            self._engine.connect().execution_options(**{_WRITES: is_writing}) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or type(error).__name__).strip().split("\n", 1)[0]
            raise OperationError(
                f"the registry {self.place} cannot be used: {cause}",
                "Check that the database is running and not full, and that this user may write to it.",
            ) from error
        except UnicodeEncodeError as error:  # an argument of the command that the shell passed as other bytes
            raise UsageError("the registry accepts only UTF-8 text", "Type the name or address in UTF-8.") from error


def has_password(url: str) -> bool:
    """Whether a registry's URL contains a password. In a URL that can't be parsed, the word `password` counts."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "password" in url
    return parsed.password is not None or any("password" in name for name in parsed.query)


def locate(url: str, folder: Path | None = None) -> URL:
    """The parsed URL, with an absolute path for SQLite. Raises `UsageError`."""
    remedy = "Write sqlite:///pki/registry.db or postgresql+psycopg://user:password@host/database."
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("the registry's URL cannot be read", remedy) from error
    match parsed.drivername:
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise UsageError("a registry in memory would lose every certificate when the program ends", remedy)
            path = (folder or Path.cwd()) / parsed.database
            return parsed.set(database=str(path.absolute()))
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case driver:
            raise UsageError(f"the registry does not support the database '{driver}'", remedy)


def _check_made(url: URL) -> None:
    if url.drivername == "sqlite" and not exists(Path(str(url.database))):
        raise UsageError(
            f"{url.database}: there is no registry",
            "Give it with --store or the configuration with -c, or change to its folder. "
            "'gateway ca init NAME' makes one.",
        )


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        return create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=patience(url))
    _make_private(Path(str(url.database)))
    engine = create_engine(
        url,
        hide_parameters=True,
        poolclass=NullPool,
        connect_args={"timeout": LOCK_WAIT_SECONDS, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _reading_engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            execution_options={"postgresql_readonly": True},
            connect_args=patience(url),
        )
    place = f"file:{quote(str(url.database))}?mode=rw"  # not `ro`: with a write-ahead log, readers write its index

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(place, uri=True, timeout=CONNECT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA query_only=ON").close()
        return connection

    return create_engine(url, hide_parameters=True, poolclass=NullPool, creator=connect)


def patience(url: URL) -> dict[str, int]:
    """Options of libpq for how long to wait for the server, unless the URL has them; the defaults are minutes."""
    limits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CONNECT_SECONDS * 1000}
    return {name: limit for name, limit in limits.items() if name not in url.query}


def _make_private(path: Path) -> None:
    # Other users must not read the registry. SQLite gives its other files the mode of this one.
    make_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE))
    except OSError as error:
        raise OperationError(
            f"{path}: the registry cannot be opened: {error.strerror}", "Run this as the user that owns it."
        ) from error


def _prepare(connection: Any, _record: object) -> None:
    # FULL: a certificate that was handed out is on the disk even after a power failure.
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a database to its write-ahead log. SQLite doesn't wait for other programs here, so this waits."""
    until = clock.monotonic_seconds() + LOCK_WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError:
            if clock.monotonic_seconds() >= until:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def _begin(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
