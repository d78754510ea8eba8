"""Refusal pages: every reason in every language, nothing from outside unescaped, own templates checked at the start."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.facts import NO_CERTIFICATE, STATUS_OF_REASON, Identity, Judgement, Reason
from gateway.http.negotiation import (
    MAX_PREFERENCE_BYTES,
    MAX_PREFERENCES,
    chosen_language,
    wants_html,
)
from gateway.http.pages import LANGUAGES, MAX_SHOWN_CHARACTERS, MAX_TEMPLATE_BYTES, PLACEHOLDERS, Pages
from gateway.http.translations import ADVICE_OF_REASON
from gateway.request_number import short_number

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
EVIL = "<script>alert(1)</script>\"'&\r\n\x1b[31m\u202e"
ALICE = Identity(
    fingerprint="ab" * 32,
    serial="0A1B",
    subject="CN=Alice,O=Example Ltd",
    issuer="CN=Example CA",
    rdns=(),
    common_name="Alice",
    emails=(),
    upns=(),
    dns_names=(),
    uris=(),
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2026, 1, 31, 12, 0, tzinfo=UTC),
    der=b"",
    chain_der=(),
    path_fingerprints=frozenset(),
)
EXPIRED = Judgement(ALICE, Reason.CERTIFICATE_EXPIRED, "expired 2026-01-31 12:00:00 UTC")


class Elements(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(reason=Reason.CERTIFICATE_EXPIRED, pages=None, **kwargs) -> tuple[dict[bytes, bytes], str]:
    headers, body = (pages or Pages("helpdesk@example.com")).render(
        reason, **({"request_id": "r1", "accept": BROWSER} | kwargs)
    )
    return dict(headers), body.decode()


@pytest.mark.parametrize("language", list(LANGUAGES))
@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_words_in_every_language(reason: Reason, language: str) -> None:
    words = LANGUAGES[language]
    title, message = words.reasons[reason]
    advice = words.advice[ADVICE_OF_REASON[reason]]
    for accept in (BROWSER, b"*/*"):
        headers, text = page(reason, accept=accept, accept_language=language.encode(), judgement=EXPIRED)
        shown = Elements(text).text if accept == BROWSER else text
        for part in (title, message, advice, "r1", short_number("r1"), reason.value, "helpdesk@example.com"):
            assert part in shown
        assert headers[b"Content-Language"] == language.encode()
        assert headers[b"X-Gateway-Reason"] == reason.value.encode()
        assert headers[b"X-Request-Id"] == b"r1"
        assert int(headers[b"Content-Length"]) == len(text.encode())


@pytest.mark.parametrize(("language", "word"), [("en", "on hold"), ("de", "vorläufig gesperrt"), ("cs", "pozastaven")])
def test_a_certificate_on_hold_has_words_of_its_own(language: str, word: str) -> None:
    held = Judgement(ALICE, Reason.CERTIFICATE_REVOKED, "put on hold by 'CN=corp CA'", is_on_hold=True)
    for accept in (BROWSER, b"*/*"):
        options = {"accept": accept, "accept_language": language.encode(), "judgement": held}
        headers, text = page(Reason.CERTIFICATE_REVOKED, **options)
        shown = Elements(text).text if accept == BROWSER else text
        assert word in shown
        for part in LANGUAGES[language].on_hold:
            assert part in shown
        assert headers[b"X-Gateway-Reason"] == b"certificate_revoked"
        _, other = page(Reason.DENIED_BY_RULE, **options)
        assert word not in other


def test_the_languages_have_the_same_keys_and_no_word_too_many() -> None:
    for words in LANGUAGES.values():
        assert set(words.reasons) == set(Reason)
        assert set(words.advice) == set(ADVICE_OF_REASON.values())
        assert set(words.labels) == set(LANGUAGES["en"].labels)


def test_programs_get_one_plain_line() -> None:
    headers, text = page(Reason.NO_RULE, accept=None)
    assert headers[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert text.startswith("403 Access denied. ")
    assert text.count("\n") == 1
    assert text.endswith("\n")


def test_the_length_is_that_of_the_body_in_octets() -> None:
    headers, text = page()
    assert int(headers[b"Content-Length"]) == len(text.encode())


def test_a_page_is_never_stored_and_loads_and_runs_nothing() -> None:
    headers, text = page(judgement=EXPIRED)
    assert headers[b"Cache-Control"] == b"no-store"
    assert headers[b"Vary"] == b"Accept, Accept-Language"
    assert headers[b"X-Content-Type-Options"] == b"nosniff"
    style = re.search(r"<style>(.*?)</style>", text)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest())
    assert headers[b"Content-Security-Policy"].startswith(b"default-src 'none'; ")
    assert b"style-src 'sha256-" + digest + b"'" in headers[b"Content-Security-Policy"]
    assert not {"script", "img", "link", "iframe", "form"} & set(Elements(text).tags)
    assert not {"src", "style"} & set(Elements(text).attributes)


def test_the_expired_certificate_is_named_with_its_dates() -> None:
    _, text = page(judgement=EXPIRED)
    for part in ("Alice", "CN=Example CA", "2026-01-01 00:00 UTC", "2026-01-31 12:00 UTC", EXPIRED.detail):
        assert part in text


@pytest.mark.parametrize("accept", [BROWSER, b"*/*"])
@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("en", "Detail: expired 2026-01-31 12:00:00 UTC"),
        ("de", "Details: Abgelaufen am 2026-01-31 12:00:00 UTC"),
        ("cs", "Podrobnosti: Platnost skončila 2026-01-31 12:00:00 UTC"),
    ],
)
def test_the_detail_is_in_the_readers_language(accept: bytes, language: str, line: str) -> None:
    _, text = page(accept=accept, accept_language=language.encode(), judgement=EXPIRED)
    label, _, detail = line.partition(": ")
    assert (f"<dt>{label}</dt><dd>{detail}</dd>" if accept == BROWSER else line) in text
    _, said = page(accept=accept, accept_language=language.encode(), judgement=EXPIRED, detail="in some other words")
    assert (label in said) is (language == "en")


def test_a_refusal_that_has_nothing_to_do_with_it_says_nothing_of_the_certificate() -> None:
    _, text = page(Reason.UPSTREAM_TIMEOUT, judgement=EXPIRED)
    assert "Alice" not in text
    assert EXPIRED.detail not in text


def test_without_a_certificate_there_is_none_on_the_page() -> None:
    _, text = page(Reason.CERTIFICATE_MISSING, judgement=NO_CERTIFICATE, detail=NO_CERTIFICATE.detail)
    assert "Valid from" not in text
    assert NO_CERTIFICATE.detail not in text  # the message says so, in the reader's language


def test_a_detail_of_the_caller_stands_before_the_judgements() -> None:
    _, text = page(judgement=EXPIRED, detail="said by the caller")
    assert "said by the caller" in text
    assert EXPIRED.detail not in text
    _, other = page(Reason.USER_MISMATCH, judgement=replace(EXPIRED, reason=None, detail="fine"))
    assert "fine" not in other


@pytest.mark.parametrize("accept", [BROWSER, b"*/*"])
def test_nothing_from_outside_acts(accept: bytes) -> None:
    evil = replace(ALICE, common_name=EVIL, issuer=EVIL)
    _, text = page(judgement=Judgement(evil, Reason.CERTIFICATE_EXPIRED, EVIL), accept=accept)
    assert "\x1b" not in text
    assert "\u202e" not in text
    if accept == BROWSER:
        assert "script" not in Elements(text).tags
        assert "<script>" in Elements(text).text
    else:
        assert text.count("\n") == 1


def test_names_fall_back_and_are_bounded() -> None:
    nameless = replace(ALICE, common_name=None, subject="")
    assert "(no name)" in page(judgement=replace(EXPIRED, identity=nameless))[1]
    assert "O=Only" in page(judgement=replace(EXPIRED, identity=replace(nameless, subject="O=Only")))[1]
    longest = "a" * MAX_SHOWN_CHARACTERS
    assert longest in page(judgement=replace(EXPIRED, identity=replace(ALICE, common_name=longest)))[1]
    assert longest not in page(judgement=replace(EXPIRED, identity=replace(ALICE, common_name=longest + "a")))[1]


@pytest.mark.parametrize(
    ("contact", "html"),
    [
        ("helpdesk@example.com", '<a href="mailto:helpdesk@example.com">helpdesk@example.com</a>'),
        ("https://help.example/?a=1&b=2", '<a href="https://help.example/?a=1&amp;b=2">'),
        ("Room 7 <first floor>", "Room 7 &lt;first floor&gt;"),
        ("javascript:alert(1)", "<dd>javascript:alert(1)</dd>"),
    ],
)
def test_the_contact_is_a_link_where_it_can_be(contact: str, html: str) -> None:
    assert html in page(pages=Pages(contact))[1]


def test_without_a_contact_there_is_no_empty_line() -> None:
    assert "Help</dt>" not in page(pages=Pages())[1]


def test_own_templates_stand_in_by_reason_then_by_status(tmp_path: Path) -> None:
    (tmp_path / "403.html").write_text("any $status " + " ".join(f"${name}" for name in sorted(PLACEHOLDERS)))
    (tmp_path / "certificate_expired.html").write_text("ours: $reason $$5 ${contact}")
    (tmp_path / "README.txt").write_text("$not a template")
    pages = Pages("helpdesk@example.com", tmp_path)
    headers, text = page(pages=pages)
    assert text.startswith("ours: certificate_expired $5 <a href")
    assert b"script-src" not in headers[b"Content-Security-Policy"]
    assert b"default-src 'none'" in headers[b"Content-Security-Policy"]
    evil = replace(ALICE, common_name=EVIL)
    _, by_status = page(Reason.CERTIFICATE_REVOKED, pages=pages, judgement=replace(EXPIRED, identity=evil))
    assert by_status.startswith("any 403 ")
    assert short_number("r1") in by_status
    assert "<script>" not in by_status
    assert page(Reason.BAD_REQUEST, pages=pages)[1].startswith("<!DOCTYPE html>")
    assert page(pages=pages, accept=b"*/*")[0][b"Content-Type"].startswith(b"text/plain")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("certificate_expird.html", b"", "no page has this name"),
        ("403.html", b"$titel", r"\$titel is not a placeholder"),
        ("403.html", b"costs $ 5", "does not begin a placeholder"),
        ("403.html", b"\xff", "not UTF-8"),
        ("403.html", b"a" * (MAX_TEMPLATE_BYTES + 1), "larger than"),
    ],
)
def test_a_template_that_cannot_be_used_ends_the_start(tmp_path: Path, name: str, content: bytes, error: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=error) as caught:
        Pages(None, tmp_path)
    assert name in caught.value.cause
    assert caught.value.remedy


def test_a_template_of_just_the_limit_is_used(tmp_path: Path) -> None:
    (tmp_path / "403.html").write_bytes(b"a" * MAX_TEMPLATE_BYTES)
    assert len(page(pages=Pages(None, tmp_path))[1]) == MAX_TEMPLATE_BYTES


def test_a_folder_or_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Pages(None, tmp_path / "missing")
    (tmp_path / "403.html").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        Pages(None, tmp_path)


def test_every_status_of_a_reason_may_have_a_template(tmp_path: Path) -> None:
    for status in set(STATUS_OF_REASON.values()):
        (tmp_path / f"{status}.html").write_text("own $status")
    pages = Pages(None, tmp_path)
    for reason in Reason:
        assert page(reason, pages=pages)[1] == f"own {STATUS_OF_REASON[reason]}"


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        (None, False),
        (b"", False),
        (b"*/*", False),
        (b"text/*", False),
        (b"text/html", True),
        (b"TEXT/HTML ; q=0.5", True),
        (b"application/json, text/html", True),
        (b"text/html;q=0", False),
        (b"text/html; q=0.000", False),
        (b"text/html;q=x", False),
        (b"text/html;level=1", True),
        (b"text/htmlx", False),
        (b"\xff\xfe", False),
    ],
)
def test_html_is_for_those_who_name_it(accept: bytes | None, is_html: bool) -> None:
    assert wants_html(accept) is is_html


@pytest.mark.parametrize(
    ("value", "language"),
    [
        (None, "en"),
        (b"", "en"),
        (b"*", "en"),
        (b"fr", "en"),
        (b"de", "de"),
        (b"de-AT,de;q=0.9,en;q=0.8", "de"),
        (b"CS-cz", "cs"),
        (b"fr;q=1, cs;q=0.5, de;q=0.6", "de"),
        (b"de;q=0.75, en;q=0.8", "en"),
        (b"de;q=0, cs;q=0.1", "cs"),
        (b"de;q=9, cs", "cs"),
        (b"de;q=, cs;q=0.1", "cs"),
        (b"\xff\xff, de", "de"),
        (b"den", "en"),
    ],
)
def test_the_reader_chooses_the_language(value: bytes | None, language: str) -> None:
    assert chosen_language(value, ("en", "de", "cs")) == language


def test_preferences_beyond_the_bounds_are_not_looked_at() -> None:
    assert chosen_language(b"x," * (MAX_PREFERENCES - 1) + b"de", ("en", "de")) == "de"
    assert chosen_language(b"x," * MAX_PREFERENCES + b"de", ("en", "de")) == "en"
    assert chosen_language(b" " * (MAX_PREFERENCE_BYTES - 2) + b"de", ("en", "de")) == "de"
    assert chosen_language(b" " * (MAX_PREFERENCE_BYTES - 1) + b"de", ("en", "de")) == "en"
