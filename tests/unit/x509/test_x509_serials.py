"""Serials as `openssl x509 -serial` prints them."""

import pytest

from gateway.x509.serials import serial_text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "00"), (5, "05"), (0xABC, "0ABC"), (-1, "-01"), (-5, "-05"), (-128, "-80"), (-256, "-0100"), (251, "FB")],
)
def test_the_sign_stands_in_front_of_an_even_number_of_digits(number, text):
    assert serial_text(number) == text
