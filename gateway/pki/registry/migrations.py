"""Updates of the registry's schema from any older version: numbered steps of plain SQL, each run once.

Never change a step, only add new ones. All steps run in one transaction under a lock, so if two programs open a new
registry at the same time, only one of them creates the tables.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, text

from gateway.errors import OperationError

_LOCK_NUMBER: Final = 7_204_518_301  # any number, the same in every program that migrates

_TABLES: Final = (
    """CREATE TABLE authorities (
        id {id}, name VARCHAR(63) NOT NULL UNIQUE, parent VARCHAR(63) REFERENCES authorities (name),
        certificate_der {blob} NOT NULL, chain_pem TEXT NOT NULL, domain VARCHAR(253), not_after BIGINT NOT NULL,
        crl_url TEXT, ocsp_url TEXT, issuer_url TEXT, crl_lifetime_seconds BIGINT NOT NULL,
        crl_number BIGINT NOT NULL, crl_this_update BIGINT, crl_next_update BIGINT, crl_der {blob},
        created_at BIGINT NOT NULL, created_by TEXT NOT NULL)""",
    """CREATE TABLE certificates (
        id {id}, authority_id BIGINT NOT NULL REFERENCES authorities (id), serial VARCHAR(40) NOT NULL,
        common_name TEXT NOT NULL, email TEXT, upn TEXT, device TEXT, purpose VARCHAR(32) NOT NULL,
        state VARCHAR(16) NOT NULL CHECK (state IN ('pending', 'live', 'held', 'revoked')),
        p12_format VARCHAR(16), subject TEXT NOT NULL, fingerprint CHAR(64) NOT NULL UNIQUE, der {blob} NOT NULL,
        not_before BIGINT NOT NULL, not_after BIGINT NOT NULL, created_at BIGINT NOT NULL, created_by TEXT NOT NULL,
        run VARCHAR(64), renews VARCHAR(40), supersede_at BIGINT, revoked_at BIGINT, reason VARCHAR(32), escrow {blob},
        UNIQUE (authority_id, serial),
        CHECK ((state IN ('held', 'revoked')) = (revoked_at IS NOT NULL AND reason IS NOT NULL)))""",
    "CREATE INDEX certificates_email ON certificates (lower(email))",
    "CREATE INDEX certificates_not_after ON certificates (not_after)",
    """CREATE TABLE name_claims (
        authority_id BIGINT NOT NULL REFERENCES authorities (id), name_key TEXT NOT NULL, slot VARCHAR(16) NOT NULL,
        certificate_id BIGINT NOT NULL REFERENCES certificates (id), PRIMARY KEY (authority_id, name_key, slot))""",
    "CREATE INDEX name_claims_certificate ON name_claims (certificate_id)",
    """CREATE TABLE foreign_revocations (
        authority_id BIGINT NOT NULL REFERENCES authorities (id), serial VARCHAR(40) NOT NULL,
        revoked_at BIGINT NOT NULL, reason VARCHAR(32) NOT NULL, PRIMARY KEY (authority_id, serial))""",
    """CREATE TABLE audit (
        id {id}, at BIGINT NOT NULL, actor TEXT NOT NULL, action VARCHAR(32) NOT NULL,
        authority VARCHAR(63), serial VARCHAR(40), detail TEXT NOT NULL)""",
)

_APPEND_ONLY: Final = {
    "sqlite": tuple(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'nothing is ever taken out of {table}'); END"
        for table, verb in (("audit", "UPDATE"), ("audit", "DELETE"), ("certificates", "DELETE"))
    ),
    "postgresql": (
        """CREATE FUNCTION gateway_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'nothing is ever taken out of ' || TG_TABLE_NAME; END $$""",
        """CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION gateway_append_only()""",
        """CREATE TRIGGER certificates_append_only BEFORE DELETE OR TRUNCATE ON certificates
        FOR EACH STATEMENT EXECUTE FUNCTION gateway_append_only()""",
    ),
}

_NOTICES: Final = (
    """CREATE TABLE notices (
        id {id}, kind VARCHAR(16) NOT NULL, topic VARCHAR(80) NOT NULL, threshold_seconds BIGINT NOT NULL,
        recipient TEXT NOT NULL, attempts BIGINT NOT NULL, tried_at BIGINT, try_after BIGINT NOT NULL, sent_at BIGINT,
        failure TEXT, UNIQUE (kind, topic, threshold_seconds))""",
)

_TYPES: Final = {
    "sqlite": {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", "blob": "BLOB"},
    "postgresql": {"id": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "blob": "BYTEA"},
}


def steps(dialect: str) -> tuple[tuple[str, ...], ...]:
    """The statements of all steps in order; step number n brings the schema to version n."""
    types = _TYPES[dialect]
    return (
        tuple(statement.format(**types) for statement in _TABLES),
        _APPEND_ONLY[dialect],
        tuple(statement.format(**types) for statement in _NOTICES),
    )


def migrate(connection: Connection) -> int:
    """Bring the schema to the present version in the caller's transaction; returns that version.

    Raises `OperationError` if a newer version of the gateway made the registry.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    present = _version(connection)
    todo = steps(dialect)
    if present > len(todo):
        raise OperationError(
            f"the registry has schema version {present}, but this gateway supports only versions up to {len(todo)}",
            "Use the version of the gateway that made the registry.",
        )
    for statements in todo[present:]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    if present < len(todo):
        connection.execute(text("DELETE FROM schema_version"))
        connection.execute(text("INSERT INTO schema_version (version) VALUES (:version)"), {"version": len(todo)})
    return len(todo)


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table("schema_version"):
        connection.exec_driver_sql("CREATE TABLE schema_version (version INTEGER NOT NULL)")
    return int(connection.execute(text("SELECT max(version) FROM schema_version")).scalar() or 0)
