"""Names that people give to files, and everything that servers read in them."""

from dataclasses import replace

import pytest

from gateway.errors import PatternError
from gateway.facts import Action, Login, Reason
from gateway.policy.engine import MAX_SHOWN_CHARACTERS, Engine
from gateway.policy.readings import MAX_CHARACTERS
from gateway.policy.rules import CertificateConditions
from gateway.policy.uri import UriRejected, normalise, parse_pattern

# (as it came and is forwarded, as rules see it, what else servers read)
READ = [
    # decoded once more
    ("/%2577ebmail", "/%77ebmail", ["/webmail"]),
    ("/%252577ebmail", "/%2577ebmail", ["/%77ebmail", "/webmail"]),
    ("/100%2525.pdf", "/100%25.pdf", ["/100%.pdf"]),
    ("/adm%25ffin", "/adm%ffin", ["/admin", "/adm\ufffdin", "/admÿin"]),
    ("/%25c3%25a9", "/%c3%a9", ["/é"]),
    # ends in dots and spaces
    ("/webmail.", "/webmail.", ["/webmail"]),
    ("/webmail./", "/webmail./", ["/webmail/"]),
    ("/webmail...", "/webmail...", ["/webmail"]),
    ("/webmail%20", "/webmail ", ["/webmail"]),
    ("/webmail%20/x.", "/webmail /x.", ["/webmail/x", "/webmail /x"]),
    ("/webmail%20.", "/webmail .", ["/webmail"]),
    ("/webmail.%20", "/webmail. ", ["/webmail"]),
    ("/webmail%C2%A0", "/webmail\xa0", ["/webmail ", "/webmail"]),
    ("/webmail%E3%80%80", "/webmail\u3000", ["/webmail ", "/webmail"]),
    ("/a.;x", "/a.", ["/a.;x", "/a"]),
    ("/a./b%20/c.", "/a./b /c.", ["/a/b /c.", "/a/b/c.", "/a/b/c", "/a./b /c"]),
    # cut to nothing, or in the middle
    ("/;x/webmail", "/webmail", ["/;x/webmail", "/"]),
    ("/;", "/", ["/;"]),
    ("/%3B", "/", ["/;"]),
    ("/a;..", "/a", ["/a;..", "/a;"]),
    ("/C%23/x", "/c/x", ["/c#/x", "/c"]),
    ("/webmail;a=b", "/webmail", ["/webmail;a=b"]),
    ("/Webmail;A=B/x", "/webmail/x", ["/webmail;a=b/x"]),
    ("/webmail%3Fx", "/webmail", ["/webmail?x"]),
    ("/a;b%3Fc/d", "/a/d", ["/a;b?c/d", "/a;b/d", "/a;b", "/a"]),
    ("/a%3F/webmail", "/a/webmail", ["/a?/webmail", "/a"]),
    ("/%3Fa", "/", ["/?a"]),
    # two colons may begin a stream on Windows
    ("/Perl%20Foo::Bar.pdf", "/perl foo::bar.pdf", ["/perl foo"]),
    ("/webmail%3A%3A/x", "/webmail::/x", ["/webmail/x"]),
    ("/admin.::x", "/admin.::x", ["/admin.", "/admin"]),
    # a plus sign is a space to decoders of forms
    ("/C++.pdf", "/c++.pdf", ["/c  .pdf"]),
    ("/my+files", "/my+files", ["/my files"]),
    ("/my%2Bfiles", "/my+files", ["/my files"]),
    ("/my%252Bfiles", "/my%2bfiles", ["/my+files", "/my files"]),
    ("/webmail+", "/webmail+", ["/webmail ", "/webmail"]),
    ("/a/+/b", "/a/+/b", ["/a/b"]),
    ("/++", "/++", ["/"]),
    # sessions as ASP.NET has them in paths (CVE-2023-36899)
    ("/Foto%20(S(1)).pdf", "/foto (s(1)).pdf", ["/foto .pdf"]),
    ("/(S(abc))/owa", "/(s(abc))/owa", ["/owa"]),
    ("/web(X(1))mail", "/web(x(1))mail", ["/webmail"]),
    ("/web/(S(x))mail", "/web/(s(x))mail", ["/webmail", "/web/mail"]),
    ("/web(S(x))/mail", "/web(s(x))/mail", ["/webmail", "/web/mail"]),
    ("/(A(x)F(y))/ecp", "/(a(x)f(y))/ecp", ["/ecp"]),
    ("/(S(x))/ecp/(S(y))/a", "/(s(x))/ecp/(s(y))/a", ["/ecp/(s(y))/a", "/ecp/a"]),
    # characters that stand for others
    ("/Bericht%E2%80%A6.pdf", "/bericht….pdf", ["/bericht....pdf"]),
    ("/%EF%BD%97ebmail", "/ｗebmail", ["/webmail"]),
    ("/%EF%BC%8Fwebmail", "/／webmail", ["/webmail"]),
    ("/%E2%84%80", "/℀", ["/a/c"]),
    ("/a%E2%88%95b", "/a∕b", ["/a/b"]),
    ("/a%E2%88%96b", "/a∖b", ["/a/b"]),
    ("/a%EF%BC%BCb", "/a＼b", ["/a\\b", "/a/b"]),
    ("/a%C2%A5b", "/a¥b", ["/a/b"]),
    ("/%EF%BC%85x", "/％x", ["/%x"]),
    ("/a%CD%BEb", "/a\u037eb", ["/a;b", "/a"]),
    ("/%C2%BD%20Liter", "/½ liter", ["/1⁄2 liter", "/1/2 liter"]),
    ("/re%CC%81", "/re\u0301", ["/ré"]),  # as macOS writes é
    # Turkish letters
    ("/adm%C4%B1n", "/admın", ["/admin"]),
    ("/%C4%B0", "/İ", ["/i"]),
    # invisible ones
    ("/web%E2%80%8Bmail", "/web\u200bmail", ["/webmail"]),
    ("/web%C2%ADmail", "/web\xadmail", ["/webmail"]),
    ("/%E0%A4%95%E0%A5%8D%E2%80%8D%E0%A4%B7", "/क्\u200dष", ["/क्ष"]),
    ("/%E2%9D%A4%EF%B8%8F%E2%80%8D%F0%9F%94%A5", "/❤\ufe0f\u200d🔥", ["/❤🔥"]),
    ("/web%E2%80%AEliam", "/web\u202eliam", ["/webliam"]),
    # several at once
    ("/%EF%BC%85EF%25BD%2581DM%C4%B1N.", "/％ef%bd%81dmın.", ["/admin"]),
]

REFUSED = [
    # an encoded slash, backslash, NUL, control or dot segment, however deep
    "/..%252fwebmail", "/a%255cb", "/a%2500", "/a%25250a", "/%252e%252e/webmail", "/%25%32%65/x", "/a%25u002fb",
    "/a%257f", "/a%25c2%2585", "/%EF%BC%852f", "/%EF%BC%8E%EF%BC%8E/x", "/%E2%80%A5/x", "/%E2%80%A6", "/.%E2%80%8D./x",
    "/a%EF%BC%8F..%EF%BC%8Fb", "/a%EF%BC%BC..%EF%BC%BCb", "/..;/x", "/x/..%3Ba/y", "/...", "/%20", "/%C2%A0/x",
    "/..(S(x))/y", "/..%20/x", "/..+/x", "/.+./x", "/+%20/x",
    # overlong UTF-8 in the second decoding
    "/%25c0%25af", "/%25e0%2580%25af", "/%25ed%25a0%2580", "/%25f0%2580%2580%25af", "/%25f8", "/a%25e0b",
    # streams and sessions without an end
    "/a::$DATA", "/a:$i30", "/..::x/y", "/a%EF%BC%9A%EF%BC%9A$DATA", "/(S(a)/owa", "/(S(a))/(S(b)/x",
    # dot segments beside what may end the path
    "/a%3F/../b", "/a%23/./b", "/a;b/../c",
    # too many
    "/" + "a" * MAX_CHARACTERS + ".", "/%25" + "25" * 80, "/%25ef%EF%BC%8F%C4%B1%E2%80%A6(S(x));a%3Fb%E2%80%8D%2541.x.",
]  # fmt: skip


@pytest.mark.parametrize(("came", "matched", "read"), READ)
def test_a_path_has_every_reading_and_goes_on_as_it_came(came, matched, read):
    target = normalise(came.encode())
    assert (target.path, target.match) == (came, matched)
    assert set(read) <= set(target.readings)
    assert matched not in target.readings
    assert len(set(target.readings)) == len(target.readings)


@pytest.mark.parametrize("came", REFUSED)
def test_what_no_reading_may_be_is_refused(came):
    with pytest.raises(UriRejected) as caught:
        normalise(came.encode())
    assert caught.value.cause.isprintable()
    assert len(caught.value.cause) < 120


@pytest.mark.parametrize("came", ["/webmail/100%25.pdf", "/webmail?a;b+", "/Stra%C3%9Fe", "/%F0%9F%93%A7", "/(draft)"])
def test_a_plain_path_has_one_reading(came):
    assert normalise(came.encode()).readings == ()


@pytest.mark.parametrize(
    "pattern", ["/webmail.", "=/a%2525", "/c++", "=/a%2Bb", "/admın", "/x/(S(1))", "/re\u0301", "/½"]
)
def test_a_rule_names_no_path_that_is_read_in_several_ways(pattern):
    """Where it lets in, the other readings would be refused; where it denies, they would come in."""
    with pytest.raises(PatternError) as caught:
        parse_pattern(pattern)
    assert caught.value.remedy == "write the folder above it"


@pytest.fixture
def engine(rule):
    return Engine(
        [
            rule("deny", name="admin", uris=("/webmail/admin",)),
            rule("deny", name="calendar", uris=("/webmail/my%20calendar",)),
            rule(
                "require_certificate", name="ecp", uris=("/ecp",), certificate=CertificateConditions(bind_user="email")
            ),
            rule("require_certificate", name="private", uris=("/webmail/private",)),
            rule("allow", name="webmail", uris=("/webmail",)),
        ],
        {},
    )


def _decided(engine, request_of, came, **more):
    target = normalise(came.encode())
    return engine.decide_every(replace(request_of("/", **more), path=target.match), target.readings)


@pytest.mark.parametrize(
    "came",
    [
        *("/webmail/100%25.pdf", "/webmail/Foto%20(S(1)).pdf", "/webmail/a%E2%80%A6", "/webmail/%C4%B1.%20"),
        *("/webmail/C++.pdf", "/webmail/+/x", "/webmail/a;b.ics", "/webmail/C%23", "/webmail/x;jsessionid=0A1B"),
        f"/webmail/{'x' * MAX_CHARACTERS};a/{'x' * MAX_CHARACTERS}",
    ],
)
def test_a_name_is_let_in_where_each_of_its_readings_is(engine, request_of, came):
    decision = _decided(engine, request_of, came)
    assert (decision.reason, decision.rule, decision.detail) == (None, "webmail", "allowed without a certificate")


@pytest.mark.parametrize(
    ("came", "by", "reason", "read"),
    [
        ("/webmail/adm%C4%B1n", "admin", Reason.DENIED_BY_RULE, "/webmail/admin"),
        ("/webmail/%2561dmin./x", "admin", Reason.DENIED_BY_RULE, "/webmail/admin/x"),
        ("/webmail%EF%BC%8Fadmin", None, Reason.NO_RULE, None),
        ("/webmail/a%EF%BC%8F%EF%BC%8Fb", "webmail", None, None),
        ("/webmail/x%EF%BC%8Fb", "webmail", None, None),
        ("/webmail;x", None, Reason.NO_RULE, "/webmail;x"),
        ("/webmail%3Fx/y", None, Reason.NO_RULE, "/webmail?x/y"),
        ("/webmail/my+calendar", "calendar", Reason.DENIED_BY_RULE, "/webmail/my calendar"),
        ("/webmail/private+/x", "private", Reason.CERTIFICATE_MISSING, "/webmail/private/x"),
        ("/webmail/private.", "private", Reason.CERTIFICATE_MISSING, "/webmail/private"),
        ("/webmail/(S(x))private", "private", Reason.CERTIFICATE_MISSING, "/webmail/private"),
        ("/web%E2%80%8Dmail/x", None, Reason.NO_RULE, None),
    ],
)
def test_the_strictest_reading_decides_and_the_detail_names_it(engine, request_of, came, by, reason, read):
    decision = _decided(engine, request_of, came)
    assert decision.reason is reason
    assert decision.rule == by
    assert (read is None) == ("some servers read the path as" not in decision.detail)
    if read is not None:
        assert decision.detail.endswith(f"; some servers read the path as {read}")


@pytest.mark.parametrize(
    "came",
    [
        *("/ecp./public%20/x", "/ecp./public.", "/(S(x))/ecp/(S(y))/public"),
        *("/ecp/public;x", "/ecp/public;x/admin", "/ecp/public;", "/ecp/public%3Fx", "/ecp/public%23/x"),
    ],
)
def test_an_exception_from_a_strict_rule_is_no_way_around_it(rule, request_of, came):
    """Some servers trim or cut the first folder only: they read /ecp, but not /ecp/public. Others cut nothing."""
    rules = [
        rule("allow", name="public", uris=("/ecp/public",)),
        rule("require_certificate", name="ecp", uris=("/ecp",)),
        rule("allow", name="rest"),
    ]
    decision = _decided(Engine(rules, {}), request_of, came)
    assert (decision.rule, decision.reason) == ("ecp", Reason.CERTIFICATE_MISSING)


def test_a_long_reading_is_shortened(engine, request_of):
    decision = _decided(engine, request_of, "/webmail/private./" + "x" * 500)
    assert decision.detail.endswith("x…")
    assert len(decision.detail.rpartition(" as ")[2]) == MAX_SHOWN_CHARACTERS


def test_a_reading_meets_the_conditions_of_its_own_rule(rule, request_of, trusted):
    rules = [
        rule(
            "require_certificate",
            name="others",
            uris=("/dav/others",),
            certificate=CertificateConditions(emails=("*@other.example",)),
        ),
        rule("require_certificate", name="dav", uris=("/dav",)),
    ]
    engine = Engine(rules, {})
    assert _decided(engine, request_of, "/dav/x.", judgement=trusted()).reason is None
    refused = _decided(engine, request_of, "/dav/others.", judgement=trusted())
    assert (refused.action, refused.reason, refused.rule) == (
        Action.REQUIRE_CERTIFICATE,
        Reason.CERTIFICATE_NOT_ALLOWED,
        "others",
    )


def test_the_login_counts_where_a_reading_binds_it(rule, request_of, trusted):
    bound = rule(
        "require_certificate",
        name="phones",
        uris=("/microsoft-server-activesync",),
        certificate=CertificateConditions(bind_user="email", device_ids=frozenset({"phone"})),
    )
    engine = Engine([bound, rule("allow", name="rest")], {})
    alice = trusted(emails=("alice@example.com",))

    def decided(user, device):
        login = Login((user,), device, None, "basic")
        return _decided(engine, request_of, "/m%C4%B1crosoft-server-activesync", judgement=alice, login=login).reason

    assert decided("alice", "phone") is None
    assert decided("bob", "phone") is Reason.USER_MISMATCH
    assert decided("alice", "other") is Reason.CERTIFICATE_NOT_ALLOWED
