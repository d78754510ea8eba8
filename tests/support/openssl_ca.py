"""A certificate authority as `openssl ca` keeps one: a database, a serial, revocation lists with rising numbers.

ca = OpensslCa.make(folder, "root")
alice = ca.issue("alice", email="alice@example.com")      # alice.certificate, alice.key
ca.revoke(alice)
ca.publish(folder / "root.crl")                            # one rename, as a careful script does it
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

from support.credentials import Identity
from support.pki import openssl

from gateway import clock

# Where the lists of `-crlexts of_point` are said to be; a certificate names it with `crlDistributionPoints = URI:…`.
POINT = "http://lists.example.com/1.crl"

_CONFIG = """\
[ca]
default_ca = this
[this]
dir = {folder}
database = $dir/index.txt
new_certs_dir = $dir
serial = $dir/serial
crlnumber = $dir/crlnumber
certificate = $dir/ca.crt
private_key = $dir/ca.key
default_md = sha256
default_days = 30
preserve = no
default_crl_days = 7
policy = anything
unique_subject = no
crl_extensions = list
[anything]
commonName = supplied
[list]
authorityKeyIdentifier = keyid:always
[only_users]
authorityKeyIdentifier = keyid:always
issuingDistributionPoint = critical,@users
[users]
onlyuser = TRUE
[only_cas]
issuingDistributionPoint = critical,@cas
[cas]
onlyCA = TRUE
[of_point]
issuingDistributionPoint = critical,@users_of_point
[users_of_point]
fullname = URI:{point}
onlyuser = TRUE
[ca_certificate]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[user]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
{more}
"""


@dataclass
class OpensslCa:
    """The folder, and what leaves of this CA send along."""

    folder: Path
    chain: tuple[Path, ...] = ()
    _numbers: count[int] = field(default_factory=lambda: count(1), repr=False)

    @classmethod
    def make(cls, folder: Path, name: str, parent: OpensslCa | None = None) -> OpensslCa:
        """A root, or an intermediate under `parent`."""
        home = folder / name
        home.mkdir()
        (home / "index.txt").touch()
        (home / "serial").write_text("1000\n")
        (home / "crlnumber").write_text("01\n")
        (home / "ca.cnf").write_text(_CONFIG.format(folder=home, point=POINT, more=""))
        request = ("req", "-config", "/dev/null", "-new", "-nodes", "-newkey", "ec", "-pkeyopt")
        options = ("ec_paramgen_curve:P-256", "-keyout", "ca.key", "-subj", f"/CN={name}")
        if parent is None:
            extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
            extras = [argument for text in extensions for argument in ("-addext", text)]
            openssl(*request, *options, "-x509", "-days", "30", "-out", "ca.crt", *extras, cwd=home)
            return cls(home)
        openssl(*request, *options, "-out", "ca.csr", cwd=home)
        parent._sign(home / "ca.csr", home / "ca.crt", "ca_certificate")
        return cls(home, (home / "ca.crt", *parent.chain))

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def identity(self) -> Identity:
        """The CA's own certificate, to revoke it at its parent's."""
        return Identity(self.certificate, self.folder / "ca.key")

    def issue(
        self, name: str, *, email: str | None = None, extensions: str = "", seconds: int | None = None
    ) -> Identity:
        """A user's certificate, with the intermediates behind it, for so long.

        `extensions`: lines for the [user] section; one that is there already replaces the usual one.
        """
        name = f"{name}-{next(self._numbers)}"
        san = f"subjectAltName=email:{email}\n" if email else ""
        config = self.folder / f"{name}.cnf"
        config.write_text(_CONFIG.format(folder=self.folder, point=POINT, more=san + extensions))
        certificate, key, request = (self.folder / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        openssl(
            *("req", "-config", "/dev/null", "-new", "-nodes", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}"),
            cwd=self.folder,
        )
        end = () if seconds is None else ("-enddate", f"{clock.now() + timedelta(seconds=seconds):%Y%m%d%H%M%SZ}")
        self._sign(request, certificate, "user", *end, config=config)
        text = [certificate.read_text(), *(path.read_text() for path in self.chain)]
        certificate.write_text("".join(text))
        return Identity(certificate, key)

    def _sign(self, request: Path, certificate: Path, section: str, *more: str, config: Path | None = None) -> None:
        files = ("-in", str(request), "-out", str(certificate))
        self._ca("-batch", "-notext", *files, "-extensions", section, *more, config=config)

    def _ca(self, *arguments: str, config: Path | None = None) -> str:
        return openssl("ca", "-config", str(config or self.folder / "ca.cnf"), *arguments, cwd=self.folder)

    def revoke(self, identity: Identity, reason: str = "keyCompromise") -> None:
        """Note it in the database; the next list has it."""
        self._ca("-revoke", str(identity.certificate), "-crl_reason", reason)

    def unhold(self, identity: Identity) -> None:
        """Take a certificate off hold: `openssl ca` has no command, so administrators edit its database."""
        index = self.folder / "index.txt"
        serial = openssl("x509", "-in", str(identity.certificate), "-noout", "-serial", cwd=self.folder)
        serial = serial.strip().removeprefix("serial=")
        text = re.sub(rf"(?m)^R\t([^\t]*)\t[^\t]*\t{serial}\t", rf"V\t\1\t\t{serial}\t", index.read_text())
        index.write_text(text)

    def crl(self, *options: str) -> bytes:
        """A new list, with the next number; `-crlexts only_users` (`only_cas`, `of_point`) makes one of a part."""
        return self._ca("-gencrl", *options).encode()

    def delta(self, base_number: int) -> bytes:
        """A delta list, with the next number: whatever is in the database now, as changes since that complete list."""
        config = self.folder / "delta.cnf"
        section = f"[delta]\nauthorityKeyIdentifier = keyid:always\n2.5.29.27 = critical,ASN1:INTEGER:{base_number}\n"
        config.write_text((self.folder / "ca.cnf").read_text() + section)
        return self._ca("-gencrl", "-crlexts", "delta", config=config).encode()

    @property
    def list_number(self) -> int:
        """Of the newest list."""
        return int((self.folder / "crlnumber").read_text(), 16) - 1

    def release(self, identity: Identity) -> None:
        """Take a certificate off hold in the delta lists to come."""
        index = self.folder / "index.txt"
        serial = openssl("x509", "-in", str(identity.certificate), "-noout", "-serial", cwd=self.folder)
        serial = serial.strip().removeprefix("serial=")
        text = re.sub(
            rf"(?m)^(R\t[^\t]*\t[^\t]*,)certificateHold(\t{serial}\t)", r"\1removeFromCRL\2", index.read_text()
        )
        index.write_text(text)

    def publish(self, path: Path, *options: str, in_place: bool = False) -> None:
        """Write a new list to `path`, with a rename or into the file that is there."""
        put(path, self.crl(*options), in_place=in_place)


def put(path: Path, data: bytes, *, in_place: bool = False) -> None:
    """Change a file as careful scripts do, or as `>` in a shell does."""
    if in_place:
        path.write_bytes(data)
        return
    made = path.with_name(f"{path.name}.new")
    made.write_bytes(data)
    os.replace(made, path)  # noqa: PTH105 - says which way
