"""The publisher, as the master keeps it."""

import os
import selectors
import stat
import tempfile
from pathlib import Path

import pytest

from gateway.config.model import Pki
from gateway.errors import OperationError
from gateway.supervisor.helpers import publisher_role as module
from gateway.supervisor.helpers.publisher_role import PublisherRole, instructions
from gateway.supervisor.processes.children import Children

PKI = Pki("postgresql+psycopg://u:secret@h/d", Path("/pki"))
OPTIONS = " -c /etc/gateway.yaml"


@pytest.fixture
def children():
    with selectors.DefaultSelector() as selector:
        yield Children(selector, lambda: None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_nobody_else_can_look_into_its_folder(folder, children):
    made = PublisherRole(PKI, OPTIONS, children)
    assert stat.S_ISSOCK(made.path.stat().st_mode)
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert made.path.parent.parent == folder
    made.discard()
    assert not list(folder.iterdir())


def test_the_password_goes_over_the_channel_and_nowhere_else(folder, children, monkeypatch):
    """In the child: what would be executed."""
    out, into = os.pipe()
    monkeypatch.setattr(module, "become", lambda *what: os.write(into, repr([*what[:1], len(what)]).encode()))
    made = PublisherRole(PKI, OPTIONS, children)
    heard = []
    monkeypatch.setattr(children, "send", lambda child, message: heard.append((child.role, message)))
    children.start(made.role)
    (child,) = children.of(made.role)
    os.waitpid(child.pid, 0)
    child.channel.close()
    assert os.read(out, 1000) == b"['gateway.supervisor.helpers.publisher_process', 2]"
    for each in (out, into):
        os.close(each)
    assert heard == [(made.role, instructions(PKI, OPTIONS, os.environ))]
    assert made.role.hear(child, {}) is None
    made.let_go()
    made.discard()
    assert list(folder.iterdir()) == []


def test_it_is_told_what_the_database_library_reads_in_the_environment():
    told = instructions(PKI, OPTIONS, {"PGPASSWORD": "secret", "MAIL_KEY_PASSWORD": "other", "PATH": "/bin"})
    assert told == {
        "do": "publish",
        "store": PKI.store,
        "folder": "/pki",
        "options": OPTIONS,
        "environment": {"PGPASSWORD": "secret"},
    }


@pytest.mark.parametrize("place", ["missing", "x" * 120])
def test_a_folder_that_cannot_be_used_is_said_before_anything_is_forked(folder, children, monkeypatch, place):
    where = folder / place
    if place != "missing":
        where.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(where))
    with pytest.raises(OperationError) as raised:
        PublisherRole(PKI, OPTIONS, children)
    assert raised.value.cause.startswith("listen[].pki: the publisher's socket cannot be made: ")
    assert "TMPDIR" in raised.value.remedy
    assert not where.exists() or not list(where.iterdir())
