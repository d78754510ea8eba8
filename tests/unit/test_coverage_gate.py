"""The gate on coverage, on made-up reports: what it sums, what it asks of each package, what it says is missing."""

from __future__ import annotations

from tests.coverage_gate import packages_of


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
