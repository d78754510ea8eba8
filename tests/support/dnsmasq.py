"""A real dnsmasq on loopback whose names are in a file that a test writes."""

from __future__ import annotations

import getpass
import signal
import subprocess
from pathlib import Path

from support.gateway import INSIDE, free_port
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until


class Dnsmasq:
    """Serves from its making to `stop`; every answer counts for `ttl` seconds."""

    def __init__(self, folder: Path, ttl: int) -> None:
        program = need("dnsmasq")
        self.port = free_port()
        self._hosts = folder / "dnsmasq.hosts"
        self._hosts.write_text("")
        self._log = folder / "dnsmasq.log"
        arguments = [
            *("--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file"),
            *(f"--addn-hosts={self._hosts}", f"--local-ttl={ttl}", "--local=/lan/", "--log-queries"),
            *(f"--port={self.port}", f"--listen-address={INSIDE}", "--bind-interfaces"),
            *(f"--log-facility={self._log}", f"--user={getpass.getuser()}"),
        ]
        self._process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL)
        until(self._is_ready, "dnsmasq serves")

    @property
    def address(self) -> str:
        return f"{INSIDE}:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.log
        return "started" in self.log

    def says(self, **addresses: str) -> None:
        """These names in `.lan`, and no others."""
        before = self.log.count(f"read {self._hosts}")
        self._hosts.write_text("".join(f"{address} {name}.lan\n" for name, address in addresses.items()))
        self._process.send_signal(signal.SIGHUP)
        until(lambda: self.log.count(f"read {self._hosts}") > before, "dnsmasq has read its file")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
