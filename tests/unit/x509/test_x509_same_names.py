"""CAs of one name, told in words."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support.pki import Ca, ec_key

from gateway.x509 import same_names
from gateway.x509.same_names import cas_of_one_name, too_many_of_one_name


def lines(*cas):
    return list(cas_of_one_name(ca.certificate for ca in cas))


def test_each_name_that_several_have():
    key = ec_key()
    renewed = [Ca.make("CN=Renewed", key=key) for _ in range(3)]
    new_key = [Ca.make("CN=New"), Ca.make("CN=NEW")]
    found = lines(*renewed, Ca.make("CN=Other"), *new_key)
    assert len(found) == 2
    assert found[0].startswith("3 CAs are named 'CN=Renewed' and have the same key: ")
    assert found[1].startswith("2 CAs are named 'CN=New' and have different keys: ")


def test_one_that_is_listed_twice_is_one():
    ca = Ca.make("CN=One")
    assert lines(ca, ca) == []


class Odd:
    """A CA's certificate whose key can't be read."""

    def __init__(self, ca):
        self._ca = ca

    def __getattr__(self, name):
        return getattr(self._ca.certificate, name)

    def public_key(self):
        raise ValueError("no such curve")

    def public_bytes(self, encoding):
        return self._ca.certificate.public_bytes(encoding)


def test_a_key_that_cannot_be_read_is_another_one():
    found = list(cas_of_one_name([Ca.make("CN=One").certificate, Odd(Ca.make("CN=One"))]))
    assert "different keys" in found[0]


@pytest.mark.parametrize(("curve", "most"), [(ec.SECP256R1(), 43), (ec.SECP384R1(), 7)])
def test_as_many_cas_of_one_name_as_can_all_issue_and_one_more(curve, most):
    cas = [Ca.make("CN=One", key=ec_key(curve)).certificate for _ in range(most + 1)]
    others = [Ca.make("CN=Other", key=ec_key(curve)).certificate for _ in range(2)]
    assert list(too_many_of_one_name([*cas[:most], *others])) == []
    (line,) = too_many_of_one_name([*cas, *others])
    assert line == (
        f"{most + 1} CAs are named 'CN=One', and at most 42 wrong signatures are checked for one certificate (6 with"
        " P-384 keys): certificates of some are refused; remove CAs that are no longer used from client_ca"
    )


def test_a_key_that_cannot_be_read_costs_nothing(monkeypatch):
    monkeypatch.setattr(same_names, "MAX_FAILED_UNITS", 0)
    assert list(too_many_of_one_name([Ca.make("CN=One").certificate, Odd(Ca.make("CN=One"))])) != []
    assert list(too_many_of_one_name([Odd(Ca.make("CN=One")), Odd(Ca.make("CN=One"))])) == []
