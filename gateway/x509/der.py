"""Reads and writes DER elements with one-byte tags and definite lengths (X.690 section 8.1).

Keeps true: it never reads beyond the data; malformed data is a `ValueError`. It is used for OpenSSL's
sessions, the contents of extensions, and the bytes of a certificate's subject. Certificates, lists and OCSP answers are
read by `cryptography`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

INTEGER: Final = 0x02
SEQUENCE: Final = 0x30

_LONG_LENGTH: Final = 0x80


def element(tag: int, content: bytes) -> bytes:
    """Encode one element."""
    length = len(content)
    if length < _LONG_LENGTH:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, _LONG_LENGTH | len(size))) + size + content


def elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(tag, content, whole element) of each element in `data`. Raises `ValueError`."""
    at, size = 0, len(data)
    while at < size:
        start = at + 2
        if start > size:
            raise ValueError("an element that is cut short")
        length = data[at + 1]
        if length >= _LONG_LENGTH:
            start, length = _long(data, start, length - _LONG_LENGTH)
        end = start + length
        if end > size:
            raise ValueError("an element that is cut short")
        yield data[at], data[start:end], data[at:end]
        at = end


def content_of(data: bytes, tag: int) -> bytes:
    """The content of `data`, which must be exactly one element with this tag. Raises `ValueError`."""
    found = list(islice(elements(data), 2))
    if len(found) != 1 or found[0][0] != tag:
        raise ValueError(f"not one element of tag {tag:#04x}")
    return found[0][1]


def _long(data: bytes, at: int, size: int) -> tuple[int, int]:
    """(start of the content, its length), from a length field of `size` bytes at `at`."""
    return at + size, int.from_bytes(data[at : at + size])
