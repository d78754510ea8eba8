"""TLS contexts with which the gateway is the client: towards upstreams, mail servers, responders and servers of lists.

Keeps true: every version of Python verifies alike. `ssl.create_default_context` chooses other flags since Python 3.13:
VERIFY_X509_STRICT refuses certificates without an authority key identifier, which `openssl x509 -req` makes, and
VERIFY_X509_PARTIAL_CHAIN accepts chains that don't end in a root. So the flags are chosen here, and the linter refuses
that function everywhere. The keys of connections are never written to a file that the environment names.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.x509.keys import PrivateKey

# A chain ends in a root that is trusted: a server's own certificate in the place of its CA's is a mistake, not a pin.
VERIFY_FLAGS: Final = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST


def client_context(
    authorities: Sequence[x509.Certificate] | None = None, protocols: Sequence[str] = ()
) -> ssl.SSLContext:
    """A context that verifies the server and its name, by these CAs or else by the system's.

    `protocols` are offered by ALPN. Raises `OSError`, of which `ssl.SSLError` is one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies, and speaks nothing below what is set here
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
    """Let the context show a certificate to servers that ask for one. Raises `OSError`, also where they don't fit.

    `ssl` takes them from files only, so they lie in memory that has a descriptor, for as long as it reads them.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
