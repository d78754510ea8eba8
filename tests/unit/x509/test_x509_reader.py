"""The files of one load are read once, however often they are named."""

import pytest
from support.pki import Ca

from gateway.errors import ConfigError
from gateway.x509 import reader
from gateway.x509.files import KeyFile

ROOT = Ca.make()


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are read, in order."""
    names, real = [], reader.read_file
    monkeypatch.setattr(reader, "read_file", lambda path: names.append(path.name) or real(path))
    return names


def test_a_file_of_both_is_read_once_for_its_certificate_and_its_key(tmp_path, opened):
    path = tmp_path / "both.pem"
    path.write_bytes(ROOT.pem + ROOT.key_pem())
    files = reader.FileReader()
    certificates = files.certificates(path)
    assert files.certificates(path) is certificates
    assert certificates.certificates == (ROOT.certificate,)
    key = files.key(path, None, may_be_encrypted=True)
    assert files.key(path, None, may_be_encrypted=True) is key
    assert key.key.public_key() == ROOT.key.public_key()
    assert opened == ["both.pem"]
    assert certificates.stamp == key.stamp is not None


def test_a_password_counts_for_whoever_gives_it(tmp_path, opened):
    path = tmp_path / "locked.key"
    path.write_bytes(ROOT.key_pem("secret"))
    files = reader.FileReader()
    assert files.key(path, "secret", may_be_encrypted=True).key.public_key() == ROOT.key.public_key()
    for password, may_be_encrypted in ((None, True), ("wrong", True), (None, False)):
        with pytest.raises(ConfigError, match=r"encrypted|decrypted"):
            files.key(path, password, may_be_encrypted=may_be_encrypted)
    assert opened == ["locked.key"]


def test_no_key_shows_in_a_representation(tmp_path):
    path = tmp_path / "plain.key"
    path.write_bytes(ROOT.key_pem())
    found = reader.FileReader().key(path, None, may_be_encrypted=True)
    assert repr(found) == f"KeyFile(path={path!r})"
    assert found == reader.FileReader().key(path, "needless", may_be_encrypted=True)


def test_a_key_that_was_not_read_is_no_key(tmp_path):
    found = KeyFile(tmp_path / "mail.key", None)
    with pytest.raises(ConfigError, match=r"mail\.key: the key was not read"):
        _ = found.private
    assert KeyFile(tmp_path / "mail.key", ROOT.key).private is ROOT.key
