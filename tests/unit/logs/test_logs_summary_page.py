"""The summary as a page: well-formed, without script, loading nothing, whatever stands in the log."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from support.log_lines import BEGIN, identity_of, line_of
from support.summaries import summary_of

from gateway.logs.summary import tables
from gateway.logs.summary.chart import timeline_chart
from gateway.logs.summary.page import PAGE_BEGIN, page_of
from gateway.logs.summary.report import Bar

HOSTILE = "</td></svg><script>alert(1)</script><img src=\"https://evil.example/x\" onerror='x'>\x1b[2J\u202e&amp;"
VOID = {"meta", "wbr", "rect", "line"}
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "span"),
    *("h1", "h2", "p", "code", "table", "thead", "tbody", "tr", "th", "td", "wbr", "svg", "g", "rect", "line", "text"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "viewbox", "role", "aria-label"),
    *("aria-hidden", "preserveaspectratio", "width", "height", "x", "y", "x1", "x2", "y1", "y2", "text-anchor"),
}


class Page(HTMLParser):
    """Checks elements and attributes, and that each element that begins ends."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.classes: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in ELEMENTS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        self.classes.update(value for name, value in attrs if name == "class")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def hostile(**values) -> bytes:
    return json.dumps({"time": "2026-11-24T07:00:09Z", **values}, ensure_ascii=False).encode() + b"\n"


def page(*lines: bytes, **options) -> Page:
    text = page_of(summary_of(*lines, **options), BEGIN)
    assert text.encode().startswith(PAGE_BEGIN)
    # Namespaces would be URLs too; inline SVG needs none.
    assert not re.search(r"(?:https?:)?//|url\(|@import|javascript:|\bon[a-z]+=", without_text(text), re.IGNORECASE)
    return Page(text)


def without_text(text: str) -> str:
    """The markup alone: text between elements is escaped and can't load anything."""
    return "".join(re.findall(r"<[^>]*>", text)) + "".join(re.findall(r"<style>.*?</style>", text, re.DOTALL))


LINES = (
    *(line_of(at * 600, user="anna", device_id="D1", uri=f"/owa/{at % 20}", duration_ms=1500.0) for at in range(30)),
    *(line_of(at, user=f"u{at}", status=403, reason=f"reason_{at % 8}", client_ip=f"10.0.0.{at}") for at in range(40)),
    *(line_of(at, client_ip=f"10.1.0.{at}", observed="certificate_missing", rule="Phones") for at in range(30)),
    line_of(70, user="bob", observed="certificate_missing", rule="Phones"),
    line_of(71, user="carla", identity=identity_of("Carla", fingerprint="c" * 64)),
    line_of(72, uri="/Microsoft-Server-ActiveSync?Cmd=Ping&User=a&DeviceId=b&DeviceType=c"),
    line_of(73, status=403, reason="handshake_failed: no shared cipher", method=None, uri=None),
)


def test_it_says_what_the_text_says():
    found = page(*LINES)
    for words in (
        "Access log, ",
        "104 requests",
        "Requests and refusals, by 10 minutes",
        "Refusals by reason",
        "handshake_failed: no request came",
        "Most refusals: people",
        "Never let in: 40",
        "Refused, and not let in once in this period.",
        "1 person has no certificate that was accepted; 30 addresses named no person.",
        "Devices seen for the first time: 1",
        "Certificates seen for the first time: 1",
        "Most requests: addresses",
        "Most refusals: addresses",
        "Slowest paths",
        "1.5 s",
        "Without 1 Ping of ActiveSync, which wait for new mail",
        "and 25 more people",
        "and 15 more rows",
        "others",
        "Made by gateway logs --summary",
    ):
        assert words in found.words
    assert {"requests", "refused", "number", "when", "chart", "tile good", "tile bad"} <= found.classes


def test_hostile_text_stays_text():
    values = {"user": HOSTILE, "device_id": HOSTILE, "cert_subject": f"CN={HOSTILE}", "rule": HOSTILE, "uri": HOSTILE}
    found = page(
        hostile(**values, status=403, reason=HOSTILE, cert_fingerprint=HOSTILE, client_ip=HOSTILE),
        hostile(**values, status=200, observed=HOSTILE, duration_ms=1, client_ip=HOSTILE, cert_email=HOSTILE),
    )
    assert "<script>alert(1)</script>" in found.words
    assert "&amp;" in found.words
    assert found.words.isprintable()
    assert "\\x1b[2" in found.words


def test_a_period_without_lines_and_one_without_refusals():
    assert "Access log: no line found" in page().words
    found = page(line_of(1, user="anna"))
    assert "Refusals by reason" not in found.words
    assert "Never let in: " not in found.words


def test_what_is_new_and_what_is_not():
    found = page(*LINES, since=BEGIN.replace(hour=7, minute=1, second=11))
    assert "Certificates seen for the first time: 1" in found.words
    assert "Devices seen for the first time: 0" in found.words


def test_estimates_are_told(monkeypatch):
    monkeypatch.setattr(tables, "MAX_KEYS", 2)
    monkeypatch.setattr(tables, "MAX_ADDRESSES", 2)
    monkeypatch.setattr(tables, "MAX_REFUSED", 2)
    observed = [line_of(at, user=f"v{at}", observed="certificate_missing", rule="Phones") for at in range(20)]
    found = page(*LINES, *observed, *LINES)
    assert re.search(r"~ about: [\d,]+ is at most [\d,]+ too high", found.words)
    assert "more than" in found.words
    assert "There are too many to count all: some are missing." in found.words


def test_the_page_may_load_nothing_and_is_for_paper_too():
    text = page_of(summary_of(*LINES), BEGIN)
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text


def test_the_height_of_bars():
    chart = timeline_chart([Bar(BEGIN, 100, 25), Bar(BEGIN, 0, 0), Bar(BEGIN, 93, 0)], 86400)
    heights = dict(re.findall(r'<rect class="(\w+)" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', chart)[:2])
    assert float(heights["requests"]) == pytest.approx(3 * float(heights["refused"]), abs=0.1)
    assert "24 Nov 2026" in chart
    assert ">120</text>" in chart
    assert ">1,200</text>" in timeline_chart([Bar(BEGIN, 1100, 0)], 600)
