"""What certificates say of themselves as CAs, and what comes from them."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from support.certificates_by_hand import certificate

from gateway.x509.authorities import descends, is_ca, is_constrained, path_length
from gateway.x509.names import fingerprint_of


def test_descent_is_by_signature_and_not_by_name():
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate(key, signer=key)
    child, forged = certificate(other, signer=key), certificate(other, signer=other)
    assert descends(authority, (authority,))
    assert descends(child, (authority,))
    assert not descends(forged, (authority,))
    assert not descends(certificate(other, signer=key, issuer="b"), (authority,))
    assert fingerprint_of(child) != fingerprint_of(forged)


def test_an_authority_says_so():
    key = ec.generate_private_key(ec.SECP256R1())
    yes = x509.BasicConstraints(ca=True, path_length=None)
    sign = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    assert is_ca(certificate(key, extensions=[yes]))
    assert is_ca(certificate(key, extensions=[yes, sign]))
    assert not is_ca(certificate(key))


def test_a_certificate_that_may_sign_none_is_no_authority():
    key = ec.generate_private_key(ec.SECP256R1())
    yes = x509.BasicConstraints(ca=True, path_length=None)
    no_sign = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    assert not is_ca(certificate(key, extensions=[yes, no_sign]))


def test_constraints_that_cannot_be_read_are_what_the_caller_takes_them_for():
    key = ec.generate_private_key(ec.SECP256R1())
    constraints = x509.NameConstraints([x509.DNSName("example.com")], None)
    broken = x509.UnrecognizedExtension(x509.NameConstraints.oid, bytes.fromhex("3006a0043002a300"))
    for extensions, default, strict in (([], False, False), ([constraints], True, True), ([broken], False, True)):
        found = certificate(key, extensions=extensions)
        assert is_constrained(found) is default
        assert is_constrained(found, if_unreadable=True) is strict


def test_how_many_cas_may_be_below():
    key = ec.generate_private_key(ec.SECP256R1())
    for allowed in (None, 0, 3):
        constraints = x509.BasicConstraints(ca=True, path_length=allowed)
        assert path_length(certificate(key, extensions=[constraints])) == allowed
    assert path_length(certificate(key)) is None
