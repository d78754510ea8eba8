"""Changes from root to the user that serves (`user` in the configuration).

Keeps true: every file is read and made as that user, from the first one on, so a reload can read what the start could.
Root's rights are used only to open ports and standard output. They are given up before the first child is started,
with root's groups.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Final

import gateway
from gateway import access
from gateway.config.model import User
from gateway.errors import OperationError
from gateway.supervisor.processes import dumps

ROOT: Final = 0
_UNCHANGED: Final = -1


class Privileges:
    """Root's rights, while the gateway starts."""

    def __init__(self, user: User | None) -> None:
        """Act as `user` from now on; None, or the user of this process, changes nothing.

        Raises `OperationError` if that is not possible.
        """
        self._user = None if user is None or user.uid == os.geteuid() else user
        if self._user is None:
            return
        if os.geteuid() != ROOT:
            raise OperationError(
                f"user: only root can become {self._user.name}, and this process runs as {access.user_name()}",
                f"start the gateway as root or as {self._user.name}, or remove `user`",
            )
        self._act_as(self._user)
        self._check_program(self._user)

    @staticmethod
    def _act_as(user: User) -> None:
        try:
            os.setgroups(user.groups)
            os.setresgid(user.gid, user.gid, ROOT)
            os.setresuid(user.uid, user.uid, ROOT)
        except OSError as error:
            raise OperationError(
                f"user: this process can't become {user.name}: {error.strerror}",
                "grant it the capabilities CAP_SETUID and CAP_SETGID",
            ) from error

    @staticmethod
    def _check_program(user: User) -> None:
        """Check that the user can read the code: workers load modules later, and helpers are separate programs."""
        for path in (sys.executable, os.__file__, gateway.__file__):
            if not os.access(path, os.R_OK):
                raise OperationError(
                    f"user: {user.name} may not read {path}",
                    f"install Python and the gateway in a folder that {user.name} can read",
                )

    @contextlib.contextmanager
    def as_root(self) -> Iterator[None]:
        """Act as root within this context."""
        if self._user is None:
            yield
            return
        os.setresuid(_UNCHANGED, ROOT, _UNCHANGED)
        try:
            yield
        finally:
            os.setresuid(_UNCHANGED, self._user.uid, _UNCHANGED)

    def give_up(self) -> None:
        """Become the user for good. Raises `OperationError` if root's rights can't be given up."""
        user = self._user
        if user is None:
            return
        os.setresuid(_UNCHANGED, ROOT, _UNCHANGED)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        if _can_be_root():
            raise OperationError(
                f"user: {user.name} could become root again", "start the gateway without secure bits (capabilities(7))"
            )
        if user.home is not None:
            os.environ["HOME"] = user.home
        dumps.allow_reading()
        self._user = None


def _can_be_root() -> bool:
    try:
        os.setresuid(_UNCHANGED, ROOT, _UNCHANGED)
    except PermissionError:
        return False
    return True


def root_warning() -> tuple[str, ...]:
    """A warning for the log and the status if the gateway runs as root."""
    if os.geteuid() != ROOT:
        return ()
    return ("the gateway runs as root; write the name of an unprivileged user into `user`, or start it as that user",)
