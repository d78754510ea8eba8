"""A gateway with one worker that is hard pressed, and must be as it was when the pressure is gone.

After every test its connections, its tasks, its descriptors and its connections to upstreams are counted, by its own
status and by /proc, and must be exactly what they were before; all the while somebody with a certificate is served.
"""

from __future__ import annotations

import pytest
from support.census import census_of
from support.client import Client, context_for
from support.crowd import Bystander
from support.gateway import INSIDE, free_port, settings_for
from support.waiting import PATIENCE_SECONDS, until

MANY = 1000
LIMITS = {
    "connections_per_ip": 2 * MANY,
    "handshakes_per_second_per_ip": 100_000,
    "requests_per_second_per_ip": 100_000,
    "handshake": "6s",
    "header_time": "6s",
    "transfer_idle": "6s",
    "body_bytes_per_second": 1000,
}
BACK_SECONDS = PATIENCE_SECONDS
PROXY = "127.0.0.250"  # a trusted one


def answer_target(dialogue):
    """Answer with the target."""
    dialogue.read_body()
    dialogue.answer(dialogue.request.target)


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """Its second listener wants a PROXY header."""
    settings = settings_for(credentials.site, mail.url, limits=LIMITS, admin={"address": f"{INSIDE}:{free_port()}"})
    settings["listen"].append({"address": f"{INSIDE}:{free_port()}", "proxy_protocol_from": [f"{INSIDE}/32"]})
    settings["upstreams"]["mail"]["timeouts"] = {"idle": "1s"}
    settings["trusted_proxies"] = [PROXY]
    return start(settings)


@pytest.fixture(autouse=True)
def as_it_was(gateway):
    """Nothing stays behind."""
    until(lambda: not census_of(gateway).idle, "no connection to the mail server is kept", seconds=BACK_SECONDS)
    before = census_of(gateway)
    assert (before.connections, before.busy) == (0, 0)
    yield
    until(lambda: census_of(gateway) == before, f"it has {before} again", seconds=BACK_SECONDS)


@pytest.fixture
def proxy_address():
    """Of a trusted proxy."""
    return PROXY


@pytest.fixture(scope="module")
def context(credentials):
    """A user's."""
    return context_for(None, credentials["alice"])


@pytest.fixture
def connect(gateway, context, outside):
    """Makes one more connection of the test's own address, with a certificate."""
    made = []

    def connects(**options):
        made.append(Client(gateway.port, source=outside, context=context, **options))
        return made[-1]

    yield connects
    for client in made:
        client.close()


@pytest.fixture(autouse=True)
def bystander(gateway, mail, context, outsiders, as_it_was):  # noqa: ARG001 - it goes before the last count
    """Somebody else, from elsewhere."""
    mail.answer("/webmail/bystander", answer_target)
    address = outsiders()
    with Bystander(lambda: Client(gateway.port, source=address, context=context), "/webmail/bystander") as made:
        yield made
