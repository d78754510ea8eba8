"""Certificates, keys and lists as admins make them, with openssl's own commands, and as they go wrong."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from support.certificates_by_hand import by_hand as make_by_hand
from support.certificates_by_hand import certificate, openssl
from support.config_files import BASE, Maker

from gateway.config.certificates import name_of
from gateway.config.load import load, load_with_warnings
from gateway.errors import ConfigError
from gateway.x509.authorities import descends, is_ca
from gateway.x509.keys import fits
from gateway.x509.loading import load_certificates
from gateway.x509.strength import weakness_of_signature


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return make_by_hand(tmp_path_factory.mktemp("by-hand"))


def test_what_admins_make_by_hand_is_taken(by_hand, monkeypatch):
    monkeypatch.chdir(by_hand)
    text = BASE.replace("[ca.pem]", "[rootCA.pem, old.pem]\n    key_password: ${PASSWORD}")
    (by_hand / "config.yaml").write_text(text, encoding="utf-8")
    loaded = load_with_warnings(by_hand / "config.yaml", environ={"PASSWORD": "mail"})
    assert fits(loaded.config.sites[0].key.key, loaded.config.sites[0].certificate.certificates[0])
    assert [warning.cause for warning in loaded.warnings] == [
        "the certificate's subjectAltName does not contain 'mail.example.com', so browsers will warn"
    ]
    leaf, old = (load_certificates(by_hand / name)[0] for name in ("mail.crt", "old.pem"))
    assert {leaf.version, old.version} == {x509.Version.v1}
    assert (is_ca(leaf), is_ca(old)) == (False, True)


def test_only_a_weak_signature_that_somebody_checks_counts(by_hand):
    folder = by_hand
    openssl(
        folder,
        "x509 -req -sha1 -in mail.csr -CA rootCA.pem -CAkey rootCA.key -passin pass:root -set_serial 7 -days 9 "
        "-out sha1.crt",
        "x509 -req -sha1 -in old.csr -signkey old.key -days 9 -out sha1root.pem",
    )
    leaf, root = (load_certificates(folder / file)[0] for file in ("sha1.crt", "sha1root.pem"))
    assert (weakness_of_signature(leaf), weakness_of_signature(root)) == ("SHA1, which is too weak",) * 2
    text = BASE.replace("mail.crt", "sha1.crt").replace("[ca.pem]", "[rootCA.pem]\n    key_password: mail")
    (folder / "sha1.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="the certificate is signed with SHA1, which is too weak"):
        load(folder / "sha1.yaml", environ={})


def test_a_certificate_is_named_by_its_subject():
    key = ec.generate_private_key(ec.SECP256R1())
    assert name_of(certificate(key)) == "'CN=a'"


def test_a_list_is_only_judged_by_cas_that_could_sign_it(tmp_path, monkeypatch):
    """A CA with a key that signs no lists is no reason to crash."""
    maker = Maker(tmp_path)
    monkeypatch.chdir(tmp_path)
    maker.save("mail.crt", maker.certificate("mail", issuer="ca", sans=["mail.example.com"]))
    maker.save_key("mail.key", maker.key("mail"))
    key = x25519.X25519PrivateKey.generate()
    yes = x509.BasicConstraints(ca=True, path_length=None)
    maker.save("ca.pem", certificate(key, extensions=[yes]))
    maker.write("ca.crl", maker.crl("a").public_bytes(serialization.Encoding.PEM))
    (tmp_path / "config.yaml").write_text(BASE.replace("[ca.pem]", "[ca.pem]\n    crl: ca.crl"), encoding="utf-8")
    with pytest.raises(ConfigError, match="the list is not signed by the key of 'CN=a'"):
        load(tmp_path / "config.yaml", now=datetime(2026, 6, 1, 13, tzinfo=UTC), environ={})


def test_a_broken_certificate_has_no_key_that_could_fit_or_sign(by_hand):
    key = ec.generate_private_key(ec.SECP256R1())
    der = certificate(key, signer=key).public_bytes(serialization.Encoding.DER)
    oid = bytes.fromhex("06082a8648ce3d030107")
    broken = x509.load_der_x509_certificate(der.replace(oid, bytes.fromhex("06082a8648ce3d03017f")))
    pem = broken.public_bytes(serialization.Encoding.PEM)
    (by_hand / "broken.crt").write_bytes(pem)
    text = BASE.replace("mail.crt", "broken.crt").replace("mail.key", "old.key").replace("[ca.pem]", "[rootCA.pem]")
    (by_hand / "broken.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="the key does not fit"):
        load(by_hand / "broken.yaml", environ={})
    assert not descends(certificate(key), (broken,))
