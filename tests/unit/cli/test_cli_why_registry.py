"""What `gateway logs --why` makes of odd certificates and states: in the registry, in lines, and in other formats."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from ipaddress import ip_address

import pytest
from support.desk import DAY, NOW, make_authority, reload
from support.incidents import HOUR, INSIDE, OUTSIDE, UNTRUSTED, Stage, shown

from gateway import clock
from gateway.cli.app import run
from gateway.cli.why.commands import COMMANDS, Known
from gateway.cli.why.live import Inside, Live
from gateway.cli.why.registry import Registry
from gateway.logs.entry import Entry
from gateway.pki import lifecycle
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.registry.tables import AUTHORITIES
from gateway.policy.networks import NetworkSet

WHOLE = """\
listen: [{address: "127.0.0.1:0"}]
sites: [{hosts: [mail.example.com], certificate: none.crt, key: none.key, upstream: mail}]
upstreams: {mail: {servers: ["http://127.0.0.1:2"]}}
rules: [{name: all, action: deny}]
"""
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
def ask(stage, capsys):
    """The text and the document of one answer."""

    def asked(who: str, *options: str, code: int = 0):
        stage.write()
        command = ["logs", f"--why={who}", *(options or ("access.jsonl",))]
        assert run(command) == code
        text = " ".join(capsys.readouterr().out.split())
        assert run([*command, "--json"]) == code
        return text, json.loads(capsys.readouterr().out)

    return asked


def test_a_hold_that_was_released_is_said_so(stage, ask):
    stage.registry()
    alice = stage.issue()
    stage.hold(alice)
    lifecycle.release(stage.desk, stage.signer, [held(stage, alice)], NOW - timedelta(hours=3), [])
    stage.refused(HOUR, "certificate_revoked", "put on hold by 'corp'", identity=alice)
    _, told = ask("alice")
    assert told["verdict"]["cause"] == "hold_released"
    assert told["verdict"]["command"] == "gateway ca crl corp"


def held(stage, identity):

    return reload(stage.desk, stage.issued[identity.serial])


def test_a_certificate_that_is_revoked_in_the_log_and_live_in_the_registry(stage, ask):
    """The registry was restored from an older backup, or the list is another one's."""
    stage.registry()
    alice = stage.issue()
    stage.refused(HOUR, "certificate_revoked", "revoked by 'corp'", identity=alice)
    _, told = ask("alice")
    assert told["verdict"]["text"] == "The certificate of alice@example.com was revoked."


def test_the_old_certificate_on_one_device_and_the_new_one_on_another(stage, ask):
    stage.registry()
    alice = stage.issue()
    new = stage.renew(alice, at=NOW - 15 * DAY, overlap=timedelta(0))
    stage.phone(0, new)
    stage.refused(HOUR, "certificate_revoked", "revoked by 'corp'", identity=alice)
    text, told = ask("alice")
    assert told["verdict"]["cause"] == "renewed_old_in_use"
    assert f"the new one is {new.serial}, which was last seen 2026-11-24 07:00:00" in text


def test_a_date_that_has_come_since_and_one_to_come(stage, ask):
    stage.refused(0, "certificate_not_yet_valid", "not valid before 2026-11-24 11:00:00 UTC", identity=shown())
    assert "so it is valid now" in ask("alice")[0]
    stage.refused(60, "certificate_not_yet_valid", "not valid before 2026-11-25 11:00:00 UTC", identity=shown())
    assert "still to come" in ask("alice")[0]
    stage.refused(90, "certificate_not_yet_valid", "not valid yet", identity=shown())
    assert "is not valid yet" in ask("alice")[0]


def test_another_ca_where_the_registry_has_nothing_for_the_person(stage, ask):
    stage.registry()
    stage.refused(0, "certificate_untrusted", f"{UNTRUSTED} (issuer CN=Other)", identity=shown(issuer="CN=Other"))
    text, told = ask("alice")
    assert "The registry has no valid certificate for this person." in text
    assert told["verdict"]["command"] == "gateway cert issue alice@example.com --ca corp"


def test_a_person_whose_certificates_have_all_ended(stage, ask):
    stage.registry()
    stage.revoke(stage.issue("bob@example.com"), RevocationReason.AFFILIATION_CHANGED)
    stage.refused(0, "certificate_missing", MISSING, user="bob@example.com", login="basic")
    _, told = ask("bob@example.com")
    assert told["verdict"]["cause"] == "no_valid_certificate"
    assert "revoked since 2026-11-24 08:00:00 (affiliation-changed)" in told["verdict"]["text"]


def test_a_device_that_used_its_certificate_before_and_sends_none_now(stage, ask):
    """Its refusals come before all successes in the files."""
    stage.registry()
    bob = stage.issue("bob@example.com")
    stage.refused(0, "certificate_revoked", "the CA 'corp' is revoked by 'Root'", identity=bob, uri="/owa")
    stage.refused(60, "certificate_missing", MISSING, user="bob@example.com", login="basic")
    _, told = ask("bob@example.com")
    assert told["verdict"]["cause"] == "certificate_missing"


def test_a_browser_that_offers_its_expired_certificate_no_more(stage, ask):
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=249)
    stage.line(-30 * HOUR, identity=alice)
    stage.refused(0, "certificate_missing", MISSING)
    text, told = ask("alice")
    assert told["verdict"]["cause"] == "no_valid_certificate"
    assert "which is expired since 2026-11-23 12:00:00: browsers don't offer such a one" in text
    assert told["verdict"]["command"] == f"gateway cert renew {alice.serial}"


def test_another_network_and_a_certificate_that_waits_in_the_registry(stage, ask):
    stage.registry()
    stage.issue()
    stage.line(0, client_ip=INSIDE, user="alice@example.com", login="basic", rule="From inside")
    stage.refused(HOUR, "certificate_missing", MISSING, user="alice@example.com", login="basic")
    text, told = ask("alice")
    assert told["verdict"]["cause"] == "other_network"
    assert "The registry has the certificate" in text
    assert told["verdict"]["command"].startswith("gateway cert show ")
    stage.lines = [line.replace(b"alice@example.com", b"carol@example.com") for line in stage.lines]
    assert "The registry has no valid certificate for this person." in ask("carol")[0]


def test_many_certificates_are_shown_with_their_kinds(stage, ask):
    stage.registry()
    for number in range(5):
        stage.issue(device=f"phone-{number}", at=NOW - (number + 1) * DAY, name=f"alice {number}")
    stage.issue(name="alice mail", purpose=Purpose.SMIME)
    stage.line(0, identity=shown())
    text, told = ask("alice@example.com")
    assert len(told["registry"]["certificates"]) == 6
    assert "not for logging in" in text
    assert "(phone-4)" in text
    assert "and 2 more" in text


def test_a_registry_without_authorities_says_nothing_about_people(stage, ask):
    stage.registry()
    with stage.desk.registry.writing() as connection:
        connection.execute(AUTHORITIES.delete())
    stage.line(0, identity=shown())
    assert "has no authority" in ask("alice")[0]


def test_the_registry_of_the_configuration_and_of_the_environment(stage, ask, tmp_path, monkeypatch):
    stage.registry()
    stage.issue("carol@example.com")
    stage.write()
    (tmp_path / "pki").rename(tmp_path / "elsewhere")
    url = f"sqlite:///{tmp_path}/elsewhere/registry.db"
    monkeypatch.setenv("GATEWAY_PKI_STORE", url)
    assert ask("carol")[1]["registry"]["certificates"]
    monkeypatch.delenv("GATEWAY_PKI_STORE")
    (tmp_path / "config.yaml").write_text(f'{WHOLE}pki: {{store: "{url}"}}\n')
    assert ask("carol")[1]["registry"]["certificates"]
    assert ask("carol")[1]["lockout"]["problem"]
    (tmp_path / "config.yaml").unlink()
    assert "Registry not asked: no registry was named" in ask("carol", code=1)[0]


def test_a_second_authority_that_was_revoked_issues_nothing(stage, ask):
    stage.registry()
    make_authority(stage.desk, "other", now=NOW - DAY)
    stage.refused(0, "certificate_missing", MISSING, user="bob@example.com", login="basic")
    assert ask("bob@example.com")[1]["verdict"]["command"] == "gateway cert issue bob@example.com --ca corp"


# lines


def test_without_a_number_the_lines_of_the_address_help(stage, ask):
    stage.refused(0, "bad_request", "no Host", 400, identity=shown(), request_id=None)
    assert ask("alice")[1]["verdict"]["command"] == f"gateway logs --ip {OUTSIDE} --all access.jsonl"
    stage.refused(1, "bad_request", "no Host", 400, identity=shown(), request_id=None, client_ip="unknown")
    assert ask("alice")[1]["verdict"]["command"] is None


def test_a_certificate_without_any_name_is_called_by_its_fingerprint(stage, ask):
    nameless = shown("", email=None)
    object.__setattr__(nameless, "subject", "O=Example Ltd")
    stage.refused(0, "certificate_revoked", "revoked by 'corp'", identity=nameless)
    text, told = ask("a1" * 32)
    assert told["who"] == "the certificate a1a1a1a1a1a1a1a1…"
    assert "of the holder (fingerprint a1a1a1a1a1a1a1a1…)" in text


def test_lines_of_other_programs_are_matched_as_far_as_they_go(stage, ask):
    """Without an address, with one that is none, with values of other types, and too long in the combined format."""
    stage.lines = [
        b'{"time":"2026-11-24T07:00:00Z","status":403,"reason":"no_rule"}\n',
        b'{"time":"2026-11-24T07:00:01Z","client_ip":"somewhere","status":403,"reason":"no_rule"}\n',
        b'{"time":"2026-11-24T07:00:02Z","client_ip":"203.0.113.9","status":401,"user":"alice","login":7}\n',
        b'203.0.113.9 - alice [24/Nov/2026:07:00:03 +0000] "GET /%b HTTP/1.1" 403 1 "-" "x"\n' % (b"y" * 9000),
        b'203.0.113.9 - - [24/Nov/2026:07:00:04 +0000] "GET / HTTP/1.1" 401 1 "-" "x"\n',
        b'203.0.113.9 - alice [24/Nov/2026:07:00:05 +0000] "GET / HTTP/1.1" 404 1 "-" "x"\n',
    ]
    _, told = ask("alice", "access.jsonl", code=0)
    assert told["verdict"]["reason"] == "no_reason"
    assert len(told["last_refusal"]["uri"]) == 256
    assert ask("203.0.113.0/24")[1]["verdict"]["reason"] == "no_reason"
    ask("00112233445566778899aabbccddeeff", code=1)


def test_refusals_of_another_rule_with_the_same_configuration_are_not_blamed_on_it(stage, ask):
    stage.line(0, identity=shown(), client_ip=INSIDE, uri="/webmail", rule="A")
    stage.refused(HOUR, "no_rule", "no rule matches", identity=shown(), uri="/ecp", rule=None)
    assert ask("alice")[1]["verdict"]["cause"] == "no_rule"


def test_a_changed_configuration_that_left_the_rule_as_it_was(stage, ask):
    stage.line(0, identity=shown())
    detail = "the login 'alice' does not belong to the certificate (upn)"
    stage.refused(HOUR, "user_mismatch", detail, identity=shown(), config="22222222")
    text, told = ask("alice")
    assert told["verdict"]["cause"] == "configuration_changed"
    assert "and the same request was let in before" in text


def test_a_login_that_is_compared_with_another_name_than_the_address(stage, ask):
    detail = "the login 'alice' does not belong to the certificate (cn)"
    stage.refused(0, "user_mismatch", detail, identity=shown("phone", email=None), user="alice")
    assert ask("alice")[1]["verdict"]["cause"] == "wrong_login"


def test_many_who_match_are_cut_to_a_screen(stage, ask):
    for number in range(15):
        person = shown(email=f"p{number}@example.com", fingerprint=f"{number:064x}")
        stage.refused(number, "no_rule", "no rule matches", identity=person)
    text, told = ask(OUTSIDE, code=1)
    assert "and 3 more" in text
    assert len(told["people"]) == 15


# parts


def test_whether_an_address_is_inside():
    configured = Inside(NetworkSet(()))
    assert configured.word(OUTSIDE) == "outside"
    assert configured.word("nonsense") is None
    assert configured.shown(None) == "an unknown address"
    assert configured.shown("nonsense") == "nonsense"
    assert Inside().word(str(ip_address("fd00::1"))) == "a private address"
    assert Inside().is_inside(INSIDE)


def test_without_an_answer_of_the_gateway_nothing_is_known():
    live = Live(problem="no answer")
    assert (live.lockout(OUTSIDE, None, None), live.problems(), live.outlook("rule")) == (None, [], None)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_is_made_of_what_is_not_known(name):
    """Of an empty line, a registry that was not asked, and no configuration."""
    command = COMMANDS[name](Known(Entry(NOW), "\x1b", Registry("not asked")))
    assert command is None or name in {"clock", "server_lines"}
