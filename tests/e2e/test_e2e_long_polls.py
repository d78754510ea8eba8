"""Requests that wait for an hour: who is gone is noticed on either side, and each server has a patience of its own."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.credentials import OTHER_HOST
from support.gateway import INSIDE, settings_for
from support.waiting import until

from gateway.proxy.client.half_closed import HALF_CLOSED_SECONDS

pytestmark = pytest.mark.e2e

POLL = "/Microsoft-Server-ActiveSync?Cmd=Ping&User=alice&DeviceId=1&DeviceType=SmartPhone"
KEEPALIVE_TIMER = 2
ESTABLISHED = 1
TICKS_PER_SECOND = 100  # as /proc/net/tcp counts


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """Two mail servers behind two sites: one has a second to answer, the other an hour, as by default."""
    settings = settings_for({}, mail.url)
    settings["sites"] = [
        {"hosts": ["mail.example.com"], "upstream": "mail", **credentials.site},
        {"hosts": [OTHER_HOST], "upstream": "impatient", **credentials.site},
    ]
    settings["upstreams"]["impatient"] = {"servers": [mail.url], "timeouts": {"response": "1s"}}
    return start(settings)


@pytest.fixture
def polls(mail):
    """The dialogues of the polls that wait at the mail server, and how each ended for it."""
    waiting, ends = [], []

    def answer(dialogue):
        waiting.append(dialogue)
        ends.append(dialogue.wait_closed())

    mail.answer("/Microsoft-Server-ActiveSync", answer)
    return waiting, ends


@dataclass(frozen=True)
class Socket:
    """A worker's TCP socket, as the kernel shows it."""

    local: tuple[str, int]
    peer: tuple[str, int]
    timer: int
    seconds: float  # until the timer ends


def sockets_of(pid: int) -> list[Socket]:
    """The established connections of a process."""
    inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = []
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, peer, state, _, timer, _, _, _, inode, *_ = line.split()
        if f"socket:[{inode}]" in inodes and int(state, 16) == ESTABLISHED:
            kind, when = (int(part, 16) for part in timer.split(":"))
            found.append(Socket(_address(local), _address(peer), kind, when / TICKS_PER_SECOND))
    return found


def _address(text: str) -> tuple[str, int]:
    host, port = text.split(":")
    return socket.inet_ntoa(struct.pack("=I", int(host, 16))), int(port, 16)


def test_the_kernel_asks_both_sides_of_a_silent_poll_whether_they_are_still_there(gateway, mail, polls, wire):
    waiting, _ = polls
    (worker,) = gateway.workers()
    with wire.client(gateway.port) as phone:
        phone.start("POST", POLL, length=0)
        until(lambda: waiting, "the poll waits")

        def watched() -> list[Socket]:
            return [each for each in sockets_of(worker) if each.timer == KEEPALIVE_TIMER]

        until(lambda: len(watched()) == 2, "both sides are watched")
        patience = {
            each.local[1] if each.local[1] == gateway.port else each.peer[1]: each.seconds for each in watched()
        }
        assert patience.keys() == {gateway.port, mail.port}
        assert 250 < patience[gateway.port] <= 300
        assert 30 < patience[mail.port] <= 60


def test_a_phone_that_crashes_frees_the_mail_servers_connection_at_once(gateway, mail, polls, wire):
    waiting, ends = polls
    phone = wire.client(gateway.port)
    phone.start("POST", POLL, length=0)
    until(lambda: waiting, "the poll waits")
    phone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    phone.close()
    until(lambda: ends, "the mail server's connection is closed", seconds=HALF_CLOSED_SECONDS / 2)
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["bytes_out"], record["client_ip"]) == (None, 0, INSIDE)


def test_phones_that_may_be_gone_free_the_mail_servers_connections_soon(gateway, mail, polls, wire):
    """One says goodbye and waits for ours, one hangs up: TCP tells no difference to one that reads on.

    Over HTTP/2 there is none: a client that only stops asking doesn't close its side.
    """
    waiting, ends = polls
    phones = [wire.client(gateway.port), wire.client(gateway.port)]
    for phone in phones:
        phone.start("POST", POLL, length=0)
    until(lambda: len(waiting) == 2, "the polls wait")
    begun = time.monotonic()
    phones[1].close()
    if wire.is_http2:
        phones[0].close()
    else:
        phones[0].say_goodbye()
    until(lambda: len(ends) == 2, "the mail server's connections are closed")  # long before it must answer
    assert wire.is_http2 or time.monotonic() - begun >= HALF_CLOSED_SECONDS - 1
    for request in mail.received:
        record = gateway.log.of(request.request_id)
        assert (record["status"], record["bytes_out"], record["client_ip"]) == (None, 0, INSIDE)


def test_each_mail_server_has_its_own_time_to_answer(gateway, polls, wire):
    waiting, _ = polls
    with wire.client(gateway.port) as patient, wire.client(gateway.port, server_name=OTHER_HOST) as impatient:
        poll = patient.start("POST", POLL, length=0)
        until(lambda: waiting, "the first poll waits")
        assert impatient.ask("POST", POLL, "Content-Length: 0").verdict == (504, "upstream_timeout")
        waiting[0].answer(b"something new")
        assert poll.answer().body == b"something new"
