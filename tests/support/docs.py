"""The fenced blocks of the documentation, for tests that use them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str  # "lets-encrypt.md"
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, language: str) -> list[Block]:
    """The blocks of a page in one language, in its order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = [Block(page, text.count("\n", 0, each.start()) + 1, each[1], each[2]) for each in _FENCE.finditer(text)]
    return [block for block in found if block.language == language]


def pages() -> list[str]:
    """Every page that is no decision, as a path relative to the folder."""
    return sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.parent.name != "adr")
