"""Whatever bytes come: one spelling or a refusal, and nothing for a careless upstream to read differently."""

import re
import unicodedata
from ast import literal_eval
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rules import rule_of

from gateway.facts import Action, Request, parse_address
from gateway.policy.engine import Engine
from gateway.policy.uri import PatternError, Target, UriRejected, normalise, parse_pattern

HOSTILE = [
    b"/", b"//", b".", b"..", b"%2e", b"%2E", b";", b"%3b", b"\\", b"%5c", b"%2f", b"%25", b"%00", b"%23", b"%3F",
    b"#", b"?", b"%77ebmail", b"%20", b" ", b"%c3%a9", b"\xc3\xa9", b"%", b"%u002f", b"%c0%af", b"\xff", b"(S(x))",
    b":$DATA", b"%25%36%31", b"%2561dmin", b"admin", b"%c4%b1", b"adm%c4%b1n", b"%e2%80%8d", b"%ef%bd%81dmin",
    b"%ef%bc%85", b"%e2%80%a6", b"%25ff", b"(S(x)y(1))", b"%ef%bc%bc", b"%c2%bd", b"/webmail/",
    b"%e2%84%aa", b"%ef%bc%8f", b"~1", b"a=b", b"\x00", b"%7f", b"%c5%bf", b"|", b"webmail", b"x",
    b"+", b"%2b", b"my+admin", b";x",
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


TESTS = Path(__file__).parents[1]
CORPUS_SIZE = 300  # at least
RULES = [
    rule_of("admin", Action.DENY, 1, uris=("/webmail/admin", "/webmail/my%20admin", "=/webmail/x", "~.*/y")),
    rule_of("webmail", Action.ALLOW, 2, uris=("/webmail",)),
]
ENGINE = Engine(RULES, {})


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
        lambda text: "/" + re.sub(r"/?\((?:[A-Za-z]\([^)]*\))+\)", "", text).lstrip("/"),
        lambda text: unicodedata.normalize("NFKC", text),
        lambda text: text.translate({0x131: "i", 0x130: "i", 0x17F: "s", 0x212A: "k", 0xA5: "/"}),
        lambda text: re.sub("[\u200b-\u200f\u00ad\ufe00-\ufe0f\ufeff]", "", text),
        lambda text: unquote_to_bytes(text).decode("utf-8", "ignore"),
        lambda text: re.sub(r":\$[^/]*|::[^/]*", "", text),
        lambda text: text.replace("+", " "),
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
    if judged is None or any(map(PATTERN.matches, (judged.match, *judged.readings))):
        return
    for reading in sloppy_readings(judged.path):
        assert not PATTERN.matches(reading.lower()), (judged, reading)


@given(spliced.map(lambda tail: b"/webmail" + tail) | spliced)
@settings(max_examples=400, deadline=None)
def test_no_careless_reader_gets_past_a_stricter_rule(target):
    judged = _normalised(target)
    if judged is None or not _lets_in(judged.match, judged.readings):
        return
    for reading in sloppy_readings(unquote_to_bytes(judged.path).decode()):
        assert _lets_in(reading.lower()), (judged, reading)


def _corpus() -> list[bytes]:
    """Every path of the tests' own tables and of the published requests, each once."""
    texts = [
        (TESTS / name).read_text()
        for name in ("unit/policy/test_policy_uri.py", "unit/policy/test_policy_readings.py", "e2e/test_e2e_paths.py")
    ]
    written = [
        literal_eval(f'"{path}"').encode("utf-8", "surrogatepass")
        for text in texts
        for path in re.findall(r'"(/(?:[^"\\\n]|\\.)*)"', text)
    ]
    for name in ("smuggling_requests.txt", "smuggling_published.txt"):
        lines = (TESTS / "golden" / name).read_bytes()
        written += re.findall(rb"\| [A-Z]+ (/\S*) HTTP/1", lines)
    return sorted(set(written))


def test_no_careless_reader_of_a_known_path_gets_past_a_stricter_rule():
    known = _corpus()
    assert len(known) > CORPUS_SIZE
    let_in = 0
    for target in (place + path for path in known for place in (b"", b"/webmail")):
        judged = _normalised(target)
        if judged is None or not _lets_in(judged.match, judged.readings):
            continue
        let_in += 1
        for reading in sloppy_readings(unquote_to_bytes(judged.path).decode()):
            assert _lets_in(reading.lower()), (judged, reading)
    assert let_in > CORPUS_SIZE // 4


def _lets_in(path: str, readings: tuple[str, ...] = ()) -> bool:
    request = Request(parse_address("203.0.113.9"), "mail.example.com", "GET", path)
    return ENGINE.decide_every(request, readings).reason is None


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
        seen = any(map(EXACT.matches, (judged.match, *judged.readings)))
        assert seen or not EXACT.matches(reading.lower()), judged


@given(spliced, st.booleans())
@settings(deadline=None)
def test_the_fast_way_and_the_slow_way_agree(target, is_encoded):
    """One letter spelt as an escape sends the same target the other way."""
    other = target.replace(b"x", b"%78") if is_encoded else target + b"/%78"
    first, second = _normalised(target if is_encoded else target + b"/x"), _normalised(other)
    if first is None or second is None:
        assert first is second
    else:
        assert first._replace(query=None) == second._replace(query=None)


@given(st.text(max_size=30) | st.text("ab/.%2e;?é ", max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_path_pattern_matches_the_very_path_it_spells(text):
    try:
        pattern = parse_pattern("=/" + text)
    except PatternError:
        return
    assert pattern.matches(normalise(("/" + text).encode()).match)
