"""The verdict on a client certificate: one function for full and resumed handshakes, and for `gateway cert verify`.

Keeps true: a certificate is trusted only if every check passed, and every refusal has the reason that
helps the holder most. The checks are made in this order: issuer (path), dates, usage, revocation. So an expired
certificate of the site's CA is "expired", and one of another CA is "untrusted".
The identity is always that of the leaf whose key the handshake proved, never of another certificate that the client
sent along (CVE-2023-2422).

X.509v1 leaves, as `openssl x509 -req` makes them, are accepted: they have no usage extensions to check.
Sources: RFC 5280 sections 4.2.1 and 6, RFC 8446 section 4.4.2.4, NIST SP 800-131A on key sizes and digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.errors import GatewayError
from gateway.facts import Identity, Judgement, Reason
from gateway.tls.trust import Trust
from gateway.x509.authorities import has_ca_flag
from gateway.x509.fields import extensions_of, subject_of
from gateway.x509.loading import tolerated_serials
from gateway.x509.name_constraints import Constraints, check_names, constraints_on
from gateway.x509.names import IdentityError, fingerprint, identity_of, is_quickly_read, load_certificate
from gateway.x509.path_search import MAX_CHAIN_CERTIFICATES, ForgedError, PathError
from gateway.x509.paths import FoundPath, Path
from gateway.x509.policies import check_policies
from gateway.x509.status import Status
from gateway.x509.strength import weakness_of_key, weakness_of_signature
from gateway.x509.unreadable import UNREADABLE

_CLIENT_AUTH: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})

# If no path is valid: which refusal is reported. Those about the leaf come first, because its holder can act on them.
_BEST_FIRST: Final = (
    Reason.CERTIFICATE_REVOKED,
    Reason.CERTIFICATE_EXPIRED,
    Reason.CERTIFICATE_NOT_YET_VALID,
    Reason.CERTIFICATE_WRONG_USAGE,
    Reason.REVOCATION_UNKNOWN,
    Reason.CERTIFICATE_UNTRUSTED,
)


class _RefusedError(GatewayError):
    """The certificate is refused, with this reason and detail."""

    def __init__(self, reason: Reason, detail: str, *, is_on_hold: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.is_on_hold = is_on_hold


class _Shown(NamedTuple):
    """What a path is judged by: the client's certificate, the others it sent, and what the site trusts at that time."""

    leaf: x509.Certificate
    identity: Identity
    chain_der: Sequence[bytes]
    trust: Trust
    now: datetime


class _Counting(NamedTuple):
    """A valid path, by which the certificate is trusted."""

    path: tuple[bytes, ...]
    authorities: frozenset[bytes]  # on the path, and on its valid continuations to other anchors
    is_constrained: bool
    until: datetime


@dataclass(frozen=True, slots=True)
class Examination:
    """A judgement, how long it is valid, and what it depends on."""

    judgement: Judgement
    until: datetime | None  # after this instant a trusted certificate must be judged again; None if refused
    # All its paths consist of the leaf and the site's CAs, without certificates that the client sent along. Only then
    # may the handshake leave a session: a resumed session has only the leaf, perhaps in another process, and must get
    # the same verdict.
    is_alone: bool


def judge(
    leaf: x509.Certificate | bytes, chain: Sequence[x509.Certificate | bytes], trust: Trust, now: datetime
) -> Judgement:
    """Whether `leaf` is trusted at `now`; `chain`: the client's other certificates, in any order. Never raises."""
    return examine(_der(leaf), [_der(certificate) for certificate in chain], trust, now).judgement


def examine(leaf_der: bytes, chain_der: Sequence[bytes], trust: Trust, now: datetime) -> Examination:
    """As `judge`, with what a cache needs to know."""
    try:
        with tolerated_serials():
            return _examine(leaf_der, chain_der, trust, now)
    except IdentityError as error:
        return _refusal(None, Reason.CERTIFICATE_UNTRUSTED, error.cause)


def _examine(leaf_der: bytes, chain_der: Sequence[bytes], trust: Trust, now: datetime) -> Examination:
    """Trusted with all its valid paths, or refused with the most useful reason. Raises `IdentityError`.

    The certificate's names are read only after a CA of the site is known to have signed it, unless reading is cheap.
    """
    if problem := _problem_without_path(leaf_der, trust):
        return _stranger(leaf_der, problem)
    leaf: x509.Certificate | None = None
    counting: list[_Counting] = []
    refusals: list[tuple[Reason, bool, str]] = []  # not exceptions, which would keep all frames and so the connection
    try:
        for found in trust.paths.find(leaf_der, chain_der):
            if leaf is None:
                leaf = load_certificate(leaf_der)
                identity = identity_of(leaf)
                shown = _Shown(leaf, identity, chain_der, trust, now)
            try:
                counting.append(_counting(shown, found))
            except _RefusedError as refused:
                refusals.append((refused.reason, refused.is_on_hold, refused.cause))
    except PathError as error:
        return _stranger(leaf_der, error)
    if counting:
        return _examination(identity, counting, trust)
    reason, is_on_hold, cause = min(refusals, key=lambda refusal: (_BEST_FIRST.index(refusal[0]), refusal[1]))
    return _refusal(identity, reason, cause, is_on_hold=is_on_hold)


def _problem_without_path(leaf_der: bytes, trust: Trust) -> _RefusedError | None:
    if not trust.anchors:
        return _RefusedError(Reason.CERTIFICATE_UNTRUSTED, "this site has no client_ca")
    if fingerprint(leaf_der) in trust.anchor_fingerprints:
        return _RefusedError(Reason.CERTIFICATE_WRONG_USAGE, "the CA's own certificate is not a client certificate")
    return None


def _stranger(leaf_der: bytes, error: _RefusedError | PathError) -> Examination:
    """The refusal of a certificate without a path, with its names for the log unless reading them is expensive."""
    reason = error.reason if isinstance(error, _RefusedError) else Reason.CERTIFICATE_UNTRUSTED
    if not is_quickly_read(leaf_der):
        why = f"its names are not logged: it has too many, or is too large with {len(leaf_der)} bytes"
        return _refusal(None, reason, f"{error.cause} ({why})")
    leaf = load_certificate(leaf_der)
    identity, cause = identity_of(leaf), error.cause
    if isinstance(error, ForgedError) and (problem := weakness_of_signature(leaf)):
        cause = f"the certificate is signed with {problem}"
    elif isinstance(error, PathError):
        cause += f" (issuer {identity.issuer})"
    return _refusal(identity, reason, cause)


def _refusal(identity: Identity | None, reason: Reason, detail: str, *, is_on_hold: bool = False) -> Examination:
    return Examination(Judgement(identity, reason, detail, is_on_hold), None, is_alone=False)


def _examination(identity: Identity, counting: Sequence[_Counting], trust: Trust) -> Examination:
    """The certificate is trusted. Rules see the CAs of all paths; one path without name constraints allows any name.

    The verdict is valid for as long as every path is.
    """
    identity = replace(
        identity,
        chain_der=counting[0].path,
        path_fingerprints=frozenset(map(fingerprint, frozenset().union(*(each.authorities for each in counting)))),
        is_constrained=all(each.is_constrained for each in counting),
    )
    is_alone = identity.path_fingerprints <= trust.anchor_fingerprints
    until = min(each.until for each in counting)
    return Examination(Judgement(identity, None, f"issued by {identity.issuer}"), until, is_alone)


def _counting(shown: _Shown, found: FoundPath) -> _Counting:
    """The certificate is trusted by this path. Raises `_RefusedError`."""
    constraints, until = _checked(shown, found)
    ders = tuple(map(_der, found.path))
    authorities = set(ders)
    for path in found.further:  # it is trusted without them
        with suppress(_RefusedError):
            _, end = _checked(shown, found._replace(path=path))
            authorities.update(map(_der, path))
            until = min(until, end)
    return _Counting(ders, frozenset(authorities), bool(constraints), until)


def _checked(shown: _Shown, found: FoundPath) -> tuple[Constraints, datetime]:
    """The path's name constraints, and until when it is valid. Raises `_RefusedError`."""
    try:
        constraints = constraints_on(found.constraining)
        end = _end(shown, found.path, constraints)
        return constraints, min([end, *_revocation(shown, found.path)])
    except UNREADABLE as error:
        detail = "a certificate on the path to the CA is not readable"
        raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, detail) from error


def _end(shown: _Shown, path: Path, constraints: Constraints) -> datetime:
    """Until when the path is valid. Raises `_RefusedError` and `UNREADABLE`."""
    leaf, identity = shown.leaf, shown.identity
    _check_strength(leaf, path)
    _check_dates(identity, path, shown.now)
    _check_authorities(path)
    _check_usage(leaf)
    if problem := check_names(identity, constraints) or check_policies(leaf, path):
        raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, problem)
    return min([identity.not_after, *(ca.not_valid_after_utc for ca in path)])


def _der(certificate: x509.Certificate | bytes) -> bytes:
    return certificate if isinstance(certificate, bytes) else certificate.public_bytes(Encoding.DER)


def _check_strength(leaf: x509.Certificate, path: Path) -> None:
    """Refuse weak keys and digests, which can be forged. An anchor's own signature proves nothing and isn't checked."""
    anchor = path[-1]
    for certificate in (leaf, *path):
        who = "the certificate" if certificate is leaf else f"the CA {_name(certificate)}"
        if problem := weakness_of_key(certificate):
            raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, f"{who} has {problem}")
        if certificate is not anchor and (problem := weakness_of_signature(certificate)):
            raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, f"{who} is signed with {problem}")


def _check_dates(identity: Identity, path: Path, now: datetime) -> None:
    """The leaf's dates first, because its holder can act on them. Both ends belong to the validity (4.1.2.5)."""
    instant = now.replace(microsecond=0)
    if instant > identity.not_after:
        raise _RefusedError(Reason.CERTIFICATE_EXPIRED, f"expired {identity.not_after:%Y-%m-%d %H:%M:%S} UTC")
    if instant < identity.not_before:
        raise _RefusedError(
            Reason.CERTIFICATE_NOT_YET_VALID, f"not valid before {identity.not_before:%Y-%m-%d %H:%M:%S} UTC"
        )
    for ca in path:
        start, end = ca.not_valid_before_utc, ca.not_valid_after_utc
        if instant > end:
            cause = f"the CA {_name(ca)} expired {end:%Y-%m-%d %H:%M:%S} UTC"
            raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, cause)
        if instant < start:
            cause = f"the CA {_name(ca)} is not valid before {start:%Y-%m-%d %H:%M:%S} UTC"
            raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, cause)


def _check_authorities(path: Path) -> None:
    """Each issuer on the path must be a CA for client certificates. X.509v1 can't say so: only anchors may be v1."""
    for ca in path:
        if ca is not path[-1] and not has_ca_flag(ca):
            raise _RefusedError(Reason.CERTIFICATE_UNTRUSTED, f"{_name(ca)} issued this certificate but is not a CA")
        usages = _extended_usages(ca)
        if usages is not None and not usages & _CLIENT_AUTH:
            why = "may not issue client certificates (no clientAuth in its extended key usage)"
            raise _RefusedError(Reason.CERTIFICATE_WRONG_USAGE, f"the CA {_name(ca)} {why}")


def _check_usage(leaf: x509.Certificate) -> None:
    """A client certificate must not be a CA's, must be able to sign, and its extended usage must allow clientAuth."""
    if has_ca_flag(leaf):
        raise _RefusedError(Reason.CERTIFICATE_WRONG_USAGE, "a CA certificate is not a client certificate")
    usages = _extended_usages(leaf)
    if usages is not None and not usages & _CLIENT_AUTH:
        raise _RefusedError(Reason.CERTIFICATE_WRONG_USAGE, "the extended key usage does not include clientAuth")
    try:
        usage = extensions_of(leaf).get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    is_ec = isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    if not (usage.digital_signature or (is_ec and usage.key_agreement)):
        raise _RefusedError(Reason.CERTIFICATE_WRONG_USAGE, "the key usage does not include digitalSignature")


def _extended_usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier] | None:
    """The extended key usages; None if the certificate has none and so is valid for all."""
    try:
        return set(extensions_of(certificate).get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None


def _revocation(shown: _Shown, path: Path) -> list[datetime]:
    """When the answers of the lists expire; every certificate below the anchor is looked up. Raises `_RefusedError`.

    A revoked certificate is refused even if others on the path are unknown: a revoked CA publishes no more lists.
    """
    leaf, trust = shown.leaf, shown.trust
    if trust.revocation is None:
        return []
    ends, unknown = [], ""
    for depth, certificate in enumerate((leaf, *path[:-1])):
        answer = trust.revocation.status_on_path(certificate, path[depth:], shown.now, _known(trust, shown.chain_der))
        if answer.status is Status.REVOKED:
            who = "" if certificate is leaf else f"the CA {_name(certificate)} is "
            raise _RefusedError(Reason.CERTIFICATE_REVOKED, who + answer.detail, is_on_hold=answer.is_on_hold)
        if answer.status is Status.UNKNOWN:
            unknown = unknown or answer.detail
        if answer.until is not None:
            ends.append(answer.until)
    if unknown:
        raise _RefusedError(Reason.REVOCATION_UNKNOWN, unknown)
    return ends


def _known(trust: Trust, chain_der: Sequence[bytes]) -> Iterator[x509.Certificate]:
    """Certificates not on the path whose key may sign a CA's revocation lists. Long ones are skipped."""
    yield from trust.anchors
    for der in filter(is_quickly_read, chain_der[:MAX_CHAIN_CERTIFICATES]):
        with suppress(IdentityError):
            yield load_certificate(der)


def _name(certificate: x509.Certificate) -> str:
    return repr(subject_of(certificate).rfc4514_string())
