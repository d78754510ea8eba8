"""Compares distinguished names by RFC 5280 section 7.1: ignoring case, white space and string type."""

from __future__ import annotations

from cryptography import x509

FoldedName = tuple[frozenset[tuple[str, str | bytes]], ...]


def folded(name: x509.Name) -> FoldedName:
    """A form that is equal for two spellings of one name."""
    return tuple(folded_part(part) for part in name.rdns)


def folded_part(part: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str | bytes]]:
    """The same for one part of a name, whose attributes have no order."""
    return frozenset((attribute.oid.dotted_string, _folded_value(attribute.value)) for attribute in part)


def _folded_value(value: str | bytes) -> str | bytes:
    return value if isinstance(value, bytes) else " ".join(value.casefold().split())
