"""TLS contexts with which the gateway is the client: towards upstreams, mail servers, responders and servers of lists.

Keeps true: all versions of Python verify in the same way. `ssl.create_default_context` sets other flags since Python
3.13: VERIFY_X509_STRICT refuses certificates without an authority key identifier, as `openssl x509 -req` makes them,
and VERIFY_X509_PARTIAL_CHAIN accepts chains that don't end in a root. So the flags are set here, and the linter forbids
that function everywhere. TLS session keys are never written to a file, even if SSLKEYLOGFILE is set.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.x509.keys import PrivateKey

# A chain must end in a trusted root: a server's own certificate given as its CA is a mistake, not a pin.
VERIFY_FLAGS: Final = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST


def client_context(
    authorities: Sequence[x509.Certificate] | None = None, protocols: Sequence[str] = ()
) -> ssl.SSLContext:
    """A context that verifies the server's chain and name against these CAs, or against the system's if None.

    `protocols` are offered by ALPN. Raises `OSError` (`ssl.SSLError` is a subclass).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = VERIFY_FLAGS
    if authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in authorities))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def show_certificate(context: ssl.SSLContext, chain: Sequence[x509.Certificate], key: PrivateKey) -> None:
    """Let the context show a certificate to servers that ask for one. Raises `OSError`, also if the key doesn't fit.

    `ssl` loads them only from files, so they are put into an anonymous file in memory (memfd) while it reads them.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
