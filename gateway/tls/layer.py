"""TLS on a plain transport: a protocol for the socket, a transport for the HTTP side.

Keeps true: plaintext reaches the application only after a finished handshake. Data given to `write` is sent
encrypted or not at all. A connection buffers at most one record in each direction (`MODE_RELEASE_BUFFERS`, and at
most `SLICE_BYTES` at once in the memory BIOs), and nothing after `release_buffers`. A read of more than `AT_ONCE_BYTES`
is processed in pieces of `SLICE_BYTES` and `MAX_RECORDS`, and other connections are served before each piece; meanwhile
nothing more is read from the socket. An application that pauses reading gets nothing more, not even data that was
already read.

Reading and writing call OpenSSL through pyOpenSSL's binding instead of `Connection.recv` and `bio_read`: with one
shared buffer instead of an allocation per call, and without an exception at the end of each read
(docs/adr/0002-tls-record-layer.md). Everything else, and every failure, uses pyOpenSSL's public methods.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
from typing import Any, Final

from OpenSSL import SSL

from gateway.facts import Endpoint, parse_address
from gateway.tls.application import Application
from gateway.tls.contexts import leave_no_session

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]
_bio_write: Final = _lib.BIO_write
_bio_read: Final = _lib.BIO_read
_ssl_read: Final = _lib.SSL_read
_ssl_write: Final = _lib.SSL_write
_ssl_get_error: Final = _lib.SSL_get_error
_WANT_READ: Final[int] = _lib.SSL_ERROR_WANT_READ

# The plaintext of one TLS record (RFC 8446 5.1). Memory BIOs never shrink; with slices of this size, each stays at
# about one record.
SLICE_BYTES: Final = 16 * 1024
# A read of at most this size is processed at once; a longer one waits for its turn. A client may have hundreds of
# connections that are all readable in one turn of the loop, and a head of 8 KiB can cost 6 ms because of its path. Most
# requests are shorter than this; for the others a turn costs some microseconds.
AT_ONCE_BYTES: Final = 1024
# Records that are handed to the application in one piece. 16 KiB can hold 700 records of one byte, each of which costs
# a call of the application; an honest client's records are large, or arrive one at a time.
MAX_RECORDS: Final = 32
_PIECE: Final = range(MAX_RECORDS)
# Limit for answers to a client's renegotiations and key updates. Each has about 30 bytes, and an honest client changes
# keys once in a hundred GiB.
MAX_UNASKED_BYTES: Final = 64 * 1024
# A record's ciphertext is at most 256 bytes longer (RFC 8446 5.2); the rest is for a KeyUpdate that comes with it.
_RECORD_OVERHEAD_BYTES: Final = 1024
# Records that are written to the socket at once: enough to save system calls, few enough for the copy to stay in the
# allocator's free memory and in the processor's cache.
_RECORDS_AT_ONCE: Final = 4
_BUFFER_BYTES: Final = _RECORDS_AT_ONCE * (SLICE_BYTES + _RECORD_OVERHEAD_BYTES)
_C_INT_BYTES: Final = 4  # the result of SIOCOUTQ, see tcp(7)
# Shared by all connections of the process: filled and emptied within one synchronous step.
_buffer: Final[Any] = _ffi.new("char[]", _BUFFER_BYTES)
_view: Final[Any] = _ffi.buffer(_buffer, _BUFFER_BYTES)


class TlsLayer(asyncio.Protocol):
    """The server side of one TLS connection."""

    __slots__ = (
        "_application",
        "_at",
        "_from_ssl",
        "_has_rest",
        "_into_ssl",
        "_is_closing",
        "_is_due",
        "_is_established",
        "_is_paused",
        "_is_read_closed",
        "_is_within_piece",
        "_is_write_closed",
        "_rest",
        "_ssl",
        "_unasked_bytes",
        "connection",
        "leaves_no_session",
        "transport",
    )

    def __init__(self, connection: SSL.Connection, transport: asyncio.Transport, application: Application) -> None:
        """`connection`: on memory BIOs, in the accept state."""
        self.connection = connection
        self.transport = transport
        self._application = application
        self._ssl: Any = connection._ssl
        self._into_ssl: Any = connection._into_ssl
        self._from_ssl: Any = connection._from_ssl
        self._is_established = False
        self._is_closing = False
        self._is_write_closed = False
        self._is_paused = False  # by the application
        self._is_read_closed = False  # by the client's close_notify
        self._has_rest = False  # part of a read has not been handed on; nothing more is read meanwhile
        self._rest = b""  # ciphertext that was not given to OpenSSL yet, from `_at` on
        self._at = 0
        self._is_within_piece = False  # OpenSSL may hold records that were not handed on
        self._is_due = False  # waiting for a turn
        self._unasked_bytes = 0  # sent so far by OpenSSL itself
        self.leaves_no_session = False  # set by the application if the session must not be resumed

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "established" if self._is_established else "handshaking"
        return f"<TlsLayer {state}>"

    @property
    def is_established(self) -> bool:
        """True once the handshake is finished."""
        return self._is_established

    @property
    def local(self) -> Endpoint:
        """The local address and port of the TCP connection."""
        name = self.transport.get_extra_info("sockname")
        return Endpoint(parse_address(name[0]), name[1])

    @property
    def is_resumed(self) -> bool:
        """True when the client resumed an earlier session."""
        return bool(_lib.SSL_session_reused(self._ssl))

    @property
    def group_name(self) -> str | None:
        """The group of the key exchange; None for a resumed TLS 1.2 session, which has none."""
        return self.connection.get_group_name() if self._is_established else None

    @property
    def protocol(self) -> bytes:
        """The protocol negotiated by ALPN; empty if the client offered none, or before it is chosen."""
        return self.connection.get_alpn_proto_negotiated()

    # towards the socket

    def data_received(self, data: bytes) -> None:
        """Process ciphertext from the client."""
        if self._is_closing:
            self._application.discarded(len(data))
            return
        if len(data) <= AT_ONCE_BYTES and not self._has_rest:
            self._receive(data)
            return
        self._rest = self._rest[self._at :] + data
        self._at = 0
        if not self._has_rest:
            self._has_rest = True
            self.transport.pause_reading()
            self._wait_turn()

    def _receive(self, data: bytes) -> None:
        """Process one piece; empty `data` continues with the rest of the last one."""
        _bio_write(self._into_ssl, data, len(data))
        if not self._is_established and not self._handshake():
            return
        ssl = self._ssl
        for _ in _PIECE:
            if (count := _ssl_read(ssl, _buffer, SLICE_BYTES)) <= 0:
                break
            self._application.data_received(_view[:count])
            if self._is_closing:
                return
            if self._is_paused:
                self._hold_rest()
                return
        else:
            self._hold_rest()
            return
        # Since OpenSSL 4.0 this depends only on the connection, not on errors that other calls left in the queue.
        if _ssl_get_error(ssl, count) != _WANT_READ:
            self._read_ended(count)
        elif (count := _bio_read(self._from_ssl, _buffer, _BUFFER_BYTES)) > 0:
            self._send_unasked(count)

    def _hold_rest(self) -> None:
        """Stop here: OpenSSL may hold more records, which the application must not get yet."""
        self._is_within_piece = True
        if not self._has_rest:
            self._has_rest = True
            self.transport.pause_reading()
            self._wait_turn()

    def _wait_turn(self) -> None:
        if not (self._is_due or self._is_paused):
            self._is_due = True
            self._application.wait_turn(self._go_on)

    def _go_on(self) -> None:
        """Process the next piece of a read."""
        self._is_due = False
        if self.is_closing() or self._is_paused:
            return
        try:
            self._receive(self._next_piece())
        except BaseException:
            self.abort()
            raise
        if self._is_closing:
            self._drop_rest()
        elif self._is_within_piece or self._at < len(self._rest):
            self._wait_turn()
        else:
            self._rest = b""
            self._at = 0
            self._has_rest = False
            self.transport.resume_reading()  # reading was not paused by the application: then a rest would be left

    def _next_piece(self) -> bytes:
        """Ciphertext for OpenSSL; empty if it still has records of the last piece."""
        if self._is_within_piece:
            self._is_within_piece = False
            return b""
        at = self._at
        self._at = end = min(at + SLICE_BYTES, len(self._rest))
        return self._rest[at:end]

    def _drop_rest(self) -> None:
        """The connection has ended: throw away what was read and not handed on."""
        count = len(self._rest) - self._at
        self._rest = b""
        self._at = 0
        self._has_rest = False
        if count:
            self._application.discarded(count)

    def _send_unasked(self, count: int) -> None:
        """Send what OpenSSL produced by itself: an alert against a renegotiation, or a KeyUpdate (RFC 8446 4.6.3).

        It must not pile up in the BIO, or in the socket of a client that provokes it and reads nothing.
        """
        self._unasked_bytes += count
        if self._unasked_bytes > MAX_UNASKED_BYTES:
            self.abort()
        elif not self._is_write_closed:
            self.transport.write(_view[:count])

    def _handshake(self) -> bool:
        """Do one step of the handshake; True if it is finished."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return False
        except SSL.Error as error:
            self._fail(_words(error))
            return False
        self._flush()
        self._is_established = True
        self._application.handshake_done()
        return not self._is_closing

    def _fail(self, cause: str) -> None:
        self._flush()  # the alert
        self._is_closing = True
        self._application.handshake_failed(cause)
        if self.transport.can_write_eof():
            self.transport.write_eof()  # closing with unread bytes would send a reset, which can destroy the alert

    def _read_ended(self, result: int) -> None:
        """`SSL_read` returned no plaintext, and not because the BIO is empty: close_notify, or a broken record."""
        is_half_closed = False
        try:
            self.connection._raise_ssl_error(self._ssl, result)
        except SSL.ZeroReturnError:
            is_half_closed = self._is_read_closed or self._application.eof_received()
            self._is_read_closed = True
            while _bio_read(self._into_ssl, _buffer, _BUFFER_BYTES) > 0:
                pass  # RFC 8446 6.1: data after a close_notify is ignored; OpenSSL would keep it
        except SSL.Error:
            self._flush()  # the alert
        if not is_half_closed:
            self.close()

    def eof_received(self) -> bool:
        """The client closed its side of the socket; return True to continue writing to it."""
        if self._is_closing:
            return False
        if self._is_established:
            return self._application.eof_received()
        self._is_closing = True
        self._application.handshake_failed("the client closed the connection during the handshake")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if not self._is_established and not self._is_closing:
            self._application.handshake_failed("the client went away during the handshake")
        self._is_closing = True
        self._rest = b""
        self._at = 0
        self._application.connection_lost(exc)
        # The two refer to each other. Breaking the cycle frees OpenSSL's memory now instead of at the next garbage
        # collection, and drops a TLS 1.2 session that must not be resumed.
        del self._application

    def pause_writing(self) -> None:
        """The socket's write buffer is full."""
        self._application.pause_writing()

    def resume_writing(self) -> None:
        """The socket's write buffer has drained."""
        self._application.resume_writing()

    # towards HTTP

    def write(self, data: bytes) -> None:
        """Send plaintext; nothing is sent once the connection is closing."""
        size = len(data)
        if self._is_closing or self._is_write_closed or not size:  # OpenSSL treats an empty write as an error
            return
        if size <= SLICE_BYTES:
            if _ssl_write(self._ssl, data, size) <= 0:
                self._write_failed()
                return
            count = _bio_read(self._from_ssl, _buffer, _BUFFER_BYTES)
            self.transport.write(_view[: max(count, 0)])  # never a negative end: others' bytes may be in the buffer
            return
        self._write_records(data, size)

    def _write_records(self, data: bytes, size: int) -> None:
        """As `write`, for more than one record: copies no plaintext, and the ciphertext once."""
        ssl, from_ssl = self._ssl, self._from_ssl
        plaintext = _ffi.from_buffer(data)
        filled = 0
        for start in range(0, size, SLICE_BYTES):
            if _ssl_write(ssl, plaintext + start, min(SLICE_BYTES, size - start)) <= 0:
                self._write_failed()
                return
            filled += max(_bio_read(from_ssl, _buffer + filled, _BUFFER_BYTES - filled), 0)
            if filled > _BUFFER_BYTES - SLICE_BYTES - _RECORD_OVERHEAD_BYTES:
                self.transport.write(_view[:filled])
                filled = 0
        if filled:
            self.transport.write(_view[:filled])

    def _write_failed(self) -> None:
        """OpenSSL can't encrypt any more: clear its error queue, so that the next connection doesn't see this error."""
        _lib.ERR_clear_error()
        self.abort()

    def release_buffers(self) -> None:
        """Free the memory of the BIOs, which never shrink: for an idle connection after a large transfer."""
        start = _ffi.new("char **")
        is_empty = not any(_lib.BIO_get_mem_data(bio, start) for bio in (self._into_ssl, self._from_ssl))
        if self._is_established and not self._is_closing and is_empty:
            connection = self.connection
            self._into_ssl = connection._into_ssl = _lib.BIO_new(_lib.BIO_s_mem())
            self._from_ssl = connection._from_ssl = _lib.BIO_new(_lib.BIO_s_mem())
            _lib.SSL_set_bio(self._ssl, self._into_ssl, self._from_ssl)  # frees the old two

    def _flush(self) -> None:
        while (count := _bio_read(self._from_ssl, _buffer, _BUFFER_BYTES)) > 0:
            if not self._is_write_closed:  # a broken record may cause an alert even then
                self.transport.write(_view[:count])

    def close(self) -> None:
        """Send close_notify and close after everything is written."""
        if self._is_closing:
            return
        self._is_closing = True
        self._say_goodbye()
        self.transport.close()

    def _say_goodbye(self) -> None:
        if not self._is_established:
            return
        with contextlib.suppress(SSL.Error):
            self.connection.shutdown()
        self._flush()
        if self.leaves_no_session:
            leave_no_session(self.connection)

    def write_eof(self) -> None:
        """Send close_notify and a FIN, and continue reading (RFC 8446 6.1: each side closes its own direction)."""
        if self._is_closing or self._is_write_closed:
            return
        self._say_goodbye()
        self._is_write_closed = True
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def close_sending(self) -> None:
        """Send close_notify and a FIN; throw away what the client still sends until it closes."""
        if self._is_closing:
            return
        self._is_closing = True
        self._say_goodbye()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def abort(self) -> None:
        """Close at once, without close_notify, so that the client sees a truncated transfer."""
        self._is_closing = True
        self.transport.abort()

    def is_closing(self) -> bool:
        """True after the first call that closes."""
        return self._is_closing

    def untaken_bytes(self) -> int:
        """How many bytes of ciphertext the client has not acknowledged: buffered here and in the kernel."""
        return untaken_bytes(self.transport)

    def pause_reading(self) -> None:
        """Stop reading ciphertext from the socket, and handing on what was read."""
        self._is_paused = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading."""
        self._is_paused = False
        if self._is_closing:
            self._drop_rest()
        if self._has_rest:
            self._wait_turn()
        else:
            self.transport.resume_reading()


def untaken_bytes(transport: asyncio.Transport) -> int:
    """How many bytes the other side of a socket has not acknowledged: buffered here and in the kernel."""
    kernels = b""
    with contextlib.suppress(OSError, ValueError):  # the socket is closed
        if (raw := transport.get_extra_info("socket")) is not None:
            kernels = fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(_C_INT_BYTES))
    return transport.get_write_buffer_size() + int.from_bytes(kernels, sys.byteorder)


def _words(error: SSL.Error) -> str:
    """OpenSSL's reason for a failed handshake, in one line."""
    match error.args:
        case ([*_, (*_, str(reason))],) if reason:
            return reason
        case _:  # close_notify has no reason
            return "the client closed the connection during the handshake"
