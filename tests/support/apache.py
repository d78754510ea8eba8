"""A real Apache httpd on loopback, with whatever modules and directives a test names.

    server = Apache(["headers"], "Header always set X-Seen 1")
    server.url, server.log.read_text()
    server.stop()

Started as root it serves as nobody, who can't read root's own folders: everything is in one folder of /tmp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.gateway import free_port
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until

MODULES = "/usr/lib/apache2/modules"

_CONFIG = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
DefaultRuntimeDir {folder}
Mutex fcntl:{folder}
ErrorLog {folder}/errors.txt
DocumentRoot {folder}/www
Listen 127.0.0.1:{port}
User nobody
Group nogroup
ServerLimit 1
StartServers 1
ThreadsPerChild 32
ThreadLimit 32
MaxRequestWorkers 32
MaxKeepAliveRequests 0
KeepAliveTimeout 60
"""


class Apache:
    """Serves from construction to `stop`. `{port}` is its port and `{folder}` its own folder, in directives and
    environment.
    """

    def __init__(
        self,
        modules: Sequence[str],
        directives: str,
        *,
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """`modules`: their names, like "headers"; the threaded server and `authz_core` are always there.

        `files`: text by path in the folder; what is served is in `www`.
        """
        program = need("apache2")
        files_of_modules = {name: need(f"{MODULES}/mod_{name}.so") for name in ("mpm_event", "authz_core", *modules)}
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-apache-", dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "www").mkdir()
        for path, text in (files or {}).items():
            (self.folder / path).write_text(text)
        self.port = free_port()
        self.log = self.folder / "log.txt"
        loaded = [f"LoadModule {name}_module {file}" for name, file in files_of_modules.items()]
        config = self.folder / "httpd.conf"
        config.write_text(self._filled("\n".join((*loaded, _CONFIG, directives))))
        variables = {name: self._filled(value) for name, value in (environment or {}).items()}
        self._output = self.folder / "output.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-f", str(config), "-D", "FOREGROUND"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"]} | variables,
            )
        try:
            until(self._is_ready, "Apache serves")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def errors(self) -> str:
        """What it complained of so far."""
        paths = (self._output, self.folder / "errors.txt")
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def _filled(self, text: str) -> str:
        return text.replace("{port}", str(self.port)).replace("{folder}", str(self.folder))

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.errors
        # It listens before it says who it is.
        pid = self.folder / "pid"
        return pid.exists() and bool(pid.read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)
