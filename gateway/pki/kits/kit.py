"""What goes into a kit and what comes out of one."""

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

# Uses that stand in an identifier, after the person.
_LABELS: Final = tuple("-".join(uses) for uses in SLOTS.values() if "login" not in uses)
# What stands in the file names of a certificate for mail alone, as in those of `cert issue`.
_FILE_USES: Final = MappingProxyType(
    {Purpose.SMIME: "smime", Purpose.SMIME_SIGNING: "signing", Purpose.SMIME_ENCRYPTION: "encryption"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom the kit is for, with the certificate and the way to the mail server."""

    email: str
    name: str
    host: str  # the gateway's, as the device calls it
    user_name: str  # the mail login
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]  # the authorities, nearest first, the root last
    p12: bytes = field(repr=False)
    password: str | None = field(default=None, repr=False)  # None: typed by the person
    purpose: Purpose = Purpose.CLIENT
    path: str = "/"  # the page that letter and code lead to
    language: Language = Language.ENGLISH
    contact: str | None = None  # whom to ask for help
    device: str | None = None  # the certificate is for this one of several

    @property
    def url(self) -> str:
        """The page that letter and code lead to."""
        return f"https://{self.host}{self.path}"

    @property
    def uses(self) -> tuple[str, ...]:
        """What the certificate is for: `login`, `signing`, `encryption`."""
        return SLOTS[self.purpose]

    @property
    def is_for_login(self) -> bool:
        """Whether it opens the gateway; otherwise it is for mail alone."""
        return "login" in self.uses

    @property
    def stem(self) -> str:
        """What the kit's files are called: another for each device, and for a certificate for mail alone."""
        return file_stem(self.email, self.device, _FILE_USES.get(self.purpose))

    def stem_for(self, kind: KitKind) -> str:
        """What those files are called that another kind of kit has too, with something else in them."""
        return f"{self.stem}-{kind}"

    @property
    def p12_name(self) -> str:
        """The certificate's file in the kit."""
        return f"{self.stem}.p12"

    @property
    def root(self) -> x509.Certificate:
        """The root that the device shall trust."""
        return self.chain[-1]

    @property
    def identifier(self) -> str:
        """A name that stays through renewals, so that a new kit takes the old one's place: `com.example.mail.alice`.

        Addresses of another domain than the host's are whole in it.

        A certificate for mail alone has another, so that it stands beside the one for logging in.
        """
        local, _, domain = self.email.lower().rpartition("@")
        parent = self.host.partition(".")[2]
        is_own = domain == (parent if "." in parent else self.host) and is_ordinary(self.email)
        # Another domain's alice, or an alice.signing, is somebody else.
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
    """A file of a kit. A secret one is for its owner's eyes alone; a common one is the same for every person."""

    name: str
    data: bytes = field(repr=False)
    is_secret: bool = False
    is_common: bool = False


def p12_file(person: Person) -> KitFile:
    """The certificate with its key."""
    return KitFile(person.p12_name, person.p12, is_secret=True)


def root_file(person: Person, *, is_pem: bool = True) -> KitFile:
    """The root's certificate: PEM as `.crt`, DER as `.cer`, which Windows and Android open."""
    encoding, suffix = (Encoding.PEM, "crt") if is_pem else (Encoding.DER, "cer")
    return KitFile(f"root.{suffix}", person.root.public_bytes(encoding), is_common=True)


def authority_files(person: Person) -> list[KitFile]:
    """The authorities between the person and the root, the topmost first, as Windows opens them."""
    return [
        KitFile(f"authority{number}.cer", authority.public_bytes(Encoding.DER), is_common=True)
        for number, authority in enumerate(reversed(person.chain[:-1]), 1)
    ]
