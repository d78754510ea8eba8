"""A real nginx on loopback, with whatever a test puts into its `http` block."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.gateway import free_port
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until

_CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/nginx.log combined;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


class Nginx:
    """Serves from `start` to `stop`. `{port}` in the block is its port, `{folder}` its own folder."""

    def __init__(self, folder: Path, http: str) -> None:
        program = need("nginx")
        self.folder = folder
        self.port = free_port()
        text = _CONFIG.format(
            folder=folder, http=http.replace("{port}", str(self.port)).replace("{folder}", str(folder))
        )
        (folder / "nginx.conf").write_text(text)
        self._errors = folder / "stderr.txt"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stdout=errors, stderr=errors
            )
        until(self._is_ready, "nginx serves")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._errors.read_text()
        return (self.folder / "nginx.pid").exists() and bool((self.folder / "nginx.pid").read_text())

    def kill(self) -> None:
        """As a crash would."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
