"""What the record layer expects of whoever reads and writes the plaintext."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Application(Protocol):
    """What a `TlsLayer` talks to: the HTTP side of a connection."""

    def handshake_done(self) -> None:
        """The handshake is finished; the peer certificate can be asked for."""

    def handshake_failed(self, cause: str) -> None:
        """The handshake won't finish; `connection_lost` follows."""

    def data_received(self, data: bytes) -> None:
        """Plaintext."""

    def discarded(self, count: int) -> None:
        """Ciphertext that came after the connection's end, and was thrown away."""

    def eof_received(self) -> bool:
        """The client will send no more; True to go on writing to it."""

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""

    def pause_writing(self) -> None:
        """Stop writing."""

    def resume_writing(self) -> None:
        """Write again."""

    def wait_turn(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when others have been served."""
