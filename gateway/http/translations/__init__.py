"""The texts of refusal pages, one module per language. A test checks that every language is complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.facts import Reason


@dataclass(frozen=True, slots=True)
class Language:
    """The texts of one language: for each reason a title and a message, and for each kind of advice a text."""

    code: str  # RFC 5646, "en"
    reasons: Mapping[Reason, tuple[str, str]]
    on_hold: tuple[str, str, str]  # title, message and advice of a revoked certificate that may be released again
    advice: Mapping[str, str]
    labels: Mapping[str, str]
    details: Mapping[str, str] | None = None  # for the patterns in `details`; None for English, the language of details


# The advice for each reason, by the keys of `Language.advice`.
ADVICE_OF_REASON: Final[Mapping[Reason, str]] = {
    Reason.BAD_REQUEST: "report",
    Reason.URI_REJECTED: "address",
    Reason.CERTIFICATE_MISSING: "install",
    Reason.CERTIFICATE_EXPIRED: "renew",
    Reason.CERTIFICATE_NOT_YET_VALID: "clock",
    Reason.CERTIFICATE_UNTRUSTED: "choose",
    Reason.CERTIFICATE_REVOKED: "renew",
    Reason.CERTIFICATE_WRONG_USAGE: "choose",
    Reason.CERTIFICATE_NOT_ALLOWED: "choose",
    Reason.USER_MISMATCH: "own",
    Reason.DENIED_BY_RULE: "ask",
    Reason.NO_RULE: "ask",
    Reason.REVOCATION_UNKNOWN: "later",
    Reason.NOT_FOUND: "address",
    Reason.METHOD_NOT_ALLOWED: "report",
    Reason.REQUEST_TIMEOUT: "again",
    Reason.BODY_TOO_LARGE: "smaller",
    Reason.URI_TOO_LONG: "address",
    Reason.EXPECTATION_FAILED: "report",
    Reason.HEADERS_TOO_LARGE: "cookies",
    Reason.HOST_MISMATCH: "again",
    Reason.LOCKED_OUT: "wait",
    Reason.TOO_MANY_CONNECTIONS: "wait",
    Reason.UPSTREAM_UNREACHABLE: "later",
    Reason.UPSTREAM_BAD_RESPONSE: "later",
    Reason.NO_HEALTHY_UPSTREAM: "later",
    Reason.UPSTREAM_TIMEOUT: "later",
}
