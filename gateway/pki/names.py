"""Names that go into certificates, file names and the registry, checked once at the door.

An e-mail address is a dot-atom of ASCII before an LDH domain: what RFC 5280 allows in rfc822Name without exceptions
(quoted local parts, addresses in other scripts), and what can't be read as a formula, an option or a path.
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
MAX_PATH_CHARACTERS: Final = 200  # its QR code is still read from paper
MAX_AUTHORITY_NAME_CHARACTERS: Final = 63

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"  # RFC 5322 section 3.2.3
_LOCAL_PART: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")  # RFC 3986 section 3.3
_AUTHORITY_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
# With these a spreadsheet's formula begins, and for a shell an option, also wide or small.
FORMULA_STARTS: Final = "=+-@＝＋－＠﹦﹢﹣﹫−"


def check_domain(text: str) -> str:
    """The domain in lower case. Raises `UsageError`."""
    domain = text.lower().removesuffix(".")
    if len(domain) > MAX_DOMAIN_CHARACTERS or _DOMAIN.fullmatch(domain) is None:
        remedy = f"Write {ascii_domain}." if (ascii_domain := _in_ascii(text)) else "Write it like example.com."
        raise UsageError(f"'{_shown(text)}' is no domain", remedy)
    return domain


def check_path(text: str) -> str:
    """The path of a page on the gateway: `/webmail`. Raises `UsageError`."""
    if len(text) > MAX_PATH_CHARACTERS or _PATH.fullmatch(text) is None:
        raise UsageError(
            f"'{_shown(text)}' is not a path", "Write it like /webmail, with signs beyond ASCII as %C3%A4."
        )
    return text


def check_email(text: str, what: str = "e-mail address") -> str:
    """The address with its domain in lower case. Raises `UsageError`."""
    local, at, domain = text.rpartition("@")
    if not at or len(local) > MAX_LOCAL_PART_CHARACTERS or _LOCAL_PART.fullmatch(local) is None:
        raise UsageError(f"'{_shown(text)}' is no {what}", "Write it like alice@example.com.")
    if local.startswith(tuple(FORMULA_STARTS)):
        raise UsageError(f"'{_shown(text)}': an {what} does not begin with '{local[0]}' here", "Use another address.")
    if len(domain) > MAX_DOMAIN_CHARACTERS or _DOMAIN.fullmatch(domain.lower()) is None:
        remedy = f"Write {local}@{ascii_domain}." if (ascii_domain := _in_ascii(domain)) else ""
        cause = f"'{_shown(text)}' is no {what}: its domain is not one of letters, digits, '-' and '.'"
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
        raise UsageError(f"the {what} '{_shown(text)}' holds a control character", "Take it out.")
    if line.startswith(tuple(FORMULA_STARTS)):
        raise UsageError(
            f"the {what} '{_shown(text)}' begins with '{line[0]}'", "A spreadsheet would run it as a formula."
        )
    return line


def check_authority_name(text: str) -> str:
    """What an authority is called in commands, files and URLs. Raises `UsageError`."""
    if len(text) > MAX_AUTHORITY_NAME_CHARACTERS or _AUTHORITY_NAME.fullmatch(text) is None:
        raise UsageError(
            f"'{_shown(text)}' is no name for an authority",
            f"Use up to {MAX_AUTHORITY_NAME_CHARACTERS} of a-z, 0-9, '.', '_', '-', with a letter or digit first.",
        )
    return text


def check_http_url(text: str, what: str) -> str:
    """A URL that goes into certificates: http, since https would need another certificate. Raises `UsageError`."""
    host = text.removeprefix("http://").split("/", 1)[0].partition(":")[0]
    is_plain = text.startswith("http://") and text.isascii() and text.isprintable() and " " not in text
    if not is_plain or _DOMAIN.fullmatch(host.lower()) is None:
        raise UsageError(
            f"'{_shown(text)}' is no {what}", "Write it like http://pki.example.com/corp.crl (http, not https)."
        )
    return text


def name_key(common_name: str) -> str:
    """What makes two common names the same: spelling in Unicode, case and spaces don't tell people apart."""
    return " ".join(unicodedata.normalize("NFKC", common_name).casefold().split())


def domain_of(email: str) -> str:
    """The domain of an address that was checked."""
    return email.rpartition("@")[2]


def _in_ascii(domain: str) -> str | None:
    """A domain in another script as DNS and certificates have it, `xn--…`; None where it is none."""
    try:
        found = normalise_host(domain)
    except HostRejected:
        return None
    return found if _DOMAIN.fullmatch(found) is not None else None


def _shown(text: str) -> str:
    cut = text if len(text) <= MAX_COMMON_NAME_CHARACTERS else f"{text[:MAX_COMMON_NAME_CHARACTERS]}…"
    return "".join(character if character.isprintable() else "\ufffd" for character in cut)
