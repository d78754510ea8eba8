"""Mail servers that read an upload slowly, or not at all: they have the time for an answer, and not the client's."""

from __future__ import annotations

import ssl
import threading
import time

import pytest
from support.gateway import HOST, settings_for
from support.mail import MailServer
from support.waiting import PATIENCE_SECONDS
from support.wire import WIRES_BY_VERSION

pytestmark = pytest.mark.e2e

# A client that sends as fast as it can is still not cut off where the machine lets it wait for a while.
CLIENT_SECONDS, PATIENT_SECONDS, BRISK_SECONDS = 3, 7, 1
FILL_SECONDS = 1.0  # until it waits for the server: two threads must not be in one connection's OpenSSL at once
SIZE = 24 * 1024 * 1024  # more than the kernel takes for anybody
HOSTS = {"http": f"http.{HOST}", "https": f"https.{HOST}"}
BRISK = f"brisk.{HOST}"


@pytest.fixture(scope="module")
def secure_mail(credentials):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.folder / "mailhost.crt", credentials.folder / "mailhost.key")
    server = MailServer(context)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, mail, secure_mail):
    """A client may say nothing for less time than a mail server."""
    limits = {"transfer_idle": f"{CLIENT_SECONDS}s", "body_bytes_per_second": 1000}
    settings = settings_for(credentials.site, mail.url, limits=limits)
    patient = {"timeouts": {"response": f"{PATIENT_SECONDS}s"}}
    tls = {"ca": str(credentials.folder / "serverCA.crt"), "server_name": "mail.internal"}
    settings["upstreams"] |= {
        "http": {"servers": [mail.url], **patient},
        "https": {"servers": [secure_mail.url], "tls": tls, **patient},
        "brisk": {"servers": [mail.url], "timeouts": {"response": f"{BRISK_SECONDS}s"}},
    }
    for name in ("http", "https", "brisk"):
        settings["sites"].append({"hosts": [f"{name}.{HOST}"], "upstream": name, **credentials.site})
    return start(settings)


@pytest.fixture
def server(scheme, mail, secure_mail):
    yield mail if scheme == "http" else secure_mail
    secure_mail.forget()


def upload(client):
    """Send all of it, while the answer is read elsewhere; the exchange, and the thread that sends."""
    exchange = client.start("POST", "/webmail", length=SIZE)
    thread = threading.Thread(target=exchange.send, args=(bytes(SIZE),))
    thread.start()
    thread.join(FILL_SECONDS)
    return exchange, thread


@pytest.mark.parametrize(("scheme", "wire"), list(zip([*HOSTS, "http"], WIRES_BY_VERSION, strict=True)))
def test_a_server_that_stops_reading_for_a_while_is_waited_for(gateway, scheme, server, wire):
    def answer(dialogue):
        threading.Event().wait(CLIENT_SECONDS + 1.5)  # the client's time, and all of what it is rounded up by
        assert len(dialogue.read_body()) == SIZE
        dialogue.answer(b"done")

    server.answer("/webmail", answer)
    with wire.client(gateway.port, server_name=HOSTS[scheme]) as client:
        exchange, thread = upload(client)
        got = exchange.answer()
        thread.join()
    assert (got.status, got.body) == (200, b"done")


@pytest.mark.parametrize("scheme", ["https"])
def test_a_server_that_stops_reading_for_good_is_the_one_to_blame(gateway, scheme, server, wire):
    may_end = threading.Event()
    server.answer("/webmail", lambda _: may_end.wait(PATIENCE_SECONDS))
    begun = time.monotonic()
    with wire.client(gateway.port, server_name=HOSTS[scheme]) as client:
        exchange, thread = upload(client)
        answer = exchange.answer()
        may_end.set()
        thread.join()
    assert answer.verdict == (504, "upstream_timeout")
    assert time.monotonic() - begun >= PATIENT_SECONDS
    record = gateway.log.of(answer.get("X-Request-Id"))
    cause = f"the upstream read nothing of the request's body for {PATIENT_SECONDS} s"
    assert (record["status"], record["reason"], record["detail"]) == (504, "upstream_timeout", cause)
    gateway.says(f"request {record['request_id']}: {cause}")


def test_a_server_that_reads_slowly_without_a_break_is_not_cut(gateway, mail, wire):
    """The kernel has megabytes for it, so its socket takes nothing more for longer than the limit."""

    def answer(dialogue):
        pause, begun, size = threading.Event(), time.monotonic(), 0
        while time.monotonic() - begun < 4 * BRISK_SECONDS + 2:
            size += len(dialogue.read_some(4096))
            pause.wait(0.02)
        while size < SIZE:
            size += len(dialogue.read_some(min(65536, SIZE - size)))
        dialogue.answer(b"done")

    mail.answer("/webmail", answer)
    with wire.client(gateway.port, server_name=BRISK) as client:
        exchange, thread = upload(client)
        got = exchange.answer()
        thread.join()
    assert (got.status, got.body) == (200, b"done")
