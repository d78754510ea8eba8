"""Buffers what a client sends before it can be processed, and pauses the client.

Keeps true: at most `MAX_HELD_BYTES` and one record are held, or a header up to its limit. Reading continues only if no
reason to pause is left: a full buffer, an upstream slower than the client, or other clients' turn.
"""

from __future__ import annotations

from typing import Final

from gateway.tls.layer import TlsLayer

# Pipelined requests, or a body for an upstream that is not connected yet; more stays in the socket.
MAX_HELD_BYTES: Final = 64 * 1024


class ReceiveBuffer:
    """The input buffer of one client's TLS layer."""

    __slots__ = ("_is_full", "_layer", "held", "is_stopped", "is_waiting")

    def __init__(self, layer: TlsLayer) -> None:
        self._layer = layer
        self.held = b""
        self._is_full = False
        self.is_stopped = False  # the upstream is slower than the client
        self.is_waiting = False  # other clients are served before the held data

    def hold(self, data: bytes) -> None:
        """Keep bytes until `take`."""
        self.held += data
        if len(self.held) > MAX_HELD_BYTES and not self._is_full:
            self._is_full = True
            self._layer.pause_reading()

    def put_back(self, data: bytes) -> None:
        """Keep an unfinished head, which has a separate limit."""
        self.held = data

    def take(self) -> bytes:
        """Return the held bytes and forget them."""
        data, self.held = self.held, b""
        if self._is_full:
            self._is_full = False
            self._resume()
        return data

    def drop(self) -> None:
        """Forget the held bytes."""
        self.held = b""

    def stop(self) -> None:
        """Pause reading until `go_on`."""
        self.is_stopped = True
        self._layer.pause_reading()

    def go_on(self) -> None:
        """Continue reading: the upstream can take more."""
        self.is_stopped = False
        self._resume()

    def wait(self) -> None:
        """Pause reading until `waited`."""
        self.is_waiting = True
        self._layer.pause_reading()

    def waited(self) -> None:
        """Continue reading: other clients have been served."""
        self.is_waiting = False
        self._resume()

    def _resume(self) -> None:
        if not (self._is_full or self.is_stopped or self.is_waiting):
            self._layer.resume_reading()
