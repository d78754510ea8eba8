"""The filters of `gateway logs`: what is asked for, as a test of an `Entry` and, where there is one, a finder of lines.

A line must pass all filters. Text is compared without regard to case.

These filters have a finder (see `reader`): `--request` with a whole number and `--cert` (the longest run of letters and
digits in the text, if there are three), `--user`, `--device` and `--rule` (the same, behind the key), `--ip` (the parts
of the address that all of the network has; of IPv4 at least two), `--reason`, `--denied`, `--observed`, `--status`,
`--slow` (the digits before the point), `--uri` (see `paths`), `--since` and `--until` (see `time_finders`) and
`--site`. One of them is used, the rarest. `--request` with a short number needs each line parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

import msgspec

from gateway.errors import UsageError
from gateway.facts import Reason
from gateway.logs.entry import Entry
from gateway.logs.time_finders import since_finder, until_finder
from gateway.logs.times import parse_duration, parse_since, parse_until

MAX_REMEMBERED: Final = 4096  # verdicts about addresses and paths that were seen before
HANDSHAKE_FAILED: Final = "handshake_failed"
REASONS: Final = (*(reason.value for reason in Reason), HANDSHAKE_FAILED)

_SPACE: Final = r"[ \t\r]*"
_IN_STRING: Final = r'(?:[^"\\\n]|\\.)*'
_RUN: Final = re.compile(r"[A-Za-z0-9@._-]+")  # what JSON and names of certificates never escape, but for \u
_MIN_RUN: Final = 3
_STATUS: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)", re.IGNORECASE)
_WHOLE_NUMBER: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_HEX: Final = re.compile(r"(?:0x)?([0-9a-f]{1,2}(?::?[0-9a-f]{2})*)")  # with colons, as openssl writes it
_OCTET_BITS, _HEXTET_BITS = 8, 16
_MIN_OCTETS: Final = 2
# Lower case of these letters is ASCII, so a finder for ASCII letters would miss them: they stay as they are.
_ODD_LETTERS: Final = re.compile("([\u0130\u212a])")


class Asked(msgspec.Struct, frozen=True, kw_only=True):  # a dataclass takes milliseconds of each start
    """The options, as they were written."""

    denied: bool = False
    observed: bool = False
    reason: str | None = None
    user: str | None = None
    cert: str | None = None
    ip: str | None = None
    site: str | None = None
    rule: str | None = None
    uri: str | None = None
    status: str | None = None
    device: str | None = None
    request: str | None = None
    slow: str | None = None
    since: str | None = None
    until: str | None = None


class Filter(NamedTuple):
    r"""One option. `finder` is a regular expression that is found in each line of JSON without `\u` that passes."""

    option: str
    passes: Callable[[Entry], bool]
    finder: str | None = None
    is_in_combined: bool = False  # whether a line in the combined format can pass
    is_common: bool = False  # most lines pass: its finder is used only where there is no other


class Filters(msgspec.Struct, frozen=True):
    """All options together."""

    filters: tuple[Filter, ...]
    since: float | None  # Unix seconds
    until: float | None = None

    @property
    def finder(self) -> bytes | None:
        """The first finder, of those for what is rare if there are any."""
        return self.rare_finder or self._first_of(is_common=True)

    @property
    def rare_finder(self) -> bytes | None:
        """The first finder for what few lines have."""
        return self._first_of(is_common=False)

    def _first_of(self, *, is_common: bool) -> bytes | None:
        found = (each.finder for each in self.filters if each.is_common == is_common and each.finder is not None)
        finder = next(found, None)
        return None if finder is None else finder.encode("ascii")

    @property
    def not_in_combined(self) -> tuple[str, ...]:
        """The options that no line in the combined format passes."""
        return tuple(each.option for each in self.filters if not each.is_in_combined)

    def without_since(self) -> Filters:
        """The others: for what has to know of earlier lines too."""
        return Filters(tuple(each for each in self.filters if each.option != "--since"), None, self.until)

    def matches(self) -> Callable[[Entry], bool]:
        """Whether a line passes all."""
        tests = tuple(each.passes for each in self.filters)
        if not tests:
            return lambda _: True
        return tests[0] if len(tests) == 1 else lambda entry: all(test(entry) for test in tests)


def filters_of(asked: Asked, now: datetime) -> Filters:
    """The filters that were asked for. Raises `UsageError` that says what to write instead."""
    since = None if asked.since is None else parse_since(asked.since, now)
    until = None if asked.until is None else parse_until(asked.until, now, since)
    return Filters((*_named(asked), *_flags(asked), *_ranges(asked, since, until)), since, until)


def fold(text: str) -> str:
    """In lower case. No ASCII character comes from another one, as it does with `casefold`."""
    if text.isascii():
        return text.lower()
    return "".join(part if _ODD_LETTERS.fullmatch(part) else part.lower() for part in _ODD_LETTERS.split(text))


def _named(asked: Asked) -> Iterator[Filter]:
    """What the filters with the rarest finders ask for, first."""
    builders: tuple[tuple[str | None, Callable[[str], Filter]], ...] = (
        (asked.request, _by_request),
        (asked.cert, _by_certificate),
        (asked.user, _by_user),
        (asked.device, _by_device),
        (asked.ip, _by_address),
        (asked.reason, _by_reason),
        (asked.rule, _by_rule),
        (asked.site, _by_site),
        (asked.uri, _by_uri),
    )
    for text, build in builders:
        if text is not None:
            yield build(text)


def _flags(asked: Asked) -> Iterator[Filter]:
    if asked.observed:
        yield Filter("--observed", lambda entry: entry.observed is not None, _key("observed", '"'))
    if asked.denied:
        yield Filter("--denied", lambda entry: entry.reason is not None, _key("reason", '"'))
    if asked.status is not None:
        yield _by_status(asked.status)


def _ranges(asked: Asked, since: float | None, until: float | None) -> Iterator[Filter]:
    if asked.slow is not None:
        least_ms = parse_duration("--slow", asked.slow) * 1000
        yield Filter(
            "--slow", lambda entry: entry.duration_ms is not None and entry.duration_ms >= least_ms, _slow(least_ms)
        )
    if since is not None:
        first = datetime.fromtimestamp(since, UTC)
        yield Filter(
            "--since", lambda entry: entry.time >= first, since_finder(first), is_in_combined=True, is_common=True
        )
    if until is not None:
        last = datetime.fromtimestamp(until, UTC)
        yield Filter(
            "--until", lambda entry: entry.time < last, until_finder(last), is_in_combined=True, is_common=True
        )


def _by_request(text: str) -> Filter:
    if _WHOLE_NUMBER.fullmatch(text):
        wanted = text.lower()
        return Filter(
            "--request", lambda entry: entry.request_id is not None and fold(entry.request_id) == wanted, _run(text)
        )
    from gateway.request_number import parse_short_number, short_value  # noqa: PLC0415 - slow, and only for this option

    value = parse_short_number(text)
    if value is None:
        raise UsageError(
            f"--request: {text!r} is not a request number",
            "write the eight characters that the page shows, such as K7MP-3XWA, or all 32 of the number below",
        )
    return Filter("--request", lambda entry: entry.request_id is not None and short_value(entry.request_id) == value)


def _by_certificate(text: str) -> Filter:
    wanted = _given("--cert", text, "a certificate's CN, mail address, serial number or fingerprint")
    found = _HEX.fullmatch(wanted)
    digits = "" if found is None else found[1].replace(":", "").lstrip("0")
    is_name = not digits or (":" not in wanted and not wanted.startswith("0x"))

    def passes(entry: Entry) -> bool:
        names = (entry.common_name, entry.cert_email) if is_name else ()
        numbers = (entry.cert_serial, entry.cert_fingerprint) if digits else ()
        return any(name is not None and fold(name) == wanted for name in names) or any(
            number is not None and fold(number).lstrip("0") == digits for number in numbers
        )

    return Filter("--cert", passes, _run(digits or wanted))


def _by_user(text: str) -> Filter:
    wanted = _given("--user", text, "a mail login, such as alice or alice@example.com")
    is_bare = "@" not in wanted and "\\" not in wanted

    def passes(entry: Entry) -> bool:
        if entry.user is None:
            return False
        user = fold(entry.user)
        return user == wanted or (is_bare and user.rpartition("\\")[2].partition("@")[0] == wanted)

    return Filter("--user", passes, _run_of("user", wanted), is_in_combined=True)


def _by_device(text: str) -> Filter:
    wanted = _given("--device", text, "an ActiveSync device id")
    return Filter(
        "--device",
        lambda entry: entry.device_id is not None and fold(entry.device_id) == wanted,
        _run_of("device_id", wanted),
    )


def _by_rule(text: str) -> Filter:
    wanted = _given("--rule", text, "a rule's name")
    return Filter(
        "--rule", lambda entry: entry.rule is not None and fold(entry.rule) == wanted, _run_of("rule", wanted)
    )


def _by_site(text: str) -> Filter:
    wanted = _given("--site", text, "a host name, such as mail.example.com").rstrip(".")

    def passes(entry: Entry) -> bool:
        host = fold(entry.host or "").partition(":")[0].rstrip(".")
        return wanted in {host, fold(entry.site or "")}

    return Filter("--site", passes, _run(wanted), is_common=True)


def _by_reason(text: str) -> Filter:
    wanted = text.strip().lower()
    if wanted not in REASONS:
        raise UsageError(f"--reason: {text!r} is not a reason code", f"write one of {', '.join(REASONS)}")
    return Filter(
        "--reason", lambda entry: entry.reason is not None and entry.reason.partition(": ")[0] == wanted, wanted
    )


def _by_status(text: str) -> Filter:
    if _STATUS.fullmatch(text) is None:
        raise UsageError(f"--status: {text!r} is not a status", "write 403, or 4xx for all from 400 to 499")
    if not text.isdecimal():
        first = int(text[0])
        return Filter(
            "--status",
            lambda entry: entry.status is not None and entry.status // 100 == first,
            _key("status", text[0]),
            is_in_combined=True,
        )
    wanted = int(text)
    return Filter("--status", lambda entry: entry.status == wanted, _key("status", text), is_in_combined=True)


def _by_address(text: str) -> Filter:
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise UsageError(f"--ip: {text!r} is not an address or network", _nearest_network(text)) from error

    @lru_cache(MAX_REMEMBERED)
    def contains(client: str) -> bool:
        try:
            address = ip_address(client)
        except ValueError:
            return False
        # Other programs write clients of IPv4 so. The gateway never does.
        if isinstance(address, IPv6Address) and "." in client and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address in network

    return Filter(
        "--ip",
        lambda entry: entry.client_ip is not None and contains(entry.client_ip),
        _address_run(network),
        is_in_combined=True,
    )


def _nearest_network(text: str) -> str:
    try:
        return f"write {ip_network(text.strip(), strict=False)}"
    except ValueError:
        return "write 203.0.113.9, 203.0.113.0/24 or 2001:db8::/64"


def _address_run(network: IPv4Network | IPv6Network) -> str | None:
    """What each spelling of each of its addresses has."""
    if isinstance(network, IPv4Network):
        octets = str(network.network_address).split(".")[: network.prefixlen // _OCTET_BITS]
        if len(octets) < _MIN_OCTETS:
            return None
        return re.escape(".".join(octets) + ("." if len(octets) * _OCTET_BITS < network.max_prefixlen else ""))
    common = network.network_address.exploded.split(":")[: min(network.prefixlen // _HEXTET_BITS, 7)]
    parts = []
    for hextet in (int(part, 16) for part in common):
        if not hextet:  # it may be left out, with its neighbours
            break
        parts.append(f"{hextet:x}:")
    return f"(?i){'0*'.join(parts)}" if parts else None


def _by_uri(text: str) -> Filter:
    from gateway.logs import paths  # noqa: PLC0415 - with all that judges paths, only for this option

    pattern = paths.parse("--uri", text.strip())
    has_path = lru_cache(MAX_REMEMBERED)(paths.path_test(pattern))
    beginning = paths.path_finder(pattern)
    return Filter(
        "--uri",
        lambda entry: entry.uri is not None and has_path(entry.uri.partition("?")[0]),
        None if beginning is None else _key("uri", f'"{beginning}'),
        is_in_combined=True,
    )


def _slow(least_ms: float) -> str | None:
    """A number with as many digits before its point, or more; or one with an exponent."""
    digits = str(int(least_ms))
    if digits == "0":
        return None
    same = f"[{digits[0]}-9][0-9]{{{len(digits) - 1}}}"
    return _key("duration_ms", f"(?:{same}|[0-9]{{{len(digits) + 1}}}|[0-9.]+[eE])")


def _given(option: str, text: str, what: str) -> str:
    folded = fold(text.strip())
    if not folded:
        raise UsageError(f"{option}: there is nothing in it", f"write {what}")
    return folded


def _run(text: str) -> str | None:
    longest = max(_RUN.findall(text), key=len, default="")
    return f"(?i){re.escape(longest)}" if len(longest) >= _MIN_RUN else None


def _run_of(name: str, text: str) -> str | None:
    """The run, in the value of this key. A search for the key, in its only case, is faster than for the run itself."""
    run = _run(text)
    return None if run is None else _key(name, f'"{_IN_STRING}(?:{run})')


def _key(name: str, value: str) -> str:
    # Without the quote before the name, RE2 is twice as fast: there are too many quotes in a line.
    return f'{name}"{_SPACE}:{_SPACE}{value}'
