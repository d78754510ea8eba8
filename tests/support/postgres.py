"""A throw-away PostgreSQL on a Unix socket, for tests that run on both databases."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import miss


def programs() -> Path | None:
    """The folder with initdb and pg_ctl; None where PostgreSQL isn't installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).parent


@contextmanager
def cluster(listen: tuple[str, int] | None = None) -> Iterator[str]:
    """A running server; its URL up to the database's name. `listen`: a TCP address where it is as well."""
    if programs() is None:
        miss("PostgreSQL is not installed; `make peers` installs it where it can")
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, user)
    data = folder / "data"
    _run(user, "initdb", "-D", str(data), "-A", "trust", "-U", "gateway", "-E", "UTF8", "--no-sync")
    host, port = listen or ("", 5432)
    options = f"-c listen_addresses='{host}' -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    _run(user, "pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://gateway@/{{database}}?host={folder}&port={port}"
    finally:
        _run(user, "pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _run(user: str, program: str, *arguments: str) -> None:
    folder = programs()
    assert folder is not None
    as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*as_user, str(folder / program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",  # one that the other user may be in
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout.decode()
