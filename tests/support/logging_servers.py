"""Real web servers whose own logs say which requests they saw: nginx, Apache httpd and aiohttp.

    server = LoggingNginx(folder)
    server.url
    server.seen()             # every request so far, also those that it refused
    server.stop()

Each is as lenient as it can be made. All answer 200 to everything, to `/early` even where its body does not come, and
say in X-Seen what they were asked for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from support.apache import Apache
from support.gateway import free_port
from support.waiting import PATIENCE_SECONDS, until
from support.web_server import Nginx

TESTS = Path(__file__).parents[1]
START_SECONDS = 30.0


@dataclass(frozen=True)
class Seen:
    """One request in a server's log."""

    request_id: str  # "" where it had none
    method: str
    target: str
    status: int


class LoggingServer(Protocol):
    """What the tests need of each."""

    url: str

    def seen(self) -> list[Seen]:
        """The requests in its log, in order."""

    def stop(self) -> None:
        """The end of it."""


def _seen(request_id: str, line: str, status: str) -> Seen:
    """`line`: the request line as it came, whatever that was."""
    method, _, rest = line.partition(" ")
    return Seen("" if request_id == "-" else request_id, method, rest.rpartition(" ")[0], int(status))


NGINX = """
    log_format seen escape=json '{"id":"$http_x_request_id","line":"$request","status":"$status"}';
    underscores_in_headers on;
    ignore_invalid_headers off;
    large_client_header_buffers 8 64k;
    client_max_body_size 0;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    server {
        listen 127.0.0.1:{port};
        access_log {folder}/seen.log seen;
        location / {
            add_header X-Seen $request_uri always;
            return 200 "mail\\n";
        }
    }
"""


class LoggingNginx(Nginx):
    """nginx: takes names with underscores and characters that no name may have; answers before it has read the body."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, NGINX)

    def seen(self) -> list[Seen]:
        lines = _lines(self.folder / "seen.log")
        return [_seen(each["id"], each["line"], each["status"]) for each in map(json.loads, lines)]


APACHE = """
HttpProtocolOptions Unsafe LenientMethods Allow0.9
LimitRequestLine 65536
LimitRequestFieldSize 65536
LimitRequestFields 256
AllowEncodedSlashes NoDecode
LogFormat "%>s %{X-Request-Id}i %r" seen
CustomLog {folder}/seen.log seen
Header always set X-Seen "expr=%{REQUEST_URI}"
RequestReadTimeout header=60 body=1
RewriteEngine On
RewriteRule ^ - [R=200]
"""
_APACHE_LINE = re.compile(r"(\d+) (\S+) (.*)")
_ESCAPED = re.compile(r'\\(["\\])')


class LoggingApache(Apache):
    """Apache httpd as it was before it became strict; answers without the body when that is a second late."""

    def __init__(self, folder: Path) -> None:  # noqa: ARG002
        super().__init__(("headers", "reqtimeout", "rewrite"), APACHE)

    def seen(self) -> list[Seen]:
        found = []
        for line in _lines(self.folder / "seen.log"):
            match = _APACHE_LINE.fullmatch(line)
            assert match, line
            found.append(_seen(match[2], _ESCAPED.sub(r"\1", match[3]), match[1]))
        return found


class LoggingPython:
    """aiohttp with its own parser; reads each body."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "seen.log"
        self._output = folder / "output.txt"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.python_server", str(port), str(self._log)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
            )
        until(self._is_ready, "the Python server serves", seconds=START_SECONDS)

    def _is_ready(self) -> bool:
        told = self._output.read_text()
        assert self._process.poll() is None, told
        return "Running on" in told

    def seen(self) -> list[Seen]:
        found = map(json.loads, _lines(self._log))
        return [Seen(each["id"], each["method"], each["target"], each["status"]) for each in found]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)


def _lines(path: Path) -> list[str]:
    """Whole lines; one that is just being written comes later."""
    text = path.read_bytes().decode("latin-1") if path.exists() else ""
    return text[: text.rfind("\n") + 1].split("\n")[:-1]
