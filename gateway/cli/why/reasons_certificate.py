"""Explanations of the reason codes about certificates. The first one of a code whose pattern is found is used."""

from __future__ import annotations

from typing import Final

from gateway.cli.why.explanation import Explanation
from gateway.facts import Reason

_CA: Final = r"""(?P<ca>'.*?'|".*?")"""
_CLOCK_REMEDY: Final = "Compare the clock of this machine with the right time. If it is right, wait until the date."

MISSING: Final = (
    Explanation(
        code=Reason.CERTIFICATE_MISSING,
        name=Reason.CERTIFICATE_MISSING,
        sentence='{who} sent no certificate, and the rule "{rule}" requires one for {place} from {address}.',
        causes=(
            "the certificate was never installed on this device, or only on another one",
            "the browser asked which certificate to use, and the question was cancelled",
            "the browser has its own certificate store (Firefox), or the app can't use certificates",
            "the request came from inside before, where the rules require none",
        ),
        remedy="Install the certificate on this device. Then close the browser completely, so that it asks again.",
        commands=("show", "issue", "explain", "line"),
    ),
)

DATES: Final = (
    Explanation(
        code=Reason.CERTIFICATE_EXPIRED,
        name=Reason.CERTIFICATE_EXPIRED,
        pattern=r"expired (?P<when>\d[^;)]*)",
        sentence="The certificate of {holder} expired {when}.",
        causes=("it was not renewed", "it was renewed, and the device still uses the old one"),
        remedy="Renew the certificate and install the new one.",
        commands=("show_new", "renew", "issue", "certificates", "line"),
    ),
    Explanation(
        code=Reason.CERTIFICATE_EXPIRED,
        name=Reason.CERTIFICATE_EXPIRED,
        sentence="The certificate of {holder} has expired.",
        causes=("it was not renewed", "it was renewed, and the device still uses the old one"),
        remedy="Renew the certificate and install the new one.",
        commands=("show_new", "renew", "issue", "certificates", "line"),
    ),
    Explanation(
        code=Reason.CERTIFICATE_NOT_YET_VALID,
        name=Reason.CERTIFICATE_NOT_YET_VALID,
        pattern=r"not valid before (?P<when>\d[^;)]*)",
        sentence="The certificate of {holder} is not valid before {when}, and by this machine's clock it was earlier.",
        causes=("this machine's clock is behind", "the clock of the machine that issued the certificate is ahead"),
        remedy=_CLOCK_REMEDY,
        commands=("clock",),
    ),
    Explanation(
        code=Reason.CERTIFICATE_NOT_YET_VALID,
        name=Reason.CERTIFICATE_NOT_YET_VALID,
        sentence="The certificate of {holder} is not valid yet, by this machine's clock.",
        causes=("this machine's clock is behind", "the clock of the machine that issued the certificate is ahead"),
        remedy=_CLOCK_REMEDY,
        commands=("clock",),
    ),
)


def _untrusted(
    name: str, pattern: str, sentence: str, *causes: str, remedy: str, commands: tuple[str, ...]
) -> Explanation:
    return Explanation(
        code=Reason.CERTIFICATE_UNTRUSTED,
        name=name,
        pattern=pattern,
        sentence=sentence,
        causes=causes,
        remedy=remedy,
        commands=commands,
    )


_NEW_ONE: Final = ("reissue", "issue", "certificates", "line")

UNTRUSTED: Final = (
    _untrusted(
        "wrong_ca",
        r"not issued by a CA that this site trusts",
        "The certificate of {holder} was issued by {issuer}, which {host} does not trust, or its intermediate "
        "certificate was not sent.",
        "the device chose a certificate from another CA, such as one of another company",
        "the CA, or its new certificate, is missing in client_ca",
        "the device sends its certificate without the intermediate",
        remedy=(
            "Let the device choose the right certificate; if this CA is yours, add it or the intermediate to client_ca."
        ),
        commands=("certificates", "authorities", "line"),
    ),
    _untrusted(
        "ca_ended",
        rf"the CA {_CA} expired (?P<when>\d[^;)]*)",
        "The CA {ca}, which issued the certificate of {holder}, expired {when}: the certificates of "
        "this CA are refused.",
        "the CA was not renewed in time",
        "client_ca still has the CA's old certificate",
        remedy="Name the CA's new certificate in client_ca.",
        commands=("status", "authorities", "check", "line"),
    ),
    _untrusted(
        "ca_not_yet_valid",
        rf"the CA {_CA} is not valid before (?P<when>\d[^;)]*)",
        "The CA {ca}, which issued the certificate of {holder}, is not valid before {when}, and by "
        "this machine's clock "
        "it was earlier.",
        "this machine's clock is behind",
        "the CA is new, and was made on a machine whose clock is ahead",
        remedy=_CLOCK_REMEDY,
        commands=("clock",),
    ),
    _untrusted(
        "no_path",
        r"no valid path to a trusted CA",
        "The certificate of {holder} names a trusted CA as its issuer, but that CA did not sign it.",
        "a CA of the same name with another key issued it",
        "the certificate is a forgery",
        remedy="Find out where this certificate is from; issue a new one if the CA was made anew.",
        commands=_NEW_ONE,
    ),
    _untrusted(
        "weak_ca",
        rf"the CA {_CA} (?:has an? .*key|is signed with)",
        "The CA {ca} has a key or a signature that can be forged, so its certificates are refused.",
        "the CA is old: RSA below 2,048 bits, MD5 or SHA-1",
        remedy="Make a new authority, and issue new certificates.",
        commands=("authorities", "line"),
    ),
    _untrusted(
        "weak_certificate",
        r"the certificate (?:has an? .*key|is signed with)",
        "The certificate of {holder} has a key or a signature that can be forged: {detail}.",
        "the certificate is old, or was made with an old program: RSA below 2,048 bits, MD5 or SHA-1",
        remedy="Issue a new certificate.",
        commands=_NEW_ONE,
    ),
    _untrusted(
        "name_constraint",
        rf"the CA {_CA} may not issue for the user (?P<name>[^;)]*)",
        "The CA {ca} may not issue certificates for {name}: a name constraint of the CA forbids it.",
        "the mail address of the certificate is in a domain that the CA is not for",
        remedy="Issue the certificate with an address of the CA's domain, or from another authority.",
        commands=("authorities", "line"),
    ),
    _untrusted(
        "policy",
        r"certificate policy|maps anyPolicy",
        "The certificate of {holder} lacks a certificate policy that a CA above it requires.",
        "the authority issued it with other policies than its own CA allows",
        remedy="Issue the certificate from an authority whose CA has the policy.",
        commands=("authorities", "line"),
    ),
    _untrusted(
        "issuer_is_no_ca",
        r"issued this certificate but is not a CA",
        "The certificate of {holder} was signed with the certificate of a user, which is not a CA.",
        "somebody with a certificate tried to make another one",
        "the wrong file was used to sign",
        remedy="Find out who made it: {detail}.",
        commands=("line",),
    ),
    _untrusted(
        "no_client_ca",
        r"this site has no client_ca",
        "The site {host} names no CA in client_ca, so it can't trust the certificate of {holder}.",
        "client_ca is missing in the configuration",
        remedy="Name the authority's certificate in client_ca of this site.",
        commands=("check", "authorities", "line"),
    ),
    Explanation(
        code=Reason.CERTIFICATE_UNTRUSTED,
        name=Reason.CERTIFICATE_UNTRUSTED,
        sentence="The certificate of {holder} is not trusted: {detail}.",
        causes=(
            "it is damaged, or has parts that can't be read",
            "it was made by a program that doesn't follow RFC 5280",
        ),
        remedy="Issue a new certificate.",
        commands=_NEW_ONE,
    ),
)

REVOCATION: Final = (
    Explanation(
        code=Reason.CERTIFICATE_REVOKED,
        name="ca_revoked",
        pattern=rf"the CA {_CA} is (?:revoked|put on hold)",
        sentence="The CA {ca}, which issued the certificate of {holder}, was revoked: its certificates are refused.",
        causes=("the CA's key was lost or stolen", "the CA was replaced by another one"),
        remedy="Issue new certificates from another authority.",
        commands=("authorities", "line"),
    ),
    Explanation(
        code=Reason.CERTIFICATE_REVOKED,
        name="on_hold",
        pattern=r"put on hold",
        sentence="The certificate of {holder} is on hold.",
        causes=("a device was missing, and the certificate was held until it is found",),
        remedy="Release it if the device is back.",
        commands=("unhold", "certificates", "line"),
    ),
    Explanation(
        code=Reason.CERTIFICATE_REVOKED,
        name=Reason.CERTIFICATE_REVOKED,
        sentence="The certificate of {holder} was revoked.",
        causes=(
            "the device was lost or the person has left",
            "the certificate was renewed, and the overlap of the old one is over",
        ),
        remedy="Find out why. If {who} may come in, issue a new certificate and install it.",
        commands=("show_new", "reissue", "issue", "certificates", "line"),
    ),
    Explanation(
        code=Reason.REVOCATION_UNKNOWN,
        name="list_ended",
        pattern=rf"the revocation list of {_CA} expired (?P<when>\d[^;)]*)",
        sentence=(
            "The revocation list of {ca} ended {when}, so no certificate of this CA can be checked: all are refused."
        ),
        causes=("the list was not renewed", "the newer list was not fetched or not copied to this machine"),
        remedy="Write a new list, or copy the newest one to this machine.",
        commands=("crl", "status", "check", "line"),
    ),
    Explanation(
        code=Reason.REVOCATION_UNKNOWN,
        name="list_not_yet_valid",
        pattern=rf"the revocation list of {_CA} is not valid before (?P<when>\d[^;)]*)",
        sentence="The revocation list of {ca} is not valid before {when}, and by this machine's clock it was earlier.",
        causes=("this machine's clock is behind", "the machine that writes the list has a clock that is ahead"),
        remedy=_CLOCK_REMEDY,
        commands=("clock",),
    ),
    Explanation(
        code=Reason.REVOCATION_UNKNOWN,
        name="list_missing",
        pattern=rf"no revocation list of {_CA}|is a delta list of",
        sentence=(
            "There is no revocation list that covers the certificate of {holder}, and the configuration requires one: "
            "{detail}."
        ),
        causes=(
            "the list was not fetched yet, or can't be fetched",
            "crl names no list of this CA",
            "only a delta list is there, without the complete list",
        ),
        remedy="Name the CA's list in crl, and look in the status why it could not be loaded.",
        commands=("crl", "status", "check", "line"),
    ),
    Explanation(
        code=Reason.REVOCATION_UNKNOWN,
        name=Reason.REVOCATION_UNKNOWN,
        sentence="Whether the certificate of {holder} is revoked could not be found out: {detail}.",
        causes=("the OCSP responder doesn't answer", "the certificate names no responder", "the list can't be used"),
        remedy="Look whether the list or the OCSP responder of the CA can be reached from this machine.",
        commands=("status", "check", "line"),
    ),
)

USAGE: Final = (
    Explanation(
        code=Reason.CERTIFICATE_WRONG_USAGE,
        name=Reason.CERTIFICATE_WRONG_USAGE,
        sentence="The certificate of {holder} is not for logging in: {detail}.",
        causes=(
            "the device chose a certificate for e-mail (S/MIME) or for a server",
            "the certificate was issued without clientAuth",
        ),
        remedy="Let the device choose the other certificate, or issue one for logging in.",
        commands=("certificates", "issue", "line"),
    ),
)
