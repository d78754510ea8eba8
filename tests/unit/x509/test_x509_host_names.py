"""The hosts for which a server's certificate is accepted."""

from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from support.certificates_by_hand import certificate

from gateway.x509.host_names import uncovered_hosts


@pytest.mark.parametrize(
    ("sans", "uncovered"),
    [
        ([x509.DNSName("MAIL.example.com")], ("x.mail.example.com", "*.mail.example.com", "192.0.2.1")),
        ([x509.DNSName("*.mail.example.com")], ("mail.example.com", "192.0.2.1")),
        ([x509.IPAddress(ip_address("192.0.2.1"))], ("mail.example.com", "x.mail.example.com", "*.mail.example.com")),
    ],
)
def test_hosts_that_a_certificate_does_not_name(sans, uncovered):
    found = certificate(ec.generate_private_key(ec.SECP256R1()), extensions=[x509.SubjectAlternativeName(sans)])
    hosts = ("mail.example.com", "x.mail.example.com", "*.mail.example.com", "*", "192.0.2.1")
    assert set(uncovered_hosts(found, hosts)) == set(uncovered)
