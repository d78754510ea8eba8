"""The schema of the certificate registry's section: where it is, and what the gateway does for it by itself."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, ListOf, Record, TableOf, Text
from gateway.config.schema_words import DAY, EMAIL, FILE, HOUR, ONE_LINE, optional

_AUTHORITY: Final = Record(
    (
        Field(
            "passphrase_file",
            Text(what="a file name", example="/run/credentials/gateway.service/corp"),
            "Where the passphrase of its key is, on the first line. Nobody else may read the file.",
            is_required=True,
        ),
    )
)
_MAIL: Final = Record(
    (
        Field(
            "server",
            Text(what="a mail server", example="smtp.example.com:587"),
            "The mail server; without a port 587, 465 or 25, as `tls` is.",
            is_required=True,
        ),
        optional(
            "tls",
            Choice(("starttls", "implicit", "none"), "a kind of TLS"),
            "starttls",
            "STARTTLS, without which nothing is sent; TLS from the first byte; or none, for a server on this machine.",
        ),
        Field(
            "ca",
            FILE,
            "PEM file of the CAs that the server's certificate must come from, their roots included.",
            is_nullable=True,
            default_note="the system's",
        ),
        Field("username", Text(what="a user name", pattern=ONE_LINE), "Whom to log in as.", is_nullable=True),
        Field(
            "password",
            Text(what="a password", is_secret=True, example='"${SMTP_PASSWORD}"'),
            "The password for that.",
            is_nullable=True,
        ),
        Field("from", EMAIL, "The sender.", is_required=True),
        optional("admin", ListOf(EMAIL), [], "Who gets a summary of all that ends, once a day where there is any."),
        optional("to_users", Flag(), True, "Tell every holder, once for each time in `warn.before`."),
    )
)

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
        Field(
            "authorities",
            TableOf(_AUTHORITY, r"[a-z0-9][a-z0-9._-]{0,62}", "an authority's name"),
            "The authorities whose revocation lists and OCSP signers the gateway renews by itself, by name.",
            default_note="none; `gateway ca crl` renews them",
        ),
        Field(
            "warn",
            Record(
                (
                    optional(
                        "before",
                        ListOf(Duration(HOUR, 366 * DAY), minimum=1),
                        ["30d", "7d", "1d"],
                        "How long before a certificate's end somebody is told.",
                    ),
                )
            ),
            "Warnings of certificates that end, in log, status and metrics; with `mail` by e-mail.",
            default_note="the defaults below where `authorities` or `mail` is there, else nothing is watched",
        ),
        Field(
            "mail",
            _MAIL,
            "How mails are sent.",
            is_nullable=True,
            default_note="no mails",
        ),
    )
)
