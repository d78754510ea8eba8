"""Both ends of the gateway's connections: what it writes is kept, and what it must not do raises."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL, crypto
from support import pki
from support.dialogue.messages import HOST

from gateway.config.model import Server
from gateway.facts import parse_address
from gateway.proxy.client.connection import ClientConnection
from gateway.proxy.upstream.connection import UpstreamConnection
from gateway.tls.proxy_protocol import Endpoint

if TYPE_CHECKING:
    from support.dialogue.world import World

HIGH_WATER_BYTES = 64 * 1024  # a transport's, as uvloop has it
_GONE = socket.socket()  # nothing is behind an end
_GONE.close()


class Transport:
    """An end as the gateway sees it: what it writes is kept, and what it must not do raises."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.heard = bytearray()
        self.unread_bytes = 0  # written by the gateway, and not taken by the other side while it is slow
        self.is_slow = False
        self.is_paused = False  # for reading, by the gateway
        self.has_said_eof = False
        self.is_lost = False
        self._is_closing = False
        self._is_write_paused = False

    # what the gateway calls

    def write(self, data: bytes) -> None:
        if self.is_lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        if self.has_said_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_closing:
            return
        self.heard += data
        if self.is_slow:
            self.unread_bytes += len(data)
            if self.unread_bytes > HIGH_WATER_BYTES and not self._is_write_paused:
                self._is_write_paused = True
                self._protocol().pause_writing()

    def is_closing(self) -> bool:
        return self._is_closing

    def get_extra_info(self, name: str) -> Any:  # noqa: ARG002
        return None

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.is_lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.has_said_eof = True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self.unread_bytes:
                self.world.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self.is_lost:
            self._is_closing = True
            self.world.loop.call_soon(self._lose, None)

    # what the other side does

    def hears(self) -> bytes:
        """What came since the last time."""
        data = bytes(self.heard)
        self.heard.clear()
        return data

    def reads(self) -> None:
        """It catches up with everything, and stays quick."""
        self.is_slow = False
        self.unread_bytes = 0
        if self._is_write_paused and not self.is_lost:
            self._is_write_paused = False
            self.world.does(self._protocol().resume_writing)
        if self._is_closing:
            self.world.does(self._lose, None)

    def says(self, data: bytes) -> None:
        """It sends, whether or not the gateway reads: what is on its way when reading is paused still comes."""
        if not (self.is_lost or self._is_closing):
            self.world.does(self._protocol().data_received, data)

    def takes(self, count: int) -> None:
        """It reads so much, which is not enough for anybody to be told so."""
        self.unread_bytes -= count

    def goes(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.world.does(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if not self.is_lost:
            self.is_lost = self._is_closing = True
            self._protocol().connection_lost(error)

    def _protocol(self) -> Any:
        raise NotImplementedError


class ServerEnd(Transport):
    """An upstream server's end of one connection."""

    def __init__(self, world: World, protocol: UpstreamConnection, server: Server, options: dict[str, Any]) -> None:
        super().__init__(world)
        self.protocol = protocol
        self.server = server
        self.options = options  # ssl, server_hostname
        self.kernel: socket.socket = _GONE  # what a reset has left unread can be read from it

    def _protocol(self) -> UpstreamConnection:
        return self.protocol

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.kernel}.get(name)

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def closes(self) -> None:
        """It says its last word, and its connection goes as asyncio lets it go."""
        if not self.is_lost and not self.world.does(self.protocol.eof_received):
            self.world.does(self._lose, None)


class FakeTls:
    """What `peer_certificates` and the log ask of a TLS connection."""

    def __init__(self, leaf: pki.Leaf | None) -> None:
        self._leaf = leaf

    def get_peer_certificate(self) -> crypto.X509 | None:
        return None if self._leaf is None else crypto.X509.from_cryptography(self._leaf.certificate)

    def get_peer_cert_chain(self) -> list[crypto.X509]:
        return [] if self._leaf is None else [crypto.X509.from_cryptography(each) for each in self._leaf.chain]

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_128_GCM_SHA256"


class ClientEnd(Transport):
    """A client, and the TLS layer between it and the gateway, without the TLS."""

    group_name = "X25519MLKEM768"
    is_resumed = False
    leaves_no_session = False
    local = Endpoint(parse_address("127.0.0.1"), 443)

    def __init__(self, world: World, leaf: pki.Leaf | None) -> None:
        super().__init__(world)
        self.connection = FakeTls(leaf)
        self.is_established = False
        self.was_aborted = False
        self.buffers_released = 0
        self.protocol = b""  # by ALPN
        self.application: ClientConnection

    def _protocol(self) -> ClientConnection:
        return self.application

    def write(self, data: bytes) -> None:
        if not self._is_closing and not self.has_said_eof:
            super().write(data)

    def release_buffers(self) -> None:
        self.buffers_released += 1

    def untaken_bytes(self) -> int:
        return self.unread_bytes

    def says(self, data: bytes) -> None:
        """It sends; behind the connection's end the layer throws it away, and says how much it was."""
        if self._is_closing and not self.is_lost:
            self.world.does(self.application.discarded, len(data))
        else:
            super().says(data)

    def close_sending(self) -> None:
        """close_notify and FIN; what the client still says is thrown away by the layer."""
        self._is_closing = True

    def abort(self) -> None:
        self.was_aborted = True
        super().abort()

    @property
    def is_open(self) -> bool:
        """True while the client may say something that is listened to."""
        return not self._is_closing


class SocketEnd(Transport):
    """A client at an accepted socket: what it says are the bytes on the wire."""

    def __init__(self, world: World, protocol: Any, peer: tuple[str, int] | None) -> None:
        super().__init__(world)
        self.protocol = protocol
        self.peer = peer
        world.does(protocol.connection_made, self)

    def _protocol(self) -> Any:
        return self.protocol

    def get_extra_info(self, name: str) -> Any:
        return {"peername": self.peer, "sockname": ("127.0.0.1", 443), "socket": _GONE}[name]

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class TlsClient:
    """OpenSSL's client at an accepted socket."""

    def __init__(self, end: SocketEnd, host: str | None = HOST, leaf: pki.Leaf | None = None) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if leaf is not None:
            context.use_certificate(leaf.certificate)
            context.use_privatekey(leaf.key)
        self.end = end
        self.connection = SSL.Connection(context, None)
        if host is not None:
            self.connection.set_tlsext_host_name(host.encode("ascii"))
        self.connection.set_connect_state()
        self.asked_names: list[Any] = []

    def shakes_hands(self) -> None:
        """As far as the gateway lets it. Raises `SSL.Error` at an alert."""
        for _ in range(10):
            try:
                self.connection.do_handshake()
                break
            except SSL.WantReadError:
                self._exchange()
        self.asked_names = self.connection.get_client_ca_list()
        self._exchange()

    def says(self, data: bytes) -> None:
        self.connection.send(data)
        self._exchange()

    def hears(self) -> bytes:
        """Plaintext that has come."""
        self._exchange()
        found = b""
        while True:
            try:
                found += self.connection.recv(65536)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                return found

    def _exchange(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.end.says(self.connection.bio_read(65536))
        if data := self.end.hears():
            self.connection.bio_write(data)
