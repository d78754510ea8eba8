"""Files of CAs, keys and revocation lists: what is taken, and what is a configuration error."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from support.pki import (
    NOW,
    Ca,
    build,
    build_crl,
    ca_extensions,
    ec_key,
    of_version_six,
    openssl,
    openssl_leaf,
    openssl_root,
)

from gateway.config.model import Site
from gateway.errors import ConfigError
from gateway.tls.trust import is_ca, load_anchors, load_trust
from gateway.x509 import loading
from gateway.x509.loading import load_certificates, load_private_key, read
from gateway.x509.paths import PathError, Paths

ROOT = Ca.make()


def site(tmp_path, **options):
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    return Site(
        ("a.example",), tmp_path / "s.crt", tmp_path / "s.key", "m", client_ca=(tmp_path / "ca.pem",), **options
    )


def test_a_missing_empty_or_unreadable_file_is_an_error_never_an_empty_list(tmp_path):
    (tmp_path / "empty.pem").write_bytes(b" \n")
    (tmp_path / "folder.pem").mkdir()
    for name in ("missing.pem", "empty.pem", "folder.pem"):
        with pytest.raises(ConfigError, match=f"{name}: ") as caught:
            load_anchors([tmp_path / name])
        assert caught.value.remedy


def test_the_largest_file_and_one_byte_more(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "MAX_FILE_BYTES", 10)
    (tmp_path / "x").write_bytes(b"x" * 10)
    assert read(tmp_path / "x") == b"x" * 10
    (tmp_path / "x").write_bytes(b"x" * 11)
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        read(tmp_path / "x")


@pytest.mark.parametrize("data", [b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_an_error(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ConfigError, match="not a readable certificate"):
        load_certificates(tmp_path / "x")


def test_a_key_where_a_certificate_belongs_is_an_error(tmp_path):
    (tmp_path / "x").write_bytes(ROOT.key_pem())
    with pytest.raises(ConfigError, match="not a readable certificate"):
        load_certificates(tmp_path / "x")


def test_a_pkcs12_file_is_named_with_the_way_out_of_it(tmp_path):
    leaf = ROOT.issue("CN=alice")
    data = serialize_key_and_certificates(b"alice", leaf.key, leaf.certificate, [ROOT.certificate], NoEncryption())
    (tmp_path / "alice.p12").write_bytes(data)
    with pytest.raises(ConfigError) as error:
        load_certificates(tmp_path / "alice.p12")
    assert error.value.remedy.endswith("openssl pkcs12 -in alice.p12 -clcerts -nokeys -out alice.p12.pem")


def test_der_and_bundles_of_cas_each_once(tmp_path):
    other = Ca.make("CN=Other")
    (tmp_path / "bundle.pem").write_bytes(b"# ours\n" + ROOT.pem + other.pem + ROOT.pem)
    (tmp_path / "root.der").write_bytes(ROOT.der)
    anchors = load_anchors([tmp_path / "bundle.pem", tmp_path / "root.der"])
    assert anchors == (ROOT.certificate, other.certificate)


def test_only_ca_certificates_are_anchors(tmp_path):
    root = openssl_root(tmp_path)
    leaf, _key = openssl_leaf(tmp_path)
    ROOT.issue().write(tmp_path, "v3")
    (tmp_path / "both.pem").write_bytes(root.read_bytes() + leaf.read_bytes())
    assert is_ca(load_certificates(root)[0])
    for name in ("alice.crt", "v3.crt", "both.pem"):
        with pytest.raises(ConfigError, match="is no CA certificate"):
            load_anchors([tmp_path / name])


def test_encrypted_keys_and_passwords(tmp_path):
    path = tmp_path / "key.pem"
    leaf = ROOT.issue()
    path.write_bytes(leaf.key_pem("secret"))
    assert load_private_key(path, "secret").public_key() == leaf.key.public_key()
    for password, cause in ((None, "is encrypted"), ("", "is encrypted"), ("wrong", "not a readable private key")):
        with pytest.raises(ConfigError, match=cause) as caught:
            load_private_key(path, password)
        assert "key_password" in caught.value.remedy
    path.write_bytes(leaf.key_pem())
    assert load_private_key(path, "needless").public_key() == leaf.key.public_key()


def test_a_key_encrypted_with_des3_as_genrsa_writes_it(tmp_path):
    openssl("genrsa", "-des3", "-traditional", "-passout", "pass:secret", "-out", "k", "2048", cwd=tmp_path)
    assert b"DES-EDE3-CBC" in (tmp_path / "k").read_bytes()
    assert load_private_key(tmp_path / "k", "secret").key_size == 2048


def test_what_is_no_server_key_is_an_error(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="not a readable private key"):
        load_private_key(path, None)
    path.write_bytes(
        dsa.generate_private_key(2048).private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(ConfigError, match="not an RSA, EC or Ed25519 key"):
        load_private_key(path, None)


def test_a_site_without_lists_has_no_revocation_check(tmp_path):
    assert load_trust(site(tmp_path)).revocation is None


def test_lists_from_files_and_from_urls(tmp_path):
    (tmp_path / "ca.crl").write_bytes(ROOT.crl())
    url = "http://pki.example/ca.crl"
    both = site(tmp_path, crl=(str(tmp_path / "ca.crl"), url))

    trust = load_trust(both, {url: ROOT.crl(number=2)})
    assert [entry.source for entry in trust.revocation.lists] == [str(tmp_path / "ca.crl"), url]
    assert trust.problems == ()

    waiting = load_trust(both)
    assert waiting.problems == (f"{url}: the revocation list has not been fetched yet",)
    assert waiting.warnings(NOW) == waiting.problems


def test_a_bad_file_stops_the_start_and_a_bad_download_does_not(tmp_path):
    forged = build_crl(ROOT, [], key=ec_key()).public_bytes(Encoding.PEM)
    (tmp_path / "bad.crl").write_bytes(forged)
    with pytest.raises(ConfigError, match="whose key did not sign it"):
        load_trust(site(tmp_path, crl=(str(tmp_path / "bad.crl"),)))
    url = "https://pki.example/ca.crl"
    for data in (forged, b"<html>"):
        trust = load_trust(site(tmp_path, crl=(url,)), {url: data})
        assert trust.revocation.lists == ()
        assert trust.problems[0].startswith(f"{url}: ")


def test_a_list_of_an_intermediate_is_kept_for_later(tmp_path):
    middle = ROOT.issue_ca("CN=Middle")
    (tmp_path / "middle.crl").write_bytes(middle.crl())
    trust = load_trust(site(tmp_path, crl=(str(tmp_path / "middle.crl"),)))
    (group,) = trust.revocation.of_ca(middle.certificate)
    assert group.complete == trust.revocation.lists


def test_a_leaf_that_openssl_cannot_read_has_no_path():
    with pytest.raises(PathError, match="OpenSSL cannot read"):
        Paths([ROOT.certificate]).find(b"rubbish", [], NOW)


def test_an_authority_of_a_version_or_with_names_that_nobody_knows(tmp_path):
    (tmp_path / "six.pem").write_bytes(of_version_six(Ca.make().certificate))
    with pytest.raises(ConfigError, match=r"six.pem: not a readable certificate"):
        load_anchors([tmp_path / "six.pem"])
    names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), bytes.fromhex("3006a0043002a300"))
    key = ec_key()
    broken = build("CN=x", key.public_key(), "CN=x", key, extensions=[*ca_extensions(), (names, True)])
    assert not is_ca(broken)
