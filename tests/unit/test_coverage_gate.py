"""The gate on coverage: what it sums, what it asks of each package, and what happens to data that can't be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import coverage
import pytest
from coverage.exceptions import DataError

from tests.coverage_gate import combine, packages_of

ROOT = Path(__file__).parents[2]


def _file(lines: int, covered: int, missing_lines: list[int], missing_branches: list[list[int]]) -> dict[str, object]:
    return {
        "summary": {
            "num_statements": lines,
            "num_branches": 0,
            "covered_lines": covered,
            "covered_branches": 0,
            "missing_lines": len(missing_lines),
            "missing_branches": len(missing_branches),
        },
        "missing_lines": missing_lines,
        "missing_branches": missing_branches,
    }


def test_rooms_are_summed_over_their_files_and_ask_for_what_their_risk_asks():
    packages = packages_of(
        {
            "files": {
                "gateway/errors.py": _file(10, 10, [], []),
                "gateway/policy/uri.py": _file(50, 50, [], []),
                "gateway/policy/engine.py": _file(50, 49, [7], []),
                "gateway/cli/app.py": _file(100, 96, [1, 2, 3, 4], []),
            }
        }
    )
    assert [
        (package.name, package.percent, package.at_least, package.percent < package.at_least) for package in packages
    ] == [
        ("cli", 96.0, 95.0, False),
        ("gateway", 100.0, 95.0, False),
        ("policy", 99.0, 100.0, True),
    ]


def test_gaps_name_lines_and_branches_and_a_file_without_any_test_in_one_word():
    (package,) = packages_of(
        {
            "files": {
                "gateway/tls/a.py": _file(10, 9, [4], [[4, 6], [8, -1]]),
                "gateway/tls/b.py": _file(10, 0, list(range(10)), []),
                "gateway/tls/c.py": _file(50, 10, list(range(1, 41)), []),
            }
        }
    )
    assert package.gaps[0] == "gateway/tls/a.py: 4, 4->6, 8->exit"
    assert package.gaps[1] == "gateway/tls/b.py: nothing is covered"
    assert package.gaps[2].endswith("19, 20 …")


@pytest.fixture
def data_file(tmp_path, monkeypatch):
    """Where two processes have left their data: one ran two lines of a module, the other one the third."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.coverage.run]\nbranch = true\n")
    module = tmp_path / "module.py"
    module.write_text("one = 1\ntwo = 2\nthree = 3\nfour = 4\n")
    _write_data(tmp_path / "data.a", module, [(-1, 1), (1, 2)])
    _write_data(tmp_path / "data.b", module, [(2, 3)])
    return tmp_path / "data"


def _write_data(file: Path, module: Path, arcs: list[tuple[int, int]]) -> None:
    data = coverage.CoverageData(str(file))
    data.add_arcs({str(module): arcs})
    data.write()
    data.close()


def _lines(report) -> list[int]:
    return report["files"]["module.py"]["executed_lines"]


def test_data_of_all_processes_are_combined_and_removed(data_file):
    combined = combine(data_file)
    assert (combined.failure, combined.torn) == ("", {})
    assert _lines(combined.report) == [1, 2, 3]
    assert list(data_file.parent.glob("data*")) == []


def test_a_torn_file_is_set_aside_and_named_and_the_others_count(data_file):
    whole = data_file.with_name("data.b").read_bytes()
    data_file.with_name("data.c").write_bytes(whole[: len(whole) // 2])
    data_file.with_name("data.d").write_bytes(b"")
    data_file.with_name("data.e").write_bytes(b"not a database, and longer than the header of one" * 9)
    data_file.with_name("data.b-journal").write_bytes(b"")
    combined = combine(data_file)
    assert list(combined.torn) == ["data.c", "data.d", "data.e"]
    assert combined.torn["data.d"] == "no such table: coverage_schema"
    assert _lines(combined.report) == [1, 2, 3]
    assert sorted(file.name for file in data_file.parent.glob("data.?")) == ["data.c", "data.d", "data.e"]


def test_a_file_whose_process_was_killed_between_two_tables_is_set_aside(data_file):
    data = coverage.CoverageData(str(data_file.with_name("data.c")))
    with data._connect() as begun:
        begun.execute_void("drop table arc")
    data.close()
    assert combine(data_file).torn == {"data.c": "no such table: arc"}


def test_combining_that_fails_is_tried_again_with_all_files(data_file, monkeypatch):
    combine_of_coverage = coverage.Coverage.combine
    seen = []

    def fails_at_first(self, paths, **options):
        seen.append([Path(path).name for path in paths])
        combine_of_coverage(self, paths, **options)
        if len(seen) == 1:
            raise DataError("no such table: main.file")

    monkeypatch.setattr(coverage.Coverage, "combine", fails_at_first)
    combined = combine(data_file)
    assert seen == [["data.a", "data.b"]] * 2
    assert _lines(combined.report) == [1, 2, 3]


def test_combining_that_fails_again_is_a_failure_that_leaves_all_files(data_file, monkeypatch):
    def fails(*_, **__):
        raise DataError("no such table: main.file")

    monkeypatch.setattr(coverage.Coverage, "combine", fails)
    combined = combine(data_file)
    assert (combined.report, combined.failure) == (None, "DataError: no such table: main.file")
    assert [file.name for file in sorted(data_file.parent.glob("data.*"))] == ["data.a", "data.b"]


def test_no_data_at_all_is_a_failure(tmp_path):
    assert "No data to combine" in combine(tmp_path / "data").failure


def test_data_without_branches_are_a_failure(data_file):
    for file in data_file.parent.glob("data.*"):
        file.unlink()
    empty = coverage.CoverageData(no_disk=True)
    coverage.CoverageData(str(data_file.with_name("data.a"))).loads(empty.dumps())
    empty.close(force=True)
    assert combine(data_file).failure == "CoverageException: no branch was measured"


@pytest.fixture
def run(tmp_path):
    """Runs a test file of its own below the gate, and measures one module; (exit code, what was printed)."""
    settings = f"[run]\nbranch = true\nparallel = true\nsource = .\ndata_file = {tmp_path / 'data'}\n"
    (tmp_path / "module.py").write_text("one = 1\n")
    (tmp_path / "coveragerc").write_text(settings)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def ran(test: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(test)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
        command = ["-m", "pytest", "-p", "tests.coverage_gate", "--cov", "--cov-report=", "--cov-config=coveragerc"]
        done = subprocess.run(
            [sys.executable, *command, "-p", "no:cacheprovider", "test_it.py"],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return ran


TEARS = """
from pathlib import Path
def test_tears():
    import module
    Path("data.torn").write_bytes(b"torn")
def test_fails():
    assert not "seen"
"""


def test_beside_a_torn_file_failures_and_the_summary_are_printed(run):
    code, said = run(TEARS)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "set aside, not counted: data.torn: file is not a database" in said
    assert 'assert not "seen"' in said
    assert "1 failed, 1 passed in " in said.splitlines()[-1]
    assert "INTERNALERROR" not in said


UNCOMBINED = """
import coverage, module
from coverage.exceptions import DataError
def test_fine():
    def fails(*_, **__):
        raise DataError("no such table: main.file")
    coverage.Coverage.combine = fails
"""


def test_a_run_without_coverage_fails_with_one_line(run):
    code, said = run(UNCOMBINED)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "The coverage is unknown: DataError: no such table: main.file" in said.splitlines()
    assert "1 passed, 1 coverage unknown" in said.splitlines()[-1]
    assert "INTERNALERROR" not in said
