"""ActiveSync's query in both forms, and everything that two servers could read in two ways."""

from __future__ import annotations

import base64

import pytest

from gateway.http.activesync import (
    MAX_PARAMETERS,
    MAX_QUERY_CHARACTERS,
    EasQuery,
    EasQueryError,
    parse_query,
)


def packed(command=18, device=b"ApplDMPK", key=b"\x01\x02\x03\x04", kind=b"iPhone", tail=b"") -> bytes:
    fields = b"".join(bytes([len(field)]) + field for field in (device, key, kind))
    return bytes([141, command, 0x09, 0x04]) + fields + tail


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_plain_form_is_read() -> None:
    query = "Cmd=Ping&User=alice%40example.com&DeviceId=Appl123&DeviceType=iPhone"
    assert parse_query(query) == EasQuery("Ping", "alice@example.com", "Appl123", "iPhone")


def test_names_are_read_in_any_case_and_other_parameters_are_left_alone() -> None:
    query = "DEVICEID=A&devicetype=B&cmd=SmartReply&ItemId=5%3a1&SaveInSent=T&x=a+b"
    assert parse_query(query) == EasQuery("SmartReply", None, "A", "B")


def test_an_encoded_name_is_the_same_name() -> None:
    assert parse_query("%55ser=bob").user == "bob"


def test_an_empty_value_names_nobody() -> None:
    assert parse_query("Cmd=Sync&User=") == EasQuery("Sync", None, None, None)


def test_domain_and_name_are_kept() -> None:
    assert parse_query("User=EXAMPLE%5Calice").user == "EXAMPLE\\alice"


def test_the_base64_form_is_read() -> None:
    assert parse_query(b64(packed())) == EasQuery("Ping", None, "ApplDMPK", "iPhone")


def test_the_base64_form_may_name_a_user_and_have_no_policy_key() -> None:
    query = b64(packed(command=0, key=b"", tail=b"\x07\x01\x02\x08\x05alice"))
    assert parse_query(query) == EasQuery("Sync", "alice", "ApplDMPK", "iPhone")


def test_the_url_safe_alphabet_is_read() -> None:
    data = packed(device=b"\xfb\xef\xbe\xff" * 4)
    text = base64.urlsafe_b64encode(data).decode()
    assert {"-", "_"} & set(text)
    assert parse_query(text).device_id == "fbefbeff" * 4


def test_a_new_command_is_named_by_its_code() -> None:
    assert parse_query(b64(packed(command=200))).command == "command 200"


def test_empty_fields_name_nothing() -> None:
    assert parse_query(b64(packed(device=b"", kind=b"", tail=b"\x08\x00"))) == EasQuery("Ping", None, None, None)


PLAIN_TRICKS = [
    "User=alice&User=bob",
    "User=alice&user=bob",
    "User=alice&%75ser=bob",
    "User=alice&User[]=bob",
    "User=alice&%20User=bob",
    "User=alice&+User=bob",
    "User=alice&User%00=bob",
    "User=alice&%2555ser=bob",
    "User=alice&U%C5%BFer=bob",
    "User=alice&\u017fer=bob",
    "User=alice;User=bob",
    "User=alice&",
    "User=alice&bob",
    "User=alice+b",
    "User=alice%0d%0a",
    "User=alice%00",
    "User=%ff",
    "User=%zz",
    "User=alice%",
    "User=ali\xe7e",
    "Us%er=alice",
    "Cmd=Ping&Cmd=Sync",
    "DeviceId=A&deviceid=B",
    "x=1&y=2",
    "=alice&User=bob",
    "&User=bob",
]


@pytest.mark.parametrize("query", PLAIN_TRICKS)
def test_a_plain_query_that_could_be_read_in_two_ways_is_refused(query: str) -> None:
    with pytest.raises(EasQueryError):
        parse_query(query)


BASE64_TRICKS = [
    "",
    "!",
    "A",
    "A===",
    "====",
    b64(packed()).rstrip("=") if b64(packed()).endswith("=") else b64(packed())[:-1],
    b64(packed()) + "=",
    b64(packed()) + "&User=bob",
    "User=bob&" + b64(packed()),
    b64(packed()) + ";User=bob",
    b64(packed(kind=b"iPhone1")).replace("=", "%3D"),
    b64(packed()).replace("A", "%41", 1),
    "-_+/",
    b64(packed(tail=b"\x08")),
    b64(packed(tail=b"\x08\x05ali")),
    b64(packed(tail=b"\x08\x03bob\x08\x05alice")),
    b64(packed(tail=b"\x09\x01x")),
    b64(packed(tail=b"\x08\x02\xff\xfe")),
    b64(packed(tail=b"\x08\x02a\n")),
    b64(packed(kind=b"\xff")),
    b64(packed(key=b"\x01\x02\x03")),
    b64(packed()[:3]),
    b64(packed()[:4]),
    b64(packed()[:9]),
    b64(packed()[:-1]),
    b64(b"\x8d\x12\x09\x04\xff" + b"x" * 10),
]


@pytest.mark.parametrize("query", BASE64_TRICKS)
def test_a_broken_base64_query_is_refused(query: str) -> None:
    with pytest.raises(EasQueryError):
        parse_query(query)


def test_base64_has_one_spelling() -> None:
    text = b64(packed(device=b"ApplDMPK1"))
    assert text.endswith("=")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    end = len(text.rstrip("=")) - 1
    other = text[:end] + letters[letters.index(text[end]) + 1] + text[end + 1 :]
    assert base64.b64decode(other) == base64.b64decode(text)
    with pytest.raises(EasQueryError, match="not canonical base64"):
        parse_query(other)


def test_the_length_is_bounded() -> None:
    query = "Cmd=Ping&x="
    fits = query + "a" * (MAX_QUERY_CHARACTERS - len(query))
    assert parse_query(fits).command == "Ping"
    with pytest.raises(EasQueryError, match="longer"):
        parse_query(fits + "a")


def test_the_number_of_parameters_is_bounded() -> None:
    fits = "Cmd=Ping" + "&x=1" * (MAX_PARAMETERS - 1)
    assert parse_query(fits).command == "Ping"
    with pytest.raises(EasQueryError, match="more than"):
        parse_query(fits + "&x=1")
