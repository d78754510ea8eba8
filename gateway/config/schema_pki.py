"""The schema of the certificate registry's section: values, meaning and default of each key."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, ListOf, Record, TableOf, Text, Whole
from gateway.config.schema_words import DAY, EMAIL, FILE, HOUR, ONE_LINE, optional

_AUTHORITY: Final = Record(
    (
        Field(
            "passphrase_file",
            Text(what="a file name", example="/run/credentials/gateway.service/corp"),
            "File with the passphrase of the authority's key on its first line. Other users must not be able to read "
            "it.",
            is_required=True,
        ),
    )
)
_MAIL: Final = Record(
    (
        Field(
            "server",
            Text(what="a mail server", example="smtp.example.com:587"),
            "The mail server. The port, if left out, is 587 for `starttls`, 465 for `implicit` and 25 for `none`.",
            is_required=True,
        ),
        optional(
            "tls",
            Choice(("starttls", "implicit", "none"), "a kind of TLS"),
            "starttls",
            "`starttls`: TLS is switched on by STARTTLS; if that fails, no mail is sent. `implicit`: TLS from the "
            "first byte. `none`: no TLS, for a server on this machine.",
        ),
        Field(
            "ca",
            FILE,
            "PEM file of the CAs that the server's certificate must come from, their roots included.",
            is_nullable=True,
            default_note="the system's",
        ),
        Field(
            "username",
            Text(what="a user name", pattern=ONE_LINE),
            "User name for the login at the mail server.",
            is_nullable=True,
        ),
        Field(
            "password",
            Text(what="a password", is_secret=True, example='"${SMTP_PASSWORD}"'),
            "Password of that user.",
            is_nullable=True,
        ),
        Field("from", EMAIL, "Address of the sender.", is_required=True),
        optional(
            "admin",
            ListOf(EMAIL),
            [],
            "Addresses that get a mail at once when clients are refused because something "
            "has ended, and at most once a day a summary of what ends soon.",
        ),
        optional("to_users", Flag(), True, "Send each holder a mail too, once for each time in `warn.before`."),
    )
)

_ALERTS: Final = Record(
    (
        optional(
            "new_place",
            Flag(),
            False,
            "Send a holder a mail when the certificate is used in a network or on a device for the first time. The "
            "first day only learns.",
        ),
        Field(
            "refusals",
            Whole(2, 10_000),
            "Send `mail.admin` a mail when one person is refused so many times in ten minutes.",
            is_nullable=True,
            default_note="off",
        ),
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
            "Database of the issued certificates.",
            is_required=True,
        ),
        Field(
            "folder",
            Text(what="a folder", example="pki"),
            "Folder of the authorities' files.",
            is_nullable=True,
            default_note="the folder of a SQLite registry, else `pki`",
        ),
        Field(
            "authorities",
            TableOf(_AUTHORITY, r"[a-z0-9][a-z0-9._-]{0,62}", "an authority's name"),
            "The authorities whose revocation lists and OCSP signers the gateway renews by itself, by name.",
            default_note="none; run `gateway ca crl` to renew them",
        ),
        Field(
            "warn",
            Record(
                (
                    optional(
                        "before",
                        ListOf(Duration(HOUR, 366 * DAY), minimum=1),
                        ["30d", "7d", "1d"],
                        "When to warn: these times before a certificate ends.",
                    ),
                )
            ),
            "Warnings about certificates that end soon, in log, status and metrics; with `mail` also by e-mail.",
            default_note="the defaults below with `authorities` or `mail`; otherwise no warnings",
        ),
        Field(
            "mail",
            _MAIL,
            "How mails are sent.",
            is_nullable=True,
            default_note="no mails",
        ),
        Field(
            "alerts",
            _ALERTS,
            "Mails about what the access log shows. Needs `mail`, and an access log in a file with `format: json`.",
            is_nullable=True,
            default_note="off",
        ),
    )
)
