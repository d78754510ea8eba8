"""Translates the detail of a refusal into the reader's language.

The code that refuses a request writes the detail in English; the access log has it in English too. This module
recognises such sentences by patterns, and each language has its own words for each pattern. A sentence without a
pattern is left out of pages in other languages: those about malformed HTTP and addresses, which only a programmer can
use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Longer details are cut before they are matched, because they may contain a client's text.
MAX_DETAIL_CHARACTERS: Final = 1024

_CA: Final = r"""(?P<ca>'.*?'|".*?")"""
_LOGIN: Final = r"""the login (?P<user>'.*?'|".*?")(?:, of this connection,)?"""
_SOURCES: Final[Mapping[str, str]] = {
    # dates
    "expired": r"expired (?P<when>\d.*)",
    "not_yet_valid": r"not valid before (?P<when>\d.*)",
    "ca_ended": rf"the CA {_CA} expired (?P<when>\d.*)",
    "ca_not_yet_valid": rf"the CA {_CA} is not valid before (?P<when>\d.*)",
    # paths
    "not_issued_by": r"not issued by a CA that this site trusts, .*? \(issuer (?P<ca>.*)\)",
    "not_issued": r"not issued by a CA that this site trusts, .*",
    "no_path": r"no valid path to a trusted CA.*",
    "weak_ca": rf"the CA {_CA} (?:has an? .*key.*|is signed with .*)",
    "weak": r"the certificate (?:has an? .*key.*|is signed with .*)",
    "unreadable": (
        r"(?:the certificate(?:'s .*?)? (?:is|are) not readable.*|a certificate on the path .*|"
        r"a name in the certificate holds .*|the certificate's user principal name is .*|"
        r"the certificate holds more than .*|a certificate of \d+ bytes; .*)"
    ),
    "ca_may_not_name": rf"the CA {_CA} may not issue for the user (?P<user>.*)",
    "policy": r"the (?:certificate|CA .*) (?:has no certificate policy|maps anyPolicy) .*",
    "issuer_is_no_ca": r"(?P<ca>'.*'|\".*\") issued this certificate but is not a CA",
    "no_client_ca": r"this site has no client_ca",
    # usage
    "is_a_ca": r"(?:the CA's own|a CA) certificate is not a client certificate",
    "no_client_auth": r"the extended key usage does not include clientAuth",
    "no_signature": r"the key usage does not include digitalSignature",
    "ca_of_other_use": rf"the CA {_CA} may not issue client certificates .*",
    # revocation
    "ca_revoked": rf"the CA {_CA} is (?:revoked|put on hold) .*",
    "held_when": r"put on hold (?P<when>\d.*), according to the OCSP responder",
    "held": rf"put on hold by {_CA}.*",
    "revoked_when": r"revoked (?P<when>\d.*), according to the OCSP responder",
    "revoked": rf"revoked by {_CA}.*",
    "list_missing": rf"no revocation list of {_CA}(?: covers .*)?",
    "list_outdated": rf"the revocation list of {_CA} expired (?P<when>\d.*)",
    "list_not_yet_valid": rf"the revocation list of {_CA} is not valid before (?P<when>\d.*)",
    "list_incomplete": rf".* is a delta list of {_CA}; .*",
    "ca_signs_no_lists": rf"{_CA} may not sign revocation lists .*",
    "list_key": rf"the key that signs the lists of {_CA}: .*",
    "responder_knows_not": r"the OCSP responder does not know the certificate",
    "responder": (
        r"(?:no answer about the certificate .*|the OCSP responder is being asked|the answer(?:'s)? .*|"
        r"the responder(?:'s)? .*|no request can be made .*|the certificate names no OCSP responder|"
        r".* (?:did not answer within|cannot be reached|answered with status|answered more than) .*)"
    ),
    # conditions of the rule
    "condition_ca": r"the certificate was issued by a CA that this rule does not name",
    "condition_subject": r"the certificate's subject has no (?P<name>\S+) like (?P<value>.*)",
    "condition_email": r"the certificate has no e-mail address that this rule lets in",
    "condition_fingerprint": r"the certificate's fingerprint is not in this rule's list",
    "condition_device": r"the device (?P<device>.*) is not in this rule's list",
    "condition_no_device": r"the ActiveSync request has no device id, .*",
    "login_differs": rf"{_LOGIN} does not belong to the certificate .*",
    "login_unreadable": r"the login cannot be read: .*",
    "login_hidden": r"an earlier login on this connection hides its user name, .*",
    "denied": r"denied by the rule.*",
    "no_rule": r"no rule matches, .*",
    # limits
    "body_bytes": r"the body is longer than (?P<number>\d+) bytes",
    "uri_bytes": r"the URI is longer than (?P<number>\d+) bytes",
    "header_bytes": r"the header section is longer than (?P<number>\d+) bytes",
    "header_fields": r"more than (?P<number>\d+) header fields",
    "request_seconds": r"the request was not complete within (?P<number>\S+) s",
    "locked_out": r"too many failed attempts from this address",
    "connections": r"too many connections",
    "other_host": (
        r"(?:the host belongs to another site than the TLS handshake|there is no site .*|"
        r"the site is no longer served)"
    ),
    "not_published": r"nothing with this name is published here",
    "expectation": r"an Expect other than 100-continue",
}
FORMS: Final[Mapping[str, re.Pattern[str]]] = {key: re.compile(text) for key, text in _SOURCES.items()}
_DESTINATION: Final = "the Destination: "
# Additions of the rules for admins.
_FURTHER: Final = re.compile(r"; (?:some servers read the path as |the trusted proxy |\S+ is a trusted proxy).*")


def translated(detail: str, words: Mapping[str, str]) -> str | None:
    """The detail in a language's `words`; None if no pattern matches."""
    detail = detail[:MAX_DETAIL_CHARACTERS]
    is_destination = detail.startswith(_DESTINATION)
    sentence = _FURTHER.sub("", detail.removeprefix(_DESTINATION))
    for key, form in FORMS.items():
        if (found := form.fullmatch(sentence)) is not None:
            text = words[key].format(**found.groupdict())
            return words["destination"].format(detail=text) if is_destination else text
    return None
