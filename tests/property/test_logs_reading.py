"""A finder drops no line that matches, however the line is spelled, and reads may be split anywhere."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from support.log_lines import BEGIN, FINGERPRINT, REQUEST_ID, combined_of, identity_of, line_of

from gateway.logs.filters import Asked, filters_of
from gateway.logs.reader import Reader
from gateway.logs.render import plain_line, row_of, shown_json
from gateway.request_number import short_number

NOW = BEGIN + timedelta(hours=1)
NAMES = (
    "alice",
    "ALICE@example.com",
    "bob",
    r"EXAMPLE\alice",
    "Doe, Jane",
    "Jürgen/x",
    '"q" name',
    "K\u212aelvin",
    "\u0130stanbul",
)
ADDRESSES = ("203.0.113.9", "203.0.113.90", "10.1.2.3", "2001:db8::9", "2001:db8:0:1::1", "::1")
NETWORKS = ("203.0.113.9", "203.0.113.0/24", "203.0.112.0/21", "10.0.0.0/8", "2001:db8::/48", "2001:db8::9", "::/0")
REASONS = ("certificate_missing", "no_rule", "handshake_failed: no application protocol")
PATHS = ("/owa", "/OWA/a?b", "/%6fwa/", "/alice", "/203.0.113.9", "/x\u202ey", "", "owa", "/x?/owa", "//owa", "/./owa")
PATHS += ("/x/../owa", "https://a.example/owa", "/owa;x/y", "/owa.", "/owa./", "/\u212aite", "/ow", "/owa\\")
HOSTS = ("mail.example.com", "MAIL.example.com:443", "mail.example.com.", "mail.example.community", "x", "mai\u0130")
DAYS = (
    "2026-11-24T07:00:00Z",
    "2026-11-24T07:30:30Z",
    "2026-11-24T08:00:00Z",
    "2026-11-23T23:59:59Z",
    "2027-01-01T00:00:00Z",
)
IDS = (REQUEST_ID, "f" * 32)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAME = st.sampled_from(NAMES) | TEXT


def maybe(strategy):
    return st.none() | strategy


@st.composite
def lines(draw) -> bytes:
    name = draw(maybe(st.sampled_from(["Alice", r"Doe\, Jane", "Jürgen", "abcd"])))
    serial = draw(st.sampled_from(["00AB12CD", "ABCD"]))
    values = {
        "client_ip": draw(st.sampled_from(ADDRESSES)),
        "identity": None if name is None else identity_of(name, email=draw(maybe(NAME)), serial=serial),
        "user": draw(maybe(NAME)),
        "device_id": draw(maybe(NAME)),
        "rule": draw(maybe(NAME)),
        "uri": draw(maybe(st.sampled_from(PATHS) | TEXT | st.text("/owa.;%6fA?", max_size=8))),
        "host": draw(maybe(st.sampled_from(HOSTS))),
        "site": draw(maybe(st.sampled_from(HOSTS))),
        "status": draw(maybe(st.sampled_from([200, 401, 403, 404, 502]))),
        "reason": draw(maybe(st.sampled_from(REASONS))),
        "detail": draw(maybe(TEXT)),
        "observed": draw(maybe(st.sampled_from(REASONS))),
        "request_id": draw(maybe(st.sampled_from(IDS))),
        "duration_ms": draw(
            maybe(st.sampled_from([0.5, 9.0, 99.9, 1500.0, 1999.9, 2000.0, 1e6, 1e22]) | st.floats(0, 1e5))
        ),
    }
    seconds = draw(st.integers(0, 7200))
    if draw(st.integers(0, 4)) == 0:
        return combined_of(seconds, **values)
    return respelled(draw, line_of(seconds, **values))


def respelled(draw, line: bytes) -> bytes:
    """The line as another program could spell the same JSON."""
    match draw(st.integers(0, 4)):
        case 0 | 1:
            return line
        case 4:  # the same moment, as another program could write it
            entry = json.loads(line)
            then = datetime.fromisoformat(entry["time"])
            zone = timezone(timedelta(hours=draw(st.integers(-14, 14))))
            text = draw(st.sampled_from([then.astimezone(zone).isoformat(" "), entry["time"].lower()]))
            spelled = json.dumps(entry | {"time": text})
        case 2:
            spelled = json.dumps(json.loads(line), ensure_ascii=draw(st.booleans()))
        case _:
            spelled = json.dumps(json.loads(line), separators=(",", " :\t")).replace("/", "\\/")
            letters = draw(st.sampled_from(["a", "b", "A", "9", "2", "4", "o", "_"]))
            spelled = re.sub(rf"(?<!\\)(?<!\\u.)(?<!\\u..)(?<!\\u...){letters}(?=[^{{}}:]*[\",])", as_escape, spelled)
            try:
                json.loads(spelled)
            except ValueError:  # a number, or half of an escape
                return line
    return spelled.encode() + b"\n"


def as_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def is_usable(asked: dict) -> bool:
    return asked.get("since", "") < asked.get("until", "9")


ASKED = (
    st.fixed_dictionaries(
        {},
        optional={
            "denied": st.just(True),
            "observed": st.just(True),
            "reason": st.sampled_from(["certificate_missing", "no_rule", "handshake_failed"]),
            "user": NAME.filter(str.strip),
            "cert": st.sampled_from(["alice", "Doe, Jane", "jürgen", "ab:12:cd", "abcd", FINGERPRINT])
            | NAME.filter(str.strip),
            "ip": st.sampled_from(NETWORKS),
            "rule": NAME.filter(str.strip),
            "device": NAME.filter(str.strip),
            "uri": st.sampled_from(["/owa", "=/owa", "~/.*a.*", "~/owa?/?.*", "~/owa(/.*)?", "/Kite", "~/ow|/x", "/"]),
            "status": st.sampled_from(["4xx", "403", "2xx"]),
            "request": st.sampled_from([REQUEST_ID, short_number(REQUEST_ID)]),
            "slow": st.sampled_from(["2s", "1500ms", "9ms", "0.5ms", "1m"]),
            "since": st.sampled_from(DAYS),
            "until": st.sampled_from(DAYS),
            "site": st.sampled_from(["mail.example.com", "Mail.Example.com.", "x", "mai\u0130"]),
        },
    )
    .map(lambda asked: dict(list(asked.items())[:2]))
    .filter(is_usable)
)


class Split:
    """Hands the bytes out in these pieces."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.file = io.BytesIO(data)
        self.sizes = sizes

    def readinto(self, into: memoryview) -> int:
        size = self.sizes.pop() if self.sizes else len(into)
        return self.file.readinto(into[:size])


@given(st.lists(lines(), max_size=6), ASKED)
def test_a_finder_drops_no_line_that_matches(some: list[bytes], asked: dict) -> None:
    filters = filters_of(Asked(**asked), NOW)
    with_finder, without = Reader(filters.matches(), filters.finder), Reader(filters.matches())
    data = b"".join(some)
    assert list(with_finder.read(io.BytesIO(data))) == list(without.read(io.BytesIO(data)))


@given(
    st.lists(lines() | st.binary(max_size=40) | lines().map(lambda line: line[: len(line) // 2]), max_size=6),
    st.lists(st.integers(1, 400), max_size=20),
    ASKED,
)
def test_split_reads_give_the_same_lines(some: list[bytes], sizes: list[int], asked: dict) -> None:
    filters = filters_of(Asked(**asked), NOW)
    whole, split = (Reader(filters.matches(), filters.finder) for _ in range(2))
    data = b"".join(some)
    assert list(split.read(Split(data, sizes))) == list(whole.read(io.BytesIO(data)))
    assert split.skipped == whole.skipped


@given(lines())
def test_nothing_that_acts_is_shown(line: bytes) -> None:
    reader = Reader(lambda _: True)
    for hit in reader.read(io.BytesIO(line)):
        assert plain_line(hit.entry).replace("\t", "").isprintable()
        assert "".join(str(part) for part in row_of(hit.entry)).isprintable()
        assert shown_json(hit.line).isprintable()
        if hit.line.startswith(b"{"):
            assert json.loads(shown_json(hit.line)) == json.loads(hit.line)
