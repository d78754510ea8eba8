"""Names of rotated files: in the order of the rotations, never used twice, and never those of other programs."""

from datetime import UTC, datetime

import pytest

from gateway.logs.files import rotated
from gateway.logs.rotated_names import RotatedNames, Turn, or_packed, without_doubles

NOW = datetime(2026, 11, 30, 10, 11, 12, tzinfo=UTC).timestamp()
STAMP = "20261130T101112Z"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.jsonl"


@pytest.fixture
def names(path):
    return RotatedNames(path)


def test_a_name_is_the_time_in_utc(names, path):
    assert names.next(NOW + 0.9) == path.with_name(f"access-{STAMP}.jsonl")


@pytest.mark.parametrize(("log", "rotated_to"), [("access", f"access-{STAMP}"), ("a.b.log", f"a.b-{STAMP}.log")])
def test_a_log_may_have_another_name(tmp_path, log, rotated_to):
    assert RotatedNames(tmp_path / log).next(NOW) == tmp_path / rotated_to


@pytest.mark.parametrize("ending", ["", ".zst", ".gz", ".zst.tmp"])
def test_a_second_rotation_in_one_second_has_a_number(names, path, ending):
    path.with_name(f"access-{STAMP}.jsonl{ending}").touch()
    second = names.next(NOW)
    assert second == path.with_name(f"access-{STAMP}-2.jsonl")
    second.touch()
    for number in range(3, 12):
        third = names.next(NOW)
        assert third == path.with_name(f"access-{STAMP}-{number}.jsonl")
        third.touch()
    assert list(names.existing()) == [Turn(STAMP, number) for number in range(1, 12)]


def test_a_clock_that_was_set_back_makes_no_name_that_is_older(names, path):
    path.with_name(f"access-{STAMP}.jsonl.zst").touch()
    assert names.next(NOW - 86400) == path.with_name(f"access-{STAMP}-2.jsonl")


def test_the_reader_finds_every_name(names, path):
    path.touch()
    for ending in ("", ".gz", ".zst"):
        for _ in range(2):
            made = names.next(NOW)
            made.with_name(made.name + ending).touch()
    assert len(rotated(path)) == 7
    path.with_name(f"access-{STAMP}.jsonl.zst.tmp").touch()
    assert len(rotated(path)) == 7


@pytest.mark.parametrize(
    "name",
    [
        *("access.jsonl", "access.jsonl.1", "access.jsonl.1.gz", "access-20261130.jsonl", f"other-{STAMP}.jsonl"),
        *(f"access-{STAMP}.jsonl.bak", f"access-{STAMP}.jsonl.tmp", f"access-{STAMP}.json", f"access-{STAMP}-1.jsonl"),
        *(f"access-{STAMP}-02.jsonl", f"access-{STAMP}.jsonl\n", f"xaccess-{STAMP}.jsonl", f"access-{STAMP}xjsonl"),
        "access-2026113\N{ARABIC-INDIC DIGIT ZERO}T101112Z.jsonl",
    ],
)
def test_other_names_are_not_ours(names, path, name):
    path.with_name(name).touch()
    assert names.of(name) is None
    assert names.existing() == {}


def test_folders_and_links_are_not_ours(names, path, tmp_path):
    path.with_name(f"access-{STAMP}.jsonl").mkdir()
    path.with_name(f"access-{STAMP}-2.jsonl").symlink_to(tmp_path)
    assert names.existing() == {}
    assert names.next(NOW) == path.with_name(f"access-{STAMP}-3.jsonl")  # but the names are taken


def test_the_oldest_is_first_with_all_that_there_is_of_it(names, path):
    for name in (f"access-{STAMP}-10.jsonl", f"access-{STAMP}-9.jsonl.gz", "access-20251130T101112Z.jsonl.zst"):
        path.with_name(name).touch()
    path.with_name(f"access-{STAMP}-9.jsonl").touch()
    assert list(names.existing().items()) == [
        (Turn("20251130T101112Z"), {".zst"}),
        (Turn(STAMP, 9), {"", ".gz"}),
        (Turn(STAMP, 10), {""}),
    ]


def test_of_a_file_that_is_there_twice_the_packed_one_counts(path):
    plain, foreign = path.with_name(f"access-{STAMP}-2.jsonl"), path.with_name("access.jsonl.1")
    packed = plain.with_name(plain.name + ".zst")
    both = [foreign, foreign.with_name(foreign.name + ".gz"), path]
    assert without_doubles([plain, packed, *both]) == [packed, *both]
    assert without_doubles([plain, *both]) == [plain, *both]


def test_a_file_that_was_packed_meanwhile_is_found_by_its_old_name(path):
    plain, foreign = path.with_name(f"access-{STAMP}.jsonl"), path.with_name("access.jsonl.1")
    packed = plain.with_name(plain.name + ".gz")
    for each in (packed, foreign.with_name(foreign.name + ".gz")):
        each.touch()
    assert or_packed(plain) == packed
    assert or_packed(foreign) == foreign
    plain.touch()
    assert or_packed(plain) == plain
    packed.unlink()
    plain.unlink()
    assert or_packed(plain) == plain
