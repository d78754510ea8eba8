"""Private keys at rest: PKCS#8, AES-256-CBC, scrypt (RFC 5958, RFC 8018, RFC 7914).

`cryptography` encrypts PKCS#8 with 2,048 rounds of PBKDF2, which is too few for a key that signs for years. So the
envelope is made here. `cryptography` and `openssl pkey` can open it.
"""

from __future__ import annotations

import base64
import os
from typing import Final, cast

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import ObjectIdentifier

from gateway.errors import UsageError
from gateway.pki.keys import PrivateKey, check
from gateway.x509.key_encryption import unsupported_encryption
from gateway.x509.unreadable import UNREADABLE

# OWASP lists these settings as equal to one pass with 128 MiB; OpenSSL refuses scrypt above 32 MiB.
SCRYPT_COST: Final = 2**14  # 16 MiB with 8 blocks
SCRYPT_BLOCKS: Final = 8
SCRYPT_PASSES: Final = 5
MIN_PASSPHRASE_CHARACTERS: Final = 8  # NIST SP 800-63B 5.1.1.2: at least eight if a person chooses it
TRY_AGAIN: Final = "Try again."
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_IV_BYTES: Final = 16

_PBES2: Final = ObjectIdentifier("1.2.840.113549.1.5.13")
_SCRYPT: Final = ObjectIdentifier("1.3.6.1.4.1.11591.4.11")
_AES_256_CBC: Final = ObjectIdentifier("2.16.840.1.101.3.4.1.42")
_LINE_CHARACTERS: Final = 64  # RFC 7468 section 2


@asn1.sequence
class _ScryptParameters:
    salt: bytes
    cost: int
    blocks: int
    passes: int
    key_bytes: int


@asn1.sequence
class _KeyDerivation:
    algorithm: ObjectIdentifier
    parameters: _ScryptParameters


@asn1.sequence
class _Encryption:
    algorithm: ObjectIdentifier
    iv: bytes


@asn1.sequence
class _Pbes2Parameters:
    derivation: _KeyDerivation
    encryption: _Encryption


@asn1.sequence
class _Pbes2:
    algorithm: ObjectIdentifier
    parameters: _Pbes2Parameters


@asn1.sequence
class _EncryptedPrivateKeyInfo:
    algorithm: _Pbes2
    data: bytes


def check_passphrase(passphrase: str) -> str:
    """The passphrase, if it is long enough to choose for a new key. Raises `UsageError`."""
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise UsageError(
            f"a passphrase of fewer than {MIN_PASSPHRASE_CHARACTERS} characters does not protect a key",
            "Choose a longer one, such as four random words.",
        )
    return passphrase


def plain_pem(key: PrivateKey) -> bytes:
    """The unencrypted key, PEM, for servers that start without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypt(key: PrivateKey, passphrase: str) -> bytes:
    """The key, encrypted under a passphrase, PEM."""
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, iv = os.urandom(_SALT_BYTES), os.urandom(_IV_BYTES)
    derivation = Scrypt(salt=salt, length=_KEY_BYTES, n=SCRYPT_COST, r=SCRYPT_BLOCKS, p=SCRYPT_PASSES)
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    encryptor = Cipher(algorithms.AES(derivation.derive(passphrase.encode())), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    return _pem(asn1.encode_der(_envelope(salt, iv, sealed)))


def load(data: bytes, passphrase: str | None, place: str, *, remedy: str = TRY_AGAIN) -> PrivateKey:
    """The key in a PEM file, also one that openssl encrypted. Raises `UsageError` that names `place`.

    The error for a wrong passphrase has `remedy`.
    """
    is_encrypted = b"ENCRYPTED" in data
    # A passphrase is ignored if the key is not encrypted: one in the environment is for all keys.
    secret = passphrase.encode() if passphrase is not None and is_encrypted else None
    try:
        key = load_pem_private_key(data, secret)
    except TypeError as error:
        raise UsageError(
            f"{place}: the key is encrypted and no passphrase was given", "Give its passphrase."
        ) from error
    except UNREADABLE as error:
        if is_encrypted and (told := unsupported_encryption(error, data, place)) is not None:
            raise UsageError(f"{place}: the key {told[0]}", told[1]) from error
        if is_encrypted:
            raise UsageError(f"{place}: the passphrase does not open the key", remedy) from error
        raise UsageError(f"{place}: holds no private key that can be read", "Give a key in PEM.") from error
    check(key.public_key(), place)
    return cast("PrivateKey", key)


def _envelope(salt: bytes, iv: bytes, sealed: bytes) -> _EncryptedPrivateKeyInfo:
    scrypt = _ScryptParameters(
        salt=salt, cost=SCRYPT_COST, blocks=SCRYPT_BLOCKS, passes=SCRYPT_PASSES, key_bytes=_KEY_BYTES
    )
    parameters = _Pbes2Parameters(
        derivation=_KeyDerivation(algorithm=_SCRYPT, parameters=scrypt),
        encryption=_Encryption(algorithm=_AES_256_CBC, iv=iv),
    )
    return _EncryptedPrivateKeyInfo(algorithm=_Pbes2(algorithm=_PBES2, parameters=parameters), data=sealed)


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + _LINE_CHARACTERS] for start in range(0, len(text), _LINE_CHARACTERS)]
    return "\n".join(
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", *lines, "-----END ENCRYPTED PRIVATE KEY-----", "")
    ).encode()
