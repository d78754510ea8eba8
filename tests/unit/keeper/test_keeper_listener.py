"""Word of new lists: it arrives, from nobody but those who keep a list; what breaks is told, and mended."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from cryptography import x509
from support import postgres
from support.desk import NOW, make_authority, open_desk
from support.pgbouncer import pooler
from support.waiting import PATIENCE_SECONDS

from gateway.errors import OperationError, UsageError
from gateway.keeper import keeper as keeper_module
from gateway.keeper import listener as listener_module
from gateway.keeper.keeper import Keeper
from gateway.keeper.listener import Listener, Word
from gateway.pki import crl
from gateway.pki.registry import authorities
from gateway.pki.registry.notifications import CHANNEL, connection_arguments

_LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
STEP_SECONDS = 0.02


@pytest.fixture(scope="module")
def server():
    with postgres.cluster() as url:
        yield url


@pytest.fixture
def database(server):
    """A fresh database: its URL, and a connection that commits at once."""
    with psycopg.connect(_plain(server.format(database="postgres")), autocommit=True) as connection:
        connection.execute("CREATE DATABASE registry")
        url = server.format(database="registry")
        with psycopg.connect(_plain(url), autocommit=True) as other:
            yield url, other
        connection.execute("DROP DATABASE registry WITH (FORCE)")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(listener_module, "FIRST_RETRY_SECONDS", STEP_SECONDS)


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def _keep_next(connection):
    """Keep a list, in a transaction that fails afterwards."""
    record = authorities.get(connection, "corp")
    newest = x509.load_der_x509_crl(record.crl_der)
    authorities.keep_crl(connection, "corp", newest, record.crl_number + 1)
    raise OperationError("the disk is full", "Free it.")


async def _until(holds, *arguments):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds(*arguments):  # noqa: ASYNC110 - of what other processes do
            await asyncio.sleep(STEP_SECONDS)


def _run(url, folder, dialogue):
    """A dialogue with a listener, and all it said."""
    words = []

    async def both():
        listener = Listener(connection_arguments(url, folder), words.append)
        try:
            await dialogue(listener, words)
        finally:
            listener.close()

    asyncio.run(both())
    return words


def test_a_new_list_is_told_when_it_is_committed_and_not_before(database, tmp_path):
    url, _ = database
    desk = open_desk(tmp_path, url)
    corp = make_authority(desk)

    async def dialogue(listener, words):
        await _until(lambda: listener.report["is_up"])
        assert words == [Word.LISTENS, Word.REPORT]
        with pytest.raises(OperationError), desk.registry.writing() as connection:
            _keep_next(connection)
        await asyncio.to_thread(crl.renew, desk, corp, NOW)
        await _until(lambda: words[2:])

    assert _run(url, tmp_path, dialogue) == [Word.LISTENS, Word.REPORT, Word.NEW_LIST]
    desk.registry.close()


def test_what_others_say_on_the_channel_is_no_word_of_a_list(database, tmp_path):
    url, other = database

    async def dialogue(listener, words):
        await _until(lambda: listener.report["is_up"])
        for payload in ("0123456789abcdef", "x" * 7000, "'; DROP TABLE authorities; --", ""):
            other.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
        await _until(lambda: words[2:])

    assert _run(url, tmp_path, dialogue) == [Word.LISTENS, Word.REPORT, Word.NEW_LIST]


def test_a_connection_that_ends_is_told_and_made_again(database, tmp_path, caplog):
    url, other = database
    causes = []

    async def dialogue(listener, words):
        await _until(lambda: listener.report["is_up"])
        causes.append(listener.report["cause"])
        other.execute(f"SELECT pg_terminate_backend(pid) {_LISTENERS}")
        await _until(lambda: words.count(Word.REPORT) >= 2)
        causes.append(listener.report["cause"])
        await _until(lambda: listener.report["is_up"])
        causes.append(listener.report["cause"])

    words = _run(url, tmp_path, dialogue)
    assert words == [Word.LISTENS, Word.REPORT, Word.REPORT, Word.LISTENS, Word.REPORT]
    before, lost, after = causes
    assert (before, after) == (None, None)
    assert "closed the connection" in lost
    assert caplog.text.count("no notifications of other machines' revocations") == 1


def test_a_server_that_is_away_is_told_once_for_each_cause(tmp_path, caplog):
    url = f"postgresql://gateway@/registry?host={tmp_path}"
    attempts = []

    async def dialogue(listener, _words):
        connect = listener._connect

        async def counted():
            attempts.append(True)
            return await connect()

        listener._connect = counted
        await _until(lambda: len(attempts) >= 3)
        assert listener.report["cause"]
        assert not listener.report["is_up"]

    assert _run(url, tmp_path, dialogue) == [Word.REPORT]
    assert caplog.text.count("no notifications of other machines' revocations") == 1


def test_a_pooler_that_swallows_words_is_found_out(database, tmp_path, monkeypatch):
    url, _ = database
    monkeypatch.setattr(listener_module, "ANSWER_SECONDS", 1.0)

    async def dialogue(listener, words):
        await _until(lambda: Word.REPORT in words)
        assert not listener.report["is_up"]
        assert "write the database server's own address in pki.store" in listener.report["cause"]

    with pooler(url) as pooled:
        words = _run(pooled, tmp_path, dialogue)
    assert words[:2] == [Word.LISTENS, Word.REPORT]


def test_another_machines_list_is_in_our_file_without_a_poll(database, tmp_path, make_plan, monkeypatch):
    monkeypatch.setattr(keeper_module, "REFRESH_SECONDS", 3600.0)
    url, other = database
    desk = open_desk(tmp_path / "one", url)
    corp = make_authority(desk)
    ours = open_desk(tmp_path / "two", url)
    (ours.folder / "corp").mkdir(parents=True)
    file = ours.file("corp", "crl")
    reports = []

    def number():
        return crl.number_in(file) if file.exists() else None

    async def dialogue():
        keeper = Keeper(reports.append)
        work = asyncio.ensure_future(keeper.run())
        keeper.follow(make_plan(store=url, folder=ours.folder, passphrase_files={}))
        await _until(lambda: reports and reports[-1]["notifications"] and reports[-1]["notifications"]["is_up"])
        await _until(number)
        first = number()
        await asyncio.to_thread(crl.renew, desk, corp, NOW)
        await _until(lambda: number() == first + 1)
        # What is said while nobody hears is looked up afterwards, without waiting for a retry of what failed.
        other.execute(f"SELECT pg_terminate_backend(pid) {_LISTENERS}")
        await asyncio.to_thread(crl.renew, desk, corp, NOW)
        await _until(lambda: number() == first + 2)
        keeper.follow(make_plan(folder=ours.folder, passphrase_files={}))  # SQLite: nobody to listen to
        await _until(lambda: reports[-1]["notifications"] is None)
        keeper.stop()
        await work

    asyncio.run(dialogue())
    for each in (desk, ours):
        each.registry.close()


def test_a_registry_in_sqlite_has_nobody_to_listen_to_and_a_wrong_url_is_refused(tmp_path):
    assert connection_arguments("sqlite:///registry.db", tmp_path) is None
    with pytest.raises(UsageError):
        connection_arguments("nonsense", tmp_path)
    arguments = connection_arguments("postgresql://u:p%40@a:5433/r?connect_timeout=2&sslmode=require", tmp_path)
    assert (arguments["host"], arguments["port"], arguments["password"]) == ("a", 5433, "p@")
    assert (arguments["connect_timeout"], arguments["sslmode"]) == ("2", "require")
