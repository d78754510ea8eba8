"""File names: ordinary names as they are, and never one for two."""

from __future__ import annotations

import itertools

import pytest

from gateway.pki import names
from gateway.pki.file_names import HASH_CHARACTERS, MAX_STEM_CHARACTERS, USES, file_stem

WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
DOMAIN = "@example.com"
# Each pair is two people, devices or hosts for the desk.
PAIRS = [
    (("a!b@example.com",), ("a#b@example.com",)),
    (("a!b@example.com",), ("a_b@example.com",)),
    (("a!b@example.com",), ("a!!b@example.com",)),
    (("a!b@example.com",), ("A#b@example.com",)),
    (("alice@example.com", "iPhone"), ("alice@example.com-iphone",)),
    (("alice@my", "company"), ("alice@my-company",)),
    (("alice@example.com", "auth"), ("alice@example.com", None, "auth")),
    (("alice@example.com", "x-auth"), ("alice@example.com", "x", "auth")),
    (("alice@example.com", "AUTH"), ("alice@example.com", None, "auth")),
    (("alice@example.com", "iPhone 15"), ("alice@example.com", "iPhone_15")),
    (("alice@example.com", "Télé"), ("alice@example.com", "Tülü")),
    (("alice@example.com", "a.b"), ("alice@example.com-a.b",)),
    (("2001:db8::1",), ("2001::db8:1",)),
    (("*.example.com",), ("_.example.com",)),
    (("con.smith@example.com",), ("_con.smith@example.com",)),
]


@pytest.mark.parametrize(
    ("parts", "stem"),
    [
        (("alice@example.com", None), "alice@example.com"),
        (("Alice.B_c+tag-x@example.com", None), "Alice.B_c+tag-x@example.com"),
        (("alice@xn--e1afmkfd.xn--p1ai", None), "alice@xn--e1afmkfd.xn--p1ai"),
        (("root@localhost",), "root@localhost"),
        (("alice@example.com", "iPhone 15"), "alice@example.com-iPhone_15"),
        (("alice@example.com", "iPhone", "signing"), "alice@example.com-iPhone-signing"),
        (("alice@example.com", None, "auth"), "alice@example.com-auth"),
        (("mail.example.com",), "mail.example.com"),
        (("*.example.com",), "_.example.com"),
        (("10.0.0.5",), "10.0.0.5"),
    ],
)
def test_ordinary_names_are_their_files(parts, stem):
    assert file_stem(*parts) == stem


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_names_have_two_files(one, other):
    """Also where the file system ignores case."""
    assert file_stem(*one).lower() != file_stem(*other).lower()


def test_spellings_of_one_name_have_one_file():
    assert file_stem("A!b@example.com", "Télé").lower() == file_stem("a!b@example.com", "TE\u0301LE\u0301").lower()


def test_no_two_of_many_share_a_file():
    emails = [f"{a}{b}{c}{DOMAIN}" for a, b, c in itertools.product("ab_!#", "-.+_", "ab!")]
    devices = [None, "a", "b", "a b", "a_b", "a-b", "a.b", "ä", *USES]
    found = {
        file_stem(email, device, use): (email, device, use)
        for email, device, use in itertools.product(emails, devices, (None, *USES))
    }
    assert len(found) == len(emails) * len(devices) * (1 + len(USES))


@pytest.mark.parametrize("name", ["../../etc/x@y", "/", "-rf", "...", "a/b'c@x-y.example"])
def test_file_names_stay_in_their_folder(name):
    stem = file_stem(name)
    assert "/" not in stem
    assert not stem.startswith((".", "-"))


@pytest.mark.parametrize("device", sorted(WINDOWS_DEVICES))
def test_no_file_is_a_device_of_windows(device):
    for name in (f"{device}.smith@example.com", device.upper() + ".X@example.com", f"{device}.example.com", device):
        assert file_stem(name).partition(".")[0].lower() not in WINDOWS_DEVICES
    assert file_stem(f"{device}x@example.com") == f"{device}x@example.com"


def test_file_names_are_never_longer_than_a_folder_holds():
    longest = names.check_email("@".join(("a" * 64, ".".join(("b" * 63, "c" * 63, "d" * 59, "de")))))
    stem, other = file_stem(longest, "Phone"), file_stem(longest, "Tablet")
    assert stem != other
    assert stem.startswith("a" * 64 + "@bbb")
    assert max(len(stem), len(other)) == MAX_STEM_CHARACTERS + 1 + HASH_CHARACTERS
    assert file_stem("x" * MAX_STEM_CHARACTERS) == "x" * MAX_STEM_CHARACTERS
    assert file_stem("x" * (MAX_STEM_CHARACTERS + 1)) != file_stem("x" * (MAX_STEM_CHARACTERS + 2))
