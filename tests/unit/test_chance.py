"""Chance in tests: none in the suite, and where `make soak` looks for it."""

import re
from pathlib import Path

import pytest
from hypothesis import settings

from tests import soak

ROOT = Path(__file__).parents[2]
FAILS = """
from hypothesis import given, settings, strategies as st
drawn = []
@given(st.integers(0, 2**64))
def test_never_large(number):
    assert number < 2**60
def test_fine():
    pass
"""


def test_every_run_tries_the_same_examples_however_long_they_take():
    asked = settings.default
    if settings.get_current_profile_name() == "same":
        assert (asked.derandomize, asked.database, asked.deadline) == (True, None, None)
    assert not settings.get_profile("soak").derandomize


def test_files_that_draw_examples_are_soaked():
    drawing = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^from hypothesis import .*\b(given|stateful|settings)\b", file.read_text(), re.MULTILINE)
    } - {"tests/unit/test_chance.py"}
    assert drawing
    assert [file for file in drawing if not file.startswith(soak.FILES)] == []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where soak runs one file of ours."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(soak, "FILES", ("test_it.py",))
    return tmp_path


def test_what_is_found_is_written_down_once_with_its_example_and_its_seed(folder, monkeypatch, capsys):
    (folder / "test_it.py").write_text(FAILS)
    times = iter((1.0, 2.0, 3.0, 3600.0))
    monkeypatch.setattr(soak, "monotonic", lambda: next(times))
    assert soak.soak(1, 7) == ["test_it.py::test_never_large"]
    (found,) = (folder / "artefacts/soak").iterdir()
    text = found.read_text()
    assert (found.name, "--hypothesis-seed=7" in text.splitlines()[0]) == ("seed-7.txt", True)
    assert "number=" in text
    assert "reproduce_failure" in text
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("round 1, seed 7: 1 failed, 1 passed")
    assert second.startswith("round 2, seed 8: 1 passed")


@pytest.mark.usefixtures("folder")
def test_a_round_that_cannot_be_run_is_told():
    with pytest.raises(SystemExit, match=r"file or directory not found: test_it\.py"):
        soak.soak(1, 1)


def test_a_round_ends_when_the_time_is_over(folder):
    (folder / "test_it.py").write_text("import threading\ndef test_long():\n    threading.Event().wait(600)\n")
    assert soak.soak(0.05, 1) == []
