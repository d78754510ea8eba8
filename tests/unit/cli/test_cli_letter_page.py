"""The page that letters lead to, held against the rules of the configuration that the command was given."""

import json
import re

import pytest
from support.config_files import BASE, NOW, fill

from gateway import clock
from gateway.cli.app import run

HEAD = BASE[: BASE.index("rules:")]
INSIDE = "  - {name: Inside, from: internal, action: allow}\n"
DENIED = "  - {name: Everything else, action: deny}\n"
WEBMAIL = f"""rules:
  - {{name: Never, uri: [/webmail/admin], action: deny}}
{INSIDE}  - name: Outside
    from: external
    uri: [~/o(wa)?, =/portal, /webmail, /Ä, "/EWS/", /webmail/admin]
    action: require_certificate
    certificate: {{email: ["*@example.com"]}}
  - {{name: Help, uri: /help, action: allow}}
  - {{name: Partners, from: 198.18.0.0/15, uri: /partners, action: require_certificate}}
  - {{name: Test, uri: /test, action: require_certificate, enforce: false}}
  - {{name: Uploads, uri: /upload, methods: [POST], action: require_certificate}}
{DENIED}"""
NO_REGISTRY = "there is no registry"


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """What both commands say of --host and --path; they end for want of a registry, or before that."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)

    def ask(rules, path="/webmail", host="mail.example.com", *, head=HEAD):
        (tmp_path / "gateway.yaml").write_text(head + rules)
        (tmp_path / "a.p12").write_bytes(b"x")
        (tmp_path / "a.password").write_text("x")
        kit = ("--kind", "ios", "--host", host, "--path", path, "--out", "out")
        told = []
        for command in (("import", "users.csv", "--ca", "corp"), ("profile", "a@example.com", "--p12", "a.p12")):
            assert run(["cert", "-c", "gateway.yaml", *command, *kit]) == 2
            told.append(capsys.readouterr().err)
        assert told[0] == told[1]
        assert not (tmp_path / "out").exists()
        return told[0]

    return ask


@pytest.mark.parametrize(
    "path", ["/webmail", "/WebMail/x.html", "/o", "/owa", "/portal", "/help/1", "/partners", "/test", "/ews"]
)
def test_a_page_that_is_open_with_a_certificate_passes(ask, path):
    told = ask(WEBMAIL, path)
    assert NO_REGISTRY in told
    assert "note" not in told


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/", "'Everything else' (line 24) refuses"),
        ("/webmailx", "'Everything else' (line 24) refuses"),
        ("/portal/x", "'Everything else' (line 24) refuses"),
        ("/webmail/admin", "'Never' (line 13) refuses"),
        ("/webmail;x/admin", "'Never' (line 13) refuses"),
        ("/upload", "'Everything else' (line 24) refuses"),
    ],
)
def test_a_page_that_the_rules_refuse_is_refused_with_those_that_are_open(ask, path, rule):
    told = ask(WEBMAIL, path)
    assert f"--path: the rule {rule} https://mail.example.com{path} from outside, even with a certificate" in told
    assert NO_REGISTRY not in told
    given = re.findall(r"--path (/\S*?)(?: |$)", told, re.MULTILINE)
    assert given == ["/portal", "/webmail", "/EWS/", "/help", "/partners"]
    assert all(NO_REGISTRY in ask(WEBMAIL, each) for each in given), "the remedy works"


def test_where_no_rule_names_an_open_path_the_remedy_lists_all_of_them(ask, capsys):
    told = ask(f"rules:\n{INSIDE}  - {{name: O, uri: ~/o(wa)?, action: require_certificate}}\n", "/")
    assert "--path: no rule lets in https://mail.example.com/ from outside" in told
    command = re.search(r"gateway (check .*)$", told, re.MULTILINE)[1]
    assert run([*command.split(), "--json"]) == 0
    assert "~/o(wa)?" in json.dumps(json.loads(capsys.readouterr().out))


def test_without_anything_outside_the_rules_for_inside_count(ask):
    everybody = "allow_everyone_inside: true\nnetworks: {internal: ['0.0.0.0/0', '::/0']}\n"
    assert NO_REGISTRY in ask(f"rules:\n{INSIDE}{DENIED}", "/", head=everybody + HEAD)


def test_a_path_that_the_gateway_itself_refuses(ask):
    assert "--path: the gateway refuses the path: " in ask(WEBMAIL, "/webmail/..%2f")


def test_what_cannot_be_compared_is_noted(ask):
    told = ask(WEBMAIL, host="mial.example.com")
    assert "note: gateway.yaml has no site for mial.example.com, so --path was not checked against its rules" in told
    assert NO_REGISTRY in told
    told = ask(WEBMAIL, head=HEAD.replace("mail.crt", "not-made-yet.crt"))
    assert "note: gateway.yaml has errors, so --path was not checked against its rules" in told
    assert NO_REGISTRY in told
