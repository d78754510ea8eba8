"""Certificates as admins make them with openssl's own commands, and bare ones to be odd with."""

import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from support.config_files import NOW, YEAR, name


def openssl(folder, *commands):
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def by_hand(folder):
    """The usual commands of a mail admin: encrypted keys, a v3 root, X.509v1 leaves, and a v1 root of old."""
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
