"""Whatever bytes come: one spelling or a refusal, and nothing for a careless upstream to read differently."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.uri import PatternError, Target, UriRejected, normalise, parse_pattern

HOSTILE = [
    b"/", b"//", b".", b"..", b"%2e", b"%2E", b";", b"%3b", b"\\", b"%5c", b"%2f", b"%25", b"%00", b"%23", b"%3F",
    b"#", b"?", b"%77ebmail", b"%20", b" ", b"%c3%a9", b"\xc3\xa9", b"%", b"%u002f", b"%c0%af", b"\xff", b"(S(x))",
    b":$DATA", b"%e2%84%aa", b"%ef%bc%8f", b"~1", b"a=b", b"\x00", b"%7f", b"%c5%bf", b"|", b"webmail", b"x",
]  # fmt: skip
MILD = [
    b"/", b"/", b"/", b"/../", b"/./", b"//", b"x", b"webmail", b"WEBMAIL", b"%77ebmail", b";a", b"%3B", b"%23", b"%3F",
    b"%20", b"%c3%a9", b"(", b":", b"|", b"-",
]  # fmt: skip


def _spliced(pieces):
    return st.lists(st.sampled_from(pieces), max_size=10).map(lambda some: b"/" + b"".join(some))


spliced = _spliced(HOSTILE) | _spliced(MILD)
targets = spliced | st.binary(max_size=40).map(lambda tail: b"/" + tail) | st.binary(max_size=40)
PATTERN = parse_pattern("/webmail")
EXACT = parse_pattern("=/webmail")


def sloppy_readings(path: str) -> set[str]:
    """What an upstream could make of a path with any mixture of the mistakes that servers make."""
    steps = [
        lambda text: unquote_to_bytes(text).decode("utf-8", "replace"),
        lambda text: text.replace("\\", "/"),
        lambda text: re.sub(r"/+", "/", text),
        lambda text: re.sub(r";[^/]*", "", text),
        lambda text: re.split(r"[?#\x00]", text)[0],
        lambda text: "/".join(
            segment.rstrip(". ") if set(segment) - set("./") else segment for segment in text.split("/")
        ),
        _without_dots,
        str.upper,
        str.lower,
        lambda text: re.sub(r"\((?:[A-Za-z]\([^)]*\))+\)/?", "", text),
        lambda text: re.sub(r":\$[^/]*|::[^/]*", "", text),
    ]
    readings = {path}
    for _ in range(2):
        for step in steps:
            readings |= {step(reading) for reading in readings}
    return readings


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def _normalised(target: bytes) -> Target | None:
    try:
        return normalise(target)
    except UriRejected:
        return None


@given(targets)
@settings(max_examples=1000, deadline=None)
def test_a_target_is_normalised_for_good_or_refused(target):
    first = _normalised(target)
    if first is None:
        return
    assert normalise(first.path.encode("ascii")) == first._replace(query=None)
    assert re.fullmatch(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*", first.path)
    assert "//" not in first.path
    assert not {".", ".."} & set(first.path.split("/"))
    if first.query is not None:
        assert re.fullmatch(r"[!-~]*", first.query)
        assert "#" not in first.query


@given(spliced)
@settings(max_examples=400, deadline=None)
def test_no_careless_reader_gets_into_a_prefix_that_the_rules_did_not_see(target):
    judged = _normalised(target)
    if judged is None or PATTERN.matches(judged.match):
        return
    for reading in sloppy_readings(judged.path):
        assert not PATTERN.matches(reading.lower()), (judged, reading)


@pytest.mark.parametrize(
    "path",
    ["/x/..;/webmail", "/%2577ebmail", "/x\\..\\webmail", "/webmail%23x", "/webmail.", "/(S(x))/webmail", "//webmail"],
)
def test_the_careless_reader_would_get_in_where_nothing_is_normalised(path):
    assert not PATTERN.matches(path)
    assert any(PATTERN.matches(reading.lower()) for reading in sloppy_readings(path))


@given(spliced)
@settings(max_examples=400, deadline=None)
def test_an_exact_pattern_sees_what_a_reader_that_cuts_and_decodes_sees(target):
    judged = _normalised(target)
    if judged is None:
        return
    decoded = unquote_to_bytes(judged.path).decode("utf-8")
    for reading in (decoded, re.sub(r";[^/]*", "", decoded), re.split(r"[?#]", decoded)[0]):
        assert EXACT.matches(judged.match) or not EXACT.matches(reading.lower()), judged


@given(spliced, st.booleans())
@settings(deadline=None)
def test_the_fast_way_and_the_slow_way_agree(target, is_encoded):
    """One letter spelt as an escape sends the same target the other way."""
    other = target.replace(b"x", b"%78") if is_encoded else target + b"/%78"
    first, second = _normalised(target if is_encoded else target + b"/x"), _normalised(other)
    if first is None or second is None:
        assert first is second
    else:
        assert (first.path, first.match) == (second.path, second.match)


@given(st.text(max_size=30) | st.text("ab/.%2e;?é ", max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_path_pattern_matches_the_very_path_it_spells(text):
    try:
        pattern = parse_pattern("=/" + text)
    except PatternError:
        return
    assert pattern.matches(normalise(("/" + text).encode()).match)
