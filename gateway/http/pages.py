"""Renders refusals: a page for people, one line of text for programs, in the reader's language.

Keeps true: text from outside (names in a certificate, a detail) is always escaped. A page loads nothing, runs no
scripts and is not cached. The admin's own templates are read once, at the start, so that a mistake in them prevents the
start instead of breaking a request.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from gateway.errors import ConfigError
from gateway.facts import STATUS_OF_REASON, Identity, Judgement, Reason
from gateway.http.details import translated
from gateway.http.negotiation import chosen_language, wants_html
from gateway.http.translations import ADVICE_OF_REASON, Language
from gateway.http.translations.cs import CZECH
from gateway.http.translations.de import GERMAN
from gateway.http.translations.en import ENGLISH
from gateway.regular_files import TooLargeError, read_regular
from gateway.request_number import short_number

MAX_TEMPLATE_BYTES: Final = 256 * 1024  # a page with inlined pictures, which is sent with every refusal
MAX_SHOWN_CHARACTERS: Final = 200  # of a name or detail: enough to recognise it
LANGUAGES: Final = {language.code: language for language in (ENGLISH, GERMAN, CZECH)}
PLACEHOLDERS: Final = frozenset(
    {"language", "status", "reason", "title", "message", "advice", "facts", "request_id", "request_number", "contact"}
)

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{margin:0;font:1rem/1.5 system-ui,sans-serif;background:#f4f5f7;color:#1c2330}"
    "main{box-sizing:border-box;max-width:38rem;margin:8vh auto;padding:2rem;background:#fff;border-radius:.75rem;"
    "border:1px solid #d9dde5}"
    "h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}p{margin:.75rem 0}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:1.5rem 0 0;padding-top:1rem;"
    "border-top:1px solid #d9dde5;font-size:.9rem}"
    "dt{color:#5a6475}dd{margin:0;overflow-wrap:anywhere}a{color:#0b57d0}"
    "@media(max-width:42rem){main{margin:0;min-height:100vh;border:0;border-radius:0;padding:1.25rem}"
    "dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}"
    "@media(prefers-color-scheme:dark){body{background:#12151b;color:#e4e8ef}main{background:#1b2029;"
    "border-color:#343c4a}dl{border-color:#343c4a}dt{color:#a3adbd}a{color:#8ab4f8}}"
)
_PAGE: Final = Template(
    '<!DOCTYPE html>\n<html lang="$language"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
    f"<title>$title</title><style>{_STYLE}</style></head>\n"
    "<body><main><h1>$title</h1><p>$message</p><p>$advice</p><dl>$facts</dl></main></body></html>\n"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_LOCKED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_BUILT_IN_POLICY: Final = f"{_LOCKED}; style-src 'sha256-{_STYLE_HASH}'".encode("ascii")
# The admin's templates may have styles and inlined pictures, but no scripts and nothing from other servers.
_OWN_POLICY: Final = f"{_LOCKED}; style-src 'unsafe-inline'; img-src data:; font-src data:".encode("ascii")

_MAIL_ADDRESS: Final = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+")

# For these reasons the certificate explains the refusal; elsewhere its names are not shown, for privacy.
_SHOWS_CERTIFICATE: Final = frozenset(
    {reason for reason in Reason if reason.value.startswith("certificate_")}
    | {Reason.USER_MISMATCH, Reason.REVOCATION_UNKNOWN}
)


class Pages:
    """Renders refusals. `contact`: an address, URL or any text; `directory`: of the admin's templates.

    Raises `ConfigError` for a template that can't be used.
    """

    def __init__(self, contact: str | None = None, directory: Path | None = None) -> None:
        self._contact = contact
        self._templates = {} if directory is None else _load(directory)

    def render(
        self,
        reason: Reason,
        *,
        request_id: str,
        accept: bytes | None = None,
        accept_language: bytes | None = None,
        judgement: Judgement | None = None,
        detail: str | None = None,
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """(header fields, body) of the answer; the caller adds the status line and `Connection`.

        `detail`: one more line, in English; it is translated, and must not tell a stranger about rules or servers.
        """
        language = LANGUAGES[chosen_language(accept_language, tuple(LANGUAGES))]
        words = _words(language, reason, judgement)
        facts = self._facts(language, reason, request_id, judgement, detail)
        policy = _BUILT_IN_POLICY
        if wants_html(accept):
            kind = b"text/html; charset=utf-8"
            template = self._templates.get(reason.value) or self._templates.get(str(STATUS_OF_REASON[reason]))
            if template is not None:
                policy = _OWN_POLICY
            body = self._html(template or _PAGE, language, (reason, words), request_id, facts).encode()
        else:
            kind = b"text/plain; charset=utf-8"
            body = _plain(reason, words, facts).encode()
        headers = [
            (b"Content-Type", kind),
            (b"Content-Length", b"%d" % len(body)),
            (b"Content-Language", language.code.encode("ascii")),
            (b"Vary", b"Accept, Accept-Language"),
            (b"Cache-Control", b"no-store"),
            (b"Content-Security-Policy", policy),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Referrer-Policy", b"no-referrer"),
            (b"X-Request-Id", request_id.encode("ascii")),
            (b"X-Gateway-Reason", reason.value.encode("ascii")),
        ]
        return headers, body

    def _facts(
        self, language: Language, reason: Reason, request_id: str, judgement: Judgement | None, detail: str | None
    ) -> list[tuple[str, str]]:
        """(label, value) of each line below the text, not escaped."""
        labels = language.labels
        facts: list[tuple[str, str]] = []
        if judgement is not None and judgement.identity is not None and reason in _SHOWS_CERTIFICATE:
            facts += _certificate_facts(labels, judgement.identity)
            if judgement.reason is reason and detail is None:
                detail = judgement.detail
        if detail and language.details is not None:
            detail = translated(detail, language.details)
        # The message already says that no certificate was shown.
        if detail and reason is not Reason.CERTIFICATE_MISSING:
            facts.append((labels["detail"], _shown(detail)))
        if self._contact is not None:
            facts.append((labels["contact"], self._contact))
        numbers = [(labels["request"], short_number(request_id)), (labels["whole"], request_id)]
        return [*facts, *numbers, (labels["reason"], reason.value)]

    def _html(
        self,
        template: Template,
        language: Language,
        what: tuple[Reason, tuple[str, str, str]],
        request_id: str,
        facts: list[tuple[str, str]],
    ) -> str:
        reason, (title, message, advice) = what
        contact = language.labels["contact"]
        return template.substitute(
            language=language.code,
            status=str(STATUS_OF_REASON[reason]),
            reason=reason.value,
            title=escape(title),
            message=escape(message),
            advice=escape(advice),
            request_id=escape(request_id),
            request_number=short_number(request_id),
            contact=_link(self._contact or ""),
            facts="".join(
                f"<dt>{escape(label)}</dt><dd>{_link(value) if label == contact else escape(value)}</dd>"
                for label, value in facts
            ),
        )


def _certificate_facts(labels: Mapping[str, str], identity: Identity) -> list[tuple[str, str]]:
    name = identity.common_name or identity.subject or labels["unnamed"]
    return [
        (labels["certificate"], _shown(name)),
        (labels["issuer"], _shown(identity.issuer)),
        (labels["from"], _when(identity.not_before)),
        (labels["until"], _when(identity.not_after)),
    ]


def _words(language: Language, reason: Reason, judgement: Judgement | None) -> tuple[str, str, str]:
    """Title, message and advice."""
    if reason is Reason.CERTIFICATE_REVOKED and judgement is not None and judgement.is_on_hold:
        return language.on_hold
    return *language.reasons[reason], language.advice[ADVICE_OF_REASON[reason]]


def _plain(reason: Reason, words: tuple[str, str, str], facts: list[tuple[str, str]]) -> str:
    title, message, advice = words
    tail = "; ".join(f"{label}: {value}" for label, value in facts)
    return f"{STATUS_OF_REASON[reason]} {title}. {message} {advice} ({' '.join(tail.split())})\n"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _shown(text: str) -> str:
    """Text from outside for display: one line, printable, at most `MAX_SHOWN_CHARACTERS`; not yet escaped for HTML."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else shown[: MAX_SHOWN_CHARACTERS - 1] + "…"


def _link(contact: str) -> str:
    """The contact as HTML; a link if it is a URL or a mail address."""
    text = escape(contact)
    if contact.startswith(("https://", "http://")):
        return f'<a href="{text}">{text}</a>'
    if _MAIL_ADDRESS.fullmatch(contact):
        return f'<a href="mailto:{text}">{text}</a>'
    return text


def _load(directory: Path) -> dict[str, Template]:
    """The templates in a folder by name: a reason code, or a status for all its reasons."""
    known = {*(reason.value for reason in Reason), *map(str, STATUS_OF_REASON.values())}
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".html")
    except OSError as error:
        remedy = "name a folder that the gateway's user can read, or remove the key"
        raise ConfigError(f"pages.directory: {directory}: {error.strerror}", remedy) from error
    for path in paths:
        if path.stem not in known:
            raise ConfigError(
                f"pages.directory: {path}: no page has this name",
                "name the file after a reason (certificate_expired.html) or a status (403.html)",
            )
    return {path.stem: _template(path) for path in paths}


def _template(path: Path) -> Template:
    try:
        text = read_regular(path, MAX_TEMPLATE_BYTES).decode("utf-8")
    except TooLargeError as error:
        remedy = "make the file smaller, for example its pictures"
        raise ConfigError(f"pages.directory: {path}: {error.strerror}", remedy) from error
    except OSError as error:
        remedy = "let the gateway's user read the file"
        raise ConfigError(f"pages.directory: {path}: {error.strerror}", remedy) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"pages.directory: {path}: not UTF-8", "save the file as UTF-8") from error
    template = Template(text)
    if not template.is_valid():
        cause = f"pages.directory: {path}: a '$' that does not begin a placeholder"
        raise ConfigError(cause, "write $$ for a dollar sign")
    unknown = sorted(set(template.get_identifiers()) - PLACEHOLDERS)
    if unknown:
        raise ConfigError(
            f"pages.directory: {path}: ${unknown[0]} is not a placeholder",
            "write one of " + ", ".join(f"${name}" for name in sorted(PLACEHOLDERS)),
        )
    return template
