"""Who is kept out: what workers are told, what the status lists, and what lifting one does."""

import logging

import pytest

from gateway import clock
from gateway.config.model import Lockout
from gateway.supervisor.lockout.bans import Bans

SETTINGS = Lockout(failures=2, window_seconds=60.0, ban_seconds=600.0)
CLIENT, OTHER = "192.0.2.1", "2001:db8:0:1::/64"


FINGERPRINT = "ab" * 32
HOLDER = f"{CLIENT} {FINGERPRINT} alice@example.com"
HOLDER_ELSEWHERE = f"{OTHER} {FINGERPRINT} alice@example.com"


def plain(address):
    return {"address": address, "certificate": None, "holder": None}


class World:
    def __init__(self, monkeypatch, settings=SETTINGS):
        self.now = 1_000_000_000.0
        self.told = []
        monkeypatch.setattr(clock, "unix_seconds", lambda: self.now)
        self.bans = Bans(settings, self.told.append)

    @property
    def out(self):
        """What workers were told last."""
        assert self.told[-1]["do"] == "ban"
        return set(self.told[-1]["bans"])


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_workers_are_told_when_somebody_is_out_and_not_before(world, caplog):
    world.bans.count({CLIENT: 1})
    assert world.told == []
    world.bans.count({CLIENT: 1, OTHER: 5})
    assert world.told == [{"do": "ban", "bans": {CLIENT: world.now + 600, OTHER: world.now + 600}}]
    assert caplog.messages == [f"locked out for 600 s after too many failures: {CLIENT}, {OTHER}"]


def test_who_is_out_is_listed_with_the_time_that_is_left(world):
    world.bans.count({OTHER: 2})
    world.now += 100.25
    world.bans.count({CLIENT: 2})
    assert world.bans.describe() == [
        {**plain(OTHER), "ends": "2001-09-09T01:56:40.000Z", "seconds_left": 499.75},
        {**plain(CLIENT), "ends": "2001-09-09T01:58:20.250Z", "seconds_left": 600.0},
    ]
    world.now += 550
    assert [each["address"] for each in world.bans.describe()] == [CLIENT]


@pytest.mark.parametrize("text", [CLIENT, f"::ffff:{CLIENT}"])
def test_lifting_lets_in_tells_all_and_begins_anew(world, caplog, text):
    caplog.set_level(logging.INFO)
    world.bans.count({CLIENT: 2, OTHER: 2})
    world.now += 60
    caplog.clear()
    assert world.bans.lift(text, "'root' at 127.0.0.1") == {"address": CLIENT, "outcome": "lifted"}
    assert world.out == {OTHER}
    told = f"the lockout of {CLIENT} was lifted 540 s before its end; requested by 'root' at 127.0.0.1"
    assert caplog.messages == [told]
    world.bans.count({CLIENT: 1})
    assert world.out == {OTHER}
    world.bans.count({CLIENT: 1})
    assert world.out == {OTHER, CLIENT}


@pytest.mark.parametrize("text", ["2001:db8:0:1::9", OTHER])
def test_an_ipv6_address_is_let_in_with_its_network(world, text):
    world.bans.count({OTHER: 2})
    assert world.bans.lift(text, "me") == {"address": OTHER, "outcome": "lifted"}
    assert world.out == set()


def test_who_is_not_out_cannot_be_let_in(world):
    world.bans.count({OTHER: 2})
    told = len(world.told)
    assert world.bans.lift(CLIENT, "me") == {"address": CLIENT, "outcome": "not_locked_out"}
    world.now += 601
    assert world.bans.lift(OTHER, "me")["outcome"] == "not_locked_out"
    assert len(world.told) == told


def test_a_holder_is_listed_by_certificate_and_address(world, caplog):
    world.bans.count({HOLDER: 2})
    assert world.bans.describe() == [
        {
            "address": CLIENT,
            "certificate": FINGERPRINT,
            "holder": "alice@example.com",
            "ends": "2001-09-09T01:56:40.000Z",
            "seconds_left": 600.0,
        }
    ]
    shown = f"{CLIENT} with the certificate abababababababab of alice@example.com"
    assert caplog.messages == [f"locked out for 600 s after too many failures: {shown}"]


def test_an_address_is_let_in_with_the_certificates_that_are_kept_out_there(world, caplog):
    world.bans.count({CLIENT: 2, HOLDER: 2, HOLDER_ELSEWHERE: 2})
    caplog.clear()
    assert world.bans.lift(CLIENT, "me") == {"address": CLIENT, "outcome": "lifted"}
    assert world.out == {HOLDER_ELSEWHERE}
    assert len(caplog.messages) == 2
    told = f"the lockout of {CLIENT} was lifted 600 s before its end"
    assert sorted(caplog.messages) == [
        f"{told}, for the certificate abababababababab of alice@example.com; requested by me",
        f"{told}; requested by me",
    ]


@pytest.mark.parametrize("name", ["Alice@example.com", FINGERPRINT, "ABABABAB", "AB:AB:AB:AB:AB"])
def test_a_certificate_is_let_in_everywhere_and_its_neighbours_nowhere(world, name):
    world.bans.count({CLIENT: 2, HOLDER: 2, HOLDER_ELSEWHERE: 2})
    assert world.bans.lift(name, "me") == {"address": name, "outcome": "lifted"}
    assert world.out == {CLIENT}
    assert world.bans.lift(name, "me") == {"address": name, "outcome": "not_locked_out"}


def test_what_is_no_address_is_said_to_be_none(world):
    assert world.bans.lift("mail.example.com", "me") == {"address": "mail.example.com", "outcome": "no_address"}


def test_without_lockout_nobody_is_out(monkeypatch):
    world = World(monkeypatch, None)
    world.bans.count({CLIENT: 100})
    assert world.bans.describe() == []
    assert world.bans.lift(CLIENT, "me") == {"address": CLIENT, "outcome": "off"}
    assert world.told == []
    world.bans.tell()
    assert world.out == set()


def test_other_settings_let_nobody_in(world):
    world.bans.count({CLIENT: 2, OTHER: 1})
    world.bans.follow(SETTINGS)
    assert len(world.told) == 1
    world.bans.follow(Lockout(failures=3, ban_seconds=60.0))
    assert world.told[-1]["bans"] == {CLIENT: world.now + 600}
    world.bans.count({OTHER: 2})
    assert world.out == {CLIENT}, "counting began anew"
    assert world.bans.lift(CLIENT, "me")["outcome"] == "lifted"


def test_lockout_that_is_switched_off_lets_everybody_in(world):
    world.bans.count({CLIENT: 2})
    world.bans.follow(None)
    assert world.out == set()
    assert world.bans.settings is None
    world.bans.follow(SETTINGS)
    assert world.bans.describe() == []
