"""Finds the user that the gateway switches to, in the system's lists of users and groups."""

from __future__ import annotations

import grp
import os
import pwd
import re
from typing import Final, Literal

from gateway.config.model import User
from gateway.config.problems import Problems, quote
from gateway.config.reading import Value

# Linux uses the highest number for "no change", see setresuid(2).
_MAX_NUMBER: Final = 2**32 - 2
# The names that useradd and groupadd take on every distribution, see useradd(8).
_CREATABLE: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def build_user(root: Value, problems: Problems) -> User | None:
    """The user of the key `user`; None if the key is left out, or (with an error) if there is no such user."""
    value = root.get("user")
    if value is None:
        return None
    name, _, group = str(value.data).partition(":")
    known = _known_user(name)
    if known is None and not _is_number(name):
        problems.error(value.place, f"there is no user {quote(name)}", to_have(name))
        return None
    gid = (None if known is None else known.pw_gid) if not group else _group_number(group)
    if gid is None:
        if group:
            problems.error(value.place, f"there is no group {quote(group)}", to_have(group, "group"))
        else:
            remedy = f'write its group too: "{name}:GROUP"'
            problems.error(
                value.place, f"the system has no user {name}, so the group of this number is not known", remedy
            )
        return None
    if known is None:
        return User(name, int(name), gid, (gid,))
    return User(known.pw_name, known.pw_uid, gid, tuple(os.getgrouplist(known.pw_name, gid)), known.pw_dir)


def to_have(name: str, what: Literal["user", "group"] = "user") -> str:
    """The remedy for a user or group that does not exist."""
    if not _CREATABLE.fullmatch(name):
        return f"write the name of a {what} of this system"
    return f"create it: {what}add --system {name}"


def _known_user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
    except KeyError:
        return None


def _group_number(name: str) -> int | None:
    if _is_number(name):
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= _MAX_NUMBER
