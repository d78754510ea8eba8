"""CAs of one name, told in words."""

from support.pki import Ca, ec_key

from gateway.x509.same_names import cas_of_one_name


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


def test_a_key_that_cannot_be_read_is_another_one():
    class Odd:
        def __init__(self, ca):
            self._ca = ca

        def __getattr__(self, name):
            return getattr(self._ca.certificate, name)

        def public_key(self):
            raise ValueError("no such curve")

        def public_bytes(self, encoding):
            return self._ca.certificate.public_bytes(encoding)

    found = list(cas_of_one_name([Ca.make("CN=One").certificate, Odd(Ca.make("CN=One"))]))
    assert "different keys" in found[0]
