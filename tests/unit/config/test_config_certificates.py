"""Certificates, keys and lists as admins make them, with openssl's own commands, and as they go wrong."""

import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from support.config_files import BASE, NOW, YEAR, Maker, name
from support.pki import Ca, of_version_six

from gateway.config.certificates import (
    descends,
    is_authority,
    is_weakly_signed,
    name_of,
    uncovered_hosts,
    weakness_of_key,
)
from gateway.config.files import (
    FILE_BYTES,
    fingerprint_of,
    is_readable_by_all,
    load_certificates,
    load_private_key,
    load_revocation_lists,
    read_file,
)
from gateway.config.load import load, load_with_warnings
from gateway.errors import ConfigError


def openssl(folder, *commands):
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """The usual commands of a mail admin: encrypted keys, a v3 root, X.509v1 leaves, and a v1 root of old."""
    folder = tmp_path_factory.mktemp("by-hand")
    openssl(
        folder,
        "genrsa -aes256 -passout pass:root -out rootCA.key 2048",
        "req -x509 -new -key rootCA.key -passin pass:root -days 2048 -subj /CN=root -out rootCA.pem",
        "genrsa -aes256 -traditional -passout pass:mail -out mail.key 2048",
        "req -new -key mail.key -passin pass:mail -subj /CN=mail.example.com -out mail.csr",
        "x509 -req -in mail.csr -CA rootCA.pem -CAkey rootCA.key -passin pass:root -CAcreateserial -days 500 "
        "-out mail.crt",
        "ecparam -name prime256v1 -genkey -out old.key",
        "req -new -key old.key -subj /CN=old -out old.csr",
        "x509 -req -in old.csr -signkey old.key -days 500 -out old.pem",
        "x509 -in rootCA.pem -outform DER -out rootCA.der",
    )
    return folder


def test_what_admins_make_by_hand_is_taken(by_hand, monkeypatch):
    monkeypatch.chdir(by_hand)
    text = BASE.replace("[ca.pem]", "[rootCA.pem, old.pem]\n    key_password: ${PASSWORD}")
    (by_hand / "config.yaml").write_text(text, encoding="utf-8")
    loaded = load_with_warnings(by_hand / "config.yaml", environ={"PASSWORD": "mail"})
    assert loaded.config.sites[0].key_password == "mail"
    assert [warning.cause for warning in loaded.warnings] == [
        "the certificate's subjectAltName does not name 'mail.example.com'"
    ]
    leaf, old = (load_certificates(by_hand / name)[0] for name in ("mail.crt", "old.pem"))
    assert {leaf.version, old.version} == {x509.Version.v1}
    assert (is_authority(leaf), is_authority(old)) == (False, True)


def test_keys_in_the_ways_openssl_writes_them(by_hand):
    assert isinstance(load_private_key(by_hand / "rootCA.key", "root"), rsa.RSAPrivateKey)
    assert isinstance(load_private_key(by_hand / "mail.key", "mail"), rsa.RSAPrivateKey)
    # EC PARAMETERS stand before the key; a password that isn't needed does no harm.
    assert isinstance(load_private_key(by_hand / "old.key", "unneeded"), ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize(
    ("file", "password"), [("rootCA.key", None), ("rootCA.key", ""), ("rootCA.key", "x"), ("mail.key", "x")]
)
def test_a_wrong_password_is_an_error(by_hand, file, password):
    with pytest.raises(ConfigError, match=r"encrypted|decrypted"):
        load_private_key(by_hand / file, password)


def test_a_certificate_of_no_known_version_is_a_broken_one(tmp_path):
    (tmp_path / "six.pem").write_bytes(of_version_six(Ca.make().certificate))
    with pytest.raises(ConfigError, match=r"six.pem holds a broken certificate"):
        load_certificates(tmp_path / "six.pem")


def test_a_file_one_byte_above_the_bound_is_refused(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"x")
        file.truncate(FILE_BYTES)
    assert len(read_file(path)) == FILE_BYTES
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match="is larger than"):
        read_file(path)


def test_a_name_with_a_nul_and_a_file_without_permission_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: no file name"):
        read_file(tmp_path / "a\0b")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        read_file(tmp_path / "file" / "x")


def test_a_key_that_is_gone_is_not_called_readable(tmp_path):
    assert not is_readable_by_all(tmp_path / "nowhere")


def test_lists_in_pem_der_and_several_in_a_file(folder):
    counts = [len(load_revocation_lists(folder / name)) for name in ("ca.crl", "ca-der.crl", "both.crl")]
    assert counts == [1, 1, 2]


def certificate(key, *, signer=None, issuer="a", **kwargs):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("a"))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - YEAR)
        .not_valid_after(NOW + YEAR)
    )
    for extension in kwargs.get("extensions", ()):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer or ec.generate_private_key(ec.SECP256R1()), kwargs.get("hash", hashes.SHA256()))


@pytest.mark.parametrize(
    ("make", "weakness"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), None),
        (lambda: ec.generate_private_key(ec.SECP384R1()), None),
        (ed25519.Ed25519PrivateKey.generate, None),
        (lambda: ec.generate_private_key(ec.SECP224R1()), "a key on the curve secp224r1"),
        (lambda: rsa.generate_private_key(65537, 2047), "an RSA key of 2047 bits"),  # noqa: S505
        (x25519.X25519PrivateKey.generate, "a key of a kind that TLS does not use"),
        (lambda: dsa.generate_private_key(2048), "a key of a kind that TLS does not use"),
    ],
)
def test_keys_that_tls_refuses(make, weakness):
    assert weakness_of_key(certificate(make())) == weakness


def test_a_key_that_cannot_be_read_is_a_weakness():
    der = certificate(ec.generate_private_key(ec.SECP256R1())).public_bytes(serialization.Encoding.DER)
    oid = bytes.fromhex("06082a8648ce3d030107")  # prime256v1, made into a curve that nobody knows
    broken = x509.load_der_x509_certificate(der.replace(oid, bytes.fromhex("06082a8648ce3d03017f")))
    assert weakness_of_key(broken) == "a key that cannot be read"


def test_only_a_weak_signature_that_somebody_checks_counts(by_hand):
    folder = by_hand
    openssl(
        folder,
        "x509 -req -sha1 -in mail.csr -CA rootCA.pem -CAkey rootCA.key -passin pass:root -set_serial 7 -days 9 "
        "-out sha1.crt",
        "x509 -req -sha1 -in old.csr -signkey old.key -days 9 -out sha1root.pem",
    )
    leaf, root = (load_certificates(folder / file)[0] for file in ("sha1.crt", "sha1root.pem"))
    assert (is_weakly_signed(leaf), is_weakly_signed(root)) == (True, False)
    text = BASE.replace("mail.crt", "sha1.crt").replace("[ca.pem]", "[rootCA.pem]\n    key_password: mail")
    (folder / "sha1.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="the certificate has a SHA-1, MD5 or unknown signature"):
        load(folder / "sha1.yaml", environ={})


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
    assert is_authority(certificate(key, extensions=[yes]))
    assert is_authority(certificate(key, extensions=[yes, sign]))
    assert not is_authority(certificate(key))


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


def test_an_unknown_signature_algorithm_is_weak():
    der = certificate(ec.generate_private_key(ec.SECP256R1()), issuer="b").public_bytes(serialization.Encoding.DER)
    oid = bytes.fromhex("06082a8648ce3d040302")  # ecdsa-with-SHA256, made into one that nobody knows
    assert is_weakly_signed(x509.load_der_x509_certificate(der.replace(oid, bytes.fromhex("06082a8648ce3d04037f"))))
