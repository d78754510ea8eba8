"""Nothing holds a revocation up: a broken file of another kind, a half-written list, a worker without descriptors."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from support.census import state_of
from support.client import VERSIONS, Client, ask, context_for
from support.credentials import OTHER_HOST
from support.gateway import INSIDE, OUTSIDE, free_port, settings_for
from support.openssl_ca import OpensslCa, put
from support.waiting import AT_ONCE_SECONDS, until

from gateway import clock
from gateway.supervisor.processes.watchdog import HUNG_SECONDS

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

SERVED, REVOKED = (200, None), (403, "certificate_revoked")
REFUSED = "reload refused, the old configuration stays: "
BEGINS_SECONDS = 4  # a signed list is seen after half a second at most


@dataclass
class House:
    """A gateway with two workers, a CA whose list it reads, and another site."""

    gateway: object
    ca: OpensslCa
    crl: object
    other_certificate: object

    def users(self, name):
        """Connections of a user over each version, and the user."""
        user = self.ca.issue(name)
        clients = [
            Client(self.gateway.port, source=OUTSIDE, context=context_for(None, user, each)) for each in VERSIONS
        ]
        for client in clients:
            assert client.ask("GET", "/webmail").verdict == SERVED
        return user, clients

    def revoke(self, user):
        self.ca.revoke(user)
        self.ca.publish(self.crl)

    def verdict(self, user, version=None):
        """Of a new connection."""
        return ask(self.gateway.port, "/webmail", source=OUTSIDE, context=context_for(None, user, version)).verdict

    def all_are_out(self, clients, seconds=AT_ONCE_SECONDS):
        for client in clients:
            until(lambda client=client: client.ask("GET", "/webmail").verdict == REVOKED, "out", seconds=seconds)
            client.close()

    def check_revocation(self, name):
        """A revocation counts on open connections and new ones."""
        user, clients = self.users(name)
        self.revoke(user)
        self.all_are_out(clients)
        assert [self.verdict(user, version) for version in VERSIONS] == [REVOKED] * len(VERSIONS)

    def said(self, words, seen):
        return until(lambda: words in self.gateway.errors[seen:], words, seconds=AT_ONCE_SECONDS)


@pytest.fixture(scope="module")
def house(start, credentials, mail, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    ca = OpensslCa.make(folder, "Revoking CA")
    crl, other = folder / "list.crl", folder / "other.crt"
    ca.publish(crl)
    put(other, (credentials.folder / "server.crt").read_bytes())
    site = {**credentials.server, "client_ca": [str(ca.certificate)], "crl": [str(crl)], "crl_policy": "require"}
    settings = settings_for(site, mail.url, workers=2, admin={"address": f"{INSIDE}:{free_port()}"})
    other_site = {**credentials.other_site, "certificate": str(other)}
    settings["sites"].append({"hosts": [OTHER_HOST], "upstream": "mail", **other_site})
    gateway = start(settings)
    gateway.expected_errors += [re.escape(REFUSED), r"/list\.crl.*; the last good list stays"]
    return House(gateway, ca, crl, other)


def test_another_sites_broken_certificate_does_not_hold_a_revocation_up(house):
    good, seen = house.other_certificate.read_bytes(), len(house.gateway.errors)
    put(house.other_certificate, good[:200])
    try:
        house.said(REFUSED, seen)
        house.check_revocation("beside-a-broken-site")
    finally:
        put(house.other_certificate, good)
    house.said(" reloaded: ", seen)


def test_a_half_written_configuration_does_not_hold_a_revocation_up(house):
    text, seen = house.gateway.config.read_text(), len(house.gateway.errors)
    house.gateway.config.write_text(text[: len(text) // 2] + "\nrules: [")
    try:
        house.gateway.signal(signal.SIGHUP)
        house.said(REFUSED, seen)
        house.check_revocation("beside-a-broken-file")
        assert state_of(house.gateway)["reload"]["error"] is not None
    finally:
        house.gateway.config.write_text(text)
    house.gateway.signal(signal.SIGHUP)
    house.said(" reloaded: ", seen)


@contextmanager
def no_descriptors(gateway):
    """No worker may open anything."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in gateway.workers()}
    try:
        for pid, (_, most) in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, most))
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_workers_without_free_descriptors_learn_of_a_revocation(house):
    user, clients = house.users("without-descriptors")
    generation = state_of(house.gateway)["lists_generation"]
    with no_descriptors(house.gateway):
        house.revoke(user)
        house.all_are_out(clients)
        state = until(
            lambda: (state := state_of(house.gateway))["lists_generation"] > generation and state, "the list is seen"
        )
        newest = state["lists_generation"]
        until(
            lambda: [each["lists_generation"] for each in state_of(house.gateway)["workers"]] == [newest] * 2,
            "both workers have it",
            seconds=AT_ONCE_SECONDS,
        )
    assert house.verdict(user) == REVOKED


def test_a_half_written_list_leaves_the_last_one_and_counts_when_it_is_whole(house):
    (user, clients), other = house.users("half-written"), house.ca.issue("revoked-before")
    house.revoke(other)
    until(lambda: house.verdict(other) == REVOKED, "the list before counts", seconds=AT_ONCE_SECONDS)
    house.ca.revoke(user)
    whole, seen = house.ca.crl(), len(house.gateway.errors)
    house.crl.write_bytes(whole[: len(whole) // 2])
    house.said("the last good list stays", seen)
    assert any("list.crl" in line for line in state_of(house.gateway)["warnings"])
    assert [client.ask("GET", "/webmail").verdict for client in clients] == [SERVED] * len(clients)
    assert house.verdict(other) == REVOKED
    house.crl.write_bytes(whole)
    house.all_are_out(clients)
    until(
        lambda: not any("list.crl" in line for line in state_of(house.gateway)["warnings"]),
        "nothing is wrong any more",
        seconds=AT_ONCE_SECONDS,
    )


def test_a_list_that_begins_later_counts_then_and_the_one_before_until_then(house):
    (user, clients), other = house.users("later"), house.ca.issue("now")
    house.revoke(other)
    until(lambda: house.verdict(other) == REVOKED, "the list before counts", seconds=AT_ONCE_SECONDS)
    house.ca.revoke(user)
    generation = state_of(house.gateway)["lists_generation"]
    begins = clock.now() + timedelta(seconds=BEGINS_SECONDS)
    times = [f"{at:%Y%m%d%H%M%SZ}" for at in (begins, begins + timedelta(days=1))]
    house.ca.publish(house.crl, "-crl_lastupdate", times[0], "-crl_nextupdate", times[1])
    until(
        lambda: {each["lists_generation"] for each in state_of(house.gateway)["workers"]} == {generation + 1},
        "the list has come",
        seconds=AT_ONCE_SECONDS,
    )
    verdicts = [client.ask("GET", "/webmail").verdict for client in clients]
    if clock.now() < begins.replace(microsecond=0):  # else this machine is too busy to look in time
        assert verdicts == [SERVED] * len(clients)
    assert house.verdict(other) == REVOKED
    house.all_are_out(clients)
    assert clock.now() >= begins.replace(microsecond=0)
    assert house.verdict(other) == REVOKED
    until(
        lambda: {each["lists_generation"] for each in state_of(house.gateway)["workers"]} == {generation + 2},
        "the list before is gone",
        seconds=AT_ONCE_SECONDS,
    )


def test_a_worker_that_hangs_is_replaced_and_the_other_knows_of_the_revocation(house, mail):
    user, clients = house.users("beside-a-hung-worker")
    (hung, other) = house.gateway.workers()
    house.gateway.expected_errors.append(rf"worker {hung} ")
    os.kill(hung, signal.SIGSTOP)
    stopped = time.monotonic()
    house.revoke(user)

    def behind():
        state = state_of(house.gateway)
        generations = {worker["pid"]: worker["lists_generation"] for worker in state["workers"]}
        return generations.get(other) == state["lists_generation"] > generations.get(hung, state["lists_generation"])

    until(behind, "the other worker has the newest list", seconds=AT_ONCE_SECONDS)
    until(lambda: hung not in house.gateway.workers(), "the hung worker is gone", seconds=3 * HUNG_SECONDS)
    assert time.monotonic() - stopped > HUNG_SECONDS - 1
    until(lambda: len(house.gateway.workers()) == 2, "another one is there")
    for client in clients:
        client.close()
    assert [house.verdict(user) for _ in range(8)] == [REVOKED] * 8
    mail.forget()  # closes its connections, so that none of them counts as open from now on
    house.gateway.note_open_files()
