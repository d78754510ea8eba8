"""Signing requests made elsewhere (PKCS#10, RFC 2986): only their key is used.

Names, uses and dates come from the desk's own order. Everything else in the request is reported to the admin as
ignored, so that a request for an authority's certificate or for another person's name is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.errors import UsageError
from gateway.pki.keys import PublicKey, check
from gateway.x509.fields import extensions_of, subject_of
from gateway.x509.unreadable import UNREADABLE


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """The key to be signed, and the parts of the request that are ignored."""

    key: PublicKey
    ignored: tuple[str, ...]  # a line each


def read(data: bytes, *, email: str | None, place: str) -> SigningRequest:
    """Read a request, PEM or DER, that is signed by its own key. Raises `UsageError` that names `place`."""
    load = x509.load_pem_x509_csr if b"-----BEGIN" in data else x509.load_der_x509_csr
    try:
        request = load(data)
        has_key = request.is_signature_valid
        key = request.public_key()
        ignored = tuple(_ignored(request, email))
    except UNREADABLE as error:
        raise UsageError(f"{place}: holds no signing request that can be read", "Give a PKCS#10 file.") from error
    if not has_key:
        raise UsageError(f"{place}: the request is not signed by its own key", "Make it again with its key.")
    return SigningRequest(check(key, place), ignored)


def _ignored(request: x509.CertificateSigningRequest, email: str | None) -> Iterator[str]:
    for attribute in subject_of(request):
        if attribute.oid == NameOID.EMAIL_ADDRESS and _is_same(str(attribute.value), email):
            continue
        yield f"subject {_shown(attribute.rfc4514_string())}"
    for extension in extensions_of(request):
        yield from _ignored_extension(extension.value, email)


def _ignored_extension(value: x509.ExtensionType, email: str | None) -> Iterator[str]:
    match value:
        case x509.BasicConstraints(ca=is_authority):
            if is_authority:
                yield "basicConstraints CA:TRUE"
        case x509.SubjectAlternativeName():
            for name in value:
                if not (isinstance(name, x509.RFC822Name) and _is_same(name.value, email)):
                    yield f"name {_shown(str(name.value))}"
        case x509.ExtendedKeyUsage():
            yield f"extendedKeyUsage {', '.join(oid._name for oid in value)}"
        case x509.SubjectKeyIdentifier():
            pass  # harmless; the desk computes it again
        case _:
            yield f"extension {value.oid.dotted_string}"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:200])


def _is_same(found: str, email: str | None) -> bool:
    return email is not None and found.lower() == email.lower()
