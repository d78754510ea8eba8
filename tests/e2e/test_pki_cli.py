"""The certificate desk as an administrator uses it: commands, exit codes, files; and what they never show."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.desk_command import DeskFolder
from support.pki import ec_key, openssl, openssl_leaf, openssl_root
from support.user_files import EXPORTS

from gateway.cli import app, ca_kept
from gateway.config.load import read_pki
from gateway.pki import pkcs8
from gateway.x509.serials import serial_text

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

PASSPHRASE = "correct horse battery"
SERIAL = re.compile(r"^([0-9A-F]{38,40})  ", re.MULTILINE)


@dataclass
class Done:
    stdout: str
    stderr: str


class Desk:
    """`gateway` in a folder, with a passphrase in the environment and nobody at the keyboard."""

    def __init__(self, folder, capsys, monkeypatch):
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self.environment = {"GATEWAY_CA_PASSPHRASE": PASSPHRASE}

    def run(self, *arguments, code=0, env=None):
        with self._monkeypatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "stdin", io.StringIO())
            patch.delenv("GATEWAY_CA_PASSPHRASE", raising=False)
            for name, value in (self.environment if env is None else env).items():
                patch.setenv(name, value)
            patch.setattr(pkcs8, "SCRYPT_COST", 2**4)
            found = app.run([str(argument) for argument in arguments])
        printed = self._capsys.readouterr()
        assert found == code, printed.out + printed.err
        assert PASSPHRASE not in printed.out + printed.err
        if code and "config.yaml:" not in printed.err:
            assert "\ngateway: " in f"\n{printed.err}"  # behind what it told meanwhile
            assert printed.err.count("\n") >= 2, "a cause and a remedy"
        return Done(printed.out, printed.err)

    def serials(self, *arguments):
        return SERIAL.findall(self.run(*arguments).stdout)

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json").stdout)

    def password(self, name):
        return (self.folder / f"{name}.password").read_text().strip()


@pytest.fixture
def make_desk(capsys, monkeypatch):
    return lambda folder: Desk(folder, capsys, monkeypatch)


@pytest.fixture
def desk(tmp_path, make_desk):
    return make_desk(tmp_path)


@pytest.fixture
def corp(desk):
    desk.run("ca", "init", "corp", "--domain", "example.com", "--key", "ecdsa-p256", "--organization", "Example Ltd")
    return desk


def _trail(desk, email):
    [shown] = desk.json("cert", "show", email)
    return [entry["action"] for entry in shown["trail"]]


def _issue(desk, email="alice@example.com", *options):
    [serial] = desk.serials("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256", *options)
    return serial


def test_a_day_at_the_desk(corp):
    serial = _issue(corp)
    refused = corp.run("cert", "issue", "alice@example.com", "--ca", "corp", "--key", "ecdsa-p256", code=1)
    assert serial in refused.stderr
    assert "gateway cert renew" in refused.stderr
    corp.run("cert", "issue", "alice@example.org", "--ca", "corp", code=2)
    corp.run("cert", "issue", "alice@example.com", "--ca", "nobody", code=2)
    verify = ("verify", "-crl_check", "-CAfile", "pki/corp/corp.chain.crt", "-CRLfile", "pki/corp/corp.crl")
    openssl(*verify, "alice@example.com.crt", cwd=corp.folder)
    corp.run("cert", "hold", "alice@example.com")
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*verify, "alice@example.com.crt", cwd=corp.folder)
    corp.run("cert", "hold", "alice@example.com", code=2)
    corp.run("cert", "unhold", serial)
    corp.run("cert", "unhold", serial, code=2)
    openssl(*verify, "alice@example.com.crt", cwd=corp.folder)
    [new] = set(corp.serials("cert", "renew", "alice@example.com", "--key", "ecdsa-p256")) - {serial}
    assert [entry["serial"] for entry in corp.json("cert", "list")] == [serial, new]
    assert corp.json("cert", "list", "--expiring", "30d") == []
    assert "no authority 'crop'" in corp.run("cert", "list", "--ca", "crop", "--expiring", "30d", code=2).stderr
    assert [e["serial"] for e in corp.json("cert", "list", "--expiring", "400d", "--user", "alice")] == [new]
    corp.run("cert", "revoke", "alice@example.com", "--reason", "key-compromise")
    assert [entry["state"] for entry in corp.json("cert", "list", "--revoked")] == ["revoked", "revoked"]
    corp.run("cert", "revoke", "alice@example.com", code=2)
    shown = corp.run("cert", "show", new).stdout
    assert "revoked by" in shown
    assert [line["action"] for line in corp.json("cert", "show", new)[0]["trail"]] == ["signed", "issued", "revoked"]
    assert "key-compromise" in shown
    text = openssl("crl", "-in", "pki/corp/corp.crl", "-noout", "-text", cwd=corp.folder)
    assert text.count("Key Compromise") == 2


@pytest.mark.parametrize("command", [("cert", "list"), ("ca", "show", "corp"), ("cert", "revoke", "a@example.com")])
def test_a_wrong_folder_is_no_empty_desk(desk, command):
    refused = desk.run(*command, code=2)
    assert f"{desk.folder}/pki/registry.db: there is no registry" in refused.stderr
    assert "--store" in refused.stderr
    assert list(desk.folder.iterdir()) == []


def test_tables_and_exports(corp):
    _issue(corp)
    assert "corp CA" in corp.run("ca", "list").stdout
    assert corp.json("ca", "list")[0]["domain"] == "example.com"
    assert corp.json("ca", "show", "corp")["crl_number"] == 1
    assert "crl_number" in corp.run("ca", "show", "corp").stdout
    assert "alice@example.com" in corp.run("cert", "list").stdout
    pem = corp.run("ca", "export", "corp").stdout
    assert pem == (corp.folder / "pki/corp/corp.crt").read_text()
    corp.run("ca", "export", "corp", "--format", "der", code=2)
    corp.run("ca", "export", "corp", "--format", "der", "--out", "corp.cer")
    openssl("x509", "-inform", "DER", "-in", "corp.cer", "-noout", cwd=corp.folder)
    corp.run("cert", "export", "alice@example.com", "--format", "p7b", "--out", "alice.p7b")
    listed = openssl("pkcs7", "-inform", "DER", "-in", "alice.p7b", "-print_certs", cwd=corp.folder)
    assert listed.count("BEGIN CERTIFICATE") == 3
    assert corp.run("cert", "export", "alice@example.com", "--format", "chain").stdout.count("BEGIN") == 3
    corp.run("cert", "export", "alice@example.com", "--format", "der", code=2)
    corp.run("cert", "export", "alice@example.com", "--format", "key", "--out", "k", code=2)
    corp.run("cert", "show", "nobody@example.com", code=2)
    corp.run("cert", "list", "--expiring", "soon", code=2)
    for more in ("36501d", "9000000d", "999999999999999d"):
        refused = corp.run("cert", "list", "--expiring", more, code=2)
        assert f"--expiring: '{more}' is more than 36500d" in refused.stderr
        corp.run("cert", "renew", "alice@example.com", "--overlap", more, code=2)
        corp.run("ca", "init", "long", "--key", "ecdsa-p256", "--crl-lifetime", more, code=2)
    corp.json("cert", "list", "--expiring", "36500d")
    assert [each["name"] for each in corp.json("ca", "list")] == ["corp", "corp-root"]


def test_lists_and_signers_are_renewed(corp):
    first = (corp.folder / "pki/corp/corp.crl").read_bytes()
    assert corp.run("ca", "crl").stdout == ""
    assert corp.run("ca", "crl", "corp", "--due").stdout == ""
    assert "valid until" in corp.run("ca", "crl", "corp").stdout
    assert (corp.folder / "pki/corp/corp.crl").read_bytes() != first
    corp.run("ca", "ocsp", "corp")
    openssl("x509", "-in", "pki/corp/corp.ocsp.crt", "-noout", "-ext", "extendedKeyUsage", cwd=corp.folder)


def test_a_root_and_an_authority_that_signs_people_only(desk):
    """What is printed leads to the files; servers are signed by the root, or by an authority that the remedy makes."""
    printed = desk.run("ca", "init", "corp", "--domain", "example.com", "--key", "ecdsa-p256").stdout
    files = dict(re.findall(r"^(.+?): +(\S+)", printed.partition("\n\n")[0], re.MULTILINE))
    assert set(files) == {"certificate", "list", "key", "root", "root's key"}
    assert all(Path(file).is_file() for file in files.values())
    shown = {each["name"]: (each["parent"], each["signs"]) for each in desk.json("ca", "list")}
    assert shown == {"corp": ("corp-root", "people"), "corp-root": (None, "all")}
    _issue(desk)
    openssl("verify", "-partial_chain", "-CAfile", files["certificate"], "alice@example.com.crt", cwd=desk.folder)
    verify = ("verify", "-x509_strict", "-CAfile", files["root"], "-untrusted")
    openssl(*verify, "alice@example.com.crt", "-purpose", "sslclient", "alice@example.com.crt", cwd=desk.folder)
    told = desk.run("cert", "server", "mail.example.com", "--ca", "corp").stderr
    assert told == "signed by 'corp-root': 'corp' may not sign for servers\n"
    Path(files["root's key"]).rename(desk.folder / "safe.key")
    refused = desk.run("cert", "server", "imap.example.com", "--ca", "corp", code=2)
    assert "the key of authority 'corp-root' is missing" in refused.stderr
    (desk.folder / "safe.key").rename(files["root's key"])
    desk.environment["GATEWAY_CA_PARENT_PASSPHRASE"] = PASSPHRASE
    making = ("ca", "init", "servers", "--parent", "corp-root", "--signs", "servers")
    desk.run(*making, "--key", "ecdsa-p256")
    desk.run("cert", "server", "imap.example.com", "--ca", "servers")
    openssl(*verify, "imap.example.com.crt", "-purpose", "sslserver", "imap.example.com.crt", cwd=desk.folder)
    refused = desk.run("cert", "issue", "bob@example.com", "--ca", "servers", code=2).stderr
    assert "CN=servers CA may sign for servers only" in refused
    assert "--parent corp-root --signs people" in refused
    (desk.folder / "users.csv").write_text("email,name\nbob@example.com,Bob\n")
    desk.run("cert", "import", "users.csv", "--ca", "servers", "--out", "out", code=2)
    assert not (desk.folder / "out").exists()
    cause = "sites that trust 'corp' refuse certificates of 'corp-root', the authority above it"
    note = f"note: {cause}; issue with --ca corp\n"
    assert desk.run("cert", "import", "users.csv", "--ca", "corp-root", "--out", "out").stderr == note
    assert desk.run("cert", "issue", "eve@example.com", "--ca", "corp-root").stderr == note
    assert desk.run("cert", "issue", "dan@example.com", "--ca", "corp").stderr == ""


SERVED = (
    'listen: [{address: ":8443"}]\nsites: [{hosts: [a.example], certificate: a.crt, key: a.key, upstream: m}]\n'
    'upstreams: {m: {servers: ["http://10.0.0.5"]}}\nrules: [{action: deny}]\n'
)


def _section(printed):
    """The lines for the configuration, and the command that writes the passphrase."""
    section, _, rest = printed.partition("\npki:")[2].partition("\n\n")
    return f"pki:{section}\n", rest.strip().splitlines()[-1:]


def test_the_lines_that_are_printed_keep_the_list_when_they_are_followed_to_the_letter(desk):
    section, (command,) = _section(desk.run("ca", "init", "corp", "--key", "ecdsa-p256").stdout)
    config = desk.folder / "config.yaml"
    config.write_text(SERVED + section)
    subprocess.run(["/bin/sh", "-c", command], input=f"{PASSPHRASE}\n", text=True, check=True, cwd="/")
    pki = read_pki(config)
    (kept,) = pki.authorities
    assert (kept.name, pki.folder, stat.S_IMODE(kept.passphrase_file.stat().st_mode)) == (
        "corp",
        desk.folder / "pki",
        0o600,
    )
    before = desk.json("ca", "show", "corp")["crl_number"]
    desk.run("ca", "-c", config, "crl", "corp", "--passphrase-file", kept.passphrase_file, env={})
    assert desk.json("ca", "show", "corp")["crl_number"] == before + 1

    named = ("--passphrase-file", kept.passphrase_file)
    section, command = _section(desk.run("ca", "-c", config, "init", "two", "--key", "ecdsa-p256", *named).stdout)
    assert command == []
    assert f"passphrase_file: {kept.passphrase_file}\n" in section
    config.write_text(SERVED + section.replace("two:", "three:"))
    assert "pki:" not in desk.run("ca", "-c", config, "init", "three", "--key", "ecdsa-p256").stdout


def test_the_lines_hold_no_password_and_name_a_folder_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "$ {a}: b"
    section = ca_kept.section("postgresql+psycopg://desk:secret@db.example/pki", tmp_path / "elsewhere", "corp", file)
    assert "secret" not in section
    (tmp_path / "config.yaml").write_text(SERVED + section)
    monkeypatch.setenv("GATEWAY_PKI_STORE", "postgresql+psycopg://desk:secret@db.example/pki")
    pki = read_pki(tmp_path / "config.yaml")
    assert (pki.store, pki.folder) == ("postgresql+psycopg://desk:secret@db.example/pki", tmp_path / "elsewhere")
    assert pki.authorities[0].passphrase_file == file


def test_a_root_of_its_own_passphrase_and_a_single_one(desk):
    desk.environment["GATEWAY_CA_PARENT_PASSPHRASE"] = "another one entirely"
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    assert "does not open" in desk.run("ca", "crl", "corp-root", code=2).stderr
    del desk.environment["GATEWAY_CA_PARENT_PASSPHRASE"]
    missing = desk.run("ca", "init", "low", "--parent", "corp-root", code=2).stderr
    assert "Give --parent-passphrase-file FILE or set GATEWAY_CA_PARENT_PASSPHRASE." in missing
    (desk.folder / "root.txt").write_text("another one entirely\n")
    desk.run("ca", "crl", "corp-root", "--passphrase-file", "root.txt")
    assert "root:" not in desk.run("ca", "init", "one", "--single", "--key", "ecdsa-p256").stdout
    assert desk.json("ca", "show", "one")["parent"] is None
    _ = desk.serials("cert", "server", "mail.example.com", "--ca", "one")
    for wrong in (("--parent", "one"), ("--signs", "people")):
        desk.run("ca", "init", "two", "--single", *wrong, code=2)


def test_an_intermediate_needs_both_passphrases(corp):
    (corp.folder / "child").write_text("another one entirely\n")
    corp.run(
        "ca",
        "init",
        "low",
        "--parent",
        "corp-root",
        "--key",
        "ecdsa-p256",
        "--days",
        "30",
        "--passphrase-file",
        "child",
        env=corp.environment | {"GATEWAY_CA_PARENT_PASSPHRASE": PASSPHRASE},
    )
    corp.run("cert", "issue", "bob@example.com", "--ca", "low", "--key", "ecdsa-p256", code=2)
    corp.run("cert", "issue", "bob@example.com", "--ca", "low", "--key", "ecdsa-p256", "--passphrase-file", "child")
    chain = ("-CAfile", "pki/corp-root/corp-root.crt", "-untrusted", "pki/low/low.crt")
    openssl("verify", *chain, "bob@example.com.crt", cwd=corp.folder)
    assert (corp.folder / "bob@example.com.crt").read_text().count("BEGIN") == 2
    serial = corp.json("ca", "show", "low")["serial"]
    corp.run("cert", "revoke", serial, "--ca", "corp-root")
    root_list = openssl("crl", "-in", "pki/corp-root/corp-root.crl", "-noout", "-text", cwd=corp.folder)
    assert f"Serial Number: {serial}" in root_list
    shown = corp.json("ca", "show", "low")
    assert (shown["state"], shown["reason"]) == ("revoked", "unspecified")
    assert shown["on_list_of"] == "CN=corp Root CA,O=Example Ltd"
    assert corp.json("ca", "show", "corp")["state"] == "valid"
    assert re.search(r"^low +revoked ", corp.run("ca", "list").stdout, re.MULTILINE)
    [entry] = corp.json("cert", "list", "--revoked")
    assert (entry["serial"], entry["subject"], entry["is_in_registry"]) == (serial, "CN=low CA", False)
    assert re.search(r"corp-root +authority +- +CN=low CA", corp.run("cert", "list", "--revoked").stdout)


def test_a_passphrase_is_asked_for_when_all_else_was_found_right(corp):
    """Without one, each mistake is told; only a command that would work says that it needs a passphrase."""
    openssl_root(corp.folder, password="hunter2")
    init, import_ = ("ca", "init"), ("ca", "import", "old", "--cert", "rootCA.pem", "--key", "rootCA.key")
    for arguments, cause in (
        ((*init, "new", "--days", "0"), "an authority cannot be valid for 0 days"),
        ((*init, "new", "--domain", "exa mple"), "is not a domain"),
        ((*init, "new", "--country", "de"), "is not a country code"),
        ((*init, "new", "--crl-lifetime", "1m"), "a revocation list must be valid for at least an hour"),
        ((*init, "corp"), "the authority 'corp' already exists"),
        ((*init, "new", "--parent", "crop"), "there is no authority 'crop'"),
        ((*init, "new", "--parent", "corp"), "may have no authorities below it"),
        (
            (*init, "new", "--parent", "corp-root", "--domain", "example.org"),
            "may sign only for example.com, not for 'example.org'",
        ),
        ((*init, "new", "--parent", "corp-root", "--days", "9000"), "the parent 'corp-root' expires in"),
        ((*import_, "--cert", "rootCA.key"), "the certificate file"),
        ((*import_, "--crl", "rootCA.pem"), "revocation list"),
        ((*import_[:2], "corp", *import_[3:]), "the authority 'corp' already exists"),
    ):
        told = corp.run(*arguments, env={}, code=1 if "already" in cause else 2).stderr
        assert cause in told, arguments
        assert "passphrase" not in told, arguments
    key = corp.folder / "pki/corp-root/corp-root.key"
    key.rename(corp.folder / "safe.key")
    for arguments in ((*init, "new", "--parent", "corp-root"), ("ca", "crl", "corp-root")):
        assert "the key of authority 'corp-root' is missing" in corp.run(*arguments, env={}, code=2).stderr
    (corp.folder / "safe.key").rename(key)
    for arguments in ((*init, "new"), (*init, "new", "--single"), import_):
        assert "the passphrase of " in corp.run(*arguments, env={}, code=2).stderr
    assert "'corp-root' is missing" in corp.run(*init, "new", "--parent", "corp-root", env={}, code=2).stderr
    assert [each["name"] for each in corp.json("ca", "list")] == ["corp", "corp-root"]
    assert sorted(path.name for path in (corp.folder / "pki").iterdir() if path.is_dir()) == ["corp", "corp-root"]


def test_the_revocation_of_an_authority_says_where_it_is_trusted_all_the_same(desk):
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    serial = desk.json("ca", "show", "corp")["serial"]
    revoked = desk.run("cert", "revoke", serial, "--ca", "corp-root")
    assert "'corp' is an authority: remove it from client_ca of each site" in revoked.stderr
    assert desk.json("ca", "show", "corp")["state"] == "revoked"


def test_an_authority_of_openssl_and_its_certificates(desk):
    openssl_root(desk.folder, password="hunter2")
    openssl_leaf(desk.folder, password="hunter2")
    (desk.folder / "old").write_text("hunter2")
    desk.run("ca", "import", "old", "--cert", "rootCA.pem", "--key", "rootCA.key", "--key-passphrase-file", "old")
    again = desk.run("ca", "import", "old", "--cert", "rootCA.pem", "--key", "rootCA.key", code=1)
    assert "the authority 'old' already exists" in again.stderr
    serial = serial_text(x509.load_pem_x509_certificate((desk.folder / "alice.crt").read_bytes()).serial_number)
    taken = f"(hexadecimal, {int(serial, 16)} in decimal; not in the registry)"
    verify = ("verify", "-crl_check", "-CAfile", "rootCA.pem", "-CRLfile", "pki/old/old.crl", "alice.crt")
    desk.run("cert", "hold", serial, code=2)
    assert f"{serial}  held  {taken}" in desk.run("cert", "hold", serial, "--ca", "old").stdout
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*verify, cwd=desk.folder)
    assert f"{serial}  released  {taken}" in desk.run("cert", "unhold", serial, "--ca", "old").stdout
    openssl(*verify, cwd=desk.folder)
    unheld = desk.run("cert", "unhold", serial, "--ca", "old", code=2).stderr
    assert f"{serial} is not on the list of 'old'" in unheld
    desk.run("cert", "revoke", serial, code=2)
    hold = ("cert", "revoke", serial, "--ca", "old", "--reason", "certificate-hold")
    assert "certificate-hold is not a valid revocation reason" in desk.run(*hold, code=2).stderr
    assert desk.json("ca", "show", "old")["crl_number"] == 3
    as_openssl_prints_it = openssl("x509", "-in", "alice.crt", "-noout", "-serial", cwd=desk.folder).strip()
    assert as_openssl_prints_it.startswith("serial=")
    assert f"{serial}  revoked  {taken}" in desk.run("cert", "revoke", as_openssl_prints_it, "--ca", "old").stdout
    again = ("cert", "revoke", serial, "--ca", "old")
    assert f"{serial} is revoked" in desk.run(*again, code=2).stderr
    assert "0B  revoked" in desk.run(*again, "0B").stdout  # what is left to do is done
    listed = {each["serial"]: each for each in desk.json("cert", "list", "--revoked")}
    assert set(listed) == {serial, "0B"}
    assert (listed[serial]["state"], listed[serial]["authority"]) == ("revoked", "old")
    assert listed[serial]["is_in_registry"] is False
    assert "(not in the registry)" in desk.run("cert", "list", "--revoked", "--ca", "old").stdout
    assert desk.json("cert", "list", "--revoked", "--user", "alice") == desk.json("cert", "list") == []
    refused = desk.run("cert", "revoke", "--ca", "old", "--", "-05", code=2)
    assert "no revocation list can name the negative serial '-05'" in refused.stderr
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*verify, cwd=desk.folder)


def test_requests_uses_and_kept_keys(corp):
    openssl(
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "k",
        "-out",
        "a.csr",
        "-subj",
        "/CN=boss",
        "-addext",
        "basicConstraints=CA:TRUE",
        cwd=corp.folder,
    )
    done = corp.run("cert", "issue", "alice@example.com", "--ca", "corp", "--csr", "a.csr")
    assert "ignored: basicConstraints CA:TRUE" in done.stderr
    assert "ignored: subject CN=boss" in done.stderr
    assert not (corp.folder / "alice@example.com.p12").exists()
    corp.run("cert", "issue", "bob@example.com", "--ca", "corp", "--csr", "a.csr", "--escrow", code=2)
    for options, count in (
        (("--auth-only",), 1),
        (("--smime-only",), 1),
        (("--separate",), 3),
        (("--smime-only", "--separate"), 2),
    ):
        email = f"u{len(options)}{count}{options[0][2]}@example.com"
        made = corp.serials("cert", "issue", email, "--ca", "corp", "--key", "ecdsa-p256", *options)
        assert len(made) == count
    corp.run("cert", "issue", "x@example.com", "--ca", "corp", "--auth-only", "--smime-only", code=2)
    shown = corp.run(
        "cert", "issue", "kept@example.com", "--ca", "corp", "--key", "ecdsa-p256", "--escrow", "--show-password"
    ).stdout
    assert re.search(r"password: [a-z-]{23}\n", shown)
    assert not (corp.folder / "kept@example.com.password").exists()
    corp.run("cert", "export", "kept@example.com", "--format", "key", code=2)
    assert _trail(corp, "kept@example.com") == ["signed", "issued"], "it was not given out"
    corp.run("cert", "export", "kept@example.com", "--format", "key", "--out", "kept.key")
    assert _trail(corp, "kept@example.com") == ["signed", "issued", "key recovered"]
    (corp.folder / "pass").write_text(PASSPHRASE)
    openssl("pkey", "-in", "kept.key", "-passin", "file:pass", "-noout", cwd=corp.folder)


def test_a_request_with_too_long_a_name_makes_no_noise(tmp_path):
    key = ec_key()
    with pytest.warns(UserWarning, match="but it was 65"):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "C" * 65, _validate=False)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    (tmp_path / "a.csr").write_bytes(request.public_bytes(Encoding.PEM))
    desk = DeskFolder(tmp_path)
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    made = desk.run("cert", "issue", "alice@example.com", "--ca", "corp", "--csr", "a.csr")
    assert [line for line in made.splitlines() if not SERIAL.match(line)] == [
        "  alice@example.com.crt",
        f"a.csr: ignored: subject CN={'C' * 65}",
    ]


def test_a_renewal_is_of_the_old_ones_kind_unless_another_is_asked_for(corp):
    _issue(corp, "alice@example.com", "--p12-format", "modern", "--device", "iPad")
    assert corp.run("cert", "list").stdout.splitlines()[1].split()[-1] == "iPad"
    for options in ((), ("--key", "rsa-2048", "--p12-format", "compat")):
        corp.run("cert", "renew", "alice@example.com", *options, "--out", f"renewed{len(options)}")
    listed = corp.json("cert", "list")
    assert [entry["p12_format"] for entry in listed] == ["modern", "modern", "compat"]
    assert [entry["key"] for entry in listed] == ["EC P-256", "EC P-256", "RSA 2048"]


def test_renewing_with_the_same_key(corp):
    _issue(corp)
    (corp.folder / "pw").write_text(corp.password("alice@example.com"))
    _issue(corp, "bob@example.com")
    renew = ("cert", "renew", "alice@example.com", "--p12", "alice@example.com.p12")
    corp.run(*renew, code=2)
    corp.run(*renew, "--same-key", code=2)
    corp.run(
        "cert",
        "renew",
        "bob@example.com",
        "--same-key",
        "--p12",
        "alice@example.com.p12",
        "--password-file",
        "pw",
        code=2,
    )
    corp.run(*renew, "--same-key", "--password-file", "pw", "--overlap", "0s")
    corp.run("cert", "renew", "bob@example.com", "--same-key", "--overlap", "nonsense", code=2)
    corp.run("cert", "renew", "bob@example.com", "--same-key")
    keys = {entry["email"]: set() for entry in corp.json("cert", "list")}
    for path in corp.folder.glob("*.crt"):
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
        keys[path.name.partition(".com")[0] + ".com"].add(certificate.public_key().public_numbers())
    assert {email: len(found) for email, found in keys.items()} == {"alice@example.com": 1, "bob@example.com": 1}
    states = [entry["state"] for entry in corp.json("cert", "list", "--user", "alice")]
    assert states == ["revoked", "live"]


def test_a_renewal_says_what_becomes_of_the_old_one(corp):
    ends = {}
    for email, days in (("alice@example.com", 5), ("bob@example.com", 30), ("carol@example.com", 30)):
        serial = _issue(corp, email, "--days", days)
        [shown] = corp.json("cert", "show", serial)
        ends[email] = shown["not_after"].replace("T", " ")[:16]
    renew = ("cert", "renew", "--same-key")
    assert (
        f"valid until {ends['alice@example.com']} UTC, when it expires" in corp.run(*renew, "alice@example.com").stdout
    )
    assert corp.run(*renew, "bob@example.com").stdout.endswith("UTC, then revoked\n")
    listed = corp.run("cert", "list", "--user", "bob").stdout.splitlines()
    [end] = {each["supersede_at"] for each in corp.json("cert", "list", "--user", "bob")} - {None}
    assert re.search(rf"until \d+ [A-Z][a-z]+( \d{{4}})? \(renewed\)  {end[:10]} ", listed[1])
    assert "live" in listed[2]
    assert corp.run(*renew, "carol@example.com", "--overlap", "0s").stdout.endswith("  revoked\n")


def test_a_certificate_that_opens_nothing_goes_into_no_kit(corp):
    serial = _issue(corp)
    files = ("--p12", "alice@example.com.p12", "--password-file", "alice@example.com.password")
    profile = ("cert", "profile", serial, "--kind", "ios", "--host", "mail.example.com", *files)
    corp.run(*profile)
    corp.run("cert", "revoke", serial)
    assert f"certificate {serial} is revoked" in corp.run(*profile, "--out", "late", code=2).stderr
    assert not (corp.folder / "late").exists()


def test_servers(corp):
    wanted = ("cert", "server", "mail.example.com", "127.0.0.1", "--ca")
    assert "--server" in corp.run(*wanted, "corp", code=2).stderr
    corp.run("ca", "init", "lan", "--domain", "example.com", "--server", "127.0.0.1", "--key", "ecdsa-p256")
    [serial] = corp.serials(*wanted, "lan")
    openssl(
        "verify",
        "-purpose",
        "sslserver",
        "-verify_ip",
        "127.0.0.1",
        "-CAfile",
        "pki/lan-root/lan-root.crt",
        "mail.example.com.crt",
        cwd=corp.folder,
    )
    openssl("pkey", "-in", "mail.example.com.key", "-noout", cwd=corp.folder)
    corp.run("cert", "renew", serial)
    corp.run("cert", "server", "a b", "--ca", "corp", code=2)


@pytest.mark.parametrize("kind", ["ios", "macos", "windows", "android", "firefox", "chrome", "thunderbird"])
def test_kits(corp, kind):
    _issue(corp)
    password = corp.password("alice@example.com")
    files = ("--p12", "alice@example.com.p12", "--password-file", "alice@example.com.password")
    profile = ("cert", "profile", "alice@example.com", "--kind", kind, "--host", "mail.example.com")
    made = corp.run(*profile, *files).stdout.split()
    assert made
    assert all(password.encode() not in (corp.folder / name).read_bytes() for name in made)
    made = corp.run(*profile, *files, "--include-password", "--out", "with").stdout.split()
    holding = [name for name in made if password.encode() in (corp.folder / name).read_bytes()]
    assert holding
    assert all(stat.S_IMODE((corp.folder / name).stat().st_mode) == 0o600 for name in holding)


def test_the_p12_file_says_which_certificate_goes_into_a_kit(corp):
    """After a renewal, for one of several devices, and for a file of an import: its password is found beside it."""
    old = _issue(corp)
    _issue(corp, "alice@example.com", "--device", "Phone")
    [new] = set(corp.serials("cert", "renew", old)) - {old}
    profile = ("cert", "profile", "alice@example.com", "--kind", "android", "--host", "mail.example.com", "--p12")

    def holds(p12, out, serial):
        done = corp.run(*profile, p12, "--out", out)
        [kept] = [name for name in done.stdout.split() if name.endswith(".p12")]
        assert (corp.folder / kept).read_bytes() == (corp.folder / p12).read_bytes(), serial
        return done.stderr

    assert holds(f"alice@example.com-{new[:8]}.p12", "renewed", new) == ""
    assert holds("alice@example.com-Phone.p12", "phone", "") == ""
    note = holds("alice@example.com.p12", "old", old)
    assert f"note: alice@example.com.p12: certificate {old} was renewed and is valid only until " in note
    (corp.folder / "users.csv").write_text("email,name\ncarl@example.com,Carl\n")
    corp.run("cert", "import", "users.csv", "--ca", "corp", "--out", "out", "--key", "ecdsa-p256")
    refused = corp.run(*profile, "out/carl@example.com.p12", code=2).stderr
    assert "which does not belong to 'alice@example.com'" in refused
    corp.run("cert", "profile", "carl@example.com", *profile[3:], "out/carl@example.com.p12")
    refused = corp.run("cert", "profile", "carl@example.com", *profile[3:], "out/missing.p12", code=2).stderr
    assert "out/missing.p12: cannot be read" in refused
    (corp.folder / "out/passwords.csv").unlink()
    refused = corp.run("cert", "profile", "carl@example.com", *profile[3:], "out/carl@example.com.p12", code=2).stderr
    assert "there is no password for out/carl@example.com.p12 beside it" in refused
    assert "--password-file" in refused


def test_an_import_refuses_who_was_revoked(corp):
    serial = _issue(corp, "carl@example.com", "--name", "Carl")
    corp.run("cert", "revoke", "carl@example.com", "--reason", "key-compromise")
    (corp.folder / "users.csv").write_text("email,name\ncarl@example.com,Carl\ndora@example.com,Dora\n")
    importing = ("cert", "import", "users.csv", "--ca", "corp", "--out", "out", "--key", "ecdsa-p256")
    refused = corp.run(*importing, code=2).stderr
    assert re.search(rf"users.csv:2:1: carl@example.com was revoked on \S+ \(key-compromise\), .* {serial}", refused)
    assert "dora" not in refused
    assert [each["state"] for each in corp.json("cert", "list")] == ["revoked"]
    assert corp.run(*importing, "--reissue-revoked").stdout.startswith("2 issued")
    corp.run("cert", "revoke", "carl@example.com")
    told = corp.run("cert", "issue", "carl@example.com", "--ca", "corp", "--key", "ecdsa-p256", "--name", "Carl")
    assert told.stderr.startswith("note: carl@example.com was revoked on ")


def test_signed_kits_and_files_that_do_not_fit(corp):
    _issue(corp)
    _issue(corp, "bob@example.com")
    [server] = corp.serials("cert", "server", "mail.example.com", "--ca", "corp")
    profile = ("cert", "profile", "alice@example.com", "--kind", "ios", "--host", "mail.example.com", "--p12")
    alice = (*profile, "alice@example.com.p12", "--password-file", "alice@example.com.password")
    corp.run(*alice, "--sign-cert", "mail.example.com.crt", code=2)
    corp.run(*alice, "--sign-cert", "mail.example.com.crt", "--sign-key", "mail.example.com.key")
    openssl(
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-in",
        "kit/alice@example.com-ios.mobileconfig",
        "-CAfile",
        "pki/corp-root/corp-root.crt",
        "-purpose",
        "sslserver",
        "-out",
        "x",
        cwd=corp.folder,
    )
    openssl(
        "pkey", "-in", "mail.example.com.key", "-aes256", "-passout", "pass:x123", "-out", "locked", cwd=corp.folder
    )
    refused = corp.run(*alice, "--sign-cert", "mail.example.com.crt", "--sign-key", "locked", code=2)
    assert "give --sign-key locked.pem: openssl pkey -in locked -out locked.pem\n" in refused.stderr
    openssl("pkey", "-in", "locked", "-passin", "pass:x123", "-out", "locked.pem", cwd=corp.folder)
    corp.run(*alice, "--sign-cert", "mail.example.com.crt", "--sign-key", "locked.pem")
    refused = corp.run(*alice, "--user-name", "alice\x01", code=2)
    assert "mail login 'alice\ufffd' contains a control character" in refused.stderr
    corp.run(*profile, "bob@example.com.p12", "--password-file", "bob@example.com.password", code=2)
    corp.run(*profile, "bob@example.com.p12", "--password-file", "alice@example.com.password", code=2)
    corp.run(
        "cert",
        "profile",
        server,
        "--kind",
        "ios",
        "--host",
        "x",
        "--p12",
        "alice@example.com.p12",
        "--password-file",
        "alice@example.com.password",
        code=2,
    )


def test_nothing_secret_is_readable_by_others(corp):
    code = "import os,sys; os.umask(0); os.execv(sys.executable, [sys.executable, '-m', 'gateway', *sys.argv[1:]])"
    for arguments in (
        ("ca", "init", "open", "--key", "ecdsa-p256"),
        ("cert", "issue", "alice@example.com", "--ca", "open", "--key", "ecdsa-p256", "--out", "made"),
        ("cert", "server", "mail.example.com", "--ca", "open", "--out", "made"),
        ("ca", "ocsp", "open"),
    ):
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=corp.folder,
            env=os.environ | corp.environment,
            check=True,
            capture_output=True,
        )
    public = {".crt", ".crl"}
    for path in corp.folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o022, path
        if path.is_file() and path.suffix not in public:
            assert mode == 0o600, path


def test_the_registry_is_found_by_option_and_environment(corp, tmp_path, make_desk):
    elsewhere = make_desk(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    store = f"sqlite:///{corp.folder}/pki/registry.db"
    assert elsewhere.json("ca", "--store", store, "list")[0]["key_file"] == str(corp.folder / "pki/corp/corp.key")
    elsewhere.environment |= {"GATEWAY_PKI_STORE": store, "GATEWAY_PKI_FOLDER": "/nowhere"}
    assert elsewhere.json("ca", "list")[0]["key_file"] == "/nowhere/corp/corp.key"
    elsewhere.run("ca", "--store", "mysql://root@x/y", "list", code=2)


@pytest.mark.parametrize("url", ["postgresql://u:hush@127.0.0.1:1/d", "postgresql://127.0.0.1:1/d?password=hush"])
def test_a_password_of_the_registry_is_no_argument(desk, url):
    refused = desk.run("ca", "--store", url, "list", code=2).stderr
    assert "every process list" in refused
    desk.environment |= {"GATEWAY_PKI_STORE": url}
    refused = desk.run("ca", "list", code=1).stderr
    assert "127.0.0.1:1/d cannot be used" in refused
    assert "hush" not in refused


def _alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.parametrize(("kind", "users"), [("ecdsa-p256", 60), ("rsa-2048", 16)])
def test_a_killed_import_is_finished_by_running_it_again(corp, kind, users):
    """kill -9 in the middle, and again: exactly one live certificate for each user, each with file and password."""
    rows = "".join(f"u{n}@example.com,User {n}\n" for n in range(users))
    (corp.folder / "users.csv").write_text("email,name\n" + rows)
    command = ("cert", "import", "users.csv", "--ca", "corp", "--out", "out", "--key", kind)
    out = corp.folder / "out"
    for part in (3, 2):
        running = subprocess.Popen(
            [sys.executable, "-m", "gateway", *command],
            cwd=corp.folder,
            env=os.environ | corp.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(list(out.glob("*.p12"))) < users // part and running.poll() is None:
            time.sleep(0.005)
        children = _children(running.pid)
        running.send_signal(signal.SIGKILL)
        running.wait()
        deadline = time.monotonic() + 10
        while any(map(_alive, children)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(_alive, children)), "processes that make keys end with their parent"
    done = corp.run(*command)
    assert re.search(r"\d+ issued in [0-9.]+ s, \d+ already existed", done.stdout)
    found = corp.json("cert", "list", "--ca", "corp")
    live = [entry for entry in found if entry["state"] == "live"]
    assert sorted(entry["email"] for entry in live) == sorted(f"u{n}@example.com" for n in range(users))
    assert {entry["state"] for entry in found} <= {"live", "revoked"}
    with (out / "passwords.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert sorted(line["serial"] for line in lines) == sorted(entry["serial"] for entry in live)
    assert {path.name for path in out.glob("*.p12")} == {line["file"] for line in lines}
    assert not list(out.glob(".*.tmp"))
    for line in lines[:: users // 4]:
        (corp.folder / "pw").write_text(line["password"])
        openssl("pkcs12", "-in", f"out/{line['file']}", "-passin", "file:pw", "-noout", "-legacy", cwd=corp.folder)
    assert corp.run(*command).stdout.startswith("0 issued")


def test_a_bad_csv_issues_nothing(corp):
    (corp.folder / "users.csv").write_text("email,name\nalice@example.com,Alice\nbob@example.org,=Bob\n")
    refused = corp.run("cert", "import", "users.csv", "--ca", "corp", "--out", "out", code=2)
    assert "users.csv:3:2: " in refused.stderr
    assert corp.json("cert", "list") == []
    corp.run("cert", "import", "none.csv", "--ca", "corp", "--out", "out", code=2)


def test_an_export_of_excel_becomes_kits_letters_and_lists(corp):
    corp.folder.joinpath("users.xlsx").write_bytes(EXPORTS["a workbook"].data)
    (corp.folder / "gateway.yaml").write_text("pages: {contact: Hilfe 112}\n")
    command = ("cert", "import", "users.xlsx", "--ca", "corp", "--out", "out", "--key", "ecdsa-p256")
    for wrong in (("--kind", "ios"), ("--host", "mail.example.com"), ("--kind", "ios,nokia", "--host", "a.example")):
        corp.run(*command, *wrong, code=2)
    corp.run(*command, "--kind", "ios", "--host", "a.example", "--path", "webmail", code=2)
    kits = ("--kind", "ios, Windows,ios", "--host", "mail.example.com", "--path", "/webmail", "--language", "de")
    done = corp.run(*command, *kits, "--contact", "Hilfe 112")
    assert "out/mail-merge.csv: 4 kits with their letters" in done.stdout
    assert "users.xlsx: columns that were not used: Personalnummer, Eintritt" in done.stderr
    letter = (corp.folder / "out/letters/j@example.com-ios.html").read_text()
    assert "Jürgen Müller, mit diesem Zertifikat" in letter
    assert "https://mail.example.com/webmail" in letter
    assert "<dd>Hilfe 112</dd>" in letter
    (corp.folder / "out/j@example.com.p12").unlink()
    done = corp.run(*command, *kits, code=1)
    assert "j@example.com: no kit" in done.stderr
    assert "2 kits with their letters, for a mail merge, beside 2 of earlier runs\n" in done.stdout


def test_a_list_in_a_code_page_that_is_named(corp):
    (corp.folder / "users.csv").write_bytes("E-Mail;Name\na@example.com;Kovář\n".encode("cp1250"))
    command = ("cert", "import", "users.csv", "--ca", "corp", "--out", "out", "--key", "ecdsa-p256")
    assert "--encoding windows-1252 or windows-1250" in corp.run(*command, code=2).stderr
    corp.run(*command, "--encoding", "windows-1250")
    assert [entry["common_name"] for entry in corp.json("cert", "list")] == ["Kovář"]


def test_nobody_gets_a_name_that_is_somebody_elses_login(corp):
    (corp.folder / "users.csv").write_text("email,name\nmallory@example.com,bob@example.com\n")
    mallory = ("cert", "issue", "mallory@example.com", "--ca", "corp", "--key", "ecdsa-p256")
    refused = corp.run(*mallory, "--name", "bob@example.com", code=2)
    assert "names 'bob@example.com', but the certificate is for mallory@example.com" in refused.stderr
    refused = corp.run("cert", "import", "users.csv", "--ca", "corp", "--out", "out", code=2)
    assert "users.csv:2:2: " in refused.stderr
    assert corp.json("cert", "list") == []
    corp.run("cert", "issue", "bob@example.com", "--ca", "corp", "--key", "ecdsa-p256")
    corp.run(*mallory, "--upn", "bob@example.com", code=2)
    corp.run(*mallory, "--name", "bob", code=2)
    assert [each["email"] for each in corp.json("cert", "list")] == ["bob@example.com"]


def test_no_argument_takes_a_secret(desk):
    """Whoever may list processes reads arguments: options for secrets take files."""
    for command in (("ca", "init"), ("ca", "import"), ("cert", "issue"), ("cert", "renew"), ("cert", "profile")):
        help_ = desk.run(*command, "--help").stdout
        for option in re.findall(r"--[a-z-]*(?:password|passphrase)[a-z-]*", help_):
            assert option.endswith("-file") or option in ("--show-password", "--include-password")


def test_an_authority_is_told_where_the_gateway_publishes(desk):
    base, own = "http://pki.example.com:8080", "http://ocsp.example.com"
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256", "--publish-at", f"{base}/", "--ocsp-url", own)
    shown = desk.json("ca", "show", "corp")
    assert shown["crl_url"] == f"{base}/.well-known/gateway/crl/corp.crl"
    assert shown["issuer_url"] == f"{base}/.well-known/gateway/ca/corp.crt"
    assert shown["ocsp_url"] == own, "what is given by itself counts"
    root = desk.json("ca", "show", "corp-root")
    assert (root["crl_url"], root["ocsp_url"]) == (f"{base}/.well-known/gateway/crl/corp-root.crl", None)
    for wrong in (f"{base}/pki", "https://pki.example.com", "pki.example.com"):
        desk.run("ca", "init", "other", "--publish-at", wrong, code=2)
    openssl_root(desk.folder)
    desk.run("ca", "import", "old", "--cert", "rootCA.pem", "--key", "rootCA.key", "--publish-at", base)
    assert desk.json("ca", "show", "old")["ocsp_url"] == f"{base}/.well-known/gateway/ocsp"


def test_without_a_passphrase_nothing_hangs(corp):
    refused = corp.run("ca", "crl", "corp", code=2, env={})
    assert "--passphrase-file" in refused.stderr


def test_a_wrong_passphrase_is_corrected_where_it_came_from(corp):
    issue = ("cert", "issue", "bob@example.com", "--ca", "corp")
    refused = corp.run(*issue, code=2, env={"GATEWAY_CA_PASSPHRASE": "wrong"}).stderr
    assert "does not open the key\n  Set GATEWAY_CA_PASSPHRASE to the passphrase of 'corp'.\n" in refused
    file = corp.folder / "wrong.txt"
    file.write_text("wrong\n")
    file.chmod(0o600)
    refused = corp.run(*issue, "--passphrase-file", "wrong.txt", code=2, env={}).stderr
    assert "does not open the key\n  Write the passphrase of 'corp' into wrong.txt.\n" in refused


def test_what_is_no_utf_8_is_told_as_such(corp):
    environment = {"GATEWAY_CA_PASSPHRASE": "\udcff" * 9}
    refused = corp.run("cert", "issue", "bob@example.com", "--ca", "corp", code=2, env=environment)
    assert "GATEWAY_CA_PASSPHRASE is not UTF-8" in refused.stderr
    assert "in UTF-8" in corp.run("cert", "show", "\udcff", code=2).stderr


@pytest.mark.usefixtures("corp")
def test_the_registry_is_where_the_configuration_says(tmp_path, make_desk):
    """The certificates that the file names needn't be there: the desk makes them."""
    (tmp_path / "gateway").mkdir()
    config = tmp_path / "gateway/config.yaml"
    config.write_text(
        'listen: [{address: ":443"}]\npki: {store: "sqlite:///../pki/registry.db"}\n'
        'sites: [{hosts: ["*"], certificate: pki/a.crt, key: pki/a.key, upstream: mail, client_ca: [pki/a.crt]}]\n'
        'upstreams: {mail: {servers: ["https://127.0.0.1:1"]}}\nrules: [{name: All, action: deny}]\n'
    )
    elsewhere = make_desk(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    corp = elsewhere.json("ca", "-c", str(config), "list")[0]
    assert (corp["name"], Path(corp["key_file"])) == ("corp", config.parent / "../pki/corp/corp.key")
    config.write_text(config.read_text().replace("registry.db", 'registry.db", folder: "authorities'))
    corp = elsewhere.json("ca", "-c", str(config), "list")[0]
    assert Path(corp["key_file"]) == config.parent / "authorities/corp/corp.key"
    assert (
        elsewhere.json("ca", "-c", str(config), "--folder", "/there", "list")[0]["key_file"] == "/there/corp/corp.key"
    )
    config.write_text("pki: [")
    elsewhere.run("ca", "-c", config, "list", code=2)
    config.write_text("pki: {stroe: x}")
    elsewhere.run("ca", "-c", config, "list", code=2)
