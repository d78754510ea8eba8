"""The interface through which the record layer hands plaintext to the HTTP side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Application(Protocol):
    """The HTTP side of a connection, as a `TlsLayer` calls it."""

    def handshake_done(self) -> None:
        """The handshake is finished; the peer certificate can be asked for."""

    def handshake_failed(self, cause: str) -> None:
        """The handshake failed for `cause`; `connection_lost` follows."""

    def data_received(self, data: bytes) -> None:
        """Handle plaintext from the client."""

    def discarded(self, count: int) -> None:
        """Note that `count` bytes of ciphertext arrived after the end of the connection and were thrown away."""

    def eof_received(self) -> bool:
        """The client will send no more; return True to continue writing to it."""

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""

    def pause_writing(self) -> None:
        """The client reads slowly: write nothing more until `resume_writing`."""

    def resume_writing(self) -> None:
        """The client has caught up."""

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` after other clients have been served."""
