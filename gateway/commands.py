"""Commands in messages: each works when it is pasted into a shell.

The certificate desk doesn't know how its registry was named on the command line. Its messages have `gateway cert …` and
`gateway ca …` without these options; `at_desk` adds them where a message is printed.
"""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote
from typing import Final

# Without a command that already names a registry, and without a mention such as "`gateway cert` finds it".
_DESK: Final = re.compile(r"\bgateway (ca|cert)(?= [a-z])")
_IN_QUOTES: Final = re.compile(r"'(gateway (?:ca|cert) [a-z][^']*)'")


def options_for(config_path: Path) -> str:
    """The options with which the desk finds the registry that this configuration names, from any folder."""
    return f" -c {quote(str(config_path.absolute()))}"


def quoted(command: str) -> str:
    """The command in quotes, for a sentence. Backticks, if the command itself has quotes."""
    return f"`{command}`" if "'" in command else f"'{command}'"


def at_desk(text: str, options: str) -> str:
    """A message with these options in each command of the desk, such as ` -c /etc/gateway/config.yaml`."""
    if "'" in options:
        text = _IN_QUOTES.sub(r"`\1`", text)
    return _DESK.sub(lambda found: f"{found[0]}{options}", text)
