"""An answer that comes before the upload's end reaches a client that uploads slowly, and reads only then."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.gateway import INSIDE, OUTSIDE, settings_for
from support.wire import EVERY_WIRE

pytestmark = pytest.mark.e2e

KIB = 1024
PIECE_BYTES = 32 * KIB
PIECES = 18
PAUSE_SECONDS = 0.25  # four and a half seconds in all, and half a MiB: longer than a brief linger, more than a drain
LENGTH = PIECE_BYTES * PIECES


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    return start(settings_for(credentials.site, mail.url, limits={"body": LENGTH}))


def early(*fields: bytes):
    """The mail server's answer to the head alone."""

    def answer(dialogue):
        dialogue.answer(b"who are you?", *fields, status=b"401 Unauthorized")
        dialogue.wait_closed()

    return answer


by_version = pytest.mark.parametrize("wire", EVERY_WIRE, ids=str)

# target, where it comes from, the length that it announces, extra fields, the answer's status
CASES = {
    "too large": ("/webmail", INSIDE, LENGTH + 1, (), 413),
    "no certificate": ("/webmail", OUTSIDE, LENGTH, (), 403),
    "no rule, and the client wants to close": ("/webmail/admin", INSIDE, LENGTH, ("Connection: close",), 403),
    "the mail server says so": ("/webmail/early", INSIDE, LENGTH, (), 401),
    "the mail server says so and closes": ("/webmail/closing", INSIDE, LENGTH, (), 401),
    "no request at all": ("/webmail", INSIDE, LENGTH, ("No-Colon",), 400),
}
ONLY_HTTP1 = ("no rule, and the client wants to close", "no request at all")


def upload(port, wire, case) -> tuple[int, bool]:
    """(the status that is read after all is sent, True where the connection, or the stream, ends well behind it)."""
    target, source, length, fields, _ = case
    pause = threading.Event()
    with wire.client(port, source=source) as client:
        exchange = client.start("POST", target, *fields, length=length)
        for _ in range(PIECES - 1):
            exchange.send(bytes(PIECE_BYTES))
            pause.wait(PAUSE_SECONDS)
        return exchange.answer().status, exchange.is_over()


def test_a_slow_upload_reads_the_whole_answer_and_no_reset_before_it(gateway, mail):
    mail.answer("/webmail/early", early())
    mail.answer("/webmail/closing", early(b"Connection: close"))
    begun = time.monotonic()
    with ThreadPoolExecutor(len(CASES) * len(EVERY_WIRE)) as pool:
        uploads = {
            (name, wire): pool.submit(upload, gateway.port, wire, case)
            for name, case in CASES.items()
            for wire in EVERY_WIRE
            if not (wire.is_http2 and name in ONLY_HTTP1)
        }
    assert time.monotonic() - begun > PAUSE_SECONDS * (PIECES - 1)
    assert {key: each.result() for key, each in uploads.items()} == {key: (CASES[key[0]][-1], True) for key in uploads}


@by_version
def test_curl_with_a_slow_line_reads_why_its_upload_was_refused(gateway, credentials, tmp_path, wire):
    attachment = tmp_path / "attachment"
    attachment.write_bytes(bytes(LENGTH + 1))
    answer = wire.curl(
        gateway.port,
        "/webmail",
        *("--limit-rate", "100k", "--header", "Expect:", "--data-binary", f"@{attachment}"),
        ca=credentials.server_ca,
    )
    assert answer.verdict == (413, "body_too_large")


@by_version
def test_a_refusal_by_a_server_that_closes_at_once_reaches_a_fast_upload(gateway, mail, wire):
    """The reset that follows may fail a write to the server before its answer was read."""

    def answer(dialogue):
        dialogue.read_some(100)
        dialogue.answer(b"too large", b"Connection: close", status=b"413 Content Too Large")
        dialogue.drop()

    mail.answer("/webmail", answer)
    for _ in range(10):
        with wire.client(gateway.port) as client:
            exchange = client.start("POST", "/webmail", length=LENGTH)
            for _ in range(PIECES - 1):
                exchange.send(bytes(PIECE_BYTES))
            assert exchange.answer().body == b"too large"
