"""Keys: which are made, which are taken, and how they lie on the disk."""

from __future__ import annotations

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from support.pki import dsa_key

from gateway.errors import UsageError
from gateway.pki import key_pool, keys, passwords, pkcs8
from gateway.pki.words import KeyKind
from gateway.x509.keys import are_equal, spki


@pytest.mark.parametrize(
    ("kind", "shown", "hash_"),
    [
        (KeyKind.RSA_2048, "RSA 2048", "sha256"),
        (KeyKind.ECDSA_P256, "EC P-256", "sha256"),
        (KeyKind.ECDSA_P384, "EC P-384", "sha384"),
    ],
)
def test_keys_are_what_they_are_called(kind, shown, hash_):
    key = keys.make(kind)
    assert keys.describe(key.public_key()) == shown
    assert keys.signature_hash(key).name == hash_
    assert keys.check(key.public_key(), "here") is not None
    assert pkcs8.load(pkcs8.plain_pem(key), None, "here").public_key() == key.public_key()


def test_a_p521_key_signs_with_sha512():
    assert keys.signature_hash(ec.generate_private_key(ec.SECP521R1())).name == "sha512"


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"),  # noqa: S505 - refused
        (rsa.generate_private_key(3, 2048), "exponent 3 is too small"),
        (ec.generate_private_key(ec.SECP192R1()), "a key on the curve secp192r1"),
        (ed25519.Ed25519PrivateKey.generate(), "this kind of key"),
        (dsa_key(), "this kind of key"),
    ],
)
def test_weak_and_unusual_keys_are_refused(key, cause):
    with pytest.raises(UsageError, match=f"here: .*{cause}"):
        keys.check(key.public_key(), "here")


def test_rsa_keys_have_at_most_8192_bits():
    def of(bits):
        return rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()

    assert keys.check(of(keys.MAX_RSA_BITS), "here").key_size == keys.MAX_RSA_BITS
    with pytest.raises(UsageError, match="8193 bits"):
        keys.check(of(keys.MAX_RSA_BITS + 1), "here")


@pytest.mark.parametrize("passphrase", ["hunter2 hunter2", "pässwörter 🔑", "x" * 500])
def test_openssl_opens_what_we_encrypt(tmp_path, passphrase):
    key = keys.make(KeyKind.ECDSA_P256)
    pem = pkcs8.encrypt(key, passphrase)
    (tmp_path / "k.pem").write_bytes(pem)
    (tmp_path / "pass").write_text(passphrase)
    asn1 = subprocess.run(["openssl", "asn1parse"], input=pem, capture_output=True, check=True).stdout.decode()
    assert "PBES2" in asn1
    assert "aes-256-cbc" in asn1
    assert "scrypt" in asn1 or "1.3.6.1.4.1.11591.4.11" in asn1
    done = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "k.pem", "-passin", f"file:{tmp_path}/pass", "-outform", "DER"],
        capture_output=True,
        check=True,
    )
    loaded = pkcs8.load(pem, passphrase, "here")
    plain = loaded.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert plain.endswith(done.stdout[-32:])
    assert are_equal(loaded.public_key(), key.public_key())
    assert pkcs8.encrypt(key, passphrase) != pem


@pytest.mark.parametrize(
    "arguments",
    [
        ["genrsa", "-des3"],
        ["genrsa", "-des3", "-traditional"],
        ["genrsa", "-aes256", "-traditional"],
        ["genpkey", "-algorithm", "RSA", "-aes-128-cbc"],
    ],
)
def test_keys_that_openssl_encrypted_are_opened(arguments, tmp_path):
    (tmp_path / "pass").write_text("hunter2")
    option = "-pass" if arguments[0] == "genpkey" else "-passout"
    made = subprocess.run(
        ["openssl", *arguments, option, f"file:{tmp_path}/pass"], capture_output=True, check=True
    ).stdout
    assert pkcs8.load(made, "hunter2", "here").key_size == 2048
    with pytest.raises(UsageError, match="the passphrase does not open the key") as refused:
        pkcs8.load(made, "wrong-one", "here")
    assert "wrong-one" not in str(refused.value)
    with pytest.raises(UsageError, match="is encrypted and no passphrase was given"):
        pkcs8.load(made, None, "here")


def test_an_encryption_that_is_not_supported_is_no_wrong_passphrase(tmp_path):
    (tmp_path / "plain").write_bytes(pkcs8.plain_pem(keys.make(KeyKind.ECDSA_P256)))
    command = ["openssl", "pkcs8", "-topk8", "-v2", "camellia-256-cbc", "-passout", "pass:hunter2", "-in"]
    made = subprocess.run([*command, tmp_path / "plain"], capture_output=True, check=True).stdout
    with pytest.raises(UsageError, match="is encrypted with CAMELLIA, which isn't supported") as refused:
        pkcs8.load(made, "hunter2", "ca.key")
    assert refused.value.remedy.endswith("openssl pkey -aes256 -in ca.key -out ca.key.pem")


def test_a_passphrase_for_a_plain_key_does_no_harm():
    pem = pkcs8.plain_pem(keys.make(KeyKind.ECDSA_P256))
    assert pkcs8.load(pem, "not needed", "here") is not None


def test_no_key_and_a_weak_one():
    with pytest.raises(UsageError, match="holds no private key that can be read"):
        pkcs8.load(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None, "here")
    with pytest.raises(UsageError, match="holds no private key"):
        pkcs8.load(b"", "x", "here")
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - refused
    pem = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
    with pytest.raises(UsageError, match="1024 bits"):
        pkcs8.load(pem, "hunter2", "here")


def test_a_passphrase_has_eight_characters():
    assert pkcs8.check_passphrase("x" * pkcs8.MIN_PASSPHRASE_CHARACTERS)
    with pytest.raises(UsageError, match="fewer than 8"):
        pkcs8.check_passphrase("x" * (pkcs8.MIN_PASSPHRASE_CHARACTERS - 1))


def test_made_passwords_are_strong_and_typed_easily():
    made = {passwords.make() for _ in range(200)}
    assert len(made) == 200
    assert passwords.BITS >= passwords.MIN_BITS
    for password in made:
        groups = password.split("-")
        assert [len(group) for group in groups] == [passwords.GROUP_CHARACTERS] * passwords.GROUPS
        assert not set("".join(groups)) - set(passwords.ALPHABET)
    assert set("".join(made)) == {*passwords.ALPHABET, "-"}
    assert not set("ilo01") & set(passwords.ALPHABET)


def test_a_password_of_ones_own_has_eight_characters():
    assert passwords.check("12345678") == "12345678"
    with pytest.raises(UsageError, match="fewer than 8"):
        passwords.check("1234567")


@pytest.mark.parametrize("processes", [1, 2])
def test_keys_come_from_processes(processes):
    with key_pool.keys(KeyKind.RSA_2048, 5, processes) as made:
        found = list(made)
    assert len({spki(key.public_key()) for key in found}) == 5
    assert {key.key_size for key in found} == {2048}


@pytest.mark.parametrize("kind", KeyKind)
def test_a_successor_is_of_the_same_kind(kind):
    assert keys.kind_of(keys.make(kind).public_key()) is kind


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (rsa.generate_private_key(65537, 2056), KeyKind.RSA_3072),
        (rsa.generate_private_key(65537, 4104), KeyKind.RSA_4096),
        (ec.generate_private_key(ec.SECP521R1()), KeyKind.ECDSA_P384),
    ],
)
def test_a_successor_of_a_kind_that_is_not_made_is_the_next(key, kind):
    assert keys.kind_of(key.public_key()) is kind


def test_no_process_is_started_for_elliptic_curves_or_for_nothing():
    with key_pool.keys(KeyKind.ECDSA_P256, 3) as made:
        assert len(list(made)) == 3
    with key_pool.keys(KeyKind.RSA_2048, 0) as made:
        assert list(made) == []


def test_a_key_process_that_is_killed_is_told(monkeypatch):
    monkeypatch.setattr(key_pool, "make_der", _die)
    with key_pool.keys(KeyKind.RSA_2048, 2, 1) as made, pytest.raises(Exception, match="was killed") as failed:
        next(made)
    assert failed.value.remedy


def _die(_kind):
    import os  # noqa: PLC0415 - in the process of its own

    os._exit(9)
