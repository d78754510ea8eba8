"""The certificates of the end-to-end tests: a CA and users as administrators make them with `openssl`, and bad ones.

    credentials = Credentials.make(folder)
    credentials["alice"]            # an X.509v1 certificate by `openssl x509 -req`, and its key
    credentials.site                # certificate, key and client_ca of a site's configuration

Unlike the certificates of the unit tests they are valid now, whenever that is: a real gateway has the real clock.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support import teletex
from support.gateway import HOST
from support.pki import SERVER_AUTH, Ca, Leaf, build, ec_key, openssl, openssl_leaf, openssl_root, rsa_key

CA_PASSWORD = "the CA's own"
P12_PASSWORD = "opens alice's p12"
OTHER_HOST = "intranet.example.com"
OPEN_HOST = "www.example.com"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """Files that a client shows."""

    certificate: Path
    key: Path

    @property
    def der(self) -> bytes:
        """The leaf."""
        pem = self.certificate.read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


class Credentials:
    """All of them, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._now = datetime.now(UTC)
        self._identities: dict[str, Identity] = {}
        self.root = openssl_root(folder, password=CA_PASSWORD)
        self._root = self._load(folder / "rootCA.pem", folder / "rootCA.key", CA_PASSWORD)

    @classmethod
    def make(cls, folder: Path) -> Credentials:
        made = cls(folder)
        made._make_server()
        made._make_as_administrators_do()
        made._make_good()
        made._make_bad()
        made._make_weak()
        return made

    def __getitem__(self, name: str) -> Identity:
        return self._identities[name]

    @property
    def site(self) -> dict[str, Any]:
        """What a site needs in the configuration: four CAs may issue its users' certificates, two have one name."""
        authorities = [self.root, *(self.folder / f"{name}.crt" for name in ("ecCA", "ecCA-new", "teletexCA"))]
        return {**self.server, "client_ca": [str(authority) for authority in authorities]}

    @property
    def other_site(self) -> dict[str, Any]:
        """A site that trusts another CA alone."""
        return {**self.server, "client_ca": [str(self.folder / "otherCA.crt")]}

    @property
    def server(self) -> dict[str, Any]:
        """The gateway's own certificate."""
        return {"certificate": str(self.folder / "server.crt"), "key": str(self.folder / "server.key")}

    @property
    def server_ca(self) -> Path:
        return self.folder / "serverCA.crt"

    @property
    def p12(self) -> Path:
        """alice's certificate and key as a file to import."""
        return self.folder / "alice.p12"

    def stolen(self, name: str) -> Identity:
        """The certificate with somebody else's key in a file that says it belongs to it: P-256 alone."""
        real, own = self._load(self[name].certificate, self[name].key), ec_key()
        point, own_point = (
            leaf.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
            for leaf in (real.certificate, own)
        )
        der = own.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        forged = b64encode(der.replace(own_point, point)).decode()
        key = self.folder / f"{name}-stolen.key"
        key.write_text(f"-----BEGIN EC PRIVATE KEY-----\n{forged}\n-----END EC PRIVATE KEY-----\n")
        return Identity(self[name].certificate, key)

    def _load(self, certificate: Path, key: Path, password: str | None = None) -> Ca:
        secret = None if password is None else password.encode()
        return Ca(
            x509.load_pem_x509_certificate(certificate.read_bytes()),
            serialization.load_pem_private_key(key.read_bytes(), secret),
        )

    def _dates(self, start: int = -1, end: int = 30) -> dict[str, datetime]:
        return {"not_before": self._now + start * DAY, "not_after": self._now + end * DAY}

    def _add(self, name: str, leaf: Leaf) -> None:
        self._identities[name] = Identity(*leaf.write(self.folder, name))

    def _make_server(self) -> None:
        ca = Ca.make("CN=Server CA", **self._dates())
        ca.write(self.folder, "serverCA")
        names = [HOST, f"*.{HOST}", OTHER_HOST, OPEN_HOST]
        for name, hosts in (("server", names), ("mailhost", ["mail.internal"])):
            sans = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            ca.issue(f"CN={hosts[0]}", eku=SERVER_AUTH, extensions=[(sans, False)], **self._dates()).write(
                self.folder, name
            )

    def _make_as_administrators_do(self) -> None:
        for name, bits in (("alice", 2048), ("rsa4096", 4096)):
            self._identities[name] = Identity(*openssl_leaf(self.folder, name, password=CA_PASSWORD, bits=bits))
        openssl(
            *("pkcs12", "-export", "-in", "alice.crt", "-inkey", "alice.key", "-certfile", "rootCA.pem"),
            *("-out", "alice.p12", "-passout", f"pass:{P12_PASSWORD}"),
            cwd=self.folder,
        )

    def _make_good(self) -> None:
        dates = self._dates()
        elliptic = Ca.make("CN=Elliptic CA", key=ec_key(ec.SECP384R1()), **dates)
        elliptic.write(self.folder, "ecCA")
        renewed = Ca.make("CN=Elliptic CA", **dates)
        renewed.write(self.folder, "ecCA-new")
        self._add("ec_ca_new", renewed.issue("CN=ec_ca_new", **dates))
        issuing = self._root.issue_ca("CN=Issuing CA", **dates)
        self._add("v3", self._root.issue("CN=bob,O=Example Ltd", email="bob@example.com", key=rsa_key(), **dates))
        self._add("p256", self._root.issue("CN=p256", **dates))
        self._add("p384", self._root.issue("CN=p384", key=ec_key(ec.SECP384R1()), **dates))
        self._add("ec_ca", elliptic.issue("CN=ec_ca", **dates))
        self._add("chained", issuing.issue("CN=chained", email="chained@example.com", **dates))
        self._add("issuing_ca", issuing)
        old = Ca.make(teletex.name(), **dates)
        teletex.latin1_leaf(old, old.key).write(self.folder, "teletexCA")
        self._add("teletex", teletex.latin1_leaf(old.issue("CN=teletex", **dates), old.key))

    def _make_bad(self) -> None:
        other = Ca.make("CN=Other CA", **self._dates())
        other.write(self.folder, "otherCA")
        self._add("expired", self._root.issue("CN=expired", **self._dates(-20, -10)))
        self._add("not_yet_valid", self._root.issue("CN=not_yet_valid", **self._dates(10, 20)))
        self._add("stranger", other.issue("CN=stranger", **self._dates()))
        key = ec_key()
        self._add("self_signed", Leaf(build("CN=me", key.public_key(), "CN=me", key, **self._dates()), key))
        self._add("server_only", self._root.issue("CN=server_only", eku=SERVER_AUTH, **self._dates()))
        self._add("ca_as_leaf", self._root)
        # OpenSSL takes it in the handshake; its names have a form (x400Address) that can't be read.
        x400 = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x04\xa3\x02\x30\x00")
        self._add("unreadable", self._root.issue("CN=unreadable", extensions=[(x400, False)], **self._dates()))

    def _make_weak(self) -> None:
        self._add("rsa1024", self._root.issue("CN=rsa1024", key=rsa_key(1024), **self._dates()))
        key, request = self.folder / "sha1.key", "sha1.csr"
        openssl("genrsa", "-out", "sha1.key", "2048", cwd=self.folder)
        openssl("req", "-new", "-key", "sha1.key", "-out", request, "-subj", "/CN=sha1", cwd=self.folder)
        openssl(
            *("x509", "-req", "-in", request, "-CA", "rootCA.pem", "-CAkey", "rootCA.key"),
            *("-passin", f"pass:{CA_PASSWORD}", "-CAcreateserial", "-out", "sha1.crt", "-days", "500", "-sha1"),
            cwd=self.folder,
        )
        self._identities["sha1"] = Identity(self.folder / "sha1.crt", key)
