"""Reads and writes the PROXY protocol, versions 1 and 2, in which a balancer names its client. Does no I/O.

Keeps true: a header is read completely or not at all, however it was segmented, and no byte after it is read.
Anything that does not match the specification exactly is refused with `ProxyProtocolError`, because the header decides
which rules apply. What a balancer says about TLS and certificates is ignored.

Source: "The PROXY protocol", HAProxy's proxy-protocol.txt, sections 2.1 and 2.2; RFC 9260 appendix A (CRC32C).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

from gateway.errors import HandshakeError
from gateway.facts import Address, Endpoint, parse_address

# "PROXY UNKNOWN" with two IPv6 addresses and two ports, CRLF included: the longest possible line (section 2.1).
MAX_V1_BYTES: Final = 107
# Senders should stay below 536 bytes (section 2). A client's certificate in a TLV, as some can send it, takes a
# few KiB more; the length field would allow 64 KiB.
MAX_V2_BYTES: Final = 4096
MAX_PORT: Final = 65535

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_PREFIX: Final = b"PROXY "
_HEAD: Final = Struct("!12sBBH")  # signature, version and command, family and protocol, length of the rest
_TLV: Final = Struct("!BH")  # type, length
_VERSION: Final = 2
_LOCAL: Final = 0
_PROXY: Final = 1
_UNSPEC: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_ADDRESSES: Final = {_UNSPEC: Struct(""), _TCP4: Struct("!4s4sHH"), _TCP6: Struct("!16s16sHH")}
_NOT_TCP: Final = {0x12: "UDP over IPv4", 0x22: "UDP over IPv6", 0x31: "a Unix stream", 0x32: "a Unix datagram"}
_CRC32C: Final = 0x03
_MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96 (RFC 4291 section 2.5.5.2)

_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+")  # no zone: %eth0 means nothing on another machine


class ProxyProtocolError(HandshakeError):
    """The bytes are not a usable PROXY header."""


@dataclass(frozen=True, slots=True)
class Header:
    """The client of the balancer, and the address it connected to; both None if the balancer names no client.

    IPv4-mapped IPv6 addresses have become IPv4.
    """

    client: Endpoint | None
    local: Endpoint | None


NOBODY: Final = Header(None, None)
# For connections without a client: the gateway's own health checks of an upstream.
LOCAL_HEADER: Final = _HEAD.pack(SIGNATURE, _VERSION << 4 | _LOCAL, _UNSPEC, 0)


def parse(buffer: bytes | bytearray) -> tuple[Header, int] | None:
    """The header at the start of `buffer` and its length in bytes; None when more bytes are needed.

    A LOCAL, UNKNOWN or unspecified header gives `NOBODY`: the TCP peer counts as the client.
    Raises `ProxyProtocolError`.
    """
    start = bytes(buffer[: len(SIGNATURE)])
    if start == SIGNATURE:
        return _parse_v2(buffer)
    if start.startswith(_V1_PREFIX):
        return _parse_v1(bytes(buffer[:MAX_V1_BYTES]))
    if SIGNATURE.startswith(start) or _V1_PREFIX.startswith(start):
        return None
    raise ProxyProtocolError(
        "no PROXY header from a peer in proxy_protocol_from; switch it on there (HAProxy: send-proxy-v2)"
    )


def encode_v2(client: Endpoint, local: Endpoint) -> bytes:
    """A version 2 header for a TCP connection from `client` to `local`; if either is IPv6, both are sent as IPv6."""
    if isinstance(client.address, IPv4Address) and isinstance(local.address, IPv4Address):
        family, addresses = _TCP4, (client.address.packed, local.address.packed)
    else:
        family, addresses = _TCP6, (_as_ipv6(client.address), _as_ipv6(local.address))
    block = _ADDRESSES[family].pack(*addresses, client.port, local.port)
    return _HEAD.pack(SIGNATURE, _VERSION << 4 | _PROXY, family, len(block)) + block


def crc32c(data: bytes | bytearray) -> int:
    """The checksum of RFC 9260 appendix A (Castagnoli's polynomial)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _crc_of(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC_TABLE: Final = tuple(_crc_of(byte) for byte in range(256))


# version 1


def _parse_v1(line: bytes) -> tuple[Header, int] | None:
    """`line` is cut at the maximum length, so that a later CRLF is not found."""
    text = line.replace(b"\n", b"\r").partition(b"\r")[0]
    end = line[len(text) : len(text) + 2]
    if end == b"\r\n":
        return _header_of_line(text), len(text) + 2
    if end not in (b"", b"\r"):
        raise ProxyProtocolError("a PROXY line that ends in a lone CR or LF")
    if len(line) < MAX_V1_BYTES:
        return None
    raise ProxyProtocolError(f"a PROXY line without its CRLF in the first {MAX_V1_BYTES} bytes")


def _header_of_line(text: bytes) -> Header:
    match text.decode("latin-1").split(" "):
        case ["PROXY", "UNKNOWN", *_]:  # "must ignore anything presented before the CRLF"
            return NOBODY
        case ["PROXY", "TCP4" | "TCP6" as family, source, destination, source_port, destination_port]:
            return Header(
                Endpoint(_address(family, source), _port(source_port)),
                Endpoint(_address(family, destination), _port(destination_port)),
            )
    raise ProxyProtocolError("a PROXY line that is not 'PROXY TCP4|TCP6 source destination port port' or UNKNOWN")


def _address(family: str, text: str) -> Address:
    try:
        if family == "TCP4":
            return IPv4Address(text)  # refuses leading zeros, and anything but ASCII digits
        if _IPV6.fullmatch(text) is not None and ":" in text:
            return parse_address(text)
    except ValueError:
        pass
    raise ProxyProtocolError(f"an address in the PROXY line that is not one of {family}")


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > MAX_PORT:
        raise ProxyProtocolError(f"a port in the PROXY line that is not a number from 0 to {MAX_PORT}")
    return int(text)


# version 2


def _parse_v2(buffer: bytes | bytearray) -> tuple[Header, int] | None:
    if len(buffer) < _HEAD.size:
        return None
    _, version_and_command, family, length = _HEAD.unpack_from(buffer)
    version, command = divmod(version_and_command, 16)
    total = _HEAD.size + length
    if version != _VERSION:
        raise ProxyProtocolError(f"unknown version {version} of the PROXY header")
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"the unknown command {command} in the PROXY header")
    if total > MAX_V2_BYTES:
        raise ProxyProtocolError(f"a PROXY header of {total} bytes; the limit is {MAX_V2_BYTES}")
    if command == _PROXY:
        _check_family(family, length)
    if len(buffer) < total:
        return None
    # "must use the real connection endpoints and discard the protocol block including the family"
    return (NOBODY if command == _LOCAL else _relayed(bytes(buffer[:total]), family)), total


def _check_family(family: int, length: int) -> None:
    addresses = _ADDRESSES.get(family)
    if addresses is None:
        what = _NOT_TCP.get(family, f"the unknown family and protocol 0x{family:02x}")
        raise ProxyProtocolError(f"{what} in the PROXY header, which is not TCP")
    if length < addresses.size:
        raise ProxyProtocolError("a PROXY header that is shorter than its addresses")


def _relayed(header: bytes, family: int) -> Header:
    addresses = _ADDRESSES[family]
    _check_tlvs(header, _HEAD.size + addresses.size)
    if family == _UNSPEC:
        return NOBODY
    source, destination, source_port, destination_port = addresses.unpack_from(header, _HEAD.size)
    return Header(Endpoint(_unpacked(source), source_port), Endpoint(_unpacked(destination), destination_port))


def _check_tlvs(header: bytes, position: int) -> None:
    """Skip the type-length-value vectors; a checksum among them must be right (sections 2.2 and 2.2.3)."""
    checksum_at = None
    while position < len(header):
        if len(header) - position < _TLV.size:
            raise ProxyProtocolError("a TLV in the PROXY header is cut short")
        kind, length = _TLV.unpack_from(header, position)
        position += _TLV.size
        if position + length > len(header):
            raise ProxyProtocolError("a TLV reaches beyond the PROXY header")
        if kind == _CRC32C:
            if checksum_at is not None or length != 4:
                raise ProxyProtocolError("a checksum in the PROXY header that comes twice or is not 4 bytes long")
            checksum_at = position
        position += length
    if checksum_at is None:
        return
    blanked = header[:checksum_at] + bytes(4) + header[checksum_at + 4 :]
    if crc32c(blanked) != int.from_bytes(header[checksum_at : checksum_at + 4]):
        raise ProxyProtocolError("a PROXY header whose checksum is wrong")


def _unpacked(packed: bytes) -> Address:
    if len(packed) == 4:
        return IPv4Address(packed)
    return IPv4Address(packed[12:]) if packed.startswith(_MAPPED) else IPv6Address(packed)


def _as_ipv6(address: Address) -> bytes:
    return _MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed
