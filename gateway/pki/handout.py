"""Kits and letters for all users in a list, and a list of them for a mail merge.

Each kit is one file: an Apple profile, or a ZIP archive of the files that the device needs. Kits, letters and the list
contain no passwords. The passwords are in `passwords.csv`, and are handed out separately.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.access import exists
from gateway.errors import OperationError
from gateway.pki import merge_list, pkcs12
from gateway.pki.files import make_folder, read, write_private
from gateway.pki.kits import build
from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.merge_list import MergeLine
from gateway.pki.password_list import PasswordLine, PasswordList
from gateway.pki.registry.records import CertificateRecord
from gateway.pki.words import KitKind, Language
from gateway.x509.loading import certificate_in

KITS_FOLDER: Final = "kits"
LETTERS_FOLDER: Final = "letters"
LIST_FILE: Final = "mail-merge.csv"
_LONGEST_AGO: Final = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the first date that a ZIP archive can have, always the same, so that the same kit has the same bytes


def _unsigned(files: list[KitFile]) -> list[KitFile]:
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Kits:
    """Which kits to make, and the settings that are the same in all of them."""

    kinds: tuple[KitKind, ...]
    host: str
    path: str = "/"
    language: Language = Language.ENGLISH
    contact: str | None = None
    has_root: bool = True
    sign: Callable[[list[KitFile]], list[KitFile]] = _unsigned  # signs Apple profiles


@dataclass(slots=True)
class Made:
    """How many kits were made, how many lines of earlier runs stay on the list, and whose p12 files are missing."""

    kits: int = 0
    earlier: int = 0
    without: list[CertificateRecord] = field(default_factory=list)


def earlier(out: Path, authority: str, lasting: Mapping[str, str]) -> list[MergeLine]:
    """The lines of earlier runs that stay on the list. `lasting`: the authority of each valid certificate.

    Raises `UsageError` for a list of another program, `OperationError` if the folder has another authority's kits.
    """
    path = out / LIST_FILE
    found = merge_list.lasting(merge_list.lines(path), out, lasting)
    if other := next((lasting[line.serial] for line in found if lasting[line.serial] != authority), None):
        raise OperationError(f"{path}: lists kits of the authority '{other}'", "Name another --out folder.")
    return found


def make(
    kits: Kits,
    list_: PasswordList,
    chain: tuple[x509.Certificate, ...],
    holders: Iterable[CertificateRecord],
    written: Mapping[str, bytes],
    earlier: Sequence[MergeLine],
) -> Made:
    """Write the kits and letters of all holders whose p12 file is in the folder, and their list.

    `chain`: the authorities above the holders; `written`: digests of the p12 files of this run, by serial; `earlier`:
    the lines of earlier runs that stay on the list.
    Raises `OperationError`, also if a p12 file has another certificate than the holder's.
    """
    out = list_.path.parent
    for folder in (KITS_FOLDER, LETTERS_FOLDER):
        make_folder(out / folder, build.FOLDER_MODE)
    lines = {line.serial: line for line in list_.lines()}
    made = Made()
    listed: list[MergeLine] = []
    for record in holders:
        line = lines.get(record.serial)
        if line is None or not exists(out / line.file):
            made.without.append(record)
            continue
        person = _person(kits, chain, record, _p12(out, line, record, written.get(record.serial)))
        for kind in kits.kinds:
            kit, letter = _write(kits, person, kind, out)
            listed.append(MergeLine(line.email, line.name, kind, kit, letter, record.serial))
    kept = merge_list.write(out / LIST_FILE, list_.dialect, earlier, listed)
    return replace(made, kits=len(listed), earlier=kept)


def digest(data: bytes) -> bytes:
    """The SHA-256 of a p12 file, by which it is recognised."""
    return hashlib.sha256(data).digest()


def _p12(out: Path, line: PasswordLine, record: CertificateRecord, written: bytes | None) -> bytes:
    """The holder's p12 file. A file of an earlier run is opened to compare the certificate; that takes a core 50 ms."""
    path = out / Path(line.file).name
    data = read(path)
    if digest(data) != written and pkcs12.open_(data, line.password, str(path))[1] != certificate_in(record.der):
        raise OperationError(f"{path}: does not have the certificate {record.serial}", "Name another --out folder.")
    return data


def _person(kits: Kits, chain: tuple[x509.Certificate, ...], record: CertificateRecord, p12: bytes) -> Person:
    email = record.email or ""
    return Person(
        email=email,
        name=record.common_name,
        device=record.device,
        host=kits.host,
        user_name=email,
        certificate=certificate_in(record.der),
        chain=chain,
        p12=p12,
        purpose=record.purpose,
        path=kits.path,
        language=kits.language,
        contact=kits.contact,
    )


def _write(kits: Kits, person: Person, kind: KitKind, out: Path) -> tuple[str, str]:
    """Write a kit and its letter; returns their paths below the folder."""
    *files, letter = kits.sign(build.build(person, kind, has_root=kits.has_root))
    name, data = files[0].name, files[0].data
    if len(files) > 1:
        name, data = f"{person.stem_for(kind)}.zip", _zipped(files)
    paths = f"{KITS_FOLDER}/{name}", f"{LETTERS_FOLDER}/{letter.name}"
    for path, content in zip(paths, (data, letter.data), strict=True):
        write_private(out / path, content)
    return paths


def _zipped(files: Iterable[KitFile]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for file in files:
            written.writestr(zipfile.ZipInfo(file.name, _LONGEST_AGO), file.data, zipfile.ZIP_DEFLATED)
    return archive.getvalue()
