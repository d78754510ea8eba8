"""Public CAs among a site's trust anchors, and certificates of public CAs without their intermediate."""

import pytest
from cryptography import x509
from support.pki import Ca, ca_extensions

from gateway.x509.public_cas import MAX_ORGANIZATIONS, is_public, lacks_intermediate, strangers
from gateway.x509.public_roots import DIGEST_CHARACTERS, PUBLIC_ROOTS

NAME_YOURS = "name only the CA that issues your users' certificates"
ROOT = Ca.make("CN=Root,O=Example")


# Let's Encrypt's; like other roots it has no policies.
ISRG_ROOT_X2 = b"""\
-----BEGIN CERTIFICATE-----
MIICGzCCAaGgAwIBAgIQQdKd0XLq7qeAwSxs6S+HUjAKBggqhkjOPQQDAzBPMQsw
CQYDVQQGEwJVUzEpMCcGA1UEChMgSW50ZXJuZXQgU2VjdXJpdHkgUmVzZWFyY2gg
R3JvdXAxFTATBgNVBAMTDElTUkcgUm9vdCBYMjAeFw0yMDA5MDQwMDAwMDBaFw00
MDA5MTcxNjAwMDBaME8xCzAJBgNVBAYTAlVTMSkwJwYDVQQKEyBJbnRlcm5ldCBT
ZWN1cml0eSBSZXNlYXJjaCBHcm91cDEVMBMGA1UEAxMMSVNSRyBSb290IFgyMHYw
EAYHKoZIzj0CAQYFK4EEACIDYgAEzZvVn4CDCuwJSvMWSj5cz3es3mcFDR0HttwW
+1qLFNvicWDEukWVEYmO6gbf9yoWHKS5xcUy4APgHoIYOIvXRdgKam7mAHf7AlF9
ItgKbppbd9/w+kHsOdx1ymgHDB/qo0IwQDAOBgNVHQ8BAf8EBAMCAQYwDwYDVR0T
AQH/BAUwAwEB/zAdBgNVHQ4EFgQUfEKWrt5LSDv6kviejM9ti6lyN5UwCgYIKoZI
zj0EAwMDaAAwZQIwe3lORlCEwkSHRhtFcP9Ymd70/aTSVaYgLXTWNLxBo1BfASdW
tL4ndQavEi51mI38AjEAi/V3bNTIZargCyzuFJ0nN6T5U6VR5CmD1/iQMVtCnwr1
/q4AaOeMSQ+2b1tbFfLn
-----END CERTIFICATE-----
"""


def policies(*oids):
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids])


PUBLIC = ROOT.issue_ca("CN=R1,O=Everybody", extensions=[*ca_extensions(0), (policies("2.23.140.1.2.1"), False)])
PRIVATE = ROOT.issue_ca("CN=Sub,O=Example", extensions=[*ca_extensions(0), (policies("1.3.6.1.4.1.1.1"), False)])


@pytest.mark.parametrize(("ca", "expected"), [(PUBLIC, True), (PRIVATE, False), (ROOT, False)])
def test_public_cas_are_known_by_their_policies(ca, expected):
    assert is_public(ca.certificate) is expected


def test_a_public_root_alone_is_known_by_its_key():
    root = x509.load_pem_x509_certificate(ISRG_ROOT_X2)
    name = "CN=ISRG Root X2,O=Internet Security Research Group,C=US"
    cause = f"'{name}' is a public CA, and anybody can get a certificate from it"
    assert strangers([root], None) == (cause, NAME_YOURS)
    assert all(len(word) == DIGEST_CHARACTERS for word in PUBLIC_ROOTS)
    assert len(PUBLIC_ROOTS) > 100


def test_an_extension_that_cannot_be_read_is_not_that_of_a_public_ca():
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), b"\x30\x05")
    ca = ROOT.issue_ca("CN=Broken", extensions=[*ca_extensions(0), (broken, False)])
    assert not is_public(ca.certificate)


def test_a_public_ca_lets_strangers_in():
    assert strangers([ROOT.certificate, PUBLIC.certificate], None) == (
        "'CN=R1,O=Everybody' is a public CA, and anybody can get a certificate from it",
        NAME_YOURS,
    )
    assert strangers([ROOT.certificate, PRIVATE.certificate], None) is None


def test_a_bundle_of_public_cas_is_known_by_its_organizations():
    few = [Ca.make(f"CN=Root,O=Company {number}").certificate for number in range(MAX_ORGANIZATIONS)]
    assert strangers([*few, *few], None) is None
    one_more = Ca.make("CN=No organization").certificate
    assert strangers([*few, few[0], one_more], None) == (
        "12 CAs of 11 organizations are a bundle of public CAs: anybody can get a certificate from one of them",
        NAME_YOURS,
    )


def test_the_sites_own_certificate_is_not_the_ca_of_its_users():
    cause = "client_ca names the site's own certificate, not the CA of its users"
    assert strangers([ROOT.certificate], ROOT.certificate) == (cause, NAME_YOURS)
    assert strangers([ROOT.certificate], PRIVATE.certificate) is None
    leaf = ROOT.issue("CN=mail.example.com").certificate
    assert strangers([leaf], leaf) is None  # it is not a CA's, which is an error


def test_a_certificate_of_a_public_ca_needs_the_intermediate():
    extensions = [(policies("2.23.140.1.2.2"), False)]
    leaf = PUBLIC.issue("CN=mail.example.com", extensions=extensions).certificate
    assert lacks_intermediate([leaf])
    assert not lacks_intermediate([leaf, PUBLIC.certificate])
    assert not lacks_intermediate([PRIVATE.issue("CN=mail.example.com").certificate])
    self_signed = Ca.make("CN=mail.example.com", extensions=extensions).certificate
    assert not lacks_intermediate([self_signed])
