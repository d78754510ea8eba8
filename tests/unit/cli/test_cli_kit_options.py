"""`cert import`: options that only kits use are refused without --kind, before anything else happens."""

import inspect
from pathlib import Path

import pytest

from gateway.cli.app import run
from gateway.cli.cert_issue import _FOR_KITS, import_
from gateway.cli.cert_profile import profile

IMPORT = ("cert", "import", "users.csv", "--ca", "corp", "--out", "out")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--host", "mail.example.com"),
        ("--path", "/"),  # its default, but given
        ("--language", "de"),
        ("--contact", "Hilfe 112"),
        ("--root", None),
        ("--sign-cert", "a.crt"),
        ("--sign-key", "a.key"),
    ],
)
def test_an_option_for_kits_needs_a_kind(tmp_path, monkeypatch, capsys, option, value):
    monkeypatch.chdir(tmp_path)
    assert run([*IMPORT, option, *([] if value is None else [value])]) == 2
    told = capsys.readouterr().err
    assert f"{option} needs --kind" in told
    assert f"Add --kind, such as --kind ios,windows, or remove {option}." in told
    assert not Path("out").exists()


def test_the_options_for_kits_are_those_of_profile():
    shared = set(inspect.signature(import_).parameters) & set(inspect.signature(profile).parameters)
    assert set(_FOR_KITS) == shared - {"context", "out"}
