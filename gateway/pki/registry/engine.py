"""The registry's door: opens the database, brings its schema up to date, and hands out transactions.

A writing transaction takes SQLite's write lock at its start, so that it never fails halfway for having read before
another wrote. What leaves here is `OperationError` or `UsageError`; statements and their values are never in a message.
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

DEFAULT_URL: Final = "sqlite:///pki/registry.db"
# How long one writer waits for another: a transaction is a few milliseconds, so this is a hundred of them in a row.
LOCK_WAIT_SECONDS: Final = 20
RETRY_SECONDS: Final = 0.01
# Whoever only reads waits for no lock; a database server that is silent for so long is away.
CONNECT_SECONDS: Final = 5
_WRITES: Final = "gateway_writes"


class Registry:
    """An open registry. Use as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str, folder: Path | None = None, *, may_make: bool = True) -> Self:
        """Open or make the registry at an SQLAlchemy URL; SQLite paths are relative to `folder`.

        Without `may_make` no file is made where there is none. Raises `UsageError` for that and for a URL that can't
        be used, `OperationError` where the database doesn't answer.
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
        """The same for who only reads: nothing is made, migrated or locked, and no statement can change anything.

        A database that isn't there yet, or doesn't answer, shows when it is asked. Raises `UsageError`.
        """
        return cls(_reading_engine(locate(url, folder)))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> str:
        """The registry's URL without its password, for messages; a query may hold one too (`?password=`)."""
        return self._engine.url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """For many transactions in a row: SQLite writes its log into the database whenever nobody has it open."""
        with self._mapped(), self._engine.connect():
            yield

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises `OperationError`."""
        with self._transaction(is_writing=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is kept as a whole or, after any exception, not at all. Raises `OperationError`."""
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
                "Check that the database runs, is not full, and may be written by this user.",
            ) from error
        except UnicodeEncodeError as error:  # what a shell hands on as bytes is no name of anybody
            raise UsageError("the registry accepts only UTF-8 text", "Type the name or address in UTF-8.") from error


def has_password(url: str) -> bool:
    """Whether a password stands in a registry's URL. One that can't be read may hold anything."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "password" in url
    return parsed.password is not None or any("password" in name for name in parsed.query)


def locate(url: str, folder: Path | None = None) -> URL:
    """The parsed URL, a SQLite path made absolute. Raises `UsageError`."""
    remedy = "Write sqlite:///pki/registry.db or postgresql+psycopg://user:password@host/database."
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("the registry's URL cannot be read", remedy) from error
    match parsed.drivername:
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise UsageError("a registry in memory would forget every certificate", remedy)
            path = (folder or Path.cwd()) / parsed.database
            return parsed.set(database=str(path.absolute()))
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case driver:
            raise UsageError(f"a registry cannot be kept in '{driver}'", remedy)


def _check_made(url: URL) -> None:
    if url.drivername == "sqlite" and not exists(Path(str(url.database))):
        raise UsageError(
            f"{url.database}: there is no registry",
            "Work in the folder that has it, name it with --store or the configuration with -c; "
            "'gateway ca init' makes one.",
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
    place = f"file:{quote(str(url.database))}?mode=rw"  # not `ro`: a reader of a write-ahead log writes beside it

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(place, uri=True, timeout=CONNECT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA query_only=ON").close()
        return connection

    return create_engine(url, hide_parameters=True, poolclass=NullPool, creator=connect)


def patience(url: URL) -> dict[str, int]:
    """How long libpq waits for a server that is away, as far as the URL doesn't say; it would be minutes."""
    limits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CONNECT_SECONDS * 1000}
    return {name: limit for name, limit in limits.items() if name not in url.query}


def _make_private(path: Path) -> None:
    # Whoever works here and with what is nobody else's business; SQLite gives its side files the mode of the main one.
    make_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE))
    except OSError as error:
        raise OperationError(
            f"{path}: the registry cannot be opened: {error.strerror}", "Run this as the user that owns it."
        ) from error


def _prepare(connection: Any, _record: object) -> None:
    # FULL: a certificate that was handed out is on the disk, whatever happens to the power.
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a database to its write-ahead log. SQLite does not wait for others while it does that, so we do."""
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
