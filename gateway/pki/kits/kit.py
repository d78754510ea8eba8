"""The data that a kit is made from, and the files that a kit consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.pki.file_names import file_stem, is_ordinary
from gateway.pki.registry.claims import SLOTS
from gateway.pki.registry.records import Purpose
from gateway.pki.words import KitKind, Language

# The uses that follow the person in an identifier.
_LABELS: Final = tuple("-".join(uses) for uses in SLOTS.values() if "login" not in uses)
# The uses that follow the person in file names, for a certificate only for mail; `cert issue` has the same.
_FILE_USES: Final = MappingProxyType(
    {Purpose.SMIME: "smime", Purpose.SMIME_SIGNING: "signing", Purpose.SMIME_ENCRYPTION: "encryption"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The person who gets the kit, with the certificate and the address of the gateway."""

    email: str
    name: str
    host: str  # the gateway's host name
    user_name: str  # the mail login
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]  # the authorities, nearest first, the root last
    p12: bytes = field(repr=False)
    password: str | None = field(default=None, repr=False)  # None: the person types it
    purpose: Purpose = Purpose.CLIENT
    path: str = "/"  # of the page that the letter and its QR code open
    language: Language = Language.ENGLISH
    contact: str | None = None  # the help desk's address or number
    device: str | None = None  # the device of the certificate, if the person has several

    @property
    def url(self) -> str:
        """The page that the letter and its QR code open."""
        return f"https://{self.host}{self.path}"

    @property
    def uses(self) -> tuple[str, ...]:
        """The uses of the certificate: `login`, `signing`, `encryption`."""
        return SLOTS[self.purpose]

    @property
    def is_for_login(self) -> bool:
        """Whether the gateway accepts the certificate; otherwise it is only for mail."""
        return "login" in self.uses

    @property
    def stem(self) -> str:
        """The beginning of the kit's file names. It differs for each device, and for a certificate only for mail."""
        return file_stem(self.email, self.device, _FILE_USES.get(self.purpose))

    def stem_for(self, kind: KitKind) -> str:
        """The beginning of file names that other kinds of kits use too, with other contents."""
        return f"{self.stem}-{kind}"

    @property
    def p12_name(self) -> str:
        """The file name of the certificate in the kit."""
        return f"{self.stem}.p12"

    @property
    def root(self) -> x509.Certificate:
        """The root, which the device has to trust."""
        return self.chain[-1]

    @property
    def identifier(self) -> str:
        """A name that stays the same through renewals, such as `com.example.mail.alice`. A new kit replaces the old.

        If the address is not in the host's domain, the name has the whole address. A certificate only for mail has a
        different name, so that it doesn't replace the one for logging in.
        """
        local, _, domain = self.email.lower().rpartition("@")
        parent = self.host.partition(".")[2]
        is_own = domain == (parent if "." in parent else self.host) and is_ordinary(self.email)
        # The alice of another domain is another person, and so is an alice.signing.
        is_told_apart = not is_own or any(local.endswith(f".{label}") for label in _LABELS)
        host = ".".join(reversed(self.host.split(".")))
        return ".".join((host, file_stem(self.email).lower() if is_told_apart else local, *self._label))

    def uuid(self, part: str) -> UUID:
        """A UUID for a part of the kit, the same in every kit for this address, host and use."""
        return uuid5(NAMESPACE_URL, ":".join(("gateway", self.host, self.email.lower(), *self._label, part)))

    @property
    def _label(self) -> tuple[str, ...]:
        return () if self.is_for_login else ("-".join(self.uses),)


@dataclass(frozen=True, slots=True)
class KitFile:
    """A file of a kit. A secret one is written with mode 0600; a common one is the same for every person."""

    name: str
    data: bytes = field(repr=False)
    is_secret: bool = False
    is_common: bool = False


def p12_file(person: Person) -> KitFile:
    """The PKCS#12 file with the person's certificate and key."""
    return KitFile(person.p12_name, person.p12, is_secret=True)


def root_file(person: Person, *, is_pem: bool = True) -> KitFile:
    """The root's certificate: PEM as `.crt`, DER as `.cer`, which Windows and Android open."""
    encoding, suffix = (Encoding.PEM, "crt") if is_pem else (Encoding.DER, "cer")
    return KitFile(f"root.{suffix}", person.root.public_bytes(encoding), is_common=True)


def authority_files(person: Person) -> list[KitFile]:
    """The authorities between the person and the root, nearest to the root first, as DER files, which Windows opens."""
    return [
        KitFile(f"authority{number}.cer", authority.public_bytes(Encoding.DER), is_common=True)
        for number, authority in enumerate(reversed(person.chain[:-1]), 1)
    ]
