"""A certificate factory for tests: certificates made by `openssl` as administrators make them, and crafted ones.

    ca = Ca.make("CN=Test Root")
    alice = ca.issue("CN=alice", email="alice@example.com")
    alice.write(tmp_path, "alice")          # alice.crt with its chain, alice.key

`cryptography` makes what is quick or hostile; `openssl_*` run the commands of every tutorial.
"""

from __future__ import annotations

import base64
import math
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from support import key_numbers

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
UPN_OID = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
CLIENT_AUTH = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER_AUTH = (ExtendedKeyUsageOID.SERVER_AUTH,)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key; the same one for the same size, since looking for primes is slow."""
    if bits not in key_numbers.RSA:
        return rsa.generate_private_key(65537, bits)
    p, q = key_numbers.RSA[bits]
    d = pow(65537, -1, (p - 1) * (q - 1))
    parts = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(65537, p * q)).private_key()


def dsa_key() -> dsa.DSAPrivateKey:
    """A new DSA key of 2048 bits."""
    return dsa.DSAParameterNumbers(*key_numbers.DSA).parameters().generate_private_key()


def ec_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """A new EC key, P-256 by default."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def utf8(text: str) -> bytes:
    """A DER UTF8String of fewer than 128 bytes."""
    body = text.encode()
    return bytes((12, len(body))) + body


def upn(text: str) -> x509.OtherName:
    """The otherName in which Windows keeps a user principal name."""
    return x509.OtherName(UPN_OID, utf8(text))


def of_version_six(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM with a version that there is not; `cryptography` raises no ValueError for it."""
    der = certificate.public_bytes(serialization.Encoding.DER).replace(
        b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1
    )
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def rsa_with_exponent(bits: int, exponent_bits: int) -> rsa.RSAPrivateKey:
    """A working key; only its public exponent is unusual."""
    while True:
        key = rsa.generate_private_key(65537, bits).private_numbers()
        exponent = (1 << exponent_bits - 1) | 0x10001
        order = (key.p - 1) * (key.q - 1)
        if math.gcd(exponent, order) == 1:
            break
    d = pow(exponent, -1, order)
    public = rsa.RSAPublicNumbers(exponent, key.public_numbers.n)
    dp, dq = rsa.rsa_crt_dmp1(d, key.p), rsa.rsa_crt_dmq1(d, key.q)
    return rsa.RSAPrivateNumbers(key.p, key.q, d, dp, dq, key.iqmp, public).private_key()


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key and the certificates that a client would send along."""

    certificate: x509.Certificate
    key: Any
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return tuple(c.public_bytes(serialization.Encoding.DER) for c in self.chain)

    @property
    def pem(self) -> bytes:
        """The certificate and its chain, leaf first."""
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (self.certificate, *self.chain))

    def key_pem(self, password: str | None = None) -> bytes:
        algorithm = (
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        )
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, algorithm)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """`name`.crt, with the chain, and `name`.key; their paths."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem())
        return certificate, key


@dataclass(frozen=True)
class Ca(Leaf):
    """A CA: a root, or an intermediate that `issue_ca` made. `chain` is what its leaves send along."""

    @classmethod
    def make(cls, subject: str = "CN=Test Root", **options: Any) -> Ca:
        """A self-signed root; `options` as of `build`."""
        key = options.pop("key", None) or ec_key()
        options.setdefault("extensions", ca_extensions())
        return cls(build(subject, key.public_key(), subject, key, **options), key)

    def issue_ca(self, subject: str = "CN=Test Issuing CA", **options: Any) -> Ca:
        """An intermediate under this CA."""
        key = options.pop("key", None) or ec_key()
        options.setdefault("extensions", ca_extensions())
        certificate = build(subject, key.public_key(), self.certificate.subject, self.key, **options)
        return Ca(certificate, key, (certificate, *self.chain))

    def issue(self, subject: str = "CN=alice", **options: Any) -> Leaf:
        """A client certificate under this CA; `email`, `dns`, `upn_name`, `eku` are short for extensions."""
        key = options.pop("key", None) or ec_key()
        names: list[x509.GeneralName] = []
        if email := options.pop("email", None):
            names.append(x509.RFC822Name(email))
        if dns := options.pop("dns", None):
            names.append(x509.DNSName(dns))
        if upn_name := options.pop("upn_name", None):
            names.append(upn(upn_name))
        extensions = list(options.pop("extensions", ()))
        eku = options.pop("eku", CLIENT_AUTH)
        if eku:
            extensions.append((x509.ExtendedKeyUsage(eku), False))
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        certificate = build(
            subject, key.public_key(), self.certificate.subject, self.key, extensions=extensions, **options
        )
        return Leaf(certificate, key, self.chain)

    def crl(self, revoked: Iterable[x509.Certificate | int] = (), **options: Any) -> bytes:
        """This CA's revocation list, PEM; `options` as of `build_crl`."""
        return build_crl(self, revoked, **options).public_bytes(serialization.Encoding.PEM)


def ca_extensions(path_length: int | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    """What a CA certificate has at least."""
    return [(x509.BasicConstraints(ca=True, path_length=path_length), True)]


def build(
    subject: str | x509.Name,
    public_key: Any,
    issuer: str | x509.Name,
    signing_key: Any,
    *,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 365 * DAY,
    serial: int | None = None,
    algorithm: hashes.HashAlgorithm | str | None = "default",
) -> x509.Certificate:
    """A v3 certificate with exactly these extensions, each with its criticality."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(public_key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signing_key, hashes.SHA256() if algorithm == "default" else algorithm)


def build_crl(
    ca: Ca,
    revoked: Iterable[x509.Certificate | int] = (),
    *,
    number: int | None = 1,
    last_update: datetime = NOW - DAY,
    next_update: datetime | None = NOW + 7 * DAY,
    reason: x509.ReasonFlags | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    key: Any = None,
) -> x509.CertificateRevocationList:
    """A revocation list of `ca`; `key` signs instead of the CA's own, for forged ones."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject).last_update(last_update)
    builder = builder.next_update(next_update or last_update + 7 * DAY)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    for entry in revoked:
        serial = entry if isinstance(entry, int) else entry.serial_number
        item = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(last_update)
        if reason is not None:
            item = item.add_extension(x509.CRLReason(reason), False)
        builder = builder.add_revoked_certificate(item.build())
    return builder.sign(key or ca.key, hashes.SHA256())


def _name(name: str | x509.Name) -> x509.Name:
    return name if isinstance(name, x509.Name) else x509.Name.from_rfc4514_string(name)


def server(folder: Path, host: str = "mail.example.com", *, name: str = "server", key: Any = None) -> tuple[Path, Path]:
    """A server certificate for `host`, self-signed, and its key, as files."""
    key = key or ec_key()
    certificate = build(
        f"CN={host}",
        key.public_key(),
        f"CN={host}",
        key,
        extensions=[(x509.SubjectAlternativeName([x509.DNSName(host)]), False)],
        not_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_after=datetime(2099, 1, 1, tzinfo=UTC),
    )
    return Leaf(certificate, key).write(folder, name)


def openssl(*arguments: str, cwd: Path, text: str | None = None) -> str:
    """Run the real `openssl`; its standard output."""
    done = subprocess.run(["openssl", *arguments], cwd=cwd, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def openssl_root(folder: Path, *, password: str | None = None, bits: int = 2048) -> Path:
    """rootCA.key and rootCA.pem, exactly as the tutorials say; the certificate's path."""
    secret = ["-des3", "-passout", f"pass:{password}"] if password else []
    openssl("genrsa", *secret, "-out", "rootCA.key", str(bits), cwd=folder)
    subject = ["-subj", "/C=DE/O=Example Ltd/CN=Example Root CA"]
    unlock = ["-passin", f"pass:{password}"] if password else []
    openssl(
        *("req", "-x509", "-new", "-nodes", "-key", "rootCA.key", *unlock, "-sha256", "-days", "2048"),
        *("-out", "rootCA.pem", *subject),
        cwd=folder,
    )
    return folder / "rootCA.pem"


def crowd(names_bytes: int, name_bytes: int = 45, **options: Any) -> list[Ca]:
    """CAs with one key whose names, each with its length in two bytes, have so many bytes together.

    Each has `name_bytes`, 25 to 70, and some one or two more; `options` as of `build`.
    """
    number, left = divmod(names_bytes, name_bytes)
    more, most = divmod(left, number)
    key = ec_key()
    framing = 15  # the name's length, and the headers of one short attribute
    sizes = [name_bytes + more + (index < most) - framing for index in range(number)]
    return [Ca.make(f"CN={index:04}{'x' * (size - 4)}", key=key, **options) for index, size in enumerate(sizes)]


def openssl_leaf(
    folder: Path, name: str = "alice", *, password: str | None = None, subject: str | None = None, bits: int = 2048
) -> tuple[Path, Path]:
    """`name`.crt and `name`.key under `openssl_root`'s CA: X.509v1, without any extension; their paths."""
    openssl("genrsa", "-out", f"{name}.key", str(bits), cwd=folder)
    subject = subject or f"/C=DE/O=Example Ltd/CN={name}/emailAddress={name}@example.com"
    openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", subject, cwd=folder)
    unlock = ["-passin", f"pass:{password}"] if password else []
    openssl(
        *("x509", "-req", "-in", f"{name}.csr", "-CA", "rootCA.pem", "-CAkey", "rootCA.key", *unlock),
        *("-CAcreateserial", "-out", f"{name}.crt", "-days", "500", "-sha256"),
        cwd=folder,
    )
    return folder / f"{name}.crt", folder / f"{name}.key"


def large_crl(ca: Ca, serials: Sequence[int]) -> bytes:
    """A DER list of many serials; `cryptography`'s builder copies itself at each entry, which takes half a minute."""
    entries = [
        x509.RevokedCertificateBuilder(serial, NOW.replace(tzinfo=None)).build()  # as the builder itself keeps it
        for serial in serials
    ]
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, NOW - DAY, NOW + 7 * DAY, [], entries)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
