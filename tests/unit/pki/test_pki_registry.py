"""The registry keeps its promises in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import socket
import sqlite3
import stat
import threading

import psycopg
import pytest
from sqlalchemy import create_engine, inspect, text
from support.desk import DAY, MINUTE, NOW, Files, issue_to, make_authority, open_desk, reload

from gateway.errors import OperationError, UsageError
from gateway.pki import issue
from gateway.pki.keys import make
from gateway.pki.registry import audit, authorities, certificates, claims, engine, migrations
from gateway.pki.registry.engine import Registry, has_password, locate
from gateway.pki.registry.records import Purpose, RevocationReason, State
from gateway.pki.registry.tables import CERTIFICATES, METADATA
from gateway.pki.words import KeyKind


def test_what_goes_in_comes_out(desk):
    signer = make_authority(desk, domain="example.com")
    made = issue_to(desk, signer, "Alice@Example.com", "Alice Ä. Example", upn="alice@example.com", device="iPhone")
    record = reload(desk, made.record)
    assert record == made.record
    assert (record.common_name, record.email) == ("Alice Ä. Example (iPhone)", "Alice@example.com")
    assert (record.created_at, record.created_by, record.state) == (NOW, "tester", State.LIVE)
    assert "der=" not in repr(record)


def test_a_person_is_found_by_serial_address_and_name(desk):
    signer = make_authority(desk)
    record = issue_to(desk, signer, "Alice@example.com", "Alice Example").record
    colons = ":".join(record.serial[i : i + 2] for i in range(0, len(record.serial), 2)).lower()
    with desk.registry.reading() as connection:
        for text_ in (record.serial, f"0x{record.serial.lower()}", colons, "alice@EXAMPLE.com", "Alice Example"):
            assert certificates.matching(connection, text_, authority="corp") == [record]
        with pytest.raises(UsageError, match="no certificate has"):
            certificates.matching(connection, "bob@example.com")
        with pytest.raises(UsageError, match="no certificate has"):
            certificates.matching(connection, record.serial, authority="other")
        with pytest.raises(UsageError, match="has no certificate 00FF"):
            certificates.get(connection, "corp", "00FF")


def test_what_is_no_text_is_told_as_such(desk):
    with pytest.raises(UsageError, match="UTF-8"), desk.registry.reading() as connection:
        certificates.matching(connection, "\udcff")


@pytest.mark.parametrize(
    ("written", "serial"),
    [
        ("ff", "FF"),
        ("0xfff", "0FFF"),
        ("00:ab", "AB"),
        ("serial=0A1B2C", "0A1B2C"),
        ("serial=", None),
        ("serial=-05", None),
        ("0", None),
        ("x", None),
        ("a" * 41, None),
        ("7" + "f" * 39, "7" + "F" * 39),
        ("0" * 9 + "7f", "7F"),
        ("8" + "0" * 39, None),
        (":", None),
    ],
)
def test_serials_have_one_spelling(written, serial):
    assert certificates.parse_serial(written) == serial


def test_a_common_name_is_held_once(desk):
    signer = make_authority(desk)
    first = issue_to(desk, signer, name="Alice").record
    with pytest.raises(claims.NameTakenError) as refused:
        issue_to(desk, signer, "other@example.com", "  ALICE".strip())
    assert first.serial in refused.value.cause
    assert "renew" in refused.value.remedy
    assert "revoke" in refused.value.remedy
    assert issue_to(desk, make_authority(desk, "other"), name="Alice").record.state is State.LIVE


def test_two_issuers_at_once_make_one_certificate(desk):
    signer = make_authority(desk)
    key = make(KeyKind.ECDSA_P256)
    start = threading.Barrier(4)
    made, refused = [], []

    def work():
        start.wait()
        try:
            made.append(issue.issue(desk, signer, issue.Order.of_person("alice@example.com"), key, NOW, Files()))
        except claims.NameTakenError as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 3)
    with desk.registry.reading() as connection:
        assert len(certificates.find(connection)) == 1


def test_the_database_itself_refuses_a_second_claim(desk):
    """Even an issuer that looked before the other wrote is told no."""
    signer = make_authority(desk)
    order = issue.Order.of_person("alice@example.com")
    pending = []
    for _ in range(2):
        certificate = issue.sign(signer, order, make(KeyKind.ECDSA_P256), NOW)
        pending.append(
            certificates.NewCertificate(
                certificate=certificate, common_name=order.common_name, purpose=Purpose.CLIENT, email=order.email
            )
        )
    with desk.registry.writing() as connection:
        certificates.add_pending(connection, signer.record, pending[0], NOW, "one")
    with pytest.raises(claims.NameTakenError), desk.registry.writing() as connection:
        certificates.add_pending(connection, signer.record, pending[1], NOW, "two")
    with desk.registry.reading() as connection:
        assert [record.created_by for record in certificates.find(connection)] == ["one"]


def test_one_for_logging_in_and_one_for_signing_stand_side_by_side(desk):
    signer = make_authority(desk)
    issue_to(desk, signer, purpose=Purpose.AUTH)
    issue_to(desk, signer, purpose=Purpose.SMIME_SIGNING)
    issue_to(desk, signer, purpose=Purpose.SMIME_ENCRYPTION)
    for purpose in (Purpose.CLIENT, Purpose.SMIME, Purpose.AUTH):
        with pytest.raises(claims.NameTakenError):
            issue_to(desk, signer, purpose=purpose)


def test_an_expired_certificate_lets_go_of_its_name(desk):
    signer = make_authority(desk)
    old = issue_to(desk, signer, days=1).record
    later = NOW + 2 * DAY
    new = issue_to(desk, signer, now=later).record
    assert reload(desk, old).status(later) == "expired"
    assert new.is_usable(later)


def test_the_audit_trail_and_certificates_are_never_taken_out(desk):
    signer = make_authority(desk)
    record = issue_to(desk, signer).record
    with desk.registry.reading() as connection:
        trail = audit.entries(connection)
        assert [entry.action for entry in trail] == ["ca init", "signed", "issued"]
        assert {entry.actor for entry in trail} == {"tester"}
        assert audit.entries(connection, serial=record.serial) == trail[1:]
    statements = ["DELETE FROM audit", "UPDATE audit SET actor = 'nobody'", "DELETE FROM certificates"]
    if desk.registry._engine.dialect.name == "postgresql":  # SQLite knows no other way to empty a table
        statements += ["TRUNCATE audit", "TRUNCATE certificates CASCADE"]
    for statement in statements:
        with pytest.raises(OperationError, match="nothing is ever taken out of"), desk.registry.writing() as connection:
            connection.execute(text(statement))


def test_a_failed_transaction_leaves_nothing(desk):
    signer = make_authority(desk)
    again = authorities.NewAuthority(
        name="corp",
        parent=None,
        certificate=signer.certificate,
        chain=(),
        domain=None,
        crl_url=None,
        ocsp_url=None,
        issuer_url=None,
        crl_lifetime=DAY,
    )

    def write_both():
        with desk.registry.writing() as connection:
            audit.add(connection, audit.Event(NOW, "tester", "never"))
            authorities.add(connection, again, NOW, "tester")

    with pytest.raises(OperationError, match="the authority 'corp' already exists"):
        write_both()
    with desk.registry.reading() as connection:
        assert "never" not in {entry.action for entry in audit.entries(connection)}


def test_a_state_changes_from_the_expected_one_only(desk):
    signer = make_authority(desk)
    record = issue_to(desk, signer).record
    with pytest.raises(OperationError, match="is not pending any more"), desk.registry.writing() as connection:
        certificates.make_live(connection, record)
    with pytest.raises(OperationError, match="is not held any more"), desk.registry.writing() as connection:
        certificates.take_off_list(connection, record)
    with desk.registry.writing() as connection:
        certificates.put_on_list(connection, record, State.REVOKED, RevocationReason.UNSPECIFIED, NOW)
    with pytest.raises(OperationError, match="is not live any more"), desk.registry.writing() as connection:
        certificates.put_on_list(connection, record, State.HELD, RevocationReason.CERTIFICATE_HOLD, NOW)


def test_the_tables_are_what_the_queries_name(desk):
    engine = create_engine(desk.registry._engine.url)
    found = inspect(engine)
    for table in METADATA.tables.values():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert set(columns) == {column.name for column in table.columns}
    engine.dispose()


def test_an_older_registry_is_brought_up_to_date(desk, registry_url):
    make_authority(desk)
    dialect = desk.registry._engine.dialect.name
    with desk.registry.writing() as connection:
        connection.execute(text("UPDATE schema_version SET version = 1"))
        if dialect == "sqlite":
            for name in ("audit_update", "audit_delete", "certificates_delete"):
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("DROP FUNCTION gateway_append_only CASCADE"))
        connection.execute(text("DROP TABLE notices"))
    with Registry.open(registry_url) as again, again.reading() as connection:
        assert [record.name for record in authorities.all_of(connection)] == ["corp"]
        assert connection.execute(text("SELECT version FROM schema_version")).scalars().all() == [3]
    with pytest.raises(OperationError, match="taken out"), desk.registry.writing() as connection:
        connection.execute(text("DELETE FROM audit"))


def test_a_newer_registry_is_left_alone(desk, registry_url):
    with desk.registry.writing() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    with pytest.raises(OperationError, match="schema version 99, but this gateway supports only versions up to 3"):
        Registry.open(registry_url)


def test_two_programs_that_open_a_fresh_registry_make_it_once(registry_url):
    opened, failed = [], []

    def work():
        try:
            opened.append(Registry.open(registry_url))
        except OperationError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for registry in opened:
        with registry.reading() as connection:
            assert migrations._version(connection) == 3
        registry.close()


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://root:hush@db/x", "does not support the database 'mysql'"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_urls_that_cannot_be_used(url, cause):
    with pytest.raises(UsageError, match=cause) as refused:
        locate(url)
    assert "hush" not in str(refused.value)
    assert "sqlite:///" in refused.value.remedy


@pytest.mark.parametrize(
    ("url", "is_secret"),
    [
        ("postgresql://u:p@h/d", True),
        ("postgresql://u@h/d?password=p", True),
        ("postgresql://h/d?sslpassword=p", True),
        ("password", True),
        ("nonsense", False),
        ("postgresql://u@h/d?sslmode=verify-full", False),
        ("sqlite:///pki/registry.db", False),
    ],
)
def test_a_password_in_a_url_is_seen(url, is_secret):
    assert has_password(url) is is_secret


def test_urls_are_made_absolute(tmp_path):
    assert locate("sqlite:///a/b.db", tmp_path).database == str(tmp_path / "a/b.db")
    assert locate("postgresql://h/d").drivername == "postgresql+psycopg"


def test_a_database_that_is_away_is_named_without_its_password():
    with pytest.raises(OperationError) as failed:
        Registry.open("postgresql://gateway:hush-hush@127.0.0.1:1/registry?connect_timeout=2")
    assert "hush-hush" not in f"{failed.value.cause} {failed.value.remedy}"
    assert "gateway:***@127.0.0.1" in failed.value.cause
    with pytest.raises(OperationError) as failed:
        Registry.open("postgresql://gateway@127.0.0.1:1/registry?connect_timeout=2&password=hush-hush")
    assert "hush-hush" not in f"{failed.value.cause} {failed.value.remedy}"
    assert "gateway@127.0.0.1:1/registry cannot be used" in failed.value.cause


def test_a_registry_that_is_kept_open_keeps_its_log(desk, tmp_path):
    """SQLite copies the log into the database when the last one closes it; others write all the while."""
    log = tmp_path / "pki/registry.db-wal"
    is_sqlite = desk.registry._engine.dialect.name == "sqlite"
    with desk.registry.kept_open():
        for name in ("one", "two"):
            make_authority(desk, name)
            assert log.exists() == is_sqlite
    assert not log.exists()
    with desk.registry.reading() as connection:
        assert [record.name for record in authorities.all_of(connection)] == ["one", "two"]


def test_values_are_in_no_message(desk):
    with pytest.raises(OperationError) as failed, desk.registry.writing() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "hush-hush"})
    assert "hush-hush" not in str(failed.value)
    assert "hush-hush" not in repr(failed.value.__cause__)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database, however long it may be" * 100)
    with pytest.raises(OperationError, match="not a database"):
        Registry.open(f"sqlite:///{path}")


def test_a_folder_in_the_place_of_the_registry(tmp_path):
    with pytest.raises(OperationError, match="cannot be opened"):
        Registry.open(f"sqlite:///{tmp_path}")


def test_a_registry_is_made_only_where_one_may_be(registry_url, tmp_path):
    if registry_url.startswith("sqlite"):
        with pytest.raises(UsageError, match=r"registry\.db: there is no registry") as refused:
            Registry.open(registry_url, may_make=False)
        assert "gateway ca init" in refused.value.remedy
        assert list(tmp_path.iterdir()) == []
    Registry.open(registry_url).close()
    with Registry.open(registry_url, may_make=False) as registry, registry.reading() as connection:
        assert authorities.all_of(connection) == []


def test_the_registry_is_its_owners_alone(tmp_path):
    desk = open_desk(tmp_path)
    with desk.registry.writing() as connection:
        audit.add(connection, audit.Event(NOW, "tester", "x"))
        for file in (tmp_path / "pki").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    with sqlite3.connect(tmp_path / "pki/registry.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
    desk.registry.close()


def test_pending_certificates_of_a_killed_desk_give_their_name_back(desk):
    signer = make_authority(desk)
    order = issue.Order.of_person("alice@example.com")
    new = certificates.NewCertificate(
        certificate=issue.sign(signer, order, make(KeyKind.ECDSA_P256), NOW),
        common_name=order.common_name,
        purpose=Purpose.CLIENT,
        email=order.email,
    )
    with desk.registry.writing() as connection:
        left = certificates.add_pending(connection, signer.record, new, NOW, "killed")
    with pytest.raises(claims.NameTakenError):
        issue_to(desk, signer, now=NOW + 14 * MINUTE)
    assert issue_to(desk, signer, now=NOW + 16 * MINUTE).record.state is State.LIVE
    assert reload(desk, left).state is State.REVOKED
    with desk.registry.reading() as connection:
        assert [r.serial for r in certificates.find(connection, CERTIFICATES.c.state == "live")] != [left.serial]


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A fresh database that another program is just making."""
    holder = sqlite3.connect(tmp_path / "registry.db", isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE begun (x)")
    holder.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(engine, "LOCK_WAIT_SECONDS", 0.2)
    yield holder
    holder.close()


def test_a_registry_that_another_program_is_making_is_waited_for(locked, tmp_path, monkeypatch):
    """SQLite itself does not wait while it changes to its write-ahead log."""
    monkeypatch.setattr(engine.time, "sleep", lambda _seconds: locked.execute("COMMIT"))
    monkeypatch.setattr(engine.clock, "monotonic_seconds", lambda: 0.0)  # there is time left
    with Registry.open(f"sqlite:///{tmp_path}/registry.db") as registry, registry.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.usefixtures("locked")
def test_nobody_waits_for_ever_for_a_registry(tmp_path):
    with pytest.raises(OperationError, match="database is locked"):
        Registry.open(f"sqlite:///{tmp_path}/registry.db")


def test_a_reader_sees_what_others_write_and_changes_nothing(desk, registry_url):
    with Registry.open_for_reading(registry_url) as reader:
        signer = make_authority(desk)
        with reader.reading() as connection:
            (found,) = authorities.listed(connection)
        assert (found.name, found.crl_number) == ("corp", 1)
        record = issue_to(desk, signer).record
        with reader.reading() as connection:
            assert certificates.get(connection, "corp", record.serial) == record
        with (
            pytest.raises(OperationError, match=r"(?i)read-?only"),
            reader.reading() as connection,
        ):
            connection.execute(text("UPDATE authorities SET crl_number = 7"))


def test_a_reader_needs_no_other_right_than_to_read(postgres_url, tmp_path):
    """What the guide says of a database user for the publisher."""
    admin = postgres_url.format(database="postgres").replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE published")
        connection.execute("CREATE USER reader")
    url = postgres_url.format(database="published")
    with open_desk(tmp_path, url).registry as registry, registry.writing() as connection:
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
    with Registry.open_for_reading(url.replace("gateway@", "reader@")) as reader, reader.reading() as connection:
        assert authorities.listed(connection) == []


def test_a_reader_makes_no_registry(tmp_path):
    with Registry.open_for_reading("sqlite:///pki/re%20gistry.db", tmp_path) as reader:
        for _ in range(2):
            with pytest.raises(OperationError, match="unable to open"), reader.reading():
                pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("open_it", [Registry.open, Registry.open_for_reading])
def test_a_database_that_says_nothing_is_not_waited_for_forever(open_it, monkeypatch):
    monkeypatch.setattr(engine, "CONNECT_SECONDS", 2)  # libpq knows no less
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://gateway@127.0.0.1:{silent.getsockname()[1]}/registry"
        with pytest.raises(OperationError, match="timeout expired"), open_it(url) as registry, registry.reading():
            pass


def test_the_url_may_say_how_long_to_wait():
    assert engine.patience(locate("postgresql://h/d?connect_timeout=9")) == {"tcp_user_timeout": 5000}
