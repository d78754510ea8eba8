"""Files and folders that every user of the machine may write to."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support.config_files import BASE, NOW, fill

from gateway.config.load import load_with_warnings
from gateway.config.permissions import Permissions
from gateway.config.problems import Place, Problems

OTHERS_WRITE = 0o666
FULL = (
    BASE.replace("client_ca: [ca.pem]", "client_ca: [ca.pem]\n    crl: [ca.crl]")
    + "access_log: {path: logs/access.jsonl}\n"
    + "pages: {directory: pages}\npki: {store: 'sqlite:///registry/registry.sqlite', folder: authorities}\n"
)
FILES = ["config.yaml", "mail.crt", "mail.key", "ca.pem", "ca.crl", "registry/registry.sqlite"]
FOLDERS = [".", "logs", "pages", "authorities", "registry"]


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder whose name needs quotes in a shell, with all that the configuration names."""
    home = tmp_path / "the gateway's"
    home.mkdir()
    fill(home)
    for name in FOLDERS[1:]:
        (home / name).mkdir()
    (home / "registry/registry.sqlite").touch()
    (home / "config.yaml").write_text(FULL, encoding="utf-8")
    return home


def said_of(home):
    found = load_with_warnings(home / "config.yaml", now=NOW).warnings
    return [problem for problem in found if "every user of this machine can write" in problem.cause]


def test_what_only_the_owner_may_write_is_good(home):
    assert said_of(home) == []


@pytest.mark.parametrize("name", FILES + FOLDERS)
def test_the_remedy_ends_the_warning(home, name):
    path = home / name
    path.chmod(path.stat().st_mode | OTHERS_WRITE)
    (problem,) = said_of(home)
    assert str(path.absolute()) in problem.cause
    subprocess.run(shlex.split(problem.remedy.removeprefix("run: ")), check=True)
    assert said_of(home) == []


def test_a_folder_above_counts_once(home):
    home.parent.chmod(0o777)
    (problem,) = said_of(home)
    assert problem.place.path == ""
    assert problem.cause == f"every user of this machine can write in the folder {home.parent}"


def test_a_folder_with_the_sticky_bit_is_safe(home):
    home.parent.chmod(0o1777)
    assert said_of(home) == []


def test_the_file_behind_a_link_and_its_folder_count(home, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home / "ca.pem").rename(elsewhere / "ca.pem")
    (home / "ca.pem").symlink_to(elsewhere / "ca.pem")
    elsewhere.chmod(0o777)
    (elsewhere / "ca.pem").chmod(0o666)
    assert [problem.cause for problem in said_of(home)] == [
        f"every user of this machine can write {elsewhere / 'ca.pem'}",
        f"every user of this machine can write in the folder {elsewhere}",
    ]


def test_a_file_that_is_not_there_is_left_to_its_reader(tmp_path):
    problems = Problems("config.yaml")
    Permissions(problems).check(tmp_path / "nowhere" / "file", Place())
    assert problems.warnings == ()


@pytest.mark.parametrize("name", ["state", "state/crl"])
@pytest.mark.parametrize("has_url", [True, False])
def test_the_folder_of_fetched_lists_counts_where_a_list_is_fetched(home, monkeypatch, name, has_url):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    if has_url:
        (home / "config.yaml").write_text(FULL.replace("crl: [ca.crl]", "crl: ['http://ca.example/a.crl']"))
    (home / "state/crl").mkdir(parents=True)
    assert said_of(home) == []
    (home / name).chmod(0o777)
    assert [problem.cause for problem in said_of(home)] == [
        f"every user of this machine can write in the folder {home / name}"
    ] * has_url
    assert [problem.place.path for problem in said_of(home)] == ["sites[0].crl[0]"] * has_url


def test_the_folder_of_fetched_lists_may_be_systemds(home, monkeypatch, tmp_path):
    (home / "config.yaml").write_text(FULL.replace("crl: [ca.crl]", "crl: ['http://ca.example/a.crl']"))
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/var:{tmp_path}/other")
    (tmp_path / "var/crl").mkdir(parents=True)
    (tmp_path / "var/crl").chmod(0o777)
    (problem,) = said_of(home)
    assert str(tmp_path / "var/crl") in problem.cause


def test_a_device_is_everybodys(home):
    """`chmod o-w /dev/null` would break the machine."""
    text = (home / "config.yaml").read_text()
    assert "access_log:" in text
    (home / "config.yaml").write_text(re.sub("access_log:.*", "access_log: {path: /dev/null}", text))
    assert said_of(home) == []
