"""The TLS context for an upstream, and a fingerprint of what it was made from.

Keeps true: if the upstream has its own CAs, servers are verified only against them, not against the system's. A context
is used exactly as long as the contents of its files are the same. Only the system's store is read here.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.model import Upstream, UpstreamTls
from gateway.errors import ConfigError
from gateway.tls.client_context import client_context, show_certificate
from gateway.x509.keys import spki


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamContext:
    """The context for an upstream's https servers."""

    context: ssl.SSLContext
    fingerprint: bytes  # of everything that it was made from


def upstream_tls(upstream: Upstream, known: UpstreamContext | None = None) -> UpstreamContext | None:
    """The TLS context for an upstream; None if all its servers are http. Raises `ConfigError`.

    `known` is returned if it was made from the same contents, so that its sessions and connections are kept.
    """
    if all(server.scheme == "http" for server in upstream.servers):
        return None
    try:
        # Before the system's store is loaded, so that a change in between makes a new context next time.
        fingerprint = _fingerprint(upstream.tls)
        if known is not None and known.fingerprint == fingerprint:
            return known
        return UpstreamContext(_context(upstream.tls), fingerprint)
    except (OSError, ssl.SSLError) as error:
        place = f"upstreams.{upstream.name}.tls"
        raise ConfigError(f"{place}: {error}", "name a client certificate and its key") from error


def _context(tls: UpstreamTls) -> ssl.SSLContext:
    context = client_context(None if tls.ca is None else tls.ca.certificates, ("http/1.1",))
    if tls.certificate is not None and tls.key is not None:
        show_certificate(context, tls.certificate.certificates, tls.key.private)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _fingerprint(tls: UpstreamTls) -> bytes:
    digest = hashlib.sha256()
    for part in _parts(tls):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _parts(tls: UpstreamTls) -> Iterator[bytes]:
    yield repr(tls).encode()
    for file in (tls.ca, tls.certificate):
        yield b"" if file is None else b"".join(each.public_bytes(Encoding.DER) for each in file.certificates)
    yield b"" if tls.key is None else spki(tls.key.private.public_key())
    if tls.ca is None:  # the system's store, which may have thousands of files
        paths = ssl.get_default_verify_paths()
        for name in (paths.cafile, paths.capath):
            yield b"" if name is None else _stamp(Path(name))


def _stamp(path: Path) -> bytes:
    try:
        seen = path.stat()
    except OSError:
        return b""
    return repr((seen.st_ino, seen.st_size, seen.st_mtime_ns)).encode()
