"""Whose certificate a rule takes, with which login and from which device."""

import pytest

from gateway.errors import PatternError
from gateway.facts import NO_CONNECTION_LOGIN, NO_LOGIN, ConnectionLogin, Login, Reason
from gateway.policy.conditions import Conditions, EmailPattern
from gateway.policy.glob import Glob
from gateway.policy.rules import CertificateConditions

ALICE = {
    "common_name": "alice",
    "rdns": (("C", "DE"), ("O", "Example  Ltd"), ("OU", "Sales"), ("OU", "Board"), ("CN", "alice"),
             ("emailAddress", "a@b.c")),
    "emails": ("Alice@example.com", "alice.b@mail.example.com"),
    "upns": ("alice@corp.example",),
    "dns_names": ("laptop-7.corp.example",),
    "path_fingerprints": frozenset({"aa", "bb"}),
}  # fmt: skip


@pytest.fixture
def check(identity, request_of):
    def check(
        *, login=NO_LOGIN, connection_login=NO_CONNECTION_LOGIN, path="/", method="GET", names=None, **conditions
    ):
        ready = Conditions(CertificateConditions(**conditions))
        request = request_of(path, method=method, login=login, connection_login=connection_login)
        failure = ready.check(identity(**(ALICE | (names or {}))), request)
        return failure.reason if failure else None

    return check


def test_no_conditions_hold(check):
    assert check() is None


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"ca_fingerprints": frozenset({"bb", "cc"})}, True),
        ({"ca_fingerprints": frozenset({"cc"})}, False),
        ({"ca_fingerprints": frozenset()}, False),
        ({"fingerprints_sha256": frozenset({"ab" * 32})}, True),
        ({"fingerprints_sha256": frozenset({"cd" * 32})}, False),
        ({"subject": (("O", "Example Ltd"),)}, True),
        ({"subject": (("o", "EXAMPLE ltd"),)}, True),
        ({"subject": (("O", " Example   Ltd "),)}, True),
        ({"subject": (("O", "Example*"), ("C", "DE"))}, True),
        ({"subject": (("O", "Example Ltd"), ("C", "CZ"))}, False),
        ({"subject": (("O", "Example"),)}, False),
        ({"subject": (("O", "xample Ltd"),)}, False),
        ({"subject": (("OU", "Sales"), ("OU", "Board"))}, True),
        ({"subject": (("OU", "Salesboard"),)}, False),
        ({"subject": (("L", "*"),)}, False),
        ({"subject": (("E", "A@b.c"),)}, True),
        ({"subject": (("EMAIL", "a@*"),)}, True),
        ({"emails": ("*@example.com",)}, True),
        ({"emails": ("*@EXAMPLE.com",)}, True),
        ({"emails": ("*@other.com", "alice@example.com")}, True),
        ({"emails": ("*@*.example.com",)}, True),
        ({"emails": ("*@other.com",)}, False),
        ({"emails": ("alice",)}, None),
        ({"emails": ("*",)}, True),
        ({"emails": ("*@example.com",), "subject": (("C", "CZ"),)}, False),
        ({"emails": ("*@corp.example",)}, False),  # a UPN is no e-mail
    ],
)
def test_every_line_must_hold(check, conditions, holds):
    if holds is None:
        with pytest.raises(PatternError):
            check(**conditions)
    else:
        assert check(**conditions) is (None if holds else Reason.CERTIFICATE_NOT_ALLOWED)


@pytest.mark.parametrize("names", [{"emails": ()}, {"rdns": ()}, {"path_fingerprints": frozenset()}])
def test_what_the_certificate_lacks_does_not_hold(check, names):
    conditions = {"emails": ("*",), "subject": (("O", "*"),), "ca_fingerprints": frozenset({"aa"})}
    assert check(**conditions) is None
    assert check(names=names, **conditions) is Reason.CERTIFICATE_NOT_ALLOWED


@pytest.mark.parametrize(
    "address",
    [
        "a@b@example.com", "x@evil.com\n@example.com", "@example.com", "alice@", "example.com",
        "alice@example.com.evil.com", "alice@example.com\n", "alice@example.com ", "al ice@example.com",
        "\x00alice@example.com", "alice@example.com\x00", "alice@xexample.com", "alice@sub.example.com",
        "alice@example.com@", '"a@b"@example.com', "<a>@example.com", "",
        "a\u00a0b@example.com", "alice@example.com,x@evil.com@example.com", "a\u2028@example.com",
    ],
)  # fmt: skip
def test_what_only_looks_like_an_address_of_the_domain(address):
    assert not EmailPattern("*@example.com").matches(address)


@pytest.mark.parametrize(
    "address", ["alice@example.com", "ALICE@EXAMPLE.COM", "a+b.c'd@example.com", "jürgen@example.com"]
)
def test_addresses_of_the_domain(address):
    assert EmailPattern("*@example.com").matches(address)


@pytest.mark.parametrize("pattern", ["", "@", "alice", "example.com", "@example.com", "*@", "a@b@c", "**"])
def test_a_pattern_without_both_sides_is_an_error(pattern):
    with pytest.raises(PatternError) as caught:
        EmailPattern(pattern)
    assert caught.value.remedy == "write *@example.com"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("abc", ["abc"], ["ab", "abcd", "xabc", ""]),
        ("", [""], ["a"]),
        ("*", ["", "x", "a*b"], []),
        ("a*", ["a", "ab"], ["ba", ""]),
        ("*a", ["a", "ba"], ["ab"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("a*b*c", ["abc", "axbxc"], ["ac", "acb", "abcx"]),
        ("*b*c*", ["bc", "xbxcx"], ["cb", "b"]),
        ("a**b", ["ab", "axb"], ["a"]),
        ("ab*bc", ["abbc", "abxbc"], ["abc"]),
        ("a*bc*bcd", ["abcbcd"], ["abcd"]),
        (".[x]+$", [".[x]+$"], ["ax"]),
    ],
)
def test_only_the_star_is_a_wildcard(pattern, matching, other):
    glob = Glob(pattern)
    assert [text for text in matching if not glob.matches(text)] == []
    assert [text for text in other if glob.matches(text)] == []


def test_many_stars_cost_no_more_than_their_length():
    assert not Glob("*a" * 2000 + "*b").matches("a" * 20_000)


@pytest.mark.parametrize(
    ("bind", "users", "belongs"),
    [
        ("email", ["alice@example.com"], True),
        ("email", ["ALICE@Example.COM"], True),
        ("email", ["alice"], True),
        ("email", ["Alice"], True),
        ("email", ["CORP\\alice"], True),
        ("email", ["CORP\\alice@example.com"], True),
        ("email", ["alice.b"], True),
        ("email", [], True),  # the server asks for a login itself, with 401
        ("email", ["alice", "alice@example.com"], True),
        ("email", ["alice", "bob"], False),
        ("email", ["bob"], False),
        ("email", ["alice@other.com"], False),
        ("email", ["alice@example.com.evil.com"], False),
        ("email", ["alice@corp.example"], False),
        ("email", ["alice@"], False),
        ("email", ["@example.com"], False),
        ("email", [""], False),
        ("email", ["CORP\\"], False),
        ("email", ["A\\B\\alice"], False),
        ("email", ["alice\\bob"], False),
        ("email", ["CORP/alice"], False),
        ("email", ["alice@example.com@example.com"], False),
        ("email", ["x\\alice@other.com"], False),
        ("email", ["alice\x00"], False),
        ("email", [" alice"], False),
        ("email", ["alice*"], False),
        ("email", ["alic"], False),
        ("email", ["*"], False),
        ("upn", ["alice@corp.example"], True),
        ("upn", ["CORP\\alice"], True),
        ("upn", ["alice@example.com"], False),
        ("cn", ["alice"], True),
        ("cn", ["CORP\\ALICE"], True),
        ("cn", ["alice@example.com"], False),
        ("cn", ["bob"], False),
        ("san", ["alice@example.com"], True),
        ("san", ["alice@corp.example"], True),
        ("san", ["laptop-7.corp.example"], True),
        ("san", ["laptop-7"], False),
        ("san", ["bob"], False),
    ],
)
def test_the_login_must_belong_to_the_certificate(check, bind, users, belongs):
    reason = check(bind_user=bind, login=Login(tuple(users), None, None))
    assert reason is (None if belongs else Reason.USER_MISMATCH)


@pytest.mark.parametrize("bind", ["email", "upn", "cn", "san"])
def test_a_certificate_without_the_name_is_nobodys(check, bind):
    names = {"emails": (), "upns": (), "common_name": None, "dns_names": ()}
    assert check(bind_user=bind, names=names, login=Login(("alice",), None, None)) is Reason.USER_MISMATCH


@pytest.mark.parametrize("user", ["alice", "alice@example.com"])
def test_a_common_name_that_is_an_address_counts_as_one(check, user):
    assert check(bind_user="cn", names={"common_name": "alice@example.com"}, login=Login((user,), None, None)) is None


@pytest.mark.parametrize(
    ("bind", "user", "is_constrained_too"),
    [
        ("email", "alice@example.com", True),
        ("upn", "alice@corp.example", True),
        ("san", "alice@example.com", True),
        ("san", "alice@corp.example", True),
        ("san", "laptop-7.corp.example", False),
        ("san", "laptop", False),
        ("cn", "boss", False),
    ],
)
def test_of_a_ca_with_name_constraints_only_names_count_that_they_bind(check, bind, user, is_constrained_too):
    names = {"common_name": "boss", "dns_names": ("laptop-7.corp.example", "laptop")}
    login = Login((user,), None, None)
    assert check(bind_user=bind, names=names, login=login) is None
    reason = check(bind_user=bind, names=names | {"is_constrained": True}, login=login)
    assert reason is (None if is_constrained_too else Reason.USER_MISMATCH)


@pytest.mark.parametrize(
    ("common_name", "user", "belongs"),
    [
        ("alice@example.com", "alice@example.com", True),
        ("alice@example.com", "alice", True),
        ("alice@example.com", "bob", False),
        ("bob@x@example.com", "bob@x@example.com", False),
        ("Bob <bob@example.com>", "Bob <bob@example.com>", False),
        (None, "alice", False),
    ],
)
def test_a_common_name_that_is_an_address_counts_of_such_a_ca_too(check, common_name, user, belongs):
    names = {"common_name": common_name, "is_constrained": True}
    reason = check(bind_user="cn", names=names, login=Login((user,), None, None))
    assert reason is (None if belongs else Reason.USER_MISMATCH)


@pytest.mark.parametrize("bind", ["email", "cn"])
def test_the_refusal_says_which_names_count_of_such_a_ca(identity, request_of, bind):
    names = identity(common_name="bob", is_constrained=True)
    ready = Conditions(CertificateConditions(bind_user=bind))
    failure = ready.check(names, request_of(login=Login(("bob",), None, None)))
    assert ("only names that they limit count" in failure.detail) is (bind == "cn")


def test_only_addresses_that_the_rule_lets_in_lend_their_name(check):
    """A second address from elsewhere must not make its holder the namesake here."""
    names = {"emails": ("alice@example.com", "boss@evil.example")}
    login = Login(("boss",), None, None)
    assert check(bind_user="email", names=names, login=login) is None
    assert check(bind_user="email", emails=("*@example.com",), names=names, login=login) is Reason.USER_MISMATCH
    assert check(bind_user="san", emails=("*@example.com",), names=names, login=login) is Reason.USER_MISMATCH


def test_a_login_that_cannot_be_read_is_nobodys(check):
    login = Login(("alice",), "A1", "the User parameter stands twice")
    assert check(login=login) is None
    assert check(bind_user="email", login=login) is Reason.USER_MISMATCH
    assert check(device_ids=frozenset({"A1"}), login=login) is Reason.CERTIFICATE_NOT_ALLOWED
    assert check(bind_user="email", device_ids=frozenset({"A1"}), login=login) is Reason.USER_MISMATCH


@pytest.mark.parametrize(
    ("carried", "bind", "reason"),
    [
        (ConnectionLogin(), "email", None),
        (ConnectionLogin(("alice",)), "email", None),
        (ConnectionLogin(("alice", "alice@example.com")), "email", None),
        (ConnectionLogin(("alice", "bob")), "email", Reason.USER_MISMATCH),
        (ConnectionLogin(("bob",)), None, None),
        (ConnectionLogin(is_hidden=True), "email", Reason.USER_MISMATCH),
        (ConnectionLogin(is_hidden=True), "san", Reason.USER_MISMATCH),
        (ConnectionLogin(is_hidden=True), None, None),
    ],
)
@pytest.mark.parametrize("users", [(), ("alice",)])
def test_what_the_connection_carries_must_belong_too(check, carried, bind, reason, users):
    login = Login(users, None, None)
    assert check(bind_user=bind, login=login, connection_login=carried) is reason


@pytest.mark.parametrize(
    ("device", "path", "method", "is_let_in"),
    [
        ("ApplABC123", "/microsoft-server-activesync", "POST", True),
        ("applabc123", "/microsoft-server-activesync", "POST", True),
        ("other", "/microsoft-server-activesync", "POST", False),
        ("other", "/webmail", "GET", False),
        ("", "/microsoft-server-activesync", "POST", False),
        ("ſecond", "/microsoft-server-activesync", "POST", False),
        (None, "/microsoft-server-activesync", "POST", False),
        (None, "/microsoft-server-activesync", "GET", False),
        (None, "/microsoft-server-activesync", "options", False),
        (None, "/sogo/microsoft-server-activesync", "POST", False),
        (None, "/microsoft-server-activesync/default.eas", "POST", False),
        (None, "/microsoft-server-activesync", "OPTIONS", True),
        (None, "/webmail", "GET", True),
    ],
)
def test_a_rule_may_name_the_devices(check, device, path, method, is_let_in):
    devices = frozenset({"APPLabc123", "second"})
    reason = check(device_ids=devices, login=Login((), device, None), path=path, method=method)
    assert reason is (None if is_let_in else Reason.CERTIFICATE_NOT_ALLOWED)
