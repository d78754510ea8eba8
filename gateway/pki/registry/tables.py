"""The registry's tables, for queries. `migrations` creates them; change both together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

METADATA: Final = MetaData()
_ID: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only in an INTEGER column


class Moment(TypeDecorator[datetime]):
    """An aware UTC time, stored as whole seconds since 1970: the same in every database, and as exact as X.509."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002 - the interface
        """Aware time to seconds."""
        return None if value is None else int(value.timestamp())

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the interface
        """Seconds to aware time."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


SCHEMA_VERSION: Final = Table("schema_version", METADATA, Column("version", Integer, nullable=False))

AUTHORITIES: Final = Table(
    "authorities",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", String, nullable=False),
    Column("parent", String),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("chain_pem", Text, nullable=False),
    Column("domain", String),
    Column("not_after", Moment, nullable=False),
    Column("crl_url", String),
    Column("ocsp_url", String),
    Column("issuer_url", String),
    Column("crl_lifetime_seconds", BigInteger, nullable=False),
    Column("crl_number", BigInteger, nullable=False),
    Column("crl_this_update", Moment),
    Column("crl_next_update", Moment),
    Column("crl_der", LargeBinary),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String, nullable=False),
)

CERTIFICATES: Final = Table(
    "certificates",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("authority_id", BigInteger, ForeignKey("authorities.id"), nullable=False),
    Column("serial", String, nullable=False),
    Column("common_name", String, nullable=False),
    Column("email", String),
    Column("upn", String),
    Column("device", String),
    Column("purpose", String, nullable=False),
    Column("state", String, nullable=False),
    Column("p12_format", String),
    Column("subject", Text, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("not_before", Moment, nullable=False),
    Column("not_after", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String, nullable=False),
    Column("run", String),
    Column("renews", String),
    Column("supersede_at", Moment),
    Column("revoked_at", Moment),
    Column("reason", String),
    Column("escrow", LargeBinary),
)

# The certificates that hold a common name: one row for each use (login, signing, encryption) of a certificate.
NAME_CLAIMS: Final = Table(
    "name_claims",
    METADATA,
    Column("authority_id", BigInteger, ForeignKey("authorities.id"), primary_key=True),
    Column("name_key", String, primary_key=True),
    Column("slot", String, primary_key=True),
    Column("certificate_id", BigInteger, ForeignKey("certificates.id"), nullable=False),
)

# Revoked serials that are not in the registry: of certificates that an imported authority signed elsewhere, and of
# authorities.
FOREIGN_REVOCATIONS: Final = Table(
    "foreign_revocations",
    METADATA,
    Column("authority_id", BigInteger, ForeignKey("authorities.id"), primary_key=True),
    Column("serial", String, primary_key=True),
    Column("revoked_at", Moment, nullable=False),
    Column("reason", String, nullable=False),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("authority", String),
    Column("serial", String),
    Column("detail", Text, nullable=False),
)

# Mails about expiring certificates and outages: one row for each certificate and threshold, and for each day's mails.
NOTICES: Final = Table(
    "notices",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("kind", String, nullable=False),
    Column("topic", String, nullable=False),
    Column("threshold_seconds", BigInteger, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("tried_at", Moment),
    Column("try_after", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("failure", Text),
)
