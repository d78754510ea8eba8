"""What is left of a serialised session's timeout. Real sessions are in the tests of contexts."""

import pytest

from gateway.tls.tickets import shortened
from gateway.x509.der import INTEGER, SEQUENCE, element, elements

MADE = 1_800_000_000


def number(value):
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def session(timeout=3600, time=MADE, more=()):
    members = [number(1), number(0x304), element(4, b"\x13\x01"), element(4, b""), element(4, b"key" * 60)]
    members += [element(0xA1, number(time))] if time is not None else []
    members += [element(0xA2, number(timeout))] if timeout is not None else []
    return element(SEQUENCE, b"".join((*members, *more)))


@pytest.mark.parametrize(
    ("later", "left"),
    [(0, 3600), (1, 3599), (3345, 255), (3472, 128), (3473, 127), (3599, 1), (3600, 1), (99999, 1), (-1, 3600)],
)
def test_what_is_left(later, left):
    more = [element(0xA4, b"\x04\x01x"), element(0xA9, number(3600))]
    assert shortened(session(more=more), MADE + later) == session(left, more=more)


NO_SESSIONS = [
    *(b"", b"x", session()[:-1], session() * 2),
    *(session(time=None), session(timeout=None), session(time=None, timeout=None)),
]


@pytest.mark.parametrize("data", NO_SESSIONS)
def test_what_is_no_session_is_refused(data):
    with pytest.raises(ValueError, match=r"session|element"):
        shortened(data, MADE)


def test_everything_else_stays_as_it_was():
    before = [whole for *_, whole in elements(session()[3:])]
    after = [whole for *_, whole in elements(shortened(session(), MADE + 100)[3:])]
    assert [(one == other) for one, other in zip(before, after, strict=True)] == [True] * 6 + [False]
