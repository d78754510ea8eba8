"""Sending to somebody who doesn't read."""

from __future__ import annotations

import socket
import threading


def send_patiently(sock: socket.socket, data: bytes, is_stalled: threading.Event, seconds: float) -> None:
    """Send all of `data`; sets `is_stalled` when nothing of it was taken for so many seconds, and then goes on."""
    view = memoryview(data)
    before = sock.gettimeout()
    while view:
        sock.settimeout(before if is_stalled.is_set() else seconds)
        try:
            view = view[sock.send(view) :]
        except TimeoutError:
            is_stalled.set()
    sock.settimeout(before)
