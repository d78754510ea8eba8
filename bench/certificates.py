"""A throw-away CA, a server and a client certificate for the benchmark: P-256 all, as a modern set-up has them."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "mail.example.com"
VALID = dt.timedelta(days=2)


@dataclass(frozen=True)
class Certificates:
    ca: Path
    server: Path
    server_key: Path
    server_both: Path  # certificate and key in one file, as HAProxy wants them
    client: Path
    client_key: Path


def make(folder: Path) -> Certificates:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("Benchmark CA")
    ca = _builder(ca_name, ca_name, ca_key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    ca_certificate = ca.sign(ca_key, hashes.SHA256())
    files = Certificates(
        ca=_write(folder / "ca.pem", ca_certificate.public_bytes(serialization.Encoding.PEM)),
        server=folder / "server.pem",
        server_key=folder / "server-key.pem",
        server_both=folder / "server-both.pem",
        client=folder / "client.pem",
        client_key=folder / "client-key.pem",
    )
    server_names = x509.SubjectAlternativeName(
        [x509.DNSName(HOST), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))],
    )
    client_names = x509.SubjectAlternativeName([x509.RFC822Name("alice@example.com")])
    _leaf(
        certificate_file=files.server,
        key_file=files.server_key,
        common_name=HOST,
        names=server_names,
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        ca_name=ca_name,
        ca_key=ca_key,
    )
    _leaf(
        certificate_file=files.client,
        key_file=files.client_key,
        common_name="alice",
        names=client_names,
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        ca_name=ca_name,
        ca_key=ca_key,
    )
    _write(files.server_both, files.server.read_bytes() + files.server_key.read_bytes())
    return files


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ],
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + VALID)
    )


def _leaf(
    *,
    certificate_file: Path,
    key_file: Path,
    common_name: str,
    names: x509.SubjectAlternativeName,
    usage: x509.ObjectIdentifier,
    ca_name: x509.Name,
    ca_key: ec.EllipticCurvePrivateKey,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(common_name), ca_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    _write(
        key_file,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _write(path: Path, data: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path
