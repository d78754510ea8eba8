"""TLS towards an upstream: its context, and what it was made of.

Keeps true: servers are verified against the upstream's own CAs, and never against the system's beside them; a context
stays in use exactly as long as what its files held. No file is read here but the system's store.
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
    """For the https servers among an upstream's."""

    context: ssl.SSLContext
    fingerprint: bytes  # of all that it was made of


def upstream_tls(upstream: Upstream, known: UpstreamContext | None = None) -> UpstreamContext | None:
    """The TLS context towards an upstream; None where all its servers are http. Raises `ConfigError`.

    `known` is given back where it was made of the same: its sessions and connections may go on.
    """
    if all(server.scheme == "http" for server in upstream.servers):
        return None
    try:
        # Before the system's store is loaded: one that changes in between makes another context the next time.
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
    if tls.ca is None:  # then it is the system's store, which may be thousands of files
        paths = ssl.get_default_verify_paths()
        for name in (paths.cafile, paths.capath):
            yield b"" if name is None else _stamp(Path(name))


def _stamp(path: Path) -> bytes:
    try:
        seen = path.stat()
    except OSError:
        return b""
    return repr((seen.st_ino, seen.st_size, seen.st_mtime_ns)).encode()
