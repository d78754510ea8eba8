"""What a rule requires of a trusted certificate, and of the login and device of the request.

Keeps true: all conditions of the rule must hold; what cannot be read fails the condition. Names are
compared without case, letter by letter, and with runs of spaces as one (X.520 caseIgnoreMatch), and in no other way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import PatternError
from gateway.facts import Identity, Login, Reason, Request
from gateway.policy.binding import belongs, is_address
from gateway.policy.characters import fold
from gateway.policy.glob import Glob
from gateway.policy.rules import BindUser, CertificateConditions

ACTIVESYNC: Final = "/microsoft-server-activesync"  # SOGo has it below a prefix

_HIDDEN: Final = (
    "an earlier login on this connection hides its user name, and the mail server may treat this request as that "
    "user's; a new connection begins without a login"
)
_SPACES: Final = re.compile(r" +")
# Short names of subject attributes that tools write differently (RFC 4514, 3; OpenSSL; Windows).
_ALIASES: Final = {"E": "EMAILADDRESS", "EMAIL": "EMAILADDRESS", "S": "ST", "USERID": "UID"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A condition that does not hold."""

    reason: Reason
    detail: str  # one line


class EmailPattern:
    """`*@example.com`: wildcards may stand on both sides of the `@`. No wildcard matches an `@`."""

    __slots__ = ("_domain", "_local", "text")

    def __init__(self, text: str) -> None:
        local, at, domain = text.partition("@")
        if text != "*" and (not at or not local or not domain or "@" in domain):
            raise PatternError(f"{text!r} is not a pattern for an e-mail address", "write *@example.com")
        self.text = text
        self._local = Glob(fold(local))
        self._domain = Glob(fold(domain) if at else "*")

    def matches(self, address: str) -> bool:
        """Whether an address of a certificate matches. A text that is not a mail address never does."""
        if not is_address(address):
            return False
        local, _, domain = fold(address).partition("@")
        return self._local.matches(local) and self._domain.matches(domain)


class Conditions:
    """`CertificateConditions` with parsed patterns. `check` must be called only for a trusted certificate."""

    __slots__ = ("_devices", "_emails", "_rule", "_subject")

    def __init__(self, conditions: CertificateConditions) -> None:
        self._rule = conditions
        self._emails = tuple(map(EmailPattern, conditions.emails))
        self._subject = tuple((name, value, _type(name), Glob(_value(value))) for name, value in conditions.subject)
        self._devices = frozenset(map(_device, conditions.device_ids))

    @property
    def needs_login(self) -> bool:
        """Whether a condition needs the mail login or the device."""
        return self._rule.bind_user is not None or bool(self._devices)

    def has_subject(self, rdns: Iterable[tuple[str, str]]) -> bool:
        """Whether a subject with these attributes has all that the rule asks for."""
        return self._missing_attribute(tuple(rdns)) is None

    def counting(self, emails: Iterable[str]) -> tuple[str, ...]:
        """Those of a certificate's addresses that match the rule's `email`; all if the rule has no `email`."""
        if not self._emails:
            return tuple(emails)
        return tuple(email for email in emails if any(pattern.matches(email) for pattern in self._emails))

    def check_device(self, request: Request) -> Failure | None:
        """The failure of `device_ids`; None if the rule lists no devices, or this one."""
        return self._check_device(request, request.login) if self._devices else None

    def check(self, identity: Identity, request: Request) -> Failure | None:
        """The first condition that does not hold, in the documented order; None if all hold."""
        return self._check_certificate(identity) or self._check_login(identity, request)

    def _check_certificate(self, identity: Identity) -> Failure | None:
        rule = self._rule
        if rule.ca_fingerprints is not None and rule.ca_fingerprints.isdisjoint(identity.path_fingerprints):
            return _not_allowed("the certificate was issued by a CA that this rule does not name")
        if (missing := self._missing_attribute(identity.rdns)) is not None:
            name, value = missing
            return _not_allowed(f"the certificate's subject has no {name} like {value!r}")
        if self._emails and not self.counting(identity.emails):
            return _not_allowed("the certificate has no e-mail address that this rule lets in")
        if rule.fingerprints_sha256 and identity.fingerprint not in rule.fingerprints_sha256:
            return _not_allowed("the certificate's fingerprint is not in this rule's list")
        return None

    def _check_login(self, identity: Identity, request: Request) -> Failure | None:
        if not self.needs_login:
            return None
        bind, login = self._rule.bind_user, request.login
        if login.problem is not None:
            reason = Reason.CERTIFICATE_NOT_ALLOWED if bind is None else Reason.USER_MISMATCH
            return Failure(reason, f"the login cannot be read: {login.problem}")
        if bind is not None:
            if request.connection_login.is_hidden:
                return Failure(Reason.USER_MISMATCH, _HIDDEN)
            emails = self.counting(identity.emails)
            for users, which in ((login.users, ""), (request.connection_login.users, ", of this connection,")):
                for user in users:
                    if not belongs(user, bind, identity, emails):
                        cause = f"the login {user!r}{which} does not belong to the certificate ({bind})"
                        return Failure(Reason.USER_MISMATCH, cause + _of_constrained(bind, identity))
        return self.check_device(request)

    def _missing_attribute(self, rdns: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
        """The first attribute that a subject should have and has not, as the rule has it."""
        for name, value, wanted, glob in self._subject:
            if not any(_type(given) == wanted and glob.matches(_value(text)) for given, text in rdns):
                return name, value
        return None

    def _check_device(self, request: Request, login: Login) -> Failure | None:
        if login.device_id is not None:
            if _device(login.device_id) in self._devices:
                return None
            return _not_allowed(f"the device {login.device_id!r} is not in this rule's list")
        if ACTIVESYNC in request.path and request.method != "OPTIONS":
            return _not_allowed("the ActiveSync request has no device id, and this rule lists devices")
        return None


def _of_constrained(bind: BindUser, identity: Identity) -> str:
    """The addition for admins if the CA's name constraints exclude kinds of names; empty otherwise."""
    if not identity.is_constrained or bind not in {"cn", "san"}:
        return ""
    return "; its CA has name constraints, so only names that they limit count: mail addresses and user principal names"


def _not_allowed(detail: str) -> Failure:
    return Failure(Reason.CERTIFICATE_NOT_ALLOWED, detail)


def _type(name: str) -> str:
    upper = name.upper()
    return _ALIASES.get(upper, upper)


def _value(text: str) -> str:
    return _SPACES.sub(" ", fold(text).strip(" "))


def _device(text: str) -> str:
    """A device id as it is compared: the case of ASCII letters is ignored (MS-ASHTTP 2.2.1.1.1.2.3)."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
