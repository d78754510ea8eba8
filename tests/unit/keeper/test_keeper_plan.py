"""The plan is the same at both ends of the channel, and shows no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from support.config_files import BASE, NOW, fill

from gateway.config.load import load
from gateway.config.model import Alerts, Mail
from gateway.keeper.plan import AlertPlan, canonical, from_message, plan_of, to_keep, to_message
from gateway.x509.loading import load_certificates


@pytest.mark.parametrize("ca", [None, Path("/etc/ca.pem")])
def test_what_goes_over_the_channel_comes_out(make_plan, ca):
    plan = make_plan(
        mail=Mail(
            "mail.example.com", 587, "g@example.com", ca=ca, username="u", password="p", admins=("a@example.com",)
        ),
        watched=frozenset({Path("/etc/a.crl"), Path("/etc/b.crl")}),
        trusting={"ab" * 32: ("mail.example.com", "ews.example.com")},
        alerts=AlertPlan(settings=Alerts(new_place=True, refusals=20), log=Path("/a.jsonl"), state=Path("/s.json")),
        options=" -c /etc/gateway.yaml",
    )
    assert from_message(json.loads(json.dumps(to_message(plan)))) == plan
    assert from_message(json.loads(json.dumps(to_message(replace(plan, mail=None))))) == replace(plan, mail=None)


def test_the_configuration_says_what_is_kept(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corp.txt").write_text("secret\n")
    (tmp_path / "corp.txt").chmod(0o600)
    (tmp_path / "link.pem").symlink_to("ca.pem")
    text = BASE.replace("[ca.pem]", "[link.pem]")
    file = tmp_path / "config.yaml"

    def plan(section):
        file.write_text(f"{text}\n{section}\n")
        return plan_of(load(file, now=NOW, environ={}))

    assert plan("") is None
    assert plan('pki: {store: "sqlite:///pki/r.db"}') is None
    found = plan('pki: {store: "sqlite:///pki/r.db", authorities: {corp: {passphrase_file: corp.txt}}}')
    assert found is not None
    assert found.passphrase_files == {"corp": tmp_path / "corp.txt"}
    remedy = to_keep("corp").partition("`")[2].partition("`")[0].replace("FILE", "corp.txt")
    followed = plan(f'pki:\n  store: "sqlite:///pki/r.db"\n  authorities:\n    {remedy}')
    assert followed == found
    assert found.watched == {canonical(tmp_path / "ca.pem")}
    (fingerprint,) = (certificate.fingerprint(SHA256()).hex() for certificate in load_certificates(tmp_path / "ca.pem"))
    assert found.trusting == {fingerprint: ("mail.example.com",)}
    assert found.horizon.days == 30
    assert found.options == f" -c {file}"
    assert "r.db" not in repr(found)


def test_the_master_and_so_its_workers_hold_no_code_that_signs():
    code = (
        "import sys, gateway.supervisor.master; "
        "print([name for name in sys.modules if name.startswith(('gateway.pki', 'sqlalchemy', 'aiosmtplib'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
