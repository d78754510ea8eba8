"""Files in other formats: what they are is said, and the command that is printed makes PEM of them."""

import re
import subprocess

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from support.pki import Ca, build_crl
from support.programs import need

from gateway.errors import ConfigError
from gateway.x509.foreign_files import other_format
from gateway.x509.key_encryption import unsupported_encryption
from gateway.x509.loading import load_private_key, parse_certificates, parse_revocation_lists, read_file

ROOT = Ca.make("CN=Root")
LEAF = ROOT.issue("CN=alice")
PASSPHRASE = b"secret"
P12 = serialize_key_and_certificates(
    b"alice", LEAF.key, LEAF.certificate, [ROOT.certificate], BestAvailableEncryption(PASSPHRASE)
)
P7B = serialize_certificates([LEAF.certificate, ROOT.certificate], Encoding.DER)
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(LEAF.key, SHA256())
ENCRYPTED_KEY_DER = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE))
LIST_DER = build_crl(ROOT, ()).public_bytes(Encoding.DER)
KEY_DER = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def follow(remedy):
    """Run the command in a remedy, where openssl asks for a passphrase on standard input."""
    command = remedy.partition(": ")[2]
    subprocess.run(  # noqa: S602 - an admin copies it into a shell
        command,
        shell=True,
        check=True,
        capture_output=True,
        input=(PASSPHRASE + b"\n") * 3,
        start_new_session=True,  # without a terminal
    )


@pytest.mark.parametrize(
    ("data", "wanted", "cause"),
    [
        (LEAF.der, "certificate", "is not PEM"),
        (P12, "certificate", "is PKCS#12"),
        (P12, "authorities", "is PKCS#12"),
        (P7B, "certificate", "is PKCS#7"),
        (LEAF.pem.decode().encode("utf-16"), "certificate", "is UTF-16 text"),
    ],
)
def test_the_command_makes_pem_of_certificates(tmp_path, data, wanted, cause):
    path = tmp_path / "my file"  # the command has to be quoted for the shell
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=re.escape(f"{path} {cause}")) as raised:
        parse_certificates(read_file(path), str(path), name=str(path), wanted=wanted)
    follow(raised.value.remedy)
    found = parse_certificates(read_file(tmp_path / "my file.pem"), "x")
    if wanted == "authorities":
        assert found == (ROOT.certificate,)
    elif data in {P12, P7B}:  # with its chain
        assert set(found) == {ROOT.certificate, LEAF.certificate}
    else:
        assert found == (LEAF.certificate,)


@pytest.mark.parametrize(("data", "cause"), [(P12, "is PKCS#12"), (KEY_DER, "is not PEM")])
def test_the_command_makes_pem_of_a_key(tmp_path, data, cause):
    path = tmp_path / "alice"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=re.escape(f"{path} {cause}")) as raised:
        load_private_key(path)
    follow(raised.value.remedy)
    made = load_private_key(tmp_path / "alice.pem", PASSPHRASE.decode())
    assert made.public_key() == LEAF.key.public_key()


@pytest.mark.parametrize(
    ("data", "wanted", "held"),
    [
        (LEAF.der, "key", "a certificate in DER"),
        (REQUEST.public_bytes(Encoding.DER), "key", "a certificate request in DER"),
        (LIST_DER, "key", "a revocation list in DER"),
        (KEY_DER, "certificate", "a private key in DER"),
        (ENCRYPTED_KEY_DER, "authorities", "a private key in DER"),
        (LIST_DER, "certificate", "a revocation list in DER"),
        (REQUEST.public_bytes(Encoding.DER), "certificate", "a certificate request in DER"),
        (LEAF.der[:-20], "certificate", "not PEM, and not readable in DER either"),
        (KEY_DER[:-20], "key", "not PEM, and not readable in DER either"),
    ],
)
def test_der_of_another_kind_is_named_without_a_command_that_would_fail(data, wanted, held):
    found = other_format(data, "a.der", wanted)
    assert found is not None
    assert found[0] == held
    assert "openssl" not in found[1]


def test_the_command_makes_pem_of_an_encrypted_key_in_der(tmp_path):
    path = tmp_path / "alice.key"
    path.write_bytes(ENCRYPTED_KEY_DER)
    with pytest.raises(ConfigError, match="is not PEM") as raised:
        load_private_key(path)
    follow(raised.value.remedy)
    assert load_private_key(tmp_path / "alice.key.pem").public_key() == LEAF.key.public_key()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_the_command_makes_pem_of_an_openssh_key_or_a_new_key(tmp_path, kind, passphrase):
    path = tmp_path / "my key"
    subprocess.run(
        [need("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True, stdin=subprocess.DEVNULL
    )
    with pytest.raises(ConfigError, match="is in OpenSSH's format") as raised:
        load_private_key(path, passphrase)
    remedy = raised.value.remedy
    if kind == "ed25519":
        follow(remedy)
        assert load_private_key(tmp_path / "my key.pem").key_size == 256
        assert "get a certificate for this new key" in remedy
    else:
        converting = remedy.partition(": ")[2]
        # ssh-keygen asks on the terminal; -P and -N answer
        subprocess.run(f"{converting} -P '{passphrase}' -N '{passphrase}'", shell=True, check=True, capture_output=True)  # noqa: S602 - an admin copies it into a shell
        public = load_private_key(path, passphrase).public_key()
        line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        assert (tmp_path / "my key.pub").read_text().startswith(line)


def test_a_java_keystore_and_a_request_are_named():
    found = other_format(b"\xfe\xed\xfe\xed\x00", "a.jks", "certificate")
    assert found is not None
    assert found[0] == "a Java keystore"
    assert "-srckeystore a.jks -destkeystore a.jks.p12" in found[1]
    request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(ConfigError, match="holds a certificate request and no certificate"):
        parse_certificates(request, "a.csr")
    assert other_format(LEAF.pem, "a.pem", "certificate") is None


def pem(label):
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


@pytest.mark.parametrize(
    ("data", "held"),
    [
        (pem("X509 CRL"), "a revocation list"),
        (pem("PUBLIC KEY"), "a public key"),
        (pem("RSA PUBLIC KEY"), "a public key"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA alice@example.com\n", "a public key"),
        (pem("NEW CERTIFICATE REQUEST"), "a certificate request"),
    ],
)
def test_a_file_of_another_kind_is_named_where_a_certificate_or_a_key_is_expected(tmp_path, data, held):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ConfigError, match=f"holds {held} and no certificate"):
        parse_certificates(data, "x")
    with pytest.raises(ConfigError, match=f"holds {held} and no private key"):
        load_private_key(tmp_path / "x")


def test_a_list_among_the_authorities_is_sent_to_its_key():
    with pytest.raises(ConfigError, match="holds a revocation list and no certificate") as raised:
        parse_certificates(pem("X509 CRL"), "x", wanted="authorities")
    assert raised.value.remedy == "name the CA's certificate here, and this list under crl"


@pytest.mark.parametrize(
    ("data", "held"),
    [(LEAF.pem, "a certificate"), (LEAF.der, "a certificate"), (KEY_DER, "a private key")],
)
def test_a_file_of_another_kind_is_named_where_a_list_is_expected(data, held):
    with pytest.raises(ConfigError, match=f"holds {held} and no revocation list") as raised:
        parse_revocation_lists(data, "x")
    assert raised.value.remedy == "name a file that begins with -----BEGIN X509 CRL-----, or a list in DER"


def test_a_cas_own_p12_file_needs_the_command_without_the_option_that_the_message_names(tmp_path):
    path = tmp_path / "ca.p12"
    path.write_bytes(
        serialize_key_and_certificates(b"ca", ROOT.key, ROOT.certificate, None, BestAvailableEncryption(PASSPHRASE))
    )
    found = other_format(path.read_bytes(), str(path), "authorities")
    assert found is not None
    assert "from a CA's own file without -cacerts" in found[1]
    follow(found[1].replace(" -cacerts -nokeys", " -nokeys"))
    assert parse_certificates(read_file(tmp_path / "ca.p12.pem"), "x") == (ROOT.certificate,)


@pytest.mark.parametrize("cipher", ["des", "seed", "camellia128", "aria128", "pkcs8 seed-cbc", "pkcs8 aria-256-cbc"])
def test_an_encryption_that_is_not_supported_is_named_and_the_command_changes_it(tmp_path, cipher):
    path, plain = tmp_path / "key.pem", tmp_path / "plain.pem"
    plain.write_bytes(LEAF.key_pem())
    kind = cipher.removeprefix("pkcs8 ")
    command = ["openssl", "pkcs8", "-topk8", "-v2", kind] if kind != cipher else ["openssl", "ec", f"-{kind}"]
    providers = ["-provider", "legacy", "-provider", "default"]
    command += ["-in", str(plain), "-out", str(path), "-passout", "pass:secret", *providers]
    subprocess.run(command, check=True, capture_output=True)
    name = re.sub(r"[0-9-].*", "", kind).upper()
    with pytest.raises(ConfigError, match=rf"is encrypted with {name}.*, which isn't supported") as raised:
        load_private_key(path, "secret")
    assert ("-provider legacy" in raised.value.remedy) is (name in {"DES", "SEED"})
    follow(raised.value.remedy)
    assert load_private_key(tmp_path / "key.pem.pem", "secret").public_key() == LEAF.key.public_key()


def test_other_words_of_the_library_are_told_as_they_are():
    assert unsupported_encryption(ValueError("Incorrect password"), b"", "k") is None
    found = unsupported_encryption(UnsupportedAlgorithm("no such thing"), b"", "k")
    assert found is not None
    assert found[0] == "is encrypted with a cipher, which isn't supported"
    other = unsupported_encryption(ValueError("Unknown key encryption algorithm: 1.2.3"), b"", "k")
    assert other is not None
    assert other[0] == "is encrypted with 1.2.3, which isn't supported"
