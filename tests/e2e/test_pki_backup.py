"""The drill of the guide: registry and keys are backed up, lost, restored, and nobody who was revoked gets in again.

The guide's commands run as they stand there, on both databases.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys

import psycopg
import pytest
from cryptography import x509
from support import postgres
from support.desk_command import DeskFolder
from support.guide import blocks
from support.pki import openssl
from support.programs import need

from gateway.x509.serials import serial_text

pytestmark = pytest.mark.e2e

BLOCKS = blocks()
SECONDS = 120.0


class Drill(DeskFolder):
    """A desk whose user types what the guide says, in a shell."""

    def follow(self, heading):
        """Run the guide's commands under a heading; what they print."""
        command = self.path / "bin" / "gateway"
        if not command.exists():
            command.parent.mkdir()
            command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gateway "$@"\n')
            command.chmod(0o755)
        path = os.pathsep.join((str(command.parent), os.environ["PATH"]))
        done = subprocess.run(
            ["bash", "-ec", BLOCKS[heading].script],
            cwd=self.path,
            env=self.variables | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def listed(self):
        """The serials on the published list."""
        crl = x509.load_pem_x509_crl((self.path / "pki/corp/corp.crl").read_bytes())
        return {serial_text(entry.serial_number) for entry in crl}


@pytest.fixture(scope="module")
def cluster():
    with postgres.cluster() as url:
        yield url


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def drill(request, tmp_path):
    """(the desk, the name of its database in the guide)."""
    drill = Drill(tmp_path)
    if request.param == "SQLite":
        need("sqlite3")
    else:
        need("pg_dump")
        template = request.getfixturevalue("cluster")
        with psycopg.connect(template.format(database="postgres").replace("+psycopg", "")) as connection:
            place = {"PGHOST": connection.info.host, "PGPORT": str(connection.info.port), "PGUSER": "gateway"}
        drill.environment |= place | {"GATEWAY_PKI_STORE": template.format(database="gateway")}
        subprocess.run(["createdb", "gateway"], env={**os.environ, **place}, check=True)
    return drill, request.param


def test_who_was_revoked_after_the_backup_is_refused_after_the_restore(drill):
    desk, database = drill
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    people = ("ann", "bob", "carl", "dora")
    (desk.path / "users.csv").write_text("email,name\n" + "".join(f"{each}@example.com,{each}\n" for each in people))
    desk.run("cert", "import", "users.csv", "--ca", "corp", "--out", "out", "--key", "ecdsa-p256")
    desk.run("cert", "hold", "carl@example.com")
    desk.follow(f"Back up {database}")
    backup = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (desk.path / "backup").iterdir()}
    assert backup == {"registry.db" if database == "SQLite" else "registry.dump": 0o600, "pki.tar.gz": 0o600}

    serials = {each["email"].partition("@")[0]: each["serial"] for each in desk.json("cert", "list")}
    desk.run("cert", "revoke", "ann@example.com", "--reason", "key-compromise")
    desk.run("cert", "hold", "bob@example.com")
    desk.run("cert", "unhold", "carl@example.com")
    desk.run("cert", "issue", "eve@example.com", "--ca", "corp", "--key", "ecdsa-p256")
    serials["eve"] = desk.json("cert", "show", "eve@example.com")[0]["serial"]
    desk.run("cert", "revoke", "eve@example.com")
    refused = {serials[each] for each in ("ann", "bob", "eve")}
    assert desk.listed == refused
    number = desk.json("ca", "show", "corp")["crl_number"]

    for key in (desk.path / "pki").rglob("*.key"):
        key.unlink()
    desk.follow(f"Restore {database}")
    assert {each["state"] for each in desk.json("cert", "list", "--user", "ann")} == {"live"}
    told = desk.run("ca", "crl", "corp", code=1)
    assert "the registry was restored from an older backup" in told
    assert "gateway ca crl corp --from pki/corp/corp.crl" in told.replace(f"{desk.path}/", "")
    assert desk.listed == refused, "the newer list stays"

    printed = desk.follow("What was revoked after the backup")
    assert f"{serials['ann']}  revoked  key-compromise" in printed
    assert f"{serials['bob']}  held  certificate-hold" in printed
    assert f"'gateway cert unhold {serials['carl']} --ca corp'" in printed
    assert desk.listed == refused | {serials["carl"]}
    assert desk.json("ca", "show", "corp")["crl_number"] > number
    states = {each["serial"]: each["state"] for each in desk.json("cert", "list", "--revoked")}
    assert states == {
        serials[each]: "held" if each in ("bob", "carl") else "revoked" for each in serials if each != "dora"
    }
    desk.run("cert", "unhold", serials["carl"], "--ca", "corp")
    desk.run("cert", "issue", "eve@example.com", "--ca", "corp", "--key", "ecdsa-p256", "--out", "new")
    lists = ("-CAfile", "pki/corp/corp.chain.crt", "-CRLfile", "pki/corp/corp.crl", "-crl_check")
    openssl("verify", *lists, "new/eve@example.com.crt", cwd=desk.path)
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl("verify", *lists, "eve@example.com.crt", cwd=desk.path)
    assert desk.listed == refused
