"""Port 80 serves ACME challenges: curl sees only them, and certbot renews the site's certificate through it.

The authority is Debian's pebble, and the script of docs/lets-encrypt.md hands the certificate to the gateway.
"""

from __future__ import annotations

import grp
import os
import shlex
import subprocess

import pytest
from cryptography import x509
from support import pki
from support.acme import Pebble
from support.client import Client
from support.docs import blocks
from support.gateway import HOST, INSIDE, free_port, settings_for
from support.programs import need, run
from support.waiting import until

pytestmark = pytest.mark.e2e

CONTENT = b"token.thumbprint"
FOLDER = ".well-known/acme-challenge"


@pytest.fixture(scope="module")
def webroot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("webroot")
    challenges = folder / FOLDER
    challenges.mkdir(parents=True)
    (challenges / "token").write_bytes(CONTENT)
    (folder / "mail.key").write_bytes(b"secret")
    (challenges / "link").symlink_to(folder / "mail.key")
    os.mkfifo(challenges / "fifo")
    (challenges / "long").write_bytes(bytes(4097))
    (challenges / "closed").mkdir()
    return folder


@pytest.fixture(scope="module")
def gateway(start, mail, webroot, tmp_path_factory):
    certificate, key = pki.server(tmp_path_factory.mktemp("certs"), HOST, name="mail")
    settings = settings_for({"certificate": str(certificate), "key": str(key)}, mail.url)
    settings["rules"] = [{"name": "Inside", "from": "internal", "action": "allow"}]
    plain = {"address": f"{INSIDE}:{free_port()}", "redirect_to_https": True, "acme_webroot": str(webroot)}
    settings["listen"].append(plain)
    return start(settings)


def curl(gateway, path, *more):
    url = f"http://{INSIDE}:{gateway.ports[1]}{path}"
    code, output = run("curl", ["-sS", "--path-as-is", "-m", "20", "-w", r"\n%{http_code} %{redirect_url}", *more, url])
    assert code == 0, output
    body, _, told = output.rpartition(b"\n")
    status, _, location = told.decode().partition(" ")
    return int(status), location, body


def test_a_challenge_is_served(gateway, mail):
    assert curl(gateway, f"/{FOLDER}/token") == (200, "", CONTENT)
    assert curl(gateway, f"/{FOLDER}/token", "-I", "-o", "/dev/null") == (200, "", b"")
    assert curl(gateway, f"/{FOLDER}/token", "-H", "Host: other.example.com")[0] == 200
    assert not mail.received


@pytest.mark.parametrize("name", ["", "none", "link", "fifo", "long", "closed", "../../mail.key", "token/", "%74oken"])
def test_nothing_else_there_is_served(gateway, name):
    status, location, body = curl(gateway, f"/{FOLDER}/{name}", "-H", f"Host: {HOST}")
    assert (status, location) == (404, "")
    assert b"secret" not in body


@pytest.mark.parametrize("path", ["/mail.key", "/.well-known/", f"/{FOLDER}", "/x/../mail.key", "/%2ewell-known/x"])
def test_everything_else_is_redirected(gateway, path):
    status, location, _ = curl(gateway, path, "-H", f"Host: {HOST}")
    assert (status, location.startswith(f"https://{HOST}/")) == (308, True)


def test_certbot_renews_the_certificate_that_the_gateway_shows(gateway, webroot, tmp_path):
    need("certbot")
    site = gateway.settings["sites"][0]
    shown = served_issuer(gateway)
    with Pebble(tmp_path, gateway.ports[1]) as pebble:
        arguments = ["certonly", "--webroot", "-w", str(webroot), "-d", HOST, "--server", pebble.directory, "-n"]
        arguments += ["--agree-tos", "-m", "admin@example.com", "--deploy-hook", str(hook(tmp_path, gateway, site))]
        for kind in ("config", "work", "logs"):
            arguments += [f"--{kind}-dir", str(tmp_path / kind)]
        done = subprocess.run(
            [need("certbot"), *arguments],
            env={**os.environ, "REQUESTS_CA_BUNDLE": str(pebble.trusted)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: served_issuer(gateway) != shown, "the gateway shows the new certificate")
    assert "Pebble" in served_issuer(gateway)

    def validations():
        records = gateway.log.records()
        return [each for each in records if (each["user_agent"] or "").startswith("LetsEncrypt-Pebble")]

    until(validations, "the validation is in the access log")
    assert {(each["status"], each["host"].partition(":")[0]) for each in validations()} == {(200, HOST)}


def served_issuer(gateway):
    with Client(gateway.port) as client:
        return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True)).issuer.rfc4514_string()


def hook(folder, gateway, site):
    """The script of the documentation, with this test's paths, group and service."""
    (script,) = (block.text for block in blocks("lets-encrypt.md", "sh"))
    to = site["key"].rpartition("/")[0]
    for documented, here in (
        ("/etc/letsencrypt/live/mail.example.com", str(folder / "config" / "live" / HOST)),
        ("/etc/gateway/certs", to),
        ("-g gateway", f"-g {shlex.quote(grp.getgrgid(os.getegid()).gr_name)}"),
        ("systemctl reload gateway", f"kill -HUP {gateway.process.pid}"),
    ):
        assert documented in script
        script = script.replace(documented, here)
    path = folder / "hook"
    path.write_text(script)
    path.chmod(0o755)
    return path
