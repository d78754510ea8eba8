"""One worker's service with the clients and servers around it, and the files that it is configured by."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from support import pki
from support.dialogue.dns import Dns
from support.dialogue.ends import ClientEnd, ServerEnd
from support.dialogue.http2 import Http2Client
from support.dialogue.loop import Clock, Dial, Loop
from support.dialogue.messages import HOST

from gateway import clock
from gateway.config.load import load_with_warnings
from gateway.config.model import Config
from gateway.facts import Peer, parse_address
from gateway.proxy.client.http1 import Http1Connection
from gateway.proxy.client.http2 import Http2Connection
from gateway.proxy.service import Service
from gateway.proxy.snapshot import Snapshot
from gateway.proxy.upstream import dial as dial_module
from gateway.proxy.upstream.names import Names
from gateway.supervisor.reload.build_snapshot import build_snapshot
from gateway.tls.proxy_protocol import Endpoint

INSIDE, OUTSIDE = "10.0.0.9", "203.0.113.9"
UPSTREAM = "http://10.0.0.5:8080"
MAX_STEPS = 1000
RULES = [
    {"name": "Not for anybody", "uri": ["/secret"], "action": "deny"},
    {"name": "Inside no certificate is needed", "from": "internal", "action": "allow"},
    {"name": "Outside with a certificate", "uri": ["/webmail"], "action": "require_certificate"},
]


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
        self.service.pools.names = Names(look_up=self.dns.look_up)
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

        `public_port`: that of its listener; `is_http2`: the connection is for HTTP/2.
        """
        host = options.get("host", HOST)
        site = self.service.snapshot.sites.find(host)
        assert site is not None
        end = ClientEnd(self, leaf)
        end.local = Endpoint(parse_address(options.get("local", "127.0.0.1")), 443)
        peer = Peer(parse_address(address), 50000 + len(self.clients), "127.0.0.1:443")
        connection = self.does(
            lambda: (Http2Connection if options.get("is_http2") else Http1Connection)(
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
        end.protocol = b"h2" if options.get("is_http2") else b""
        self.clients.append(end)
        connection.secured_by(end, is_asked=options.get("is_asked", leaf is not None))
        self.service.connections.opened(connection, peer.address)
        if not options.get("is_shaking_hands", False):
            end.is_established = True
            self.does(connection.handshake_done)
        return end

    def http2_client(self, address: str = INSIDE, leaf: pki.Leaf | None = None, **options: Any) -> Http2Client:
        """As `client`, over HTTP/2. `opens_windows`: False for one that takes no more than its first window."""
        opens_windows = options.pop("opens_windows", True)
        return Http2Client(self.client(address, leaf, is_http2=True, **options), opens_windows=opens_windows)

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
        return [(state.busy, len(state.idle)) for pool in self.service.pools.by_name.values() for state in pool.servers]
