"""The certificate desk as a program: `gateway` in a folder, as an administrator types it.

desk = DeskFolder(folder)
desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
desk.json("cert", "list")
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import warm_gateway

PASSPHRASE = "correct horse battery staple"
COMMAND = (sys.executable, "-m", "gateway")
RUN_SECONDS = 120.0


@dataclass
class DeskFolder:
    """A folder with an authority's files and registry in it; the passphrase is in the environment."""

    path: Path
    environment: dict[str, str] = field(default_factory=lambda: {"GATEWAY_CA_PASSPHRASE": PASSPHRASE})

    @property
    def variables(self) -> dict[str, str]:
        """The whole environment of a command."""
        return {**os.environ, **self.environment}

    def run(self, *arguments: object, code: int = 0, seconds: float = RUN_SECONDS) -> str:
        """Run a command; what it printed, standard error after standard output."""
        done = warm_gateway.run(arguments, cwd=self.path, env=self.variables, seconds=seconds)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a command as `python -m gateway`, and don't wait for it."""
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=self.path,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def json(self, *arguments: object) -> Any:
        """What a command prints with `--json`."""
        return json.loads(self.run(*arguments, "--json"))

    def secret(self, name: str) -> str:
        """The password in a file."""
        return (self.path / name).read_text().strip()
