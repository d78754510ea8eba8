"""Cells of lists that the desk writes: none begins a formula, whichever separator a spreadsheet splits the lines at.

"Ann;=HYPERLINK(…)" is a name, and a cell of its own where lists are separated by semicolons. An apostrophe stands
before what would be a formula there.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.pki.names import FORMULA_STARTS

# Where a cell begins for some spreadsheet, with spaces and quotes that it may drop, and the name's own apostrophes.
_BEGIN: Final = r"""((?:^|[,;\t])[\s"]*'*)"""
_FORMULA: Final = re.compile(rf"{_BEGIN}(?=[{re.escape(FORMULA_STARTS)}])")
_DISARMED: Final = re.compile(rf"{_BEGIN}'(?=[{re.escape(FORMULA_STARTS)}])")


def disarmed(cell: str) -> str:
    """The cell, harmless in a spreadsheet."""
    return _FORMULA.sub(r"\1'", cell)


def armed(cell: str) -> str:
    """What `disarmed` was given: it adds one apostrophe to however many there are."""
    return _DISARMED.sub(r"\1", cell)
