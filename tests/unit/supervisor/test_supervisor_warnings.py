"""What the log warns of, and how often."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from support.loaded import certificate_file
from support.pki import DAY, NOW, Ca, server

from gateway import clock
from gateway.supervisor import warnings as module
from gateway.supervisor.warnings import Bulletin
from gateway.tls.trust import Trust, make_trust
from gateway.x509.revocation_list import parse_lists

ROOT = Ca.make()


class Time:
    def __init__(self, monkeypatch):
        self.now, self.seconds = NOW, 5.0
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "monotonic_seconds", lambda: self.seconds)

    def passes(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.fixture
def time(monkeypatch):
    return Time(monkeypatch)


def snapshot(*trusts, certificate):
    return SimpleNamespace(
        states=[
            SimpleNamespace(
                site=SimpleNamespace(name=f"site{number}", certificate=certificate), tls=SimpleNamespace(trust=trust)
            )
            for number, trust in enumerate(trusts)
        ]
    )


@pytest.fixture
def certificate(tmp_path):
    return certificate_file(server(tmp_path)[0])


def lines(caplog):
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_a_line_is_told_at_once_and_every_hour_while_it_holds(time, caplog, certificate):
    waiting = Trust((ROOT.certificate,), problems=("http://a/: not fetched yet",))
    bulletin = Bulletin()
    bulletin.tick()
    assert lines(caplog) == []
    bulletin.follow(snapshot(waiting, certificate=certificate))
    assert lines(caplog) == ["site0: http://a/: not fetched yet"]
    bulletin.follow(snapshot(waiting, certificate=certificate))
    time.passes(module.REPEAT_SECONDS - 1)
    bulletin.tick()
    assert lines(caplog) == []
    time.passes(module.CHECK_SECONDS)
    bulletin.tick()
    assert lines(caplog) == ["site0: http://a/: not fetched yet"]
    bulletin.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    bulletin.follow(snapshot(waiting, certificate=certificate))
    assert lines(caplog) == ["site0: http://a/: not fetched yet"]


def test_what_others_find_is_told_beside_it(time, caplog, certificate):
    found = ["the list of 'x' ends"]
    bulletin = Bulletin(lambda: tuple(found))
    bulletin.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    assert lines(caplog) == ["the list of 'x' ends"]
    found.append("and that of 'y'")
    time.passes(module.CHECK_SECONDS)
    bulletin.tick()
    assert lines(caplog) == ["and that of 'y'"]


def test_a_list_in_its_last_fifth_is_noticed_within_a_minute(time, caplog, certificate):
    trust = make_trust(
        [ROOT.certificate], parse_lists(ROOT.crl(last_update=NOW - DAY, next_update=NOW + DAY), "a.crl"), "require"
    )
    bulletin = Bulletin()
    bulletin.follow(snapshot(trust, trust, certificate=certificate))
    time.passes(0.6 * DAY.total_seconds() - module.CHECK_SECONDS + 1)
    bulletin.tick()
    assert lines(caplog) == []
    time.passes(module.CHECK_SECONDS - 1)
    bulletin.tick()
    assert lines(caplog) == []
    time.passes(1)
    bulletin.tick()
    assert lines(caplog) == [
        f"site{number}: a.crl: the revocation list ends 2026-11-25 12:00 UTC; publish a new one" for number in (0, 1)
    ]


@pytest.mark.usefixtures("time")
def test_a_server_certificate_is_told_once_for_all_its_sites(caplog, tmp_path):
    ending = ROOT.issue("CN=mail", not_after=NOW + 6 * DAY)
    path = ending.write(tmp_path, "mail")[0]
    trust = Trust((ROOT.certificate,))
    Bulletin().follow(snapshot(trust, trust, certificate=certificate_file(path)))
    assert lines(caplog) == [f"{path}: the certificate 'CN=mail' ends 2026-11-30 12:00 UTC, within 7 days; renew it"]
