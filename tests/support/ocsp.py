"""OCSP: answers as a test wants them, and the responder that comes with `openssl`."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from support.gateway import free_port
from support.pki import NOW, Leaf
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
MINUTE = timedelta(minutes=1)
OCSP_SIGNING = (ExtendedKeyUsageOID.OCSP_SIGNING,)


def named(*urls: str) -> tuple[x509.ExtensionType, bool]:
    """The extension in which a certificate names its responders."""
    places = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)) for url in urls
    ]
    return x509.AuthorityInformationAccess(places), False


def response(
    leaf: Leaf,
    issuer: Leaf,
    status: ocsp.OCSPCertStatus = GOOD,
    *,
    signer: Leaf | None = None,
    certificates: tuple[x509.Certificate, ...] = (),
    by: ocsp.OCSPResponderEncoding = ocsp.OCSPResponderEncoding.HASH,
    this_update: datetime = NOW - MINUTE,
    next_update: datetime | None = NOW + 60 * MINUTE,
    digest: Any = None,
    signed_with: Any = "default",
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise,
) -> bytes:
    """A signed answer, DER; `signer` is the issuer where none is given."""
    signer = signer or issuer
    is_revoked = status is REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf.certificate,
        issuer.certificate,
        digest or hashes.SHA1(),  # noqa: S303 - names the issuer, proves nothing
        status,
        this_update,
        next_update,
        this_update if is_revoked else None,
        reason if is_revoked else None,
    )
    builder = builder.responder_id(by, signer.certificate)
    if certificates:
        builder = builder.certificates(certificates)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    algorithm = hashes.SHA256() if signed_with == "default" else signed_with
    return builder.sign(signer.key, algorithm).public_bytes(Encoding.DER)


def index_line(certificate: x509.Certificate, *, is_revoked: bool = False) -> str:
    """A line of `openssl ca`'s index.txt."""
    end = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
    serial = f"{certificate.serial_number:X}"
    serial = serial if len(serial) % 2 == 0 else f"0{serial}"
    when = f"{certificate.not_valid_before_utc:%y%m%d%H%M%SZ}" if is_revoked else ""
    return f"{'R' if is_revoked else 'V'}\t{end}\t{when}\t{serial}\tunknown\t/CN=x\n"


class OpensslResponder:
    """`openssl ocsp` on loopback."""

    def __init__(self, folder: Path, ca: Path, key: Path, password: str, *options: str) -> None:
        self.index = folder / "index.txt"
        self.output = folder / "ocsp.txt"
        self._command = [
            *(need("openssl"), "ocsp", "-index", str(self.index), "-CA", str(ca), "-rsigner", str(ca)),
            *("-rkey", str(key), "-passin", f"pass:{password}", *options),
        ]
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, *lines: str) -> None:
        """Answer by these lines of the index."""
        self.stop()
        self.index.write_text("".join(lines))
        self.index.with_name("index.txt.attr").write_text("unique_subject = no\n")
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [*self._command, "-port", str(self.port)], stdout=output, stderr=subprocess.DEVNULL
            )
        # Not by connecting: it waits for ever for the request of whoever connects and leaves.
        until(lambda: b"ACCEPT" in self.output.read_bytes(), "openssl ocsp listens")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)
            self._process = None
