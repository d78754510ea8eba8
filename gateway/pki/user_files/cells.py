"""Cells of lists that the desk writes: no cell is a formula, at whichever separator a spreadsheet splits the lines.

A spreadsheet that splits at semicolons reads the name "Ann;=HYPERLINK(…)" as two cells, the second one a formula. So an
apostrophe is put before each such place.
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
    """The cell that `disarmed` was given. It added one apostrophe in each place, also to existing ones."""
    return _DISARMED.sub(r"\1", cell)
