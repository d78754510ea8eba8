"""Configuration profiles for iOS and macOS.

Identifiers and UUIDs stay the same through renewals: installing the new profile replaces the old one, and no second
account appears. If a profile has no password, the device asks for it. The keys are from Apple's own schema of profiles
(github.com/apple/device-management, `mdm/profiles`).
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

from gateway.errors import ConfigError, UsageError
from gateway.pki import pkcs8
from gateway.pki.keys import PrivateKey
from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.words import KitKind
from gateway.x509.fields import subject_of
from gateway.x509.keys import fits
from gateway.x509.loading import parse_certificates

_SUFFIX: Final = ".mobileconfig"
# TargetDeviceType. Without it, an iPhone asks whether the profile is for the phone or for the watch.
_IPHONE_OR_IPAD: Final = 1
_MAC: Final = 5


def profile(person: Person, kind: KitKind, *, has_root: bool = True) -> KitFile:
    """The `.mobileconfig` with the certificate, the authorities and the mail account."""
    content = [*_authorities(person, has_root=has_root), _identity(person), *_accounts(person, kind)]
    document = _payload(person, "Configuration", "profile", f"Mail for {person.email}") | {
        "PayloadContent": content,
        "PayloadOrganization": person.host,
        "PayloadDescription": f"Certificate and mail account for {person.host}",
        "PayloadRemovalDisallowed": False,
        "TargetDeviceType": _IPHONE_OR_IPAD if kind is KitKind.IOS else _MAC,
    }
    if kind is KitKind.MACOS:
        document["PayloadScope"] = "User"  # accounts and preferences are a person's, not the system's
    return KitFile(f"{person.stem_for(kind)}{_SUFFIX}", plistlib.dumps(document, sort_keys=False), is_secret=True)


def sign_profiles(files: Sequence[KitFile], certificates_pem: bytes, key_pem: bytes, place: str) -> list[KitFile]:
    """The files, with each profile in a CMS signature (RFC 5652), so that the device shows who signed it.

    `certificates_pem`: the signing certificate, then its chain. Raises `UsageError` if certificate or key is unusable.
    """
    try:
        certificate, *chain = parse_certificates(certificates_pem, "the file of the signing certificate")
    except ConfigError as error:
        raise UsageError(error.cause, "Give a PEM file with the certificate, and its chain after it.") from error
    if b"ENCRYPTED" in key_pem:
        name, out = quote(place), quote(f"{place}.pem")
        remedy = f"Decrypt it and give --sign-key {out}: openssl pkey -in {name} -out {out}"
        raise UsageError(f"{place}: the signing key is encrypted", remedy)
    key = pkcs8.load(key_pem, None, place)
    if any(fits(key, other) for other in chain) and not fits(key, certificate):
        raise UsageError(
            f"{place}: the key's certificate is not the first in the file of --sign-cert",
            "Put this certificate first in that file, and those of its CAs after it.",
        )
    if not fits(key, certificate):
        raise UsageError(f"{place}: is not the signing certificate's key", "Give the key of that certificate.")
    return [_signed(file, certificate, key, chain) if file.name.endswith(_SUFFIX) else file for file in files]


def _signed(
    file: KitFile, certificate: x509.Certificate, key: PrivateKey, chain: Sequence[x509.Certificate]
) -> KitFile:
    builder = PKCS7SignatureBuilder().set_data(file.data).add_signer(certificate, key, hashes.SHA256())
    for issuer in chain:
        builder = builder.add_certificate(issuer)
    data = builder.sign(Encoding.DER, [PKCS7Options.Binary, PKCS7Options.NoCapabilities])
    return KitFile(file.name, data, file.is_secret)


def _payload(person: Person, type_: str, part: str, shown: str) -> dict[str, Any]:
    suffix = "" if part == "profile" else f".{part}"
    return {
        "PayloadType": type_,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{person.identifier}{suffix}",
        "PayloadUUID": str(person.uuid(part)).upper(),
        "PayloadDisplayName": shown,
    }


def _authorities(person: Person, *, has_root: bool) -> Iterator[dict[str, Any]]:
    for number, authority in enumerate(reversed(person.chain)):
        is_root = number == 0
        if is_root and not has_root:
            continue
        type_ = "com.apple.security.root" if is_root else "com.apple.security.pkcs1"
        part = "root" if is_root else f"authority{number}"
        yield _payload(person, type_, part, subject_of(authority).rfc4514_string()) | {
            "PayloadCertificateFileName": f"{part}.cer",
            "PayloadContent": authority.public_bytes(Encoding.DER),
        }


def _identity(person: Person) -> dict[str, Any]:
    payload = _payload(person, "com.apple.security.pkcs12", "identity", person.name) | {
        "PayloadCertificateFileName": person.p12_name,
        "PayloadContent": person.p12,
    }
    return payload if person.password is None else payload | {"Password": person.password}


def _accounts(person: Person, kind: KitKind) -> Iterator[dict[str, Any]]:
    if not person.is_for_login:
        return  # the profile of the certificate for logging in has the account
    identity = str(person.uuid("identity")).upper()
    account = {
        "EmailAddress": person.email,
        "Host": person.host,
        "SSL": True,  # the default is false
        "UserName": person.user_name,
        "PayloadCertificateUUID": identity,
    }
    if kind is KitKind.IOS:
        yield _payload(person, "com.apple.eas.account", "account", person.email) | account | _mail(person, identity)
        return
    yield (
        _payload(person, "com.apple.ews.account", "account", person.email) | account | {"Path": "/EWS/Exchange.asmx"}
    )
    preference = _payload(person, "com.apple.security.identitypreference", "preference", f"https://{person.host}/")
    yield preference | {"Name": f"https://{person.host}/", "PayloadCertificateUUID": identity}


def _mail(person: Person, identity: str) -> dict[str, Any]:
    """The account's settings for S/MIME: sign messages, offer to encrypt each, as far as the certificate is for it."""
    found: dict[str, Any] = {}
    if "signing" in person.uses:
        found |= {"SMIMESigningEnabled": True, "SMIMESigningCertificateUUID": identity}
    if "encryption" in person.uses:
        found |= {"SMIMEEnableEncryptionPerMessageSwitch": True, "SMIMEEncryptionCertificateUUID": identity}
    return found
