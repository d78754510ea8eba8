"""A command on a terminal of its own, as a person sits at it."""

from __future__ import annotations

import os
import shlex
import subprocess
import time

from support.desk_command import COMMAND
from support.programs import need

ANSWER_SECONDS = 60.0


class Terminal:
    """A command on a terminal of its own, which `script` makes, and what it has shown so far."""

    def __init__(self, folder, *arguments):
        command = shlex.join((*COMMAND, *arguments))
        environment = {name: value for name, value in os.environ.items() if name != "GATEWAY_CA_PASSPHRASE"}
        self.shown = ""
        self._process = subprocess.Popen(
            [need("script"), "--quiet", "--return", "--echo", "never", "--command", command, "/dev/null"],
            cwd=folder,
            env={**environment, "TERM": "xterm", "COLUMNS": "100"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        os.set_blocking(self._process.stdout.fileno(), False)

    def expect(self, text):
        """Wait until it shows this; returns what it has shown since it was last asked."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self.shown += (self._process.stdout.read() or b"").decode(errors="replace")
            time.sleep(0.01)
        found, self.shown = self.shown, ""
        return found

    def type(self, text):
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()

    def end(self):
        """Its exit code, after all that it showed."""
        os.set_blocking(self._process.stdout.fileno(), True)
        rest, _ = self._process.communicate(timeout=ANSWER_SECONDS)
        self.shown += rest.decode(errors="replace")
        return self._process.returncode
