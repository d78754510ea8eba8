"""ClientHellos written by hand, as no TLS library sends them, and what a server's first record says to one.

answer = ask_raw(port, raw_hello(versions=None, suites=[*SUITES_1_2, FALLBACK_SCSV]))
answer.alert                                  # 86: inappropriate_fallback
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.gateway import HOST, INSIDE
from support.waiting import PATIENCE_SECONDS

TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0301, 0x0302, 0x0303, 0x0304
FALLBACK_SCSV = 0x5600
SUITES_1_3 = (0x1301, 0x1302, 0x1303)
SUITES_1_2 = (0xC02B, 0xC02F, 0xC02C, 0xC030)  # ECDHE with AES-GCM, ECDSA and RSA
DHE_SUITES_1_2 = (0x009E, 0x009F, 0xCCAA)
P_256, P_384, P_521, X25519, X448, FFDHE_2048, FFDHE_3072 = 23, 24, 25, 29, 30, 256, 257
SECP256K1, SM2, X25519_MLKEM_768 = 22, 41, 4588

INAPPROPRIATE_FALLBACK, NO_APPLICATION_PROTOCOL, HANDSHAKE_FAILURE, PROTOCOL_VERSION = 86, 120, 40, 70
ILLEGAL_PARAMETER = 47

# RFC 8446 section 4.1.3: the last eight bytes of the random of a server that was turned down to TLS 1.2.
TLS_1_2_SENTINEL = b"DOWNGRD\x01"
_RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601)
_MAX_RECORD_BYTES = 1 << 14
_KEYS = {P_256: ec.SECP256R1(), P_384: ec.SECP384R1(), P_521: ec.SECP521R1()}
_FIELD_BYTES = {FFDHE_2048: 256, FFDHE_3072: 384}


@dataclass(frozen=True)
class ServerAnswer:
    """The first record from the server; all None where it closed without a word."""

    alert: int | None = None
    version: int | None = None  # the one in its ServerHello, where TLS 1.3 says 1.2 too
    random: bytes = b""
    is_retry: bool = False  # HelloRetryRequest

    @property
    def has_sentinel(self) -> bool:
        """True when the random says that the server could have spoken TLS 1.3."""
        return self.random.endswith(TLS_1_2_SENTINEL)


def key_share(group: int) -> bytes:
    """A new public key of a group."""
    if group in _KEYS:
        key = ec.generate_private_key(_KEYS[group]).public_key()
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if group == X25519:
        return x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    return b"\x02".rjust(_FIELD_BYTES[group], b"\x00")  # finite field: the generator itself


def raw_hello(
    *,
    server_name: str | None = HOST,
    legacy_version: int = TLS_1_2,
    versions: Sequence[int] | None = (TLS_1_3, TLS_1_2),
    suites: Sequence[int] = (*SUITES_1_3, *SUITES_1_2),
    groups: Sequence[int] = (X25519, P_256),
    shares: Sequence[int] | None = None,
    alpn: Sequence[bytes] = (),
    more: Mapping[int, bytes] | None = None,
) -> bytes:
    """One ClientHello in as many records as it needs; `shares`: groups with a key, default the first of `groups`.

    `more` are extensions by number.
    """
    extensions: dict[int, bytes] = {}
    if server_name is not None:
        extensions[0] = _vector(b"\x00" + _vector(server_name.encode()))
    extensions[10] = _numbers(groups)
    extensions[11] = b"\x01\x00"
    extensions[13] = _numbers(_SIGNATURES)
    if alpn:
        extensions[16] = _vector(b"".join(_vector(name, 1) for name in alpn))
    if versions is not None:
        extensions[43] = _numbers(versions, 1)
        keys = groups[:1] if shares is None else shares
        extensions[51] = _vector(b"".join(group.to_bytes(2) + _vector(key_share(group)) for group in keys))
    extensions.update(more or {})
    encoded = b"".join(number.to_bytes(2) + _vector(data) for number, data in extensions.items())
    body = legacy_version.to_bytes(2) + b"R" * 32 + b"\x00" + _numbers(suites) + b"\x01\x00" + _vector(encoded)
    message = b"\x01" + _vector(body, 3)
    pieces = [message[start : start + _MAX_RECORD_BYTES] for start in range(0, len(message), _MAX_RECORD_BYTES)]
    return b"".join(b"\x16\x03\x01" + _vector(piece) for piece in pieces)


def parse_answer(data: bytes) -> ServerAnswer:
    """What the server's first record says, of which `data` must have enough."""
    if not data:
        return ServerAnswer()
    if data[0] == 21:
        return ServerAnswer(alert=data[6])
    assert data[0] == 22, data[:16]
    assert data[5] == 2, data[:16]
    random = data[11:43]
    return ServerAnswer(None, int.from_bytes(data[9:11]), random, random == _RETRY_RANDOM)


def ask_raw(port: int, hello: bytes, *, source: str, header: bytes = b"") -> ServerAnswer:
    """Send it on a connection of its own, behind a PROXY `header` perhaps; an answer cut short is an error."""
    with socket.create_connection((INSIDE, port), timeout=PATIENCE_SECONDS, source_address=(source, 0)) as plain:
        plain.sendall(header + hello)
        data = b""
        while len(data) < 43 and not (data[:1] == b"\x15" and len(data) >= 7):
            more = plain.recv(4096)
            if not more:
                break
            data += more
    return parse_answer(data)


def _vector(data: bytes, size_bytes: int = 2) -> bytes:
    return len(data).to_bytes(size_bytes) + data


def _numbers(numbers: Sequence[int], size_bytes: int = 2) -> bytes:
    return _vector(b"".join(number.to_bytes(2) for number in numbers), size_bytes)
