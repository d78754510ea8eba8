"""What can't be read is told in words."""

import pytest
from cryptography import x509

from gateway.x509.unreadable import UNREADABLE, in_words


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"0\x82\x10", "it can't be read as DER"),
        (b"", "it can't be read as DER"),
        (b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n", "it can't be read as DER"),
        (b"-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n", "its PEM text is broken"),
    ],
)
def test_a_parsers_notation_is_no_message(data, told):
    load = x509.load_pem_x509_crl if data.startswith(b"-----") else x509.load_der_x509_crl
    with pytest.raises(UNREADABLE) as raised:
        load(data)
    assert in_words(raised.value) == told


def test_words_stay():
    assert in_words(x509.InvalidVersion("8 is not a valid CRL version", 8)) == "8 is not a valid CRL version"
