"""The priority field: what RFC 9218 gives it to say, and that everything else is ignored."""

import pytest

from gateway.http.priority import DEFAULT, MAX_PRIORITY_BYTES, Priority, parse_priority


def parsed(value, otherwise=DEFAULT):
    priority = parse_priority(value, otherwise)
    return priority.urgency, priority.is_incremental


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", (3, False)),
        (b"  ", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7", (7, False)),
        (b"i", (3, True)),
        (b"i=?1", (3, True)),
        (b"i=?0", (3, False)),
        (b"u=5, i", (5, True)),
        (b"u=5,i", (5, True)),
        (b"i \t,\t u=1  ", (1, True)),
        (b"  u=1", (1, False)),
        (b"u=01", (1, False)),
        (b"u=-0", (0, False)),
        (b'u=2;x;y=1.5; z=?0;s="a\\"b\\\\", i;q=tok/en:x', (2, True)),
        (b"u=1, u=2, i, i=?0", (2, False)),
    ],
)
def test_urgency_and_incremental(value, expected):
    assert parsed(value) == expected


@pytest.mark.parametrize(
    "value", [b"u=8", b"u=-1", b"u=999999999999999", b"u=1.0", b"u", b"u=?1", b'u="1"', b"u=a", b"u=(1)"]
)
def test_an_urgency_that_is_out_of_range_or_no_integer_is_absent(value):
    assert parsed(value + b", i") == (3, True)
    assert parsed(b"u=1, " + value + b", i") == (3, True)  # the last one counts


@pytest.mark.parametrize("value", [b"i=1", b"i=0", b"i=true", b'i="?1"', b"i=(?1)", b"i=:aQ==:"])
def test_an_incremental_that_is_no_boolean_is_absent(value):
    assert parsed(b"u=1, " + value) == (1, False)
    assert parsed(b"i, " + value) == (3, False)
    assert parsed(value, Priority(5, is_incremental=True)) == (5, True)


@pytest.mark.parametrize(
    "member",
    [
        *(b"x", b"x=1", b"*a.b-c_d*=-1", b"x=123456789012345", b"x=-123456789012.123", b'x=""', b"x=*tok", b"x=::"),
        *(
            b"x=:YQ==:",
            b"x=:YQ:",
            b"x=:YWI=:",
            b"x=:YWI:",
            b"x=:YWJj:",
            b"x=()",
            b"x=(  )",
            b"x=( a  b )",
            b"x=(a;p b;q=1);r",
        ),
        *(b'x=(1 2.5 "s" ?0 :YQ==:)', b"x;a;b;c", b"x;  a=1"),
    ],
)
def test_other_members_are_ignored(member):
    assert parsed(b"u=1, " + member + b", i") == (1, True)
    assert parsed(b"u=1, i, " + member) == (1, True)


@pytest.mark.parametrize(
    "value",
    [
        *(b",", b"u=1,", b"u=1, ", b",u=1", b"u=1,,i", b"u=1 i", b"u=1;", b"u=1;;a", b"u =1", b"u= 1", b"u=", b"u=1\t"),
        *(
            b"\tu=1",
            b"U=1",
            b"u=1, I",
            b"1=u",
            b"u=1, -x",
            b"u=1, x=1.",
            b"u=1, x=.5",
            b"u=1, x=1.2345",
            b"u=1, x=1.2.3",
        ),
        *(
            b"u=1, x=1234567890123456",
            b"u=1, x=1234567890123.1",
            b"u=1, x=-",
            b"u=1, x=--1",
            b"u=1, x=+1",
            b"u=1, x=1a",
        ),
        *(
            b'u=1, x="',
            b'u=1, x="\\a"',
            b'u=1, x="\xc3\xa4"',
            b'u=1, x="\x7f"',
            b"u=1, x=?2",
            b"u=1, x=?",
            b"u=1, x=:a",
        ),
        *(
            b"u=1, x=:a:",
            b"u=1, x=:YQ=:",
            b"u=1, x=:YQ===:",
            b"u=1, x=:Y-==:",
            b"u=1, x=(",
            b"u=1, x=(1",
            b"u=1, x=(1,2)",
        ),
        *(b"u=1, x=(1(2))", b"u=1, x=(a\tb)", b'u=1, x=("a""b")', b"u=1, x=@1", b'u=1, x=%"a"', b"u=1, x;A", b"u=1\n"),
        *(b"u=1;a=", b"u=1;a=()", b"u=1, \x00", b"u=1, \xff", b"u=1; \ta"),
    ],
)
def test_what_is_no_dictionary_is_ignored_as_a_whole(value):
    assert parsed(value) == (3, False)
    assert parsed(value, Priority(6, is_incremental=True)) == (6, True)


def test_what_an_answer_says_goes_before_what_its_client_said():
    client = Priority(5, is_incremental=True)
    assert parsed(b"u=1", client) == (1, True)
    assert parsed(b"i=?0", client) == (5, False)
    assert parsed(b"", client) == (5, True)


def test_a_value_of_the_greatest_length_and_one_byte_longer():
    value = b"u=1, x=" + b"a" * (MAX_PRIORITY_BYTES - 7)
    assert parsed(value) == (1, False)
    assert parsed(value + b"a") == (3, False)
