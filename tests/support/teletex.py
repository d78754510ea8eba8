"""Names in TeletexStrings with letters beyond ASCII, as old Windows and Java tools write them.

`cryptography` writes none, so `~` stands for the letter, in `B~rse` and `M~ller`, until `latin1` puts it there and
signs again.
"""

from __future__ import annotations

import re
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from support.pki import Leaf

from gateway.x509.der import SEQUENCE, content_of, element, elements

_STANDS_FOR_IT = re.compile(rb"~(?=rse|ller)")
LETTER = "ö".encode("latin-1")


def name(text: str = "B~rse AG", oid: x509.ObjectIdentifier = NameOID.ORGANIZATION_NAME) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text, _ASN1Type.T61String)])


def latin1(der: bytes, key: Any, letter: bytes = LETTER) -> bytes:
    """The same certificate, list or request with `letter` in these, signed anew with an EC key."""
    signed, algorithm, _ = elements(content_of(der, SEQUENCE))
    tbs = _STANDS_FOR_IT.sub(letter, signed[2])
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return element(SEQUENCE, tbs + algorithm[2] + element(0x03, b"\0" + signature))


def latin1_leaf(draft: Leaf, key: Any) -> Leaf:
    """The same for a certificate, which `key` signs; without a chain."""
    return Leaf(x509.load_der_x509_certificate(latin1(draft.der, key)), draft.key)
