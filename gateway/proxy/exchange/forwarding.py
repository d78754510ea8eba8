"""Finds the client behind trusted proxies, and writes headers about it for the upstream (RFC 7239, X-Forwarded-*)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from gateway.errors import RequestError
from gateway.facts import Address, Origin, Reason
from gateway.http.forwarded import forwarded_for_entries, forwarded_for_node, forwarded_nodes
from gateway.policy.networks import NetworkSet

ClientHeader = Literal["x-forwarded-for", "forwarded"]


class Client(NamedTuple):
    """The client behind a trusted proxy."""

    address: Address
    origin: Origin


def client_of(
    peer: Address, forwarded_for: bytes | None, forwarded: bytes | None, trusted: NetworkSet, counts: ClientHeader
) -> Client:
    """The client that a trusted `peer` names in the configured header: the right-most node that isn't a trusted proxy.

    Raises `RequestError` for a malformed header, and if the other header names another client.
    """
    if counts == "forwarded":
        counted, other = _by_forwarded(peer, forwarded, trusted), _by_forwarded_for(peer, forwarded_for, trusted)
    else:
        counted, other = _by_forwarded_for(peer, forwarded_for, trusted), _by_forwarded(peer, forwarded, trusted)
    if counted.origin is other.origin is Origin.CLIENT and counted != other:
        raise RequestError(Reason.BAD_REQUEST, "X-Forwarded-For and Forwarded name different clients")
    return counted


def _by_forwarded_for(peer: Address, value: bytes | None, trusted: NetworkSet) -> Client:
    if value is None:
        return Client(peer, Origin.UNNAMED)
    return _first_stranger(peer, map(forwarded_for_node, reversed(forwarded_for_entries(value))), trusted)


def _by_forwarded(peer: Address, value: bytes | None, trusted: NetworkSet) -> Client:
    if value is None:
        return Client(peer, Origin.UNNAMED)
    return _first_stranger(peer, reversed(forwarded_nodes(value)), trusted)


def _first_stranger(peer: Address, nodes: Iterable[Address | None], trusted: NetworkSet) -> Client:
    """The first node that isn't a trusted proxy. `nodes`: the nearest first; nodes after the result are only claims."""
    proxy = peer
    for node in nodes:
        if node is None:
            return Client(proxy, Origin.UNNAMED)
        if not trusted.contains(node):
            return Client(node, Origin.CLIENT)
        proxy = node
    return Client(proxy, Origin.PROXY)


def forwarding_headers(client: Address, chain: bytes | None, host: str, *, scheme: str, port: int) -> bytes:
    """The header block that tells the upstream about the client.

    `chain`: a trusted proxy's X-Forwarded-For followed by its own address; None if the client is the peer.
    """
    node = f'"[{client}]"' if client.version == 6 else str(client)
    quoted = f'"{host}"' if ":" in host else host
    return (
        f"X-Forwarded-For: {chain.decode('latin-1') if chain is not None else client}\r\n"
        f"X-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Port: {port}\r\n"
        f"Forwarded: for={node};host={quoted};proto={scheme}\r\n"
    ).encode("latin-1")
