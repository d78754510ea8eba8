"""A real authority that speaks ACME, Debian's pebble, and its DNS server, to which every name is loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from support import pki
from support.gateway import INSIDE, free_port
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until

# It makes two RSA keys first.
START_SECONDS = 120.0


class Pebble:
    """Serves inside its `with`; challenges are fetched from `http_port` of loopback."""

    def __init__(self, folder: Path, http_port: int) -> None:
        self._programs = need("pebble-challtestsrv"), need("pebble")
        self._folder = folder
        self._http_port = http_port
        self._port = free_port()
        self._stack = ExitStack()
        self._running: list[subprocess.Popen[bytes]] = []
        self.trusted = folder / "directory.crt"  # the directory's own certificate

    @property
    def directory(self) -> str:
        """The URL that certbot calls the server."""
        return f"https://localhost:{self._port}/dir"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        names, management = free_port(), free_port()
        off = [f"-{kind}=" for kind in ("http01", "https01", "tlsalpn01", "defaultIPv6")]
        ports = [f"-dns01={INSIDE}:{names}", f"-management={INSIDE}:{management}", f"-defaultIPv4={INSIDE}"]
        dns, pebble = self._programs
        self._run(dns, *ports, *off)
        certificate, key = pki.server(self._folder, "localhost", name="directory")
        settings = {
            "listenAddress": f"{INSIDE}:{self._port}",
            "managementListenAddress": f"{INSIDE}:{free_port()}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": self._http_port,
            "tlsPort": self._http_port,
        }
        config = self._folder / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        # It neither waits before it asks for a challenge nor refuses good nonces now and then.
        quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        self._run(pebble, "-config", str(config), "-dnsserver", f"{INSIDE}:{names}", **quick)
        for port in (management, self._port):
            until(lambda port=port: self._listens(port), f"port {port} answers", seconds=START_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _run(self, program: str, *arguments: str, **variables: str) -> None:
        log = self._stack.enter_context((self._folder / f"{Path(program).name}.log").open("wb"))
        process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **variables}
        )

        def end() -> None:
            process.terminate()
            process.wait(PATIENCE_SECONDS)

        self._stack.callback(end)
        self._running.append(process)

    def _listens(self, port: int) -> bool:
        assert all(process.poll() is None for process in self._running), "one of them has ended"
        with socket.socket() as probe:
            return probe.connect_ex((INSIDE, port)) == 0
