"""Checks PEM text before it is parsed: every block must be complete, and of a type that the parser doesn't skip.

Keeps true: an incomplete file is never accepted as a complete one. `cryptography` silently stops at an
unfinished block and silently skips unknown labels. Source: RFC 7468 section 3.
"""

from __future__ import annotations

import re
from shlex import quote as for_shell
from typing import Final

CERTIFICATE_LABELS: Final = (b"CERTIFICATE", b"X509 CERTIFICATE")  # those that `cryptography` loads
LIST_LABELS: Final = (b"X509 CRL",)
_LIST_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_LIST_END: Final = b"-----END X509 CRL-----"
_MARKER: Final = re.compile(rb"-----(BEGIN|END) ([^-]+)-----")
# The part of a header or footer that is enough to recognise it, anywhere in the line.
_PART_OF_MARKER: Final = re.compile(rb"-----(?:BEGIN|END)|^-----(?:B|BE|BEG|BEGI|E|EN)$|^-{0,4}[A-Z0-9 ]+-----$")
_UTF8_MARK: Final = b"\xef\xbb\xbf"  # Windows editors write it at the start of a file
# Requests and attribute certificates: skipping them loses no certificate.
_OTHERS: Final = (b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST", b"ATTRIBUTE CERTIFICATE")
_WHOLE: Final = "use the complete file, with each header and footer on a separate line"


class PemError(ValueError):
    """The text is incomplete, or has a block that would be skipped; with the line, the cause and a remedy."""

    def __init__(self, line: int, cause: str, remedy: str = _WHOLE) -> None:
        super().__init__(f"line {line}: {cause}")
        self.cause = f"line {line}: {cause}"
        self.remedy = remedy


def certificate_blocks(data: bytes, name: str = "FILE") -> int:
    """How many certificates the text holds; `name` is the file's, for the remedy. Raises `PemError`."""
    count = 0
    for line, label in _blocks(data):
        if label in CERTIFICATE_LABELS:
            count += 1
        elif remedy := _remedy(label, name):
            raise PemError(line, f"a {_text(label)} block, which is not supported", remedy)
    return count


def list_blocks(data: bytes) -> int:
    """How many revocation lists the text holds. Raises `PemError`."""
    count = 0
    for line, label in _blocks(data):
        if label in LIST_LABELS:
            count += 1
        elif b"CRL" in label.upper():
            raise PemError(line, f"a {_text(label)} block, which is not supported", "change its label to X509 CRL")
    return count


def list_texts(data: bytes) -> list[bytes]:
    """The text of each revocation list; empty if the data isn't PEM. Raises `PemError`, or another `ValueError`."""
    count = list_blocks(data) if b"-----BEGIN" in data else 0
    parts = zip(range(count), data.split(_LIST_BEGIN)[1:], strict=True)  # raises ValueError if the numbers differ
    return [_LIST_BEGIN + part.partition(_LIST_END)[0] + _LIST_END for _, part in parts]


def _remedy(label: bytes, name: str) -> str:
    kind, out = label.upper(), for_shell(f"{name}.pem")
    if kind.strip() == b"TRUSTED CERTIFICATE":
        command = f"openssl x509 -in {for_shell(name)} -out {out}"
        return f"keep only this block in the file, then convert it and name {out}: {command}"
    if kind.startswith((b"PKCS7", b"PKCS #7", b"CMS")):
        command = f"openssl pkcs7 -in {for_shell(name)} -print_certs -out {out}"
        return f"take the certificates out and name {out}: {command}"
    if b"CERTIFICATE" in kind and kind not in _OTHERS:
        return "change its label to CERTIFICATE, or remove the block"
    return ""


def _blocks(data: bytes) -> list[tuple[int, bytes]]:
    """The line of each block's header, and its label."""
    found: list[tuple[int, bytes]] = []
    is_open = False
    lines = data.removeprefix(_UTF8_MARK).splitlines()
    for number, raw in enumerate(lines, 1):
        if b"-" not in raw:
            continue
        line = raw.strip()
        marker = _MARKER.fullmatch(line)
        if marker is None:
            if _PART_OF_MARKER.search(line) or (is_open and line.startswith(b"-")):
                raise PemError(number, "a header or footer that is cut off, or has other text on its line")
        elif marker[1] == b"BEGIN":
            if is_open:
                raise _unfinished(*found[-1])
            found.append((number, marker[2]))
            is_open = True
        else:
            if not is_open:
                raise PemError(number, f"an END {_text(marker[2])} without its BEGIN")
            if marker[2] != found[-1][1]:
                raise _unfinished(*found[-1])
            is_open = False
    if is_open:
        raise _unfinished(*found[-1])
    _check_last_line(data, lines)
    return found


def _check_last_line(data: bytes, lines: list[bytes]) -> None:
    # A line of dashes is allowed as a separator, but without a line end it may be the start of a header.
    if data.endswith(b"-") and b"-----BEGIN".startswith(lines[-1].strip()):
        raise PemError(len(lines), "a header that is cut off")


def _unfinished(line: int, label: bytes) -> PemError:
    return PemError(line, f"the {_text(label)} block that begins here has no END {_text(label)}")


def _text(label: bytes) -> str:
    return label.decode("ascii", "backslashreplace")
