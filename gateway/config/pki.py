"""The section about the certificate registry: where it is, and where the authorities' files are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.config.model import Pki
from gateway.config.reading import Value

SQLITE: Final = "sqlite:///"
DEFAULT_FOLDER: Final = "pki"


def build_pki(root: Value, folder: Path) -> Pki | None:
    """The registry's settings, None where there is none; what is relative is in the configuration's folder."""
    section = root.get("pki")
    store = None if section is None else section.get("store")
    if section is None or store is None:  # a faulty one is reported
        return None
    url = absolute_store(str(store.data), folder)
    files = section.plain("folder", None)
    return Pki(store=url, folder=default_folder(url, folder) if files is None else folder / str(files))


def absolute_store(store: str, folder: Path) -> str:
    """The registry's URL with a relative SQLite file put into `folder`."""
    if store.startswith(SQLITE):
        return f"{SQLITE}{folder / store.removeprefix(SQLITE)}"
    return store


def default_folder(store: str, folder: Path) -> Path:
    """Where the authorities' files are unless told otherwise: beside a SQLite registry, else in `folder`'s pki."""
    if store.startswith(SQLITE):
        return (folder / store.removeprefix(SQLITE)).parent
    return folder / DEFAULT_FOLDER
