"""`${NAME}` and `${NAME:-default}` in values: environment variables, mostly for secrets.

`$$` stands for a `$`; a `$` before anything but `{` or `$` is itself. What a variable holds is taken as it is and never
looked into again. As in a shell, `:-` also counts for a variable that is set and empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_SUBSTITUTION: Final = re.compile(r"\$\$|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class SubstitutionError(Exception):
    """A `${…}` that can't be replaced, with its remedy."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """`text` with every variable replaced. Raises `SubstitutionError` for one that is unset or misspelt."""

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, default = found[1], found[2]
        if name is None:
            raise SubstitutionError(
                "'${' begins no variable", "write ${NAME} or ${NAME:-default}, or $${ for a literal"
            )
        value = environ.get(name)
        if value is None and default is None:
            raise SubstitutionError(
                f"the environment variable {name} is not set", f"set it, or give a default: ${{{name}:-…}}"
            )
        return (value or default) if default is not None else (value or "")

    return _SUBSTITUTION.sub(replace, text)


def is_substituted(text: str) -> bool:
    """True where `text` holds something that `substitute` replaces by a variable."""
    return "${" in text.replace("$$", "")
