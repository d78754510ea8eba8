"""Every spelling of a path that somebody tried on somebody's proxy, and what becomes of it here."""

import re
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest

from gateway.errors import GatewayError
from gateway.facts import Reason
from gateway.policy.characters import fold, fold_widely, has_twins
from gateway.policy.uri import PatternError, UriRejected, normalise, parse_pattern

# (as it came, forwarded, as rules see it)
ACCEPTED = [
    # ordinary
    ("/", "/", "/"),
    ("/webmail", "/webmail", "/webmail"),
    ("/webmail/", "/webmail/", "/webmail/"),
    ("/WebMail/Inbox", "/WebMail/Inbox", "/webmail/inbox"),
    ("/Microsoft-Server-ActiveSync", "/Microsoft-Server-ActiveSync", "/microsoft-server-activesync"),
    ("/.well-known/caldav", "/.well-known/caldav", "/.well-known/caldav"),
    ("/a.b/c.tar.gz", "/a.b/c.tar.gz", "/a.b/c.tar.gz"),
    ("/..a/.b", "/..a/.b", "/..a/.b"),
    ("/~alice/", "/~alice/", "/~alice/"),
    ("/dav/alice@example.com/", "/dav/alice@example.com/", "/dav/alice@example.com/"),
    ("/a!$&')*+,=b", "/a!$&')*+,=b", "/a!$&')*+,=b"),
    ("/(draft)/a:b", "/(draft)/a:b", "/(draft)/a:b"),
    ("/rpc/rpcproxy.dll", "/rpc/rpcproxy.dll", "/rpc/rpcproxy.dll"),
    # unreserved characters are decoded (RFC 3986, 6.2.2.2)
    ("/%77ebmail", "/webmail", "/webmail"),
    ("/%57EB%6d%61il", "/WEBmail", "/webmail"),
    ("/%7Ealice", "/~alice", "/~alice"),
    ("/%7ealice", "/~alice", "/~alice"),
    ("/a%2Db%5Fc%2Ed", "/a-b_c.d", "/a-b_c.d"),
    ("/%30", "/0", "/0"),
    # what stays encoded has its hex in upper case (6.2.2.1), and rules see it decoded once
    ("/my%20files", "/my%20files", "/my files"),
    ("/%c3%a9t%C3%A9", "/%C3%A9t%C3%A9", "/été"),
    ("/P%C5%99%C3%ADSTUP", "/P%C5%99%C3%ADSTUP", "/přístup"),
    ("/%c3%9cber", "/%C3%9Cber", "/über"),
    ("/stra%c3%9fe", "/stra%C3%9Fe", "/straße"),
    ("/%24%26%2b", "/%24%26%2B", "/$&+"),
    ("/a%40b", "/a%40b", "/a@b"),
    ("/%7cx", "/%7Cx", "/|x"),
    ("/%f0%9f%93%a7", "/%F0%9F%93%A7", "/📧"),
    # what RFC 3986 does not allow as it is gets encoded
    ("/a|b", "/a%7Cb", "/a|b"),
    ('/a"b', "/a%22b", '/a"b'),
    ("/a<b>", "/a%3Cb%3E", "/a<b>"),
    ("/[a]", "/%5Ba%5D", "/[a]"),
    ("/{a}^`", "/%7Ba%7D%5E%60", "/{a}^`"),
    ("/é", "/%C3%A9", "/é"),
    # dot segments (6.2.2.3, 5.2.4)
    ("/.", "/", "/"),
    ("/./webmail", "/webmail", "/webmail"),
    ("/x/../webmail", "/webmail", "/webmail"),
    ("/x/%2e%2e/webmail", "/webmail", "/webmail"),
    ("/x/.%2E/webmail", "/webmail", "/webmail"),
    ("/x/%2e./webmail", "/webmail", "/webmail"),
    ("/x/%2e/webmail", "/x/webmail", "/x/webmail"),
    ("/webmail/..", "/", "/"),
    ("/webmail/../", "/", "/"),
    ("/webmail/.", "/webmail/", "/webmail/"),
    ("/a/b/../../webmail", "/webmail", "/webmail"),
    ("/info/../private", "/private", "/private"),  # CVE-2019-9901
    ("/a/b/c/./../../g", "/a/g", "/a/g"),  # RFC 3986, 5.4
    # slashes are merged
    ("//webmail", "/webmail", "/webmail"),
    ("/webmail//", "/webmail/", "/webmail/"),
    ("///a///b", "/a/b", "/a/b"),
    ("//evil.example/webmail", "/evil.example/webmail", "/evil.example/webmail"),
    ("//./webmail", "/webmail", "/webmail"),
    # path parameters are forwarded; servers that cut them read the path without them
    ("/webmail;a=b", "/webmail;a=b", "/webmail"),
    ("/webmail;a=b/inbox", "/webmail;a=b/inbox", "/webmail/inbox"),
    ("/login;jsessionid=0A1B", "/login;jsessionid=0A1B", "/login"),
    ("/webmail%3Bx", "/webmail%3Bx", "/webmail"),
    ("/webmail;", "/webmail;", "/webmail"),
    ("/a;b;c", "/a;b;c", "/a"),
    # an encoded '?' or '#' ends the path for a reader that decodes too early
    ("/user/profile%23section1", "/user/profile%23section1", "/user/profile"),  # CVE-2021-32779
    ("/webmail%3fx", "/webmail%3Fx", "/webmail"),
    ("/C%23 notes.pdf".replace(" ", "%20"), "/C%23%20notes.pdf", "/c"),
    # case is folded letter by letter, and no further
    ("/STRASSE", "/STRASSE", "/strasse"),
    ("/%E1%BA%9E", "/%E1%BA%9E", "/ß"),
    ("/%CE%A3", "/%CE%A3", "/σ"),
    ("/%CF%82", "/%CF%82", "/σ"),
    ("/%C4%B0".replace("%C4%B0", "%C7%B0"), "/%C7%B0", "/ǰ"),  # folds to two letters: stays
    ("/%C5%BFecret", "/%C5%BFecret", "/secret"),  # the long s and the Kelvin sign fold to ASCII, for rules too
    ("/%E2%84%AA", "/%E2%84%AA", "/k"),
    # a percent sign that begins no escape is one to every reader
    ("/SOGo/100%25.pdf", "/SOGo/100%25.pdf", "/sogo/100%.pdf"),
    ("/%25", "/%25", "/%"),
    ("/a%25b", "/a%25b", "/a%b"),
]

REJECTED = [
    # no path at all
    "", "*", "webmail", "https://mail.example.com/", "?a=b", "%2Fwebmail",
    # controls and NUL, raw and encoded
    "/web\x00mail", "/webmail\x00", "/web\tmail", "/web\r\nmail", "/\x7f", "/\x1b[2J",
    "/webmail%00", "/webmail%00.png", "/%0d%0aX:y", "/%09", "/%1F", "/%7f", "/%7F", "/%C2%80", "/%C2%9f",
    # spaces as they are
    "/my files", "/a b?c", "/a?b c",
    # backslashes and encoded separators (CVE-2021-29492, CVE-2025-66490)
    "/webmail\\", "\\webmail", "/x\\..\\webmail", "/%5Cwebmail", "/x%5c..%5cwebmail", "/..%5c", "/%2Fwebmail",
    "/%2fwebmail", "/x%2f..%2fwebmail", "/x/..%2fwebmail", "/webmail%2f", "/webmail%2F..%2Fx", "/a%5C",
    # double encoding
    "/%252e%252e/webmail", "/%252fwebmail", "/%255cwebmail", "/%2500", "/%25%32%65",
    # broken encoding
    "/%", "/%7", "/a%zz", "/a%2", "/%u002f", "/%u0077ebmail", "/%U0041", "/% 41", "/%%77", "/%-1", "/%+1", "/%0x",
    # overlong and invalid UTF-8, surrogates, above U+10FFFF
    "/%c0%af", "/%c0%ae%c0%ae/webmail", "/%C1%B7ebmail", "/%e0%80%af", "/%f0%80%80%af", "/%c0%80", "/%ff", "/%fe",
    "/%80", "/%c3", "/%c3%28", "/%ed%a0%80", "/%f4%90%80%80", "/%f8%80%80%80%af", "/caf%e9",
    # above the root
    "/..", "/../webmail", "/%2e%2e/webmail", "/a/../../webmail", "/./../webmail", "/a/b/../../../webmail",
    # '..' in a path with '//' is two different paths
    "/a//../webmail", "/webmail//../..", "//../webmail", "/a/./../b//c",
    # ';' beside dots
    "/..;/webmail", "/x/..;/webmail", "/x/..;a=b/webmail", "/.;/webmail", "/.;x/webmail", "/;/../webmail", "/a;/../b",
    "/x/../a;b", "/x/%2e%2e;/webmail", "/x/..%3B/webmail", "/a;/./b", "/a;x=/..",
    # dots and spaces alone
    "/...", "/.../webmail", "/.%20/webmail", "/..%20/webmail", "/%20",
    # fragments
    "/webmail#", "/webmail#/../x", "/#", "/?a#b", "/user/profile#section1",
    # streams of files on Windows
    "/webmail:$", "/webmail::$DATA", "/webmail:$i30:$INDEX_ALLOCATION/x", "/webmail%3A%3A%24DATA",
    # characters taken for others
    "/x/%EF%BC%8E%EF%BC%8E/webmail", "/%E2%80%A5/webmail", "/%E2%80%A4%E2%80%A4/",
    # invisible ones, line separators and private use characters
    "/.%E2%80%8D./x", "/a%E2%80%A8b", "/%EE%80%80",
]  # fmt: skip


def _bytes(text: str) -> bytes:
    return text.encode("utf-8")


def test_the_table_is_long():
    assert len(ACCEPTED) + len(REJECTED) >= 180
    assert len(set(REJECTED)) == len(REJECTED)


@pytest.mark.parametrize(("came", "forwarded", "matched"), ACCEPTED)
def test_a_path_has_one_spelling(came, forwarded, matched):
    target = normalise(_bytes(came))
    assert target[:3] == (forwarded, None, matched)
    assert normalise(_bytes(forwarded)) == target
    assert bool(target.readings) == (not set(unquote(forwarded)).isdisjoint(";?#+"))


@pytest.mark.parametrize("came", REJECTED)
def test_an_ambiguous_path_is_refused(came):
    with pytest.raises(UriRejected) as caught:
        normalise(_bytes(came))
    assert caught.value.reason is Reason.URI_REJECTED
    assert caught.value.status == 400
    assert caught.value.cause.isprintable()
    assert isinstance(caught.value, GatewayError)


@pytest.mark.parametrize("came", [b"/\xff", b"/\xc0\xaf", b"/web\x80mail", b"/\xed\xa0\x80", b"/caf\xe9", b"/\xc2\x85"])
def test_raw_bytes_that_are_no_utf8_are_refused(came):
    with pytest.raises(UriRejected):
        normalise(came)


@pytest.mark.parametrize(
    ("came", "query"),
    [
        (b"/a", None),
        (b"/a?", ""),
        (b"/a?b=c", "b=c"),
        (b"/a?b?c", "b?c"),
        (b"/a?%2e%2E%2f%zz%u1;\\//..", "%2e%2E%2f%zz%u1;\\//.."),
        (b"/a?<>\"'`{}|^[]", "<>\"'`{}|^[]"),
        (b"/a|?b=c", "b=c"),
        (b"/a?caf\xe9", "caf%E9"),
        (b"/a?\xc3\xa9", "%C3%A9"),
        (b"/x/../a?/../b", "/../b"),
    ],
)
def test_the_query_passes_as_it_came(came, query):
    assert normalise(came).query == query


@pytest.mark.parametrize("byte", [*range(0x21), 0x23, 0x7F])
def test_no_control_space_or_hash_passes_in_path_or_query(byte):
    for target in (b"/a%cb", b"/a?b%cc", b"/%cc?", b"/%%20%c"):
        with pytest.raises(UriRejected):
            normalise(target % byte)


@pytest.mark.parametrize(
    "piece", [b"/a.", b"/..", b"//", b"/a/..", b";", b"%", b"/%2e", b"./", b"/(", b"%23", b"\xc3\xa9", b"/a;", b":$"]
)
def test_a_long_hostile_path_is_refused_in_one_short_line(piece):
    with pytest.raises(UriRejected) as caught:
        normalise(b"/a" + piece * 20_000 + b"\x00")
    assert len(caught.value.cause) < 120


def test_only_four_characters_are_taken_for_ascii_letters():
    """Whatever single-letter mapping a server folds case with."""
    found = set()
    for character in map(chr, range(0x80, sys.maxunicode + 1)):
        lower, upper, folded = character.lower(), character.upper(), character.casefold()
        singles = {mapped for mapped in (upper, folded) if len(mapped) == 1}
        if any(letter.isascii() for letter in (*lower, *singles)):
            found.add(character)
    assert found == set("\u0130\u0131\u017f\u212a")
    assert all(has_twins(character) and fold_widely(character).isascii() for character in found)


def test_no_character_that_stands_for_another_counts_as_plain():
    for character in map(chr, range(0x80, sys.maxunicode + 1)):
        if unicodedata.normalize("NFKC", character) != character or unicodedata.category(character) == "Cf":
            assert has_twins(character)


def test_folding_keeps_length_and_separators():
    text = "".join(map(chr, range(sys.maxunicode + 1)))
    folded = fold(text)
    assert len(folded) == len(text)
    into_ascii = [came for came, went in zip(text, folded, strict=True) if went < "\x80" <= came]
    assert into_ascii == ["\u017f", "\u212a"]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (
            "/webmail",
            ["/webmail", "/WebMail/", "/webmail/x", "/webmail?x", "/webmail;x"],
            ["/webmailx", "/x/webmail", "/"],
        ),
        ("/WebMail/", ["/webmail", "/webmail/x"], ["/webmailx"]),
        ("/", ["/", "/x", "/x/y"], []),
        ("/a/b", ["/a/b", "/A/B/c"], ["/a", "/a/bc", "/a/c"]),
        ("=/webmail", ["/webmail", "/WEBMAIL?x"], ["/webmail/", "/webmail/x", "/webmailx"]),
        ("=/webmail/", ["/webmail/", "/WEBMAIL/"], ["/webmail", "/webmail/x"]),
        ("=/", ["/", "/?x"], ["/x"]),
        ("~/a[0-9]+/.*", ["/A12/x", "/a1/"], ["/a/x", "/a1", "/x/a1/"]),
        ("~.*\\.png", ["/x.PNG", "/a/b.png?c"], ["/x.png.exe", "/x.png/y"]),
        ("~/Web(mail|access)", ["/webMAIL", "/webaccess"], ["/web", "/webmail/"]),
        ("/my%20files", ["/my%20files", "/My%20Files/x"], ["/my%20filesx"]),
        ("/Přístup", ["/p%c5%99%c3%adstup", "/PŘÍSTUP/x"], ["/pristup"]),
        ("/P%C5%99%C3%ADstup", ["/p%c5%99%c3%adstup"], ["/pristup"]),
        ("~/(?:přístup)", ["/PŘÍSTUP"], ["/pristup"]),
        ("~(?s).*", ["/", "/x/y"], []),
        ("~[^x]*", ["/", "/y"], ["/x"]),
        ("~\\C*é", ["/é"], ["/e"]),
    ],
)
def test_patterns_ignore_case_and_keep_to_segments(pattern, matching, other):
    parsed = parse_pattern(pattern)
    assert parsed.text == pattern
    for target in matching:
        assert parsed.matches(normalise(_bytes(target)).match), target
    for target in other:
        assert not parsed.matches(normalise(_bytes(target)).match), target


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("", "write /prefix, =/exact or ~regex"),
        ("webmail", "write /prefix, =/exact or ~regex"),
        ("=webmail", "write /prefix, =/exact or ~regex"),
        ("*", "write /prefix, =/exact or ~regex"),
        ("/a/../b", "write /b"),
        ("/a//b", "write /a/b"),
        ("=/./b", "write /b"),
        ("/%77ebmail", "write /webmail"),
        ("/%c3%a9", "write /%C3%A9"),
        ("/a|b", "write /a%7Cb"),
        ("/a b", "write the path without that"),
        ("/a\\b", "write the path without that"),
        ("/a%2fb", "write the path without that"),
        ("/webmail.", "write the folder above it"),
        ("/a#b", "write the path without that"),
        ("/\udc00", "write the path without that"),
        ("/a?b", "write only the path: rules do not see what follows it"),
        ("/a;b", "write only the path: rules do not see what follows it"),
        ("/a%3Fb", "write only the path: rules do not see what follows it"),
        ("=/a%23b", "write only the path: rules do not see what follows it"),
        ("~(", "write it in RE2 syntax"),
        ("~/(?=x)", "write it in RE2 syntax"),
        ("~/(a)\\1", "write it in RE2 syntax"),
        ("~(a{1000}){1000}", "write it in RE2 syntax"),
        ("~/\udc00", "write it in UTF-8"),
        ("~", "begin it with / or .*, because it must match the whole path"),
        ("~webmail.*", "begin it with / or .*, because it must match the whole path"),
        ("~\\.png$", "begin it with / or .*, because it must match the whole path"),
        ("~(?i)webmail", "begin it with / or .*, because it must match the whole path"),
    ],
)
def test_a_pattern_that_could_never_match_as_it_looks_is_refused(pattern, remedy):
    with pytest.raises(PatternError) as caught:
        parse_pattern(pattern)
    assert caught.value.remedy == remedy


def test_a_hostile_regex_takes_linear_time():
    pattern = parse_pattern("~/(a+)+b")
    assert not pattern.matches("/" + "a" * 8000 + "c")


def _documented_refusals():
    """The examples of the table of refused spellings, characters alone put into a path."""
    text = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
    table = text.partition("| refused | for example | because |")[2].partition("\n\n")[0]
    examples = [example for row in table.splitlines()[2:] for example in re.findall("`([^`]+)`", row.split(" | ")[1])]
    return [example if example.startswith("/") else f"/a{example}b" for example in examples]


def test_the_table_in_the_documentation_has_examples():
    assert len(_documented_refusals()) >= 25


@pytest.mark.parametrize("came", _documented_refusals())
def test_what_the_documentation_says_is_refused_is_refused(came):
    with pytest.raises(UriRejected):
        normalise(_bytes(came))
