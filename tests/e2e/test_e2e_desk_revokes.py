"""The desk and a running gateway: who is revoked, held or released at the one is refused or served at the other.

The hole that the desk closes: "the only protection against a misused client certificate is to recreate the CA".
"""

from __future__ import annotations

from datetime import datetime

import pytest
from support.client import VERSIONS, Client, context_for
from support.credentials import Identity
from support.desk_command import DeskFolder
from support.gateway import HOST, OUTSIDE, settings_for
from support.pki import openssl
from support.waiting import AT_ONCE_SECONDS, until

pytestmark = pytest.mark.e2e

SERVED, REVOKED = (200, None), (403, "certificate_revoked")
POLL = "/webmail/poll"
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = DeskFolder(tmp_path_factory.mktemp("desk"))
    desk.environment["GATEWAY_CA_PARENT_PASSPHRASE"] = "what opens the root"
    desk.run("ca", "init", "corp", "--domain", "example.com", "--key", "ecdsa-p256")
    desk.run("ca", "init", "servers", "--parent", "corp-root", "--signs", "servers", "--key", "ecdsa-p256")
    desk.run("cert", "server", HOST, "--ca", "servers")
    return desk


@pytest.fixture(scope="module")
def gateway(start, desk, mail):
    """Its site has the two lines that `ca init` printed."""
    site = {
        "certificate": str(desk.path / f"{HOST}.crt"),
        "key": str(desk.path / f"{HOST}.key"),
        "client_ca": [str(desk.path / "pki/corp/corp.crt")],
        "crl": [str(desk.path / "pki/corp/corp.crl")],
    }
    return start(settings_for(site, mail.url))


@pytest.fixture(scope="module")
def branch(desk):
    """A second authority below the root, and its serial number."""
    desk.run("ca", "init", "branch", "--parent", "corp-root", "--key", "ecdsa-p256")
    return desk.json("ca", "show", "branch")["serial"]


@pytest.fixture(scope="module")
def root_gateway(start, desk, mail, branch):  # noqa: ARG001 - its list must be there
    """Its site trusts the root and nothing else, and requires a list of every authority."""
    site = {
        "certificate": str(desk.path / f"{HOST}.crt"),
        "key": str(desk.path / f"{HOST}.key"),
        "client_ca": [str(desk.path / "pki/corp-root/corp-root.crt")],
        "crl": [str(desk.path / f"pki/{name}/{name}.crl") for name in ("corp", "branch", "corp-root")],
        "crl_policy": "require",
    }
    return start(settings_for(site, mail.url))


@pytest.fixture
def connect(desk, gateway):
    """Opens connections with a person's certificate, and the key that only its password opens."""

    def connected(email, version, *, to=gateway, sent=None):
        key = desk.path / f"{email}.plain"
        password = ("-passin", f"file:{email}.password")
        openssl("pkey", "-in", f"{email}.key", *password, "-out", str(key), cwd=desk.path)
        identity = Identity(sent or desk.path / f"{email}.crt", key)
        return Client(to.port, source=OUTSIDE, context=context_for(None, identity, version))

    return connected


@both_versions
def test_who_is_revoked_at_the_desk_is_refused_on_open_connections(desk, gateway, mail, connect, version):
    mail.answer(POLL, lambda dialogue: dialogue.wait_closed())
    victim, other = (f"{name}.{version.name.lower()}@example.com" for name in ("victim", "other"))
    for email in (victim, other):
        desk.run("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256")
    with connect(victim, version) as polling, connect(victim, version) as open_, connect(other, version) as untouched:
        polling.send(polling.request("GET", POLL))
        for client in (open_, untouched):
            assert client.ask("GET", "/webmail").verdict == SERVED

        desk.run("cert", "revoke", victim, "--reason", "key-compromise")

        answer = polling.answer()
        assert answer.verdict == REVOKED
        assert polling.is_at_end()
        assert open_.ask("GET", "/webmail").verdict == REVOKED
        assert untouched.ask("GET", "/webmail").verdict == SERVED
    # The list's file is there before the command ends, and the wall clock stamps both.
    written = (desk.path / "pki/corp/corp.crl").stat().st_mtime
    record = gateway.log.of(answer.get("X-Request-Id"))
    refused = datetime.fromisoformat(record["time"]).timestamp() + record["duration_ms"] / 1000
    assert -0.1 < refused - written < AT_ONCE_SECONDS


def test_who_is_held_is_refused_until_released(desk, connect):
    email = "lost@example.com"
    desk.run("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256")

    def verdict():
        with connect(email, VERSIONS[-1]) as client:
            return client.ask("GET", "/webmail").verdict

    assert verdict() == SERVED
    desk.run("cert", "hold", email)
    until(lambda: verdict() == REVOKED, "the held one is refused", seconds=AT_ONCE_SECONDS)
    desk.run("cert", "unhold", email)
    until(lambda: verdict() == SERVED, "the released one is served", seconds=AT_ONCE_SECONDS)


def test_a_renewal_overlaps_with_the_old_one(desk, connect, tmp_path):
    """Both get in while the new one is being installed; without an overlap the old one is out at once."""
    email = "renewed@example.com"
    desk.run("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256")
    with connect(email, VERSIONS[-1]) as client:
        desk.run("cert", "renew", email, "--key", "ecdsa-p256", "--out", tmp_path)
        assert client.ask("GET", "/webmail").verdict == SERVED
        desk.run("cert", "renew", email, "--key", "ecdsa-p256", "--overlap", "0s", "--out", tmp_path / "again")
        assert client.ask("GET", "/webmail").verdict == SERVED
    states = [entry["state"] for entry in desk.json("cert", "list", "--user", email)]
    assert states == ["live", "revoked", "live"]


@both_versions
def test_a_site_trusts_the_authority_or_its_root(desk, gateway, root_gateway, connect, tmp_path, version):
    """Where the root is trusted, the authority must be sent along; where the authority is, it needn't be."""
    email = f"below.{version.name.lower()}@example.com"
    desk.run("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256")
    alone = tmp_path / "alone.crt"
    openssl("x509", "-in", str(desk.path / f"{email}.crt"), "-out", str(alone), cwd=tmp_path)
    for to, sent, verdict in (
        (gateway, alone, SERVED),
        (gateway, None, SERVED),
        (root_gateway, alone, (403, "certificate_untrusted")),  # first: a path that was seen is remembered
        (root_gateway, None, SERVED),
    ):
        with connect(email, version, to=to, sent=sent) as client:
            assert client.ask("GET", "/webmail").verdict == verdict


def test_an_authority_that_the_root_takes_back_lets_nobody_in(desk, root_gateway, connect, branch):
    for name, authority in (("of.branch", "branch"), ("of.corp", "corp")):
        desk.run("cert", "issue", f"{name}@example.com", "--ca", authority, "--key", "ecdsa-p256")
    version = VERSIONS[-1]
    with (
        connect("of.branch@example.com", version, to=root_gateway) as gone,
        connect("of.corp@example.com", version, to=root_gateway) as kept,
    ):
        assert gone.ask("GET", "/webmail").verdict == SERVED
        (desk.path / "root.txt").write_text(f"{desk.environment['GATEWAY_CA_PARENT_PASSPHRASE']}\n")
        taken_back = ("cert", "revoke", branch, "--ca", "corp-root", "--reason", "key-compromise")
        desk.run(*taken_back, "--passphrase-file", "root.txt")
        until(
            lambda: connected_verdict(connect, "of.branch@example.com", version, root_gateway) == REVOKED,
            "the authority's people are refused",
            seconds=AT_ONCE_SECONDS,
        )
        assert kept.ask("GET", "/webmail").verdict == SERVED


def connected_verdict(connect, email, version, to):
    with connect(email, version, to=to) as client:
        return client.ask("GET", "/webmail").verdict
