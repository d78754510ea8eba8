"""A real HAProxy in front of a gateway, in TCP mode: it passes TLS on unread, and says who connected.

balancer = Balancer.start(folder, {"v2": f"127.0.0.1:{gateway.port} send-proxy-v2"})
Client(balancer.ports["v2"], source=OUTSIDE)
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.gateway import INSIDE, free_port
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until


@dataclass(frozen=True)
class Listen:
    """One `listen` section."""

    server: str
    bind: str = ""
    lines: Sequence[str] = ()


class Balancer:
    """One running HAProxy."""

    def __init__(self, process: subprocess.Popen[bytes], ports: dict[str, int], output: Path) -> None:
        self._process = process
        self._output = output
        self.ports = ports

    @classmethod
    def start(cls, folder: Path, servers: dict[str, str | Listen], *, host: str = INSIDE) -> Balancer:
        """`servers`: a name → where its connections go, `address options`, as HAProxy's `server` line has it."""
        program = need("haproxy")
        ports = {name: free_port() for name in servers}
        lines = [
            *("global", "  maxconn 100", "  hard-stop-after 1s", "defaults", "  mode tcp"),
            *("  timeout connect 5s", "  timeout client 30s", "  timeout server 30s"),
        ]
        for name, server in servers.items():
            listen = server if isinstance(server, Listen) else Listen(server)
            lines += [f"listen {name}", f"  bind {host}:{ports[name]} {listen.bind}"]
            lines += [*(f"  {line}" for line in listen.lines), f"  server gateway {listen.server}"]
        config, output = folder / "haproxy.cfg", folder / "haproxy.txt"
        config.write_text("\n".join([*lines, ""]))
        with output.open("wb") as written:
            process = subprocess.Popen(
                [program, "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=written, stderr=written
            )
        made = cls(process, ports, output)
        try:
            until(lambda: all(made._listens(host, port) for port in ports.values()), "HAProxy listens")
        except BaseException:
            made.stop()
            raise
        return made

    def _listens(self, host: str, port: int) -> bool:
        assert self._process.poll() is None, self._output.read_text()
        try:
            socket.create_connection((host, port), timeout=PATIENCE_SECONDS).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self) -> None:
        """Close everything."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
