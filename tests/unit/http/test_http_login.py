"""Which login and device a request names, and that a password goes nowhere."""

from __future__ import annotations

import base64

import pytest

from gateway.facts import NO_CONNECTION_LOGIN, NO_LOGIN, ConnectionLogin, Login
from gateway.http.login import (
    HIDDEN_LOGIN,
    MAX_AUTHORIZATION_BYTES,
    MAX_CONNECTION_USERS,
    carried_on,
    kind_of,
    login_of,
    path_for_login,
)

EAS = "/microsoft-server-activesync"


def basic(pair: str, encoding: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(pair.encode(encoding))


def test_a_request_without_either_names_nobody() -> None:
    assert login_of("/webmail", "User=alice", None) is NO_LOGIN
    assert login_of(EAS, None, None) is NO_LOGIN
    assert login_of(EAS, "", None) is NO_LOGIN


def test_a_login_is_looked_for_in_the_query_where_some_reading_is_activesync() -> None:
    readings = ("/x", EAS)
    assert path_for_login("/microsoft-server-activesync.", readings) == "/microsoft-server-activesync."
    assert path_for_login("/mıcrosoft-server-activesync", readings) == EAS
    assert path_for_login("/webmail", ("/x",)) == "/webmail"


@pytest.mark.parametrize("scheme", [b"Basic ", b"basic ", b"BASIC   ", b" Basic "])
def test_basic_is_read_however_it_is_spelled(scheme: bytes) -> None:
    assert login_of("/", None, scheme + base64.b64encode(b"alice:secret:more")) == Login(
        ("alice",), None, None, "basic"
    )


def test_utf_8_comes_first_and_latin_1_where_it_is_none() -> None:
    assert login_of("/", None, basic("jürgen:x")).users == ("jürgen",)
    assert login_of("/", None, basic("jürgen:x", "latin-1")).users == ("jürgen",)


def test_the_user_of_the_query_counts_beside_the_basic_one() -> None:
    login = login_of("/sogo" + EAS, "Cmd=Ping&User=bob&DeviceId=D1", basic("alice:x"))
    assert login == Login(("alice", "bob"), "D1", None, "basic")


def test_the_query_alone_names_user_and_device() -> None:
    assert login_of(EAS, "User=bob&DeviceId=D1", None) == Login(("bob",), "D1", None)
    assert login_of(EAS, "DeviceId=D1", basic("alice:x")) == Login(("alice",), "D1", None, "basic")


def test_a_query_that_cannot_be_read_is_a_problem_and_keeps_the_basic_user() -> None:
    login = login_of(EAS, "User=a&User=b", basic("alice:x"))
    assert login.users == ("alice",)
    assert login.problem is not None
    assert "User appears twice" in login.problem


@pytest.mark.parametrize(
    "value",
    [
        b"Basic",
        b"Basic ",
        b"Basic !!!!",
        b"Basic YWxpY2U",
        b"Basic YWxpY2U=",  # no colon
        b"Basic YWxpY2U6eA==YWxpY2U6eA==",
        b"Basic YWxp Y2U6eA==",
        b"Basic YWxpY2U6\xff",
        b"Basic\tYWxpY2U6eA==",
        b"",
        b"Basic " + base64.b64encode(b"ali\x00ce:x"),
        b"Basic " + base64.b64encode(b"alice\n:x"),
        b"Basic " + base64.b64encode(b"alice\xc2\x85:x"),
    ],
)
def test_broken_basic_credentials_are_a_problem(value: bytes) -> None:
    login = login_of("/", None, value)
    assert login.users == ()
    assert login.problem is not None


@pytest.mark.parametrize("scheme", ["Bearer", "NTLM", "Negotiate", "Digest"])
def test_a_scheme_that_hides_the_user_is_a_problem_that_says_so(scheme: str) -> None:
    login = login_of("/", None, f"{scheme} c2VjcmV0".encode())
    assert login.users == ()
    assert login.problem is not None
    assert scheme in login.problem
    assert "c2VjcmV0" not in login.problem


def test_a_scheme_that_may_be_a_password_is_not_repeated() -> None:
    login = login_of("/", None, b"c2VjcmV0cGFzc3dvcmQ=")
    assert login.problem is not None
    assert "c2Vjcm" not in login.problem


def test_the_password_and_the_broken_name_stay_out_of_every_text() -> None:
    for value in (basic("alice:hunter2"), basic("bad\x01name:hunter2"), basic("hunter2")):
        assert "hunter2" not in repr(login_of("/", None, value))


def test_basic_credentials_are_bounded() -> None:
    fits = base64.b64encode(b"alice:" + b"x" * (MAX_AUTHORIZATION_BYTES // 4 * 3 - 6))
    assert len(fits) == MAX_AUTHORIZATION_BYTES
    assert login_of("/", None, b"Basic " + fits).users == ("alice",)
    assert login_of("/", None, b"Basic " + fits + b"A").problem is not None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (basic("alice:x"), "basic"),
        (b"BASIC !", "basic"),
        (b"Bearer x", "bearer"),
        (b"dpop x", "bearer"),
        (b"OAuth x", "bearer"),
        (b"Token x", "bearer"),
        (b'Digest username="alice"', "digest"),
        (b"NTLM TlRM", "connection"),
        (b"negotiate YII", "connection"),
        (b"Kerberos YII", "connection"),
        (b"Nego2 YII", "connection"),
        (b"Basic\tYWxpY2U6eA==", "connection"),
        (b"NTLM,Basic YWxpY2U6eA==", "connection"),
        (b"", "connection"),
    ],
)
def test_a_scheme_that_is_not_known_to_hold_for_one_request_logs_in_the_connection(value: bytes, kind: str) -> None:
    login = login_of("/", None, value)
    assert login.kind == kind
    assert login.is_hidden is (login.users == ())


def test_a_query_that_cannot_be_read_hides_no_login() -> None:
    login = login_of(EAS, "User=a&User=b", basic("alice:x"))
    assert (login.kind, login.is_hidden) == ("basic", False)
    login = login_of(EAS, "User=a&User=b", b"NTLM x")
    assert (login.kind, login.is_hidden) == ("connection", True)


def carried(*values: bytes | None) -> ConnectionLogin:
    """What a connection carries after requests with these Authorization fields."""
    found = NO_CONNECTION_LOGIN
    for value in values:
        found = carried_on(found, login_of(EAS, "User=carol", value))
    return found


def test_a_connection_carries_the_users_of_basic_and_not_those_of_a_query() -> None:
    assert carried(None) is NO_CONNECTION_LOGIN
    assert carried(basic("alice:x"), None, basic("bob:x"), basic("alice:y")).users == ("alice", "bob")


@pytest.mark.parametrize("value", [b"NTLM x", b"Bearer x", b'Digest username="alice"', b"Basic YWxpY2U6eA", b"Foo"])
def test_a_login_that_cannot_be_read_stays_hidden_on_its_connection(value: bytes) -> None:
    assert carried(value).is_hidden
    assert carried(basic("alice:x"), value, basic("alice:x"), None).is_hidden


def test_more_users_than_are_kept_count_as_hidden() -> None:
    fits = [basic(f"user{number}:x") for number in range(MAX_CONNECTION_USERS)]
    assert not carried(*fits).is_hidden
    assert carried(*fits, basic("one more:x")).is_hidden
    assert not carried(*fits, fits[0]).is_hidden


def test_the_log_names_the_login_of_the_request_and_else_of_its_connection() -> None:
    assert kind_of(NO_LOGIN, NO_CONNECTION_LOGIN) == "none"
    assert kind_of(NO_LOGIN, ConnectionLogin(("alice",))) == "none"
    assert kind_of(NO_LOGIN, HIDDEN_LOGIN) == "connection"
    assert kind_of(login_of("/", None, basic("alice:x")), HIDDEN_LOGIN) == "basic"
