"""A throw-away CA, a server and a client certificate for the benchmark: P-256 all, as a modern set-up has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import DNSName

from gateway.cli.demo_certificates import Authority, write_private

HOST = "mail.example.com"


@dataclass(frozen=True)
class Certificates:
    ca: Path
    server: Path
    server_key: Path
    server_both: Path  # certificate and key in one file, as HAProxy wants them
    client: Path
    client_key: Path


def make(folder: Path) -> Certificates:
    names = ("ca", "server", "server-key", "server-both", "client", "client-key")
    files = Certificates(*(folder / f"{name}.pem" for name in names))
    authority = Authority.create("Benchmark CA")
    authority.write(files.ca)
    authority.issue_server(HOST, [DNSName(HOST)]).write(files.server, files.server_key)
    authority.issue_person("Alice", "alice@example.com").write(files.client, files.client_key)
    write_private(files.server_both, files.server.read_bytes() + files.server_key.read_bytes())
    return files
