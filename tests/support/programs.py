"""Real programs that tests talk to. Where one is missing its tests skip, and in CI they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# Daemons are not on everybody's PATH.
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def need(program: str) -> str:
    """The program's path, or that of a file it can't do without."""
    is_file = Path(program).is_absolute() and Path(program).exists()
    path = program if is_file else shutil.which(program, path=PATH)
    if path is None:
        message = f"{program} is not installed; `make peers` installs it where it can"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def run(program: str, arguments: Sequence[str], *, text: bytes = b"", seconds: float = 20.0) -> tuple[int, bytes]:
    """(exit code, standard output and error together)."""
    done = subprocess.run(
        [need(program), *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout
