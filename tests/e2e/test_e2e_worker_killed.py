"""A worker that is killed under load: its connections go with it, another one takes its place, and the counts go on."""

from __future__ import annotations

import os
import signal
import ssl

import pytest
from support.census import census_of, state_of
from support.client import Client, context_for
from support.crowd import Bystander, gather
from support.gateway import INSIDE, free_port, settings_for
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

SOME = 50
TRUNCATED = (EOFError, ConnectionResetError, ssl.SSLEOFError)


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """Nobody may have more connections than the test itself."""
    limits = {"connections_per_ip": SOME}
    settings = settings_for(credentials.site, mail.url, limits=limits, admin={"address": f"{INSIDE}:{free_port()}"})
    settings["upstreams"]["mail"]["timeouts"] = {"idle": "1s"}
    return start(settings)


def passed(gateway) -> int:
    """Answers of the mail server that were counted."""
    return sum(answer["count"] for answer in state_of(gateway)["answers"] if answer["reason"] is None)


def idle(gateway):
    """The census, as soon as nothing is under way."""
    until(lambda: not census_of(gateway).connections and not census_of(gateway).idle, "nothing is open")
    return census_of(gateway)


def test_a_worker_is_killed_under_load(gateway, mail, credentials, outside, outsiders):
    mail.answer("/webmail/load", lambda dialogue: dialogue.answer(dialogue.request.target))
    mail.answer("/webmail/poll", lambda dialogue: dialogue.wait_closed())
    context = context_for(None, credentials["alice"])
    before = idle(gateway)
    (victim,) = gateway.workers()
    gateway.expected_errors.append(rf"worker {victim} ")

    crowd = gather(SOME, lambda: Client(gateway.port, source=outside, context=context))
    for client in crowd:
        assert client.ask("GET", "/webmail/load").body == b"/webmail/load"
    until(lambda: passed(gateway) == SOME, "the status has heard of them")
    for client in crowd:
        client.send(client.request("GET", "/webmail/poll"))
    until(lambda: census_of(gateway).busy == SOME, "all polls are under way")
    os.kill(victim, signal.SIGKILL)
    for client in crowd:
        with client, pytest.raises(TRUNCATED):
            client.read(1)

    until(lambda: gateway.workers() not in ([], [victim]), "another worker is there")
    with Bystander(lambda: Client(gateway.port, source=outsiders(), context=context), "/webmail/load") as other:
        other.is_served()
        again = gather(SOME, lambda: Client(gateway.port, source=outside, context=context))  # as many as before
        for client in again:
            assert client.ask("GET", "/webmail/load").status == 200
            client.close()
    assert state_of(gateway)["worker_restarts"] == 1
    until(lambda: [worker["is_answering"] for worker in state_of(gateway)["workers"]] == [True], "it answers")
    assert passed(gateway) >= 2 * SOME
    assert idle(gateway) == before
    gateway.note_open_files()
