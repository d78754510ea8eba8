"""What each filter lets through, and what it says to those who write something else."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from support.log_lines import BEGIN, FINGERPRINT, REQUEST_ID, combined_of, identity_of, line_of

from gateway.errors import UsageError
from gateway.logs.filters import MAX_REMEMBERED, REASONS, Asked, filters_of, fold
from gateway.logs.reader import Reader, compile_finder
from gateway.logs.time_finders import since_finder, until_finder
from gateway.request_number import short_number

NOW = BEGIN + timedelta(hours=1)
ALICE = identity_of("Alice Doe", email="alice@example.com", serial="00AB12CD")


def passes(line: bytes, **asked) -> bool:
    """Whether a line passes: with the finder and without it, which must not differ."""
    filters = filters_of(Asked(**asked), NOW)
    found = [list(Reader(filters.matches(), finder).read(io.BytesIO(line))) for finder in (filters.finder, None)]
    assert found[0] == found[1]
    return bool(found[0])


def refusal(**asked) -> UsageError:
    with pytest.raises(UsageError) as raised:
        filters_of(Asked(**asked), NOW)
    return raised.value


def test_without_a_filter_all_pass():
    assert passes(line_of())
    assert filters_of(Asked(), NOW).finder is None


def test_denied_and_observed():
    assert passes(line_of(reason="no_rule", detail="x"), denied=True)
    assert not passes(line_of(status=403, detail="x"), denied=True)
    assert passes(line_of(observed="certificate_missing"), observed=True)
    assert not passes(line_of(uri='/"observed":"x"'), observed=True)


def test_reason():
    assert passes(line_of(reason="no_rule"), reason="no_rule")
    assert passes(line_of(reason="no_rule"), reason=" NO_RULE ")
    assert not passes(line_of(reason="not_found", detail="no_rule"), reason="no_rule")
    assert passes(line_of(reason="handshake_failed: no application protocol"), reason="handshake_failed")
    error = refusal(reason="no_rul")
    assert error.cause == "--reason: 'no_rul' is not a reason code"
    assert all(reason in error.remedy for reason in REASONS)


@pytest.mark.parametrize(
    ("user", "given", "is_found"),
    [
        ("alice", "alice", True),
        ("Alice", "aLICE", True),
        ("alice@example.com", "alice", True),
        (r"EXAMPLE\Alice", "alice", True),
        ("alice", "alice@example.com", False),
        ("alice@example.org", "alice@example.com", False),
        (r"EXAMPLE\alice", r"example\alice", True),
        (r"OTHER\alice", r"example\alice", False),
        ("malice", "alice", False),
        ("Jürgen", "JÜRGEN", True),
        ("bo", "bo", True),
        (None, "alice", False),
    ],
)
def test_user(user, given, is_found):
    assert passes(line_of(user=user, uri="/alice"), user=given) == is_found


@pytest.mark.parametrize(
    "given",
    [
        *("Alice Doe", "alice doe", "alice@EXAMPLE.com", "00AB12CD", "ab12cd", "AB:12:CD", "0xAB12CD", FINGERPRINT),
        ":".join([FINGERPRINT[:2].upper()] * 32),
    ],
)
def test_cert_by_common_name_mail_serial_and_fingerprint(given):
    assert passes(line_of(identity=ALICE), cert=given)
    assert not passes(line_of(identity=identity_of("Bob", fingerprint="cd" * 32)), cert=given)
    assert not passes(line_of(user="alice@example.com", uri="/Alice Doe/ab12cd"), cert=given)


@pytest.mark.parametrize("name", ["Doe, Jane", "Jürgen", "ab:cd", "Ed", "dead", "00"])
def test_cert_by_names_that_look_like_something_else(name):
    identity = identity_of(name.replace(",", r"\,"), fingerprint="cd" * 32, serial="01")
    assert passes(line_of(identity=identity), cert=name) == (":" not in name)  # with colons it is a number


@pytest.mark.parametrize(
    ("given", "client_ip", "is_found"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.99", False),
        ("203.0.113.0/24", "203.0.113.99", True),
        ("203.0.112.0/22", "203.0.115.1", True),
        ("203.0.112.0/22", "203.0.116.1", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "2001:db8::10", False),
        ("0.0.0.0/0", "10.1.2.3", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:DB8::1", "2001:db8::1", True),
        ("2001:db8::1", "2001:db8::2", False),
        ("2001:db8:0:1::/64", "2001:db8:0:1:2::1", True),
        ("::/0", "::1", True),
        ("::1", "::1", True),
    ],
)
def test_ip(given, client_ip, is_found):
    assert passes(line_of(client_ip=client_ip), ip=given) == is_found


@pytest.mark.parametrize("spelling", ["2001:DB8:0:0:0:0:0:1", "2001:0db8::0001", "2001:db8:0:0::1"])
def test_ip_in_spellings_of_other_programs(spelling):
    assert passes(b'{"time":"2026-11-24T07:00:00Z","client_ip":"%b"}' % spelling.encode(), ip="2001:db8::/48")


def test_ip_of_other_programs_clients():
    line = b'::ffff:203.0.113.9 - - [24/Nov/2026:07:00:00 +0000] "GET / HTTP/1.1" 200 5\n'
    assert passes(line, ip="203.0.113.9")
    assert not passes(line.replace(b"::ffff:203.0.113.9", b"unix:"), ip="0.0.0.0/0")


def test_ip_remembers_no_more_addresses_than_it_may():
    filters = filters_of(Asked(ip="2001:db8::/32"), NOW)
    (each,) = filters.filters
    data = b"".join(line_of(client_ip=f"2001:db8::{number:x}") for number in range(MAX_REMEMBERED + 10))
    assert sum(1 for _ in Reader(each.passes).read(io.BytesIO(data))) == MAX_REMEMBERED + 10


@pytest.mark.parametrize(
    ("given", "remedy"),
    [("10.1.2.3/8", "write 10.0.0.0/8"), ("10.1", "write 203.0.113.9, 203.0.113.0/24 or 2001:db8::/64")],
)
def test_ip_that_is_none(given, remedy):
    assert refusal(ip=given).remedy == remedy


def test_site_is_the_site_or_the_host_that_was_asked_for():
    line = line_of(site="mail.example.com", host="Webmail.example.com:443")
    assert passes(line, site="MAIL.example.com.")
    assert passes(line, site="webmail.example.com")
    assert not passes(line, site="example.com")


def test_rule_and_device():
    line = line_of(rule="Outside: with a certificate", device_id="ABC123")
    assert passes(line, rule="outside: with a certificate")
    assert not passes(line, rule="Outside")
    assert passes(line, device="abc123")
    assert not passes(line, device="ABC12")


@pytest.mark.parametrize(
    ("uri", "pattern", "is_found"),
    [
        ("/owa/?a=/ecp", "/owa", True),
        ("/OWA/x", "/owa", True),
        ("/owax", "/owa", False),
        ("/owa", "=/owa", True),
        ("/owa/x", "=/owa", False),
        ("/%6fwa/", "/owa", True),
        ("/owa/mail.js", "~/owa/.*[.]js", True),
        ("/x?/owa", "/owa", False),
        ("https://mail.example.com/owa", "/owa", True),
        ("https://mail.example.com", "=/", True),
        ("/owa/%00", "/owa", True),  # was refused before any rule
        ("/a;b/owa", "/a/owa", True),
        (None, "/", False),
    ],
)
def test_uri_as_rules_have_it(uri, pattern, is_found):
    assert passes(line_of(uri=uri), uri=pattern) == is_found


def test_uri_in_another_programs_spelling_is_refused_with_the_right_one():
    assert "write /owa" in refusal(uri="/owa/*").remedy
    assert refusal(uri="owa").cause.startswith("--uri: 'owa' ")


def test_status():
    assert passes(line_of(status=404), status="4xx")
    assert passes(line_of(status=404), status="404")
    assert not passes(line_of(status=403), status="404")
    assert not passes(line_of(status=200, bytes_in=404), status="4XX")
    assert not passes(line_of(status=None), status="2xx")
    for text in ("", "4", "44", "4x", "600", "0xx", "4xxx", "\u0664xx"):
        assert refusal(status=text).remedy == "write 403, or 4xx for all from 400 to 499"


def test_keys_with_spaces_around_the_colon():
    line = b'{"time": "2026-11-24T07:00:00Z", "status" : 404, "reason":\t"no_rule", "observed": "no_rule"}\n'
    assert passes(line, status="404")
    assert passes(line, denied=True)
    assert passes(line, observed=True)


def test_request_whole_and_short():
    short = short_number(REQUEST_ID)
    others = (f"{number:032x}" for number in count())
    for given in (
        REQUEST_ID,
        REQUEST_ID.upper(),
        short,
        short.lower(),
        short.replace("-", ""),
        short.replace("-", " "),
    ):
        assert passes(line_of(), request=given)
        assert not passes(line_of(request_id=next(others)), request=given)
        assert not passes(line_of(request_id=None, uri=f"/{REQUEST_ID}"), request=given)
    for text in ("", "K7MP", "K7MP-3XW0", "0" * 31, "g" * 32, "K7MP-3XWAA"):
        assert "K7MP-3XWA" in refusal(request=text).remedy


def test_slow():
    assert passes(line_of(duration_ms=2000.0), slow="2s")
    assert not passes(line_of(duration_ms=1999.9), slow="2s")
    assert not passes(line_of(duration_ms=None), slow="2s")


def test_since_and_until():
    assert passes(line_of(10), since=(BEGIN + timedelta(seconds=10)).isoformat())
    assert not passes(line_of(9.999), since=(BEGIN + timedelta(seconds=10)).isoformat())
    assert not passes(line_of(10), until=(BEGIN + timedelta(seconds=10)).isoformat())
    assert passes(line_of(9.999), until=(BEGIN + timedelta(seconds=10)).isoformat())


def test_a_line_passes_all_filters_or_none():
    line = line_of(user="alice", status=403, reason="no_rule")
    assert passes(line, user="alice", status="403", denied=True)
    assert not passes(line, user="alice", status="404", denied=True)
    assert not passes(line, user="bob", status="403", denied=True)


def test_the_combined_format_is_filtered_by_what_it_has():
    line = combined_of(user="alice", status=403, uri="/owa/")
    since = BEGIN.isoformat()
    assert passes(line, user="alice", status="4xx", uri="/owa", ip="203.0.113.9", since=since)
    for asked in ({"denied": True}, {"observed": True}, {"cert": "alice"}, {"rule": "alice"}, {"device": "alice"}):
        assert not passes(line, **asked)
        assert filters_of(Asked(**asked), NOW).not_in_combined == (f"--{next(iter(asked))}",)
    for asked in ({"site": "mail.example.com"}, {"slow": "1ms"}, {"request": REQUEST_ID}, {"reason": "no_rule"}):
        assert not passes(line, **asked)
        assert filters_of(Asked(**asked), NOW).not_in_combined == (f"--{next(iter(asked))}",)
    assert filters_of(Asked(user="a", status="4xx", ip="::1", uri="/", since=since), NOW).not_in_combined == ()


@pytest.mark.parametrize("option", ["user", "cert", "device", "rule", "site"])
def test_an_empty_name_is_refused(option):
    assert refusal(**{option: " "}).cause == f"--{option}: there is nothing in it"


def test_no_ascii_letter_comes_from_another_letter():
    """Otherwise a finder for the letters that were given would miss lines."""
    for code in range(0x80, sys.maxunicode + 1):
        assert not any(letter < "\x80" for letter in fold(chr(code)))
    assert fold("ÄB\u212a\u0130c") == "äb\u212a\u0130c"


def test_the_finder_of_a_whole_request_number_is_taken_first():
    assert filters_of(Asked(denied=True, user="alice", request=REQUEST_ID), NOW).finder == f"(?i){REQUEST_ID}".encode()
    assert filters_of(Asked(request=short_number(REQUEST_ID)), NOW).finder is None


def test_the_finder_for_what_most_lines_have_is_taken_last():
    rare = filters_of(Asked(slow="2s"), NOW).finder
    assert rare is not None
    assert filters_of(Asked(site="example.com", since="1h", slow="2s"), datetime.now(UTC)).finder == rare
    common = filters_of(Asked(site="example.com", since="1h"), datetime.now(UTC))
    assert (common.finder, common.rare_finder) == (b"(?i)example\\.com", None)


@pytest.mark.parametrize(
    ("asked", "is_candidate", "is_none"),
    [
        ({"slow": "2s"}, {"duration_ms": 2000.0}, {"duration_ms": 1999.9}),
        ({"slow": "2s"}, {"duration_ms": 12000.0}, {"duration_ms": 999.9}),
        ({"slow": "1500ms"}, {"duration_ms": 1600.0}, {"duration_ms": 160.0}),
        ({"uri": "/owa"}, {"uri": "/OWA/x"}, {"uri": "/webmail?/owa"}),
        ({"uri": "=/owa"}, {"uri": "/x/../owa"}, {"uri": "/webmail/owa"}),
        ({"uri": "/owa"}, {"uri": "/%6fwa"}, {"uri": "/x-y_z~/a.b/1?%6f"}),
        ({"uri": "~/owa?/.*"}, {"uri": "/ow/x"}, {"uri": "/webmail"}),
        ({"uri": "/p\u0159\u00edstup"}, {"uri": "/p%C5%99%C3%ADstup"}, {"uri": "/pristup"}),
        ({"user": "alice"}, {"user": 'a"b\\Alice@example.com'}, {"user": "bob", "cert_email": "alice@example.com"}),
        ({"device": "AB12CD"}, {"device_id": "ab12cd"}, {"device_id": None, "uri": "/x?DeviceId=AB12CD"}),
        ({"rule": "Outside"}, {"rule": "outside"}, {"rule": "inside", "uri": "/outside"}),
        ({"site": "mail.example.com"}, {"host": "Mail.Example.com:443"}, {"host": "other", "site": "other"}),
        ({"since": "2026-11-24T07:00:00Z"}, {"seconds": 0}, {"seconds": -60}),
        ({"until": "2026-11-24T07:00:00Z"}, {"seconds": -1}, {"seconds": 61}),
    ],
)
def test_what_finders_leave_out_without_parsing(asked, is_candidate, is_none):
    finder = filters_of(Asked(**asked), NOW).finder
    assert finder is not None
    search = compile_finder(finder).search
    assert search(line_of(is_candidate.pop("seconds", 0), **is_candidate)) is not None
    assert search(line_of(is_none.pop("seconds", 0), referer="https://a.example/owa", **is_none)) is None


@pytest.mark.parametrize("asked", [{"uri": "/"}, {"uri": "~.*owa"}, {"uri": "~/owa|/x"}, {"slow": "0.5ms"}])
def test_what_could_be_anywhere_has_no_finder(asked):
    assert filters_of(Asked(**asked), NOW).finder is None


@pytest.mark.parametrize("moment", ["2026-11-24T07:09:00Z", "2020-01-01T00:00:00Z", "2099-12-31T23:59:00Z"])
@pytest.mark.parametrize("minutes", [-1_000_000, -60 * 24 * 31, -61, -1, 0, 1, 59, 60 * 24 * 366, 1_000_000])
def test_times_are_compared_by_their_digits(moment, minutes):
    now = datetime.fromisoformat(moment)
    then = f'{{"time":"{now + timedelta(minutes=minutes):%Y-%m-%dT%H:%M}:30Z"'
    assert (re.search(since_finder(now), then) is not None) == (minutes >= 0)
    assert (re.search(until_finder(now), then) is not None) == (minutes <= 0)
    with_offset = then.replace("Z", "+14:00")
    assert re.search(since_finder(now), with_offset) is not None
    assert re.search(until_finder(now), with_offset) is not None
