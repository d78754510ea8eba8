"""`${NAME}` and `${NAME:-default}` in values: environment variables, mostly for secrets.

`$$` stands for a `$`; any other `$` without `{` is an ordinary character. A variable's value is never substituted
again. As in a shell, the default of `:-` is also used for a variable that is set but empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

_SUBSTITUTION: Final = re.compile(r"\$\$|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class Lookups(Mapping[str, str]):
    """An environment that records which of its variables were read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.found: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        self.found[name] = self._environ[name]
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


class SubstitutionError(Exception):
    """A `${…}` that can't be replaced, with its remedy."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


def substitute(text: str, environ: Mapping[str, str], unset: str | None = None) -> str:
    """`text` with every variable replaced. Raises `SubstitutionError` for a variable that is malformed or not set.

    `unset` is used for variables that are not set, if the value is not needed.
    """

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, default = found[1], found[2]
        if name is None:
            raise SubstitutionError(
                "'${' is not followed by a variable's name and '}'",
                "write ${NAME} or ${NAME:-default}, or $${ for '${' itself",
            )
        value = environ.get(name, unset)
        if value is None and default is None:
            raise SubstitutionError(
                f"the environment variable {name} is not set", f'set it, or give a default: "${{{name}:-…}}"'
            )
        if value is not None and not is_unicode(value):
            raise SubstitutionError(f"the environment variable {name} is not UTF-8", "set it again, in UTF-8")
        return (value or default) if default is not None else (value or "")

    return _SUBSTITUTION.sub(replace, text)


def is_substituted(text: str) -> bool:
    """True if `text` contains a variable that `substitute` replaces."""
    return "${" in text.replace("$$", "")


def is_unicode(value: str) -> bool:
    """False if the bytes of the variable are not UTF-8. Python replaces such bytes with surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
