"""`user`: from a name or number to all that the kernel wants to know."""

import grp
import os
import pwd
from types import SimpleNamespace

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load, read_user
from gateway.config.model import User
from gateway.config.problems import ConfigErrors

USERS = {"gateway": SimpleNamespace(pw_name="gateway", pw_uid=990, pw_gid=991, pw_dir="/var/lib/gateway")}
GROUPS = {"gateway": 991, "keys": 992}


@pytest.fixture(autouse=True)
def _system(monkeypatch):
    numbers = {user.pw_uid: user for user in USERS.values()}
    monkeypatch.setattr(pwd, "getpwnam", USERS.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", numbers.__getitem__)
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=GROUPS[name]))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4] if name == "gateway" else [gid])


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("gateway", User("gateway", 990, 991, (991, 4), "/var/lib/gateway")),
        ("990", User("gateway", 990, 991, (991, 4), "/var/lib/gateway")),
        ("gateway:keys", User("gateway", 990, 992, (992, 4), "/var/lib/gateway")),
        ("gateway:5", User("gateway", 990, 5, (5, 4), "/var/lib/gateway")),
        ("10001:10002", User("10001", 10001, 10002, (10002,))),
    ],
)
def test_a_user_may_be_named_in_many_ways(write, text, user):
    path = write(BASE + f'user: "{text}"\n')
    assert load(path, now=NOW, environ={}).user == user
    assert read_user(path, environ={}) == user


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody-such", "user: there is no user 'nobody-such'; create it: useradd --system nobody-such"),
        ("gateway:none", "user: there is no group 'none'; create it: groupadd --system none"),
        (
            "10001",
            (
                "user: the system has no user 10001, so the group of this number is not known; "
                'write its group too: "10001:GROUP"'
            ),
        ),
        ("4294967295:1", "user: there is no user '4294967295'; write the name of a user of this system"),
        ("Web", "user: there is no user 'Web'; write the name of a user of this system"),
        ("gateway:4294967295", "user: there is no group '4294967295'"),
        ("a b", "user: 'a b' is not a user; write gateway"),
        ("-x", "user: '-x' is not a user"),
        (":keys", "user: ':keys' is not a user"),
    ],
)
def test_who_is_not_there_is_an_error(write, text, message):
    path = write(BASE + f'user: "{text}"\n')
    with pytest.raises(ConfigErrors) as raised:
        load(path, now=NOW, environ={})
    assert message in raised.value.cause
    assert read_user(path, environ={}) is None


@pytest.mark.parametrize("text", ["rules: [", "# nothing\n", BASE])
def test_without_a_user_there_is_none(write, text):
    assert read_user(write(text), environ={}) is None
