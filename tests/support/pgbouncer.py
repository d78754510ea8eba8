"""PgBouncer in front of a PostgreSQL, handing each transaction another connection."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from support.programs import need
from support.waiting import until

_PORT = 6432  # of the socket's name only: nothing listens on TCP


@contextmanager
def pooler(registry_url: str) -> Iterator[str]:
    """The registry's URL through a pooler."""
    program = need("pgbouncer")
    url = make_url(registry_url)
    folder = Path(tempfile.mkdtemp(prefix="gateway-pgb-"))
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # it refuses to run as root
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""
        [databases]
        registry = host={url.query["host"]} port={url.query["port"]} dbname={url.database} user={url.username}
        [pgbouncer]
        listen_addr =
        listen_port = {_PORT}
        unix_socket_dir = {folder}
        auth_type = any
        pool_mode = transaction
        """
    )
    if os.geteuid() == 0:
        shutil.chown(folder, user)
        settings.chmod(0o644)
    as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if os.geteuid() == 0 else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*as_user, program, str(settings)], stdout=log, stderr=log, cwd="/")
    try:
        until((folder / f".s.PGSQL.{_PORT}").exists, "PgBouncer's socket")
        yield f"postgresql+psycopg://{url.username}@/registry?host={folder}&port={_PORT}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
