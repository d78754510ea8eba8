"""WWW-Authenticate fields are split into challenges as RFC 9110 11.6.1 says, or not at all."""

import pytest

from gateway.http.challenges import read_challenges
from gateway.proxy.exchange.answer import MAX_RESPONSE_HEAD_BYTES


@pytest.mark.parametrize(
    ("value", "challenges"),
    [
        (b"Negotiate", [b"Negotiate"]),
        (b" NTLM , Negotiate\t", [b"NTLM", b"Negotiate"]),
        (b'NTLM, Basic realm="a, NTLM"', [b"NTLM", b'Basic realm="a, NTLM"']),
        (b'Basic realm="x", charset="UTF-8", NTLM', [b'Basic realm="x", charset="UTF-8"', b"NTLM"]),
        (b'Basic realm = "x" ,y=z,Bearer', [b'Basic realm = "x" ,y=z', b"Bearer"]),
        (b"Basic realm=x,, NTLM", [b"Basic realm=x", b"NTLM"]),
        (b"NTLM TlRMTVNTUAACAAAA==, Basic realm=x", [b"NTLM TlRMTVNTUAACAAAA==", b"Basic realm=x"]),
        (b"Bearer abc=, NTLM", [b"Bearer abc=", b"NTLM"]),
        (b'Digest nonce="a\\"b, NTLM", qop=auth, New', [b'Digest nonce="a\\"b, NTLM", qop=auth', b"New"]),
        (b"", []),
        (b" ,\t,", []),
    ],
)
def test_challenges(value, challenges):
    assert read_challenges(value) == challenges


@pytest.mark.parametrize(
    "value",
    [
        b'Basic realm="x',
        b'Basic realm="x\\"',
        b'Basic realm="x"y',
        b"Basic a=b c",
        b"a b c",
        b"realm=x",
        b", realm=x, NTLM",
        b'NTLM, "Basic"',
        b"NTLM; Basic",
        b'Basic realm="\x01"',
        b"Basic\trealm=x",
        b"(x)",
        b"\xff",
    ],
)
def test_malformed_values(value):
    assert read_challenges(value) is None


@pytest.mark.parametrize("part", [b"a=b,", b"a ", b",", b" ", b'a="', b'a="\\', b"a", b"=", b"a b,", b"a a=b,"])
def test_the_longest_value_is_read(part):
    """Squared time would be minutes."""
    value = b"a " + part * (MAX_RESPONSE_HEAD_BYTES // len(part))
    challenges = read_challenges(value)
    assert challenges is None or len(b",".join(challenges)) <= len(value)
