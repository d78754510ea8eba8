"""The examples in the documentation, so that tests can run them as they stand there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATES = Path(__file__).parents[2] / "docs" / "certificates.md"


@dataclass
class Block:
    """One example: commands and what they print, under a heading."""

    heading: str
    steps: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def script(self) -> str:
        """The commands for a shell."""
        return "".join(f"{command}\n" for command, _ in self.steps)


def blocks(guide: Path = CERTIFICATES) -> dict[str, Block]:
    """The console examples of a guide by their headings; the last one under each."""
    found: dict[str, Block] = {}
    heading = ""
    lines = iter(guide.read_text().splitlines())
    for line in lines:
        if line.startswith("#"):
            heading = line.strip("# ")
        elif line == "```console":
            found[heading] = block = Block(heading)
            for text in iter(lambda: next(lines), "```"):
                if text.startswith("$ "):
                    block.steps.append((text[2:], []))
                elif block.steps[-1][0].endswith("\\"):
                    command, _ = block.steps.pop()
                    block.steps.append((f"{command[:-1]} {text.strip()}", []))
                else:
                    block.steps[-1][1].append(text)
    return found
