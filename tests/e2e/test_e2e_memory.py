"""Bodies stream: 64 MiB both ways cost the gateway next to no memory, and a peer that doesn't read stops the other."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from support.client import Client
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
SIZE = 64 * MIB
MOST_BYTES = 16 * MIB
PIECE = bytes(range(256)) * 1024  # 256 KiB
STALL_SECONDS = 0.3


def peak_bytes(gateway) -> int:
    """The most memory that the worker ever had."""
    (pid,) = gateway.workers()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


@pytest.fixture
def grows_little(gateway):
    with Client(gateway.port) as client:  # what the first request costs is no part of it
        assert client.ask("POST", "/webmail", body=bytes(MIB)).status == 200
    before = peak_bytes(gateway)
    yield
    assert peak_bytes(gateway) - before < MOST_BYTES


def digest(pieces) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


EXPECTED = digest(PIECE for _ in range(SIZE // len(PIECE)))


@pytest.mark.usefixtures("grows_little")
@pytest.mark.parametrize("framing", [f"Content-Length: {SIZE}", "Transfer-Encoding: chunked"])
def test_an_upload(gateway, mail, framing):
    received = []

    def answer(dialogue):
        total, count = hashlib.sha256(), 0
        is_chunked = "chunked" in framing
        while count < SIZE:
            data = dialogue.read_chunk() if is_chunked else dialogue.read_some(min(65536, SIZE - count))
            total.update(data)
            count += len(data)
        if is_chunked:
            assert dialogue.read_chunk() == b""
        received.append(total.hexdigest())
        dialogue.answer(b"done")

    mail.answer("/webmail", answer)
    with Client(gateway.port) as client:
        client.send(client.request("POST", "/webmail", framing))
        for _ in range(SIZE // len(PIECE)):
            client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if "chunked" in framing else PIECE)
        if "chunked" in framing:
            client.send(b"0\r\n\r\n")
        assert client.answer().body == b"done"
    assert received == [EXPECTED]


@pytest.mark.usefixtures("grows_little")
@pytest.mark.parametrize("framing", [b"Content-Length: %d" % SIZE, b"Transfer-Encoding: chunked"])
def test_a_download_by_a_client_that_takes_its_time(gateway, mail, framing):
    """It reads nothing until the mail server can send no more: the gateway has stopped it."""
    is_stalled = threading.Event()

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        for _ in range(SIZE // len(PIECE)):
            piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if b"chunked" in framing else PIECE
            dialogue.send_patiently(piece, is_stalled, STALL_SECONDS)
        if b"chunked" in framing:
            dialogue.send(b"0\r\n\r\n")

    mail.answer("/webmail", answer)
    with Client(gateway.port) as client:
        client.send(client.request("GET", "/webmail"))
        assert is_stalled.wait(PATIENCE_SECONDS)
        got = client.answer()
    assert digest([got.body]) == EXPECTED


@pytest.mark.usefixtures("grows_little")
def test_an_upload_to_a_mail_server_that_takes_its_time(gateway, mail):
    """It reads nothing until the client can send no more."""
    is_stalled = threading.Event()
    received = []

    def answer(dialogue):
        assert is_stalled.wait(PATIENCE_SECONDS)
        received.append(digest(dialogue.read_some(65536) for _ in range(SIZE // 65536)))
        dialogue.answer(b"done")

    mail.answer("/webmail", answer)
    with Client(gateway.port) as client:
        client.send(client.request("POST", "/webmail", f"Content-Length: {SIZE}"))
        for _ in range(SIZE // len(PIECE)):
            client.send_patiently(PIECE, is_stalled, STALL_SECONDS)
        assert client.answer().body == b"done"
    assert received == [EXPECTED]
