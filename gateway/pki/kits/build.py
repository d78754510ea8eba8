"""A kit for a person and a kind of device, as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, assert_never

from gateway.access import exists
from gateway.errors import OperationError, UsageError
from gateway.pki.files import make_folder, read, write_private, write_public
from gateway.pki.kits import apple, programs, windows
from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.kits.letters.letter import letter
from gateway.pki.words import KitKind
from gateway.x509.serials import serial_text

FOLDER_MODE: Final = 0o700
_FOR_LOGIN: Final = (KitKind.ANDROID, KitKind.CHROME, KitKind.FIREFOX)


def build(person: Person, kind: KitKind, *, has_root: bool = True) -> list[KitFile]:
    """The kit's files, the letter last. `has_root`: an Apple profile contains the root, so that the device trusts it.

    Raises `UsageError` if the certificate's use doesn't suit the device.
    """
    _check_use(person, kind)
    return [*_files(person, kind, has_root=has_root), letter(person, kind, has_root=has_root)]


def _check_use(person: Person, kind: KitKind) -> None:
    serial = f"certificate {serial_text(person.certificate.serial_number)}"
    if kind in _FOR_LOGIN and not person.is_for_login:
        cause = f"{serial} is only for mail, but a kit for {kind} needs one for logging in"
        raise UsageError(cause, "Give the p12 file of the certificate for logging in.")
    if kind is KitKind.THUNDERBIRD and person.uses == ("login",):
        cause = f"{serial} is only for logging in, but a kit for {kind} needs one for mail"
        raise UsageError(cause, "Give the p12 file of the certificate for mail.")


def with_password(person: Person, password: str) -> Person:
    """The same person with the password in the kit, which must then be kept as secret as the key."""
    return replace(person, password=password)


def write(files: list[KitFile], folder: Path) -> list[Path]:
    """Write a kit; returns its paths. Raises `OperationError`, also if a kit for another root or host is there."""
    make_folder(folder, FOLDER_MODE)
    for file in files:
        path = folder / file.name
        if file.is_common and exists(path) and read(path) != file.data:
            raise OperationError(f"{path}: belongs to a kit for another root or host", "Name another --out folder.")
    for file in files:
        (write_private if file.is_secret else write_public)(folder / file.name, file.data)
    return [folder / file.name for file in files]


def _files(person: Person, kind: KitKind, *, has_root: bool) -> list[KitFile]:
    match kind:
        case KitKind.IOS | KitKind.MACOS:
            return [apple.profile(person, kind, has_root=has_root)]
        case KitKind.WINDOWS:
            return windows.kit(person)
        case KitKind.ANDROID:
            return programs.android(person)
        case KitKind.CHROME:
            return programs.chrome(person)
        case KitKind.FIREFOX | KitKind.THUNDERBIRD:
            return programs.mozilla(person)
        case _:
            assert_never(kind)
