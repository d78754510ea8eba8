"""Finds, compares and counts names in a certificate's DER, without building objects.

Keeps true: the cost of a stranger's certificate is limited, whatever it contains. Names are compared
by RFC 5280 section 7.1: ignoring case, white space and the type of string. Anything that is not the DER of a
certificate is a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from gateway.x509.der import SEQUENCE, content_of, elements

# A name in real certificates has up to ten attributes; 64 characters are the limit of most of them.
MAX_NAME_ATTRIBUTES: Final = 64
MAX_NAME_BYTES: Final = 8 * 1024
# Cached names in comparable form, mostly of CAs. A site has few CAs, and each certificate sent adds at most its own.
MAX_REMEMBERED_NAMES: Final = 256

_VERSION: Final = 0xA0  # left out in X.509v1
_EXTENSIONS: Final = 0xA3
_ISSUER, _SUBJECT, _AFTER_KEY = 2, 4, 6  # after serial and algorithm; dates are between them
_EVERY: Final = _AFTER_KEY + 3  # two unique identifiers, which real certificates don't have, and the extensions
_ALTERNATIVE_NAME: Final = bytes.fromhex("0603551d11")  # 2.5.29.17 of RFC 5280 section 4.2.1.6
_DIRECTORY_NAME: Final = 0xA4
_ENCODINGS: Final = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "latin-1",  # PrintableString, which often contains characters that it must not
    0x14: "latin-1",  # TeletexString, as OpenSSL reads it
    0x16: "latin-1",
    0x1A: "latin-1",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

Comparable = tuple[frozenset[tuple[bytes, int, str | bytes]], ...]


class RawNames(NamedTuple):
    """Both names of a certificate, each as a whole DER element."""

    issuer: bytes
    subject: bytes


def raw_names(der: bytes) -> RawNames:
    """The names of a certificate. Raises `ValueError`."""
    fields = _fields(der, _SUBJECT + 1)
    return RawNames(fields[_ISSUER][1], fields[_SUBJECT][1])


def comparable(name: bytes) -> Comparable:
    """A form that is equal for equal names. Raises `ValueError` for a name with too many attributes or bytes."""
    if len(name) > MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(name)} bytes; the limit is {MAX_NAME_BYTES}")
    return _comparable(name)


def count_names(der: bytes, most: int) -> int:
    """How many attributes the subject and alternative names have; each attribute of a directoryName counts too.

    Counting stops above `most`. Raises `ValueError`.
    """
    return sum(islice(filter(None, _parts(der)), most + 1))


def count_extensions(der: bytes, most: int) -> int:
    """How many extensions there are. Counting stops above `most`. Raises `ValueError`."""
    return sum(1 for _ in islice(_extensions(_fields(der, _EVERY)), most + 1))


def count_parts(der: bytes, most: int) -> int:
    """As `count_names`, plus the issuer's attributes and the extensions."""
    return sum(1 for _ in islice(_parts(der), most + 1))


def _parts(der: bytes) -> Iterator[bool]:
    """Yields True for each name of the holder, False for each of the issuer and for each extension."""
    fields = _fields(der, _EVERY)
    for at in (_ISSUER, _SUBJECT):
        for _ in _attributes(fields[at][1]):
            yield at == _SUBJECT
    for content in _extensions(fields):
        yield False
        for _ in _alternative_names(content) if content.startswith(_ALTERNATIVE_NAME) else ():
            yield True


def _extensions(fields: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
    for tag, whole in fields[_AFTER_KEY:]:
        for _, content, _ in elements(content_of(content_of(whole, tag), SEQUENCE)) if tag == _EXTENSIONS else ():
            yield content


def _alternative_names(extension: bytes) -> Iterator[bytes]:
    *_, (_, octets, _) = islice(elements(extension), 3)  # its OID, whether it is critical, its value
    for tag, content, _ in elements(content_of(octets, SEQUENCE)):
        yield content
        if tag == _DIRECTORY_NAME:
            yield from _attributes(content)


def _fields(der: bytes, count: int) -> list[tuple[int, bytes]]:
    """(tag, whole element) of the first `count` fields, from the serial on. Raises `ValueError`."""
    signed = next(elements(content_of(der, SEQUENCE)), None)
    fields = elements(content_of(signed[2], SEQUENCE)) if signed else iter(())
    found = [(tag, whole) for tag, _, whole in islice(fields, count + 1)]
    if found and found[0][0] == _VERSION:
        del found[0]
    if len(found) <= _SUBJECT:
        raise ValueError("not a certificate")
    return found


def _attributes(name: bytes) -> Iterator[bytes]:
    """Every attribute of every RDN; an empty RDN yields one empty attribute, so that it is counted."""
    for _, rdn, _ in elements(content_of(name, SEQUENCE)):
        members = _members(rdn)
        yield next(members, b"")
        yield from members


@lru_cache(maxsize=MAX_REMEMBERED_NAMES)
def _comparable(name: bytes) -> Comparable:
    if sum(1 for _ in islice(_attributes(name), MAX_NAME_ATTRIBUTES + 1)) > MAX_NAME_ATTRIBUTES:
        raise ValueError(f"a name of more than {MAX_NAME_ATTRIBUTES} attributes")
    return tuple(
        frozenset(map(_comparable_attribute, _members(rdn))) for _, rdn, _ in elements(content_of(name, SEQUENCE))
    )


def _members(rdn: bytes) -> Iterator[bytes]:
    return (attribute for _, attribute, _ in elements(rdn))


def _comparable_attribute(attribute: bytes) -> tuple[bytes, int, str | bytes]:
    pair = list(islice(elements(attribute), 2))
    if len(pair) < len(("type", "value")):
        raise ValueError("an attribute without a value")
    (_, kind, _), (tag, value, _) = pair
    if (encoding := _ENCODINGS.get(tag)) is None:
        return kind, tag, value
    try:
        return kind, 0, " ".join(value.decode(encoding).casefold().split())
    except UnicodeDecodeError:
        return kind, tag, value
