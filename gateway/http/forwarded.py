"""Parses `Forwarded` (RFC 7239) and `X-Forwarded-For`: the chain of nodes that a request came through.

Keeps true: a `Forwarded` value follows section 4, or it is refused as a whole. Otherwise a quotation mark from the
client could hide what a proxy wrote after it.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import RequestError
from gateway.facts import Address, Reason, parse_address

# Real chains of proxies are shorter; a longer one was invented by a client.
MAX_FORWARDED_ENTRIES: Final = 32

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR: Final = re.compile(
    rb"(?P<name>%b)=(?:(?P<token>%b)|\"(?P<quoted>(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)\")"
    % (_TOKEN, _TOKEN)
)
_BETWEEN: Final = re.compile(rb"[\t ]*,[\t ]*")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
# Section 6: a name or an address, with or without a port; a proxy may replace both by obfuscated identifiers.
_NODE: Final = re.compile(
    r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|(?i:unknown)|_[0-9A-Za-z._-]+)(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?"
)
# An entry of X-Forwarded-For that is more than an address.
_WITH_PORT: Final = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[^\[\]]+)\])(?::[0-9]{1,5})?")


def forwarded_nodes(value: bytes) -> list[Address | None]:
    """The address in each element, the client first; None for `unknown`, for an obfuscated name and without `for`.

    Raises `RequestError` if the value does not follow RFC 7239.
    """
    value = value.rstrip(b"\t ")
    nodes: list[Address | None] = []
    at = 0
    while True:
        node, at = _element(value, at)
        nodes.append(node)
        if len(nodes) > MAX_FORWARDED_ENTRIES:
            raise _refused(f"more than {MAX_FORWARDED_ENTRIES} elements in Forwarded")
        if at == len(value):
            return nodes
        if (comma := _BETWEEN.match(value, at)) is None:
            raise _refused("Forwarded is not a list of name=value pairs")
        at = comma.end()


def _element(value: bytes, at: int) -> tuple[Address | None, int]:
    """(the address in `for`, where the element ends); empty pairs between semicolons are allowed."""
    node: Address | None = None
    names: set[bytes] = set()
    while True:
        if (pair := _PAIR.match(value, at)) is not None:
            at = pair.end()
            name = pair["name"].lower()
            if name in names:
                raise _refused("a parameter appears twice in an element of Forwarded")
            names.add(name)
            if name == b"for":
                node = _node(pair)
        if value[at : at + 1] != b";":
            break
        at += 1
    if not names:
        raise _refused("an element of Forwarded is empty or malformed")
    return node, at


def _node(pair: re.Match[bytes]) -> Address | None:
    raw = pair["token"]
    text = (_QUOTED_PAIR.sub(rb"\1", pair["quoted"]) if raw is None else raw).decode("latin-1")
    if (found := _NODE.fullmatch(text)) is None:
        raise _refused("a node in Forwarded is not an IP address")
    address = found["v4"] or found["v6"]
    if address is None:
        return None
    try:
        parsed = parse_address(address)
    except ValueError as error:
        raise _refused("a node in Forwarded is not an IP address") from error
    return parsed


def forwarded_for_entries(value: bytes) -> list[bytes]:
    """The entries of X-Forwarded-For, not parsed. Raises `RequestError` if there are too many."""
    entries = value.split(b",")
    if len(entries) > MAX_FORWARDED_ENTRIES:
        raise _refused(f"more than {MAX_FORWARDED_ENTRIES} entries in X-Forwarded-For")
    return entries


def forwarded_for_node(entry: bytes) -> Address:
    """The address in one entry, also with a port or in brackets, as Azure and IIS write it. Raises `RequestError`."""
    text = entry.strip().decode("latin-1")
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        text = found["v4"] or found["v6"]
    try:
        return parse_address(text)
    except ValueError as error:
        raise _refused("an X-Forwarded-For entry is not an IP address") from error


def _refused(cause: str) -> RequestError:
    return RequestError(Reason.BAD_REQUEST, cause)
