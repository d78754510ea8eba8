"""A real rsyslog on loopback that takes messages in every way, and writes what it understood into a file."""

from __future__ import annotations

import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.gateway import INSIDE, free_port
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until

_CONFIGURATION = """\
global(workDirectory="{folder}" maxMessageSize="256k" defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
template(name="seen" type="string" string="%pri% %hostname% %app-name% %procid% %msgid% %structured-data%\\t%msg%\\n")
ruleset(name="all" parser="rsyslog.rfc5424") {{
  action(type="omfile" file="{out}" template="seen" fileCreateMode="0600")
}}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="all"
      streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imuxsock" socket="{unix}" useSpecialParser="off" ruleset="all" rateLimit.interval="0")
"""


@dataclass(frozen=True)
class Seen:
    """A message as rsyslog understood it."""

    priority: int
    host: str
    app: str
    process: str
    msgid: str
    data: str
    text: bytes


class Rsyslog:
    """Serves from its making to `stop`; `start` begins again, with the same ports and file."""

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        self._program = need("rsyslogd")
        need("/usr/lib/*/rsyslog/lmnsd_gtls.so")
        self._folder = folder
        self._out = folder / "seen"
        self.udp, self.tcp, self.tls = (free_port() for _ in range(3))
        self.unix = folder / "log"
        (folder / "rsyslog.conf").write_text(
            _CONFIGURATION.format(
                folder=folder,
                ca=certificate,
                certificate=certificate,
                key=key,
                out=self._out,
                udp=self.udp,
                tcp=self.tcp,
                tls=self.tls,
                unix=self.unix,
            )
        )
        self.start()

    def start(self) -> None:
        self.unix.unlink(missing_ok=True)
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "-n", "-f", "rsyslog.conf", "-i", str(self._folder / "pid")],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until(self._serves, "rsyslog serves")

    def _serves(self) -> bool:
        assert self._process.poll() is None, (self._folder / "output").read_text()
        for port in (self.tcp, self.tls):
            with socket.socket() as probe:
                if probe.connect_ex((INSIDE, port)):
                    return False
        return self.unix.exists()

    def seen(self) -> list[Seen]:
        """Every message so far."""
        data = self._out.read_bytes() if self._out.exists() else b""
        found = []
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            head, _, text = line.partition(b"\t")
            priority, host, app, process, msgid, structured = head.decode().split(" ", 5)
            found.append(Seen(int(priority), host, app, process, msgid, structured, text))
        return found

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_SECONDS)
