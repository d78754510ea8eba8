"""Servers of Debian packages, started by a test with configurations of its own, all on one address of loopback.

    with Services("sogo", needed=("nginx", "dovecot")) as services:
        port = services.free_port()
        services.run("nginx", "-c", "nginx.conf")
        services.wait_for("nginx", lambda: services.listens(port))

Everything they write is in one folder of /tmp, for they run as users who can't read root's own folders. Each runs
in the foreground, in a process group of its own, and is ended by that, the last one first.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from support.programs import need, need_root
from support.waiting import PATIENCE_SECONDS, until

START_SECONDS = 60.0
STOP_SECONDS = 3.0  # sogod takes half a minute, and is killed


class Services:
    """Skips where one of the programs is `needed` and missing, before any other is started."""

    def __init__(self, name: str, needed: Sequence[str]) -> None:
        need_root("start servers as the users they want to be")
        self._programs = {program: need(program) for program in needed}
        self._name = name
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.stack = ExitStack()  # for whatever else ends with them
        self.folder = Path()
        # An address of its own: no outgoing connection takes one of its ports before its server does.
        self.host = f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"gateway-{self._name}-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def free_port(self) -> int:
        """A port of the address where nobody listens."""
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            return int(probe.getsockname()[1])

    def make_folder(self, name: str, owner: str) -> Path:
        """A folder below the common one that a server of this user may write to."""
        made = self.folder / name
        made.mkdir()
        account = pwd.getpwnam(owner)
        os.chown(made, account.pw_uid, account.pw_gid)
        return made

    def run(self, program: str, *arguments: str, user: str | None = None, home: Path | None = None) -> None:
        """Start it, as root where no `user` is named, who is then everybody that it wants to be."""
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else []
        with self._output(program).open("wb") as written:
            process = subprocess.Popen(
                [*as_user, self._programs[program], *arguments],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(home or self.folder)},
                start_new_session=True,
            )
        self.stack.callback(_end, process)
        self._running[program] = process

    def wait_for(self, program: str, is_there: Callable[[], bool]) -> None:
        """Until it serves; one that ended instead fails the test with what it said."""

        def holds() -> bool:
            assert self._running[program].poll() is None, self._said(program)
            return is_there()

        try:
            until(holds, f"{program} runs", seconds=START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._said(program)}") from error

    def listens(self, port: int) -> bool:
        """Somebody takes connections there."""
        try:
            socket.create_connection((self.host, port), timeout=PATIENCE_SECONDS).close()
        except ConnectionRefusedError:
            return False
        return True

    def answers(self, port: int, path: str) -> bool:
        """A web server has something to say there, and not that it has failed."""
        try:
            with socket.create_connection((self.host, port), timeout=30) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                return re.match(rb"HTTP/1\.[01] [234]", connection.recv(12)) is not None
        except OSError:
            return False

    def _output(self, program: str) -> Path:
        return self.folder / f"{Path(self._programs[program]).name}.output"

    def _said(self, program: str) -> str:
        logs = (self._output(program), *self.folder.glob("*.txt"))
        return "\n".join(f"{each.name}:\n{each.read_text(errors='replace')}" for each in logs if each.exists())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
