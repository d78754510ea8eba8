"""`gateway cert verify` gives the running gateway's verdict, and an exit code that scripts can use."""

import json

import pytest
import typer
from support.pki import DAY, NOW, Ca, openssl_leaf, openssl_root
from support.scopes import issuing_point
from typer.testing import CliRunner

from gateway.cli.verify import verify
from gateway.errors import UsageError

ROOT = Ca.make()
AT = ["--at", "2026-11-24T12:00:00"]


@pytest.fixture
def run(tmp_path):
    ROOT.write(tmp_path, "ca")
    app = typer.Typer()
    app.command()(verify)

    def call(leaf, *arguments, ca="ca.crt"):
        path, _key = leaf.write(tmp_path, "leaf")
        result = CliRunner().invoke(app, [str(path), "--ca", str(tmp_path / ca), *AT, *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_a_good_certificate_with_the_intermediate_in_its_own_file(run):
    result = run(ROOT.issue_ca("CN=Middle").issue("CN=alice", email="alice@example.com"))
    assert result.exit_code == 0
    assert result.stdout.startswith("trusted: issued by CN=Middle\n  subject      CN=alice\n")
    assert "  emails       alice@example.com\n" in result.stdout
    assert "upns" not in result.stdout


def test_a_refused_certificate_has_its_reason_code(run):
    result = run(ROOT.issue(not_before=NOW - 2 * DAY, not_after=NOW - DAY))
    assert result.exit_code == 1
    assert result.stdout.startswith("certificate_expired: expired 2026-11-23 12:00:00 UTC\n")


def test_a_certificate_without_readable_names(run):
    result = run(ROOT.issue("CN=a\\00b"))
    assert (result.exit_code, result.stdout) == (
        1,
        "certificate_untrusted: a name in the certificate holds a control character\n",
    )


def test_revocation_lists(run, tmp_path):
    alice = ROOT.issue()
    (tmp_path / "ca.crl").write_bytes(ROOT.crl([alice.certificate]))
    result = run(alice, "--crl", tmp_path / "ca.crl", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["trusted"], answer["reason"], answer["subject"]) == (False, "certificate_revoked", "CN=alice")


def test_the_lists_that_cover_each_certificate_are_told(run, tmp_path):
    middle = ROOT.issue_ca("CN=Middle")
    for name, data in (
        ("users.crl", middle.crl(number=7, extensions=[issuing_point(only_contains_user_certs=True)])),
        ("root.crl", ROOT.crl(number=None)),
    ):
        (tmp_path / name).write_bytes(data)
    crls = "--crl", tmp_path / "users.crl", "--crl", tmp_path / "root.crl"
    result = run(middle.issue("CN=alice"), *crls, "--json")
    assert json.loads(result.stdout)["covered_by"] == [
        f"{tmp_path}/users.crl (number 7) for 'CN=alice'",
        f"{tmp_path}/root.crl for 'CN=Middle'",
    ]
    assert f"  covered_by   {tmp_path}/users.crl (number 7) for 'CN=alice', " in run(middle.issue(), *crls).stdout
    assert "covered_by" not in run(middle.issue(), "--json").stdout
    refused = run(ROOT.issue(), "--crl", tmp_path / "users.crl")
    assert (refused.exit_code, "covered_by" in refused.stdout) == (1, False)


def test_the_time_can_be_given(run):
    alice = ROOT.issue()
    assert run(alice).exit_code == 0
    assert run(alice, "--at", "2026-11-24T13:00:00+01:00").exit_code == 0
    assert "certificate_not_yet_valid" in run(alice, "--at", "2020-01-01").stdout


@pytest.mark.parametrize("text", ["soon", "0001-01-01T00:00:00+23:00"])
def test_what_is_no_time_cannot_be_used(run, text):
    with pytest.raises(UsageError, match="is not a time"):
        run(ROOT.issue(), "--at", text)


def test_a_missing_file_cannot_be_used(run):
    with pytest.raises(UsageError, match="does not exist"):
        run(ROOT.issue(), ca="missing.pem")


def test_certificates_as_tutorials_make_them_at_the_present_time(tmp_path):
    root = openssl_root(tmp_path)
    certificate, _key = openssl_leaf(tmp_path)
    app = typer.Typer()
    app.command()(verify)
    result = CliRunner().invoke(app, [str(certificate), "--ca", str(root), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["emails"] == ["alice@example.com"]


def test_the_chain_can_be_in_files_of_its_own(run, tmp_path):
    middle = ROOT.issue_ca("CN=Middle")
    alice = middle.issue()
    middle.write(tmp_path, "middle")
    lonely = type(alice)(alice.certificate, alice.key)
    assert run(lonely).exit_code == 1
    app = typer.Typer()
    app.command()(verify)
    arguments = [str(tmp_path / "leaf.crt"), str(tmp_path / "middle.crt"), "--ca", str(tmp_path / "ca.crt"), *AT]
    assert CliRunner().invoke(app, arguments).exit_code == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_list_at_a_url_is_not_taken_for_a_file(run, scheme):
    with pytest.raises(UsageError, match=rf"^--crl: {scheme}://crl\.example\.com/ca\.crl\?… is a URL$") as caught:
        run(ROOT.issue(), "--crl", f"{scheme}://crl.example.com/ca.crl?token=secret")
    assert caught.value.remedy == "Download the list and give the file."
