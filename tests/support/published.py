"""Authorities whose lists and OCSP answers a running gateway publishes, and the programs that ask for them."""

from __future__ import annotations

import base64
import itertools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp as codec
from support.client import Answer, Stream
from support.credentials import Identity
from support.desk import make_authority, open_desk
from support.gateway import INSIDE
from support.programs import run
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.http.published import addresses
from gateway.pki import authority, issue, lifecycle, ocsp_signer
from gateway.pki.keys import make
from gateway.pki.registry.records import RevocationReason
from gateway.pki.words import KeyKind

QUESTIONS = 100_000  # "+/" side by side is in about one of forty
_databases = itertools.count(1)


@dataclass
class Holder:
    """Somebody with a certificate."""

    issued: issue.Issued
    identity: Identity


class PublishedDesk:
    """A desk at work now, with an authority `corp` and its OCSP signer."""

    def __init__(self, folder: Path, port: int, store: str | None = None) -> None:
        self.folder, self.port = folder, port
        self.store = store or f"sqlite:///{folder}/pki/registry.db"
        self.base = f"http://{INSIDE}:{port}"
        self.list_url, self.ocsp_url, self.issuer_url = addresses(self.base, "corp")
        self.desk = open_desk(folder, self.store)
        self.corp: authority.Authority = make_authority(
            self.desk,
            now=clock.now(),
            crl_url=self.list_url,
            ocsp_url=self.ocsp_url,
            issuer_url=self.issuer_url,
        )
        ocsp_signer.make_signer(self.desk, self.corp, clock.now())
        self.ca = self.desk.file("corp", "crt")

    @property
    def settings(self) -> dict[str, str]:
        """The section `pki`."""
        return {"store": self.store, "folder": str(self.folder / "pki")}

    def issue(self, name: str) -> Holder:
        """A certificate that is handed out."""
        key = make(KeyKind.ECDSA_P256)
        identity = Identity(self.folder / f"{name}.crt", self.folder / f"{name}.key")

        def deliver(issued: issue.Issued) -> None:
            identity.certificate.write_bytes(issued.certificate.public_bytes(Encoding.PEM))
            identity.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

        order = issue.Order.of_person(f"{name}@example.com", None)
        return Holder(issue.issue(self.desk, self.corp, order, key, clock.now(), deliver), identity)

    def revoke(self, holder: Holder) -> None:
        """As `gateway cert revoke` does it."""
        lifecycle.revoke(self.desk, self.corp, [holder.issued.record], RevocationReason.KEY_COMPROMISE, clock.now())

    def openssl_ocsp(self, *which: str) -> str:
        """What `openssl ocsp` makes of the answer; it has verified it."""
        trust = ("-issuer", str(self.ca), "-CAfile", str(self.ca), "-url", self.ocsp_url)
        code, output = run("openssl", ["ocsp", *trust, *which])
        text = output.decode()
        assert code == 0, text
        assert "Response verify OK" in text, text
        return text

    def question(self, certificate: x509.Certificate, nonce: bytes | None = None) -> bytes:
        """An OCSP request in DER."""
        builder = codec.OCSPRequestBuilder().add_certificate(
            certificate,
            self.corp.certificate,
            hashes.SHA1(),  # noqa: S303
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    def question_with(self, certificate: x509.Certificate, wanted: str) -> tuple[str, bytes]:
        """One whose base64 holds a text, with its nonce: (base64, nonce)."""
        for attempt in range(QUESTIONS):
            nonce = os.urandom(32 - attempt % 3)  # a third of all lengths needs no padding
            text = base64.b64encode(self.question(certificate, nonce)).decode()
            if wanted in text:
                return text, nonce
        pytest.fail(f"{QUESTIONS} questions, and none has {wanted!r} in its base64")

    def curl(self, target: str, *arguments: str) -> tuple[Answer, bytes]:
        """An answer's head, and its body."""
        body = self.folder / "body"
        body.unlink(missing_ok=True)
        head = self.folder / "head"
        common = ["-q", "--silent", "--show-error", "--path-as-is", "--max-time", "30"]
        common += ["-D", str(head), "-o", str(body)]
        code, output = run("curl", [*common, *arguments, f"{self.base}{target}"])
        assert code == 0, output
        last = head.read_bytes().split(b"HTTP/1.1 ")[-1]  # behind any 100 Continue
        lines = last.decode("latin-1").split("\r\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]
        return Answer(int(lines[0][:3]), fields), body.read_bytes() if body.exists() else b""

    def raw(self, *pieces: bytes, method: str = "GET") -> Answer:
        """What a socket that says just this gets back."""
        with socket.create_connection((INSIDE, self.port), timeout=PATIENCE_SECONDS) as plain:
            for piece in pieces:
                plain.sendall(piece)
            return Stream(plain).answer(method)

    def close(self) -> None:
        self.desk.registry.close()


def fresh_database(template: str) -> str:
    """The URL of a new database on a server's URL template."""
    name = f"published_{next(_databases)}"
    with psycopg.connect(template.format(database="postgres").replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return template.format(database=name)


def rows(path: str) -> Iterator[str]:
    """Entries of a NUL-separated file below /proc."""
    return (entry for entry in Path(path).read_text().split("\0") if entry)
