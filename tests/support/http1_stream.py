"""What a byte stream from a client is to the gateway: which requests, how framed, and where it is refused.

The stream goes the way of a connection: `parse_request`, `Admission` with a real snapshot that lets everything
pass, and the body readers. What an upstream would read is checked for each request on the way.
"""

from __future__ import annotations

import codecs
import re
import tempfile
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from support.loaded import certificate_file, key_file
from support.pki import NOW, server

from gateway.config.model import Config, Limits, Server, Site, Upstream
from gateway.errors import RequestError
from gateway.facts import Action, Peer
from gateway.http.body import BodyError, BodyReader, ChunkedReader, LengthReader
from gateway.http.http1 import END_OF_HEAD, RequestHead, check_unfinished, parse_request
from gateway.logs.record import AccessRecord
from gateway.policy.rules import Rule
from gateway.proxy.exchange.admission import Admission
from gateway.proxy.ocsp.statuses import Statuses
from gateway.proxy.snapshot import Snapshot
from gateway.supervisor.reload.build_snapshot import build_snapshot

LIMITS = Limits()
ONLY_OURS = (
    b"x-client-email",
    b"x-client-subject",
    b"client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"forwarded",
)


@cache
def snapshot() -> Snapshot:
    """One site for every host, one rule that allows everything."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = server(Path(folder))
        return build_snapshot(
            Config(
                path=Path("config.yaml"),
                listen=(),
                sites=(Site(("*",), certificate_file(certificate), key_file(key), "mail"),),
                upstreams=(Upstream("mail", (Server("http", "127.0.0.1", 8080),)),),
                rules=(Rule("all", Action.ALLOW, 1),),
                networks={},
            )
        )


def admission() -> Admission:
    """A client without a certificate, from a public address."""
    made = snapshot()
    peer = Peer(ip_address("203.0.113.9"), 40000, "0.0.0.0:443")
    state = made.sites.find("a")
    assert state is not None
    result = Admission(made, state, peer, 443, Statuses())
    result.implied_host = b"a"
    result.judge(NOW)
    return result


def upstream_head(client: Admission, head: RequestHead) -> bytes:
    """What the upstream reads for this request. Raises `RequestError`."""
    admitted = client.admit(head, AccessRecord(client.fields, 0.0, "id"))
    return admitted.before + b"id" + admitted.after


def parse(data: bytes, end: int) -> RequestHead:
    """`parse_request` with the default limits."""
    return parse_request(
        data,
        end,
        snapshot().classify,
        uri_bytes=LIMITS.uri_bytes,
        headers=LIMITS.headers,
        header_bytes=LIMITS.header_bytes,
    )


@dataclass
class Stream:
    """A connection's reading side. `events` tells what became of the bytes so far."""

    events: list[str] = field(default_factory=list)
    is_over: bool = False  # refused, or closed after an answer
    upstream_heads: list[bytes] = field(default_factory=list)
    _client: Admission = field(default_factory=admission)
    _held: bytes = b""
    _head: RequestHead | None = None
    _body: BodyReader | None = None
    _payload: bytes = b""

    def feed(self, data: bytes) -> None:
        """More bytes."""
        while data and not self.is_over:
            data = self._feed_body(data) if self._body is not None else self._feed_head(data)

    @property
    def outcome(self) -> str:
        """The requests in order, and how it stands: nothing, `waits`, or `refused` with the reason."""
        unfinished = ["waits"] if not self.is_over and (self._held or self._body is not None) else []
        return " > ".join([*self.events, *unfinished])

    def _refuse(self, reason: str, head: RequestHead | None = None) -> bytes:
        """`head`: of the request, where that was read; a page in answer to HEAD has no body."""
        mark = " to HEAD" if head is not None and head.method == b"HEAD" else ""
        self.events.append(f"refused {reason}{mark}")
        self.is_over = True
        return b""

    def _feed_head(self, data: bytes) -> bytes:
        data, self._held = self._held + data, b""
        data = data.lstrip(b"\r\n")
        end = data.find(END_OF_HEAD)
        head = None
        try:
            if end < 0:
                check_unfinished(data, uri_bytes=LIMITS.uri_bytes, header_bytes=LIMITS.header_bytes)
                self._held = data
                return b""
            head = parse(data, end)
            upstream = upstream_head(self._client, head)
        except RequestError as error:
            return self._refuse(error.reason.value, head)
        if head.content_length is not None and head.content_length > LIMITS.body_bytes:
            return self._refuse("body_too_large", head)
        check_upstream_head(upstream, head)
        self.upstream_heads.append(upstream)
        self._head, self._payload = head, b""
        self._body = ChunkedReader() if head.is_chunked else LengthReader(head.content_length or 0)
        if self._body.is_complete:
            self._finish(head)
        return data[end + len(END_OF_HEAD) :]

    def _feed_body(self, data: bytes) -> bytes:
        body, head = self._body, self._head
        assert body is not None
        assert head is not None
        try:
            payload, rest = body.feed(data)
        except BodyError:
            return self._refuse("body", head)
        self._payload += payload
        if body.is_complete:
            self._finish(head)
        return rest

    def _finish(self, head: RequestHead) -> None:
        size = len(self._payload)
        framing = f"chunked={size}" if head.is_chunked else "-" if head.content_length is None else f"length={size}"
        target = self.upstream_heads[-1].split(b" ", 2)[1].decode("ascii")
        marks = (" upgrade" if head.upgrade else "") + (" expect" if head.expects_continue else "")
        self.events.append(f"{head.method.decode('ascii')} {target if len(target) < 40 else '…'} {framing}{marks}")
        self._body = None
        if not head.is_keep_alive:
            self.events.append("close")
            self.is_over = True


def names_in(upstream: bytes) -> list[bytes]:
    """The lower-case field names of a head that the gateway wrote."""
    return [line.partition(b":")[0].lower() for line in upstream.split(b"\r\n")[1:-2]]


def check_upstream_head(upstream: bytes, head: RequestHead) -> None:
    """One request, one Host, one framing at most, and nothing under our names that we did not write ourselves."""
    assert upstream.endswith(END_OF_HEAD)
    assert upstream.count(END_OF_HEAD) == 1
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|[\x00\x0b\x0c]", upstream) is None
    assert re.match(rb"[A-Z][A-Z0-9_-]* /[!-~]* HTTP/1\.1\r\n", upstream)
    names = names_in(upstream)
    assert names.count(b"host") == 1
    framing = [name for name in names if name in (b"content-length", b"transfer-encoding")]
    expected = [b"transfer-encoding"] if head.is_chunked else [b"content-length"] * (head.content_length is not None)
    assert framing == expected
    folded = [re.sub(rb"[^a-z0-9]", b"-", name) for name in names]
    for ours in (*ONLY_OURS, b"x-request-id", b"expect", b"upgrade", b"connection"):
        assert folded.count(ours) <= 1, ours
    for name, line in zip(folded, upstream.split(b"\r\n")[1:-2], strict=True):
        assert name not in ONLY_OURS or not re.search(rb"root@example\.com|10\.0\.0\.1", line), line


_SHORT = {
    "post": r"POST /x HTTP/1.1\r\nHost: a\r\n",
    "get": r"GET /x HTTP/1.1\r\nHost: a\r\n",
    "chunked0": r"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
    "chunked": r"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "smuggled": r"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "ok": r"HTTP/1.1 200 OK\r\n",
}


def written(text: str) -> bytes:
    """The bytes of a case in `tests/golden/smuggling_*.txt`."""
    for name, meaning in _SHORT.items():
        text = text.replace("{" + name + "}", meaning)
    text = re.sub(r"\{([^{}]*)\*(\d+)\}", lambda found: found[1] * int(found[2]), text)
    return codecs.escape_decode(text.encode("latin-1"))[0]


def golden(name: str, columns: int) -> list[list[str]]:
    """The cases of a file in `tests/golden`, split into their columns."""
    return [line.split(" | ", columns - 1) for line in _golden_lines(name) if line and not line.startswith("#")]


def legend(name: str) -> set[str]:
    """The words that the opening comment of a file in `tests/golden` explains: `#   word   explanation`."""
    found = (re.match(r"#   (\S.*?) {2,}\S", line) for line in _golden_lines(name))
    return {match[1] for match in found if match}


def _golden_lines(name: str) -> list[str]:
    return (Path(__file__).parents[1] / "golden" / name).read_text("utf-8").splitlines()


def pieces(data: bytes) -> list[bytes]:
    """Byte by byte, or in larger pieces where that would take long."""
    size = 1 if len(data) < 3000 else 997
    return [data[at : at + size] for at in range(0, len(data), size)]
