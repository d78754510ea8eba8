"""Clients and upstreams that behave in every way, many at once and at random: nobody gets a byte of somebody else's.

Each seed is a few hundred conversations over TLS 1.2 or 1.3, with upstreams whose connections are shared and with one
that gives each client its own. A failure names the request's token, the client's manner and the upstream's behaviour.
`make soak` runs seeds that nobody has run before.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.census import census_of
from support.client import TLS_1_3, VERSIONS, Client, context_for
from support.credentials import OTHER_HOST
from support.crowd import drop, reset
from support.dialogue_behaviours import BEHAVIOURS
from support.dialogue_conversation import SAFE, Conversation, Site
from support.dialogue_ledger import Ledger
from support.dialogue_manners import MANNERS
from support.dialogue_upstreams import Upstreams
from support.first_flight import client_hello
from support.gateway import HOST, INSIDE, free_port, settings_for
from support.mail import MailServer
from support.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.e2e

# `make soak` has others.
SEEDS = [int(seed) for seed in os.environ.get("SOAK_SEEDS", "1 2 3").split()]
CONVERSATIONS = 150  # of one seed and version
AT_ONCE = 12
KNOCKS = 0.05  # of the conversations end before they have begun
RELOAD_SECONDS = 0.3
LIMITS = {"connections_per_ip": 1000, "handshakes_per_second_per_ip": 100_000}
# How long until connections, tasks and files are as they were.
BACK_SECONDS = PATIENCE_SECONDS
SHOWN = 20


@pytest.fixture(scope="module")
def own_mail():
    """The server of the upstream whose connections each belong to one client."""
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, mail, own_mail):
    settings = settings_for(credentials.site, mail.url, limits=LIMITS, admin={"address": f"{INSIDE}:{free_port()}"})
    settings["sites"].append({"hosts": [OTHER_HOST], "upstream": "own", **credentials.site})
    settings["upstreams"]["own"] = {"servers": [own_mail.url], "connections": "per_client"}
    for upstream in settings["upstreams"].values():
        upstream["timeouts"] = {"idle": "1s", "response": "3s"}
    return start(settings)


@pytest.fixture(autouse=True)
def as_it_was(gateway):
    """Nothing stays behind."""
    until(lambda: not census_of(gateway).idle, "no connection to a server is kept", seconds=BACK_SECONDS)
    before = census_of(gateway)
    yield
    until(lambda: census_of(gateway) == before, f"it has {before} again", seconds=BACK_SECONDS)


@contextlib.contextmanager
def reloads(gateway):
    """The same configuration again and again, each time with new upstream connections."""
    is_over = threading.Event()

    def reload():
        while not is_over.wait(RELOAD_SECONDS):
            gateway.signal(signal.SIGHUP)

    thread = threading.Thread(target=reload)
    thread.start()
    yield
    is_over.set()
    thread.join()


class Run:
    """The conversations of one seed."""

    def __init__(self, gateway, contexts, addresses, seed):
        self.gateway = gateway
        self.contexts = contexts  # with and without a certificate
        self.addresses = addresses
        self.seed = seed
        self.ledger = Ledger()
        self.lines_before = len(gateway.log.records())

    def speak(self, number):
        """Hold one conversation, from inside, from outside, or from outside without a certificate."""
        name = f"s{self.seed}c{number}"
        choice = random.Random(name)
        address = choice.choice((INSIDE, *self.addresses))
        if choice.random() < KNOCKS:
            self._knock(address, choice)
            return
        has_certificate = choice.random() < 0.9
        host = choice.choice((HOST, OTHER_HOST))
        try:
            client = Client(
                self.gateway.port,
                source=address,
                server_name=host,
                context=self.contexts[has_certificate],
                buffer_bytes=choice.choice((None, None, 8192)),
            )
        except OSError as error:
            self.ledger.problem(f"{name}: {error!r}")
            return
        Conversation(
            self.ledger, name, Site(host, host == OTHER_HOST, has_certificate or address == INSIDE), client
        ).run(MANNERS)

    def _knock(self, address, choice):
        """It gets no further than a handshake, if so far."""
        plain = socket.create_connection(
            (INSIDE, self.gateway.port), timeout=PATIENCE_SECONDS, source_address=(address, 0)
        )
        hello = client_hello(self.contexts[True])
        plain.sendall(choice.choice((b"", b"GET / HTTP/1.0\r\n\r\n", hello, hello[:50])))
        choice.choice((drop, reset))(plain)

    def check(self):
        with contextlib.suppress(AssertionError):  # it is told with the others
            until(lambda: not (self._missing() or self._owed()), "each line that is owed is in the access log")
        problems = [*self.ledger.problems, *(f"{each} is not logged" for each in self._missing()), *self._faults()]
        assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:SHOWN])

    def _records(self):
        """This run's lines, by their tokens, and how many on which connection have none."""
        found, odd = {}, Counter()
        for record in self.gateway.log.records()[self.lines_before :]:
            if record["client_port"] is None or (record["method"] is None and record["status"] is None):
                continue
            parts = (record["uri"] or "").split("/")
            if len(parts) > 3 and parts[3] in self.ledger.asked:
                found.setdefault(parts[3], []).append(record)
            elif (record["client_ip"], record["client_port"]) in self.ledger.odd:
                odd[record["client_ip"], record["client_port"]] += 1
        return found, odd

    def _missing(self):
        found, _ = self._records()
        return [
            f"{token} ({asked.manner}: {asked.method} {asked.behaviour})"
            for token, asked in self.ledger.asked.items()
            if token not in found and (asked.is_logged or token in self.ledger.reached)
        ]

    def _owed(self):
        """How many lines the connections without a request lack."""
        _, odd = self._records()
        return sum((self.ledger.owed - odd).values())

    def _faults(self):
        found, odd = self._records()
        for token, records in found.items():
            asked = self.ledger.asked[token]
            if len(records) != 1:
                yield f"{token} has {len(records)} lines"
            if asked.status is not None and records[0]["status"] != asked.status:
                yield f"{token} ({asked.behaviour}) got {asked.status}, its line says {records[0]['status']}"
            if (records[0]["method"], records[0]["uri"]) != (asked.method, asked.target):
                yield f"{token} is logged as {records[0]}"
        for address in self.ledger.odd:
            count = odd[address]
            if not self.ledger.owed[address] <= count <= self.ledger.odd[address]:
                yield f"{count} lines of no request from {address}"
        for token, count in self.ledger.reached.items():
            asked = self.ledger.asked[token]
            if count > (1 if asked.method == "POST" else 2):
                yield f"{token} ({asked.method} {asked.behaviour}) came {count} times"


def test_there_are_enough_ways_to_behave():
    assert len(MANNERS) >= 20
    assert len(BEHAVIOURS) >= 20
    assert "POST" not in SAFE


@pytest.fixture(scope="module")
def addresses(_addresses):
    """Of clients outside; the same for all seeds, since there are only so many."""
    return [f"127.0.{next(_addresses)}.2" for _ in range(4)]


@pytest.fixture
def converse(gateway, mail, own_mail, credentials, addresses):
    """Holds all conversations of a seed, and judges them."""

    def held(seed, version, *, is_reloading=False):
        contexts = {True: context_for(None, credentials["p256"], version), False: context_for(None, None, version)}
        run = Run(gateway, contexts, addresses, f"{seed}v{version.name[-1]}")
        Upstreams(mail, run.ledger, is_per_client=False)
        Upstreams(own_mail, run.ledger, is_per_client=True)
        with reloads(gateway) if is_reloading else contextlib.nullcontext(), ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(run.speak, range(CONVERSATIONS)))
        run.check()
        own_mail.forget()

    return held


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_gets_a_byte_of_somebody_elses(converse, seed, version):
    converse(seed, version)


def test_nor_while_the_configuration_is_read_again(converse):
    converse(4, TLS_1_3, is_reloading=True)
