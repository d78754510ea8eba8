"""What a line of the access log tells about a request, as the rules look at it.

Keeps true: what the line doesn't hold, or holds shortened, escaped or redacted, counts as unknown and is never guessed.
Three things are taken as they were, because no line can tell them: the proxies in front, the TLS server name, which is
taken to be the host, and whether a certificate was accepted, as long as `client_ca` has a CA with its issuer's name.
"""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import suppress
from typing import Final, NamedTuple

from gateway.config.model import Config, Site
from gateway.errors import GatewayError
from gateway.facts import NO_CONNECTION_LOGIN, Address, ConnectionLogin, Login, Reason, parse_address
from gateway.http.login import HIDDEN_LOGIN, login_of, path_for_login
from gateway.logs.entry import Entry
from gateway.logs.text import CUT_MARK, MAX_URI_CHARACTERS, MAX_VALUE_CHARACTERS, REDACTED, text_of
from gateway.policy.conditions import ACTIVESYNC
from gateway.policy.hosts import HostRejected, SiteIndex, normalise_host
from gateway.policy.networks import NetworkSet
from gateway.policy.partial_facts import ANY_JUDGEMENT, KnownCertificate, Missing, PartialRequest, Shown
from gateway.policy.uri import Target, UriRejected, normalise
from gateway.tls.trust import anchors_in
from gateway.x509.names import identity_of

# The rules let the request in, and it failed later.
LET_IN_AND_FAILED: Final = frozenset(
    {
        Reason.UPSTREAM_UNREACHABLE.value,
        Reason.UPSTREAM_BAD_RESPONSE.value,
        Reason.NO_HEALTHY_UPSTREAM.value,
        Reason.UPSTREAM_TIMEOUT.value,
        Reason.REQUEST_TIMEOUT.value,
        Reason.BODY_TOO_LARGE.value,
    }
)
_JUDGED: Final = frozenset(reason.value for reason in ANY_JUDGEMENT if reason is not None)
_OF_TRUSTED: Final = frozenset({Reason.CERTIFICATE_NOT_ALLOWED.value, Reason.USER_MISMATCH.value})
_REQUIRED: Final = "require_certificate"
_SECOND_PATH: Final = "the Destination: "
_WITH_DESTINATION: Final = frozenset({"COPY", "MOVE"})  # others are taken to have none

_ESCAPED: Final = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4})")  # as the log writes it; a name may look like it
_ATTRIBUTE: Final = re.compile(r'([A-Za-z0-9.-]+)=((?:[^\\,+"]|\\(?:[ "#+,;<>\\]|00))*+)([,+]|\Z)', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(00|.)", re.DOTALL)


class Placed(NamedTuple):
    """Where a request goes to. `site` is None if no site answers to its host, or if that is not known."""

    host: str | None
    site: Site | None


class Facts:
    """Reads lines for one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sites = SiteIndex([(host, site) for site in config.sites for host in site.hosts])
        self._proxies = NetworkSet(config.trusted_proxies)
        self._shared = {upstream.name for upstream in config.upstreams if upstream.connections == "shared"}
        self._issuers = {site.name: _names_of_authorities(site) for site in config.sites}

    def place(self, entry: Entry) -> Placed:
        """The host, and the site of this configuration that answers to it."""
        host = _host(entry.host)
        if host is not None:
            return Placed(host, self._sites.find(host))
        return Placed(None, next((site for site in self._config.sites if site.name == entry.site), None))

    def request_of(self, entry: Entry, placed: Placed) -> PartialRequest:
        """The request, as far as it is known."""
        target = _target(entry.uri)
        method = entry.method or ""
        return PartialRequest(
            address=self._address(entry),
            host=placed.host,
            method=method,
            paths=() if target is None else (target.match, *target.readings),
            shown=self._shown(entry, placed.site),
            sessions=() if target is None else self._sessions(entry, target, placed.site),
            has_destination=method.upper() in _WITH_DESTINATION or (entry.detail or "").startswith(_SECOND_PATH),
        )

    def _address(self, entry: Entry) -> Address | None:
        try:
            address = parse_address(entry.client_ip or "")
        except ValueError:
            return None
        if entry.client_port is None and not self._config.trusted_proxies:
            return None  # a proxy named it, and none is trusted now
        return None if self._proxies.contains(address) else address

    def _shown(self, entry: Entry, site: Site | None) -> Shown:
        said = {entry.reason, entry.observed}
        missing = Reason.CERTIFICATE_MISSING
        if entry.cert_fingerprint is None:
            if missing.value in said:
                return Shown(frozenset({missing}))
            return Shown(ANY_JUDGEMENT | {missing}, why=Missing.CERTIFICATE)
        certificate = _certificate(entry, entry.cert_fingerprint)
        if site is not None and not site.client_ca:
            return Shown(frozenset({Reason.CERTIFICATE_UNTRUSTED}), certificate)
        is_issuer_known = site is not None and entry.cert_issuer in self._issuers[site.name]
        judged = next(iter(said & _JUDGED), None)
        if entry.cert_subject is None or site is None:
            return Shown(ANY_JUDGEMENT, certificate)
        if judged == Reason.CERTIFICATE_UNTRUSTED and not is_issuer_known:
            return Shown(frozenset({Reason.CERTIFICATE_UNTRUSTED}), certificate)
        if not is_issuer_known or judged == Reason.CERTIFICATE_UNTRUSTED:
            return Shown(ANY_JUDGEMENT, certificate)
        if judged is not None:
            return Shown(frozenset({Reason(judged)}), certificate)
        passed = entry.decision == _REQUIRED and entry.observed is None
        if said & _OF_TRUSTED or (passed and (entry.reason is None or entry.reason in LET_IN_AND_FAILED)):
            return Shown(frozenset({None}), certificate)
        return Shown(ANY_JUDGEMENT, certificate)

    def _sessions(
        self, entry: Entry, target: Target, site: Site | None
    ) -> tuple[tuple[Login, ConnectionLogin | None], ...]:
        path = path_for_login(target.match, target.readings)
        query = target.query
        if query and ACTIVESYNC in path and (REDACTED in query or "\\" in query):
            return ()
        # On a connection of its own, a client's earlier logins count too; the line doesn't have them.
        carried = NO_CONNECTION_LOGIN if site is not None and site.upstream in self._shared else None
        match entry.login:
            case "none":
                authorization = None
            case "basic":
                if entry.user is not None and (":" in entry.user or not _is_whole(entry.user)):
                    return ()
                authorization = b"Basic !" if entry.user is None else _basic(entry.user)
            case "bearer" | "digest":
                authorization = entry.login.encode("ascii") + b" x"
            case "connection":  # its own, or an earlier one
                own = login_of(path, query, b"Negotiate x")
                return ((own, NO_CONNECTION_LOGIN), (login_of(path, query, None), HIDDEN_LOGIN))
            case _:
                return ()
        login = login_of(path, query, authorization)
        is_same = login.device_id == entry.device_id or not _is_whole(entry.device_id or "")
        return ((login, carried),) if is_same else ()


def _basic(user: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:".encode())


def _is_whole(text: str, limit: int = MAX_VALUE_CHARACTERS) -> bool:
    """Whether the log has this text as it was: not cut, not redacted, without escapes of its own."""
    is_cut = len(text) >= limit and text.endswith(CUT_MARK)
    return not is_cut and REDACTED not in text and _ESCAPED.search(text) is None


def _host(text: str | None) -> str | None:
    if text is None or not text.isascii() or "\\" in text:
        return None
    try:
        return normalise_host(text)
    except HostRejected:
        return None


def _target(uri: str | None) -> Target | None:
    """The target; None if its path is not known."""
    if uri is None:
        return None
    path = uri.partition("?")[0]
    is_cut = len(uri) >= MAX_URI_CHARACTERS and uri.endswith(CUT_MARK)
    if is_cut or REDACTED in path or "\\" in path:
        return None
    try:
        return normalise(uri.encode())
    except (UriRejected, UnicodeEncodeError):
        return None


def _certificate(entry: Entry, fingerprint: str) -> KnownCertificate:
    subject, email = entry.cert_subject, entry.cert_email
    is_known = email is not None and _is_whole(email)
    return KnownCertificate(
        fingerprint,
        rdns=None if subject is None else attributes_of(subject),
        emails=(email,) if email is not None and is_known else (),
        has_more_emails=email is not None or subject is None,  # the log has the first one, if there is one
    )


def attributes_of(subject: str) -> tuple[tuple[str, str], ...] | None:
    """The attributes of a name in the log, in the certificate's order; None if they can't be told (RFC 4514)."""
    if not subject:
        return ()
    if not _is_whole(subject):
        return None
    parts: list[list[tuple[str, str]]] = [[]]
    place = 0
    while (found := _ATTRIBUTE.match(subject, place)) is not None:
        parts[-1].append((found[1], _ESCAPE.sub(_unescaped, found[2])))
        if not found[3]:
            return tuple(attribute for part in reversed(parts) for attribute in part)
        if found[3] == ",":
            parts.append([])
        place = found.end()
    return None


def _unescaped(found: re.Match[str]) -> str:
    return "\0" if found[1] == "00" else found[1]


def _names_of_authorities(site: Site) -> frozenset[str]:
    """The names of its CAs, as the log writes an issuer. Without those that can't be read: they count as unknown."""
    names = set()
    for certificate in anchors_in(site.client_ca):
        with suppress(GatewayError):
            names.add(text_of(identity_of(certificate).subject))
    return frozenset(names)
