"""A token names one file: no slash, no dot, no escape."""

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.acme import MAX_TOKEN_CHARACTERS, PREFIX, read_token
from gateway.http.published import MethodNotAllowed

LONGEST = b"x" * MAX_TOKEN_CHARACTERS


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("token", [b"a", b"-_-", b"AZaz09_-", LONGEST])
def test_a_token_is_read(method, token):
    assert read_token(method, PREFIX + token) == token.decode()


@pytest.mark.parametrize(
    "target",
    [b"/", b"/webmail", PREFIX[:-1], PREFIX.upper() + b"a", b"/%2ewell-known/acme-challenge/a", b"/x" + PREFIX],
)
def test_another_target_is_not_for_acme(target):
    assert read_token(b"POST", target) is None


@pytest.mark.parametrize(
    "token",
    [
        *(
            b"",
            b".",
            b"..",
            b"a/b",
            b"/a",
            b"../a",
            b"a.txt",
            b"a%2f",
            b"%61",
            b"a?b",
            b"a?",
            b"a;b",
            b"a\\b",
            b"a\x00",
        ),
        *(b"a\n", b"\xc3\xa4", b"a b", LONGEST + b"x"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_everything_else_below_does_not_exist(method, token):
    with pytest.raises(RequestError) as raised:
        read_token(method, PREFIX + token)
    assert raised.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"G", b"GET, HEAD"])
def test_a_challenge_is_only_read(method):
    with pytest.raises(MethodNotAllowed) as raised:
        read_token(method, PREFIX + b"a")
    assert raised.value.allow == b"GET, HEAD"
