"""The certificates that a client showed, as DER."""

from __future__ import annotations

from OpenSSL import SSL, crypto

from gateway.x509.path_search import MAX_CHAIN_CERTIFICATES


def peer_certificates(connection: SSL.Connection) -> tuple[bytes | None, list[bytes]]:
    """The leaf whose key the handshake proved (None if the client sent none), and the other certificates, as DER.

    At most as many as `client_cert` looks at: OpenSSL accepts 100 KiB of certificates, which would be kept with the
    connection. On the server's side OpenSSL's chain does not contain the leaf: its first entry can be anybody's
    certificate (CVE-2023-2422 took it for the identity). After a resumption the chain is empty.
    """
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return None, []
    chain = connection.get_peer_cert_chain() or ()
    return _der_of(leaf), [_der_of(certificate) for certificate in chain[:MAX_CHAIN_CERTIFICATES]]


def _der_of(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
