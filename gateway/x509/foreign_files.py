"""Recognises certificate and key files in other formats than PEM, and says how to convert them."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from shlex import quote as for_shell
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.x509.unreadable import UNREADABLE

# RFC 7292 section 4: a SEQUENCE, of any length, that begins with the INTEGER 3.
_PKCS12: Final = re.compile(rb"\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...)\x02\x01\x03", re.DOTALL)
# RFC 2315 section 14: a SEQUENCE that begins with the OID of signedData.
_PKCS7: Final = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...)\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", re.DOTALL
)
_DER_SEQUENCE: Final = b"\x30"  # every certificate, key, list, PKCS#7 and PKCS#12 file in DER begins with it
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")  # its byte order mark
_JAVA: Final = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")  # JKS and JCEKS

# The public key stands before the private one, and is never encrypted (PROTOCOL.key of OpenSSH).
_OPENSSH_CONVERTIBLE: Final = re.compile(rb".{0,500}?(?:ssh-rsa|ecdsa-sha2-nistp)", re.DOTALL)
_BASE64_LINE: Final = re.compile(rb"^[A-Za-z0-9+/]+$", re.MULTILINE)

Wanted = Literal["certificate", "authorities", "key"]
# With `-nokeys` alone a site's certificate keeps its intermediates.
_FROM_PKCS12: Final = {"certificate": "-nokeys", "authorities": "-cacerts -nokeys", "key": "-nocerts"}
# `-cacerts` leaves out the certificate whose key is in the file, which is the CA's in a CA's own file.
_TAKEN: Final = {
    "certificate": "the certificate",
    "authorities": "the certificates (from a CA's own file without -cacerts)",
    "key": "the key",
}

_PEM_CONTENTS: Final = (
    (re.compile(rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----"), "a certificate request"),
    (re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----"), "a certificate"),
    (re.compile(rb"-----BEGIN X509 CRL-----"), "a revocation list"),
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"), "a private key"),
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY-----|\A(?:ssh-|ecdsa-)[a-z0-9-]+ AAAA"), "a public key"),
)


def other_format(data: bytes, name: str, wanted: Wanted) -> tuple[str, str] | None:
    """(format of the file, how to convert it), for messages; None if it may be PEM or broken."""
    file, out = for_shell(name), for_shell(f"{name}.pem")
    if data.startswith(_UTF_16):
        return "UTF-16 text", f"convert it and name {out}: iconv -f UTF-16 -t ASCII -o {out} {file}"
    if data.startswith(_JAVA):
        p12 = for_shell(f"{name}.p12")
        command = f"keytool -importkeystore -srckeystore {file} -destkeystore {p12} -deststoretype pkcs12"
        return "a Java keystore", f"convert it and name {p12}: {command}"
    if not is_der(data):
        return None
    if _PKCS12.match(data):
        command = f"openssl pkcs12 -in {file} {_FROM_PKCS12[wanted]} -out {out}"
        return "PKCS#12", f"take {_TAKEN[wanted]} out and name {out}: {command}"
    if _PKCS7.match(data):
        command = f"openssl pkcs7 -inform DER -in {file} -print_certs -out {out}"
        return "PKCS#7", f"take the certificates out and name {out}: {command}"
    held = _held(data)
    if held is None:
        return "not PEM, and not readable in DER either", "export it again as PEM"
    if held != ("private key" if wanted == "key" else "certificate"):
        name_instead = "a private key" if wanted == "key" else "a certificate"
        return f"a {held} in DER", f"name the file of {name_instead}"
    command = "pkey" if wanted == "key" else "x509"
    return "not PEM", f"convert it and name {out}: openssl {command} -inform DER -in {file} -out {out}"


def content_of(data: bytes) -> str | None:
    """What a file of the wrong kind holds, with its article, for messages; None if it is nothing of these."""
    for pattern, what in _PEM_CONTENTS:
        if pattern.search(data):
            return what
    held = _held(data) if is_der(data) else None
    return None if held is None else f"a {held}"


def _held(der: bytes) -> str | None:
    """What the DER holds; None if it is nothing of these."""
    for what, load in _DER_LOADERS.items():
        with suppress(*UNREADABLE):
            load(der)
            return what
    return None


def _load_private_key(der: bytes) -> None:
    # TypeError: it is encrypted.
    with suppress(TypeError):
        serialization.load_der_private_key(der, None)


_DER_LOADERS: Final[dict[str, Callable[[bytes], object]]] = {
    "certificate": x509.load_der_x509_certificate,
    "certificate request": x509.load_der_x509_csr,
    "revocation list": x509.load_der_x509_crl,
    "private key": _load_private_key,
}


def openssh_remedy(data: bytes, name: str) -> str:
    """What to do with a private key in OpenSSH's format. ssh-keygen converts RSA and EC keys only."""
    text = b"".join(_BASE64_LINE.findall(data))
    if _OPENSSH_CONVERTIBLE.match(b64decode(text[: len(text) // 4 * 4])):
        return f"convert it: ssh-keygen -p -m PEM -f {for_shell(name)}"
    out = for_shell(f"{name}.pem")
    command = f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {out}"
    return f"keys of this kind cannot be converted, so name {out}, and get a certificate for this new key: {command}"


def is_der(data: bytes) -> bool:
    """True if the data may be DER and isn't PEM text."""
    return b"-----BEGIN" not in data and data.startswith(_DER_SEQUENCE)
