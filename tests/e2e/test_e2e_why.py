"""`gateway logs --why` explains what a real gateway refused, with its log, its registry and its configuration."""

from __future__ import annotations

import base64
import json
import signal

import pytest
import yaml
from support import warm_gateway
from support.client import Client, context_for
from support.credentials import Identity
from support.desk_command import DeskFolder
from support.gateway import INSIDE, RULES, free_port, settings_for
from support.pki import openssl
from support.raw_hello import ask_raw, raw_hello
from support.waiting import until

pytestmark = pytest.mark.e2e

TLS_1_1 = 0x0302
BIND = {"certificate": {"bind_user": "email"}}
EAS = "/Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=PHONE1&DeviceType=phone&User="


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = DeskFolder(tmp_path_factory.mktemp("desk"))
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    return desk


@pytest.fixture(scope="module")
def gateway(start, desk, mail, credentials):
    site = {
        **credentials.server,
        "client_ca": [str(desk.path / "pki/corp/corp.crt")],
        "crl": [str(desk.path / "pki/corp/corp.crl")],
    }
    return start(
        settings_for(
            site,
            mail.url,
            rules=[RULES[0], RULES[1], {**RULES[2], **BIND}, RULES[3]],
            admin={"address": f"{INSIDE}:{free_port()}"},
            lockout={"failures": 4, "window": "10m", "ban": "10m"},
            pki={"store": f"sqlite:///{desk.path}/pki/registry.db", "folder": str(desk.path / "pki")},
        )
    )


@pytest.fixture(scope="module")
def issue(desk):
    """Issues a certificate to a person."""

    def issued(email):
        desk.run("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256")
        key = desk.path / f"{email}.plain"
        password = ("-passin", f"file:{email}.password")
        openssl("pkey", "-in", f"{email}.key", *password, "-out", str(key), cwd=desk.path)
        return Identity(desk.path / f"{email}.crt", key)

    return issued


@pytest.fixture
def ask(gateway, outside):
    """One request on a connection of its own."""

    def asked(identity=None, target="/webmail", *, source=outside, user=None):
        fields = () if user is None else (f"Authorization: Basic {base64.b64encode(user.encode() + b':x').decode()}",)
        with Client(gateway.port, source=source, context=context_for(None, identity, None)) as client:
            return client.ask("GET", target, *fields).verdict

    return asked


@pytest.fixture
def verdict(desk, gateway):
    """The verdict on WHO, once the log has the line."""

    def verdict_on(who, cause):
        def told():
            # It ends with 1 as long as the log has no line about WHO.
            command = ("logs", "--why", who, "-c", gateway.config, "--json")
            answer = json.loads(warm_gateway.run(command, cwd=desk.path, env=desk.variables).stdout)
            return answer if answer["verdict"] is not None and answer["verdict"]["cause"] == cause else None

        until(told, f"the verdict on {who} is {cause}")
        return told()

    return verdict_on


def test_a_revoked_certificate(ask, desk, issue, verdict):
    identity = issue("revoked@example.com")
    assert ask(identity) == (200, None)
    (record,) = desk.json("cert", "list", "--user", "revoked@example.com")
    serial = record["serial"]
    desk.run("cert", "revoke", serial, "--reason", "key-compromise")
    until(lambda: ask(identity) == (403, "certificate_revoked"), "the certificate is refused")
    told = verdict("revoked@example.com", "certificate_revoked")
    assert serial in told["verdict"]["text"]
    assert "key-compromise" in told["verdict"]["text"]
    assert told["last_success"]["cert_serial"] == serial
    assert told["lockout"]["is_locked_out"] is False


def test_a_certificate_on_hold_whose_command_releases_it(ask, desk, gateway, issue, verdict):
    identity = issue("held@example.com")
    assert ask(identity) == (200, None)
    desk.run("cert", "hold", "held@example.com")
    until(lambda: ask(identity) == (403, "certificate_revoked"), "the certificate is refused")
    command = verdict("held@example.com", "on_hold")["verdict"]["command"]
    assert command.startswith(f"gateway cert -c {gateway.config} unhold ")
    desk.run(*command.split()[1:])
    until(lambda: ask(identity) == (200, None), "the certificate is let in again")
    verdict("held@example.com", "works_again")


def test_the_old_one_of_a_renewed_certificate(ask, desk, issue, verdict):
    identity = issue("renewed@example.com")
    assert ask(identity) == (200, None)
    desk.run("cert", "renew", "renewed@example.com", "--overlap", "0d", "--out", "new")
    until(lambda: ask(identity) == (403, "certificate_revoked"), "the old certificate is refused")
    told = verdict("renewed@example.com", "renewed_old_in_use")
    new = next(each for each in told["registry"]["certificates"] if each["renews"])
    assert told["verdict"]["command"].endswith(f"show {new['serial']}")


def test_another_network_without_a_certificate(ask, verdict, outside):
    assert ask(source=INSIDE, user="carol@example.com") == (200, None)
    assert ask(user="carol@example.com") == (403, "certificate_missing")
    told = verdict("carol@example.com", "other_network")
    assert (told["last_success"]["network"], told["first_refusal"]["network"]) == ("inside", "outside")
    assert f"{outside} (outside)" in told["verdict"]["text"]


def test_a_certificate_that_was_never_issued(ask, verdict):
    assert ask(user="nobody@example.com") == (403, "certificate_missing")
    assert "issue nobody@example.com --ca corp" in verdict("nobody@example.com", "never_issued")["verdict"]["command"]


def test_a_certificate_of_another_ca(ask, credentials, outside, verdict):
    assert ask(credentials["stranger"]) == (403, "certificate_untrusted")
    assert "another CA" in verdict(outside, "wrong_ca")["verdict"]["text"]


def test_the_login_of_somebody_else_by_the_number_on_the_page(ask, gateway, issue, outside, verdict):
    identity = issue("dora@example.com")
    assert ask(identity, EAS + "dora", user="dora") == (200, None)
    assert ask(identity, EAS + "bob", user="bob") == (403, "user_mismatch")
    number = gateway.log.of_address(outside, 2)[-1]["request_id"]
    told = verdict(number, "wrong_login")
    assert told["first_refusal"]["device_id"] == "PHONE1"
    assert "The login bob does not belong to the certificate, which is of dora@example.com" in told["verdict"]["text"]


def test_wrong_passwords_and_the_lockout_after_them(ask, desk, gateway, mail, issue, verdict):
    gateway.expected_errors.append(r"locked out for 600 s after too many failures")
    mail.answer("/webmail/login", lambda dialogue: dialogue.answer(b"", status=b"401 Unauthorized"))
    identity = issue("emil@example.com")
    assert ask(identity) == (200, None)
    assert ask(identity, "/webmail/login", user="emil") == (401, None)
    verdict("emil@example.com", "wrong_password")
    for _ in range(3):
        ask(identity, "/webmail/login", user="emil")
    until(lambda: ask(identity, user="emil") == (429, "locked_out"), "emil is locked out")
    told = verdict("emil@example.com", "locked_out")
    assert told["lockout"]["is_locked_out"]
    assert "wrong_password ×" in told["verdict"]["text"]
    desk.run(*told["verdict"]["command"].split()[1:])
    until(lambda: ask(identity) == (200, None), "emil is let in again")


def test_an_error_of_the_mail_server_is_no_refusal(ask, mail, issue, verdict):
    mail.answer("/webmail/broken", lambda dialogue: dialogue.answer(b"", status=b"503 Service Unavailable"))
    identity = issue("frida@example.com")
    assert ask(identity) == (200, None)
    assert ask(identity, "/webmail/broken") == (503, None)
    assert "answered with status 503" in verdict("frida@example.com", "server_error")["verdict"]["text"]


def test_a_client_that_only_knows_old_tls(gateway, outside, verdict):
    ask_raw(gateway.port, raw_hello(legacy_version=TLS_1_1, versions=None), source=outside)
    assert "too old" in verdict(outside, "tls_too_old")["verdict"]["text"]


def test_an_edited_rule(ask, gateway, issue, verdict):
    """Last: the others need the rules as they were."""
    identity = issue("gustav@example.com")
    assert ask(identity) == (200, None)
    settings = {**gateway.settings, "rules": [{"name": "Closed today", "action": "deny"}]}
    gateway.config.write_text(yaml.safe_dump(settings, sort_keys=False))
    gateway.signal(signal.SIGHUP)
    until(lambda: ask(identity) == (403, "denied_by_rule"), "the rule refuses")
    told = verdict("gustav@example.com", "configuration_changed")
    assert {"configuration", "rule"} <= {each["what"] for each in told["changed"]}
    assert 'The rule "Closed today" denies GET /webmail' in told["verdict"]["text"]
