"""Files of certificates, keys and lists: what is taken, and what is a configuration error."""

import errno
import os
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from support.certificates_by_hand import by_hand as make_by_hand
from support.config_files import fill
from support.pki import Ca, dsa_key, of_version_six

from gateway.errors import ConfigError
from gateway.x509 import loading
from gateway.x509.loading import (
    certificate_in,
    is_readable_by_all,
    load_certificates,
    load_private_key,
    load_revocation_lists,
    read_file,
)

ROOT = Ca.make()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("config")
    fill(path)
    return path


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return make_by_hand(tmp_path_factory.mktemp("by-hand"))


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


def test_a_certificate_that_only_openssl_cannot_read_is_a_broken_one(tmp_path):
    """A name in a UTCTime."""
    der = ROOT.issue("CN=alice").der.replace(b"\x0c\x05alice", b"\x17\x05alice")
    assert x509.load_der_x509_certificate(der).subject.rfc4514_string() == "CN=alice"
    (tmp_path / "ca.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="holds a broken certificate"):
        load_certificates(tmp_path / "ca.pem")


def test_a_file_one_byte_above_the_bound_is_refused(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"x")
        file.truncate(loading.MAX_FILE_BYTES)
    assert len(read_file(path)) == loading.MAX_FILE_BYTES
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match="is larger than"):
        read_file(path)


def test_a_name_with_a_nul_and_a_file_without_permission_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: not a file name"):
        read_file(tmp_path / "a\0b")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        read_file(tmp_path / "file" / "x")


def test_a_closed_file_is_refused_with_the_command_that_opens_it(tmp_path, monkeypatch):
    def closed(path, _limit):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(loading, "read_regular", closed)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied") as raised:
        read_file(tmp_path / "mail.key")
    assert raised.value.remedy.endswith(f" && chmod g+r {tmp_path / 'mail.key'}")


def test_a_key_that_is_gone_is_not_called_readable(tmp_path):
    assert not is_readable_by_all(tmp_path / "nowhere")


def test_lists_in_pem_der_and_several_in_a_file(folder):
    counts = [len(load_revocation_lists(folder / name)) for name in ("ca.crl", "ca-der.crl", "both.crl")]
    assert counts == [1, 1, 2]


def test_what_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path, cause in ((tmp_path / "missing", "does not exist"), (tmp_path / "file" / "x", "Not a directory")):
        with pytest.raises(ConfigError, match=cause):
            read_file(path)


def test_nothing_but_a_regular_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(ROOT.pem)
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == ROOT.pem
    fifo, device = tmp_path / "fifo", Path("/dev/zero")
    for path, cause in ((fifo, "is not a regular file"), (device, "is not a regular file"), (tmp_path, "is a folder")):
        with pytest.raises(ConfigError, match=cause) as raised:
            read_file(path)
        assert raised.value.remedy == "name a file"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b" \n", "is empty"),
        (b"rubbish", "holds no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a broken certificate"),
        (b"\x30\x03\x02\x01\x05", "is not PEM, and not readable in DER either"),
        (ROOT.key_pem(), "holds a private key and no certificate"),
    ],
)
def test_what_is_no_certificate_is_an_error(tmp_path, data, cause):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ConfigError, match=cause):
        load_certificates(tmp_path / "x", takes_der=True)


def test_der_is_taken_where_the_caller_says_so(tmp_path):
    (tmp_path / "x").write_bytes(ROOT.der)
    assert load_certificates(tmp_path / "x", takes_der=True) == (ROOT.certificate,)
    with pytest.raises(ConfigError, match="is not PEM") as raised:
        load_certificates(tmp_path / "x")
    command = f"openssl x509 -inform DER -in {tmp_path}/x -out {tmp_path}/x.pem"
    assert raised.value.remedy == f"convert it and name {tmp_path}/x.pem: {command}"


def test_a_stored_certificate_is_read_whole():
    assert certificate_in(ROOT.der) == ROOT.certificate
    with pytest.raises(ConfigError, match="a stored certificate is broken") as raised:
        certificate_in(PEM_cert_to_DER_cert(of_version_six(ROOT.certificate).decode()))
    assert raised.value.remedy


@pytest.mark.parametrize("takes_der", [True, False])
def test_a_pkcs12_file_is_named_with_the_way_out_of_it(tmp_path, takes_der):
    leaf = ROOT.issue("CN=alice")
    data = serialize_key_and_certificates(b"alice", leaf.key, leaf.certificate, [ROOT.certificate], NoEncryption())
    (tmp_path / "alice.p12").write_bytes(data)
    with pytest.raises(ConfigError, match=r"alice.p12 is PKCS#12") as error:
        load_certificates(tmp_path / "alice.p12", takes_der=takes_der)
    assert error.value.remedy.endswith(f"openssl pkcs12 -in {tmp_path}/alice.p12 -nokeys -out {tmp_path}/alice.p12.pem")


def test_passwords_of_keys(tmp_path):
    path = tmp_path / "key.pem"
    leaf = ROOT.issue()
    path.write_bytes(leaf.key_pem("secret"))
    assert load_private_key(path, "secret").public_key() == leaf.key.public_key()
    with pytest.raises(ConfigError, match="is encrypted") as raised:
        load_private_key(path, "secret", may_be_encrypted=False)
    assert raised.value.remedy == f"decrypt it and name {path}.pem: openssl pkey -in {path} -out {path}.pem"
    path.write_bytes(leaf.key_pem())
    assert load_private_key(path, "needless").public_key() == leaf.key.public_key()


def test_what_is_no_servers_key_is_an_error(tmp_path):
    path = tmp_path / "key.pem"
    for data, cause in (
        (b"rubbish", "holds no PEM private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds a broken private key"),
        (
            dsa_key().private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            "holds a key that is neither RSA, EC nor Ed25519",
        ),
    ):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=cause):
            load_private_key(path)
