"""A request that waits, for its certificate's status or its client's rate: every way in which that ends, each once."""

import asyncio
from types import SimpleNamespace

import pytest
from support.dialogue import OUTSIDE, get

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.proxy.exchange.waiting import WAIT_SECONDS, RateWait, StatusWait
from gateway.proxy.limits.rates import BURST_SECONDS


class Client:
    """Writes down what becomes of the request."""

    def __init__(self):
        self.deadline = 0.0
        self.done = []

    def catch_up(self):
        """There was no reload."""

    def waited(self, _wait):
        self.done.append("known")

    def refuse_exchange(self, error, head, record):
        self.done.append((error.reason, head, record.uri))

    def log(self, record):
        self.done.append(f"logged {record.uri}")


def dialogue(talk):
    async def main():
        client, answered = Client(), asyncio.Event()
        question = asyncio.ensure_future(answered.wait())
        wait = StatusWait(client, "head", SimpleNamespace(method="GET", uri=b"/webmail"))
        wait.start(question)
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
    client, _ = dialogue(end)
    assert client.done == [outcome]


def test_bytes_that_come_meanwhile_are_no_body():
    def talk(wait):
        assert not wait.takes_body
        assert wait.request_data(b"more") == b"more"
        assert wait.client_eof()
        wait.pause_response()
        wait.resume_response()
        assert repr(wait) == "<StatusWait GET b'/webmail'>"

    client, _ = dialogue(talk)
    assert client.done == ["known"]


# requests that come too often


RATE = 1
BURST = int(BURST_SECONDS * RATE) + 1


@pytest.fixture
def slow(make_world):
    """One request a second and client."""
    return make_world(limits={"requests_per_second_per_ip": RATE})


def statuses(world):
    return [(record["uri"], record["status"]) for record in world.records]


def test_a_request_too_many_waits_and_is_not_refused(slow):
    client, other = slow.client(OUTSIDE), slow.client("203.0.113.10")
    client.says(get("/x") * (BURST + 2))
    assert len(slow.log) == BURST
    other.says(get("/y"))
    assert statuses(slow)[-1] == ("/y", 403)
    slow.passes(1)
    assert len(slow.log) == BURST + 2
    client.says(get("/z"))
    slow.passes(1)
    slow.passes(1)
    assert statuses(slow)[-2:] == [("/x", 403), ("/z", 403)]
    assert client.hears().count(b"HTTP/1.1 403 ") == BURST + 3


def test_all_connections_of_a_client_wait_together(slow):
    clients = [slow.client(OUTSIDE) for _ in range(3)]
    for client in clients:
        client.says(get("/x") * 3)
    assert len(slow.log) == BURST
    slow.passes(9 - BURST)
    assert len(slow.log) == 9


def test_a_client_whose_request_waits_is_read_up_to_a_bound(slow):
    client = slow.client(OUTSIDE)
    client.says(get("/x") * (BURST + 1))
    client.says(get("/x", "X-Long: " + "a" * 8000) * 9)
    assert client.is_paused
    client.goes()
    assert [record["status"] for record in slow.records] == [403] * BURST + [None]


def test_a_client_that_leaves_while_it_waits_delays_no_neighbour(slow):
    slow.client(OUTSIDE).says(get("/x") * BURST)
    for _ in range(20):
        client = slow.client(OUTSIDE)
        client.says(get("/gone"))
        client.goes()
    slow.client(OUTSIDE).says(get("/neighbour"))
    slow.passes(1)
    assert statuses(slow)[-1] == ("/neighbour", 403)


def test_clients_behind_a_trusted_proxy_are_counted_each_by_itself(make_world):
    world = make_world(limits={"requests_per_second_per_ip": RATE}, trusted_proxies=["10.0.0.9"])
    proxies = [world.client() for _ in range(2)]
    proxies[0].says(get("/x", "X-Forwarded-For: 203.0.113.9") * (BURST + 1))
    assert len(world.log) == BURST
    proxies[1].says(get("/x", "X-Forwarded-For: 203.0.113.10"))
    proxies[1].says(get("/x") * (BURST + 1))
    assert len(world.log) == BURST + 1 + BURST + 1
    proxies[1].says(get("/x", "X-Forwarded-For: 203.0.113.9"))
    assert len(world.log) == BURST + 1 + BURST + 1
    proxies[1].goes()
    proxies[0].goes()
    assert [record["status"] for record in world.records[-2:]] == [None, None]


def test_a_named_client_that_is_no_address_is_refused_at_once(make_world):
    world = make_world(limits={"requests_per_second_per_ip": RATE}, trusted_proxies=["10.0.0.9"])
    for _ in range(BURST + 1):
        world.client().says(get("/x", "X-Forwarded-For: nonsense"))
    assert [record["status"] for record in world.records] == [400] * (BURST + 1)


def test_a_request_that_waits_is_judged_by_what_counts_then(files, slow):
    client = slow.client()
    client.says(get("/secret") * BURST + get("/webmail"))
    rules = [{"name": "Not any more", "action": "deny"}]
    slow.does(slow.service.adopt, files.snapshot(limits={"requests_per_second_per_ip": RATE}, rules=rules))
    assert (slow.records[-1]["uri"], slow.records[-1]["reason"]) == ("/webmail", "denied_by_rule")


def test_another_limit_counts_for_connections_that_are_open(files, slow):
    client = slow.client(OUTSIDE)
    client.says(get("/x") * BURST)
    slow.does(slow.service.adopt, files.snapshot(limits={"requests_per_second_per_ip": 1000}))
    client.says(get("/x") * 5)
    assert len(slow.log) == BURST + 5


def test_the_time_of_a_request_that_waits_is_the_timers():
    RateWait(None, "head", None).on_deadline()


def test_a_wait_leaves_the_requests_end_to_what_comes_after_it():
    wait = RateWait(None, "head", None)
    wait.request_end([])
    assert not wait.takes_body
