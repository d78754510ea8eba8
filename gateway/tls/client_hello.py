"""Reads the server name from a client's first bytes, before the TLS library sees them.

Keeps true: the result depends only on the bytes, never on how they were split into records
or segments (CVE-2026-32305 was a proxy that skipped client authentication for a fragmented hello). Everything
that is not an unambiguous ClientHello is refused with `ClientHelloError`. Without a hello no TLS context is chosen:
there is no default.

Sources: RFC 8446 (4.1.2, 4.2, 5.1), RFC 5246 (7.4.1.2), RFC 6066 (3), RFC 7301 (3.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct, unpack_from
from typing import Final, NamedTuple

from gateway.errors import HandshakeError

# A browser's hello with post-quantum key shares has about 2 KiB. OpenSSL would accept up to 128 KiB, which no client
# sends. This limits the memory that an unauthenticated connection can use.
MAX_CLIENT_HELLO_BYTES: Final = 32 * 1024
# With record headers: in records of one byte, each byte of the hello takes six.
MAX_FIRST_FLIGHT_BYTES: Final = 64 * 1024
# 2^14 bytes of plaintext a record, RFC 8446 section 5.1.
MAX_RECORD_BYTES: Final = 16 * 1024
# A DNS name in text, without the trailing dot (RFC 1035 section 3.1).
MAX_SERVER_NAME_BYTES: Final = 253
# Reading these costs the gateway much more than it costs a client to send them: 15,000 ALPN names in 32 KiB took 11 ms,
# as much as ten handshakes. A browser sends 2 names, 20 extensions and 16 suites; scanners offer all suites, about 350.
MAX_PROTOCOLS: Final = 64
MAX_EXTENSIONS: Final = 128
MAX_CIPHER_SUITES: Final = 1024

# The longest registered HTTP method is UPDATEREDIRECTREF, 17 bytes.
MAX_METHOD_BYTES: Final = 20

TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304

# Alert descriptions, RFC 8446 section 6.
UNEXPECTED_MESSAGE: Final = 10
RECORD_OVERFLOW: Final = 22
ILLEGAL_PARAMETER: Final = 47
DECODE_ERROR: Final = 50
UNRECOGNIZED_NAME: Final = 112

_HANDSHAKE_RECORD: Final = 22
_CLIENT_HELLO: Final = 1
_RECORD_HEADER_BYTES: Final = 5
_MESSAGE_HEADER_BYTES: Final = 4
_VERSION_AND_RANDOM_BYTES: Final = 34
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43
_RECORD: Final = Struct("!BBxH")  # content type, major version, (minor), length
_EXTENSION: Final = Struct("!HH")  # type, length

_HOST_NAME: Final = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_CARRIAGE_RETURN: Final = 13
_FROM_A_BALANCER: Final = "if a balancer sent it, name the balancer in this listener's proxy_protocol_from"
_UPPER_CASE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class ClientHelloError(HandshakeError):
    """The bytes are not a usable ClientHello; `description` is the TLS alert to answer with."""

    def __init__(self, cause: str, *, description: int = DECODE_ERROR, is_plain_http: bool = False) -> None:
        super().__init__(cause)
        self.description = description
        self.is_plain_http = is_plain_http


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The parts of a ClientHello by which a TLS context is chosen."""

    server_name: str | None  # lower case, no trailing dot; None if missing or an IP address
    alpn: tuple[bytes, ...]  # protocols in the client's order; empty without the extension
    versions: tuple[int, ...]  # supported_versions in the client's order, else the legacy version, at most 1.2

    @property
    def has_tls_1_3(self) -> bool:
        """True if the client offers TLS 1.3; OpenSSL then negotiates 1.3."""
        return TLS_1_3 in self.versions


class ClientHelloReader:
    """Reads one ClientHello from a stream as it arrives; the work is linear in the bytes, however small the pieces.

    `received` holds all bytes, for the TLS library, which reads them again.
    """

    __slots__ = ("_message", "_position", "received")

    def __init__(self) -> None:
        self.received = bytearray()
        self._position = 0  # of the first record in `received` that has not been read yet
        self._message = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> ClientHello | None:
        """Add bytes; returns the hello, or None while it is incomplete. Raises `ClientHelloError`."""
        received = self.received
        received += data
        if not received or (received[0] != _HANDSHAKE_RECORD and _may_become_http(received)):
            return None
        while len(received) - self._position >= _RECORD_HEADER_BYTES:
            end = self._position + _RECORD_HEADER_BYTES + _record_length(received, self._position)
            if len(received) < end:
                break
            self._message += memoryview(received)[self._position + _RECORD_HEADER_BYTES : end]
            self._position = end
            if (hello := _complete(self._message)) is not None:
                return hello
        if len(received) > MAX_FIRST_FLIGHT_BYTES:
            raise ClientHelloError(
                f"no ClientHello in the first {MAX_FIRST_FLIGHT_BYTES} bytes", description=ILLEGAL_PARAMETER
            )
        return None


def peek(buffer: bytes | bytearray | memoryview) -> ClientHello | None:
    """The ClientHello at the start of `buffer`, or None when more bytes are needed. Raises `ClientHelloError`.

    For bytes that are already complete; use `ClientHelloReader` if they arrive in pieces.
    """
    return ClientHelloReader().feed(buffer)


def alert(description: int) -> bytes:
    """A fatal alert record for a connection on which no handshake has begun (RFC 8446 sections 5.1 and 6)."""
    return bytes((21, 3, 3, 0, 2, 2, description))


def _may_become_http(received: bytearray) -> bool:
    """True while the bytes, which are not TLS, may still become an HTTP method. Raises `ClientHelloError` if not."""
    rest = received[: MAX_METHOD_BYTES + 1].lstrip(_UPPER_CASE)
    length = min(len(received), MAX_METHOD_BYTES + 1) - len(rest)
    if not rest and length <= MAX_METHOD_BYTES:
        return True
    if received[:length] == b"PROXY":
        raise ClientHelloError(f"an unexpected PROXY header; {_FROM_A_BALANCER}")
    if received[0] == _CARRIAGE_RETURN:
        raise ClientHelloError(f"not TLS, perhaps an unexpected PROXY header; {_FROM_A_BALANCER}")
    if length and rest.startswith(b" "):
        raise ClientHelloError("plain HTTP on a TLS port", description=UNEXPECTED_MESSAGE, is_plain_http=True)
    raise ClientHelloError("not TLS: the first byte does not begin a handshake record", description=UNEXPECTED_MESSAGE)


def _record_length(received: bytearray, position: int) -> int:
    content_type, major, length = _RECORD.unpack_from(received, position)
    if content_type != _HANDSHAKE_RECORD:
        raise ClientHelloError("another record in the middle of the ClientHello", description=UNEXPECTED_MESSAGE)
    if major != 3:  # the minor version has no meaning, RFC 8446 section 5.1
        raise ClientHelloError(f"record version {major} is not TLS")
    if length == 0:
        raise ClientHelloError("an empty handshake record", description=UNEXPECTED_MESSAGE)
    if length > MAX_RECORD_BYTES:
        raise ClientHelloError(f"a record of {length} bytes", description=RECORD_OVERFLOW)
    return int(length)


def _complete(message: bytearray) -> ClientHello | None:
    """The hello, once its handshake message is complete."""
    if message[0] != _CLIENT_HELLO:
        raise ClientHelloError("the first handshake message is not a ClientHello", description=UNEXPECTED_MESSAGE)
    if len(message) < _MESSAGE_HEADER_BYTES:
        return None
    end = _MESSAGE_HEADER_BYTES + int.from_bytes(message[1:_MESSAGE_HEADER_BYTES])
    if end > MAX_CLIENT_HELLO_BYTES:
        # The alert that OpenSSL, and so nginx, sends for a ClientHello above its limit; TLS has no special alert for
        # this.
        raise ClientHelloError(
            f"a ClientHello of {end} bytes; the limit is {MAX_CLIENT_HELLO_BYTES}", description=ILLEGAL_PARAMETER
        )
    if len(message) < end:
        return None
    if len(message) > end:  # the client must wait for the server's answer
        raise ClientHelloError("data after the ClientHello in its record", description=UNEXPECTED_MESSAGE)
    return _parse(bytes(message))


def _parse(message: bytes) -> ClientHello:
    start = _MESSAGE_HEADER_BYTES + _VERSION_AND_RANDOM_BYTES
    if len(message) < start:
        raise ClientHelloError("the ClientHello ends early")
    (legacy_version,) = unpack_from("!H", message, _MESSAGE_HEADER_BYTES)
    session_id = _vector(message, start, size_bytes=1)
    suites = _vector(message, session_id.end, size_bytes=2)
    compression = _vector(message, suites.end, size_bytes=1)
    if session_id.length > 32 or suites.length % 2 or not suites.length or not compression.length:
        raise ClientHelloError("a session id, cipher suite list or compression list of impossible length")
    if suites.length > 2 * MAX_CIPHER_SUITES:
        raise _too_many("cipher suites", MAX_CIPHER_SUITES)
    if compression.end == len(message):  # TLS 1.2 without any extension
        return ClientHello(None, (), _legacy(legacy_version))
    return _from_extensions(_extensions(message, compression.end), legacy_version)


def _from_extensions(extensions: dict[int, bytes], legacy_version: int) -> ClientHello:
    server_name = extensions.get(_SERVER_NAME)
    alpn = extensions.get(_ALPN)
    versions = extensions.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        None if server_name is None else _host_name(server_name),
        () if alpn is None else _protocols(alpn),
        _legacy(legacy_version) if versions is None else _versions(versions),
    )


def _legacy(version: int) -> tuple[int]:
    """Without supported_versions the version is at most TLS 1.2, whatever the field says (RFC 8446 section 4.2.1)."""
    return (min(version, TLS_1_2),)


class _Vector(NamedTuple):
    end: int
    length: int


def _vector(message: bytes, start: int, *, size_bytes: int) -> _Vector:
    """Where a length-prefixed vector at `start` ends (RFC 8446 section 3.4)."""
    body = start + size_bytes
    length = int.from_bytes(message[start:body])
    if body + length > len(message):  # also if the length is cut off: the slice is short, and body beyond the end
        raise ClientHelloError("a length reaches beyond the ClientHello")
    return _Vector(body + length, length)


def _extensions(message: bytes, start: int) -> dict[int, bytes]:
    if _vector(message, start, size_bytes=2).end != len(message):
        raise ClientHelloError("the extensions don't end with the ClientHello")
    found: dict[int, bytes] = {}
    position, end = start + 2, len(message)
    while position < end:
        if end - position < _EXTENSION.size:
            raise ClientHelloError("an extension is cut short")
        number, length = _EXTENSION.unpack_from(message, position)
        position += _EXTENSION.size
        if position + length > end:
            raise ClientHelloError("an extension reaches beyond the ClientHello")
        if number in found:  # parsers differ in which one they use, RFC 8446 section 4.2
            raise ClientHelloError(f"extension {number} comes twice", description=ILLEGAL_PARAMETER)
        if len(found) >= MAX_EXTENSIONS:
            raise _too_many("extensions", MAX_EXTENSIONS)
        found[number] = message[position : position + length]
        position += length
    return found


def _too_many(what: str, limit: int) -> ClientHelloError:
    return ClientHelloError(f"more than {limit} {what} in the ClientHello", description=ILLEGAL_PARAMETER)


def _host_name(body: bytes) -> str | None:
    """The one host_name of a server_name extension (RFC 6066 section 3)."""
    if len(body) < 5 or unpack_from("!H", body)[0] != len(body) - 2:
        raise ClientHelloError("a malformed server_name extension")
    kind, length = unpack_from("!BH", body, 2)
    name = body[5:]
    if kind != 0 or length != len(name):
        raise ClientHelloError("the server_name extension must hold exactly one host name")
    if _HOST_NAME.fullmatch(name) is None or len(name.removesuffix(b".")) > MAX_SERVER_NAME_BYTES:
        if _is_ip_address(name):
            return None
        raise ClientHelloError("the server name is not a DNS name", description=ILLEGAL_PARAMETER)
    return None if _is_ip_address(name) else name.decode("ascii").lower().removesuffix(".")


def _is_ip_address(name: bytes) -> bool:
    """True for an IP address. RFC 6066 section 3 forbids it here, but some clients send one; it is ignored."""
    try:
        ip_address(name.decode("ascii").removeprefix("[").removesuffix("]").removesuffix("."))
    except ValueError:
        return False
    return True


def _protocols(body: bytes) -> tuple[bytes, ...]:
    """The names in an ALPN extension (RFC 7301 section 3.1)."""
    if len(body) < 2 or unpack_from("!H", body)[0] != len(body) - 2:
        raise ClientHelloError("a malformed ALPN extension")
    names: list[bytes] = []
    position = 2
    while position < len(body):
        length = body[position]
        position += 1
        if length == 0 or position + length > len(body):
            raise ClientHelloError("a malformed ALPN extension")
        if len(names) >= MAX_PROTOCOLS:
            raise _too_many("application protocols", MAX_PROTOCOLS)
        names.append(body[position : position + length])
        position += length
    if not names:
        raise ClientHelloError("an empty ALPN extension")
    return tuple(names)


def _versions(body: bytes) -> tuple[int, ...]:
    """The list in a supported_versions extension (RFC 8446 section 4.2.1)."""
    if len(body) < 3 or body[0] != len(body) - 1 or body[0] % 2:
        raise ClientHelloError("a malformed supported_versions extension")
    return unpack_from(f"!{body[0] // 2}H", body, 1)
