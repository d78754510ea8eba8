"""Serial numbers as text."""

from __future__ import annotations


def serial_text(number: int) -> str:
    """As openssl, the registry and the access log write it: upper-case hex with an even number of digits.

    A negative number, which RFC 5280 section 4.1.2.2 forbids and old CAs used, begins with a minus sign: `-05`.
    """
    digits = f"{abs(number):X}"
    return ("-" if number < 0 else "") + digits.zfill(len(digits) + len(digits) % 2)
