"""Counters: what they say is true, whatever is counted, and their memory has a bound."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.logs.summary.counters import Durations, FirstTimes, Names, Timeline, TopCounts, ranked

BEGIN = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)


def counted(capacity: int, keys) -> TopCounts[str]:
    counts: TopCounts[str] = TopCounts(capacity)
    for key in keys:
        counts.add(key, 1)
    return counts


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(1, 50))))
def test_a_count_is_never_too_low_and_at_most_its_error_too_high(capacity, added):
    counts: TopCounts[str] = TopCounts(capacity)
    true: Counter[str] = Counter()
    for key, count in added:
        counts.add(key, count)
        true[key] += count
    held = {each.key: each for each in counts}
    for key, count in true.items():
        if key in held:
            assert held[key].count - held[key].error <= count <= held[key].count
        else:
            assert count <= counts.floor
    assert len(counts) <= capacity
    assert counts.is_exact == (len(held) == len(true) and not counts.floor)


@given(
    st.integers(1, 4),
    *[st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(1, 20)))] * 2,
)
def test_merged_counts_are_true_too(capacity, first, second):
    parts: list[TopCounts[str]] = []
    true: Counter[str] = Counter()
    for added in (first, second):
        counts: TopCounts[str] = TopCounts(capacity)
        for key, count in added:
            counts.add(key, count)
            true[key] += count
        parts.append(counts)
    whole = parts[0]
    whole.merge(parts[1])
    held = {each.key: each for each in whole}
    for key, count in true.items():
        if key in held:
            assert held[key].count - held[key].error <= count <= held[key].count
        else:
            assert count <= whole.floor
    assert len(whole) <= capacity


def test_as_many_keys_as_it_holds_are_counted_exactly_and_one_more_is_not():
    names = [f"name{number}" for number in range(9)]
    exact = counted(8, names[:8] * 3)
    assert exact.is_exact
    assert {(each.count, each.error) for each in exact} == {(3, 0)}
    assert not counted(8, names * 3).is_exact


def test_what_is_frequent_from_the_beginning_stays_exact_in_a_flood():
    flood = counted(4, [name for number in range(500) for name in ("alice", "bob", f"stranger{number}", "alice")])
    first, second, third, *_ = ranked(flood)
    assert (first.key, first.count, first.error) == ("alice", 1000, 0)
    assert (second.key, second.count, second.error) == ("bob", 500, 0)
    assert third.error > 0


def test_the_last_time_is_kept_with_the_key():
    counts: TopCounts[str] = TopCounts(2)
    counts.add("alice", 5, BEGIN + timedelta(hours=1))
    counts.add("alice", 5, BEGIN)
    for number in range(20):
        counts.add(f"stranger{number}", 1, BEGIN)
    assert next(each.last for each in counts if each.key == "alice") == BEGIN + timedelta(hours=1)
    assert "alice" in counts


def test_equal_counts_are_ranked_by_name():
    assert [each.key for each in ranked(counted(4, ["b", "a", "c", "c"]))] == ["c", "a", "b"]


def test_the_first_line_counts_and_what_was_known_before_is_never_new():
    table: FirstTimes[str] = FirstTimes(3)
    table.add("a", BEGIN)
    table.add("a", BEGIN - timedelta(minutes=1))
    table.add("b", BEGIN)
    table.add("b", None)
    table.add("c", None)
    table.add("c", BEGIN)
    assert dict(table.items()) == {"a": BEGIN, "b": None, "c": None}
    table.add("a", None)
    assert table.is_complete
    table.add("d", BEGIN)
    assert not table.is_complete
    assert (len(table), "d" in table) == (3, False)


def test_a_full_set_of_names_says_so():
    names, others = Names(2), Names(2)
    for name in ("a", "b", "a"):
        names.add(name)
    others.add("b")
    names.merge(others)
    assert (set(names), names.is_complete) == ({"a", "b"}, True)
    others.add("c")
    names.merge(others)
    assert (len(names), names.is_complete) == (2, False)


def test_durations():
    durations = Durations(2)
    durations.add("/owa", [10.0, 30.0])
    durations.add("/owa", [200.0])
    (owa,) = durations
    assert (owa.path, owa.count, owa.mean_ms, owa.longest_ms) == ("/owa", 3, 80.0, 200.0)
    for number in range(50):
        durations.add(f"/{number}", [1.0])
    assert not durations.is_exact
    assert len(durations) <= 2
    assert owa in set(durations)


def test_a_timeline_takes_longer_steps_when_it_becomes_long():
    timeline = Timeline()
    for hour in range(5000):
        timeline.add(hour * 3600 // timeline.step, 2, 1)
        assert len(timeline) <= Timeline.MAX_STEPS
    assert timeline.step > 3600
    whole = timeline.in_steps(Timeline.STEPS[-1], 0)
    assert [sum(column) for column in zip(*whole.values(), strict=True)] == [10_000, 5000]


def test_a_timeline_holds_all_years_that_a_line_may_have():
    timeline = Timeline()
    for year in range(1970, 9999):
        second = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        timeline.add(second // timeline.step, 1, 0)
    assert timeline.step == Timeline.STEPS[-1]
    assert len(timeline) <= Timeline.MAX_STEPS
