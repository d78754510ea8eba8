"""What the log warns of, and how often."""

import logging
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.loaded import certificate_file
from support.pki import DAY, NOW, Ca, server
from support.rules import rule_of

from gateway import clock
from gateway.config.model import KeptAuthority, Ocsp, Pki
from gateway.facts import Action
from gateway.keeper.plan import to_keep
from gateway.supervisor.state import warnings as module
from gateway.supervisor.state.warnings import WarningLog
from gateway.tls.trust import Trust, make_trust
from gateway.x509.revocation_list import parse_lists

ROOT = Ca.make()
RENEW = "gateway ca -c '/etc/mail gateway/config.yaml' crl corp"


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


def snapshot(*trusts, certificate, pki=None, ocsp="off", rules=()):
    return SimpleNamespace(
        config=SimpleNamespace(pki=pki, path=Path("/etc/mail gateway/config.yaml"), rules=rules),
        states=[
            SimpleNamespace(
                site=SimpleNamespace(
                    name=f"site{number}",
                    hosts=(f"site{number}",),
                    certificate=certificate,
                    ocsp=Ocsp(ocsp, "http://o.example"),
                ),
                tls=SimpleNamespace(trust=trust),
            )
            for number, trust in enumerate(trusts)
        ],
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
    warning_log = WarningLog()
    warning_log.tick()
    assert lines(caplog) == []
    warning_log.follow(snapshot(waiting, certificate=certificate))
    assert lines(caplog) == ["site0: http://a/: not fetched yet"]
    warning_log.follow(snapshot(waiting, certificate=certificate))
    time.passes(module.REPEAT_SECONDS - 1)
    warning_log.tick()
    assert lines(caplog) == []
    time.passes(module.CHECK_SECONDS)
    warning_log.tick()
    assert lines(caplog) == ["site0: http://a/: not fetched yet"]
    warning_log.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    warning_log.follow(snapshot(waiting, certificate=certificate))
    assert lines(caplog) == ["site0: http://a/: not fetched yet"]


def test_what_others_find_is_told_beside_it(time, caplog, certificate):
    found = ["the list of 'x' ends"]
    warning_log = WarningLog(lambda: tuple(found))
    warning_log.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    assert lines(caplog) == ["the list of 'x' ends"]
    found.append("and that of 'y'")
    time.passes(module.CHECK_SECONDS)
    warning_log.tick()
    assert lines(caplog) == ["and that of 'y'"]


def test_a_problem_that_refuses_nobody_is_an_error_and_no_outage(time, caplog, certificate):
    found = ["the authority 'x' was revoked"]
    warning_log = WarningLog(problems=lambda: tuple(found))
    warning_log.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.ERROR, found[0])]
    time.passes(module.MAILED_AFTER_SECONDS)
    warning_log.tick()
    assert (warning_log.outages(time.now), warning_log.lasting, warning_log.lines(time.now)) == ((), (), ())


def test_a_list_in_its_last_fifth_is_noticed_within_a_minute(time, caplog, certificate):
    trust = make_trust(
        [ROOT.certificate], parse_lists(ROOT.crl(last_update=NOW - DAY, next_update=NOW + DAY), "a.crl"), "require"
    )
    warning_log = WarningLog()
    warning_log.follow(snapshot(trust, trust, certificate=certificate))
    time.passes(0.6 * DAY.total_seconds() - module.CHECK_SECONDS + 1)
    warning_log.tick()
    assert lines(caplog) == []
    time.passes(module.CHECK_SECONDS - 1)
    warning_log.tick()
    assert lines(caplog) == []
    time.passes(1)
    warning_log.tick()
    assert lines(caplog) == [
        f"site{number}: a.crl: the revocation list expires 2026-11-25 12:00 UTC; publish a new one" for number in (0, 1)
    ]


def outdated(*, source="a.crl"):
    lists = parse_lists(ROOT.crl(last_update=NOW - DAY, next_update=NOW + timedelta(hours=1)), source)
    return make_trust([ROOT.certificate], lists, "require")


def test_an_outage_is_an_error_repeated_every_hour_and_its_end_is_told(time, caplog, certificate):
    caplog.set_level(logging.INFO)
    warning_log = WarningLog()
    warning_log.follow(snapshot(outdated(), certificate=certificate))
    assert warning_log.outages(time.now) == ()
    lines(caplog)
    time.passes(2 * 3600)
    warning_log.tick()
    (record,) = caplog.records
    line = (
        "site0: a.crl: the revocation list expired 2026-11-24 13:00 UTC: all certificates of 'CN=Test Root' "
        "are refused; publish a new one"
    )
    assert (record.levelno, record.getMessage()) == (logging.ERROR, line)
    assert warning_log.outages(time.now) == (line,)
    assert line not in warning_log.lines(time.now)
    lines(caplog)
    time.passes(module.REPEAT_SECONDS - 1)
    warning_log.tick()
    assert lines(caplog) == []
    time.passes(module.CHECK_SECONDS)
    warning_log.tick()
    assert lines(caplog) == [line]
    warning_log.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    assert lines(caplog) == [f"no longer a problem: {line}"]


def test_an_outage_is_mailed_once_it_has_lasted_a_minute(time, certificate):
    warning_log = WarningLog()
    time.passes(2 * 3600)
    warning_log.follow(snapshot(outdated(), certificate=certificate))
    assert warning_log.lasting == ()
    time.passes(module.MAILED_AFTER_SECONDS)
    warning_log.tick()
    assert warning_log.lasting == warning_log.outages(time.now)
    warning_log.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate))
    assert warning_log.lasting == ()


@pytest.mark.parametrize(
    ("name", "kept", "remedy"),
    [
        ("corp/corp.crl", (), f"; run `{RENEW}`, and {to_keep('corp')}"),
        (
            "corp/corp.crl",
            ("corp",),
            f"; run 'gateway status' to see why the keeper could not renew it, or run `{RENEW}`",
        ),
        ("corp.crl", ("corp",), "; publish a new one"),
    ],
)
def test_the_list_of_an_authority_of_the_registry_has_a_command(time, certificate, tmp_path, name, kept, remedy):
    authorities = tuple(KeptAuthority(each, tmp_path / "x", 1) for each in kept)
    pki = Pki("sqlite:///registry.db", tmp_path / "pki", authorities)
    warning_log = WarningLog()
    time.passes(2 * 3600)
    trust = outdated(source=str(tmp_path / "pki" / name))
    warning_log.follow(snapshot(trust, certificate=certificate, pki=pki))
    (line,) = warning_log.outages(time.now)
    assert line.endswith(remedy)


@pytest.mark.parametrize(("mode", "count"), [("hard", 1), ("soft", 0), ("off", 0)])
def test_a_responder_that_does_not_answer_is_an_outage_where_it_must(time, certificate, mode, count):
    silent = {"site1"}
    warning_log = WarningLog(silent_sites=lambda: silent)
    trust = Trust((ROOT.certificate,))
    warning_log.follow(snapshot(trust, trust, certificate=certificate, ocsp=mode))
    found = warning_log.outages(time.now)
    assert [line.partition(":")[0] for line in found] == ["site1"] * count
    silent.clear()
    assert warning_log.outages(time.now) == ()


def observing(number, *, enforce=False, hosts=None, action=Action.REQUIRE_CERTIFICATE):
    return rule_of(f"rule {number}", action, number, hosts=hosts, enforce=enforce)


@pytest.mark.parametrize(
    ("rules", "which"),
    [
        ([observing(1, enforce=True), observing(2, action=Action.ALLOW), observing(3, hosts=("elsewhere",))], ""),
        ([observing(1, enforce=(NOW - DAY).date())], ""),
        ([observing(1), observing(2, enforce=True)], "the rule 'rule 1' is in observation: it lets"),
        (
            [observing(1, hosts=("*", "x")), observing(2, enforce=(NOW + 9 * DAY).date(), hosts=("site0",))],
            "the rules 'rule 1' and 'rule 2' are in observation: they let",
        ),
        (
            [observing(number) for number in range(5)],
            "the rules 'rule 0', 'rule 1', 'rule 2' and 2 more are in observation: they let",
        ),
    ],
)
def test_an_outage_says_which_rules_let_in_the_clients(time, certificate, rules, which):
    """It is a problem all the same: such clients count as clients without a certificate, and the day comes."""
    warning_log = WarningLog(silent_sites=lambda: {"site0"})
    time.passes(2 * 3600)
    warning_log.follow(snapshot(outdated(), certificate=certificate, ocsp="hard", rules=rules))
    listed, silent = warning_log.outages(time.now)
    told = f", but {which} in these clients as clients without a certificate" if which else ""
    assert listed.endswith(f": all certificates of 'CN=Test Root' are refused{told}; publish a new one")
    assert f"that is still valid are refused{told}; repair the responder" in silent


def test_a_missing_list_has_no_file_to_name(time, certificate, tmp_path):
    warning_log = WarningLog()
    trust = make_trust([ROOT.certificate], (), "require")
    warning_log.follow(snapshot(trust, certificate=certificate, pki=Pki("sqlite:///registry.db", tmp_path)))
    (line,) = warning_log.outages(time.now)
    assert line.endswith("; name the CA's list in crl")


def test_a_server_certificate_that_has_ended_names_its_sites(time, tmp_path):
    path = ROOT.issue("CN=mail", not_after=NOW + DAY).write(tmp_path, "mail")[0]
    trust, warning_log = Trust((ROOT.certificate,)), WarningLog()
    warning_log.follow(snapshot(trust, trust, certificate=certificate_file(path)))
    assert warning_log.outages(time.now) == ()
    time.passes(2 * DAY.total_seconds())
    (line,) = warning_log.outages(time.now)
    assert line == (
        f"{path}: the certificate 'CN=mail' expired 2026-11-25 12:00 UTC: browsers and mail programs refuse site0 and "
        "1 more; renew it"
    )
    assert warning_log.lines(time.now) == ()
    assert WarningLog().outages(time.now) == ()


def test_an_intermediate_in_the_file_that_has_ended_is_a_warning(time, tmp_path):
    middle = ROOT.issue_ca("CN=Middle", not_after=NOW + DAY)
    path = middle.issue("CN=mail").write(tmp_path, "mail")[0]
    warning_log = WarningLog()
    warning_log.follow(snapshot(Trust((ROOT.certificate,)), certificate=certificate_file(path)))
    time.passes(2 * DAY.total_seconds())
    assert warning_log.lines(time.now) == (
        f"{path}: the certificate 'CN=Middle' expired 2026-11-25 12:00 UTC; renew it",
    )
    assert warning_log.outages(time.now) == ()


@pytest.mark.usefixtures("time")
def test_a_server_certificate_is_told_once_for_all_its_sites(caplog, tmp_path):
    ending = ROOT.issue("CN=mail", not_after=NOW + 6 * DAY)
    path = ending.write(tmp_path, "mail")[0]
    trust = Trust((ROOT.certificate,))
    WarningLog().follow(snapshot(trust, trust, certificate=certificate_file(path)))
    assert lines(caplog) == [f"{path}: the certificate 'CN=mail' expires 2026-11-30 12:00 UTC, within 7 days; renew it"]
