"""`gateway logs --why`: whom WHO means, what may be combined with it, and what a hostile or damaged log does to it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time

import pytest
from support import admin_state
from support.desk import NOW
from support.incidents import EAS, HOUR, INSIDE, OTHER, OUTSIDE, Stage, shown
from support.log_lines import line_of

from gateway import clock
from gateway.cli import status_client
from gateway.cli.app import run
from gateway.cli.why import history, survey
from gateway.cli.why.question import question_of
from gateway.logs.entry import parse
from gateway.logs.reader import Hit, compile_finder
from gateway.request_number import short_number

BOB = shown("Bob", email="bob@example.com", serial="B0B0", fingerprint="b0" * 32)
CONFIG = 'admin: {address: "127.0.0.1:9444"}\nnetworks: {internal: [203.0.113.0/24]}\n'
MISSING = "the client sent no certificate"


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("GATEWAY_PKI_STORE", raising=False)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    time.tzset()
    yield Stage(tmp_path)
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def why(stage, capsys):
    def why(who: str, *options: str, code: int = 0):
        stage.write()
        assert run(["logs", f"--why={who}", "access.jsonl", *options]) == code
        return capsys.readouterr()

    return why


@pytest.fixture
def document(why):
    return lambda who, *options, code=0: json.loads(why(who, "--json", *options, code=code).out)


# whom WHO means


def refused_twice(stage):
    stage.line(0, identity=shown())
    stage.line(0, identity=BOB)
    stage.refused(HOUR, "no_rule", "no rule matches", identity=shown())
    stage.refused(HOUR, "no_rule", "no rule matches", identity=BOB)


@pytest.mark.parametrize(
    ("who", "kind"),
    [
        ("ALICE@example.com", "the mail address of a certificate"),
        ("alice", "the mail address of a certificate"),
        ("Alice Example", "the CN of a certificate"),
        ("0a:11:ce", "the serial number of a certificate"),
        ("a1" * 32, "the fingerprint of a certificate"),
        ("EXAMPLE\\alice", "the mail address of a certificate"),
    ],
)
def test_a_person_is_found_by_every_name(stage, document, who, kind):
    refused_twice(stage)
    told = document(who)
    assert told["who"] == "alice@example.com"
    assert told["taken_for"] == [kind]
    assert told["verdict"]["reason"] == "no_rule"


def test_a_login_without_a_domain_is_the_person_with_that_address(stage, document):
    stage.line(0, identity=shown())
    stage.refused(HOUR, "certificate_missing", MISSING, user="EXAMPLE\\alice", login="basic")
    told = document("alice@example.com")
    assert told["taken_for"] == ["a mail login", "the mail address of a certificate"]
    assert (told["refusals"], told["verdict"]["cause"]) == (1, "certificate_not_sent")


def test_several_people_of_a_name_are_listed(stage, why, document):
    other = shown("Alice", email="alice@example.org", serial="0DD", fingerprint="0d" * 32)
    stage.line(0, identity=shown())
    stage.refused(HOUR, "no_rule", "no rule matches", identity=other)
    told = document("alice", code=1)
    assert [each["ask_for"] for each in told["people"]] == ["alice@example.org", "alice@example.com"]
    assert [each["refusals"] for each in told["people"]] == [1, 0]
    out = why("alice", code=1).out
    assert "matches 2 people. Ask for one of them" in out
    assert "gateway logs --why alice@example.org access.jsonl" in out


def test_a_shared_address_where_several_are_refused_lists_them(stage, document):
    refused_twice(stage)
    stage.refused(HOUR, "certificate_missing", MISSING)
    told = document(OUTSIDE, code=1)
    names = {each["who"] for each in told["people"]}
    assert names == {"alice@example.com", "bob@example.com", f"the client at {OUTSIDE}"}
    number = next(each["ask_for"] for each in told["people"] if each["who"].startswith("the client"))
    assert document(number)["verdict"]["reason"] == "certificate_missing"


@pytest.mark.parametrize("who", ["carol@example.com", "198.51.100.77", "K7MP-3XWA", "ff" * 16, "11:30"])
def test_nobody_is_said_so_with_what_was_searched(stage, why, document, who):
    refused_twice(stage)
    out = " ".join(why(who, code=1).out.split())
    assert "Searched: address, login, mail address" in out
    assert "Try another spelling" in out
    assert document(who, code=1)["people"] == []


def test_a_request_number_finds_the_success_before_it(stage, document):
    stage.line(0, client_ip=INSIDE)
    stage.line(0, identity=shown())
    number = stage.refused(HOUR, "no_rule", "no rule matches", identity=shown())
    stage.refused(HOUR + 60, "no_rule", "no rule matches", identity=shown())
    for who in (number, short_number(number), short_number(number).lower().replace("-", "")):
        told = document(who)
        assert told["taken_for"] == ["a request number"]
        assert told["last_success"]["time"] == "2026-11-24T07:00:00Z"
        assert told["refusals"] == 2


def test_the_number_of_a_request_that_was_let_in_is_said_so(stage, why):
    number = stage.line(0, identity=shown(), upstream="https://10.0.0.5:443")
    out = why(number).out
    assert "This request was let in: https://10.0.0.5:443 answered it with 200." in out
    assert "Last success" not in out.split("Verdict")[0] or "The request" in out


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"status": None}, "went_away"),
        ({"status": 308}, "only_redirected"),
        ({"status": 401, "login": "none", "upstream": "https://10.0.0.5:443"}, "asked_to_log_in"),
        ({"status": 404, "upstream": "https://10.0.0.5:443"}, "let_in"),
        (
            {"status": None, "method": None, "reason": "handshake_failed: the client went away during the handshake"},
            "dropped",
        ),
    ],
)
def test_the_number_of_a_request_that_was_not_refused_says_what_became_of_it(stage, document, values, cause):
    number = stage.line(0, **values)
    verdict = document(number)["verdict"]
    assert (verdict["cause"], verdict["reason"]) == (cause, None)
    assert verdict["command"] == f"gateway logs --request {number} --json access.jsonl"


def test_at_a_time_one_client_is_explained_and_several_are_listed(stage, why, document):
    stage.refused(720, "certificate_missing", MISSING)
    stage.refused(730, "bad_request", "no Host", 400, client_ip=OTHER)
    told = document("07:12")
    assert told["who"] == f"the client at {OUTSIDE}"
    assert any("1 other" in note for note in told["notes"])
    stage.refused(740, "no_rule", "no rule matches", client_ip=INSIDE, user="bob", login="basic")
    stage.phone(900, None, user="bob", device_id=None, uri="/webmail", client_ip=INSIDE)
    out = " ".join(why("07:12", code=1).out.split())
    assert f"bob: 2026-11-24 07:12:20 from {INSIDE}, GET /webmail: no_rule ×1, let in again 2026-11-24 07:15:00" in out
    told = document("2026-11-24 07:12", code=1)
    assert "were refused within five minutes of 2026-11-24 07:12:00" in told["about"]


def test_refusals_without_a_name_are_hers_if_the_address_is(stage, why, document):
    stage.line(0, identity=shown())
    stage.refused(HOUR, "certificate_missing", MISSING)
    stage.refused(HOUR, "certificate_missing", MISSING, client_ip=OTHER)
    told = document("alice")
    assert told["is_likely"]
    assert told["first_refusal"]["client_ip"] == OUTSIDE
    assert "they are probably of the same person" in " ".join(why("alice").out.split())


def test_refusals_without_a_name_from_elsewhere_are_hints(stage, why):
    stage.line(0, identity=shown())
    stage.refused(HOUR, "certificate_missing", MISSING, client_ip=OTHER)
    out = " ".join(why("alice").out.split())
    assert "alice@example.com gets in" in out
    assert f"refused without a name: the client at {OTHER}" in out
    assert f"gateway logs --ip {OTHER} access.jsonl" in out


def test_a_failed_handshake_is_hers_by_the_fingerprint(stage, document):
    """Whether the key belongs to the certificate was not proved: the line has the fingerprint alone."""
    stage.line(0, identity=shown())
    stage.handshake(HOUR, "certificate verify failed", identity=None)
    line = json.loads(stage.lines.pop())
    stage.lines.append(json.dumps(line | {"cert_fingerprint": "a1" * 32}).encode() + b"\n")
    assert document("alice")["verdict"]["cause"] == "certificate_unusable"
    stage.line(HOUR + 60, identity=shown())
    assert document("alice")["verdict"]["cause"] == "works_again"


def test_a_new_certificate_ends_the_refusals_of_the_old_one(stage, document):
    stage.refused(0, "certificate_expired", "expired 2026-11-24 00:00:00 UTC", identity=shown(), uri="/owa")
    stage.line(60, identity=shown(fingerprint="a2" * 32, serial="0A2"))
    assert document("alice")["verdict"]["cause"] == "works_again"


def test_what_still_works_elsewhere_is_said(stage, why):
    stage.refused_phone(
        0, "certificate_not_allowed", "the device 'PHONE1' is not in this rule's list", identity=shown()
    )
    stage.line(60, identity=shown())
    out = why("alice").out
    assert "Elsewhere       let in" in out


def test_a_change_of_network_to_one_where_no_rule_lets_in(stage, document):
    stage.line(0, client_ip=INSIDE, identity=shown(), rule="From inside")
    stage.refused(HOUR, "no_rule", "no rule matches", identity=shown(), rule=None)
    verdict = document("alice")["verdict"]
    assert verdict["cause"] == "other_network"
    assert 'the rule "From inside" let alice@example.com in' in verdict["text"]


def test_a_changed_rule_is_named_even_if_old_lines_have_no_configuration(stage, document):
    stage.line(0, identity=shown(), config=None, rule="Old")
    stage.refused(HOUR, "no_rule", "no rule matches", identity=shown(), config=None, rule=None)
    verdict = document("alice")["verdict"]
    assert verdict["cause"] == "configuration_changed"
    assert 'the rule "Old" let the same request in' in verdict["text"]


@pytest.mark.parametrize("detail", ["the revocation list of 'corp' expired 2026-11-24 07:30 UTC"])
def test_a_reload_is_not_blamed_for_what_has_ended(stage, document, detail):
    stage.line(0, identity=shown())
    stage.refused(HOUR, "revocation_unknown", detail, identity=shown(), config="22222222")
    assert document("alice")["verdict"]["cause"] == "list_ended"


def test_a_certificate_of_another_ca_without_an_address_is_hers_by_its_name(stage, document):
    stranger = shown("alice", email=None, serial="77", fingerprint="77" * 32, issuer="CN=Other CA")
    stage.line(0, identity=shown())
    detail = (
        "not issued by a CA that this site trusts, or the intermediate certificate was not sent (issuer CN=Other CA)"
    )
    stage.refused(HOUR, "certificate_untrusted", detail, identity=stranger)
    assert document("alice@example.com")["verdict"]["cause"] == "wrong_ca"


@pytest.mark.parametrize("who", [OUTSIDE, "08:00"])
def test_what_refuses_everyone_alike_is_explained_once(stage, document, who):
    stage.line(0, identity=shown())
    for identity in (shown(), BOB):
        stage.refused(HOUR, "upstream_unreachable", "https://10.0.0.5:443: refused", 502, identity=identity)
    told = document(who)
    assert told["verdict"]["cause"] == "upstream_unreachable"
    assert "1 other" in told["notes"][0]


def test_a_program_that_many_have_makes_no_refusal_hers(stage, document):
    stage.line(0, identity=shown(), user_agent="Firefox")
    stage.refused(HOUR, "certificate_missing", MISSING, client_ip=OTHER, user_agent="Firefox")
    told = document("alice")
    assert (told["is_likely"], told["verdict"]["cause"]) == (True, "certificate_not_sent")
    assert {"address", "certificate"} == {each["what"] for each in told["changed"]}
    stage.refused(HOUR, "certificate_missing", MISSING, client_ip=INSIDE, user_agent="Firefox")
    told = document("alice")
    assert (told["is_likely"], told["verdict"]["cause"]) == (False, "let_in")


def test_a_number_without_a_name_says_who_came_from_there_before(stage, document):
    stage.line(0, identity=shown())
    number = stage.refused(HOUR, "certificate_missing", MISSING)
    told = document(number)
    assert "sent no certificate" in told["verdict"]["text"]
    assert told["notes"][0].startswith("1 other let in from this address before: alice@example.com, last let in")


def test_around_a_time_the_nearest_refusals_are_kept(stage, monkeypatch, document):
    """People with a name come first, then the nearest."""
    monkeypatch.setattr(survey, "MAX_NEAR", 2)
    for seconds in (600, 730, 700, 900):
        stage.refused(seconds, "certificate_missing", MISSING, client_ip=f"198.51.100.{seconds // 10}")
    stage.refused(960, "no_rule", "no rule matches", identity=shown())
    told = document("07:12", code=1)
    assert [each["who"] for each in told["people"]] == ["alice@example.com", "the client at 198.51.100.73"]
    assert "3 more refusals" in told["about"]


def test_refusals_of_scanners_are_no_hints(stage, why):
    stage.line(0, identity=shown())
    stage.refused(HOUR, "certificate_missing", MISSING, client_ip=OTHER, uri="/.env")
    assert "refused without a name" not in why("alice").out


def test_a_lockout_after_a_request_without_a_login_still_names_the_passwords(stage, document):
    for number in range(4):
        stage.phone(number, shown(), status=401)
    stage.phone(10, shown(), status=200)
    locked_line(stage, HOUR / 2)
    assert "Before: wrong_password ×4." in document("alice")["verdict"]["text"]


# the registry and the gateway


def test_who_is_only_in_the_registry_is_told_from_who_is_nowhere(stage, document):
    stage.registry()
    stage.issue("carol@example.com")
    told = document("carol")
    assert told["verdict"]["cause"] == "never_seen"
    assert "the certificate is not installed" in told["verdict"]["text"]
    assert told["registry"]["certificates"][0]["last_used"] is None


def test_a_registry_that_can_t_be_read_is_said_so_and_the_log_is_enough(stage, document):
    stage.refused(0, "no_rule", "no rule matches", identity=shown())
    for store in ("sqlite:///nowhere/registry.db", "nonsense", "postgresql://127.0.0.1:1/none"):
        told = document("alice", "--store", store)
        assert told["registry"]["problem"]
        assert told["verdict"]["cause"] == "no_rule"


def test_a_configuration_with_errors_is_no_obstacle(stage, document, tmp_path):
    """The first error is said, in one line, where the configuration would have been asked."""
    (tmp_path / "config.yaml").write_text("listen: [}\nrules: 3\n")
    stage.refused(0, "no_rule", "no rule matches", identity=shown())
    told = document("alice")
    assert told["verdict"]["cause"] == "no_rule"
    assert "config.yaml" in told["registry"]["problem"]
    assert "\n" not in told["registry"]["problem"] + told["lockout"]["problem"]


def test_a_named_registry_is_in_the_command(stage, document, tmp_path):
    stage.registry()
    alice = stage.issue()
    stage.refused(0, "certificate_expired", "expired 2026-11-24 00:00:00 UTC", identity=alice)
    store = f"sqlite:///{tmp_path}/pki/registry.db"
    assert f"gateway cert --store {store} renew" in document("alice", "--store", store)["verdict"]["command"]


@pytest.fixture
def running(monkeypatch, tmp_path):
    """A gateway that answers so."""
    state = admin_state.a_state()
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.setattr(status_client, "fetch", lambda _: state)
    return state


def locked_line(stage, seconds=HOUR):
    stage.phone(20, shown())
    detail = f"too many failed attempts from {OUTSIDE}; otherwise it would have been let in"
    stage.refused_phone(seconds, "locked_out", detail, 429)


def test_a_lockout_that_is_still_on_is_ended_by_the_command(stage, running, why, document):
    locked_line(stage)
    running["lockouts"] = [admin_state.lockout(OUTSIDE)]
    told = document("alice")
    assert told["lockout"]["is_locked_out"]
    assert told["verdict"]["command"] == f"gateway status -c config.yaml --unban {OUTSIDE}"
    assert f"{OUTSIDE} is locked out for 12 more minutes" in why("alice").out


def test_a_lockout_of_a_certificate_is_found_by_its_holder(stage, running, document):
    locked_line(stage)
    running["lockouts"] = [admin_state.lockout(OTHER, certificate="a1" * 32, holder="alice@example.com")]
    stage.refused_phone(HOUR, "locked_out", "too many failed attempts", 429, identity=shown())
    assert document("alice")["verdict"]["command"].endswith("a1" * 32)


def test_a_lockout_that_is_over_is_said_so(stage, running, document, why):
    locked_line(stage)
    running["lockouts"] = []
    assert "The lockout is over now." in document("alice")["verdict"]["text"]
    assert "is not locked out now" in why("alice").out


def test_problems_of_the_gateway_and_servers_that_are_down_are_shown(stage, running, document):
    running["outages"] = ["the certificate of mail.example.com has expired"]
    running["upstreams"] = {"mail": [admin_state.server(up_in=0, cause="refused")]}
    stage.refused(0, "upstream_unreachable", "https://10.0.0.5:443: refused", 502, identity=shown())
    assert document("alice")["gateway"] == [
        "the certificate of mail.example.com has expired",
        "mail: https://10.0.0.5:443 is down now: refused",
    ]
    running["upstreams"] = {"mail": [admin_state.server()]}
    assert document("alice")["gateway"][1] == "mail: all servers are up now"


def test_whose_clock_is_wrong_the_gateway_knows_by_its_certificate(stage, running, document):
    stage.handshake(0, "ssl/tls alert certificate expired")
    assert document(OUTSIDE)["verdict"]["cause"] == "clock_of_device"
    running["sites"][0]["certificate"] |= {"seconds_left": -1.0, "ends": "2026-11-23T00:00:00.000Z"}
    verdict = document(OUTSIDE)["verdict"]
    assert verdict["cause"] == "server_certificate_expired"
    assert "ended 2026-11-23 00:00:00" in verdict["text"]
    running["sites"] = []
    assert "clock of the device is wrong" in document(OUTSIDE)["verdict"]["text"]


def test_a_rule_in_observation_is_shown_with_its_outlook(stage, running, why):
    stage.line(0, identity=shown(), observed="user_mismatch", rule="Soon")
    outlook = "from 2027-03-01 on they are refused"
    running["observation"] = [{"rule": "Soon", "line": 3, "refuses_from": None, "outlook": outlook, "count": 1}]
    out = " ".join(why("alice").out.split())
    assert f"would have refused it (user_mismatch); {outlook}" in out


@pytest.mark.usefixtures("running")
def test_inside_is_what_the_configuration_says_even_if_it_has_errors(stage, document):
    stage.refused(0, "no_rule", "no rule matches", identity=shown())
    assert document("alice")["first_refusal"]["network"] in {"inside", "a public address"}


# options


@pytest.mark.parametrize("option", [["--denied"], ["--user", "bob"], ["--status", "403"], ["--all"], ["--slow", "1s"]])
def test_filters_that_would_hide_successes_are_refused(stage, why, option):
    refused_twice(stage)
    assert "--why reads successes and refusals" in why("alice", *option, code=2).err


def test_store_is_only_for_why(stage, capsys):
    stage.line(0)
    stage.write()
    assert run(["logs", "--store", "sqlite:///x.db", "access.jsonl"]) == 2
    assert "--store is only for --why" in capsys.readouterr().err


@pytest.mark.parametrize("who", ["", " ", "25:99", "2026-13-45 07:00"])
def test_who_must_say_something(stage, why, who):
    refused_twice(stage)
    assert "--why" in why(who, code=2).err


def test_other_filters_narrow_the_question(stage, document):
    stage.refused(0, "no_rule", "no rule matches", identity=shown(), uri="/ecp")
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", identity=shown(), uri="/owa")
    assert document("alice", "--uri", "/ecp")["verdict"]["reason"] == "no_rule"
    assert document("alice", "--until", "2026-11-24T07:30:00Z")["verdict"]["reason"] == "no_rule"


def test_packed_and_piped_logs_are_read_too(stage, tmp_path, capsys):
    refused_twice(stage)
    path = stage.write()
    (tmp_path / "access.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert run(["logs", "--why", "alice", "access.jsonl.1.gz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refusals"] == 1
    command = [sys.executable, "-m", "gateway", "logs", "--why", "alice", "-", "--json"]
    piped = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=True)
    assert json.loads(piped.stdout)["refusals"] == 1


# hostile and damaged lines

HOSTILE = "\x1b[2Jx\x07\u202e'; rm -rf ~ #\n\u0085{who}{0}"


def test_hostile_names_never_reach_the_terminal_or_a_command(stage, why, document):
    evil = shown(HOSTILE, email=f"{HOSTILE}@example.com")
    stage.line(0, identity=evil, user=HOSTILE, device_id=HOSTILE, uri=f"/{HOSTILE}", host=HOSTILE, user_agent=HOSTILE)
    for code in ("certificate_revoked", "user_mismatch", "certificate_not_allowed", "no_rule", "wrong_password"):
        values = {"status": 401, "login": "basic"} if code == "wrong_password" else {"reason": code, "detail": HOSTILE}
        stage.line(HOUR, identity=evil, user=HOSTILE, device_id=HOSTILE, rule=HOSTILE, **({"status": 403} | values))
        for who in (OUTSIDE, "0A11CE"):
            out, err = why(who)
            assert all(letter.isprintable() or letter == "\n" for letter in out + err)
            command = document(who)["verdict"]["command"]
            assert "rm -rf" not in command


def test_a_hostile_who_is_searched_for_and_escaped(stage, why):
    refused_twice(stage)
    out = why(HOSTILE, code=1).out
    assert all(letter.isprintable() or letter == "\n" for letter in out)


def test_torn_lines_are_skipped_and_said(stage, why):
    refused_twice(stage)
    stage.lines.insert(1, b'{"time":"2026-11-24T07:0\n')
    stage.lines.insert(2, b'{"time":"2026-11-24T07:00:00Z","status":403,"reason":"no_rule","cert_email":["alice"]}\n')
    out, err = why("alice")
    assert "alice@example.com" in out
    assert "1 line skipped" in err


def test_long_lines_and_many_people_stay_within_bounds(stage, monkeypatch, document):
    """Texts of a line that is kept are cut; people who were not seen for long are forgotten."""
    monkeypatch.setattr(survey, "MAX_ALL", 3)
    for number in range(10):
        identity = shown(email=f"p{number}@example.com", fingerprint=f"{number:064x}", serial=f"{number:02X}")
        stage.line(number, identity=identity, user_agent="x" * 9000, uri="/" + "y" * 8000)
    number = stage.refused(60, "no_rule", "z" * 1000, identity=shown(), user_agent="x" * 9000, uri="/" + "y" * 8000)
    told = document(number)
    assert len(told["first_refusal"]["uri"]) == 256
    assert told["first_refusal"]["uri"].endswith("…")


def test_what_is_kept_of_a_person_is_bounded():
    person = history.Person("alice")
    people = history.People(2)
    for number in range(100):
        people.add(f"p{number}@example.com", hit_of(number))
        person.add(hit_of(number))
    assert len(people) == 2
    assert people.forgotten == 98
    assert len(person.tracks) == history.MAX_TRACKS
    assert len(person.addresses) == history.MAX_ADDRESSES
    assert len(person.certificates) == history.MAX_CERTIFICATES


def hit_of(number: int):
    line = line_of(
        number, client_ip=f"198.51.100.{number}", uri=f"/{number}/x", identity=shown(fingerprint=f"{number:064x}")
    )
    return Hit(line, parse(line.rstrip(b"\n")))


@pytest.mark.parametrize(
    ("who", "line"),
    [
        ("alice@example.com", b'"user":"ALICE"'),
        ("alice", b'"user":"bob","reason":"no_rule"'),
        ("0a:11:ce", b'"cert_serial":"0A11CE"'),
        ("203.0.113.9", b'"client_ip":"203.0.113.9"'),
    ],
)
def test_the_finder_chooses_the_lines_that_matter(who, line):
    finder = question_of(who, NOW).finder()
    assert compile_finder(finder).search(line)
    assert not compile_finder(finder).search(b'"user":"carol","client_ip":"192.0.2.1","reason":null')


@pytest.mark.parametrize("who", ["al", "07:12", "2001:db8::/64", "10.0.0.0/8", "K7MP-3XWA", EAS[:2]])
def test_where_a_finder_would_miss_lines_there_is_none(who):
    assert question_of(who, NOW).finder() is None
