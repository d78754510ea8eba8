"""From root to the user that serves, against a kernel that only remembers; `test_e2e_user` has the real one."""

import os
import sys

import pytest

from gateway.config.model import User
from gateway.errors import OperationError
from gateway.supervisor import privileges
from gateway.supervisor.privileges import Privileges, root_warning

USER = User("gateway", 990, 991, (991, 4), "/var/lib/gateway")


class Kernel:
    """The user and group numbers of one process: real, effective, saved."""

    def __init__(self):
        self.users, self.group_numbers, self.groups = [0, 0, 0], [0, 0, 0], (0, 1, 2)
        self.keeps_rights = False
        self.refuses = False
        self.unreadable = set()

    def setresuid(self, *numbers):
        if self.refuses or (
            not self.keeps_rights and self.users[1] != 0 and any(number not in (-1, *self.users) for number in numbers)
        ):
            raise PermissionError(1, "Operation not permitted")
        self.users = [old if new == -1 else new for old, new in zip(self.users, numbers, strict=True)]

    def setresgid(self, *numbers):
        assert self.users[1] == 0
        self.group_numbers = list(numbers)

    def setgroups(self, groups):
        assert self.users[1] == 0
        self.groups = groups


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(os, "geteuid", lambda: made.users[1])
    for name in ("setresuid", "setresgid", "setgroups"):
        monkeypatch.setattr(os, name, getattr(made, name))
    monkeypatch.setattr(os, "access", lambda path, _mode: path not in made.unreadable)
    monkeypatch.setenv("HOME", "/root")
    return made


def test_files_are_the_users_and_ports_are_roots_until_all_is_given_up(kernel):
    rights = Privileges(USER)
    assert (kernel.users, kernel.groups) == ([990, 990, 0], (991, 4))
    assert root_warning() == ()
    with rights.as_root():
        assert kernel.users == [990, 0, 0]
    assert kernel.users == [990, 990, 0]
    rights.give_up()
    assert (kernel.users, kernel.group_numbers, kernel.groups) == ([990] * 3, [991] * 3, (991, 4))
    assert os.environ["HOME"] == "/var/lib/gateway"


def test_a_port_that_cannot_be_opened_leaves_no_right_behind(kernel):
    rights = Privileges(USER)
    with pytest.raises(OperationError), rights.as_root():
        raise OperationError("in use")
    assert kernel.users == [990, 990, 0]


def test_without_a_user_nothing_changes(kernel):
    rights = Privileges(None)
    with rights.as_root():
        rights.give_up()
    assert (kernel.users, kernel.groups) == ([0, 0, 0], (0, 1, 2))
    assert root_warning() == (
        "the gateway runs as root; write the name of an unprivileged user into `user`, or start it as that user",
    )


def test_the_user_itself_needs_no_root(kernel):
    kernel.users = [990] * 3
    Privileges(USER).give_up()
    assert kernel.users == [990] * 3


def test_another_user_cannot_become_it(kernel):
    kernel.users = [7] * 3
    with pytest.raises(OperationError) as raised:
        Privileges(USER)
    assert "only root can become gateway, and this process runs as" in raised.value.cause
    assert "start the gateway as root or as gateway" in raised.value.remedy


def test_root_without_its_capabilities_says_which(kernel):
    kernel.refuses = True
    with pytest.raises(OperationError) as raised:
        Privileges(USER)
    assert "CAP_SETUID" in raised.value.remedy


def test_a_program_that_the_user_may_not_read_is_said(kernel):
    kernel.unreadable.add(sys.executable)
    with pytest.raises(OperationError) as raised:
        Privileges(USER)
    assert raised.value.cause == f"user: gateway may not read {sys.executable}"


def test_rights_that_stay_end_the_start(kernel):
    rights = Privileges(User("10001", 10001, 10001, (10001,)))
    kernel.keeps_rights = True
    with pytest.raises(OperationError, match="could become root again"):
        rights.give_up()


def test_a_user_without_a_home_keeps_the_variable(kernel):
    Privileges(User("10001", 10001, 10001, (10001,))).give_up()
    assert kernel.users == [10001] * 3
    assert os.environ["HOME"] == "/root"


def test_a_debugger_is_let_in_again_only_where_it_is_asked_for(kernel, monkeypatch):
    asked = []
    monkeypatch.setattr(privileges.dumps, "allow_reading", lambda: asked.append(kernel.users[1]))
    Privileges(USER).give_up()
    assert asked == [990]
