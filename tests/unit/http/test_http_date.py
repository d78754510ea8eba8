"""The Date field: RFC 9110's spelling, rendered once a second."""

import pytest

from gateway.http.date import date_field


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (784111777, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),  # the RFC's own example
        (784111777.999, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        (784111778, b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"),
        (0, b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
    ],
)
def test_it_is_written_as_an_imf_fixdate(seconds, expected):
    assert b"".join(date_field(seconds)) == expected


def test_it_is_written_once_a_second():
    assert date_field(784111777.1) is date_field(784111777.9)
