"""Decides which TLS 1.3 handshakes get tickets, and for how long a client can resume with them.

Keeps true:
- If a certificate was asked for, a ticket is sent only if the session may stand for that certificate.
- All tickets of a chain of resumptions expire when the first one does. OpenSSL sends a new ticket at each resumption
  with the session's full timeout again (openssl #19341), so a client that returns often would never have to prove again
  that it has the key.

A ticket is an encrypted SSL_SESSION, with the time when it was made and its timeout in it. A resumed session's timeout
is lowered to the time that is left before the next ticket is made from it. The binding has no SSL_SESSION_set_timeout,
so this changes OpenSSL's serialised session, the format that tickets contain.

The callbacks use the binding, not pyOpenSSL's wrappers: one is called for each of a handshake's twenty states.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, NamedTuple

from OpenSSL import SSL

from gateway.tls.peer import peer_certificates
from gateway.x509.der import INTEGER, SEQUENCE, content_of, element, elements

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

# Called with the client's leaf and its other certificates: whether a session may stand for them. It must not refer to
# the connection, which would then outlive its end. See `Examination.is_alone`.
MayResume = Callable[[bytes, list[bytes]], bool]

_READ_FINISHED: Final = b"SSLv3/TLS read finished"  # the state before TLS 1.3 tickets are written
# SSL_SESSION_ASN1 in OpenSSL's ssl/ssl_asn1.c: a SEQUENCE, of which these members are EXPLICIT and hold an INTEGER.
_TIME: Final = 0xA1
_TIMEOUT: Final = 0xA2
_MEMBERS: Final = 7  # the first members: five untagged ones, then these two


class Resumption(NamedTuple):
    """What the callbacks need to know about a connection; stored as its `app_data`."""

    may_resume: MayResume
    unix_seconds: float  # when its ClientHello came


def end_tickets(context: SSL.Context) -> None:
    """Let the tickets of resumed handshakes expire with the ticket that was used."""
    _lib.SSL_CTX_set_tlsext_servername_callback(context._context, _on_client_hello)


def withhold_tickets(context: SSL.Context) -> None:
    """Send no ticket to clients whose session must not stand for their certificate."""
    _lib.SSL_CTX_set_info_callback(context._context, _on_state)


@_ffi.callback("int (*)(SSL *, int *, void *)", error=_lib.SSL_TLSEXT_ERR_ALERT_FATAL)  # type: ignore[untyped-decorator]
def _on_client_hello(ssl: Any, _alert: Any, _argument: Any) -> int:
    """Called with or without a server name, once the resumed session is known. A failure ends the handshake."""
    if _lib.SSL_session_reused(ssl) and _lib.SSL_version(ssl) == SSL.TLS1_3_VERSION:
        known = _known(ssl)
        _keep_end(_lib.SSL_get_session(ssl), sys.maxsize if known is None else int(known.unix_seconds))
    return 0


@_ffi.callback("void (*)(const SSL *, int, int)")  # type: ignore[untyped-decorator]
def _on_state(ssl: Any, where: int, _result: int) -> None:
    """Before a TLS 1.3 ticket is written: make it useless unless the session may stand for the certificate.

    With OP_NO_TICKET OpenSSL writes a reference to its session cache instead; the cache is off, so it finds nothing.
    """
    if where != SSL.SSL_CB_ACCEPT_LOOP or _ffi.string(_lib.SSL_state_string_long(ssl)) != _READ_FINISHED:
        return
    connection = SSL.Connection._reverse_mapping[ssl]
    known = _known(ssl)
    is_good = False
    try:
        leaf, chain = peer_certificates(connection)
        if known is not None and leaf is not None:
            is_good = known.may_resume(leaf, chain)
    finally:
        if not is_good:
            connection.set_options(SSL.OP_NO_TICKET)


def _known(ssl: Any) -> Resumption | None:
    known: Resumption | None = SSL.Connection._reverse_mapping[ssl].get_app_data()
    return known


def _keep_end(session: Any, unix_seconds: int) -> None:
    """Shorten a TLS 1.3 session, which only this connection uses; TLS 1.2 sessions may be shared."""
    changed = shortened(encode(session), unix_seconds)
    source = _ffi.from_buffer("unsigned char[]", changed)
    into, data = _ffi.new("SSL_SESSION **", session), _ffi.new("const unsigned char **", source)
    if not _lib.d2i_SSL_SESSION(into, data, len(changed)):
        _lib.ERR_clear_error()
        raise ValueError("OpenSSL does not read its own session")


def shortened(session: bytes, unix_seconds: int) -> bytes:
    """A serialised session with its timeout lowered to what is left. Raises `ValueError` for other data."""
    body = content_of(session, SEQUENCE)
    first = list(islice(elements(body), _MEMBERS))
    if [tag for tag, _, _ in first[-2:]] != [_TIME, _TIMEOUT]:
        raise ValueError("a session without a time or timeout")
    time, timeout = (int.from_bytes(content_of(content, INTEGER)) for _, content, _ in first[-2:])
    # Never more than before, even if the clock was set back. At least 1, because OpenSSL reads 0 as 3.
    left = max(1, min(timeout, time + timeout - unix_seconds))
    end = sum(len(whole) for _, _, whole in first)
    start = end - len(first[-1][2])
    changed = element(_TIMEOUT, element(INTEGER, left.to_bytes(left.bit_length() // 8 + 1)))
    return element(SEQUENCE, b"%b%b%b" % (body[:start], changed, body[end:]))


def encode(session: Any) -> bytes:
    """The session as OpenSSL serialises it."""
    size = _lib.i2d_SSL_SESSION(session, _ffi.NULL)
    buffer = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(session, _ffi.new("unsigned char **", buffer))
    return bytes(_ffi.buffer(buffer, size))
