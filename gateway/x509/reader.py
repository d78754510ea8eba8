"""Reads the files of one configuration, each file once, even if it is named several times."""

from __future__ import annotations

from pathlib import Path

from gateway.stamps import Stamp, stamp_of
from gateway.x509.files import CertificateFile, KeyFile
from gateway.x509.foreign_files import Wanted
from gateway.x509.loading import is_encrypted, parse_certificates, parse_private_key, read_file


class FileReader:
    """For one load of the configuration: later changes of a file have no effect."""

    def __init__(self) -> None:
        self._data: dict[Path, tuple[bytes, Stamp]] = {}
        self._certificates: dict[Path, CertificateFile] = {}
        self._keys: dict[tuple[Path, str | None, bool], KeyFile] = {}

    def certificates(self, path: Path, wanted: Wanted = "certificate") -> CertificateFile:
        """The certificates of a PEM file; `wanted` is for messages. Raises `ConfigError`."""
        if path not in self._certificates:
            data, stamp = self._read(path)
            found = parse_certificates(data, str(path), name=str(path), wanted=wanted)
            self._certificates[path] = CertificateFile(path, found, stamp)
        return self._certificates[path]

    def key(self, path: Path, password: str | None, *, may_be_encrypted: bool) -> KeyFile:
        """The private key of a PEM file; see `parse_private_key`. Raises `ConfigError`."""
        asked = path, password, may_be_encrypted
        if asked not in self._keys:
            data, stamp = self._read(path)
            found = parse_private_key(data, path, password, may_be_encrypted=may_be_encrypted)
            self._keys[asked] = KeyFile(path, found, stamp, is_encrypted(data))
        return self._keys[asked]

    def _read(self, path: Path) -> tuple[bytes, Stamp]:
        if path not in self._data:
            stamp = stamp_of(path)  # before reading: a change meanwhile is noticed as a change
            self._data[path] = read_file(path), stamp
        return self._data[path]
