"""`gateway explain` says what would happen, with the code that makes it happen."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from support.pki import Ca, server

from gateway import clock
from gateway.cli.app import run

CONFIG = """\
listen: [{{address: "127.0.0.1:0"}}]
networks: {{internal: [10.0.0.0/8], office: [203.0.113.0/28]}}
trusted_proxies: [10.9.9.9]
sites:
  - {{hosts: [mail.example.com, "*.mail.example.com"], certificate: server.crt, key: server.key,
      client_ca: [ca.crt], upstream: mail}}
upstreams: {{mail: {{servers: ["http://127.0.0.1:1"]}}}}
rules:
  - {{name: Inside, from: internal, action: allow}}
  - {{name: Mail, from: external, uri: [/webmail, /Microsoft-Server-ActiveSync], methods: [GET, POST],
      action: require_certificate, certificate: {{email: ["*@example.com"], bind_user: email}}}}
  - {{name: Rest, action: deny}}
"""
OUTSIDE = "198.51.100.7"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    now = clock.now()
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=300)}
    ca = Ca.make("CN=Test Root", **dates)
    ca.write(folder, "ca")
    server(folder)
    ca.issue("CN=alice,O=Example Ltd", email="alice@example.com", **dates).write(folder, "alice")
    Ca.make("CN=Other Root", **dates).issue("CN=mallory", email="alice@example.com", **dates).write(folder, "mallory")
    (folder / "config.yaml").write_text(CONFIG.format())
    return folder


@pytest.fixture
def ask(folder, capsys):
    def ask(*arguments, code=0):
        assert run(["explain", "-c", str(folder / "config.yaml"), *map(str, arguments)]) == code
        return capsys.readouterr()

    return ask


@pytest.fixture
def ask_json(ask):
    return lambda *arguments: json.loads(ask("--json", *arguments).out)


def test_two_logins_contradict_each_other(ask):
    question = ("--ip", "10.1.2.3", "https://mail.example.com/webmail")
    said = ask(*question, "--user", "alice", "--login", "bearer", code=2).err
    assert said.startswith("gateway: --user and --login bearer contradict each other: a request has one login\n")
    for login in (("--user", "alice"), ("--login", "bearer")):
        ask(*question, *login)


def test_inside_nobody_is_asked(ask_json):
    told = ask_json("--ip", "10.1.2.3", "https://mail.example.com/anything")
    assert told["client"] == {
        "peer": "10.1.2.3", "address": "10.1.2.3", "found": "the TCP peer", "networks": ["internal"],
    }  # fmt: skip
    assert told["certificate"]["asked"] is False
    assert told["outcome"] == {
        "passes": True, "status": None, "reason": None, "detail": "allowed without a certificate",
        "observed": None, "decision": "allow", "rule": "Inside", "line": 9, "upstream": "mail",
    }  # fmt: skip


def test_outside_without_a_certificate_it_is_403(ask_json):
    told = ask_json("--ip", OUTSIDE, "https://Mail.Example.com:443/x/../%57ebMail/?a=b")
    assert (told["host"], told["site"]) == ("mail.example.com", "mail.example.com")
    assert (told["path"], told["matched_as"]) == ("/WebMail/", "/webmail/")
    assert told["certificate"]["asked"] is True
    assert told["certificate"]["shown"] is False
    assert [(rule["rule"], rule["matches"]) for rule in told["rules"]] == [("Inside", False), ("Mail", True)]
    assert told["rules"][0]["why"] == "198.51.100.7 is not in from [internal]"
    outcome = told["outcome"]
    assert (outcome["passes"], outcome["status"], outcome["reason"]) == (False, 403, "certificate_missing")
    assert (outcome["decision"], outcome["rule"], outcome["line"]) == ("require_certificate", "Mail", 10)


def test_every_reading_of_a_path_is_shown_and_the_strictest_decides(ask_json, ask):
    url = "https://mail.example.com/webmail/%C4%B1."
    told = ask_json("--ip", "10.1.2.3", url)
    assert told["matched_as"] == "/webmail/ı."
    assert told["read_as"] == ["/webmail/i.", "/webmail/ı", "/webmail/i"]
    assert told["outcome"]["passes"] is True
    assert "and at /webmail/i, as some servers read it" in ask("--ip", "10.1.2.3", url).out
    many = ask("--ip", "10.1.2.3", "https://mail.example.com/%2525ef%E2%80%A6%C4%B1.%20;x").out
    assert "more readings of it" in many
    told = ask_json("--ip", OUTSIDE, "https://mail.example.com/web%E2%80%8Bmail")
    assert told["rules"][-1]["rule"] == told["outcome"]["rule"]


def test_a_rule_in_observation_says_what_it_would_do(folder, ask, ask_json, monkeypatch):
    day = (clock.now() + timedelta(days=10)).date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    observing = CONFIG.format().replace("bind_user: email}}", f"bind_user: email}}, enforce: {day}}}")
    (folder / "config.yaml").write_text(observing)
    try:
        monkeypatch.setattr(clock, "now", lambda: midnight - timedelta(seconds=1))
        told = ask_json("--ip", OUTSIDE, "https://mail.example.com/webmail")
        outcome = told["outcome"]
        assert (outcome["passes"], outcome["reason"], outcome["observed"]) == (True, None, "certificate_missing")
        assert (outcome["upstream"], told["rules"][1]["in_observation"]) == ("mail", True)
        text = ask("--ip", OUTSIDE, "https://mail.example.com/webmail").out
        assert text.splitlines()[-1] == (
            "outcome: passes to the upstream mail as a request without a certificate: would be refused, "
            "certificate_missing: the client sent no certificate; the rule is in observation"
        )
        assert "line 10: Mail: matches, require_certificate, in observation" in text
        monkeypatch.setattr(clock, "now", lambda: midnight)
        told = ask_json("--ip", OUTSIDE, "https://mail.example.com/webmail")
        assert (told["outcome"]["status"], told["outcome"]["observed"]) == (403, None)
        assert told["rules"][1]["in_observation"] is False
    finally:
        (folder / "config.yaml").write_text(CONFIG.format())


def test_the_certificate_is_judged_and_its_conditions_too(ask_json, folder):
    cert = folder / "alice.crt"
    told = ask_json("--ip", OUTSIDE, "--cert", cert, "--user", "alice", "https://mail.example.com/webmail")
    assert told["certificate"]["trusted"] is True
    assert told["certificate"]["email"] == ["alice@example.com"]
    assert told["outcome"]["passes"] is True
    told = ask_json("--ip", OUTSIDE, "--cert", cert, "--user", "bob", "https://mail.example.com/webmail")
    assert told["outcome"]["reason"] == "user_mismatch"


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        (("--login", "connection"), "an earlier login on this connection hides its user name"),
        (("--login", "connection", "--user", "alice"), "an earlier login on this connection hides its user name"),
        (("--login", "bearer"), "hides the user name (Bearer)"),
    ],
)
def test_a_login_without_a_name_belongs_to_nobody(ask_json, folder, options, detail):
    cert = folder / "alice.crt"
    told = ask_json("--ip", OUTSIDE, "--cert", cert, *options, "https://mail.example.com/webmail")
    assert told["outcome"]["reason"] == "user_mismatch"
    assert detail in told["outcome"]["detail"]


def test_an_activesync_query_names_the_user(ask_json, folder):
    url = "https://mail.example.com/Microsoft-Server-ActiveSync?Cmd=Ping&User=bob&DeviceId=A1&DeviceType=iPhone"
    told = ask_json("--ip", OUTSIDE, "--cert", folder / "alice.crt", "-X", "POST", url)
    assert told["outcome"]["reason"] == "user_mismatch"


def test_another_cas_certificate_is_refused(ask_json, folder):
    told = ask_json("--ip", OUTSIDE, "--cert", folder / "mallory.crt", "https://mail.example.com/webmail")
    assert told["certificate"]["reason"] == "certificate_untrusted"
    assert told["outcome"]["reason"] == "certificate_untrusted"


def test_a_certificate_that_nobody_asks_for_is_never_shown(ask, ask_json, folder):
    arguments = ("--ip", "10.1.2.3", "--cert", folder / "alice.crt", "https://mail.example.com/")
    assert ask_json(*arguments)["certificate"]["shown"] is False
    assert "so the client never sends the one given with --cert" in ask(*arguments).out


@pytest.mark.parametrize(
    ("url", "status", "reason"),
    [
        ("https://mail.example.com/..%2fwebmail", 400, "uri_rejected"),
        ("https://mail.example.com/webmail#x", 400, "uri_rejected"),
        ("https://mail..example.com/", 400, "bad_request"),
        ("https://user@mail.example.com/", 400, "bad_request"),
        ("https://other.example.com/", None, "unrecognized_name"),
        ("https://mail.example.com/webmailx", 403, "denied_by_rule"),
        ("mail.example.com", 403, "denied_by_rule"),
        ("a.mail.example.com?x", 403, "denied_by_rule"),
    ],
)
def test_every_way_of_ending_is_told(ask_json, ask, url, status, reason):
    outcome = ask_json("--ip", OUTSIDE, url)["outcome"]
    assert (outcome["passes"], outcome["status"], outcome["reason"]) == (False, status, reason)
    assert f"outcome: {status or 'the handshake fails'} {reason}: " in ask("--ip", OUTSIDE, url).out


@pytest.mark.parametrize(
    ("peer", "chain", "client", "found"),
    [
        ("10.9.9.9", "198.51.100.7, 10.9.9.9", "198.51.100.7", "X-Forwarded-For of the trusted proxy 10.9.9.9"),
        (
            "198.51.100.7",
            "10.0.0.1",
            "198.51.100.7",
            "the TCP peer; it is not in trusted_proxies, so its X-Forwarded-For",
        ),
        ("::ffff:10.1.1.1", None, "10.1.1.1", "the TCP peer"),
    ],
)
def test_how_the_client_was_found(ask_json, peer, chain, client, found):
    extra = () if chain is None else ("--forwarded-for", chain)
    told = ask_json("--ip", peer, *extra, "https://mail.example.com/")
    assert told["client"]["address"] == client
    assert told["client"]["found"].startswith(found)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ((), "a trusted proxy that sends no X-Forwarded-For, so no client is known"),
        (("--forwarded", "for=10.1.1.1"), "a trusted proxy that sends no X-Forwarded-For, so no client is known"),
    ],
)
def test_a_trusted_proxy_that_names_no_client_is_in_no_network(ask_json, ask, fields, found):
    told = ask_json("--ip", "10.9.9.9", *fields, "https://mail.example.com/webmail")
    assert told["client"] == {"peer": "10.9.9.9", "address": "10.9.9.9", "found": found, "networks": []}
    assert told["certificate"]["asked"] is True
    assert [rule["matches"] for rule in told["rules"]] == [False, False, True]
    assert (told["outcome"]["reason"], told["outcome"]["rule"]) == ("denied_by_rule", "Rest")
    assert "the trusted proxy 10.9.9.9 named no client" in told["outcome"]["detail"]
    out = ask("--ip", "10.9.9.9", *fields, "https://mail.example.com/webmail").out
    assert "in no network: no client is known, only its proxy" in out


def test_a_proxy_that_is_named_as_the_client_is_not_inside(ask_json):
    told = ask_json("--ip", "10.9.9.9", "--forwarded-for", "10.9.9.9", "https://mail.example.com/webmail")
    assert told["client"]["found"] == "X-Forwarded-For of the trusted proxy 10.9.9.9"
    assert [rule["matches"] for rule in told["rules"]] == [False, False, True]
    assert "10.9.9.9 is a trusted proxy, so only a rule whose from lists it" in told["outcome"]["detail"]


def test_forwarded_counts_where_it_is_configured(folder, capsys):
    config = CONFIG.format().replace("[10.9.9.9]", "{from: 10.9.9.9, header: forwarded}")
    (folder / "forwarded.yaml").write_text(config)
    command = ["explain", "-c", str(folder / "forwarded.yaml"), "--json", "--ip", "10.9.9.9"]
    assert run([*command, "--forwarded", "for=unknown", "https://mail.example.com/"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["client"]["found"] == "a trusted proxy; Forwarded names no client behind it"
    assert run([*command, "--forwarded", "for=10.1.1.1", "https://mail.example.com/"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["client"]["found"] == "Forwarded of the trusted proxy 10.9.9.9"
    assert (told["client"]["address"], told["outcome"]["rule"]) == ("10.1.1.1", "Inside")
    fields = ["--forwarded", "for=10.1.1.1", "--forwarded-for", "10.1.1.2"]
    assert run([*command, *fields, "https://mail.example.com/"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"]["detail"] == "X-Forwarded-For and Forwarded name different clients"


def test_a_trusted_proxys_nonsense_is_a_bad_request(ask_json):
    told = ask_json("--ip", "10.9.9.9", "--forwarded-for", "unknown", "https://mail.example.com/")
    assert told["outcome"]["reason"] == "bad_request"
    assert told["client"]["address"] is None


def test_plain_lines_tell_the_whole_way(ask, folder):
    out = ask("--ip", OUTSIDE, "--cert", folder / "alice.crt", "https://mail.example.com/WebMail").out
    assert out.splitlines() == [
        "client 198.51.100.7",
        "  the TCP peer",
        "  in the networks: external",
        "host mail.example.com",
        "  site mail.example.com, upstream mail",
        "  GET /WebMail goes to the upstream in this spelling",
        "  rules look at /webmail",
        "certificate: asked for, and trusted: issued by CN=Test Root",
        "  CN=alice,O=Example Ltd",
        "rules, from the top",
        "  line 9: Inside: does not match",
        "    no  from: 198.51.100.7 is not in from [internal]",
        "  line 10: Mail: matches, require_certificate",
        "    yes from: 198.51.100.7 is in from [external]",
        "    yes uri: /webmail is in uri [/webmail, /Microsoft-Server-ActiveSync]",
        "    yes methods: GET is in methods [GET, POST]",
        "    yes certificate: the certificate satisfies the rule",
        "outcome: passes to the upstream mail: the certificate satisfies the rule",
    ]


def test_a_refused_certificate_and_a_missing_one_are_named_in_words(ask, folder):
    out = ask("--ip", OUTSIDE, "--cert", folder / "mallory.crt", "https://mail.example.com/webmail").out
    assert "certificate: asked for, and refused: certificate_untrusted: " in out
    out = ask("--ip", OUTSIDE, "https://mail.example.com/webmail").out
    assert "certificate: the client is asked for one; none was given with --cert" in out


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--ip", "10.1", "https://mail.example.com/"), "--ip: '10.1' is not an IP address"),
        (("--ip", OUTSIDE, "http://mail.example.com/"), "is not an https URL"),
        (("--ip", OUTSIDE, "/webmail"), "names no host"),
        (("--ip", OUTSIDE, "--cert", "missing.crt", "https://mail.example.com/"), "missing.crt"),
    ],
)
def test_unusable_arguments_exit_with_2(ask, arguments, cause):
    err = ask(*arguments, code=2).err
    assert cause in err
    assert "Traceback" not in err


def test_hostile_text_does_not_reach_the_terminal(ask):
    out = ask("--ip", OUTSIDE, "https://mail.example.com\x1b[2J/").out
    assert "\x1b" not in out


def test_on_a_terminal_it_is_a_tree(folder):
    """With a real pseudo-terminal: lines are drawn, colours are on."""
    command = [sys.executable, "-m", "gateway", "explain", "-c", str(folder / "config.yaml"), "--ip", OUTSIDE]
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    subprocess.run([*command, "https://mail.example.com/webmail"], stdout=theirs, env=environ, check=True)
    os.close(theirs)
    out = os.read(ours, 65536).decode()
    os.close(ours)
    assert "├── " in out
    assert "\x1b[31m" in out
    assert "403 certificate_missing" in out


def test_the_tree_has_the_same_lines_as_the_plain_answer(ask, monkeypatch, folder):
    arguments = ("--ip", OUTSIDE, "--cert", folder / "alice.crt", "https://mail.example.com/webmail")
    plain = [line.strip() for line in ask(*arguments).out.splitlines()]
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    tree = re.sub(r"\x1b\[[0-9;]*m", "", ask(*arguments).out)
    assert [line.lstrip("│├└─ ").rstrip() for line in tree.splitlines()] == plain
