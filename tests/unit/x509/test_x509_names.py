"""Whose certificate it is: typed names, odd encodings, and what is refused for its names."""

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from support.pki import DAY, NOW, UPN_OID, Ca, ec_key, openssl, rsa_key, upn, utf8

from gateway.x509.der import SEQUENCE, element
from gateway.x509.loading import load_certificates
from gateway.x509.names import (
    MAX_CERTIFICATE_BYTES,
    MAX_NAMES,
    IdentityError,
    fingerprint,
    identity_of,
    load_certificate,
)

ROOT = Ca.make()


def names(*values):
    return [(x509.SubjectAlternativeName(list(values)), False)]


def identity(subject="CN=alice", **options):
    return identity_of(load_certificate(ROOT.issue(subject, **options).der))


def refused(**options):
    subject = options.pop("subject", "CN=alice")
    with pytest.raises(IdentityError) as caught:
        identity(subject, **options)
    return caught.value.cause


def patched(leaf, old, new):
    """The certificate with these bytes changed in place; its signature is no matter here."""
    assert leaf.der.count(old) == 1
    assert len(old) == len(new)
    return identity_of(load_certificate(leaf.der.replace(old, new)))


def test_every_name_is_kept_by_its_type():
    found = identity(
        "C=DE,O=Example Ltd,OU=Mail,CN=Alice,1.2.840.113549.1.9.1=old@example.com",
        extensions=names(
            x509.RFC822Name("alice@example.com"),
            x509.DNSName("alice.example.com"),
            x509.UniformResourceIdentifier("urn:uuid:1"),
            upn("alice@corp.example"),
            x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
            x509.DirectoryName(x509.Name.from_rfc4514_string("CN=dir")),
            x509.RFC822Name("alice@example.com"),
        ),
    )
    assert found.emails == ("alice@example.com", "old@example.com")
    assert found.dns_names == ("alice.example.com",)
    assert found.uris == ("urn:uuid:1",)
    assert found.upns == ("alice@corp.example",)
    assert found.common_name == "Alice"
    assert found.issuer == "CN=Test Root"
    assert (found.not_before, found.not_after) == (NOW - DAY, NOW + 365 * DAY)
    assert "emailAddress=old@example.com" in found.subject
    assert dict(found.rdns) == {
        "C": "DE",
        "O": "Example Ltd",
        "OU": "Mail",
        "CN": "Alice",
        "emailAddress": "old@example.com",
    }


def test_a_mail_address_in_a_dns_name_is_no_mail_address():
    found = identity(extensions=names(x509.DNSName("alice@example.com")))
    assert (found.emails, found.dns_names) == ((), ("alice@example.com",))


def test_what_is_no_mailbox_is_no_mail_address():
    found = identity(
        "CN=a,1.2.840.113549.1.9.1=alice", extensions=names(x509.RFC822Name("bob"), x509.RFC822Name("a b@c.example"))
    )
    assert found.emails == ()


def test_the_most_specific_common_name_counts():
    assert identity(x509.Name([cn("outer"), cn("inner")])).common_name == "inner"
    assert identity("O=nobody").common_name is None


def cn(text):
    return x509.NameAttribute(NameOID.COMMON_NAME, text)


def test_multi_valued_rdns_are_written_and_listed_attribute_by_attribute():
    found = identity("CN=alice+OU=x,O=Example")
    assert found.rdns == (("O", "Example"), ("OU", "x"), ("CN", "alice"))  # DER orders a set
    assert found.subject == "OU=x+CN=alice,O=Example"


def test_a_name_made_by_openssl_reads_as_rfc_4514(tmp_path):
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-utf8"),
        *("-subj", "/C=DE/O=Müller, Söhne/CN=alice/emailAddress=alice@example.com"),
        cwd=tmp_path,
    )
    found = identity_of(load_certificates(tmp_path / "c")[0])
    assert found.subject == "emailAddress=alice@example.com,CN=alice,O=Müller\\, Söhne,C=DE"


@pytest.mark.parametrize("kind", [_ASN1Type.BMPString, _ASN1Type.UniversalString, _ASN1Type.UTF8String])
def test_wide_strings_are_decoded(kind):
    attribute = x509.NameAttribute(NameOID.COMMON_NAME, "Jürgen", _type=kind)
    assert identity(x509.Name([attribute])).common_name == "Jürgen"


def test_t61_strings_are_read_as_latin_1():
    alice = ROOT.issue()
    assert patched(alice, b"\x0c\x05alice", b"\x14\x05alice").common_name == "alice"
    assert patched(alice, b"\x0c\x05alice", b"\x14\x05al\xeece").common_name == "alîce"


@pytest.mark.parametrize("value", [b"\x0c\x05al\xffce", b"\x1e\x05alice", b"\x13\x05al_ce", b"\x0c\x06alice"])
def test_strings_that_are_not_what_they_say_are_refused(value):
    with pytest.raises(IdentityError):
        patched(ROOT.issue(), b"\x0c\x05alice", value)


@pytest.mark.parametrize("mark", ["\x00", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066"])
def test_control_characters_are_refused_in_every_kind_of_name(mark):
    bad = f"a{mark}b"
    hostile = x509.Name([cn(bad)])
    cause = "a name in the certificate holds a control character"
    assert refused(subject=hostile) == cause
    assert refused(extensions=names(upn(f"a{mark}@b"))) == cause
    assert refused(extensions=names(x509.DirectoryName(hostile))) == cause
    ca = Ca.make(hostile)
    with pytest.raises(IdentityError, match="control character"):
        identity_of(load_certificate(ca.issue().der))
    if mark.isascii():
        for name in (x509.RFC822Name, x509.DNSName, x509.UniformResourceIdentifier):
            assert refused(extensions=names(name(bad))) == cause


@pytest.mark.parametrize(
    ("content", "serial"),
    [
        (b"\x10", "10"),
        (b"\x01", "01"),
        (b"\x00", "00"),
        (b"\xff", "-01"),
        (b"\x80", "-80"),
    ],
)
def test_serials_of_one_byte_also_zero_and_negative_ones(content, serial):
    assert patched(ROOT.issue(serial=0x33), b"\x02\x01\x33", b"\x02\x01" + content).serial == serial


def test_negative_serials_have_their_sign():
    leaf = ROOT.issue(serial=0x3344)
    assert patched(leaf, b"\x02\x02\x33\x44", b"\x02\x02\xff\x00").serial == "-0100"
    assert patched(leaf, b"\x02\x02\x33\x44", b"\x02\x02\x80\x00").serial == "-8000"


def test_long_serials_have_an_even_number_of_digits():
    assert identity(serial=0xABC).serial == "0ABC"
    assert identity(serial=2**158 + 1).serial == f"{2**158 + 1:040X}"


def test_fingerprint_and_der_belong_together():
    alice = ROOT.issue()
    found = identity_of(alice.certificate, (ROOT.der,), frozenset({"00"}))
    assert found.der == alice.der
    assert found.fingerprint == fingerprint(alice.der)
    assert len(found.fingerprint) == 64
    assert (found.chain_der, found.path_fingerprints) == ((ROOT.der,), {"00"})


@pytest.mark.parametrize(
    "value",
    [
        b"\x16\x06a@corp",  # IA5String
        b"\x04\x06a@corp",
        b"\x0c\x05a@corp",
        b"\x0c\x07a@corp",
        b"\x0c\x81\x05a@cor"[:8],
        b"\x0c\x80a@co\x00\x00",
        b"\x0c\x84\xff\xff\xff\xffa@",
        b"\x0c\x06a@co\xff\xfe",
        b"\x0c\x06a@co\xc0\x80",
    ],
)
def test_user_principal_names_are_decoded_strictly(value):
    with pytest.raises(IdentityError):
        patched(ROOT.issue(upn_name="a@corp"), b"\x0c\x06a@corp", value)


def test_long_user_principal_names():
    text = "a" * 120 + "@example.com"
    assert identity(extensions=names(x509.OtherName(UPN_OID, b"\x0c\x81\x84" + text.encode()))).upns == (text,)
    assert utf8("a@b") == b"\x0c\x03a@b"


def test_bit_strings_in_names_are_written_in_hex():
    attribute = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x01\x02", _type=_ASN1Type.BitString)
    assert identity(x509.Name([attribute])).rdns == (("2.5.4.45", "#0102"),)


def test_the_greatest_number_of_names_and_one_more():
    many = [x509.DNSName(f"{number}.example") for number in range(MAX_NAMES)]
    assert len(identity(extensions=names(*many[:-1])).dns_names) == MAX_NAMES - 1
    assert str(MAX_NAMES) in refused(extensions=names(*many))


@pytest.mark.parametrize("count", [MAX_NAMES - 1, MAX_NAMES])
def test_short_names_are_counted_too(count):
    empty = (
        x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, element(SEQUENCE, b"\x82\0" * count)),
        False,
    )
    if count < MAX_NAMES:
        assert identity(extensions=[empty]).common_name
    else:
        assert str(MAX_NAMES) in refused(extensions=[empty])


def test_each_attribute_of_a_directory_name_counts():
    attributes = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")] * 63)
    directories = [x509.DirectoryName(attributes)] * 4
    assert identity(extensions=names(*directories[:-1])).common_name
    assert str(MAX_NAMES) in refused(extensions=names(*directories))


def test_the_largest_certificate_and_one_byte_more():
    def padded(size):
        return ROOT.issue(
            serial=2**150,
            key=rsa_key(),
            extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(size)), False)],
        )

    # An ECDSA signature's length varies by a few bytes, so the right padding is found by trying.
    sizes = {len(leaf.der): leaf for leaf in (padded(MAX_CERTIFICATE_BYTES - 540 + at) for at in range(-20, 20))}
    over = min(size for size in sizes if size > MAX_CERTIFICATE_BYTES)
    under = max(size for size in sizes if size <= MAX_CERTIFICATE_BYTES)
    assert load_certificate(sizes[under].der)
    with pytest.raises(IdentityError, match=str(over)):
        load_certificate(sizes[over].der)


def test_a_repeated_extension_is_refused():
    one = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    two = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\x00")
    leaf = ROOT.issue(extensions=[(one, False), (two, False)], key=ec_key())
    with pytest.raises(IdentityError):
        patched(leaf, b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04")


@pytest.mark.parametrize("der", [b"", b"0", b"\x30\x80\x00\x00", b"\x30\x00" * 10])
def test_what_is_no_certificate(der):
    with pytest.raises(IdentityError, match="not readable DER"):
        load_certificate(der)


def test_trailing_bytes_are_refused():
    with pytest.raises(IdentityError):
        load_certificate(ROOT.issue().der + b"\x00")
