"""PEM files are read whole or not at all: cut anywhere, or with blocks that the parser passes in silence."""

import pytest
from support.pki import Ca

from gateway.errors import ConfigError
from gateway.x509 import loading, pem
from gateway.x509.revocation_list import parse_lists

A, B = Ca.make("CN=A"), Ca.make("CN=B")
ONE, TWO = A.pem, B.pem
BUNDLE = ONE + TWO
LISTS = A.crl() + B.crl()
TRUSTED = TWO.replace(b" CERTIFICATE-", b" TRUSTED CERTIFICATE-")


def lists_of_url(path):
    return parse_lists(path.read_bytes(), str(path))


def whole_at(offset, first, whole):
    """How many blocks a cut at this offset leaves; 0 where it leaves a part of one."""
    if offset in (first - 1, first):  # the last line's end is no loss
        return 1
    return 2 if offset >= whole - 1 else 0


@pytest.mark.parametrize(
    ("load", "data"),
    [
        (loading.load_certificates, BUNDLE),
        (loading.load_revocation_lists, LISTS),
        (lists_of_url, LISTS),
    ],
)
def test_a_cut_file_is_refused_unless_it_was_cut_between_blocks(tmp_path, load, data):
    first = data.index(b"-----BEGIN", 1)
    path = tmp_path / "bundle.pem"
    for offset in range(1, len(data) + 1):
        path.write_bytes(data[:offset])
        if expected := whole_at(offset, first, len(data)):
            assert len(load(path)) == expected, offset
        else:
            with pytest.raises(ConfigError):
                load(path)


def test_a_file_without_its_beginning_is_refused(tmp_path):
    path = tmp_path / "bundle.pem"
    for offset in range(1, len(ONE) - len("-----\n")):  # dashes alone may be a comment
        path.write_bytes(BUNDLE[offset:])
        with pytest.raises(ConfigError):
            loading.load_certificates(path)


def test_a_trusted_certificate_is_named_with_its_line_and_remedy(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(ONE + TRUSTED)
    with pytest.raises(ConfigError) as raised:
        loading.load_certificates(path)
    line = ONE.count(b"\n") + 1
    assert raised.value.cause == f"{path}: line {line}: a TRUSTED CERTIFICATE block, which is not supported"
    assert raised.value.remedy.endswith(f"openssl x509 -in {path} -out {path}.pem")


def test_what_may_stand_beside_certificates_still_may(tmp_path):
    path = tmp_path / "all.pem"
    old_label = TWO.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")
    request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    text = (
        b"\xef\xbb\xbf"
        + A.key_pem("secret")
        + b"# A - one\n-----\n"
        + ONE
        + request
        + old_label
        + A.crl()
        + A.key_pem()
    )
    for data in (text, text.replace(b"\n", b"\r\n"), text.replace(b"\n", b" \n")):
        path.write_bytes(data)
        assert loading.load_certificates(path) == (A.certificate, B.certificate)


CUT = "a header or footer that is cut off, or has other text on its line"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            b"-----BEGIN A-----\n-----BEGIN B-----\n-----END B-----\n",
            "line 1: the A block that begins here has no END A",
        ),
        (b"-----BEGIN A-----\n-----END B-----\n", "line 1: the A block that begins here has no END A"),
        (b"x\n-----END A-----\n", "line 2: an END A without its BEGIN"),
        (b"-----BEGIN A-----\n-----END A----\n", f"line 2: {CUT}"),
        (b"-----BEGIN A-----\n--\n-----END A-----", f"line 2: {CUT}"),
        (b"-----BEG\n", f"line 1: {CUT}"),
        (b"x-----BEGIN A-----", f"line 1: {CUT}"),
        (b"text\n---", "line 2: a header that is cut off"),
        (b"-----BEGIN PKCS7-----\n-----END PKCS7-----", "line 1: a PKCS7 block, which is not supported"),
        (
            b"-----BEGIN certificate-----\n-----END certificate-----",
            "line 1: a certificate block, which is not supported",
        ),
    ],
)
def test_each_fault_has_its_line_and_cause(text, cause):
    with pytest.raises(pem.PemError) as raised:
        pem.certificate_blocks(text)
    assert raised.value.cause == cause
    assert raised.value.remedy


def test_lists_of_another_label_are_not_passed():
    with pytest.raises(ConfigError, match="line 1: a CRL block, which is not supported"):
        parse_lists(A.crl().replace(b"X509 CRL", b"CRL") + B.crl(), "x.crl")
    assert len(parse_lists(ONE + B.crl(), "x.crl")) == 1
