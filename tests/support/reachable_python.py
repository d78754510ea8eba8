"""This Python and the gateway for a user who can't reach them: interpreters often lie in somebody's home."""

from __future__ import annotations

import os
import shutil
import site
import sys
import sysconfig
from pathlib import Path

import gateway

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "site-packages", "test", "tests", "config-*", "idlelib", "*.a")


def is_reachable(path: str | Path) -> bool:
    """True where every user may read the file."""
    found = Path(path).resolve()
    return bool(found.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in found.parents)


def reachable_python(folder: Path) -> tuple[str, dict[str, str]]:
    """(interpreter, its variables): this one where everybody can reach it, else a copy of links in `folder`."""
    if all(map(is_reachable, (sys.executable, os.__file__))):
        return sys.executable, {}
    base, version = Path(sys.base_prefix), f"python{sysconfig.get_python_version()}"
    for part in ("bin", "lib"):
        (folder / part).mkdir()
    program = folder / "bin" / version
    _link(base / "bin" / version, program)
    for library in (base / "lib").glob("libpython*.so*"):
        _link(library.resolve(), folder / "lib" / library.name)
    standard = Path(os.__file__).parent
    shutil.copytree(standard, folder / "lib" / version, ignore=_LEFT_OUT, copy_function=_link)
    paths = [str(Path(gateway.__file__).parent.parent), *site.getsitepackages()]
    variables = {"PYTHONHOME": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    return str(program), variables | {"LD_LIBRARY_PATH": str(folder / "lib")}


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
