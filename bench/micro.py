"""`python -m bench.micro`: what single steps on a request's way cost, in µs of this process's CPU.

The verdict has to cost with 1,000 rules about what it costs with 10, the plain loop beside it shows the difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import hpack
from rich.console import Console
from rich.table import Table

from gateway.facts import Action, Request
from gateway.http import http2_frames as frames
from gateway.http.hpack import Decoder, Encoder
from gateway.http.http2 import Http2Codec
from gateway.http.http2_limits import Limits
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.policy.engine import Engine
from gateway.policy.hosts import parse_host_pattern
from gateway.policy.rules import Rule
from gateway.policy.uri import normalise, parse_pattern

BATCHES = 7
BATCH_SECONDS = 0.1
NETWORKS = {"internal": (ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16"))}


def cost(step: Callable[[], object]) -> float:
    """µs a call: the cheapest of several batches, since whatever disturbs only adds."""
    calls = 1
    while (seconds := _batch(step, calls)) < BATCH_SECONDS:
        calls = max(calls * 2, int(calls * BATCH_SECONDS / max(seconds, 1e-6)))
    return min(_batch(step, calls) for _ in range(BATCHES)) / calls * 1e6


def _batch(step: Callable[[], object], calls: int) -> float:
    begin = time.process_time()
    for _ in range(calls):
        step()
    return time.process_time() - begin


def rules(count: int) -> list[Rule]:
    """As large set-ups have them: a host, a network and a path each, and the one that matches at the end."""
    shape = [
        Rule(
            name=f"rule {number}",
            action=(Action.ALLOW, Action.REQUIRE_CERTIFICATE, Action.DENY)[number % 3],
            line=number + 1,
            networks=("internal" if number % 2 else f"203.0.{number % 256}.0/24",),
            hosts=(parse_host_pattern(f"mail{number % 50}.example.com"),),
            uris=(parse_pattern(f"/app{number}"), parse_pattern(f"=/exact{number}")),
        )
        for number in range(count - 1)
    ]
    return [*shape, Rule("the last", Action.ALLOW, count, networks=("external",), uris=(parse_pattern("/webmail"),))]


def record_line(connection: ConnectionFields) -> bytes:
    record = AccessRecord(connection, 1_795_520_504.25, "0123456789abcdef0123456789abcdef")
    record.method, record.host, record.uri, record.protocol = (
        "GET",
        b"mail.example.com",
        b"/webmail/inbox?x=1",
        "HTTP/1.1",
    )
    record.status, record.rule, record.decision = 200, "Webmail and ActiveSync from outside", "require_certificate"
    record.bytes_in, record.bytes_out, record.duration_ms = 300, 1264, 1.234567
    record.upstream, record.upstream_status, record.upstream_ms = "http://127.0.0.1:8080", 200, 0.876543
    record.user_agent = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    return record.to_json_line()


BROWSER = [
    (b":method", b"GET"),
    (b":authority", b"mail.example.com"),
    (b":scheme", b"https"),
    (b":path", b"/webmail/?_task=mail&_action=list&_mbox=INBOX&_remote=1&_unlock=loading1795520504250"),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (b"x-roundcube-request", b"VYl0FzKk3ZcXw7J9bqDnTt5rGm8hUeSa"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    (b"accept", b"application/json, text/javascript, */*; q=0.01"),
    (b"sec-ch-ua", b'"Chromium";v="142", "Not_A Brand";v="99"'),
    (b"x-requested-with", b"XMLHttpRequest"),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-fetch-site", b"same-origin"),
    (b"sec-fetch-mode", b"cors"),
    (b"sec-fetch-dest", b"empty"),
    (b"referer", b"https://mail.example.com/webmail/?_task=mail&_mbox=INBOX"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"),
    (b"cookie", b"roundcube_sessid=8hk2v0q3m1c9d7f5s4a6"),
    (b"cookie", b"roundcube_sessauth=Zr7yQm2WkXc9VbN4-1795520400"),
    (b"priority", b"u=1, i"),
]
ANSWER = [
    (b":status", b"200"),
    (b"date", b"Tue, 24 Nov 2026 12:21:44 GMT"),
    (b"content-type", b"application/json; charset=UTF-8"),
    (b"content-length", b"1024"),
    (b"expires", b"Tue, 24 Nov 2026 12:21:44 GMT"),
    (b"cache-control", b"private, no-cache, no-store, must-revalidate, post-check=0, pre-check=0"),
    (b"x-frame-options", b"sameorigin"),
    (b"content-language", b"de"),
    (b"strict-transport-security", b"max-age=31536000"),
]


def block_steps() -> list[tuple[str, Callable[[], object]]]:
    """A browser puts into the table what comes again, and neither the path nor the cookies of one request."""
    browser, server = hpack.Encoder(), Encoder(max_table_bytes=4096)
    first = browser.encode(BROWSER)
    later = browser.encode([(name, value + b"1" * (name == b":path"), name == b":path") for name, value in BROWSER])
    ours, theirs = Decoder(max_list_bytes=65536, max_fields=100), hpack.Decoder()
    ours.decode(first)
    theirs.decode(first, raw=True)
    server.encode(ANSWER)
    server.encode(ANSWER)

    def encode() -> bytes:
        encode.number += 1
        return server.encode([*ANSWER, (b"etag", b"%d" % encode.number)])

    encode.number = 0
    return [
        ("HPACK, a browser's first request", lambda: Decoder(max_list_bytes=65536, max_fields=100).decode(first)),
        ("HPACK, a browser's later request", lambda: ours.decode(later)),
        ("HPACK, a browser's later request, hpack", lambda: theirs.decode(later, raw=True)),
        ("HPACK, an answer", encode),
    ]


def http2_exchange() -> Callable[[], object]:
    """A browser's request and its answer of 1 KiB, on a connection that has had others."""
    connection = Http2Codec(Limits(uri_bytes=8192, list_bytes=65_536, fields=200))
    connection.receive(frames.CLIENT_PREFACE + frames.settings_frame({}), 0.0)
    connection.receive(frames.window_update_frame(0, 2**31 - 2**16), 0.0)
    encoder = hpack.Encoder()
    first, later = encoder.encode(BROWSER), encoder.encode(BROWSER)
    flags, body = frames.END_HEADERS | frames.END_STREAM, bytes(1024)

    def exchange(block: bytes = later) -> None:
        exchange.stream_id += 2
        request, _ = connection.receive(frames.frame(frames.HEADERS, flags, exchange.stream_id, block), 0.0)
        connection.send_head(request.stream_id, 200, ANSWER[1:])
        connection.send_data(request.stream_id, body, 0.0, is_last=True)
        connection.take_output()

    exchange.stream_id = -1
    exchange(first)
    return exchange


def main() -> None:
    request = Request(ip_address("198.51.100.7"), "mail7.example.com", "GET", "/webmail/inbox")
    few, many = Engine(rules(10), NETWORKS), Engine(rules(1000), NETWORKS)
    connection = ConnectionFields(
        client_ip="198.51.100.7", client_port=51234, listener="0.0.0.0:443", site="mail", config="1a2b3c4d"
    )
    steps: list[tuple[str, Callable[[], object]]] = [
        ("path, ordinary", lambda: normalise(b"/webmail/inbox/index.html?x=1")),
        ("path, escaped and with dot segments", lambda: normalise(b"/%77ebmail/./x/../inb%C3%B6x?x=1")),
        ("verdict, 10 rules", lambda: few.decide(request)),
        ("verdict, 1,000 rules", lambda: many.decide(request)),
        ("verdict, 10 rules, plain loop", lambda: few.decide_plain(request)),
        ("verdict, 1,000 rules, plain loop", lambda: many.decide_plain(request)),
        ("access log line", lambda: record_line(connection)),
        *block_steps(),
        ("HTTP/2, a browser's request and 1 KiB", http2_exchange()),
    ]
    table = Table()
    table.add_column("step")
    table.add_column("µs", justify="right")
    for name, step in steps:
        table.add_row(name, f"{cost(step):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
