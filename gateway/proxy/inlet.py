"""What a client sent before anybody can take it, and when the client is stopped.

Keeps true: what is held is bounded by `MAX_HELD_BYTES` and one record, or by the limit of a header; reading goes on
only when nothing wants it stopped: neither the bound, nor an upstream that is slower than the client, nor the turn of
other clients.
"""

from __future__ import annotations

from typing import Final

from gateway.tls.layer import TlsLayer

# Pipelined requests, or a body for an upstream that is not connected yet; more is left in the socket.
MAX_HELD_BYTES: Final = 64 * 1024


class Inlet:
    """The way in from one client's TLS layer."""

    __slots__ = ("_is_full", "_layer", "held", "is_stopped", "is_waiting")

    def __init__(self, layer: TlsLayer) -> None:
        self._layer = layer
        self.held = b""
        self._is_full = False
        self.is_stopped = False  # the upstream is slower than the client
        self.is_waiting = False  # others are served before what is held

    def hold(self, data: bytes) -> None:
        """Keep bytes until they can be taken."""
        self.held += data
        if len(self.held) > MAX_HELD_BYTES and not self._is_full:
            self._is_full = True
            self._layer.pause_reading()

    def put_back(self, data: bytes) -> None:
        """Keep an unfinished head, which has a limit of its own."""
        self.held = data

    def take(self) -> bytes:
        """What is held, which is the caller's now."""
        data, self.held = self.held, b""
        if self._is_full:
            self._is_full = False
            self._resume()
        return data

    def drop(self) -> None:
        """Forget what is held; it is not going to be taken."""
        self.held = b""

    def stop(self) -> None:
        """Read no more until `go_on`."""
        self.is_stopped = True
        self._layer.pause_reading()

    def go_on(self) -> None:
        """The upstream can take more."""
        self.is_stopped = False
        self._resume()

    def wait(self) -> None:
        """Read no more until `waited`."""
        self.is_waiting = True
        self._layer.pause_reading()

    def waited(self) -> None:
        """The others have been served."""
        self.is_waiting = False
        self._resume()

    def _resume(self) -> None:
        if not (self._is_full or self.is_stopped or self.is_waiting):
            self._layer.resume_reading()
