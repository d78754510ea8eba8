"""The number on a page is short, the same for the same request, and can't be misread."""

import re

from gateway.logs.request_id import RequestIds
from gateway.request_number import ALPHABET, parse_short_number, short_number, short_value

LOOK_ALIKES = ("0ODQ", "1IL", "2Z", "5S", "8B", "UV", "6G")


def test_eight_characters_in_two_groups_always_the_same_for_one_request():
    assert short_number("00112233445566778899aabbccddeeff") == "FJ4K-4REC"
    assert re.fullmatch(rf"[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}", short_number("x"))


def test_no_character_looks_like_another():
    assert all(len(set(group) & set(ALPHABET)) <= 1 for group in LOOK_ALIKES)
    assert len(set(ALPHABET.casefold())) == len(ALPHABET)


def test_requests_that_follow_each_other_have_numbers_that_differ():
    ids = RequestIds()
    numbers = {short_number(ids.next()) for _ in range(10_000)}
    assert len(numbers) >= 9_999  # two alike once in 500 runs
    assert {number[0] for number in numbers} == set(ALPHABET)


def test_a_short_number_is_read_in_any_case_with_its_hyphen_or_without():
    ids = RequestIds()
    for request_id in (ids.next() for _ in range(100)):
        number = short_number(request_id)
        for text in (number, number.lower(), number.replace("-", ""), number.replace("-", " ")):
            assert parse_short_number(text) == short_value(request_id)


def test_what_is_no_short_number_has_no_value():
    for text in ("", "FJ4K-4RE", "FJ4K-4RECC", "FJ4K-4RE0", "FJ4K-4REß", "FJ4K_4REC"):
        assert parse_short_number(text) is None
