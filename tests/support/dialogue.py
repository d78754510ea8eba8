"""Dialogues with the proxy in memory: clients and upstream servers that speak and listen, and a clock that is set.

    world = World(folder, monkeypatch)
    client = world.client()                      # a client from inside, its handshake finished
    client.says(b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
    server = world.accepts()                     # the gateway's connection to the upstream gets through
    assert server.hears().startswith(b"GET /webmail HTTP/1.1\r\n")
    server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert client.hears().endswith(b"\r\n\r\nhi")

Everything between the TLS layer and the upstream's socket is the real thing. The ends behave as uvloop's transports do,
so what would be an exception there is one here: writing to a transport that is lost. Whatever the gateway reports as an
error of its own fails the dialogue.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from OpenSSL import SSL, crypto
from support import pki

from gateway import clock
from gateway.config.load import load_with_warnings
from gateway.config.model import Config, Server
from gateway.facts import Peer, parse_address
from gateway.proxy.client.connection import ClientConnection
from gateway.proxy.service import Service
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream import dial as dial_module
from gateway.proxy.upstream.connection import UpstreamConnection
from gateway.proxy.upstream.names import Names, Records
from gateway.supervisor.reload.build_snapshot import build_snapshot
from gateway.tls.proxy_protocol import Endpoint

HOST = "mail.example.com"
INSIDE, OUTSIDE = "10.0.0.9", "203.0.113.9"
UPSTREAM = "http://10.0.0.5:8080"
HIGH_WATER_BYTES = 64 * 1024  # a transport's, as uvloop has it
MAX_STEPS = 1000
_GONE = socket.socket()  # nothing is behind an end
_GONE.close()

RULES = [
    {"name": "Not for anybody", "uri": ["/secret"], "action": "deny"},
    {"name": "Inside no certificate is needed", "from": "internal", "action": "allow"},
    {"name": "Outside with a certificate", "uri": ["/webmail"], "action": "require_certificate"},
]


def get(path: str = "/webmail", *more: str, host: str = HOST) -> bytes:
    """A GET with further header lines."""
    return request("GET", path, *more, host=host)


def request(method: str, path: str = "/webmail", *more: str, body: bytes = b"", host: str = HOST) -> bytes:
    """A request with further header lines, and a body as it is given."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *more, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def response(status: str = "200 OK", *more: str, body: bytes = b"") -> bytes:
    """A response whose length is given, unless a header says otherwise."""
    framed = any(line.lower().startswith(("content-length", "transfer-encoding")) for line in more)
    length = () if framed else (f"Content-Length: {len(body)}",)
    return "\r\n".join([f"HTTP/1.1 {status}", *more, *length, "", ""]).encode("latin-1") + body


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self, start: datetime = pki.NOW) -> None:
        self.start = start
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def unix_seconds(self) -> float:
        return self.now().timestamp()

    def monotonic_seconds(self) -> float:
        return 1000.0 + self.seconds


class Loop(asyncio.SelectorEventLoop):
    """A real loop on the test's clock, whose outgoing connections are the world's."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self._world = world
        super().__init__()

    def time(self) -> float:
        return self._clock.monotonic_seconds()

    async def create_connection(self, protocol_factory: Any, *_: Any, sock: Any, **options: Any) -> Any:
        """What the pool asks for, on a socket that the world has given it."""
        protocol = protocol_factory()
        end = ServerEnd(self._world, protocol, sock.server, options)
        end.is_slow = sock.is_slow
        protocol.connection_made(end)
        sock.made.set_result(end)
        self._world.ends.append(end)
        return end, protocol

    async def start_tls(self, transport: Any, protocol: Any, sslcontext: Any, **options: Any) -> Any:
        """TLS on a connection to a server, without the TLS."""
        assert transport.protocol is protocol
        transport.options = {"ssl": sslcontext, **options}
        return transport


class Dns:
    """What is known of names, and who asked. A name that was never told of does not exist."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._found: dict[str, tuple[Records, Records]] = {}
        self._is_heard = asyncio.Event()
        self._is_heard.set()

    def says(self, name: str, *addresses: str, ttl: float = 60.0) -> None:
        """These addresses, IPv6 and IPv4, for so many seconds."""
        six = tuple(address for address in addresses if ":" in address)
        four = tuple(address for address in addresses if ":" not in address)
        self._found[name] = Records(six, ttl, None if six else "none"), Records(four, ttl, None if four else "none")

    def fails(self, name: str, cause: str = "SERVFAIL", *, six: Records | None = None) -> None:
        """Nobody can tell, or of IPv6 only what is given."""
        unknown = Records(cause=cause, is_answer=False)
        self._found[name] = six or unknown, unknown

    def is_silent(self) -> None:
        """Questions stay open until it `speaks`."""
        self._is_heard.clear()

    def speaks(self) -> None:
        self._is_heard.set()

    async def look_up(self, name: str) -> tuple[Records, Records]:
        self.asked.append(name)
        await self._is_heard.wait()
        nothing = Records(cause="the name does not exist")
        return self._found.get(name, (nothing, nothing))


class Dial:
    """The gateway's attempt to reach a server; in place of the socket that comes of it."""

    def __init__(self, loop: Loop, addresses: tuple[str, ...], port: int, header: bytes) -> None:
        self.addresses = addresses  # in the order in which they would be tried
        self.server = Server("http", addresses[0], port)
        self.header = header  # what is said before anything else, for an upstream that takes the PROXY protocol
        self.made: asyncio.Future[ServerEnd] = loop.create_future()
        self.answer: asyncio.Future[None] = loop.create_future()
        self.is_slow = False

    def close(self) -> None:
        """As a socket is closed."""

    def getpeername(self) -> tuple[str, int]:
        """The first address is the one that took the connection."""
        return self.server.host, self.server.port


class Transport:
    """An end as the gateway sees it: what it writes is kept, and what it must not do raises."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.heard = bytearray()
        self.unread_bytes = 0  # written by the gateway, and not taken by the other side while it is slow
        self.is_slow = False
        self.is_paused = False  # for reading, by the gateway
        self.has_said_eof = False
        self.is_lost = False
        self._is_closing = False
        self._is_write_paused = False

    # what the gateway calls

    def write(self, data: bytes) -> None:
        if self.is_lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        if self.has_said_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_closing:
            return
        self.heard += data
        if self.is_slow:
            self.unread_bytes += len(data)
            if self.unread_bytes > HIGH_WATER_BYTES and not self._is_write_paused:
                self._is_write_paused = True
                self._protocol().pause_writing()

    def is_closing(self) -> bool:
        return self._is_closing

    def get_extra_info(self, name: str) -> Any:  # noqa: ARG002
        return None

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.is_lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.has_said_eof = True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self.unread_bytes:
                self.world.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self.is_lost:
            self._is_closing = True
            self.world.loop.call_soon(self._lose, None)

    # what the other side does

    def hears(self) -> bytes:
        """What came since the last time."""
        data = bytes(self.heard)
        self.heard.clear()
        return data

    def reads(self) -> None:
        """It catches up with everything, and stays quick."""
        self.is_slow = False
        self.unread_bytes = 0
        if self._is_write_paused and not self.is_lost:
            self._is_write_paused = False
            self.world.does(self._protocol().resume_writing)
        if self._is_closing:
            self.world.does(self._lose, None)

    def says(self, data: bytes) -> None:
        """It sends, whether or not the gateway reads: what is on its way when reading is paused still comes."""
        if not (self.is_lost or self._is_closing):
            self.world.does(self._protocol().data_received, data)

    def takes(self, count: int) -> None:
        """It reads so much, which is not enough for anybody to be told so."""
        self.unread_bytes -= count

    def goes(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.world.does(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if not self.is_lost:
            self.is_lost = self._is_closing = True
            self._protocol().connection_lost(error)

    def _protocol(self) -> Any:
        raise NotImplementedError


class ServerEnd(Transport):
    """An upstream server's end of one connection."""

    def __init__(self, world: World, protocol: UpstreamConnection, server: Server, options: dict[str, Any]) -> None:
        super().__init__(world)
        self.protocol = protocol
        self.server = server
        self.options = options  # ssl, server_hostname
        self.kernel: socket.socket = _GONE  # what a reset has left unread can be read from it

    def _protocol(self) -> UpstreamConnection:
        return self.protocol

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.kernel}.get(name)

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def closes(self) -> None:
        """It says its last word, and its connection goes as asyncio lets it go."""
        if not self.is_lost and not self.world.does(self.protocol.eof_received):
            self.world.does(self._lose, None)


class FakeTls:
    """What `peer_certificates` and the log ask of a TLS connection."""

    def __init__(self, leaf: pki.Leaf | None) -> None:
        self._leaf = leaf

    def get_peer_certificate(self) -> crypto.X509 | None:
        return None if self._leaf is None else crypto.X509.from_cryptography(self._leaf.certificate)

    def get_peer_cert_chain(self) -> list[crypto.X509]:
        return [] if self._leaf is None else [crypto.X509.from_cryptography(each) for each in self._leaf.chain]

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_128_GCM_SHA256"


class ClientEnd(Transport):
    """A client, and the TLS layer between it and the gateway, without the TLS."""

    group_name = "X25519MLKEM768"
    is_resumed = False
    leaves_no_session = False
    local = Endpoint(parse_address("127.0.0.1"), 443)

    def __init__(self, world: World, leaf: pki.Leaf | None) -> None:
        super().__init__(world)
        self.connection = FakeTls(leaf)
        self.is_established = False
        self.was_aborted = False
        self.buffers_released = 0
        self.application: ClientConnection

    def _protocol(self) -> ClientConnection:
        return self.application

    def write(self, data: bytes) -> None:
        if not self._is_closing and not self.has_said_eof:
            super().write(data)

    def release_buffers(self) -> None:
        self.buffers_released += 1

    def untaken_bytes(self) -> int:
        return self.unread_bytes

    def says(self, data: bytes) -> None:
        """It sends; behind the connection's end the layer throws it away, and says how much it was."""
        if self._is_closing and not self.is_lost:
            self.world.does(self.application.discarded, len(data))
        else:
            super().says(data)

    def close_sending(self) -> None:
        """close_notify and FIN; what the client still says is thrown away by the layer."""
        self._is_closing = True

    def abort(self) -> None:
        self.was_aborted = True
        super().abort()

    @property
    def is_open(self) -> bool:
        """True while the client may say something that is listened to."""
        return not self._is_closing


class SocketEnd(Transport):
    """A client at an accepted socket: what it says are the bytes on the wire."""

    def __init__(self, world: World, protocol: Any, peer: tuple[str, int] | None) -> None:
        super().__init__(world)
        self.protocol = protocol
        self.peer = peer
        world.does(protocol.connection_made, self)

    def _protocol(self) -> Any:
        return self.protocol

    def get_extra_info(self, name: str) -> Any:
        return {"peername": self.peer, "sockname": ("127.0.0.1", 443), "socket": _GONE}[name]

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class TlsClient:
    """OpenSSL's client at an accepted socket."""

    def __init__(self, end: SocketEnd, host: str | None = HOST, leaf: pki.Leaf | None = None) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if leaf is not None:
            context.use_certificate(leaf.certificate)
            context.use_privatekey(leaf.key)
        self.end = end
        self.connection = SSL.Connection(context, None)
        if host is not None:
            self.connection.set_tlsext_host_name(host.encode("ascii"))
        self.connection.set_connect_state()
        self.asked_names: list[Any] = []

    def shakes_hands(self) -> None:
        """As far as the gateway lets it. Raises `SSL.Error` at an alert."""
        for _ in range(10):
            try:
                self.connection.do_handshake()
                break
            except SSL.WantReadError:
                self._exchange()
        self.asked_names = self.connection.get_client_ca_list()
        self._exchange()

    def says(self, data: bytes) -> None:
        self.connection.send(data)
        self._exchange()

    def hears(self) -> bytes:
        """Plaintext that has come."""
        self._exchange()
        found = b""
        while True:
            try:
                found += self.connection.recv(65536)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                return found

    def _exchange(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.end.says(self.connection.bio_read(65536))
        if data := self.end.hears():
            self.connection.bio_write(data)


class Lines(list[bytes]):
    """An access log that collects."""

    dropped_lines = 0

    def write(self, line: bytes) -> None:
        self.append(line)


class Errors(logging.Handler):
    """What the gateway reports as an error of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class Files:
    """A folder with a server certificate, a client CA and a configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = pki.Ca.make()
        (folder / "ca.pem").write_bytes(self.ca.pem)
        pki.server(folder, HOST)

    def config(self, *, now: datetime = pki.NOW, **settings: Any) -> Config:
        """The base settings with these top-level keys instead."""
        path = self.folder / "config.yaml"
        base = {
            "listen": [{"address": "127.0.0.1:443"}],
            "sites": [self.site()],
            "upstreams": {"mail": {"servers": [UPSTREAM]}},
            "rules": RULES,
            "workers": 1,
        }
        path.write_text(yaml.safe_dump(base | settings, sort_keys=False))
        return load_with_warnings(path, source=path.read_bytes(), now=now).config

    def site(self, *hosts: str, **more: Any) -> dict[str, Any]:
        """One of `sites`."""
        base = {"hosts": list(hosts or (HOST,)), "certificate": "server.crt", "key": "server.key"}
        return base | {"client_ca": ["ca.pem"], "upstream": "mail"} | more

    def snapshot(self, **settings: Any) -> Snapshot:
        """The configuration, ready to serve."""
        return build_snapshot(self.config(**settings))


class World:
    """One worker's service with the clients and servers around it."""

    def __init__(
        self,
        files: Files,
        monkeypatch: Any,
        snapshot: Snapshot | None = None,
        *,
        is_started: bool = True,
        **settings: Any,
    ) -> None:
        self.files = files
        self.clock = Clock()
        for name in ("now", "unix_seconds", "monotonic_seconds"):
            monkeypatch.setattr(clock, name, getattr(self.clock, name))
        monkeypatch.setattr(dial_module, "dial", self._dial)
        self.loop = Loop(self)
        self.failures: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.failures.append(str(context)))
        self.errors = Errors()
        logging.getLogger("gateway").addHandler(self.errors)
        self.log = Lines()
        self.dials: list[Dial] = []
        self.ends: list[ServerEnd] = []  # every connection to a server that was ever made
        self.clients: list[ClientEnd] = []
        self.service = Service(snapshot or files.snapshot(**settings), self.log, self.loop)  # type: ignore[arg-type]
        self.dns = Dns()
        self.service._names = Names(look_up=self.dns.look_up)
        if is_started:
            self.starts()

    def starts(self) -> None:
        """The service begins; what it does of itself may be seen to from here on."""
        self.does(self.service.start)

    def close(self) -> None:
        """The end of the dialogue: nothing may have gone wrong unseen."""
        for client in self.clients:
            if not client.is_lost:
                client.goes()
        self.does(self.service.stop)
        self.settles()
        logging.getLogger("gateway").removeHandler(self.errors)
        self.loop.close()
        assert not self.failures
        assert not self.errors.found

    # time

    def does(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call inside the loop, and let everything that follows from it happen."""
        outcome: list[Any] = []
        problem: list[Exception] = []

        def call() -> None:
            try:
                outcome.append(function(*arguments))
            except Exception as error:  # noqa: BLE001 - raised again, outside the loop
                problem.append(error)

        self.loop.call_soon(call)
        self.settles()
        if problem:
            raise problem[0]
        return outcome[0]

    def settles(self) -> None:
        """Run what is ready, until nothing is; no time passes."""
        for _ in range(MAX_STEPS):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not self.loop._ready:  # type: ignore[attr-defined]
                return
        raise AssertionError("the loop does not come to rest")

    def passes(self, seconds: float) -> None:
        """Time passes, a second at a step, so that deadlines are seen when they come."""
        while seconds > 0:
            step = min(seconds, 1.0)
            self.clock.seconds += step
            seconds -= step
            self.settles()

    # upstreams

    async def _dial(self, addresses: tuple[str, ...], port: int, header: bytes) -> Dial:
        dial = Dial(self.loop, addresses, port, header)
        self.dials.append(dial)
        try:
            await dial.answer
        finally:
            if dial in self.dials:
                self.dials.remove(dial)
        return dial

    def accepts(self, *, is_slow: bool = False) -> ServerEnd:
        """The oldest attempt to reach a server gets through. `is_slow`: it reads nothing."""
        dial = self.dials[0]
        dial.is_slow = is_slow
        self.does(dial.answer.set_result, None)
        return dial.made.result()

    def refuses(self, error: Exception | None = None) -> None:
        """The oldest attempt to reach a server does not."""
        self.does(self.dials[0].answer.set_exception, error or ConnectionRefusedError("Connection refused"))

    # clients

    def client(self, address: str = INSIDE, leaf: pki.Leaf | None = None, **options: Any) -> ClientEnd:
        """A client whose handshake is finished. `is_shaking_hands`: it isn't; `host`: its server name.

        `public_port`: that of its listener.
        """
        host = options.get("host", HOST)
        site = self.service.snapshot.sites.find(host)
        assert site is not None
        end = ClientEnd(self, leaf)
        end.local = Endpoint(parse_address(options.get("local", "127.0.0.1")), 443)
        peer = Peer(parse_address(address), 50000 + len(self.clients), "127.0.0.1:443")
        connection = self.does(
            lambda: ClientConnection(
                self.service,
                self.service.snapshot,
                site,
                peer,
                server_name=host,
                public_port=options.get("public_port", 443),
                is_over_limit=options.get("is_over_limit", False),
            )
        )
        end.application = connection
        self.clients.append(end)
        connection.secured_by(end, is_asked=options.get("is_asked", leaf is not None))
        self.service.opened(connection, peer.address)
        if not options.get("is_shaking_hands", False):
            end.is_established = True
            self.does(connection.handshake_done)
        return end

    # what was written down

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every access record so far; a reason never stands there without its explanation, nor the other way round."""
        found = [json.loads(line) for line in self.log]
        assert all((record["reason"] is None) == (record["detail"] is None) for record in found)
        return found

    @property
    def record(self) -> dict[str, Any]:
        """The one access record."""
        assert len(self.log) == 1, self.records
        return self.records[0]

    def busy(self) -> list[tuple[int, int]]:
        """(busy, idle) connections of each server."""
        return [(state.busy, len(state.idle)) for pool in self.service._pools.values() for state in pool.servers]


def status(answer: bytes) -> int:
    """The status of an answer's first line."""
    return int(answer.split(b" ", 2)[1])


def header(answer: bytes, name: str) -> str | None:
    """A header's value in an answer or request; None where there is none."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    values = [
        line.partition(":")[2].strip() for line in head.split("\r\n")[1:] if line.lower().startswith(name.lower() + ":")
    ]
    assert len(values) <= 1, values
    return values[0] if values else None
