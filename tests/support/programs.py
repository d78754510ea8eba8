"""Real programs that tests talk to. Where one is missing its tests skip, and in CI they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

# Daemons are not on everybody's PATH.
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def need(program: str) -> str:
    """The path of a program on the PATH, or of the newest file that fits an absolute path with wildcards."""
    if program.startswith("/"):
        path = max(map(str, Path("/").glob(program.removeprefix("/"))), default=None)
    else:
        path = shutil.which(program, path=PATH)
    return path or miss(f"{program} is not installed; `make peers` installs it where it can")


def need_root(what: str) -> None:
    """Some servers and policies are root's business."""
    if os.geteuid() != 0:
        miss(f"only root may {what}")


def miss(message: str) -> NoReturn:
    """Without this the test at hand can't run."""
    pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


def run(program: str, arguments: Sequence[str], *, text: bytes = b"", seconds: float = 60.0) -> tuple[int, bytes]:
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
