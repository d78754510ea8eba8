"""The schema of upstreams: values, meaning and default of each key."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, ListOf, Record, Text, Whole
from gateway.config.schema_words import DAY, FILE, HOUR, MINUTE, SECOND, optional

UPSTREAM: Final = Record(
    (
        Field(
            "servers",
            ListOf(Text(what="a server URL", example="https://10.0.0.5:443", has_spaces=False), minimum=1),
            "`http://` or `https://`, host and port. Requests are balanced over several servers.",
            is_required=True,
        ),
        optional(
            "balance",
            Choice(("least_connections", "round_robin", "client_ip"), "a way to balance"),
            "least_connections",
            "`least_connections`: the server with the fewest connections; of several such servers, each in turn. "
            "`client_ip`: always the same server for a client address, as the rules see it.",
        ),
        optional(
            "tls",
            Record(
                (
                    Field(
                        "ca",
                        FILE,
                        "PEM file of the CAs that may sign the servers' certificates, their roots included.",
                        is_nullable=True,
                        default_note="the system's trust store",
                    ),
                    Field(
                        "server_name",
                        Text(what="a server name", example="mail.internal"),
                        "Name to send as TLS server name, which the server's certificate must contain.",
                        is_nullable=True,
                        default_note="the host in the server's URL",
                    ),
                    Field("certificate", FILE, "Client certificate to show to the servers, PEM.", is_nullable=True),
                    Field("key", FILE, "Its private key, PEM, not encrypted.", is_nullable=True),
                    optional(
                        "verify",
                        Flag(),
                        True,
                        "`false`: any certificate is accepted, so an attacker in between can pose as the server.",
                    ),
                )
            ),
            {},
            "TLS towards https:// servers.",
        ),
        Field(
            "health",
            Record(
                (
                    optional("path", Text(what="a path", pattern=r"/[!-~]*", example="/"), "/", "Path to request."),
                    optional("interval", Duration(SECOND, HOUR), "10s", "Time between two checks."),
                    optional("timeout", Duration(0.1, MINUTE), "3s", "How long an answer may take."),
                    optional(
                        "rise", Whole(1, 100), 2, "Number of good answers in a row after which a server is used again."
                    ),
                    optional(
                        "fall",
                        Whole(1, 100),
                        3,
                        "Number of bad answers in a row after which a server is no longer used.",
                    ),
                )
            ),
            "Active health checks.",
            is_nullable=True,
            default_note="no checks",
        ),
        optional(
            "timeouts",
            Record(
                (
                    optional("connect", Duration(0.1, 5 * MINUTE), "5s", "TCP and TLS together."),
                    optional(
                        "response",
                        Duration(SECOND, DAY),
                        "60m",
                        "How long a server may send nothing before or during an answer, or read nothing of an upload, "
                        "and how long both sides of a WebSocket may be silent. ActiveSync phones wait up to 59 "
                        "minutes for an answer.",
                    ),
                    optional(
                        "idle",
                        Duration(SECOND, DAY),
                        "60s",
                        "How long an unused connection is kept; shorter if the server asks for it with `Keep-Alive: "
                        "timeout=`.",
                    ),
                )
            ),
            {},
            "How long an upstream may take.",
        ),
        optional(
            "host",
            Text(
                what="a Host",
                pattern=r"preserve|[A-Za-z0-9_.-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?",
                example="preserve or mail.internal",
            ),
            "preserve",
            "The Host header: as the client sent it (`preserve`), or a literal one.",
        ),
        optional(
            "connections",
            Choice(("shared", "per_client"), "a way to share"),
            "shared",
            "`per_client`: one upstream connection for each client connection, as Exchange needs it for NTLM.",
        ),
        Field(
            "rewrite_location",
            Flag(),
            "Replace the upstream's own host in Location headers with the host that the client asked for. `false`: "
            "change nothing. If left out and `host` is `preserve`, only `http://` with the client's own host becomes "
            "`https://`.",
            is_nullable=True,
            default_note="`true` if `host` is not `preserve`",
        ),
        optional(
            "proxy_protocol", Flag(), False, "Send a PROXY v2 header with the client's address; implies `per_client`."
        ),
    )
)

RESOLVER: Final = Record(
    (
        Field(
            "servers",
            ListOf(
                Text(what="a DNS server", example='10.0.0.53, "10.0.0.53:5353" or "[fd00::53]:53"', has_spaces=False),
                minimum=1,
            ),
            "Addresses of the DNS servers to ask. They are asked for a name as it is written, without a search list.",
            default_note="those in /etc/resolv.conf, with its search list",
        ),
    )
)
