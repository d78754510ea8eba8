"""`gateway explain --log`: whose verdict changes, what can't be told, and how it is printed."""

from __future__ import annotations

import gzip
import json
import re
import sys
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from support.log_lines import BEGIN, combined_of, identity_of, line_of
from support.pki import Ca, server

from gateway import clock
from gateway.cli.app import run
from gateway.cli.replay import facts, verdicts
from gateway.logs.entry import parse

CONFIG = """\
listen: [{{address: "127.0.0.1:0"}}]
networks: {{internal: [10.0.0.0/8]}}
sites: [{{hosts: [mail.example.com], certificate: server.crt, key: server.key, client_ca: [ca.crt], upstream: mail}}]
upstreams: {{mail: {{servers: ["http://127.0.0.1:1"]}}}}
rules:
{rules}
"""
EAS = "/Microsoft-Server-ActiveSync?Cmd=Sync&User=alice&DeviceId=D1&DeviceType=x"
ALLOW_ALL = "- {name: All, action: allow}"
DENY_ALL = "- {name: None, action: deny}"
REQUIRE = '- {name: Mail, action: require_certificate, certificate: {email: ["*@example.com"], bind_user: email}}'
ALICE = replace(identity_of("alice", email="alice@example.com"), issuer="CN=Test Root")
LET_IN = {"rule": "Old", "decision": "allow", "login": "none"}
BY_CERTIFICATE = {"rule": "Old", "decision": "require_certificate", "login": "basic", "user": "alice"}
NO_CERTIFICATE = LET_IN | {"decision": "require_certificate", "reason": "certificate_missing", "detail": "none"}
DENIED = {"rule": "Old", "decision": "deny", "reason": "denied_by_rule", "detail": "denied", "login": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    dates = {"not_before": clock.now() - timedelta(days=1), "not_after": clock.now() + timedelta(days=300)}
    Ca.make("CN=Test Root", **dates).write(folder, "ca")
    server(folder)
    return folder


@pytest.fixture
def replay(folder, capsys):
    """Replays these lines against these rules: what is printed, as text or JSON."""

    def replay(rules, *lines, code, options=()):
        (folder / "config.yaml").write_text(CONFIG.format(rules="\n".join(f"  {line}" for line in rules.splitlines())))
        (folder / "access.jsonl").write_bytes(b"".join(lines))
        log = str(folder / "access.jsonl")
        assert run(["explain", "-c", str(folder / "config.yaml"), "--log", log, *options]) == code
        return capsys.readouterr()

    return replay


@pytest.fixture
def replay_json(replay):
    return lambda *some, code: json.loads(replay(*some, code=code, options=["--json"]).out)


def test_people_who_would_be_shut_out_come_first(replay):
    out = replay(
        "- {name: Bobs, uri: /bob, action: allow}\n- {name: No, uri: /alice, action: deny}\n" + ALLOW_ALL,
        line_of(1, user="bob", uri="/bob", **DENIED),
        line_of(2, user="alice", uri="/alice?folder=1", **LET_IN),
        line_of(62, user="alice", uri="/alice?folder=2", **LET_IN),
        line_of(3, user="carol", uri="/", **LET_IN),
        code=1,
    ).out.splitlines()  # fmt: skip
    at = f"{BEGIN.astimezone():%Y-%m-%d %H:%M}", f"{(BEGIN + timedelta(minutes=1)).astimezone():%Y-%m-%d %H:%M}"
    rows = [re.split(" {2,}", line.strip()) for line in out if "203.0.113.9" in line]
    address, where = "203.0.113.9", "GET mail.example.com"
    assert rows == [
        ["alice", address, f"{where}/alice", "let in (Old)", "denied_by_rule (No)", "2", at[1]],
        ["bob", address, f"{where}/bob", "denied_by_rule (Old)", "let in (Bobs)", "1", at[0]],
    ]
    assert [line for line in out if line and not line.startswith(" ")] == [
        "Would be shut out", "Would newly come in", "4 requests: 1 unchanged, 3 changed, 0 cannot tell",
    ]  # fmt: skip


def test_nothing_changes(replay):
    lines = line_of(1, **LET_IN), line_of(2, **LET_IN, status=502, reason="upstream_unreachable", detail="refused")
    assert replay(ALLOW_ALL, *lines, code=0) == ("2 requests: 2 unchanged, 0 changed, 0 cannot tell\n", "")


def test_the_same_verdict_by_another_rule_is_no_change(replay_json):
    told = replay_json(DENY_ALL, line_of(**DENIED), code=0)
    assert (told["unchanged"], told["changed"]) == (1, 0)


def test_another_reason_is_listed_last(replay, replay_json):
    told = replay_json(DENY_ALL, line_of(**NO_CERTIFICATE), line_of(**LET_IN), code=1)
    assert [change["kind"] for change in told["changes"]] == ["shut_out", "other_reason"]
    assert told["changes"][1]["was"] == {"reason": "certificate_missing", "rule": "Old", "observed": None}
    assert "Would be refused for another reason" in replay(DENY_ALL, line_of(**NO_CERTIFICATE), code=1).out


def test_a_certificate_that_was_trusted_and_has_the_address_is_let_in_again(replay_json):
    told = replay_json(REQUIRE, line_of(identity=ALICE, **BY_CERTIFICATE), code=0)
    assert told["unchanged"] == 1
    told = replay_json(REQUIRE.replace("@example.com", "@other.example"), line_of(**NO_CERTIFICATE), code=0)
    assert told["unchanged"] == 1


@pytest.mark.parametrize(
    ("rules", "line", "missing"),
    [
        (REQUIRE, line_of(**LET_IN), "certificate"),
        (REQUIRE, line_of(identity=ALICE, **LET_IN), "trust"),
        (REQUIRE, line_of(identity=replace(ALICE, issuer="CN=Former"), **BY_CERTIFICATE), "trust"),
        (REQUIRE.replace("*@", "bob@"), line_of(identity=ALICE, **BY_CERTIFICATE), "email"),
        (REQUIRE.replace("d_user: email", "d_user: upn"), line_of(identity=ALICE, **BY_CERTIFICATE), "principal"),
        (
            REQUIRE.replace("bind_user: email", "ca: [ca.crt]"),
            line_of(identity=ALICE, **BY_CERTIFICATE),
            "authority",
        ),
        (REQUIRE, line_of(identity=ALICE, uri=EAS + "&token=x", **BY_CERTIFICATE), "login"),
        ("- {name: A, uri: /a, action: deny}\n" + ALLOW_ALL, line_of(uri="/x;token=y?a", **LET_IN), "path"),
        ("- {name: A, uri: /a, action: deny}\n" + ALLOW_ALL, line_of(method="MOVE", **LET_IN), "destination"),
        ("- {name: A, hosts: [mail.example.com], action: allow}", line_of(host=None, **LET_IN), "host"),
        (ALLOW_ALL, combined_of(), "combined"),
    ],
)  # fmt: skip
def test_what_the_line_lacks_is_never_called_unchanged(replay, replay_json, rules, line, missing):
    told = replay_json(rules, line, code=1)
    assert (told["unchanged"], told["changed"], told["cannot_tell"]) == (0, 0, 1)
    assert [(each["fact"], each["count"]) for each in told["missing"]] == [(missing, 1)]
    person = next(iter(told["missing"][0]["people"]))
    assert (
        f"\n  cannot tell 1: the log lacks {told['missing'][0]['why']} ({person})\n" in replay(rules, line, code=1).out
    )


def test_earlier_logins_of_a_connection_count_where_it_belongs_to_one_client(replay_json, monkeypatch):
    servers = '["http://127.0.0.1:1"]'
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", CONFIG.replace(servers, f"{servers}, connections: per_client"))
    told = replay_json(REQUIRE, line_of(identity=ALICE, **BY_CERTIFICATE), code=1)
    assert [each["fact"] for each in told["missing"]] == ["earlier_logins"]
    told = replay_json(
        REQUIRE, line_of(identity=ALICE, **BY_CERTIFICATE | {"login": "connection", "user": None}), code=1
    )
    assert [change["would_be"]["reason"] for change in told["changes"]] == ["user_mismatch"]


@pytest.mark.parametrize("user", ["al\u202eice", "a" * 1023 + "…", "x?token=[redacted]"])
def test_a_login_that_the_log_has_not_as_it_was_is_not_compared(replay_json, user):
    told = replay_json(REQUIRE, line_of(identity=ALICE, **BY_CERTIFICATE | {"user": user}), code=1)
    assert [each["fact"] for each in told["missing"]] == ["login"]


@pytest.mark.parametrize(("issuer", "unchanged"), [("CN=Stranger", 1), ("CN=Test Root", 0)])
def test_an_untrusted_certificate_stays_so_unless_its_issuer_is_now_in_client_ca(replay_json, issuer, unchanged):
    refused = BY_CERTIFICATE | {"reason": "certificate_untrusted", "detail": "x"}
    told = replay_json(REQUIRE, line_of(identity=replace(ALICE, issuer=issuer), **refused), code=1 - unchanged)
    assert (told["unchanged"], told["cannot_tell"]) == (unchanged, 1 - unchanged)


@pytest.mark.parametrize("reason", ["certificate_expired", "certificate_not_allowed"])
def test_a_certificate_that_was_refused_is_judged_as_it_was(replay_json, reason):
    refused = BY_CERTIFICATE | {"reason": reason, "detail": "x"}
    told = replay_json(
        "- {name: Any, action: require_certificate}",
        line_of(identity=ALICE, **refused),
        code=1 if "not" in reason else 0,
    )
    assert [change["kind"] for change in told["changes"]] == (["let_in"] if "not" in reason else [])


def test_a_client_that_a_proxy_named_is_not_known_without_trusted_proxies(replay_json):
    line = line_of(**LET_IN).replace(b'"client_port":51234', b'"client_port":null')
    told = replay_json("- {name: In, from: internal, action: allow}", line, code=1)
    assert [each["fact"] for each in told["missing"]] == ["client"]


def test_lines_on_which_no_rule_decided_are_counted_apart(replay):
    out = replay(
        ALLOW_ALL,
        line_of(1, **LET_IN),
        line_of(2, method=None, uri=None, host=None, status=None, reason="handshake_failed: no", detail="no"),
        line_of(3, status=429, reason="locked_out", detail="x"),
        line_of(4, status=429, reason="locked_out", detail="x"),
        line_of(5, status=400, reason="uri_rejected", detail="x"),
        line_of(6, status=400, reason="bad_request", detail="x", **LET_IN),
        line_of(7, status=308),
        code=0,
    ).out.splitlines()
    assert out == [
        "1 request: 1 unchanged, 0 changed, 0 cannot tell",
        "  not judged 2: the client was locked out",
        "  not judged 1: refused before any rule: bad_request",
        "  not judged 1: the TLS handshake failed",
        "  not judged 1: no rule was asked: redirects and published lists",
        "  not judged 1: refused before any rule: uri_rejected",
    ]


@pytest.mark.parametrize(("enforce", "words"), [("2099-03-01", "from 2099-03-01 on"), ("false", "once enforced")])
def test_a_rule_in_observation_counts_as_what_it_does_from_its_day_on(replay, replay_json, enforce, words):
    rules = f"- {{name: Mail, action: require_certificate, enforce: {enforce}}}"
    observed = {"rule": "Mail", "decision": "require_certificate", "observed": "certificate_missing", "login": "none"}
    lines = line_of(1, user="bob", **observed), line_of(2, user="bob", **NO_CERTIFICATE)
    out = replay(rules, *lines, code=1).out
    assert "let in, observed certificate_missing (Mail)  certificate_missing " + words + " (Mail)" in out
    assert "Rules in observation count as what they do from their day on; until then they let in." in out
    told = replay_json(rules, *lines, code=1)
    assert [change["kind"] for change in told["changes"]] == ["shut_out", "let_in"]
    assert told["changes"][0]["would_be"]["observed"] == "certificate_missing"


def test_a_host_that_no_site_answers_to_any_more(replay_json):
    told = replay_json(ALLOW_ALL, line_of(host="old.example.com", **LET_IN), code=1)
    assert told["changes"][0]["would_be"]["reason"] == "unrecognized_name"
    assert told["changes"][0]["site"] == "old.example.com"


def test_several_files_since_and_standard_input(folder, capsys, monkeypatch, replay):
    replay(ALLOW_ALL, line_of(1, **LET_IN), code=0)
    packed = folder / "access.jsonl.1.gz"
    packed.write_bytes(gzip.compress(line_of(-7200, **LET_IN)))
    command = ["explain", "-c", str(folder / "config.yaml"), "--log", str(folder / "access.jsonl")]
    assert run([*command, str(packed)]) == 0
    assert capsys.readouterr().out.startswith("2 requests")
    assert run([*command, "--log", str(packed)]) == 0
    assert capsys.readouterr().out.startswith("2 requests")
    assert run([*command, str(packed), "--since", BEGIN.isoformat()]) == 0
    assert capsys.readouterr().out.startswith("1 request:")
    with (folder / "access.jsonl").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=file.fileno))
        assert run([*command[:-1], "-"]) == 0
    assert capsys.readouterr().out.startswith("1 request:")


def test_a_file_that_ends_in_the_middle_exits_with_2(folder, capsys, replay):
    replay(ALLOW_ALL, line_of(1, **LET_IN), code=0)
    torn = folder / "torn.gz"
    torn.write_bytes(gzip.compress(line_of(1, **LET_IN) * 100)[:-20])
    assert run(["explain", "-c", str(folder / "config.yaml"), "--log", str(torn), str(folder / "access.jsonl")]) == 2
    out, err = capsys.readouterr()
    assert "requests: " in out or "request: " in out
    assert "not read to its end" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log", "LOG", "--ip", "10.0.0.1"], "--log takes requests from the log"),
        (["--log", "LOG", "-X", "POST"], "--log takes requests from the log"),
        (["--log", "LOG", "--since", "2099-01-01"], "no line has a request on which rules decided"),
        (["--log", "NONE"], "No such file"),
        (["--since", "1d", "https://mail.example.com", "--ip", "10.0.0.1"], "--since is for --log"),
        (["--ip", "10.0.0.1"], "no URL is given"),
        (["--ip", "10.0.0.1", "https://mail.example.com", "x"], "2 URLs are given"),
        (["https://mail.example.com"], "--ip is missing"),
    ],
)  # fmt: skip
def test_unusable_options(folder, capsys, replay, arguments, words):
    replay(ALLOW_ALL, line_of(1, **LET_IN), code=0)
    named = [str(folder / "access.jsonl") if word == "LOG" else word for word in arguments]
    assert run(["explain", "-c", str(folder / "config.yaml"), *named]) == 2
    assert words in capsys.readouterr().err


def test_hostile_names_reach_the_terminal_escaped(replay):
    out = replay(DENY_ALL, line_of(user="a\x1b[2J\u202e", uri=b"/\xff\x9b", **LET_IN), code=1).out
    assert out.replace("\n", "").isprintable()
    assert "a\\x1b[2J" in out


def test_what_is_remembered_has_a_bound(replay, replay_json, monkeypatch):
    monkeypatch.setattr(verdicts, "MAX_CHANGES", 2)
    monkeypatch.setattr(verdicts, "MAX_REMEMBERED", 2)
    monkeypatch.setattr(verdicts, "MAX_PEOPLE", 2)
    lines = [line_of(second, user=f"user{second}", **LET_IN) for second in range(5)]
    told = replay_json(DENY_ALL, *lines, *lines, code=1)
    assert (told["changed"], len(told["changes"]), told["changes_not_listed"]) == (10, 2, 6)
    assert (
        "6 requests more whose verdict changes: see fewer with --since" in replay(DENY_ALL, *lines, *lines, code=1).out
    )
    told = replay_json(REQUIRE, *lines, code=1)
    assert (told["missing"][0]["count"], len(told["missing"][0]["people"])) == (5, 2)


def test_paths_are_listed_by_their_beginning(replay_json):
    paths = ["/owa/auth/a.js", "/owa/auth/b.js?x", "/owa/auth/", "/owa/auth", "/owa/", "/"]
    told = replay_json(DENY_ALL, *(line_of(uri=path, **LET_IN) for path in paths), code=1)
    assert {change["path"]: change["count"] for change in told["changes"]} == {
        "/owa/auth/…": 2, "/owa/auth/": 1, "/owa/auth": 1, "/owa/": 1, "/": 1,
    }  # fmt: skip


def test_scanners_leave_room_for_people(replay, replay_json, monkeypatch):
    monkeypatch.setattr(verdicts, "MAX_CHANGES", 50)
    scans = [line_of(second, uri=f"/{second}", **NO_CERTIFICATE) for second in range(60)]
    told = replay_json(DENY_ALL, *scans, line_of(70, user="alice", **LET_IN), code=1)
    assert [change["person"] for change in told["changes"] if change["kind"] == "shut_out"] == ["alice"]
    assert (len(told["changes"]), told["changes_not_listed"]) == (51, 10)
    assert "  and 10 more: --json lists them\n" in replay(DENY_ALL, *scans, code=1).out


def test_reasons_of_connections_and_of_other_versions_are_not_listed_one_by_one(replay_json):
    lines = [line_of(n, method=None, uri=None, reason=f"proxy {n}: no", detail="x") for n in range(3)]
    lines += [line_of(n, reason=f"new {n}", detail="x", rule="Old") for n in range(2)]
    told = replay_json(ALLOW_ALL, *lines, line_of(9, **LET_IN), code=0)
    assert told["not_judged"] == {"no_request": 3, "other": 2}


def test_many_people_are_cut_in_the_text(replay):
    lines = [line_of(second, user=f"user{second}", **LET_IN) for second in range(10)]
    assert "(user0, user1, user2, user3, user4, user5, user6, user7 and 2 more)" in replay(REQUIRE, *lines, code=1).out


def test_wide_characters_are_measured_in_cells(replay):
    lines = line_of(1, user="日本", **LET_IN), line_of(2, user="al", **LET_IN)
    rows = [line for line in replay(DENY_ALL, *lines, code=1).out.splitlines() if "203.0.113.9" in line]
    assert rows[0].startswith("  al      203.0.113.9")
    assert rows[1].startswith("  日本    203.0.113.9")


@pytest.mark.parametrize(
    ("subject", "attributes"),
    [
        ("", ()),
        ("CN=alice,O=Example\\, Ltd", (("O", "Example, Ltd"), ("CN", "alice"))),
        ("CN=\\ a\\+b\\\\ ,O=\\#x+OU=y,C=DE", (("C", "DE"), ("O", "#x"), ("OU", "y"), ("CN", " a+b\\ "))),
        ("1.2.3=#0a0b", (("1.2.3", "#0a0b"),)),
        ("CN=a\\u200e", None),
        ("CN=a\\q", None),
        ("CN=a,", None),
        ("alice", None),
        ("CN=" + "a" * 1020 + "…", None),
    ],
)
def test_a_subject_is_read_as_it_was_or_not_at_all(subject, attributes):
    assert facts.attributes_of(subject) == attributes


def test_lines_of_other_versions_tell_less(replay_json):
    line = {"time": "2026-11-24T07:00:00Z", "client_ip": "no address", "method": "GET", "host": "b\u00fccher.example"}
    line |= {"uri": "*", "rule": "Old", "site": "mail.example.com", "cert_fingerprint": "ab", "login": "odd"}
    told = replay_json(REQUIRE, json.dumps(line).encode() + b"\n", code=1)
    assert told["cannot_tell"] == 1
    assert parse(json.dumps(line).encode()) is not None
