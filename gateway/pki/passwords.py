"""Passwords that people type on phones: groups of five lower-case letters, without letters that look alike.

PKCS#12's own key stretching is weak (2,048 rounds), so the password itself must be strong.
"""

from __future__ import annotations

import math
import secrets
from typing import Final

from gateway.errors import UsageError

ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz"  # without i, l and o
GROUPS: Final = 4
GROUP_CHARACTERS: Final = 5
MIN_BITS: Final = 80
BITS: Final = math.log2(len(ALPHABET)) * GROUPS * GROUP_CHARACTERS
MIN_OWN_CHARACTERS: Final = 8


def make() -> str:
    """A new password of 90 bits, such as `kqzvm-rtwpa-hcejd-xbyfu`."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARACTERS)) for _ in range(GROUPS))
    return "-".join(groups)


def check(password: str) -> str:
    """A password that an admin or user chose, if it is long enough. Raises `UsageError`."""
    if len(password) < MIN_OWN_CHARACTERS:
        raise UsageError(
            f"a password of fewer than {MIN_OWN_CHARACTERS} characters does not protect a p12 file",
            "Choose a longer one, or leave out --password-file: then a strong one is made.",
        )
    return password
