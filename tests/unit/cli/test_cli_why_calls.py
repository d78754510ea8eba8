"""What `gateway logs --why` must not claim, and names as callers say them."""

from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from support.desk import DAY, NOW
from support.incidents import ALICE, HOUR, INSIDE, OTHER, OUTSIDE, UNTRUSTED, Stage, shown
from support.phone_calls import MISSING, OUTLOOK, of_intermediate

from gateway import clock
from gateway.cli.app import run
from gateway.cli.why.lines import plain_name, words_of
from gateway.pki.registry.records import RevocationReason
from gateway.request_number import short_number

CONFIG = """\
listen: [{address: "127.0.0.1:0"}]
sites: [{hosts: [mail.example.com], certificate: none.crt, key: none.key, upstream: mail}]
upstreams: {mail: {servers: ["http://127.0.0.1:2"]}}
rules:
  - {name: Webmail and ActiveSync from outside, from: external, action: require_certificate, enforce: 2026-11-30}
  - {name: Rest, action: deny}
"""


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
def told(stage, capsys):
    """The document of one answer, and its text."""

    def asked(who: str, *options: str, code: int = 0):
        stage.write()
        command = ["logs", f"--why={who}", "access.jsonl", *options]
        assert run(command) == code
        text = " ".join(capsys.readouterr().out.split())
        assert run([*command, "--json"]) == code
        return json.loads(capsys.readouterr().out) | {"shown": text}

    return asked


# a configuration is blamed only if it changed


def test_a_request_for_another_path_is_not_the_same_request(stage, told):
    stage.line(0, identity=shown(), uri="/owa/")
    refused = {"identity": shown(), "uri": "/owa/options.aspx", "rule": "No options"}
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", config="22222222", **refused)
    verdict = told("alice")["verdict"]
    assert verdict["cause"] == "denied_by_rule"
    assert "was changed after 2026-11-24 07:00:00 (11111111 → 22222222): the rule may be new." in verdict["text"]


def test_without_the_key_of_the_configuration_another_path_says_nothing(stage, told):
    stage.line(0, identity=shown(), uri="/owa/", config=None)
    refused = {"identity": shown(), "uri": "/owa/options.aspx", "rule": "No options", "config": None}
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", **refused)
    verdict = told("alice")["verdict"]
    assert verdict["cause"] == "denied_by_rule"
    assert "configuration" not in verdict["text"]


def test_a_host_that_was_taken_out_of_the_sites(stage, told):
    stage.line(0, identity=shown())
    detail = "the host belongs to another site than the TLS handshake"
    stage.refused(HOUR, "host_mismatch", detail, 421, identity=shown(), rule=None, config="22222222")
    assert told("alice")["verdict"]["cause"] == "configuration_changed"


def test_a_changed_rule_that_refuses_other_paths_too(stage, told):
    stage.line(0, identity=shown(), uri="/owa/a")
    detail = "the certificate has no e-mail address that this rule lets in"
    stage.refused(HOUR, "certificate_not_allowed", detail, identity=shown(), uri="/owa/b", config="22222222")
    assert "and a request like this one was let in before" in told("alice")["verdict"]["text"]


def test_outlook_that_a_rule_let_in_before(stage, told):
    login = {"user": ALICE, "login": "basic", "uri": "/EWS/Exchange.asmx", "user_agent": OUTLOOK}
    stage.line(0, rule="Outlook", **login)
    stage.refused(HOUR, "certificate_missing", MISSING, config="22222222", **login)
    verdict = told(ALICE)["verdict"]
    assert verdict["cause"] == "configuration_changed"
    assert "uses Outlook" in verdict["text"]


def test_an_intermediate_and_a_changed_configuration(stage, told):
    of_intermediate(stage)
    alice = stage.issue()
    stage.line(0, identity=alice)
    detail = f"{UNTRUSTED} (issuer {alice.issuer})"
    stage.refused(HOUR, "certificate_untrusted", detail, identity=alice, config="22222222")
    verdict = told(ALICE)["verdict"]
    assert verdict["cause"] == "configuration_changed"
    assert "an intermediate CA. mail.example.com doesn't trust it" in verdict["text"]


# a certificate is called unseen only if its lines were read


def test_about_an_address_no_certificate_is_called_unseen(stage, told):
    stage.registry()
    stage.line(0, identity=stage.issue())
    stage.refused(HOUR, "certificate_missing", MISSING, user=ALICE, login="basic", client_ip=OTHER)
    answer = told(OTHER)
    assert answer["verdict"]["cause"] == "certificate_not_sent"
    assert f"sent none from {OTHER}" in answer["verdict"]["text"]
    assert "not seen" not in answer["shown"]


def test_with_a_filter_no_certificate_is_called_unseen(stage, told):
    stage.registry()
    alice = stage.issue()
    new = stage.renew(alice, at=NOW - 2 * DAY)
    stage.line(0, identity=new)
    stage.line(HOUR, identity=alice)
    answer = told(ALICE, "--since", "2026-11-24T07:30:00Z")
    assert answer["verdict"]["text"].endswith("was refused after 2026-11-24 08:00:00.")
    assert "not seen" not in answer["shown"]


def test_a_request_that_only_asked_for_a_login_shows_no_missing_certificate(stage, told):
    stage.registry()
    stage.issue()
    stage.line(0, user=ALICE, login="none", status=401, client_ip=OTHER)
    assert "no request of alice@example.com that was let in" in told(OTHER)["verdict"]["text"]


# renewals, lockouts, observation


def test_a_renewal_on_hold(stage, told):
    stage.registry()
    alice = stage.issue()
    new = stage.renew(alice, at=NOW - 15 * DAY, overlap=timedelta(0))
    stage.hold(new)
    stage.refused(HOUR, "certificate_revoked", "revoked by 'corp'", identity=alice)
    verdict = told(ALICE)["verdict"]
    assert verdict["cause"] == "renewal_not_valid"
    assert f"{new.serial}, is not valid either: it is on hold since 2026-11-24 08:00:00." in verdict["text"]


def test_a_new_certificate_in_place_of_a_renewal_that_was_revoked(stage, told):
    """The command for a renewal that is not valid was followed."""
    stage.registry()
    alice = stage.issue()
    stage.revoke(stage.renew(alice, at=NOW - 15 * DAY, overlap=timedelta(0)), RevocationReason.UNSPECIFIED)
    newest = stage.issue(at=NOW - timedelta(hours=1), name="Alice (new)")
    stage.refused(HOUR, "certificate_revoked", "revoked by 'corp'", identity=alice)
    verdict = told(ALICE)["verdict"]
    assert verdict["cause"] == "newer_not_installed"
    assert verdict["command"] == f"gateway cert show {newest.serial}"


def test_an_expired_certificate_whose_renewal_was_revoked(stage, told):
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=249)
    stage.revoke(stage.renew(alice, at=NOW - 20 * DAY, overlap=30 * DAY), RevocationReason.UNSPECIFIED)
    stage.line(-30 * HOUR, identity=alice)
    verdict = told(ALICE)["verdict"]
    assert verdict["cause"] == "renewal_not_valid"
    assert verdict["command"] == "gateway cert issue alice@example.com --ca corp"


def test_a_lockout_of_what_no_rule_would_let_in_names_the_rule_of_the_refusals_before(stage, told):
    stage.line(0, identity=shown())
    refused = {"identity": shown(), "rule": "Closed"}
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", **refused)
    detail = f"too many failed attempts from {OUTSIDE}; otherwise denied_by_rule: denied by the rule"
    stage.refused(HOUR + 9, "locked_out", detail, 429, identity=shown(), rule=None)
    assert 'refused too: The rule "Closed" denies GET /webmail' in told("alice")["verdict"]["text"]


def test_a_lockout_with_other_words_is_still_explained(stage, told):
    stage.refused(0, "locked_out", "locked; otherwise odd: x", 429, identity=shown())
    assert f"{OUTSIDE} was locked out after too many failed attempts." in told("alice")["verdict"]["text"]


def test_the_day_of_a_rule_in_observation_is_said(stage, told, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    stage.line(0, user="alice", login="basic", observed="certificate_missing")
    text = told("alice")["verdict"]["text"]
    assert "in observation (from 30 November 2026 on (00:00 UTC), requests without a certificate are refused)" in text


def test_a_reason_that_says_too_little_without_its_detail(stage, told):
    stage.phone(0, shown(), observed="user_mismatch")
    verdict = told("alice")["verdict"]
    assert verdict["cause"] == "observed"
    assert verdict["text"].endswith("(user_mismatch).")


def test_at_home_no_new_address_of_the_office_is_supposed(stage, told):
    """The person was in a private network before, whose address a provider doesn't change."""
    stage.line(0, client_ip=INSIDE, user="alice", login="basic", rule="From inside")
    stage.refused(HOUR, "certificate_missing", MISSING, user="alice", login="basic")
    verdict = told("alice")["verdict"]
    assert verdict["cause"] == "other_network"
    assert "networks.internal" not in verdict["remedy"]


def test_a_login_of_a_person_without_a_certificate(stage, told):
    stage.registry()
    alice = stage.issue()
    detail = "the login 'bob' does not belong to the certificate (email)"
    stage.refused_phone(0, "user_mismatch", detail, identity=alice, user="bob")
    verdict = told("bob")["verdict"]
    assert "The registry has" not in verdict["text"]
    assert verdict["usual_causes"]


def test_an_old_device_that_tries_on_does_not_hide_the_new_one(stage, told):
    """The tablet in the drawer was refused last, but the call is about the phone."""
    for device in ("TABLET2", "PHONE1"):
        stage.phone(0, shown(), device_id=device)
    number = stage.refused_phone(HOUR, "user_mismatch", "an earlier login hides its name", identity=shown())
    stage.refused_phone(2 * HOUR, "certificate_expired", "expired", identity=shown(), device_id="TABLET2")
    answer = told("alice")
    assert answer["verdict"]["reason"] == "certificate_expired"
    other = f"device PHONE1, user_mismatch ×1, the last 2026-11-24 08:00:00; ask for {short_number(number)}"
    assert any(other in note for note in answer["notes"])
    assert told(short_number(number))["verdict"]["reason"] == "user_mismatch"


def test_a_phone_that_changes_its_address_within_a_network_of_ipv6(stage, told):
    stage.line(0, identity=shown(), client_ip="2001:db8:0:1::a")
    stage.refused(HOUR, "certificate_missing", MISSING, client_ip="2001:db8:0:1::b")
    answer = told("alice")
    assert answer["is_likely"]
    assert answer["verdict"]["cause"] == "certificate_not_sent"


@pytest.mark.parametrize(("seconds", "cause"), [(1, "let_in"), (60, "works_again")])
def test_the_steps_of_a_login_are_no_refusal(stage, told, seconds, cause):
    """NTLM: the server answers 401 to the first message of the login, and 200 to the second."""
    stage.phone(0, shown(), login="connection", status=401)
    stage.phone(seconds, shown(), login="connection")
    assert told("alice")["verdict"]["cause"] == cause


# names


@pytest.mark.parametrize("who", ["Müller", "müller jürgen", "JU\u0308RGEN"])
def test_a_part_of_a_name_leads_to_the_person(stage, told, who):
    stage.line(0, identity=shown("Jürgen Müller", email="jm@example.com"))
    answer = told(who, code=1)
    assert "it is a part of these names: jm@example.com (Jürgen Müller)" in answer["about"]
    assert answer["people"] == []


def test_a_part_of_a_name_that_only_the_registry_has(stage, told):
    stage.registry()
    stage.issue("oezguer@example.com", name="Özgür Çelik")
    stage.line(0, client_ip=INSIDE)
    assert "oezguer@example.com (Özgür Çelik)" in told("çelik", code=1)["about"]


@pytest.mark.parametrize("who", ["Meier", "example", "al", "192.0.2.1", "0badcafe"])
def test_what_is_no_part_of_a_name_leads_nowhere(stage, told, who):
    stage.line(0, identity=shown("Alice Smith"), user="EXAMPLE\\alice")
    assert "part of these names" not in told(who, code=1)["about"]


def test_names_are_compared_in_one_form():
    assert plain_name("ANNA@BÜCHER.example") == "anna@xn--bcher-kva.example"
    assert plain_name("a@ü" + "x" * 300) == "a@ü" + "x" * 300
    assert plain_name("Ju\u0308rgen  Müller") == plain_name("JÜRGEN MÜLLER") == "jürgen müller"
    assert plain_name("Alice   Example") == "alice example"
    assert words_of("Alice.Smith@example.com") == {"alice", "smith"}
    assert words_of("EXAMPLE\\alice") == {"alice"}
    assert words_of("al@example.com") == set()
