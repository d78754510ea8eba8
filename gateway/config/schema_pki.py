"""The schema of the certificate registry's section."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Field, Record, Text

PKI: Final = Record(
    (
        Field(
            "store",
            Text(
                what="a database URL",
                pattern=r"(?:sqlite:///|postgresql\+psycopg://).+",
                is_secret=True,
                example="sqlite:///pki/registry.db or postgresql+psycopg://…",
            ),
            "Where issued certificates are kept.",
            is_required=True,
        ),
        Field(
            "folder",
            Text(what="a folder", example="pki"),
            "Where the authorities' files are.",
            is_nullable=True,
            default_note="beside a SQLite registry, else `pki`",
        ),
    )
)
