"""The schema of the configuration file. Validation, the JSON Schema and the reference are made from it."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, ListOf, Record, TableOf, Text, Whole
from gateway.config.schema_access import RULE, SITE
from gateway.config.schema_pki import PKI
from gateway.config.schema_service import IDENTITY_HEADERS, LIMITS, LISTENER, ROTATION, TRUSTED_PROXIES
from gateway.config.schema_upstreams import RESOLVER, UPSTREAM
from gateway.config.schema_words import (
    DAY,
    FILE,
    LISTEN_ADDRESS,
    NAME_PATTERN,
    NETWORK,
    ONE_LINE,
    SECOND,
    USER,
    optional,
)

SCHEMA: Final = Record(
    (
        Field("listen", ListOf(LISTENER, minimum=1), "Where clients connect.", is_required=True),
        Field(
            "networks",
            TableOf(ListOf(NETWORK), NAME_PATTERN, "a network name"),
            "Names for lists of networks. A list may contain the name of another one. `external` is reserved: it "
            "always means the addresses that are not in `internal`.",
            default_note="`internal` is loopback, RFC 1918, link-local and ULA",
        ),
        optional(
            "allow_everyone_inside",
            Flag(),
            False,
            "Allow `internal` to contain all or most addresses. Otherwise that is an error: every client would count "
            "as inside.",
        ),
        optional(
            "trusted_proxies",
            TRUSTED_PROXIES,
            [],
            "Proxies in front of the gateway that name the client in X-Forwarded-For. From other peers this header is "
            "ignored. If a proxy names no client, only a rule whose `from` lists the proxy's own address lets the "
            "request in.",
        ),
        Field("sites", ListOf(SITE, minimum=1), "The sites that the gateway serves.", is_required=True),
        Field(
            "upstreams",
            TableOf(UPSTREAM, NAME_PATTERN, "an upstream name", minimum=1),
            "Groups of servers, by name.",
            is_required=True,
        ),
        optional("resolver", RESOLVER, {}, "How the names of upstream servers are resolved."),
        Field(
            "rules",
            ListOf(RULE, minimum=1),
            "Rules are tried from top to bottom, and the first one that matches decides. A request "
            "that matches no rule is denied.",
            is_required=True,
        ),
        Field(
            "user",
            Text(what="a user", pattern=rf"{USER}(:{USER})?", example="gateway"),
            "The user that the gateway switches to after it has opened its ports, if it is started as root: `name` or "
            '`"name:group"`, or their numbers. Every file is read as that user.',
            default_note="the user that starts it",
        ),
        optional("limits", LIMITS, {}, "Limits on what a client may send, how fast, and on its connections."),
        optional(
            "identity_headers",
            IDENTITY_HEADERS,
            {},
            "Headers that tell the upstream who holds the certificate. The gateway removes them from clients' "
            "requests.",
        ),
        Field(
            "lockout",
            Record(
                (
                    optional(
                        "count",
                        ListOf(Choice(("login", "certificate"), "a kind of failure"), minimum=1),
                        ["login"],
                        "`login`: the upstream answers 401 to credentials or to a login form. `certificate`: a "
                        "certificate is refused; a missing one doesn't count. Requests that match no rule or are "
                        "denied by one never count.",
                    ),
                    optional(
                        "failures",
                        Whole(1, 10_000),
                        10,
                        "Number of failures within `window` after which the client is refused.",
                    ),
                    optional("window", Duration(SECOND, DAY), "10m", "How far back failures are counted."),
                    optional("ban", Duration(SECOND, 30 * DAY), "15m", "How long the client is refused."),
                )
            ),
            "Refuses a client after too many failed logins. A client is an address, or a trusted certificate at an "
            "address.",
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
                        'File to append to; `"-"` is standard output, `journald` is systemd\'s journal. '
                        "`syslog:ADDRESS` is a syslog server (RFC 5424): `syslog:udp://HOST:514`, "
                        "`syslog:tcp://HOST:514`, `syslog:tls://HOST:6514`, or a unix socket, `syslog:/dev/log`. An "
                        "address without a scheme is reached by UDP, and these ports may be left out.",
                    ),
                    Field(
                        "ca",
                        FILE,
                        "For a syslog server with TLS: PEM file of the CAs that its certificate must come from, their "
                        "roots included.",
                        is_nullable=True,
                        default_note="the system's",
                    ),
                    optional(
                        "format", Choice(("json", "combined"), "a format"), "json", "JSON lines, or Apache's combined."
                    ),
                    Field(
                        "rotate",
                        ROTATION,
                        "When the gateway begins a new file. `{}` takes all defaults.",
                        is_nullable=True,
                        default_note="off: another program may rename the file and send SIGUSR1",
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
                        "Where refused users get help: shown on the pages and in letters.",
                        is_nullable=True,
                    ),
                    Field(
                        "directory",
                        Text(what="a folder", example="pages"),
                        "Folder with your own templates for the refusal pages.",
                        is_nullable=True,
                        default_note="the built-in ones",
                    ),
                )
            ),
            {},
            "The refusal pages.",
        ),
        optional(
            "workers", Whole(1, 1024, words=("auto",)), "auto", "Number of worker processes; `auto`: one for each core."
        ),
        Field(
            "admin",
            Record(
                (
                    Field(
                        "address",
                        LISTEN_ADDRESS,
                        "Where they are served. There is no password: don't use a public address.",
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
