"""The demo's folder: certificates, users' files and the gateway's configuration.

Keeps true: nothing is written outside the folder, and a folder that isn't empty isn't changed.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.cli.demo_certificates import Authority
from gateway.cli.demo_requests import ALICE, HOST, LISTEN, OUTSIDE, STRANGER, Place
from gateway.errors import OperationError, UsageError

LISTEN_IPV6: Final = "::1"
PASSWORD_BYTES: Final = 12  # 96 random bits: nothing else protects a .p12 file

_CONFIG: Final = """\
# Written by `gateway demo`. 127.0.0.1 stands for the office, every other address for the Internet.
listen:
{listeners}

networks:
  internal: [127.0.0.1/32]

sites:
  - hosts: [{host}, "*"]
    certificate: server.pem
    key: server-key.pem
    client_ca: [ca.pem]
    upstream: mail

upstreams:
  mail:
    servers: ["http://127.0.0.1:{mail_port}"]

rules:
  - name: Inside the office no certificate is needed
    from: internal
    action: allow
  - name: Webmail and ActiveSync from outside
    uri: [/webmail, /Microsoft-Server-ActiveSync]
    action: require_certificate
  - name: Everything else
    action: deny

access_log: {{path: access.jsonl}}
workers: 1
"""


@contextlib.contextmanager
def folder_for(keep: Path | None) -> Iterator[Path]:
    """The folder to keep, new or empty, or one that is deleted when the block ends. Raises `UsageError`."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="gateway-demo-") as made:
            yield Path(made)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_empty = not any(keep.iterdir())
    except OSError as error:
        raise UsageError(f"--keep {keep}: {error.strerror}", "Name a new or an empty folder.") from error
    if not is_empty:
        raise UsageError(f"--keep {keep}: the folder is not empty", "Name a new or an empty folder.")
    yield keep.resolve()


def prepare(folder: Path, mail_port: int) -> Place:
    """Make the certificates, choose a port and write the configuration. Raises `OperationError`."""
    addresses = free_addresses()
    place = Place(folder, port=addresses[0][1], password=secrets.token_urlsafe(PASSWORD_BYTES))
    authority, other = Authority.create("Demo CA"), Authority.create("Another company's CA")
    authority.write(place.ca)
    names = [x509.DNSName(HOST), x509.DNSName("localhost"), *(x509.IPAddress(ip_address(a)) for a, _ in addresses)]
    authority.issue_server(HOST, names).write(folder / "server.pem", folder / "server-key.pem")
    for signer, holder in ((authority, ALICE), (other, STRANGER)):
        leaf = signer.issue_person(holder.capitalize(), f"{holder}@example.com")
        leaf.write(*place.pem(holder))
        leaf.write_p12(place.p12(holder), name=holder, password=place.password, authority=signer)
    listeners = "\n".join(f'  - address: "{f"[{a}]" if ":" in a else a}:{port}"' for a, port in addresses)
    place.config.write_text(_CONFIG.format(listeners=listeners, host=HOST, mail_port=mail_port), encoding="utf-8")
    return place


def free_addresses(outside: str = OUTSIDE) -> list[tuple[str, int]]:
    """A free port of 127.0.0.1 and, if there is IPv6, the same port of ::1, where browsers count as outside.

    Raises `OperationError` if this machine can't connect from `outside`.
    """
    with socket.socket() as probe_outside, socket.socket() as probe:
        try:
            probe_outside.bind((outside, 0))
        except OSError as error:
            raise OperationError(
                f"{outside} is not an address of this machine; the demo needs it for requests from outside",
                f"Add it to the loopback interface. On macOS: sudo ifconfig lo0 alias {outside}",
            ) from error
        probe.bind((LISTEN, 0))
        port = int(probe.getsockname()[1])
        addresses = [(LISTEN, port)]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe_ipv6:
            probe_ipv6.bind((LISTEN_IPV6, port))
            addresses.append((LISTEN_IPV6, port))
    return addresses
