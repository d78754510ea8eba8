"""Checks of the names that go into certificates, file names and the registry. Each name is checked once, on entry.

An e-mail address is an ASCII dot-atom, an `@` and a domain of letters, digits and hyphens. RFC 5280's rfc822Name has
exceptions for quoted local parts and for other scripts; they are refused here. So is an address that could be read as
a formula, an option or a path.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from gateway.errors import UsageError
from gateway.policy.hosts import HostRejected, normalise_host

MAX_COMMON_NAME_CHARACTERS: Final = 64  # ub-common-name, RFC 5280 appendix A.1
MAX_LOCAL_PART_CHARACTERS: Final = 64  # RFC 5321 section 4.5.3.1.1
MAX_DOMAIN_CHARACTERS: Final = 253  # RFC 1035 section 2.3.4, without the root's dot
MAX_PATH_CHARACTERS: Final = 200  # a phone can still read its QR code from paper
MAX_AUTHORITY_NAME_CHARACTERS: Final = 63

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"  # RFC 5322 section 3.2.3
_LOCAL_PART: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")  # RFC 3986 section 3.3
_AUTHORITY_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
# A formula in a spreadsheet or an option in a shell begins with one of these, full-width and small forms included.
FORMULA_STARTS: Final = "=+-@＝＋－＠﹦﹢﹣﹫−"


def check_domain(text: str) -> str:
    """The domain in lower case. Raises `UsageError`."""
    domain = text.lower().removesuffix(".")
    if len(domain) > MAX_DOMAIN_CHARACTERS or _DOMAIN.fullmatch(domain) is None:
        remedy = f"Write {ascii_domain}." if (ascii_domain := _in_ascii(text)) else "Write it like example.com."
        raise UsageError(f"'{_shown(text)}' is not a domain", remedy)
    return domain


def check_path(text: str) -> str:
    """The path of a page on the gateway: `/webmail`. Raises `UsageError`."""
    if len(text) > MAX_PATH_CHARACTERS or _PATH.fullmatch(text) is None:
        raise UsageError(
            f"'{_shown(text)}' is not a path", "Write it like /webmail, with a letter such as ä encoded as %C3%A4."
        )
    return text


def check_email(text: str, what: str = "e-mail address") -> str:
    """The address with its domain in lower case. Raises `UsageError`."""
    local, at, domain = text.rpartition("@")
    if not at or len(local) > MAX_LOCAL_PART_CHARACTERS or _LOCAL_PART.fullmatch(local) is None:
        raise UsageError(f"'{_shown(text)}' is not a valid {what}", "Write it like alice@example.com.")
    if local.startswith(tuple(FORMULA_STARTS)):
        cause = f"the {what} '{_shown(text)}' begins with '{local[0]}', as a formula or an option does"
        raise UsageError(cause, "Use another address.")
    if len(domain) > MAX_DOMAIN_CHARACTERS or _DOMAIN.fullmatch(domain.lower()) is None:
        remedy = f"Write {local}@{ascii_domain}." if (ascii_domain := _in_ascii(domain)) else ""
        cause = f"'{_shown(text)}' is not a valid {what}: its domain must have only letters, digits, '-' and '.'"
        raise UsageError(cause, remedy or "Write it like alice@example.com.")
    return f"{local}@{domain.lower()}"


def check_text(text: str, what: str, limit: int = MAX_COMMON_NAME_CHARACTERS) -> str:
    """A line of a certificate's subject, in Unicode's composed form. Raises `UsageError`."""
    line = unicodedata.normalize("NFC", text)
    if not line.strip():
        raise UsageError(f"the {what} is empty", "Write one.")
    if line != line.strip():
        raise UsageError(f"the {what} '{_shown(text)}' begins or ends with a space", "Remove the space.")
    if len(line) > limit:
        raise UsageError(f"the {what} '{_shown(text)}' is longer than {limit} characters", "Write a shorter one.")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in line):
        raise UsageError(
            f"the {what} '{_shown(text)}' contains a control character", "Type it again without invisible characters."
        )
    if line.startswith(tuple(FORMULA_STARTS)):
        raise UsageError(
            f"the {what} '{_shown(text)}' begins with '{line[0]}', as a formula does", "Begin it with a letter."
        )
    return line


def check_authority_name(text: str) -> str:
    """The name of an authority, which stands in commands, file names and URLs. Raises `UsageError`."""
    if len(text) > MAX_AUTHORITY_NAME_CHARACTERS or _AUTHORITY_NAME.fullmatch(text) is None:
        raise UsageError(
            f"'{_shown(text)}' is not a valid name for an authority",
            f"Use a-z, 0-9, '.', '_' and '-', at most {MAX_AUTHORITY_NAME_CHARACTERS}; begin with a letter or digit.",
        )
    return text


def check_http_url(text: str, what: str) -> str:
    """A URL that goes into certificates: http, since https would need another certificate. Raises `UsageError`."""
    host = text.removeprefix("http://").split("/", 1)[0].partition(":")[0]
    is_plain = text.startswith("http://") and text.isascii() and text.isprintable() and " " not in text
    if not is_plain or _DOMAIN.fullmatch(host.lower()) is None:
        raise UsageError(
            f"'{_shown(text)}' is not a valid {what}",
            "Write it like http://pki.example.com/corp.crl (http, not https).",
        )
    return text


def name_key(common_name: str) -> str:
    """A key for comparing common names. It ignores Unicode's different forms of a letter, case and extra spaces."""
    return " ".join(unicodedata.normalize("NFKC", common_name).casefold().split())


def domain_of(email: str) -> str:
    """The domain of an address that was checked."""
    return email.rpartition("@")[2]


def _in_ascii(domain: str) -> str | None:
    """A domain in another script as DNS and certificates have it, `xn--…`; None if the text is not a domain."""
    try:
        found = normalise_host(domain)
    except HostRejected:
        return None
    return found if _DOMAIN.fullmatch(found) is not None else None


def _shown(text: str) -> str:
    cut = text if len(text) <= MAX_COMMON_NAME_CHARACTERS else f"{text[:MAX_COMMON_NAME_CHARACTERS]}…"
    return "".join(character if character.isprintable() else "\ufffd" for character in cut)
