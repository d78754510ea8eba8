"""Who the client is, and what the upstream is told of it (RFC 7239 and the X-Forwarded-* customs). Pure."""

from __future__ import annotations

from typing import Final

from gateway.errors import RequestError
from gateway.facts import Address, Reason, parse_address
from gateway.policy.networks import NetworkSet

# A longer chain of proxies is a client's invention.
MAX_FORWARDED_FOR_ENTRIES: Final = 32


def client_address(peer: Address, forwarded_for: bytes | None, trusted: NetworkSet) -> Address:
    """The client's address: the peer, or behind trusted proxies the right-most X-Forwarded-For entry that is none.

    Raises `RequestError` where a trusted proxy sends what is no address: nobody can be judged by that.
    """
    if forwarded_for is None or not trusted.contains(peer):
        return peer
    entries = forwarded_for.split(b",")
    if len(entries) > MAX_FORWARDED_FOR_ENTRIES:
        raise RequestError(Reason.BAD_REQUEST, f"more than {MAX_FORWARDED_FOR_ENTRIES} entries in X-Forwarded-For")
    address = peer
    for entry in reversed(entries):
        address = _entry(entry)
        if not trusted.contains(address):
            break
    return address


def _entry(entry: bytes) -> Address:
    """One entry, also with a port or in brackets, as Azure and IIS write it."""
    text = entry.strip().decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return parse_address(text)
    except ValueError as error:
        raise RequestError(Reason.BAD_REQUEST, "an X-Forwarded-For entry is no IP address") from error


def forwarding_headers(client: Address, chain: bytes | None, host: str, *, scheme: str, port: int) -> bytes:
    """The header block that tells the upstream about the client.

    `chain`: a trusted proxy's X-Forwarded-For with its own address behind it; None where the client is the peer.
    """
    node = f'"[{client}]"' if client.version == 6 else str(client)
    quoted = f'"{host}"' if ":" in host else host
    return (
        f"X-Forwarded-For: {chain.decode('latin-1') if chain is not None else client}\r\n"
        f"X-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Port: {port}\r\n"
        f"Forwarded: for={node};host={quoted};proto={scheme}\r\n"
    ).encode("latin-1")
