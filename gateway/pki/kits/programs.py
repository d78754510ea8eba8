"""Policies with which browsers and mail programs choose the certificate without asking; settings for Android."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from cryptography.x509.oid import NameOID

from gateway.pki.kits.kit import KitFile, Person, p12_file, root_file


def chrome(person: Person) -> list[KitFile]:
    """`AutoSelectCertificateForUrls` for Chrome, Chromium and Edge: they show this authority's certificate there."""
    issuer = person.chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    chosen = {"ISSUER": {"CN": str(issuer[0].value)}} if issuer else {}
    choice = json.dumps({"pattern": f"https://{person.host}", "filter": chosen}, ensure_ascii=False)
    return [
        _common("chrome-policy.json", {"AutoSelectCertificateForUrls": [choice]}),
        p12_file(person),
        root_file(person),
    ]


def mozilla(person: Person) -> list[KitFile]:
    """`policies.json` for Firefox and Thunderbird: they trust the root and choose the matching certificate."""
    root = root_file(person)
    policies = {
        "policies": {
            "Certificates": {"Install": [root.name]},
            "Preferences": {"security.default_personal_cert": {"Value": "Select Automatically", "Status": "default"}},
        }
    }
    return [_common("policies.json", policies), p12_file(person), root]


def android(person: Person) -> list[KitFile]:
    """The certificate and root for manual installation, and Gmail's managed settings for a device manager."""
    managed = {
        "email_address": person.email,
        "exchange_host": person.host,
        "exchange_username": person.user_name,
        "exchange_ssl_required": True,
        "exchange_trust_all_certificates": False,
        "exchange_login_certificate_alias": person.name,
    }
    return [_json(f"{person.stem}-gmail.json", managed), p12_file(person), root_file(person, is_pem=False)]


def _common(name: str, document: Any) -> KitFile:
    return replace(_json(name, document), is_common=True)


def _json(name: str, document: Any) -> KitFile:
    return KitFile(name, f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode())
