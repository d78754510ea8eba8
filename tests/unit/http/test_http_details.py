"""What judges say of a refusal, in each language of the pages."""

from __future__ import annotations

import string

import pytest

from gateway.http.details import FORMS, MAX_DETAIL_CHARACTERS, translated
from gateway.http.pages import LANGUAGES
from gateway.x509.path_search import NOT_ISSUED

OTHERS = sorted(set(LANGUAGES) - {"en"})
WHEN = "2026-01-31 12:00:00 UTC"
CA = "'CN=Example CA,O=Example Ltd'"
QUOTED = '"CN=Joe\'s CA"'  # as repr() has a name with an apostrophe
# As `tls/client_cert`, `tls/revocation`, `x509`, `policy` and `proxy` write them.
DETAILS = {
    "expired": f"expired {WHEN}",
    "not_yet_valid": f"not valid before {WHEN}",
    "ca_ended": f"the CA {CA} expired {WHEN}",
    "ca_not_yet_valid": f"the CA {QUOTED} is not valid before {WHEN}",
    "not_issued_by": f"{NOT_ISSUED} (issuer CN=x)",
    "not_issued": NOT_ISSUED,
    "no_path": "no valid path to a trusted CA: certificate signature failure (issuer CN=x)",
    "weak_ca": f"the CA {CA} is signed with SHA1, which is too weak",
    "weak": "the certificate has an RSA key of 1024 bits, below 2048",
    "unreadable": "the certificate's names, dates or extensions are not readable",
    "ca_may_not_name": f"the CA {CA} may not issue for the user 'bob@elsewhere.example'",
    "policy": f"the CA {CA} has no certificate policy that a CA above it requires",
    "issuer_is_no_ca": f"{CA} issued this certificate but is not a CA",
    "no_client_ca": "this site has no client_ca",
    "is_a_ca": "a CA certificate is not a client certificate",
    "no_client_auth": "the extended key usage does not include clientAuth",
    "no_signature": "the key usage does not include digitalSignature",
    "ca_of_other_use": f"the CA {CA} may not issue client certificates (no clientAuth in its extended key usage)",
    "ca_revoked": f"the CA {CA} is revoked by 'CN=Root'",
    "held_when": f"put on hold {WHEN}, according to the OCSP responder",
    "held": f"put on hold by {CA}",
    "revoked_when": f"revoked {WHEN}, according to the OCSP responder",
    "revoked": f"revoked by {CA}, in a list that covers only certificates of users",
    "list_missing": f"no revocation list of {CA} covers this certificate: a.crl covers only certificates of CAs",
    "list_outdated": f"the revocation list of {CA} expired 2026-01-31 12:00 UTC",
    "list_not_yet_valid": f"the revocation list of {CA} is not valid before 2026-01-31 12:00 UTC",
    "list_incomplete": f"a.crl is a delta list of {CA}; the complete list with number 5 or above is missing",
    "ca_signs_no_lists": f"{CA} may not sign revocation lists (no cRLSign in its key usage)",
    "list_key": f"the key that signs the lists of {CA}: no revocation list of {CA}",
    "responder_knows_not": "the OCSP responder does not know the certificate",
    "responder": "http://ocsp.example/ did not answer within 5 s",
    "condition_ca": "the certificate was issued by a CA that this rule does not name",
    "condition_subject": "the certificate's subject has no O like 'Example {Ltd}'",
    "condition_email": "the certificate has no e-mail address that this rule lets in",
    "condition_fingerprint": "the certificate's fingerprint is not in this rule's list",
    "condition_device": "the device 'PHONE1' is not in this rule's list",
    "condition_no_device": "the ActiveSync request has no device id, and this rule lists devices",
    "login_differs": "the login 'bob', of this connection, does not belong to the certificate (email)",
    "login_unreadable": "the login cannot be read: Bearer hides its user name",
    "login_hidden": "an earlier login on this connection hides its user name, and the mail server may take this",
    "denied": "denied by the rule; 10.0.0.1 is a trusted proxy",
    "no_rule": "no rule matches, so the request is denied",
    "body_bytes": "the body is longer than 100 bytes",
    "uri_bytes": "the URI is longer than 8192 bytes",
    "header_bytes": "the header section is longer than 65536 bytes",
    "header_fields": "more than 100 header fields",
    "request_seconds": "the request was not complete within 30 s",
    "locked_out": "too many failed attempts from this address",
    "connections": "too many connections",
    "other_host": "there is no site elsewhere.example",
    "not_published": "nothing with this name is published here",
    "expectation": "an Expect other than 100-continue",
}


def test_each_form_has_an_example():
    assert set(DETAILS) == set(FORMS)


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("key", list(FORMS))
def test_each_form_has_its_words_in_each_language_and_keeps_what_it_names(key, language):
    words = LANGUAGES[language].details
    found = FORMS[key].fullmatch(DETAILS[key])
    assert found is not None
    assert next(other for other, form in FORMS.items() if form.fullmatch(DETAILS[key])) == key
    names = {name for _, name, _, _ in string.Formatter().parse(words[key]) if name}
    assert names == set(FORMS[key].groupindex)
    text = translated(DETAILS[key], words)
    assert text == words[key].format(**found.groupdict())
    assert all(value in text for value in found.groupdict().values())
    assert text != DETAILS[key]


@pytest.mark.parametrize("language", OTHERS)
def test_no_language_has_words_for_what_is_never_said(language):
    assert set(LANGUAGES[language].details) == {*FORMS, "destination"}


@pytest.mark.parametrize("language", OTHERS)
def test_a_detail_of_a_destination(language):
    words = LANGUAGES[language].details
    text = translated("the Destination: denied by the rule", words)
    assert text == words["destination"].format(detail=words["denied"])


@pytest.mark.parametrize(
    "more",
    [
        "; some servers read the path as /admin",
        (
            "; the trusted proxy 10.0.0.1 named no client, so only a rule whose from lists its own address lets the "
            "request in"
        ),
        "; 10.0.0.1 is a trusted proxy, so only a rule whose from lists it lets the request in without a certificate",
    ],
)
def test_what_the_rules_add_for_administrators_is_left_out(more):
    words = LANGUAGES["cs"].details
    assert translated(DETAILS["condition_device"] + more, words) == translated(DETAILS["condition_device"], words)


@pytest.mark.parametrize(
    "detail", ["", "something new", "the path does not begin with '/'", "expired\n2026", "expired 2026\nx"]
)
def test_what_has_no_words_is_left_out(detail):
    assert translated(detail, LANGUAGES["de"].details) is None


def test_long_details_are_cut_before_they_are_looked_at():
    assert translated("no rule matches, " + "x" * MAX_DETAIL_CHARACTERS, LANGUAGES["de"].details) is not None
    assert translated("a" * MAX_DETAIL_CHARACTERS + " did not answer within 5 s", LANGUAGES["de"].details) is None
