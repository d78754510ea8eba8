"""`python -m bench.revocation`: how soon `gateway cert revoke` bites on what a running gateway has open.

Each person has two connections, both made with their certificate: one asks again and again, on the other an ActiveSync
Ping waits. Then the administrator revokes them, one after the other. Time counts, so measure on an idle machine.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import certificates
from bench.certificates import HOST
from bench.processes import free_port, running
from gateway.tls.client_context import client_context

PASSPHRASE = "of the benchmark's authority"  # noqa: S105 - of a folder that is deleted a minute later
WEBMAIL = "/webmail"
PING = "/Microsoft-Server-ActiveSync?Cmd=Ping"
BETWEEN_SECONDS = 0.005  # two requests of a connection that asks again and again
WAIT_SECONDS = 30.0


class MailServer(BaseHTTPRequestHandler):
    """Answers webmail at once, and a Ping when the measurement is over."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()

    def do_GET(self) -> None:
        if self.path == PING:
            self.over.wait(WAIT_SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


class MailServers(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The gateway hangs up on a Ping whose client is out; that is what is measured."""


@dataclass
class Bites:
    """Seconds until connections of one kind were refused; below zero where the command had not ended yet."""

    since_written: list[float] = field(default_factory=list)
    since_end: list[float] = field(default_factory=list)

    def note(self, refused: float, written: float, end: float) -> None:
        self.since_written.append(refused - written)
        self.since_end.append(refused - end)


class Connection:
    """A person's connection; the time when it was refused, once it was."""

    def __init__(self, folder: Path, person: str, port: int) -> None:
        own = folder / person
        context = client_context(folder / "ca.pem")
        password = (own / f"{person}@example.com.password").read_text().strip()
        context.load_cert_chain(own / f"{person}@example.com.crt", own / f"{person}@example.com.key", password)
        self.http = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=WAIT_SECONDS)
        self.http.sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), WAIT_SECONDS), server_hostname=HOST
        )
        self.refused = 0.0

    def ask(self, path: str) -> int:
        self.http.request("GET", path, headers={"Host": HOST})
        answer = self.http.getresponse()
        answer.read()
        return answer.status

    def ask_until_refused(self, path: str) -> None:
        while (status := self.ask(path)) == HTTPStatus.OK:
            time.sleep(BETWEEN_SECONDS)
        if status == HTTPStatus.FORBIDDEN:
            self.refused = time.time()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.revocation", description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=20, help="people to revoke (default: %(default)s)")
    options = parser.parse_args()
    upstream = MailServers(("127.0.0.1", 0), MailServer)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = [f"user{number}" for number in range(options.people)]
        desk(folder, "ca", "init", "bench", "--key", "ecdsa-p256")
        for person in people:
            desk(
                folder,
                "cert",
                "issue",
                f"{person}@example.com",
                "--ca",
                "bench",
                "--key",
                "ecdsa-p256",
                "--out",
                person,
            )
        port = free_port()
        config = configure(folder, port, upstream.server_port)
        command = [sys.executable, "-m", "gateway", "run", "-c", str(config)]
        asking, waiting = Bites(), Bites()
        with running(command, core=0, port=port, output=folder / "gateway.log"):
            for person in people:
                revoke(folder, person, port, asking, waiting)
        MailServer.over.set()
    report({"a connection that asks again": asking, "a Ping that waits": waiting})


def desk(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "GATEWAY_CA_PASSPHRASE": PASSPHRASE}
    subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def configure(folder: Path, port: int, upstream_port: int) -> Path:
    server = certificates.make(folder)
    config = folder / "gateway.yaml"
    config.write_text(f"""\
listen: [{{address: "127.0.0.1:{port}"}}]
sites:
  - hosts: [{HOST}]
    certificate: {server.server}
    key: {server.server_key}
    client_ca: [pki/bench/bench.crt]
    crl: [pki/bench/bench.crl]
    upstream: mail
upstreams: {{mail: {{servers: ["http://127.0.0.1:{upstream_port}"]}}}}
rules: [{{name: With a certificate, action: require_certificate}}]
access_log: {{path: access.jsonl}}
workers: 2
""")
    return config


def revoke(folder: Path, person: str, port: int, asking: Bites, waiting: Bites) -> None:
    """Revoke one person, and note how long their two connections were served."""
    connections = {path: Connection(folder, person, port) for path in (WEBMAIL, PING)}
    if connections[WEBMAIL].ask(WEBMAIL) != HTTPStatus.OK:
        raise SystemExit(f"{person} does not get in")
    threads = [threading.Thread(target=each.ask_until_refused, args=(path,)) for path, each in connections.items()]
    for thread in threads:
        thread.start()
    desk(folder, "cert", "revoke", f"{person}@example.com", "--reason", "key-compromise")
    end = time.time()
    for thread in threads:
        thread.join()
    written = (folder / "pki/bench/bench.crl").stat().st_mtime
    for path, bites in ((WEBMAIL, asking), (PING, waiting)):
        if not connections[path].refused:
            raise SystemExit(f"{person} was not refused on {path}")
        bites.note(connections[path].refused, written, end)


def report(bites: dict[str, Bites]) -> None:
    table = Table(title="ms until a revoked certificate is refused")
    for column in ("", "number", "after the list", "the last", "after the command's end", "the last"):
        table.add_column(column, justify="left" if not column else "right")
    for name, each in bites.items():
        cells = [
            f"{which * 1000:.0f}"
            for since in (each.since_written, each.since_end)
            for which in (statistics.median(since), max(since))
        ]
        table.add_row(name, str(len(each.since_end)), *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
