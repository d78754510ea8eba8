"""A client that says that it has said all, right behind its request: the answer is delivered whole."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading

import pytest
from support.client import VERSIONS, Client
from support.gateway import INSIDE
from support.waiting import AT_ONCE_SECONDS, until

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
ENDS = ("close_notify", "close_notify and FIN", "FIN")

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
all_ends = pytest.mark.parametrize("end", ENDS)


def finish(client, end: str) -> None:
    """Say so, and go on reading."""
    if "close_notify" in end:
        timeout = client.socket.gettimeout()
        client.socket.setblocking(False)
        with contextlib.suppress(ssl.SSLWantReadError):  # the gateway's own, which comes behind the answer
            client.socket.unwrap()
        client.socket.settimeout(timeout)
    if "FIN" in end:
        socket.socket.shutdown(client.socket, socket.SHUT_WR)


def ends_well(client) -> bool:
    """True where the gateway's close_notify is next."""
    try:
        return client.socket.recv(1) == b""
    except ssl.SSLZeroReturnError:  # as Python puts it behind a close_notify of its own
        return True


@both_versions
@all_ends
def test_the_answer_to_the_last_request_is_delivered_whole(gateway, mail, version, end):
    """It begins only when the end has long been there."""
    body, may_answer = os.urandom(2 * MIB), threading.Event()

    def answer(dialogue):
        may_answer.wait(AT_ONCE_SECONDS)
        dialogue.answer(dialogue.read_body() + body)

    mail.answer("/webmail", answer)
    with Client(gateway.port, version=version) as client:
        client.send(client.request("POST", "/webmail", body=b"hello"))
        finish(client, end)
        until(lambda: mail.received, "the request is there")
        may_answer.set()
        got = client.answer()
        assert ends_well(client)
    assert (got.status, got.body == b"hello" + body) == (200, True)
    assert gateway.log.of(got.get("X-Request-Id"))["bytes_out"] == len(got.body)


@both_versions
@all_ends
def test_so_are_the_answers_to_pipelined_requests_and_refusals(gateway, mail, version, end):
    targets = ["/webmail/1", "/webmail/admin", "/webmail/2", *["/webmail/admin"] * 8, "/webmail/3"]
    may_answer = threading.Event()

    def answer(dialogue):
        may_answer.wait(AT_ONCE_SECONDS)
        dialogue.answer(b"first")

    mail.answer("/webmail/1", answer)  # what comes while OpenSSL waits for a close_notify is an error to it
    with Client(gateway.port, version=version) as client:
        client.send(b"".join(client.request("GET", target) for target in targets))
        finish(client, end)
        may_answer.set()
        answers = [client.answer() for _ in targets]
        assert ends_well(client)
    assert [answer.status for answer in answers] == [403 if "admin" in target else 200 for target in targets]
    assert answers[-1].get("Connection") == "close"
    assert len(mail.received) == 3


@all_ends
def test_half_a_body_gets_no_answer_and_is_on_record(gateway, mail, end):
    mail.answer("/webmail", lambda dialogue: dialogue.wait_closed())
    with Client(gateway.port) as client:
        client.send(client.request("POST", "/webmail", "Content-Length: 10") + b"hello")
        until(lambda: mail.received, "the request is there")
        finish(client, end)
        with contextlib.suppress(ssl.SSLError):
            assert client.socket.recv(1) == b""
    assert gateway.log.of(mail.only().request_id)["status"] is None


def test_a_client_that_goes_after_its_end_frees_the_mail_server_at_once(gateway, mail):
    ends = []

    def answer(dialogue):
        ends.append(dialogue.wait_closed())

    mail.answer("/webmail/poll", answer)
    client = Client(gateway.port)
    client.send(client.request("GET", "/webmail/poll"))
    until(lambda: mail.received, "the poll waits")
    finish(client, "close_notify")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: ends, "the mail server's connection is closed", seconds=AT_ONCE_SECONDS / 2)
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["client_ip"]) == (None, INSIDE)


def test_what_comes_behind_a_close_notify_is_ignored(gateway, mail):
    """Megabytes of it cost no memory, and are no request."""
    may_answer = threading.Event()

    def answer(dialogue):
        may_answer.wait(AT_ONCE_SECONDS)
        dialogue.answer(b"hello")

    mail.answer("/webmail", answer)
    with Client(gateway.port) as client:
        client.send(client.request("GET", "/webmail"))
        finish(client, "close_notify")
        until(lambda: mail.received, "the request is there")
        before = gateway.resident_bytes()
        raw = socket.socket(fileno=os.dup(client.socket.fileno()))
        with raw:
            for _ in range(64):
                raw.sendall(b"\x17\x03\x03\x3f\xfb" + bytes(16379))
            raw.sendall(b"\x17\x03\x03\x3f\xfb" * 200_000)
        may_answer.set()
        assert client.answer().body == b"hello"
        assert gateway.resident_bytes() - before < MIB
    assert len(mail.received) == 1
