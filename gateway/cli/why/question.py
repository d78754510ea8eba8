"""WHO of `--why`: what it may be, which lines are about it, and a finder for them (see `gateway.logs.reader`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from gateway.cli.why.history import People
from gateway.cli.why.lines import holder_of, login_of, plain_name, words_of
from gateway.errors import UsageError
from gateway.facts import parse_address
from gateway.logs.entry import Entry
from gateway.logs.filters import fold
from gateway.logs.times import parse_since
from gateway.request_number import parse_short_number, short_value

WINDOW_SECONDS: Final = 300.0  # around a time of day: people look at the clock after they have tried twice
MAX_FINGERPRINTS: Final = 256  # that are learned from lines and from the registry

_TIME: Final = re.compile(
    r"(?:(?:\d{4}-\d\d-\d\d)[Tt ])?\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_HEX: Final = re.compile(r"(?:0x)?([0-9a-f]{1,2}(?::?[0-9a-f]{2})*)")
_WHOLE_NUMBER: Final = re.compile(r"[0-9a-f]{32}")
_RUN: Final = re.compile(r"[A-Za-z0-9@._-]+")
_MIN_RUN: Final = 3
_REFUSALS: Final = 'reason"[ \t\r]*:[ \t\r]*"'

# What WHO was taken for, in the order in which it is said.
ADDRESS, LOGIN, EMAIL, NAME = (
    "an address",
    "a mail login",
    "the mail address of a certificate",
    "the CN of a certificate",
)
SERIAL, FINGERPRINT, DEVICE = "the serial number of a certificate", "the fingerprint of a certificate", "a device id"
NUMBER, TIME = "a request number", "a time"
KINDS: Final = (ADDRESS, NUMBER, TIME, LOGIN, EMAIL, NAME, SERIAL, FINGERPRINT, DEVICE)


@dataclass(slots=True)
class Question:
    """WHO, read. `fingerprints`: certificates that belong to WHO, with the names of their holders."""

    text: str  # in lower case, and without a domain before it (`EXAMPLE\\alice`)
    whole: str = ""  # in lower case
    network: IPv4Network | IPv6Network | None = None
    number: int | None = None  # the value of a short request number
    whole_number: str | None = None
    moment: float | None = None  # Unix seconds
    digits: str = ""  # of a serial number or fingerprint, without leading zeros
    fingerprints: dict[str, str] = field(default_factory=dict)
    taken_for: dict[str, int] = field(default_factory=dict)  # how many lines

    @property
    def reads_all(self) -> bool:
        """Whether each line is needed: of a request or a time, the person is not known before."""
        return self.number is not None or self.whole_number is not None or self.moment is not None

    @property
    def is_bare(self) -> bool:
        """Whether it has no domain."""
        return "@" not in self.text

    def is_asked_request(self, entry: Entry) -> bool:
        """Whether the line has the request number."""
        if entry.request_id is None:
            return False
        number = fold(entry.request_id)
        if self.whole_number is not None and number == self.whole_number:
            return True
        return self.number is not None and short_value(entry.request_id) == self.number

    def is_near(self, entry: Entry) -> bool:
        """Whether the line is of about the time that was asked for."""
        return self.moment is not None and abs(entry.time.timestamp() - self.moment) <= WINDOW_SECONDS

    def note(self, kind: str) -> None:
        """Count a line for what WHO was taken for."""
        self.taken_for[kind] = self.taken_for.get(kind, 0) + 1

    def person_in(self, entry: Entry, people: People) -> str | None:
        """The name of the person if the line is about WHO; None if it isn't."""
        if self.network is not None:
            if not self._has_address(entry):
                return None
            self.note(ADDRESS)
            return people.name_of(entry)
        by_certificate = self._certificate_kind(entry)
        login = login_of(entry)
        if by_certificate is not None:
            self.note(by_certificate)
            name = people.name_of(entry)
        elif login is not None and self._is_login(login):
            self.note(LOGIN)
            name = self.text if not self.is_bare and "@" not in login else login
        elif entry.device_id is not None and fold(entry.device_id) == self.whole:
            self.note(DEVICE)
            return people.name_of(entry)
        else:
            known = self.fingerprints.get(entry.cert_fingerprint or "")
            return known or None
        self._learn(entry, name, login)
        return name

    def _learn(self, entry: Entry, name: str, login: str | None) -> None:
        """Remember the certificate with which a request was let in: lines of failed handshakes have no other name."""
        fingerprint = entry.cert_fingerprint
        is_own = login is None or login == name or login == name.partition("@")[0]
        if fingerprint is not None and entry.reason is None and is_own and len(self.fingerprints) < MAX_FINGERPRINTS:
            self.fingerprints.setdefault(fingerprint, name)

    def _has_address(self, entry: Entry) -> bool:
        if entry.client_ip is None or self.network is None:
            return False
        try:
            return parse_address(entry.client_ip) in self.network
        except ValueError:
            return False

    def _is_login(self, login: str) -> bool:
        if login == self.text:
            return True
        local, at, _ = login.partition("@")
        if self.is_bare:
            return bool(at) and local == self.text
        return not at and login == self.text.partition("@")[0]

    def _certificate_kind(self, entry: Entry) -> str | None:
        holder = holder_of(entry)
        if entry.cert_email is not None and holder is not None and self._is_login(holder):
            return EMAIL
        if entry.common_name is not None:
            name = plain_name(entry.common_name)
            if name == self.whole or (entry.cert_email is None and self._is_login(name)):
                return NAME
        if self.digits:
            if entry.cert_serial is not None and fold(entry.cert_serial).lstrip("0") == self.digits:
                return SERIAL
            if entry.cert_fingerprint is not None and fold(entry.cert_fingerprint).lstrip("0") == self.digits:
                return FINGERPRINT
        return None

    def longer_name_in(self, entry: Entry) -> str | None:
        """A name in the line of which all words of WHO are words, such as the family name."""
        wanted = words_of(self.text)
        if self.network is not None or self.digits or not wanted:
            return None
        names = (entry.common_name, entry.cert_email, entry.user)
        return next((name for name in names if name and wanted <= words_of(name)), None)

    def finder(self) -> bytes | None:
        """What each line that matters has: WHO's text, a refusal, or a known certificate. None: each line is needed."""
        if self.reads_all:
            return None
        if self.network is not None:
            return self._address_finder()
        texts: list[str] = [self.digits or self.text.partition("@")[0]]
        if self.digits and self.digits != self.text and ":" not in self.text:
            texts.append(self.text)
        runs = [max(_RUN.findall(text), key=len, default="") for text in texts]
        if any(len(run) < _MIN_RUN for run in runs):
            return None
        found = [f"(?i:{re.escape(run)})" for run in (*runs, *self.fingerprints)]
        return "|".join((*found, _REFUSALS)).encode("ascii")

    def _address_finder(self) -> bytes | None:
        network = self.network
        if isinstance(network, IPv4Network) and network.prefixlen == network.max_prefixlen:
            return re.escape(str(network.network_address)).encode("ascii")
        return None  # other programs may spell it otherwise


def question_of(text: str, now: datetime) -> Question:
    """Read WHO. Raises `UsageError`."""
    wanted = plain_name(text.strip())
    if not wanted:
        raise UsageError(
            "--why: there is nothing in it",
            "write an address, a mail address, a login, a certificate's name, serial or fingerprint, a device id, "
            "a request number or a time",
        )
    question = Question(wanted.rpartition("\\")[2] or wanted, wanted)
    try:
        question.network = ip_network(wanted, strict=False)
    except ValueError:
        pass
    else:
        return question
    if _TIME.fullmatch(text.strip()):
        try:
            question.moment = parse_since(text, now)
        except UsageError as error:
            raise UsageError(f"--why: {text!r} is not a time", "write 07:12, or '2026-11-24 07:12'") from error
        return question
    if (found := _HEX.fullmatch(wanted)) is not None:
        question.digits = found[1].replace(":", "").lstrip("0")
    if _WHOLE_NUMBER.fullmatch(wanted):
        question.whole_number = wanted
    question.number = parse_short_number(wanted)
    return question


def in_order(kinds: Iterable[str]) -> list[str]:
    """Kinds in the order in which they are said."""
    return [kind for kind in KINDS if kind in set(kinds)]
