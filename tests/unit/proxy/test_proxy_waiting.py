"""A request that waits for its certificate's status: every way in which the wait ends, each once."""

import asyncio
from types import SimpleNamespace

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.proxy.waiting import WAIT_SECONDS, StatusWait


class Client:
    """Writes down what becomes of the request."""

    def __init__(self):
        self.deadline = 0.0
        self.done = []

    def catch_up(self):
        """There was no reload."""

    def status_known(self, _wait):
        self.done.append("known")

    def refuse_exchange(self, error, head, record):
        self.done.append((error.reason, head, record.uri))

    def log(self, record):
        self.done.append(f"logged {record.uri}")


def dialogue(talk):
    async def main():
        client, answered = Client(), asyncio.Event()
        question = asyncio.ensure_future(answered.wait())
        wait = StatusWait(client, question, "head", SimpleNamespace(method="GET", uri=b"/webmail"))
        wait.start()
        talk(wait)
        answered.set()
        await question
        await asyncio.sleep(0)
        return client, wait

    return asyncio.run(main())


def test_it_goes_on_when_the_answer_is_there_and_then_nothing_ends_it_again():
    client, wait = dialogue(lambda _: None)
    assert client.done == ["known"]
    assert client.deadline > WAIT_SECONDS
    wait.client_gone()
    wait.on_deadline()
    assert client.done == ["known"]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (StatusWait.client_gone, "logged b'/webmail'"),
        (StatusWait.on_deadline, (Reason.REVOCATION_UNKNOWN, "head", b"/webmail")),
        (
            lambda wait: wait.fail(RequestError(Reason.HOST_MISMATCH, "the site is gone")),
            (Reason.HOST_MISMATCH, "head", b"/webmail"),
        ),
    ],
)
def test_an_answer_after_the_end_changes_nothing(end, outcome):
    client, wait = dialogue(end)
    assert client.done == [outcome]
    wait.start()
    assert client.done == [outcome]


def test_bytes_that_come_meanwhile_are_no_body():
    def talk(wait):
        assert not wait.takes_body
        assert wait.request_data(b"more") == b"more"
        assert not wait.client_eof()
        wait.pause_response()
        wait.resume_response()
        assert repr(wait) == "<StatusWait GET b'/webmail'>"

    client, _ = dialogue(talk)
    assert client.done == ["known"]
