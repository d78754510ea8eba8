"""A host has one spelling, and a site is found by the best pattern for it."""

import pytest

from gateway.errors import PatternError
from gateway.facts import Reason
from gateway.policy.hosts import HostRejected, SiteIndex, normalise_host, parse_host_pattern, port_of


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mail.example.com", "mail.example.com"),
        ("MAIL.Example.COM", "mail.example.com"),
        ("mail.example.com:443", "mail.example.com"),
        ("mail.example.com:", "mail.example.com"),
        ("mail.example.com.", "mail.example.com"),
        ("mail.example.com.:65535", "mail.example.com"),
        ("localhost", "localhost"),
        ("a_b.example", "a_b.example"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("１９２.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]:443", "[2001:db8::1]"),
        ("[::1]", "[::1]"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("x" * 63 + ".example", "x" * 63 + ".example"),
        (".".join(["x" * 63] * 3 + ["y" * 61]), ".".join(["x" * 63] * 3 + ["y" * 61])),
    ],
)
def test_a_host_has_one_spelling(text, host):
    assert normalise_host(text) == host
    assert normalise_host(host) == host


@pytest.mark.parametrize(
    ("text", "port"),
    [("a.example", None), ("a:", None), ("a:80", 80), ("a:00080", 80), ("[::1]", None), ("[::80]:443", 443)],
)
def test_a_host_may_name_a_port(text, port):
    assert port_of(text) == port


@pytest.mark.parametrize(
    "text",
    [
        "", ".", ":443", "a..b", ".a", "a.b..", "a b", " a", "a\t", "a\x00b", "a\r\nb", "a/b", "a\\b", "a@b", "a?b",
        "a#b", "a%2eb", "a,b", "*.example.com", "*", "-a.example", "a-.example", "a.-", "x" * 64,
        ".".join(["x" * 63] * 4), "a:99999", "a:65536", "a:b", "a:4:4", "a:-1", "a:+1", "a:123456",
        "a:４４３", "::1", "2001:db8::1",
        "[::1", "[::1]x", "[::1]:x", "[]", "[127.0.0.1]", "[v1.x]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[[::1]]",
        "127.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "127.0.0.01", "1.2.3.256", "a.1", "1.2.3.4.5",
        "straße.example", "ẞ.example", "faς.example", "a\u200db.example", "℀.example", "。", "ü" * 300,
        "\udc00.example", "\u2488.example", "a\u00a0b",
    ],
)  # fmt: skip
def test_garbage_is_a_bad_request(text):
    with pytest.raises(HostRejected) as caught:
        normalise_host(text)
    assert caught.value.reason is Reason.BAD_REQUEST
    assert caught.value.cause.isascii() or "…" in caught.value.cause


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("mail.example.com", ["mail.example.com"], ["a.mail.example.com", "example.com", "mail.example.comx"]),
        ("MAIL.example.com.", ["mail.example.com"], ["ail.example.com"]),
        (
            "*.example.com",
            ["a.example.com", "_x.example.com"],
            ["example.com", "a.b.example.com", "xexample.com", "com"],
        ),
        ("*.bücher.example", ["a.xn--bcher-kva.example"], ["xn--bcher-kva.example"]),
        ("*", ["a", "[::1]", "192.0.2.1"], []),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
        ("[2001:DB8::1]", ["[2001:db8::1]"], ["[2001:db8::2]"]),
    ],
)
def test_a_wildcard_is_for_exactly_one_label(pattern, matching, other):
    parsed = parse_host_pattern(pattern)
    assert [host for host in matching if not parsed.matches(host)] == []
    assert [host for host in other if parsed.matches(host)] == []


@pytest.mark.parametrize(
    "pattern",
    ["", "*.", "**.a", "a.*", "m*.example.com", "*.*.a", "*a", "mail.example.com:443", "[::1]:443", "*.0.2.1",
     "*.192.0.2.1", "*.[::1]", "a b", "::1"],
)  # fmt: skip
def test_a_pattern_that_means_no_host_is_an_error_with_a_remedy(pattern):
    with pytest.raises(PatternError) as caught:
        parse_host_pattern(pattern)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        ("*.*.a.b", "'*.*.a.b' is not a host name", 'write a name, "*.suffix" or "*"'),
        (
            "stra\u00dfe.de",
            r"'stra\xdfe.de' is read differently by IDNA 2003 and 2008",
            "write its A-label, which begins",
        ),
    ],
)
def test_what_is_not_a_pattern_is_shown_as_it_was_written(text, cause, remedy):
    with pytest.raises(PatternError) as caught:
        parse_host_pattern(text)
    assert caught.value.cause == cause
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("one", "other", "covers", "meets"),
    [
        ("*", "*.a.b", True, True),
        ("*.a.b", "*", False, True),
        ("*.a.b", "x.a.b", True, True),
        ("x.a.b", "*.a.b", False, True),
        ("*.a.b", "*.a.b", True, True),
        ("*.a.b", "*.b", False, False),
        ("x.a.b", "x.a.b", True, True),
        ("x.a.b", "y.a.b", False, False),
        ("*.a.b", "x.y.a.b", False, False),
    ],
)
def test_patterns_cover_and_meet(one, other, covers, meets):
    first, second = parse_host_pattern(one), parse_host_pattern(other)
    assert first.covers(second) is covers
    assert first.meets(second) is meets
    assert second.meets(first) is meets


def test_exact_beats_wildcard_beats_the_fallback():
    sites = SiteIndex([("*", 1), ("*.example.com", 2), ("mail.example.com", 3)])
    assert sites.find("mail.example.com") == 3
    assert sites.find("www.example.com") == 2
    assert sites.find("a.b.example.com") == 1
    assert sites.find("example.com") == 1
    assert sites.find(None) == 1


def test_without_a_fallback_an_unknown_host_has_no_site():
    sites = SiteIndex([("*.example.com", 2), ("mail.example.com", 3)])
    assert sites.find("example.com") is None
    assert sites.find("com") is None
    assert sites.find(None) is None


def test_a_host_in_two_sites_is_an_error():
    with pytest.raises(PatternError, match="is in two sites"):
        SiteIndex([("mail.example.com", 1), ("MAIL.example.com.", 2)])
