"""Names in a certificate's DER: found, compared and counted before anything is built of them."""

import pytest
from cryptography import x509
from support.pki import Ca, ca_extensions, upn

from gateway.x509.der import SEQUENCE, element, elements
from gateway.x509.raw_names import (
    MAX_NAME_ATTRIBUTES,
    MAX_NAME_BYTES,
    comparable,
    count_extensions,
    count_names,
    count_parts,
    raw_names,
)

SET = 0x31
CN = bytes.fromhex("0603550403")
ROOT = Ca.make("O=Example,CN=Root")


def name(*rdns):
    """Of RDNs with one value each, as the bytes of one."""
    return element(SEQUENCE, b"".join(element(SET, element(SEQUENCE, CN + value)) for value in rdns))


def test_both_names_of_a_certificate_with_a_version_and_without():
    leaf = ROOT.issue("CN=alice")
    found = raw_names(leaf.der)
    assert found == (ROOT.certificate.subject.public_bytes(), leaf.certificate.subject.public_bytes())
    (_, signed, _), *rest = elements(next(content for _, content, _ in elements(leaf.der)))
    fields = [whole for _, _, whole in elements(signed)][1:]
    first = element(SEQUENCE, element(SEQUENCE, b"".join(fields)) + b"".join(whole for _, _, whole in rest))
    assert raw_names(first) == found


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"rubbish",
        b"\x30\x00",
        element(SEQUENCE, element(SEQUENCE, b"\x02\x01\x01" * 4)),
        element(SEQUENCE, b"\x02\x01\x01"),
        ROOT.der[:-1],
        ROOT.der + b"\0",
    ],
)
def test_what_is_no_certificate(der):
    with pytest.raises(ValueError, match=r"cut short|not one element|not a certificate"):
        raw_names(der)


@pytest.mark.parametrize(
    "other",
    [
        b"\x13\x07example",
        b"\x0c\x07EXAMPLE",
        b"\x0c\x09 example ",
        b"\x16\x07Example",
        b"\x14\x07example",
        b"\x1a\x07example",
        b"\x12\x07example",
        b"\x1e\x0e" + "example".encode("utf-16-be"),
        b"\x1c\x1c" + "example".encode("utf-32-be"),
    ],
)
def test_one_name_in_several_types_and_cases(other):
    assert comparable(name(b"\x0c\x07example")) == comparable(name(other))


def test_attributes_of_one_rdn_have_no_order_and_rdns_have():
    one, other = (element(SEQUENCE, CN + value) for value in (b"\x0c\x01a", b"\x0c\x01b"))
    assert comparable(element(SEQUENCE, element(SET, one + other))) == comparable(
        element(SEQUENCE, element(SET, other + one))
    )
    assert comparable(name(b"\x0c\x01a", b"\x0c\x01b")) != comparable(name(b"\x0c\x01b", b"\x0c\x01a"))


def test_a_teletex_string_is_latin_1():
    assert comparable(name(b"\x14\x01\xf6")) == comparable(name(b"\x0c\x02" + "ö".encode()))


def test_what_is_no_text_is_compared_as_it_is():
    bits, bad = b"\x03\x02\0a", b"\x0c\x02\xff\xfe"
    assert len({comparable(name(value)) for value in (bits, b"\x03\x02\0A", bad, b"\x0c\x02\xff\xfd")}) == 4


@pytest.mark.parametrize("attribute", [b"", CN, b"\x0c\x05a"])
def test_an_attribute_that_is_not_whole(attribute):
    with pytest.raises(ValueError, match=r"without a value|cut short"):
        comparable(element(SEQUENCE, element(SET, element(SEQUENCE, attribute))))


def test_the_most_attributes_and_bytes_of_a_name():
    comparable(name(*[b"\x0c\x01a"] * MAX_NAME_ATTRIBUTES))
    with pytest.raises(ValueError, match=f"more than {MAX_NAME_ATTRIBUTES} attributes"):
        comparable(name(*[b"\x0c\x01a"] * (MAX_NAME_ATTRIBUTES + 1)))
    with pytest.raises(ValueError, match=f"more than {MAX_NAME_ATTRIBUTES} attributes"):
        comparable(element(SEQUENCE, element(SET, b"") * (MAX_NAME_ATTRIBUTES + 1)))
    around = 4 + 4 + 4 + len(CN) + 4  # headers, each with a length of two bytes
    longest = name(element(0x0C, b"a" * (MAX_NAME_BYTES - around)))
    assert len(longest) == MAX_NAME_BYTES
    comparable(longest)
    with pytest.raises(ValueError, match=f"the limit is {MAX_NAME_BYTES}"):
        comparable(name(element(0x0C, b"a" * (MAX_NAME_BYTES - around + 1))))


def test_names_are_counted_with_each_attribute_of_a_directory_name():
    directory = x509.DirectoryName(x509.Name.from_rfc4514_string("CN=a,O=b"))
    names = x509.SubjectAlternativeName([x509.DNSName("a.example"), directory, upn("a@b")])
    leaf = ROOT.issue("CN=a,O=b", extensions=[(names, False)])
    assert count_names(leaf.der, 99) == 2 + 1 + 3 + 1
    assert count_extensions(leaf.der, 99) == 2
    assert count_parts(leaf.der, 99) == count_names(leaf.der, 99) + 2 + 2
    assert count_names(leaf.der, 3) == 4
    assert count_extensions(leaf.der, 1) == 2
    assert count_parts(leaf.der, 3) == 4


def test_a_certificate_without_extensions_has_its_subject_only():
    root = Ca.make("CN=a", extensions=[])
    assert (count_names(root.der, 9), count_extensions(root.der, 9), count_parts(root.der, 9)) == (1, 0, 2)


def test_critical_alternative_names_are_counted_too():
    root = Ca.make("CN=a", extensions=[*ca_extensions(), (x509.SubjectAlternativeName([x509.DNSName("a")]), True)])
    assert count_names(root.der, 9) == 2


def test_alternative_names_that_are_none():
    odd = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x02\x01\x01" * 2)
    with pytest.raises(ValueError, match="not one element"):
        count_names(ROOT.issue(extensions=[(odd, False)]).der, 99)
