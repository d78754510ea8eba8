"""The addresses where a gateway with this file listens, even if the rest of the file has errors.

`gateway status` is needed most when the file on disk is broken. It needs only the addresses, and may run as a user who
can't read certificates and keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.addresses import Unreadable, parse_listen
from gateway.config.marks import YamlError, decode, parse
from gateway.config.model import Admin, Listener
from gateway.config.problems import START, ConfigErrors, Place, Problems
from gateway.config.reading import Reader
from gateway.config.schema import SCHEMA
from gateway.config.service import build_admin, build_listeners
from gateway.errors import ConfigError
from gateway.x509.loading import read_file

# The section in a text that is not valid YAML: on one line, or with the address on the next line.
_ADMIN: Final = re.compile(r"""(?m)^admin:[ \t]*(?:\{[ \t]*|\r?\n[ \t]+)address:[ \t]*["']?([^"'\s}#]{1,100})""")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The address of status and metrics, and the listeners."""

    admin: Admin | None
    listeners: tuple[Listener, ...]


def read_endpoints(path: Path, environ: Mapping[str, str] | None = None) -> Endpoints:
    """The addresses in the file. Raises `ConfigErrors` if they can't be found."""
    problems = Problems(str(path))
    try:
        data = read_file(path)
    except ConfigError as error:
        problems.error(Place(START), error.cause, error.remedy)
        raise ConfigErrors(problems.errors) from error
    try:
        node = parse(decode(data))
    except YamlError as error:
        return _guessed(data.decode("utf-8", "replace"), error, problems)
    environ = os.environ if environ is None else environ
    root = None if node is None else Reader(problems, environ).read(SCHEMA, node, Place(node.mark))
    if root is None:
        return Endpoints(None, ())
    found = Endpoints(build_admin(root, (), problems), build_listeners(root, path.absolute().parent, problems))
    if faults := tuple(each for each in problems.errors if each.place.path.split(".")[0] == "admin"):
        raise ConfigErrors(faults)
    return found


def _guessed(text: str, error: YamlError, problems: Problems) -> Endpoints:
    """The address in a text that is not valid YAML, found by a pattern. Raises `ConfigErrors` if there is none."""
    if (found := _ADMIN.search(text)) is not None:
        try:
            return Endpoints(Admin(found[1], *parse_listen(found[1])), ())
        except Unreadable:
            pass  # the error of the YAML is reported below
    problems.error(Place(error.mark), error.cause, error.remedy)
    raise ConfigErrors(problems.errors) from error
