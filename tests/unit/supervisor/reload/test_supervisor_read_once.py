"""Each file of certificates and keys is read once, and what was checked is what is served."""

import json
import subprocess
import sys

import pytest
from support.dialogue import Files
from support.loaded import certificate_file
from support.pki import NOW

from gateway.config.load import load_with_warnings
from gateway.supervisor.reload.build_snapshot import build_snapshot
from gateway.supervisor.reload.revision import read_revision
from gateway.supervisor.state.warnings import WarningLog
from gateway.x509 import reader

OPENS = """
import json, os, sys
from pathlib import Path
from gateway.proxy.upstream.tls import upstream_tls
from gateway.supervisor.reload.revision import read_revision
from gateway.supervisor.state.warnings import WarningLog

path, counts = Path(sys.argv[1]), {}

def count(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        name = os.path.basename(os.fspath(arguments[0]))
        counts[name] = counts.get(name, 0) + 1

read_revision(path)  # modules are loaded meanwhile
sys.addaudithook(count)
revision = read_revision(path)
WarningLog().follow(revision.snapshot)
for upstream in revision.config.upstreams:
    upstream_tls(upstream)  # as each worker does
print(json.dumps(counts))
"""


@pytest.fixture
def files(tmp_path):
    made = Files(tmp_path)
    made.ca.issue().write(tmp_path, "own")
    return made


def written(files):
    """A configuration that names its files more than once."""
    first = files.site("mail.example.com", crl="ca.crl")
    second = files.site("www.example.com", crl="ca.crl")
    (files.folder / "ca.crl").write_bytes(files.ca.crl())
    tls = {"ca": "ca.pem", "certificate": "own.crt", "key": "own.key"}
    rule = {"name": "ours", "action": "require_certificate", "certificate": {"ca": ["ca.pem"]}}
    upstreams = {"mail": {"servers": ["https://10.0.0.5"], "tls": tls}}
    return files.config(sites=[first, second], upstreams=upstreams, rules=[rule])


def test_each_file_is_opened_once_for_each_load(files):
    config = written(files)
    run = subprocess.run([sys.executable, "-c", OPENS, config.path], check=True, capture_output=True, text=True)
    counts = json.loads(run.stdout)
    names = ("ca.pem", "server.crt", "server.key", "own.crt", "own.key")
    assert {name: counts.get(name) for name in names} == dict.fromkeys(names, 1)


def test_what_was_checked_is_served_whatever_becomes_of_the_files(files):
    path = written(files).path
    loaded = load_with_warnings(path, is_serving=True, now=NOW)
    chain = certificate_file(files.folder / "server.crt").certificates
    other = files.ca.issue("CN=other")
    other.write(files.folder, "server")
    (files.folder / "ca.pem").write_bytes(other.pem)  # no CA's: it would be refused
    for name in ("own.crt", "own.key"):
        (files.folder / name).unlink()
    snapshot = build_snapshot(loaded.config)
    assert {state.site.certificate.certificates for state in snapshot.states} == {chain}
    assert {state.tls.trust.anchors for state in snapshot.states} == {(files.ca.certificate,)}
    WarningLog().follow(snapshot)


def test_a_file_that_changes_while_it_is_loaded_is_seen_as_changed(files, monkeypatch):
    path = written(files).path
    real, seen = reader.read_file, []

    def replaced_once(name):
        data = real(name)
        if name.name == "server.crt" and not seen:
            seen.append(name.read_bytes())
            name.write_bytes(seen[0] + b"# another\n")
        return data

    monkeypatch.setattr(reader, "read_file", replaced_once)
    revision = read_revision(path)
    monkeypatch.undo()
    assert revision.stamps != read_revision(path).stamps


def test_no_key_and_no_password_shows_in_a_representation(files):
    config = written(files)
    text = repr(config)
    assert "own.key" in text
    for word in ("PrivateKey", "Certificate(subject"):
        assert word not in text
