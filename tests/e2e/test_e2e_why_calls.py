"""`gateway logs --why` on calls where two causes look alike, with a real gateway, its log and its registry."""

from __future__ import annotations

import base64
import json

import pytest
from support import warm_gateway
from support.client import Client, context_for
from support.credentials import OTHER_HOST, Identity
from support.desk_command import DeskFolder
from support.gateway import INSIDE, RULES, free_port, settings_for
from support.pki import openssl
from support.waiting import until

pytestmark = pytest.mark.e2e

EAS = "/Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=PHONE1&DeviceType=phone&User="
OBSERVED = {
    "name": "Files from outside",
    "from": "external",
    "uri": ["/files"],
    "action": "require_certificate",
    "enforce": False,
}
UNSAFE = {"name": "No options page", "from": "external", "uri": ["/webmail/options"], "action": "deny"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = DeskFolder(tmp_path_factory.mktemp("desk"))
    desk.environment["GATEWAY_CA_PARENT_PASSPHRASE"] = "what opens the root"
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    desk.run("ca", "init", "users", "--parent", "corp-root", "--key", "ecdsa-p256")
    return desk


@pytest.fixture(scope="module")
def gateway(start, desk, mail, credentials):
    site = {
        **credentials.server,
        "client_ca": [str(desk.path / "pki/corp-root/corp-root.crt"), str(desk.path / "pki/corp/corp.crt")],
        "crl": [str(desk.path / "pki/corp/corp.crl"), str(desk.path / "pki/users/users.crl")],
        "crl_policy": "if_present",  # of the root there is none here
    }
    settings = settings_for(
        site,
        mail.url,
        rules=[UNSAFE, OBSERVED, RULES[0], RULES[1], {**RULES[2], "certificate": {"bind_user": "email"}}, RULES[3]],
        admin={"address": f"{INSIDE}:{free_port()}"},
        lockout={"failures": 3, "window": "10m", "ban": "10m"},
        pki={"store": f"sqlite:///{desk.path}/pki/registry.db", "folder": str(desk.path / "pki")},
    )
    settings["sites"].append({"hosts": [OTHER_HOST], "upstream": "mail", **credentials.other_site})
    return start(settings)


@pytest.fixture(scope="module")
def issue(desk):
    """Issues a certificate to a person; the files are in a folder of their own."""

    def issued(email, *options, ca="corp", out="."):
        desk.run("cert", "issue", email, "--ca", ca, "--key", "ecdsa-p256", "--out", out, *options)
        return identity(desk, email, out)

    return issued


def identity(desk, email, out):
    folder = desk.path / out
    key = folder / f"{email}.plain"
    openssl("pkey", "-in", f"{email}.key", "-passin", f"file:{email}.password", "-out", str(key), cwd=folder)
    return Identity(folder / f"{email}.crt", key)


@pytest.fixture
def ask(gateway, outside):
    """One request on a connection of its own."""

    def asked(identity=None, target="/webmail", *, source=outside, user=None, host=None, agent=None):
        fields = [] if user is None else [f"Authorization: Basic {base64.b64encode(user.encode() + b':x').decode()}"]
        if agent is not None:
            fields.append(f"User-Agent: {agent}")
        names = {} if host is None else {"server_name": host}
        with Client(gateway.port, source=source, context=context_for(None, identity, None), **names) as client:
            return client.ask("GET", target, *fields).verdict

    return asked


@pytest.fixture
def verdict(desk, gateway):
    """The verdict on WHO, once the log has the line."""

    def verdict_on(who, cause):
        def told():
            command = ("logs", "--why", who, "-c", gateway.config, "--json")
            answer = json.loads(warm_gateway.run(command, cwd=desk.path, env=desk.variables).stdout)
            return answer if answer["verdict"] is not None and answer["verdict"]["cause"] == cause else None

        until(told, f"the verdict on {who} is {cause}")
        return told()

    return verdict_on


def test_the_right_certificate_shown_to_another_site(ask, issue, verdict):
    mine = issue("anna@example.com")
    assert ask(mine) == (200, None)
    assert ask(mine, host=OTHER_HOST) == (403, "certificate_untrusted")
    text = verdict("anna@example.com", "other_site")["verdict"]["text"]
    assert "was let in on mail.example.com" in text
    assert f"This request was for {OTHER_HOST}" in text


def test_a_p12_without_its_intermediate(ask, desk, issue, verdict):
    whole = issue("berta@example.com", ca="users")
    bare = desk.path / "berta.bare.crt"
    openssl("x509", "-in", str(whole.certificate), "-out", str(bare), cwd=desk.path)
    assert ask(Identity(bare, whole.key)) == (403, "certificate_untrusted")
    told = verdict("berta@example.com", "ca_not_in_client_ca")
    assert "your authority 'users', an intermediate CA" in told["verdict"]["text"]
    chain = desk.path / "berta.chain.crt"
    chain.write_bytes(bare.read_bytes() + (desk.path / "pki/users/users.crt").read_bytes())
    assert ask(Identity(chain, whole.key)) == (200, None)
    verdict("berta@example.com", "works_again")


def test_the_renewed_one_was_revoked_by_mistake(ask, desk, issue, verdict):
    old = issue("carla@example.com")
    assert ask(old) == (200, None)
    desk.run("cert", "renew", "carla@example.com", "--overlap", "0d", "--out", "new")
    new = next(each for each in desk.json("cert", "list", "--user", "carla@example.com") if each["renews"])
    desk.run("cert", "revoke", new["serial"], "--reason", "unspecified")
    until(lambda: ask(old) == (403, "certificate_revoked"), "the old certificate is refused")
    told = verdict("carla@example.com", "renewal_not_valid")
    assert new["serial"] in told["verdict"]["text"]
    desk.run(*told["verdict"]["command"].split()[1:], "--out", "newest")
    again = verdict("carla@example.com", "newer_not_installed")
    assert again["verdict"]["command"].rpartition(" ")[2] not in {new["serial"], again["last_refusal"]["cert_serial"]}
    assert ask(identity(desk, "carla@example.com", "newest")) == (200, None)
    verdict("carla@example.com", "works_again")


def test_two_people_with_one_certificate(ask, issue, verdict):
    hers = issue("doris@example.com")
    issue("emma@example.com")
    assert ask(hers, EAS + "doris", user="doris") == (200, None)
    assert ask(hers, EAS + "emma", user="emma") == (403, "user_mismatch")
    for who in ("emma", "doris@example.com"):
        assert "for emma@example.com" in verdict(who, "wrong_login")["verdict"]["text"]


def test_wrong_passwords_of_another_device(ask, gateway, issue, mail, verdict):
    gateway.expected_errors.append(r"locked out for 600 s after too many failures")
    mail.answer("/webmail/login", lambda dialogue: dialogue.answer(b"", status=b"401 Unauthorized"))
    hers = issue("frieda@example.com")
    assert ask(hers, EAS + "frieda", user="frieda") == (200, None)
    for _ in range(3):
        ask(hers, "/webmail/login", user="frieda")
    until(lambda: ask(hers, EAS + "bob", user="bob") == (429, "locked_out"), "frieda is locked out")
    text = verdict("frieda@example.com", "locked_out")["verdict"]["text"]
    assert "wrong_password ×3" in text
    assert "refused too: The login bob does not belong to the certificate" in text


def test_outlook_without_a_certificate_and_an_exception_below_a_path(ask, issue, outsiders, verdict):
    elsewhere = outsiders()
    agent = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)"
    mine = issue("gisela@example.com")
    assert ask(mine) == (200, None)
    refused = ask(None, source=elsewhere, user="gisela@example.com", agent=agent)
    assert refused == (403, "certificate_missing")
    verdict("gisela@example.com", "program_without_certificates")
    verdict(elsewhere, "program_without_certificates")
    assert ask(mine, "/webmail/options") == (403, "denied_by_rule")
    assert "No options page" in verdict("gisela@example.com", "denied_by_rule")["verdict"]["text"]


def test_what_a_rule_in_observation_will_refuse(ask, verdict):
    assert ask(None, "/files", user="hanna@example.com") == (200, None)
    text = verdict("hanna@example.com", "observed")["verdict"]["text"]
    assert "are let in, with no end date" in text
    assert "the registry has never issued one" in text
