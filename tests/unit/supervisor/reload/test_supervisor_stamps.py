"""A file that changes while it is being read is seen as changed afterwards."""

import os
from datetime import timedelta

import pytest
import yaml
from support.openssl_ca import put
from support.pki import Ca, server

from gateway import clock
from gateway.stamps import stamp_of
from gateway.supervisor.reload import revision as module
from gateway.supervisor.revocation_lists import current


@pytest.fixture
def config(tmp_path):
    server(tmp_path)
    now = clock.now()
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=99)}
    ca = Ca.make(**dates)
    ca.write(tmp_path, "ca")
    put(tmp_path / "ca.crl", ca.crl(last_update=now - timedelta(days=1), next_update=now + timedelta(days=7)))
    path = tmp_path / "config.yaml"
    site = {"certificate": "server.crt", "key": "server.key", "client_ca": ["ca.crt"], "crl": ["ca.crl"]}
    settings = {
        "listen": [{"address": "127.0.0.1:0"}],
        "sites": [{"hosts": ["mail.example.com"], "upstream": "mail", **site}],
        "upstreams": {"mail": {"servers": ["http://127.0.0.1:1"]}},
        "rules": [{"name": "all", "action": "require_certificate"}],
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def test_what_was_read_is_what_was_seen(config):
    revision = module.read_revision(config)
    assert {path: stamp_of(path) for path in revision.stamps} == revision.stamps
    assert {path.name for path in revision.stamps} == {"server.crt", "server.key", "ca.crt"}


def test_a_file_replaced_in_the_middle_of_the_reading_is_seen_as_changed(config, monkeypatch):
    ca = config.parent / "ca.crt"
    build = module.build_snapshot

    def slowly(*arguments):
        snapshot = build(*arguments)
        put(ca, ca.read_bytes())
        return snapshot

    monkeypatch.setattr(module, "build_snapshot", slowly)
    revision = module.read_revision(config)
    assert [path for path, stamp in revision.stamps.items() if stamp != stamp_of(path)] == [ca]


def test_a_list_replaced_in_the_middle_of_the_reading_is_taken_up_afterwards(config, monkeypatch):
    """Else a revocation would wait for the next one."""
    crl = config.parent / "ca.crl"
    newer = crl.read_bytes() + b"\n"
    read = current.parse_lists

    def slowly(*arguments):
        lists = read(*arguments)
        if crl.read_bytes() != newer:
            put(crl, newer)
        return lists

    monkeypatch.setattr(current, "parse_lists", slowly)
    revision = module.read_revision(config)
    state = current.CurrentLists(revision.store)
    state.follow(revision.lists, revision.snapshot)
    assert state.look(clock.now()).changed == (str(crl),)


def test_a_file_that_is_replaced_with_its_old_date_and_size_is_seen_as_changed(tmp_path):
    """As `cp -p` over the same file does: the inode, the size and the date stay."""
    path = tmp_path / "ca.crl"
    path.write_bytes(b"old")
    before, stamp = path.stat(), stamp_of(path)
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the file system's clock goes on in steps
        path.write_bytes(b"new")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert stamp_of(path) != stamp


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "file"
    assert stamp_of(path) is None
    path.write_bytes(b"a")
    first = stamp_of(path)
    assert stamp_of(path) == first
    other = tmp_path / "other"
    other.write_bytes(b"b")
    other.rename(path)  # as tools replace a file: same size, perhaps the same time
    assert stamp_of(path) != first
