"""Client text in a log: bounded, harmless, and without the secrets that people put into queries."""

from __future__ import annotations

import pytest

from gateway.logs import text
from gateway.logs.text import (
    MAX_REMEMBERED,
    MAX_REMEMBERED_CHARACTERS,
    MAX_URI_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    REDACTED,
    SECRET_PARAMETERS,
    fit,
    text_of,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x7fb", "a\\x7fb"),
        (b"curl/8", "curl/8"),
        ("curl/8", "curl/8"),
        (b"J\xc3\xbcrgen", "Jürgen"),
        (b"a\xff\xfe", "a\\xff\\xfe"),
        (b"\xc2\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("😀", "😀"),
        (b"", ""),
    ],
)
def test_text_is_harmless(value: str | bytes, shown: str) -> None:
    assert text_of(value) == shown
    assert fit(value) == shown
    shown.encode()


@pytest.mark.parametrize("letter", [b"a", "a", "ü"])
def test_a_value_is_bounded(letter: str | bytes) -> None:
    fits = letter * MAX_VALUE_CHARACTERS
    assert len(text_of(fits)) == MAX_VALUE_CHARACTERS
    assert not text_of(fits).endswith("…")
    assert len(text_of(fits + letter)) == MAX_VALUE_CHARACTERS
    assert text_of(fits + letter).endswith("…")
    assert len(fit(b"\xff" * MAX_URI_CHARACTERS, MAX_URI_CHARACTERS)) == MAX_URI_CHARACTERS


@pytest.mark.parametrize("name", sorted(SECRET_PARAMETERS))
def test_the_value_of_every_secret_parameter_is_left_out(name: str) -> None:
    for spelling in (name, name.upper(), "_" + name, f"%{ord(name[0]):02x}" + name[1:]):
        for mark in ("?", "?a=1&", "?a=1;", "#"):
            assert fit(f"/login{mark}{spelling}=hunter2&b=2") == f"/login{mark}{spelling}={REDACTED}&b=2"


@pytest.mark.parametrize(
    "uri",
    [
        "/webmail/?_task=mail&_mbox=INBOX%2FSent",
        "/pass=word",
        "/?password=",
        "/?passport=1",
        "/?compass=1",
        "/?q=password",
        "/?tokenizer=1",
        "/Microsoft-Server-ActiveSync?Cmd=Ping&User=alice%40example.com",
        "/alice@example.com",
        "//host/path",
    ],
)
def test_what_is_no_secret_stays(uri: str) -> None:
    assert fit(uri) == uri


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://alice:hunter2@mail.example.com/x@y", f"https://{REDACTED}@mail.example.com/x@y"),
        ("//alice:hunter2@mail.example.com", f"//{REDACTED}@mail.example.com"),
        ("http://a:b@c@host/", f"http://{REDACTED}@host/"),
        ("https://mail.example.com/x@y", "https://mail.example.com/x@y"),
    ],
)
def test_user_information_is_left_out(uri: str, shown: str) -> None:
    assert fit(uri) == shown
    assert fit(shown) == shown


def test_a_secret_is_not_remembered_and_memory_is_bounded() -> None:
    text.remembered.clear()
    fit("/?password=hunter2")
    fit("a" * (MAX_REMEMBERED_CHARACTERS + 1))
    assert not text.remembered
    fit("a" * MAX_REMEMBERED_CHARACTERS)
    for number in range(MAX_REMEMBERED - 1):
        fit(f"/{number}")
    assert len(text.remembered) == MAX_REMEMBERED
    fit("/one/more")
    assert text.remembered == {"/one/more": "/one/more"}
