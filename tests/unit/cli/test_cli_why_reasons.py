"""Every reason code has an explanation, a remedy and a command, and `--why` gives them for a line with the code."""

from __future__ import annotations

import json

import pytest
from support.incidents import Stage, shown

from gateway.cli.app import run
from gateway.cli.why.commands import COMMANDS
from gateway.cli.why.explanation import explanation_of
from gateway.cli.why.lines import CONNECTION_FAILED, NO_REASON, OTHER_CODES
from gateway.cli.why.reasons import TABLE
from gateway.facts import STATUS_OF_REASON, Reason
from gateway.logs.filters import HANDSHAKE_FAILED, REASONS

CA = "the CA 'Example CA'"
# In the words of the code that refuses.
DETAILS = {
    "certificate_missing": "the client sent no certificate",
    "certificate_expired": "expired 2026-11-01 00:00:00 UTC",
    "certificate_not_yet_valid": "not valid before 2026-12-01 00:00:00 UTC",
    "wrong_ca": "not issued by a CA that this site trusts, or the intermediate certificate was not sent (issuer CN=X)",
    "ca_ended": f"{CA} expired 2026-11-01 00:00:00 UTC",
    "ca_not_yet_valid": f"{CA} is not valid before 2026-12-01 00:00:00 UTC",
    "no_path": "no valid path to a trusted CA: signature does not match",
    "weak_ca": f"{CA} is signed with SHA-1",
    "weak_certificate": "the certificate has an RSA key of 1024 bits",
    "name_constraint": f"{CA} may not issue for the user 'alice@example.org'",
    "policy": "the certificate has no certificate policy that a CA above it requires",
    "issuer_is_no_ca": "'alice' issued this certificate but is not a CA",
    "no_client_ca": "this site has no client_ca",
    "certificate_untrusted": "the certificate is not readable DER",
    "ca_revoked": f"{CA} is revoked by 'Example Root'",
    "on_hold": "put on hold by 'Example CA'",
    "certificate_revoked": "revoked by 'Example CA'",
    "list_ended": "the revocation list of 'Example CA' expired 2026-11-01 00:00 UTC",
    "list_not_yet_valid": "the revocation list of 'Example CA' is not valid before 2026-12-01 00:00 UTC",
    "list_missing": "no revocation list of 'Example CA'",
    "revocation_unknown": "the OCSP responder does not know the certificate",
    "certificate_wrong_usage": "the extended key usage does not include clientAuth",
    "device_not_listed": "the device 'PHONE1' is not in this rule's list",
    "no_device_id": "the ActiveSync request has no device id, so it is not in this rule's list",
    "login_unreadable": "the login cannot be read: two Authorization fields",
    "certificate_not_allowed": "the certificate was issued by a CA that this rule does not name",
    "wrong_login": "the login 'bob' does not belong to the certificate (email)",
    "user_mismatch": "an earlier login on this connection hides its user name, so it can't be compared",
    "denied_by_rule": "denied by the rule",
    "no_rule": "no rule matches, so the request is denied",
    "locked_out": "too many failed attempts from 203.0.113.9; otherwise it would have been let in",
    "too_many_connections": "too many connections",
    "server_certificate_expired": "ssl/tls alert certificate expired",
    "server_certificate_refused": "ssl/tls alert certificate unknown",
    "tls_too_old": "unsupported protocol",
    "nothing_in_common": "no shared cipher",
    "weak_key": "ee key too small",
    "certificate_unusable": "certificate verify failed",
    "too_slow": "not finished within 10 s",
    "handshake_failed": "unexpected message",
    "unknown_host": "no site has the host mail.example.org",
    "plain_http": "plain HTTP on a TLS port",
    "proxy_header": "the connection ended in the middle of its PROXY header",
    "connection_failed": "the connection ended in the middle of its ClientHello",
}


def detail_for(name: str) -> str:
    return DETAILS.get(name, "https://10.0.0.5:443: no answer")


@pytest.mark.parametrize("code", [*REASONS, *OTHER_CODES])
def test_every_code_has_a_general_explanation_that_comes_last(code):
    found = [each for each in TABLE if each.code == code]
    general = [each.pattern is None or "from_whom" in each.pattern for each in found]
    assert found[-1].pattern is None
    assert not any(each.pattern is None for each in found[:-1]), general
    assert explanation_of(code, "anything else", TABLE)[0] is found[-1]


def test_the_table_has_no_other_codes_and_only_commands_that_exist():
    assert {each.code for each in TABLE} == {*REASONS, *OTHER_CODES}
    assert {name for each in TABLE for name in each.commands} <= set(COMMANDS)
    assert all(each.commands for each in TABLE)
    with pytest.raises(LookupError):
        explanation_of("no such code", "", TABLE)


@pytest.mark.parametrize("explanation", TABLE, ids=lambda each: f"{each.name}-{each.pattern is None:d}")
def test_each_explanation_is_found_by_its_words_and_is_whole_english(explanation):
    """Remedies and causes are sentences, without a field that has no value."""
    if explanation.pattern is not None:
        assert explanation_of(explanation.code, detail_for(explanation.name), TABLE)[0] is explanation
    assert explanation.sentence.endswith((".", "(401)."))
    assert explanation.remedy.endswith(".")
    assert explanation.causes
    assert not any(cause.endswith(".") for cause in explanation.causes)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_PKI_STORE", raising=False)
    return Stage(tmp_path)


def verdict_on(stage, capsys, who):
    path = stage.write()
    assert run(["logs", "--why", who, str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["verdict"]


@pytest.mark.parametrize("name", [*DETAILS, *(reason for reason in Reason if reason not in DETAILS)])
def test_a_line_with_each_code_is_explained(name, stage, capsys):
    """In a sentence that has its detail or says more, with a command."""
    code = next(each.code for each in TABLE if each.name == name)
    detail = detail_for(name)
    if code in {HANDSHAKE_FAILED, CONNECTION_FAILED}:
        reason = f"handshake_failed: {detail}" if code == HANDSHAKE_FAILED else detail
        empty = dict.fromkeys(("method", "host", "uri", "protocol", "status", "rule"))
        stage.line(0, reason=reason, detail=detail, **empty)
        who = "203.0.113.9"
    else:
        who = stage.refused_phone(0, code, detail, STATUS_OF_REASON[code], identity=shown())
    verdict = verdict_on(stage, capsys, who)
    assert verdict["reason"] == code
    assert verdict["cause"] in {name, "clock"}
    assert "{" not in verdict["text"] + verdict["remedy"] + "".join(verdict["usual_causes"])
    assert verdict["command"]


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("wrong_password", {"status": 401, "login": "basic"}),
        ("wrong_password", {"status": 401, "login": None}),
        ("refused_by_server", {"status": 403}),
        ("server_error", {"status": 503}),
    ],
)
def test_refusals_of_the_mail_server_are_told_from_the_gateways(code, values, stage, capsys):
    stage.phone(0, shown(), status=200)
    stage.phone(60, shown(), **values)
    verdict = verdict_on(stage, capsys, "alice")
    assert (verdict["reason"], verdict["cause"]) == (code, code)
    assert "The gateway let alice@example.com in" in verdict["text"]


def test_a_line_without_a_reason_in_the_combined_format_is_called_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "access.log"
    log.write_text('203.0.113.9 - alice [24/Nov/2026:07:00:00 +0000] "GET /webmail HTTP/1.1" 403 12 "-" "Phone"\n')
    assert run(["logs", "--why", "alice", str(log), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict["reason"], verdict["cause"]) == (NO_REASON, NO_REASON)
    assert "does not say why" in verdict["text"]


@pytest.mark.parametrize("values", [{"status": 401, "login": "none", "user": None}, {"status": None}])
def test_a_request_that_says_nothing_about_getting_in_is_neither(values, stage, capsys):
    """Clients ask once without a login, and some go away."""
    stage.phone(0, shown(), status=200)
    stage.phone(60, shown(), **values)
    assert verdict_on(stage, capsys, "alice@example.com")["cause"] == "let_in"
