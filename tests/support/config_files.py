"""A folder with certificates, keys and lists, good and bad, and a file that uses the good ones."""

import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
PASSWORD = b"secret"

BASE = """\
listen:
  - address: ":443"
sites:
  - hosts: [mail.example.com]
    certificate: mail.crt
    key: mail.key
    client_ca: [ca.pem]
    upstream: mail
upstreams:
  mail:
    servers: ["https://10.0.0.5:443"]
rules:
  - name: inside
    from: internal
    action: allow
  - name: outside
    action: require_certificate
"""


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def general_name(san):
    return x509.IPAddress(ip_address(san)) if san[0].isdigit() or ":" in san else x509.DNSName(san)


class Maker:
    """Makes certificates into one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = {}

    def key(self, key_name, make=lambda: ec.generate_private_key(ec.SECP256R1())):
        if key_name not in self.keys:
            self.keys[key_name] = make()
        return self.keys[key_name]

    def write(self, file_name, data, mode=0o600):
        path = self.folder / file_name
        path.write_bytes(data)
        path.chmod(mode)

    def save_key(self, file_name, key, password=None, mode=0o600):
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        self.write(file_name, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption), mode)

    def certificate(
        self, subject, *, issuer=None, ca=False, sans=(), start=NOW - YEAR, end=NOW + YEAR, key=None, extension=None
    ):
        public = (key or self.key(subject)).public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer or subject))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName([*map(general_name, sans)]), False)
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(self.key(issuer or subject), hashes.SHA256())

    def save(self, file_name, *certificates):
        pem = serialization.Encoding.PEM
        self.write(file_name, b"".join(certificate.public_bytes(pem) for certificate in certificates), 0o644)

    def crl(self, issuer, *, start=NOW - timedelta(days=1), end=NOW + timedelta(days=7), key=None):
        builder = x509.CertificateRevocationListBuilder().issuer_name(name(issuer)).last_update(start).next_update(end)
        return builder.sign(key or self.key(issuer), hashes.SHA256())

    def pem_crl(self, issuer):
        return self.crl(issuer).public_bytes(serialization.Encoding.PEM)


def fill(folder: Path) -> None:
    """All files that the tests name."""
    maker = Maker(folder)
    hosts = ("mail.example.com", "*.mail.example.com")
    pem = serialization.Encoding.PEM
    ca = maker.certificate("ca", ca=True)
    leaf = maker.certificate("mail", issuer="ca", sans=hosts)
    maker.save("ca.pem", ca)
    maker.save("ca2.pem", maker.certificate("ca2", ca=True))
    maker.save("both-cas.pem", ca, maker.certificate("ca2", ca=True))
    sub = maker.certificate("sub", issuer="ca", ca=True)
    maker.save("sub.pem", sub)
    maker.save("subsub.pem", maker.certificate("subsub", issuer="sub", ca=True), sub)
    public = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)])
    maker.save("ca-public.pem", maker.certificate("public", issuer="root", ca=True, extension=public))
    leaf_of_public = maker.certificate("mail", issuer="public", sans=hosts, extension=public)
    maker.save("leaf-of-public.crt", leaf_of_public)
    maker.save("chain-of-public.crt", leaf_of_public, maker.certificate("public", issuer="root", ca=True))
    maker.save("ca-expired.pem", maker.certificate("old", ca=True, end=NOW - timedelta(days=1)))
    usage = x509.KeyUsage(True, *[False] * 8)
    maker.save("ca-usage.pem", maker.certificate("usage", ca=True, extension=usage))
    mails = x509.NameConstraints([x509.RFC822Name("partner.example")], None)
    maker.save("ca-bound.pem", maker.certificate("bound", ca=True, extension=mails))
    maker.save("mail.crt", leaf)
    maker.save("address.crt", maker.certificate("mail", issuer="ca", sans=(*hosts, "192.0.2.1", "fd00::1")))
    maker.save("chain.crt", leaf, ca)
    maker.save("leaf-last.crt", ca, leaf)
    maker.save("stranger.crt", leaf, maker.certificate("ca2", ca=True))
    maker.save("expired.crt", maker.certificate("mail", issuer="ca", sans=hosts, end=NOW - timedelta(days=1)))
    maker.save("future.crt", maker.certificate("mail", issuer="ca", sans=hosts, start=NOW + timedelta(days=1)))
    maker.save("soon.crt", maker.certificate("mail", issuer="ca", sans=hosts, end=NOW + timedelta(days=29)))
    soon_ca = maker.certificate("ca", ca=True, end=NOW + timedelta(days=29))
    maker.save("ca-soon.pem", soon_ca)
    maker.save("chain-soon.crt", leaf, soon_ca)
    maker.save("chain-expired.crt", leaf, maker.certificate("ca", ca=True, end=NOW - timedelta(days=1)))
    maker.save("no-san.crt", maker.certificate("mail", issuer="ca"))
    maker.save_key("mail.key", maker.key("mail"))
    maker.save_key("other.key", maker.key("other"))
    maker.save_key("open.key", maker.key("mail"), mode=0o644)
    maker.save_key("locked.key", maker.key("mail"), PASSWORD)
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    maker.keys["small"] = small
    maker.save("small.crt", maker.certificate("small", issuer="ca", sans=hosts))
    maker.save("ca-small.pem", maker.certificate("small", ca=True))
    maker.save_key("small.key", small)
    curve = maker.key("curve", lambda: ec.generate_private_key(ec.SECP256K1()))
    maker.save("curve.crt", maker.certificate("curve", issuer="ca", sans=hosts))
    maker.save_key("curve.key", curve)
    maker.write("mail.der", leaf.public_bytes(serialization.Encoding.DER))
    maker.write("ca.p7b", pkcs7.serialize_certificates([ca], serialization.Encoding.DER))
    locked = serialization.BestAvailableEncryption(PASSWORD)
    maker.write("mail.p12", pkcs12.serialize_key_and_certificates(b"mail", maker.key("mail"), leaf, [ca], locked))
    command = ["openssl", "pkcs8", "-topk8", "-v2", "aria-256-cbc", "-passout", f"pass:{PASSWORD.decode()}"]
    subprocess.run([*command, "-in", folder / "mail.key", "-out", folder / "aria.key"], check=True)
    maker.write("empty.pem", b" \n")
    maker.write("words.pem", b"not a certificate\n")
    maker.write("broken.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    maker.write("broken.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    crl = maker.crl("ca")
    maker.write("ca.crl", crl.public_bytes(pem))
    maker.write("ca-der.crl", crl.public_bytes(serialization.Encoding.DER))
    maker.write("both.crl", crl.public_bytes(pem) + maker.crl("ca2").public_bytes(pem))
    maker.write("passphrase.txt", b"secret\n")
    maker.write("ends-soon.crl", maker.crl("ca", end=NOW + timedelta(seconds=45)).public_bytes(pem))
    maker.write("ca2.crl", maker.crl("ca2").public_bytes(pem))
    (folder / "pki" / "corp").mkdir(parents=True)
    maker.write("pki/corp/corp.crl", crl.public_bytes(pem))
    maker.write("expired.crl", maker.crl("ca", end=NOW - timedelta(hours=1)).public_bytes(pem))
    maker.write("future.crl", maker.crl("ca", start=NOW + timedelta(hours=1)).public_bytes(pem))
    maker.write("forged.crl", maker.crl("ca", key=maker.key("other")).public_bytes(pem))
    (folder / "folder").mkdir()
