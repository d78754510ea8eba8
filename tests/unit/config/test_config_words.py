"""Variables, units, addresses, names: the small parsers, each with what it takes and what it refuses."""

import os
from datetime import date
from ipaddress import ip_network

import pytest

from gateway.config.addresses import (
    Unreadable,
    clash,
    is_loopback,
    looks_like_network,
    parse_host,
    parse_listen,
    parse_name_server,
    parse_network,
    parse_server,
    parse_server_host,
)
from gateway.config.days import format_day, meant_day, parse_day
from gateway.config.environment import Lookups, SubstitutionError, is_substituted, substitute
from gateway.config.problems import (
    SHOWN_CHARACTERS,
    SUGGESTION_WORD_CHARACTERS,
    Mark,
    Place,
    Problem,
    did_you_mean,
    listing,
    quote,
    suggest,
)
from gateway.config.units import format_duration, format_size, parse_duration, parse_size

ENVIRON = {"NAME": "value", "EMPTY": "", "DOLLAR": "$${NAME}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${NAME}", "value"),
        ("a${NAME}b${NAME}", "avaluebvalue"),
        ("${NOBODY:-4}", "4"),
        ("${NOBODY:-}", ""),
        ("${EMPTY:-4}", "4"),
        ("${EMPTY}", ""),
        ("$${NAME}", "${NAME}"),
        ("$$", "$"),
        ("~/a$", "~/a$"),
        ("$NAME", "$NAME"),
        ("${DOLLAR}", "$${NAME}"),  # what a variable holds is never looked into
    ],
)
def test_variables_are_replaced_once(text, result):
    assert substitute(text, ENVIRON) == result


@pytest.mark.parametrize("text", ["${NOBODY}", "${", "${}", "${1}", "${NAME", "${NAME:4}", "${NA ME}", "x${NAME:-"])
def test_a_variable_that_is_unset_or_misspelt_is_an_error(text):
    with pytest.raises(SubstitutionError) as raised:
        substitute(text, ENVIRON)
    assert raised.value.remedy


def test_a_variable_that_is_not_utf_8_is_an_error():
    with pytest.raises(SubstitutionError) as raised:
        substitute("${LATIN}", {"LATIN": os.fsdecode(b"\xe4")})
    assert raised.value.cause == "the environment variable LATIN is not UTF-8"


def test_only_the_variables_that_were_asked_for_are_kept():
    lookups = Lookups(ENVIRON)
    assert substitute("${NAME} ${NOBODY:-}", lookups) == "value "
    assert lookups.found == {"NAME": "value"}
    assert (set(lookups), len(lookups)) == (set(ENVIRON), len(ENVIRON))


def test_an_escaped_variable_is_none():
    assert [is_substituted(text) for text in ("${A}", "$${A}", "$$${A}", "a")] == [True, False, True, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("5m", 300), ("60m", 3600), ("1h", 3600), ("14d", 1209600), ("1.5h", 5400)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "s", "10 s", "-1s", "1e3s", "1w", "10S", "1h30m", "9" * 16 + "s", "١s", "1..2s"]
)
def test_what_is_no_duration(text):
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("32KiB", 32768), ("2GiB", 2 * 1024**3), ("10MB", 10**7), ("1B", 1), ("1TiB", 1024**4)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1 KiB", "-1", "1k", "1kib", "1.5MiB", "9" * 16, "0x10"])
def test_what_is_no_size(text):
    assert parse_size(text) is None


def test_bounds_are_shown_in_the_shortest_exact_spelling():
    assert [format_duration(x) for x in (0.0, 0.1, 1.0, 90.0, 3600.0, 86400.0)] == [
        "0s",
        "100ms",
        "1s",
        "90s",
        "1h",
        "1d",
    ]
    assert [format_size(x) for x in (1, 1000, 1024, 2 * 1024**3)] == ["1", "1000", "1KiB", "2GiB"]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("0.0.0.0:443", ("0.0.0.0", 443)),
        (":443", ("", 443)),
        ("[::]:443", ("::", 443)),
        ("[2001:DB8::1]:8443", ("2001:db8::1", 8443)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_listen_addresses(text, parsed):
    assert parse_listen(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("10.0.0.53", ("10.0.0.53", 53)),
        ("10.0.0.53:5353", ("10.0.0.53", 5353)),
        ("FD00::53", ("fd00::53", 53)),
        ("[fd00::53]:5353", ("fd00::53", 5353)),
    ],
)
def test_name_servers(text, parsed):
    server = parse_name_server(text)
    assert (server.host, server.port) == parsed


@pytest.mark.parametrize(
    "text", ["", ":53", "dns.lan", "dns.lan:53", "10.0.0.53:0", "10.0.0.53]", "[fd00::53]", "*:53"]
)
def test_what_is_no_name_server(text):
    with pytest.raises(Unreadable) as raised:
        parse_name_server(text)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "text",
    ["", ":", "443", "10.0.0.1", "[::1]", "[10.0.0.1]:1", "a:1", "*:1", ":x", ":-1", ":99999", "10.0.0.01:1", ":٤"],
)
def test_what_is_no_listen_address(text):
    with pytest.raises(Unreadable) as raised:
        parse_listen(text)
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("one", "other", "is_clash"),
    [
        (("", 443), ("127.0.0.1", 443), True),
        (("", 443), ("::", 443), True),
        (("0.0.0.0", 443), ("10.0.0.1", 443), True),
        (("0.0.0.0", 443), ("::", 443), False),
        (("10.0.0.1", 443), ("10.0.0.2", 443), False),
        (("10.0.0.1", 443), ("10.0.0.1", 443), True),
        (("10.0.0.1", 443), ("10.0.0.1", 444), False),
        (("127.0.0.1", 0), ("127.0.0.1", 0), False),
    ],
)
def test_listeners_that_cannot_be_bound_beside_each_other(one, other, is_clash):
    assert clash(one, other) is is_clash
    assert clash(other, one) is is_clash


def test_only_loopback_is_loopback():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "", "0.0.0.0", "10.0.0.1")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.5", "fd00::/8", "::1", "0.0.0.0/0", "::/0"])
def test_networks(text):
    assert parse_network(text) == ip_network(text)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10.0.0.5/8", "write 10.0.0.0/8 or 10.0.0.5"),
        ("fd00::1/8", "write fd00::/8 or fd00::1"),
        ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
        ("::ffff:10.0.0.1", "write 10.0.0.1/32"),
        ("fe80::1%eth0", "write fe80::1/128"),
        ("10.0.0.0/33", "write a CIDR such as 10.0.0.0/8 or fd00::/8"),
        ("010.0.0.0/8", "write a CIDR such as 10.0.0.0/8 or fd00::/8"),
        ("10.0.0.0/255.0.0.255", "write a CIDR such as 10.0.0.0/8 or fd00::/8"),
    ],
)
def test_a_network_that_does_not_mean_what_it_says_has_its_remedy(text, remedy):
    with pytest.raises(Unreadable) as raised:
        parse_network(text)
    assert raised.value.remedy == remedy


def test_what_looks_like_a_network():
    texts = ("10.0.0.1", "fd00::", "a/b", "internal", "")
    assert [looks_like_network(text) for text in texts] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("MAIL.Example.com", "mail.example.com"),
        ("*.Example.com", "*.example.com"),
        ("*", "*"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("mail.example.com.", "mail.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("mail_1", "mail_1"),
    ],
)
def test_hosts_have_one_spelling(text, host):
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text", ["", "a b", "a:1", "*a", "a.*", "*.*.a", "-a", "a..b", ".a", "https://a", "a" * 64, "a/b", "straße.de"]
)
def test_what_is_no_host(text):
    with pytest.raises(Unreadable) as raised:
        parse_host(text)
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://10.0.0.5:443", "https://10.0.0.5:443"),
        ("https://10.0.0.5", "https://10.0.0.5:443"),
        ("http://mail/", "http://mail:80"),
        ("HTTP://Mail:8080", "http://mail:8080"),
        ("https://[fd00::5]:443", "https://[fd00::5]:443"),
        ("http://mail_server:80", "http://mail_server:80"),
    ],
)
def test_servers(text, url):
    assert parse_server(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail",
        "ftp://a",
        "https://",
        "https://:443",
        "https://a:0",
        "https://a:65536",
        "https://a:x",
        "https://a:",
        "https://a:443x",
        "https://[a.b]",
        "https://[::1::]",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://u:p@a",
        "https://[::1",
        "https://a b",
        "https://a\n",
        "https://*",
        "https://*.a",
        "https://[fe80::1%eth0]x",
        "//a",
    ],
)
def test_what_is_no_server(text):
    with pytest.raises(Unreadable) as raised:
        parse_server(text)
    assert raised.value.remedy


def test_a_user_name_in_a_server_is_not_repeated():
    with pytest.raises(Unreadable) as raised:
        parse_server("https://user:hidden@a")
    assert "hidden" not in raised.value.cause + raised.value.remedy


def test_a_server_host_is_a_name_or_an_address():
    assert [parse_server_host(text) for text in ("FD00::5", "A.b")] == ["fd00::5", "a.b"]


def test_messages_stay_on_one_short_line():
    assert quote("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert len(quote("a" * (SHOWN_CHARACTERS + 1))) == SHOWN_CHARACTERS + 2


def test_misspelt_words_find_the_right_one():
    assert suggest("ACTION", ["from", "action"]) == "action"
    assert suggest("zzz", ["from", "action"]) is None
    word = "a" * SUGGESTION_WORD_CHARACTERS
    assert suggest(word, [word]) == word
    assert suggest(word + "a", [word]) is None
    assert did_you_mean("acton", ["action"], "x") == "write action"
    assert did_you_mean("zzz", ["action"], "x") == "x"


def test_lists_read_like_a_sentence():
    assert [listing(["a"]), listing(["a", "b"]), listing("abc", "and")] == ["a", "a or b", "a, b and c"]


def test_a_place_has_a_path_and_a_shape():
    place = Place().key("upstreams", Mark(1, 1)).key("mail", Mark(2, 3), is_free=True).key("servers", Mark(3, 5))
    assert (place.item(0, Mark(4, 7)).path, place.item(0, Mark(4, 7)).shape) == (
        "upstreams.mail.servers[0]",
        "upstreams.*.servers[]",
    )
    assert Place().key("a b", Mark(1, 1)).path == "'a b'"


def test_a_problem_is_one_line_without_control_characters():
    problem = Problem("a\nb", Place(Mark(1, 2), "x"), "no \x1b[31m file", "write ü", is_warning=True)
    assert str(problem) == r"a\nb:1:2: warning: x: no \x1b[31m file; write ü"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2027-03-01", date(2027, 3, 1)),
        ("2028-02-29", date(2028, 2, 29)),
        ("2099-12-31", date(2099, 12, 31)),
        ("2027-02-29", None),
        ("2027-00-01", None),
        ("2027-13-01", None),
        ("2027-3-1", None),
        ("0207-03-01", None),
        ("2127-03-01", None),
        ("20270301", None),
        ("2027-W09-1", None),
        ("2027-03-01T00:00", None),
        ("２０２７-03-01", None),
        ("", None),
    ],
)
def test_days(text, day):
    assert parse_day(text) == day


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2027-3-1", date(2027, 3, 1)),
        ("2027/03/01", date(2027, 3, 1)),
        ("2027.03.01", date(2027, 3, 1)),
        ("2027-03-01T00:00:00Z", date(2027, 3, 1)),
        ("2027-03-01 08:00", date(2027, 3, 1)),
        ("1.3.2027", date(2027, 3, 1)),
        ("01. 03. 2027", date(2027, 3, 1)),
        ("2027-02-29", date(2027, 2, 28)),
        ("2027-06-31", date(2027, 6, 30)),
        ("2027-13-01", None),
        ("2027-01-32", None),
        ("2027-00-01", None),
        ("3/1/2027", None),
        ("1 March 2027", None),
        ("tomorrow", None),
    ],
)
def test_days_that_are_meant(text, day):
    assert meant_day(text) == day


def test_a_day_in_words():
    assert (format_day(date(2027, 3, 1)), format_day(date(2028, 12, 31))) == ("1 March 2027", "31 December 2028")
