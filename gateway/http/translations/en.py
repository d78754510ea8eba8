"""The refusal pages in English."""

from __future__ import annotations

from typing import Final

from gateway.facts import Reason
from gateway.http.translations import Language

ENGLISH: Final = Language(
    code="en",
    reasons={
        Reason.BAD_REQUEST: ("Bad request", "Your program sent a request that is not correct HTTP."),
        Reason.URI_REJECTED: ("Address refused", "The address can be read in more than one way, so it is refused."),
        Reason.CERTIFICATE_MISSING: (
            "A certificate is needed",
            "From outside, this page opens only with a personal certificate, and your device showed none.",
        ),
        Reason.CERTIFICATE_EXPIRED: (
            "Your certificate has expired",
            "The certificate your device showed is no longer valid.",
        ),
        Reason.CERTIFICATE_NOT_YET_VALID: (
            "Your certificate is not valid yet",
            "The certificate your device showed becomes valid at a later time.",
        ),
        Reason.CERTIFICATE_UNTRUSTED: (
            "This certificate is not accepted",
            "The certificate your device showed was not issued by an authority that is trusted here.",
        ),
        Reason.CERTIFICATE_REVOKED: (
            "Your certificate was revoked",
            "The certificate your device showed was withdrawn and is no longer valid.",
        ),
        Reason.CERTIFICATE_WRONG_USAGE: (
            "This certificate is for another purpose",
            "The certificate your device showed was not issued for signing in.",
        ),
        Reason.CERTIFICATE_NOT_ALLOWED: (
            "Not allowed with this certificate",
            "Your certificate is valid, but it does not open this page.",
        ),
        Reason.USER_MISMATCH: (
            "Certificate and login differ",
            "The user name you signed in with does not belong to the certificate your device showed.",
        ),
        Reason.DENIED_BY_RULE: ("Access denied", "Access to this page is not allowed from where you are."),
        Reason.NO_RULE: ("Access denied", "This page cannot be opened from where you are."),
        Reason.REVOCATION_UNKNOWN: (
            "Your certificate cannot be checked",
            "The server cannot check at the moment whether your certificate is still valid.",
        ),
        Reason.NOT_FOUND: ("Not found", "There is nothing at this address."),
        Reason.METHOD_NOT_ALLOWED: ("Not possible", "This address does not support this kind of request."),
        Reason.REQUEST_TIMEOUT: ("Too slow", "Your request did not arrive in time."),
        Reason.BODY_TOO_LARGE: ("Too large", "The data you sent is larger than is allowed here."),
        Reason.URI_TOO_LONG: ("Address too long", "The address is longer than is allowed here."),
        Reason.EXPECTATION_FAILED: ("Not supported", "Your program expects something that is not supported here."),
        Reason.HEADERS_TOO_LARGE: ("Request too large", "Your browser sent more header data than is allowed here."),
        Reason.HOST_MISMATCH: (
            "Wrong connection",
            "Your program asked for one site over a connection to another site.",
        ),
        Reason.LOCKED_OUT: ("Temporarily locked", "There were too many failed attempts from your network address."),
        Reason.TOO_MANY_CONNECTIONS: ("Too many connections", "Your network address has too many connections open."),
        Reason.UPSTREAM_UNREACHABLE: ("Mail server not reachable", "The server behind this page cannot be reached."),
        Reason.UPSTREAM_BAD_RESPONSE: ("Mail server error", "The server behind this page sent no usable answer."),
        Reason.NO_HEALTHY_UPSTREAM: ("Service not available", "No server behind this page is working at the moment."),
        Reason.UPSTREAM_TIMEOUT: ("Mail server too slow", "The server behind this page did not answer in time."),
    },
    on_hold=(
        "Your certificate is on hold",
        "The certificate your device showed is temporarily suspended. It can be released again.",
        "Ask for it to be released. You don't need a new certificate.",
    ),
    advice={
        "report": "Try again. If it happens again, report it with the request number below.",
        "address": "Start from the home page. If a link or a file brought you here, report it with the "
        "request number below.",
        "install": "Install your personal certificate on this device, close all browser windows, open the page again "
        "and choose the certificate when you are asked. If you have none, ask for one.",
        "renew": "Ask for a new certificate, install it on this device and close all browser windows before you try "
        "again.",
        "clock": "Check the date and time of your device. If they are right, wait until the certificate becomes valid.",
        "choose": "If you have another certificate, close all browser windows and choose that one. Otherwise ask for "
        "one.",
        "own": "Sign in with the user name that your certificate was issued for, or choose another certificate.",
        "ask": "If you need this page, ask for access and give the request number below.",
        "later": "Try again in a few minutes. If the problem continues, report it with the request number below.",
        "again": "Reload the page.",
        "smaller": "Send less data, for example fewer or smaller attachments.",
        "cookies": "Delete this site's cookies in your browser and try again.",
        "wait": "Wait a few minutes and try again.",
    },
    labels={
        "contact": "Help",
        "request": "Request number",
        "whole": "Full number",
        "reason": "Reason",
        "certificate": "Certificate",
        "issuer": "Issued by",
        "from": "Valid from",
        "until": "Valid until",
        "detail": "Detail",
        "unnamed": "(no name)",
    },
)
