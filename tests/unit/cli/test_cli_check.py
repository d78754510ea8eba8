"""`gateway check` and `gateway schema`, as a user calls them."""

import json
import shlex
from datetime import timedelta
from shutil import copy

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.config_files import BASE, NOW, YEAR, fill
from support.desk import NOW as DESK_NOW
from support.desk import PASSPHRASE, make_authority, open_desk
from support.pki import Ca

from gateway import clock
from gateway.cli.app import run
from gateway.pki import crl, lifecycle, pkcs8
from gateway.pki.authority import unlock
from gateway.pki.registry.records import RevocationReason
from gateway.x509.serials import serial_text

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    path = tmp_path_factory.mktemp("check")
    fill(path)
    return path


@pytest.fixture
def folder(shared, monkeypatch):
    """The files are good in the year they were made for."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.chdir(shared)
    return shared


def test_a_good_file_is_one_line_on_stdout(folder, capsys):
    (folder / "config.yaml").write_text(BASE, encoding="utf-8")
    assert run(["check"]) == 0
    assert capsys.readouterr() == ("config.yaml: good: 1 site, 2 rules, 1 listener\n", "")


def test_warnings_do_not_fail(folder, capsys):
    (folder / "odd.yaml").write_text(BASE.replace("mail.crt", "soon.crt"), encoding="utf-8")
    assert run(["check", "-c", "odd.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == "odd.yaml: good: 1 site, 2 rules, 1 listener, 1 warning\n"
    assert err == (
        "odd.yaml:5:18: warning: sites[0].certificate: the certificate expires 2026-06-30 12:00:00 UTC; renew it\n"
    )


def test_every_problem_is_a_line_on_stderr(folder, capsys):
    text = BASE.replace("action: allow", "action: permit").replace("sites:", "sights:")
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert run(["check", "--config", "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "bad.yaml:3:1: sights: unknown key; write sites",
        "bad.yaml:15:13: rules[0].action: 'permit' is not an action; write allow, require_certificate or deny",
    ]


@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_unusable_input(capsys):
    assert run(["check", "-c", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.yaml:1:1: nowhere.yaml does not exist; ")


def test_json_has_the_same_in_parts(folder, capsys):
    (folder / "bad.yaml").write_text(BASE.replace("mail.crt", "expired.crt"), encoding="utf-8")
    assert run(["check", "--json", "-c", "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "ok": False,
        "errors": [
            {
                "file": "bad.yaml",
                "line": 5,
                "column": 18,
                "path": "sites[0].certificate",
                "problem": "the certificate expired 2026-05-31 12:00:00 UTC",
                "remedy": "renew it",
            }
        ],
        "warnings": [],
        "notes": [],
    }


def test_json_counts_a_good_file(folder, capsys):
    (folder / "config.yaml").write_text(BASE, encoding="utf-8")
    assert run(["check", "--json"]) == 0
    counts = {"sites": 1, "rules": 2, "listeners": 1}
    assert json.loads(capsys.readouterr().out) == {"ok": True, "errors": [], "warnings": [], "notes": [], **counts}


def test_cas_of_one_name_are_a_note_and_no_warning(folder, capsys):
    old = Ca.make("CN=Example CA", not_before=NOW - YEAR, not_after=NOW + YEAR)
    new = Ca.make("CN=EXAMPLE CA", not_before=NOW, not_after=NOW + 2 * YEAR)
    other = Ca.make("CN=Other CA", not_before=NOW, not_after=NOW + YEAR)
    (folder / "both.pem").write_bytes(old.pem + other.pem + new.pem + old.pem)
    (folder / "twins.yaml").write_text(BASE.replace("client_ca: [ca.pem]", "client_ca: [both.pem]"))
    assert run(["check", "-c", "twins.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == "twins.yaml: good: 1 site, 2 rules, 1 listener\n"
    (line,) = err.splitlines()
    assert line.startswith(
        "twins.yaml:4:1: note: sites[0].client_ca: 2 CAs are named 'CN=Example CA' and have different"
    )
    for ca in (old, new):
        dates = f"({ca.certificate.not_valid_before_utc:%Y-%m-%d} to {ca.certificate.not_valid_after_utc:%Y-%m-%d})"
        assert f"{ca.certificate.fingerprint(hashes.SHA256()).hex()} {dates}" in line

    assert run(["check", "--json", "-c", "twins.yaml"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (len(document["notes"]), document["warnings"]) == (1, [])


def test_rules_in_observation_are_named_and_the_remedy_after_the_day_is_good(folder, monkeypatch, capsys):
    path = folder / "observing.yaml"
    path.write_text(f"{BASE}    enforce: 2026-09-01\n", encoding="utf-8")
    assert run(["check", "-c", "observing.yaml"]) == 0
    good = "observing.yaml: good: 1 site, 2 rules, 1 listener\n"
    out, err = capsys.readouterr()
    assert out == good
    assert err == (
        "observing.yaml:16:1: note: rules[1].enforce: the rule is in observation; from 1 September 2026 on (00:00 "
        "UTC), requests without a certificate are refused\n"
    )
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(days=92))
    assert run(["check", "-c", "observing.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == good
    assert err == (
        "observing.yaml:16:1: note: rules[1].enforce: since 1 September 2026, requests without a certificate are "
        "refused; write enforce: true, so that a clock that is set back can't change that\n"
    )
    path.write_text(f"{BASE}    enforce: true\n", encoding="utf-8")
    assert run(["check", "-c", "observing.yaml"]) == 0
    assert capsys.readouterr() == (good, "")


def test_schema_prints_json_or_markdown(capsys):
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False
    assert run(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# The configuration file\n")


def test_what_could_not_be_served_is_found_too(folder, capsys):
    """Certificates in the wrong order: `run` would refuse them."""
    (folder / "shuffled.crt").write_bytes((folder / "mail.crt").read_bytes() + Ca.make("CN=Other").pem)
    (folder / "config.yaml").write_text(BASE.replace("mail.crt", "shuffled.crt"))
    assert run(["check"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("config.yaml:5:18: sites[0].certificate: ")
    assert "did not issue" in told.err
    assert len(told.err.splitlines()) == 2  # and that the other CA ends soon


def test_what_only_loading_a_list_finds_is_told_at_its_entry_beside_the_rest(folder, capsys):
    ca = Ca.make("CN=Lists", not_before=NOW - YEAR, not_after=NOW + YEAR)
    number, base = (x509.CRLNumber(2), False), (x509.DeltaCRLIndicator(1), True)
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.21"), b"\x05\x00")  # a reason that is none
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject).last_update(NOW - HOUR)
    builder = builder.next_update(NOW + YEAR)
    for extension, is_critical in (number, base):
        builder = builder.add_extension(extension, is_critical)
    entry = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW).add_extension(broken, False)
    crl = builder.add_revoked_certificate(entry.build()).sign(ca.key, hashes.SHA256())
    (folder / "lists.pem").write_bytes(ca.pem)
    (folder / "delta.crl").write_bytes(crl.public_bytes(Encoding.PEM))
    (folder / "good.crl").write_bytes(ca.crl(number=1, last_update=NOW - HOUR, next_update=NOW + YEAR))
    (folder / "templates").mkdir()
    (folder / "templates" / "nonsense.html").write_text("x")
    text = BASE.replace("[ca.pem]", "lists.pem\n    crl: [good.crl, delta.crl]").replace("allow", "permit")
    (folder / "deep.yaml").write_text(text + "pages: {directory: templates}\n")
    assert run(["check", "-c", "deep.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["deep.yaml:8:21", "sites[0].crl[1]"],
        ["deep.yaml:16:13", "rules[0].action"],
        ["deep.yaml:19:20", "pages.directory"],
    ]
    assert "not a readable revocation list" in lines[0]


LATER = DESK_NOW + timedelta(minutes=1)
KEPT = """
pki:
  store: "sqlite:///pki/registry.db"
  authorities:
    corp: {passphrase_file: good.txt}
    nobody: {passphrase_file: good.txt}
    other: {passphrase_file: wrong.txt}
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder with two authorities, where the configuration names three."""
    fill(tmp_path)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)
    monkeypatch.chdir(tmp_path)
    desk = open_desk(tmp_path)
    for name in ("corp", "other"):
        make_authority(desk, name)
    desk.registry.close()
    for name, text in (("good.txt", PASSPHRASE), ("wrong.txt", "not this one")):
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_authorities_that_could_not_be_kept_are_errors(kept, capsys):
    (kept / "config.yaml").write_text(f"{BASE}{KEPT}", encoding="utf-8")
    assert run(["check"]) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 2
    first = len(BASE.splitlines()) + 5
    expected = f"config.yaml:{first + 1}:1: pki.authorities.nobody: the registry has no authority 'nobody'"
    assert lines[0] == f"{expected}; name one of these: corp, other"
    assert lines[1].startswith(f"config.yaml:{first + 2}:1: pki.authorities.other: ")
    assert lines[1].endswith(f"does not open the key; write the passphrase of 'other' into {kept / 'wrong.txt'}")
    assert "not this one" not in err


def test_a_passphrase_file_that_is_missing_is_told_once(kept, capsys):
    (kept / "config.yaml").write_text(f"{BASE}{KEPT}".replace("    nobody: {passphrase_file: good.txt}\n", ""))
    (kept / "wrong.txt").unlink()
    assert run(["check"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{kept / 'wrong.txt'} does not exist; put the file there, or correct the name")


def test_authorities_that_are_there_and_open_are_good(kept, capsys):
    text = KEPT.replace("    nobody: {passphrase_file: good.txt}\n", "").replace("wrong.txt", "good.txt")
    (kept / "config.yaml").write_text(f"{BASE}{text}", encoding="utf-8")
    assert run(["check"]) == 0
    assert capsys.readouterr() == ("config.yaml: good: 1 site, 2 rules, 1 listener\n", "")


def test_a_registry_that_is_older_than_its_list_is_a_warning(kept, capsys, monkeypatch):
    """The command in it, followed to the letter, makes the registry newer than the list again."""
    text = KEPT.replace("    nobody: {passphrase_file: good.txt}\n", "").replace("wrong.txt", "good.txt")
    (kept / "config.yaml").write_text(f"{BASE}{text}", encoding="utf-8")
    copy(kept / "pki" / "registry.db", kept / "backup.db")
    desk = open_desk(kept)
    crl.renew(desk, unlock(desk, "corp", PASSPHRASE), LATER)
    desk.registry.close()
    monkeypatch.setattr(clock, "now", lambda: LATER)
    copy(kept / "backup.db", kept / "pki" / "registry.db")
    assert run(["check"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("1 warning\n")
    assert "warning: pki.authorities.corp: " in err
    assert "the list has number 2, the registry's newest is 1: the registry was restored from an older backup" in err
    command = f"gateway ca -c config.yaml crl corp --from {kept}/pki/corp/corp.crl"
    assert f"; run '{command}' to take over the revocations on that list\n" in err
    assert run([*shlex.split(command)[1:], "--passphrase-file", "good.txt"]) == 0
    capsys.readouterr()
    assert run(["check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_registry_that_is_not_there_is_a_warning_and_is_not_made(kept, capsys):
    (kept / "config.yaml").write_text(f"{BASE}{KEPT}".replace("pki/registry.db", "nowhere/r.db"), encoding="utf-8")
    assert run(["check"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("1 warning\n")
    assert f"warning: pki.authorities: {kept / 'nowhere/r.db'}: there is no registry yet" in err
    assert err.endswith("; run gateway ca -c config.yaml init corp\n")
    assert not (kept / "nowhere").exists()


def test_an_empty_registry_has_no_authority(tmp_path, kept, capsys):
    open_desk(tmp_path / "empty").registry.close()
    (kept / "config.yaml").write_text(f"{BASE}{KEPT}".replace("pki/registry.db", "empty/pki/registry.db"))
    assert run(["check"]) == 2
    assert "has no authority 'corp'; run gateway ca -c config.yaml init corp" in capsys.readouterr().err


def test_without_authorities_a_registry_that_is_not_there_is_no_matter(kept, capsys):
    (kept / "config.yaml").write_text(f'{BASE}pki: {{store: "sqlite:///nowhere/r.db"}}\n', encoding="utf-8")
    assert run(["check"]) == 0
    assert capsys.readouterr() == ("config.yaml: good: 1 site, 2 rules, 1 listener\n", "")


@pytest.mark.parametrize(("reason", "is_kept"), [("revoked", True), ("revoked", False), ("held", True)])
def test_an_authority_that_was_revoked_and_is_trusted_is_a_warning(tmp_path, kept, capsys, reason, is_kept):
    """A CA in client_ca is trusted whatever the list of the one above it says; one on hold may come back."""
    desk = open_desk(tmp_path)
    root = make_authority(desk, "root", now=NOW)
    below = make_authority(desk, "below", parent=root, now=NOW)
    serial = serial_text(below.certificate.serial_number)
    if reason == "revoked":
        lifecycle.revoke(desk, root, [], RevocationReason.KEY_COMPROMISE, NOW, [serial])
    else:
        lifecycle.hold(desk, root, [], NOW, [serial])
    desk.registry.close()
    section = KEPT if is_kept else 'pki: {store: "sqlite:///pki/registry.db"}\n'
    text = f"{BASE}{section}".replace("[ca.pem]", "[pki/below/below.crt]\n    crl: [pki/below/below.crl]")
    (kept / "config.yaml").write_text("".join(line for line in text.splitlines(True) if "nobody" not in line))
    (kept / "wrong.txt").write_text(f"{PASSPHRASE}\n")
    assert run(["check"]) == 0
    told = (
        "config.yaml:4:1: warning: sites[0].client_ca: the authority 'below' was revoked, but this site still accepts"
    )
    assert (told in capsys.readouterr().err) == (reason == "revoked")
