"""The configuration file's schema, described once. Validation, the JSON Schema and the reference all come from here."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, ListOf, Record, TableOf, Text, Whole
from gateway.config.schema_access import RULE, SITE
from gateway.config.schema_pki import PKI
from gateway.config.schema_service import IDENTITY_HEADERS, LIMITS, LISTENER, TRUSTED_PROXIES
from gateway.config.schema_upstreams import RESOLVER, UPSTREAM
from gateway.config.schema_words import DAY, LISTEN_ADDRESS, NAME_PATTERN, NETWORK, ONE_LINE, SECOND, USER, optional

SCHEMA: Final = Record(
    (
        Field("listen", ListOf(LISTENER, minimum=1), "Where clients connect.", is_required=True),
        Field(
            "networks",
            TableOf(ListOf(NETWORK), NAME_PATTERN, "a network name"),
            "Names for lists of networks; one may name another. `external` is reserved: it is always what is not in "
            "`internal`.",
            default_note="`internal` is loopback, RFC 1918, link-local and ULA",
        ),
        optional(
            "allow_everyone_inside",
            Flag(),
            False,
            "`internal` may hold all addresses, or most. Without it that is an error: every client would be inside.",
        ),
        optional(
            "trusted_proxies",
            TRUSTED_PROXIES,
            [],
            "Proxies in front that name the client in X-Forwarded-For; no other peer is believed. A request for which "
            "they name no client is let in only by a rule whose `from` lists the proxy's own address.",
        ),
        Field("sites", ListOf(SITE, minimum=1), "What is served.", is_required=True),
        Field(
            "upstreams",
            TableOf(UPSTREAM, NAME_PATTERN, "an upstream name", minimum=1),
            "Groups of servers, by name.",
            is_required=True,
        ),
        optional("resolver", RESOLVER, {}, "How upstream servers that are given by name are found."),
        Field(
            "rules",
            ListOf(RULE, minimum=1),
            "The first rule that matches decides, top to bottom; a request that none matches is denied.",
            is_required=True,
        ),
        Field(
            "user",
            Text(what="a user", pattern=rf"{USER}(:{USER})?", example="gateway"),
            "Where the gateway is started as root: the user that it becomes, once its ports are open. `name`, or "
            '`"name:group"`; numbers too. Every file is read as that user.',
            default_note="the user that starts it",
        ),
        optional("limits", LIMITS, {}, "Bounds on what a client may send and hold."),
        optional(
            "identity_headers",
            IDENTITY_HEADERS,
            {},
            "Headers that carry the certificate's holder to the upstream; clients can't send them.",
        ),
        Field(
            "lockout",
            Record(
                (
                    optional(
                        "count",
                        ListOf(Choice(("login", "certificate"), "what is counted"), minimum=1),
                        ["login"],
                        "`login`: 401 from the upstream to credentials or a login form. `certificate`: also refused "
                        "certificates, but not missing ones. What no rule lets in is never counted.",
                    ),
                    optional("failures", Whole(1, 10_000), 10, "Failures within the window."),
                    optional("window", Duration(SECOND, DAY), "10m", "How far back they are counted."),
                    optional("ban", Duration(SECOND, 30 * DAY), "15m", "How long the client is refused."),
                )
            ),
            "Refuses a client after too many failed logins: an address, or a trusted certificate at an address.",
            is_nullable=True,
            default_note="off",
        ),
        optional(
            "access_log",
            Record(
                (
                    optional(
                        "path",
                        Text(what="a file name", example='logs/access.jsonl or "-"'),
                        "-",
                        'File to append to; `"-"` is standard output.',
                    ),
                    optional(
                        "format", Choice(("json", "combined"), "a format"), "json", "JSON lines, or Apache's combined."
                    ),
                )
            ),
            {},
            "One line for each request.",
        ),
        optional(
            "pages",
            Record(
                (
                    Field(
                        "contact",
                        Text(what="a contact on one line", pattern=ONE_LINE, example="helpdesk@example.com"),
                        "Whom refused users should ask.",
                        is_nullable=True,
                    ),
                    Field(
                        "directory",
                        Text(what="a folder", example="pages"),
                        "Own templates for the refusal pages.",
                        is_nullable=True,
                        default_note="the built-in ones",
                    ),
                )
            ),
            {},
            "The refusal pages.",
        ),
        optional("workers", Whole(1, 1024, words=("auto",)), "auto", "Processes; `auto`: one for each core."),
        Field(
            "admin",
            Record(
                (
                    Field(
                        "address",
                        LISTEN_ADDRESS,
                        "Where they are served. Nobody is asked for a password: keep it off public addresses.",
                        is_required=True,
                    ),
                )
            ),
            "Status, health and metrics over HTTP.",
            is_nullable=True,
            default_note="off: no port is opened",
        ),
        Field(
            "pki",
            PKI,
            "The certificate registry.",
            is_nullable=True,
            default_note="none",
        ),
    )
)
