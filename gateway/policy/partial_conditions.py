"""Why a rule with `require_certificate` may refuse a request of which not everything is known.

Keeps true: the reasons contain that of `Conditions.check` for each certificate and login that the known facts fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from gateway.facts import ConnectionLogin, Login, Reason, Request, parse_address
from gateway.policy.binding import is_address, is_one_of
from gateway.policy.matcher import Matcher
from gateway.policy.partial_facts import Causes, KnownCertificate, Missing, PartialRequest
from gateway.policy.rules import CertificateConditions

_ANYWHERE: Final = parse_address("0.0.0.0")  # stands in where only login and path are looked at


def reasons_of(matcher: Matcher, request: PartialRequest, path: str | None, causes: Causes) -> set[Reason | None]:
    """Why a rule with `require_certificate` may refuse the request. None: it lets it in."""
    shown = request.shown
    if len(shown.reasons) > 1:
        causes[shown.why] = None
    found: set[Reason | None] = {reason for reason in shown.reasons if reason is not None}
    if None in shown.reasons:
        allowed = _is_allowed(matcher, shown.certificate, causes)
        if allowed is not True:
            found.add(Reason.CERTIFICATE_NOT_ALLOWED)
        if allowed is not False:
            found |= _login_reasons(matcher, request, path, causes)
    return found


def _is_allowed(matcher: Matcher, certificate: KnownCertificate | None, causes: Causes) -> bool | None:
    """Whether a trusted certificate satisfies the conditions that don't look at the login; None: it may."""
    wanted = matcher.rule.certificate
    if wanted is None:
        return True
    return all_hold(
        (
            (_has_subject(matcher, wanted, certificate), Missing.SUBJECT),
            (_is_listed(wanted, certificate), Missing.CERTIFICATE),
            (_has_email(matcher, wanted, certificate), Missing.EMAIL),
            (True if wanted.ca_fingerprints is None else None, Missing.AUTHORITY),
        ),
        causes,
    )


def _has_subject(matcher: Matcher, wanted: CertificateConditions, certificate: KnownCertificate | None) -> bool | None:
    if not wanted.subject:
        return True
    if certificate is None or certificate.rdns is None:
        return None
    return matcher.conditions.has_subject(certificate.rdns)


def _is_listed(wanted: CertificateConditions, certificate: KnownCertificate | None) -> bool | None:
    if not wanted.fingerprints_sha256:
        return True
    return None if certificate is None else certificate.fingerprint in wanted.fingerprints_sha256


def _has_email(matcher: Matcher, wanted: CertificateConditions, certificate: KnownCertificate | None) -> bool | None:
    if not wanted.emails:
        return True
    if certificate is None:
        return None
    if matcher.conditions.counting(certificate.emails):
        return True
    return None if certificate.has_more_emails else False


def _login_reasons(matcher: Matcher, request: PartialRequest, path: str | None, causes: Causes) -> set[Reason | None]:
    if not matcher.conditions.needs_login:
        return {None}
    if path is None or not request.sessions:
        causes[Missing.LOGIN] = None
        return {None, Reason.USER_MISMATCH, Reason.CERTIFICATE_NOT_ALLOWED}
    found: set[Reason | None] = set()
    for login, carried in request.sessions:
        found |= _session_reasons(matcher, request, path, (login, carried), causes)
    if len(request.sessions) > 1 and len(found) > 1:
        causes[Missing.LOGIN] = None
    return found


def _session_reasons(
    matcher: Matcher,
    request: PartialRequest,
    path: str,
    session: tuple[Login, ConnectionLogin | None],
    causes: Causes,
) -> set[Reason | None]:
    """As `Conditions.check` decides on the login and device, in its order."""
    login, carried = session
    wanted = matcher.rule.certificate
    bind = None if wanted is None else wanted.bind_user
    if login.problem is not None:
        return {Reason.CERTIFICATE_NOT_ALLOWED if bind is None else Reason.USER_MISMATCH}
    found: set[Reason | None] = set()
    if bind is not None:
        bound = _is_bound(matcher, request.shown.certificate, login, carried, causes)
        if bound is not True:
            found.add(Reason.USER_MISMATCH)
        if bound is False:
            return found
    at = Request(_ANYWHERE, "", request.method, path, login=login)
    failure = matcher.conditions.check_device(at)
    found.add(None if failure is None else failure.reason)
    return found


def _is_bound(
    matcher: Matcher,
    certificate: KnownCertificate | None,
    login: Login,
    carried: ConnectionLogin | None,
    causes: Causes,
) -> bool | None:
    """Whether all logins belong to the certificate; None: they may."""
    if carried is not None and carried.is_hidden:
        return False
    met: Causes = {}
    for user in (*login.users, *(() if carried is None else carried.users)):
        why = _belongs(user, matcher, certificate)
        if why is False:
            return False
        if isinstance(why, Missing):
            met[why] = None
    if carried is None:
        met[Missing.EARLIER_LOGINS] = None
    causes |= met
    return None if met else True


def _belongs(user: str, matcher: Matcher, certificate: KnownCertificate | None) -> bool | Missing:
    """As `binding.belongs`; or what must be known to tell."""
    wanted = matcher.rule.certificate
    assert wanted is not None and wanted.bind_user is not None  # noqa: PT018, S101  # for mypy: only then is it asked
    if certificate is None:
        return Missing.NAMES
    by_email = is_one_of(user, matcher.conditions.counting(certificate.emails))
    match wanted.bind_user:
        case "email":
            return by_email or (Missing.EMAIL if certificate.has_more_emails else False)
        case "upn":
            return Missing.PRINCIPAL
        case "cn":
            if certificate.rdns is None:
                return Missing.SUBJECT
            name = certificate.common_name
            if name is None or not is_one_of(user, (name,)):
                return False
            return is_address(name) or Missing.NAMES  # under name constraints, only an address counts
        case "san":
            return by_email or Missing.NAMES
    assert_never(wanted.bind_user)


def all_hold(answers: Iterable[tuple[bool | None, Missing]], causes: Causes) -> bool | None:
    """Whether all conditions hold; None: they may, and `causes` gets what is not known."""
    met: Causes = {}
    for answer, missing in answers:
        if answer is False:
            return False
        if answer is None:
            met[missing] = None
    causes |= met
    return None if met else True
