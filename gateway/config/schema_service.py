"""The schema of listeners, limits and headers: values, meaning and default of each key."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, ListOf, Record, Size, Text, Whole
from gateway.config.schema_words import CIDR, DAY, HOUR, KIB, LISTEN_ADDRESS, MINUTE, SECOND, optional

LISTENER: Final = Record(
    (
        Field(
            "address",
            LISTEN_ADDRESS,
            'Where to listen: `host:port` or `"[v6]:port"`; a bare `":443"` is every '
            "address, IPv4 and IPv6. Port 0 lets the system choose.",
            is_required=True,
        ),
        optional(
            "redirect_to_https",
            Flag(),
            False,
            "Plain HTTP: redirects every request to the same address with https (status 308).",
        ),
        optional(
            "redirect_status",
            Choice(("308", "302"), "a status of a redirect"),
            308,
            "302 for clients that don't know 308, such as Outlook's Autodiscover. After a 302, clients may repeat a "
            "POST as GET, and browsers don't remember the redirect.",
        ),
        Field(
            "acme_webroot",
            Text(what="a folder", example="/var/lib/letsencrypt"),
            "Folder in which certbot or another ACME client puts its challenges (http-01). Only "
            "`/.well-known/acme-challenge/TOKEN` is served from it. Needs `redirect_to_https` or `pki`.",
        ),
        optional(
            "pki",
            Flag(),
            False,
            "Plain HTTP: serves what the authorities of `pki.store` publish (revocation lists, certificates and OCSP "
            "answers) below `/.well-known/gateway/`. Other requests are redirected with `redirect_to_https`, otherwise "
            "refused.",
        ),
        Field(
            "proxy_protocol_from",
            ListOf(CIDR, minimum=1),
            "Peers that must send a PROXY header (v1 or v2). All other peers are refused.",
        ),
        Field(
            "public_port",
            Whole(1, 65535),
            "The port in the clients' URLs, if NAT or a proxy in front changes it. It is used for `X-Forwarded-Port` "
            "and for `Host` towards the upstream.",
            default_note="the port that the client connected to",
        ),
    )
)

TRUSTED_PROXIES: Final = Record(
    (
        Field("from", ListOf(CIDR), "The proxies' addresses.", is_required=True),
        optional(
            "header",
            Choice(("x-forwarded-for", "forwarded"), "a header that names clients"),
            "x-forwarded-for",
            "The header that the proxies write. Only this one is used; `forwarded` is the one of RFC 7239. "
            "If the other header names another client, the request is refused.",
        ),
    ),
    short="from",
)

LIMITS: Final = Record(
    (
        optional(
            "header_bytes", Size(KIB, KIB**2), "32KiB", "Size of the request line and the header fields together."
        ),
        optional("headers", Whole(10, 1000), 100, "Number of header fields."),
        optional("uri_bytes", Size(256, 64 * KIB), "8KiB", "Length of the request target."),
        optional("body", Size(1, KIB**5), "2GiB", "Length of a request's body."),
        optional(
            "connections",
            Whole(1, 1_000_000),
            10000,
            "Open client connections. Each may need another one to an upstream, so allow twice as many open files. "
            "Over HTTP/2, each request beside others of its connection counts as one connection more.",
        ),
        optional(
            "connections_per_ip",
            Whole(1, 1_000_000),
            200,
            "Open connections of one client address; an IPv6 client is its /64, here and wherever clients are counted. "
            "Requests over HTTP/2 count as above; one too many waits for five seconds before it is refused.",
        ),
        optional(
            "handshakes_per_second_per_ip",
            Whole(1, 1_000_000),
            100,
            "TLS handshakes of one client address per second in each worker. As many as for three seconds may come at "
            "once.",
        ),
        optional(
            "requests_per_second_per_ip",
            Whole(1, 1_000_000),
            2000,
            "Requests of one client per second in each worker. As many as for three seconds may come at once; further "
            "ones wait. Behind `trusted_proxies` each named client is counted separately.",
        ),
        optional("handshake", Duration(0.1, 5 * MINUTE), "10s", "How long a TLS handshake may take."),
        optional("header_time", Duration(0.1, 5 * MINUTE), "20s", "How long a request's header may take."),
        optional("keepalive", Duration(SECOND, DAY), "75s", "How long a client connection may be idle."),
        optional(
            "transfer_idle",
            Duration(SECOND, 10 * MINUTE),
            "60s",
            "How long a client may stop sending its body, or stop reading its answer.",
        ),
        optional(
            "body_bytes_per_second",
            Whole(0, 1_000_000),
            64,
            "Lowest speed at which a client must send a body and read an answer, measured over each `transfer_idle`. "
            "The bodies of Outlook Anywhere may be slower.",
        ),
    )
)

ROTATION: Final = Record(
    (
        optional("size", Size(64 * KIB, KIB**4), "256MiB", "Size at which a new file begins."),
        optional(
            "age",
            Duration(HOUR, 366 * DAY),
            "1d",
            "Age of the file's first line at which a new file begins.",
        ),
        # With more, `gateway logs` would refuse to read all of them: `logs.files.MAX_FILES`.
        optional("keep", Whole(1, 500), 30, "Number of rotated files. Older ones are deleted."),
        optional(
            "compress",
            Choice(("zstd", "gzip", "none"), "a compression"),
            "zstd",
            "How rotated files are packed. `gateway logs` reads all of them.",
        ),
    )
)

_HEADER: Final = Text(what="a header name", pattern=r"[A-Za-z][A-Za-z0-9-]{0,63}", example="X-Client-Email")


def _header(name: str, default: str, what: str) -> Field:
    return Field(name, _HEADER, f"Header for {what}; null: not sent.", is_nullable=True, default=default)


IDENTITY_HEADERS: Final = Record(
    (
        optional("rfc9440", Flag(), True, "Send Client-Cert and Client-Cert-Chain (RFC 9440)."),
        _header("subject", "X-Client-Subject", "the subject (RFC 4514)"),
        _header("email", "X-Client-Email", "the e-mail address"),
        _header("serial", "X-Client-Serial", "the serial number in hex"),
        _header("fingerprint", "X-Client-Fingerprint", "the SHA-256 fingerprint"),
        _header("verified", "X-Client-Verified", "whether a certificate was verified"),
    )
)
