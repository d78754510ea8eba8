"""How clients are asked for a certificate, and which keys they may prove.

Keeps true: a handshake continues whatever the certificate says, because only `client_cert` judges it.
OpenSSL always checks the proof that the client has the key. The client's key decides what that check costs, and any
client can send a certificate. So a handshake ends early if the key is of a size that no real client has and checking it
would take several times as long as a whole handshake. See docs/client-certificates.md.

The callbacks use the binding, not pyOpenSSL's wrappers: they are called several times in each handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL

from gateway.x509.ca_names import named_in_request

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

# Checking a signature takes 0.26 ms with RSA of 8192 bits and 4 with 16384; a handshake takes 1 ms.
MAX_RSA_BITS: Final = 8192
# OpenSSL's own limit. CAs with such keys exist, and clients send their certificates along.
MAX_ISSUERS_RSA_BITS: Final = 16384
# With an exponent as long as the modulus, which OpenSSL allows up to 3072 bits, it takes 6 ms. Real keys use 65537.
MAX_RSA_EXPONENT_BITS: Final = 64
# 0.7 ms. DSA certificates are refused with a page.
MAX_DSA_BITS: Final = 3072

# How many CAs above the issuer of the client's certificate OpenSSL looks at. It would check the signature of each one
# that the client sends, with keys of the client's choice: ten of 3072 bits with such an exponent take 50 ms. That would
# be wasted, because OpenSSL's verdict isn't used.
MAX_ISSUERS: Final = 0

# In TLS 1.2 the groups for the key exchange also say which curves a certificate may be on (RFC 8422 section 5.1.1).
# When the certificate arrives, the key exchange is already decided.
_CURVES: Final = b"P-256:P-384:P-521"
_RSA_PSS: Final = 912  # EVP_PKEY_RSA_PSS
_INVALID_PURPOSE: Final = 26  # X509_V_ERR_INVALID_PURPOSE, which gives the alert unsupported_certificate
# DER of an RSA SubjectPublicKeyInfo besides modulus and exponent, and what the parameters of an RSA-PSS key may add.
_SPKI_BYTES: Final = 35
_PSS_PARAMETERS_BYTES: Final = 64
_BITS_PER_BYTE: Final = 8


def ask(context: SSL.Context, anchors: Sequence[x509.Certificate], *, is_tls_1_2: bool) -> None:
    """Request a certificate, naming the CAs whose certificates count, so that browsers offer the right ones.

    If the names are too long for clients to read, no name is sent; otherwise every handshake would fail.
    """
    for anchor in named_in_request(anchors):
        context.add_client_ca(anchor)
    callback = _on_certificate_in_tls_1_2 if is_tls_1_2 else _on_certificate
    context.set_verify_depth(MAX_ISSUERS)
    _lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, callback)


@_ffi.callback("int (*)(int, X509_STORE_CTX *)", error=0)  # type: ignore[untyped-decorator]
def _on_certificate(_is_good: int, store: Any) -> int:
    """Let the handshake continue: for a bad certificate, `client_cert` refuses the requests with a page."""
    is_leaf = _lib.X509_STORE_CTX_get_error_depth(store) == 0
    # The issuer is shown first, before OpenSSL checks a signature with the issuer's key.
    shown = _lib.X509_STORE_CTX_get0_cert(store) if is_leaf else _lib.X509_STORE_CTX_get_current_cert(store)
    if _is_expensive(shown, MAX_RSA_BITS if is_leaf else MAX_ISSUERS_RSA_BITS):
        _lib.X509_STORE_CTX_set_error(store, _INVALID_PURPOSE)
        return 0
    _lib.X509_STORE_CTX_set_error(store, _lib.X509_V_OK)
    return 1


@_ffi.callback("int (*)(int, X509_STORE_CTX *)", error=0)  # type: ignore[untyped-decorator]
def _on_certificate_in_tls_1_2(is_good: int, store: Any) -> int:
    """As `_on_certificate`; also accepts keys on curves that are not used for the key exchange."""
    ssl = _lib.X509_STORE_CTX_get_ex_data(store, _lib.SSL_get_ex_data_X509_STORE_CTX_idx())
    _lib.SSL_set1_curves_list(ssl, _CURVES)
    return int(_on_certificate(is_good, store))


def _is_expensive(certificate: Any, max_rsa_bits: int) -> bool:
    key = _lib.X509_get_pubkey(certificate)
    if key == _ffi.NULL:  # then OpenSSL can't check anything with it
        _lib.ERR_clear_error()
        return False
    try:
        kind, bits = _lib.EVP_PKEY_id(key), _lib.EVP_PKEY_bits(key)
        if kind == _lib.EVP_PKEY_DSA:
            return bool(bits > MAX_DSA_BITS)
        if kind not in (_lib.EVP_PKEY_RSA, _RSA_PSS):  # keys on EC and Edwards curves have a fixed length
            return False
        more_bytes = _PSS_PARAMETERS_BYTES if kind == _RSA_PSS else 0
        exponent_bytes = _encoded_bytes(key) - bits // _BITS_PER_BYTE - _SPKI_BYTES - more_bytes
        return bool(bits > max_rsa_bits or exponent_bytes > MAX_RSA_EXPONENT_BITS // _BITS_PER_BYTE + 1)
    finally:
        _lib.EVP_PKEY_free(key)


def _encoded_bytes(key: Any) -> int:
    """How long the key's SubjectPublicKeyInfo is."""
    bio = _lib.BIO_new(_lib.BIO_s_mem())
    try:
        _lib.i2d_PUBKEY_bio(bio, key)
        return int(_lib.BIO_get_mem_data(bio, _ffi.new("char **")))
    finally:
        _lib.BIO_free(bio)
