"""DER elements, read and written."""

import pytest

from gateway.x509.der import INTEGER, SEQUENCE, content_of, element, elements

LENGTHS = [(0, "3000"), (1, "3001"), (127, "307f"), (128, "308180"), (255, "3081ff"), (256, "30820100")]


@pytest.mark.parametrize(("length", "header"), LENGTHS)
def test_an_element_of_every_form_of_length(length, header):
    whole = element(SEQUENCE, b"x" * length)
    assert whole == bytes.fromhex(header) + b"x" * length
    assert content_of(whole, SEQUENCE) == b"x" * length
    assert list(elements(whole + whole)) == [(SEQUENCE, b"x" * length, whole)] * 2


def test_nothing_holds_no_elements():
    assert list(elements(b"")) == []


@pytest.mark.parametrize("length", [1, 127, 128, 300])
def test_what_is_cut_short_is_refused_wherever_it_is_cut(length):
    whole = element(SEQUENCE, b"x" * length)
    for end in range(1, len(whole)):
        with pytest.raises(ValueError, match="cut short"):
            list(elements(whole[:end]))


@pytest.mark.parametrize("data", [b"", element(INTEGER, b"1"), element(SEQUENCE, b"") * 2])
def test_another_element_or_several_are_not_the_one(data):
    with pytest.raises(ValueError, match="not one element of tag 0x30"):
        content_of(data, SEQUENCE)
