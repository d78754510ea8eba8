"""From files to a snapshot, again and again: what is kept, what is watched, and what only a restart changes."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.dialogue import Files
from support.loaded import certificates_named, key_named

from gateway.config.model import Pki, Site, Upstream, UpstreamTls
from gateway.errors import ConfigError
from gateway.supervisor.lists import ListStore
from gateway.supervisor.reload import check_same_frame, read_revision, stamps, watched_files
from gateway.supervisor.snapshot import build_snapshot


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("reload"))


@pytest.fixture
def config(files):
    return files.config()


def test_the_file_is_read_once_where_its_source_is_given(config):
    path = config.path
    source = path.read_bytes()
    path.write_bytes(b"being edited: [")
    revision = read_revision(path, source)
    assert revision.source == source
    assert revision.config == config
    with pytest.raises(ConfigError):
        read_revision(path)
    path.write_bytes(source)
    assert read_revision(path).source == source


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file") as caught:
        read_revision(tmp_path / "missing.yaml")
    assert "-c" in caught.value.remedy


def test_upstreams_files_are_read_before_anybody_serves_by_them(files):
    settings = {"mail": {"servers": ["https://10.0.0.5"], "tls": {"certificate": "ca.pem", "key": "server.key"}}}
    with pytest.raises(ConfigError):
        read_revision(files.config(upstreams=settings).path)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("listen", {"listen": ()}),
        ("workers", {"workers": 7}),
        ("access_log", {"access_log": None}),
        ("admin", {"admin": object()}),
    ],
)
def test_what_only_a_restart_can_change(config, key, change):
    check_same_frame(config, config)
    with pytest.raises(ConfigError, match=f"{key} cannot change") as caught:
        check_same_frame(config, replace(config, **change))
    assert "restart" in caught.value.remedy


def test_all_of_them_are_named_at_once(config):
    with pytest.raises(ConfigError, match="listen, workers cannot change"):
        check_same_frame(config, replace(config, listen=(), workers=7))


def test_what_the_publisher_was_told_stays(config):
    pki = Pki("sqlite:////a", Path("/a"))
    assert check_same_frame(config, replace(config, pki=pki)) is None, "nobody serves it"
    listener = replace(config.listen[0], pki=True)
    publishing = replace(config, pki=pki, listen=(listener,))
    check_same_frame(publishing, publishing)
    for other in (Pki("sqlite:////b", Path("/a")), Pki("sqlite:////a", Path("/b"))):
        with pytest.raises(ConfigError, match=r"pki.store, pki.folder cannot change"):
            check_same_frame(publishing, replace(publishing, pki=other))


def test_every_file_that_serving_depends_on_is_watched(config, tmp_path):
    url = "http://crl.example.com/ca.crl"
    site = Site(
        ("a",),
        certificates_named("/a.crt"),
        key_named("/a.key"),
        "mail",
        client_ca=(certificates_named("/ca.pem"),),
        crl=("/ca.crl", url),
    )
    tls = UpstreamTls(certificates_named("/up.pem"), None, certificates_named("/up.crt"), key_named("/up.key"))
    plain = Upstream("plain", ())
    lists = ListStore.beside(tmp_path / "config.yaml")
    config = replace(config, sites=(site,), upstreams=(Upstream("mail", (), tls=tls), plain))
    names = {"/a.crt", "/a.key", "/ca.pem", "/ca.crl", "/up.pem", "/up.crt", "/up.key"}
    assert watched_files(config, lists) == {Path(name) for name in names} | set(lists.files(url))


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "file"
    assert stamps([path]) == {path: None}
    path.write_bytes(b"a")
    first = stamps([path])
    assert stamps([path]) == first
    other = tmp_path / "other"
    other.write_bytes(b"b")
    other.rename(path)  # as tools replace a file: same size, perhaps the same time
    assert stamps([path]) != first


# snapshots


def test_a_site_whose_tls_stayed_keeps_its_contexts_and_trusts_anew(files):
    first = files.snapshot()
    again = build_snapshot(files.config(limits={"connections": 7}), first)
    (before,), (after,) = first.states, again.states
    assert after.tls.silent is before.tls.silent
    assert after.tls.asking is before.tls.asking
    assert after.tls.trust is not before.tls.trust
    assert after.judgements is not before.judgements
    assert again.config.limits.connections == 7


def test_a_site_whose_tls_changed_gets_new_contexts(files):
    first = files.snapshot()
    other = build_snapshot(files.config(sites=[files.site("mail.example.com", "www.mail.example.com")]), first)
    assert other.states[0].tls.silent is not first.states[0].tls.silent


def test_sites_are_found_by_each_of_their_names(files):
    snapshot = files.snapshot(sites=[files.site("mail.example.com", "*.mail.example.com")])
    (state,) = snapshot.states
    assert snapshot.sites.find("mail.example.com") is snapshot.sites.find("www.mail.example.com") is state
    assert snapshot.sites.find("example.com") is None


def test_a_site_needs_its_upstream(config):
    with pytest.raises(ConfigError, match="there is no upstream 'mail'"):
        build_snapshot(replace(config, upstreams=()))


def test_asking_online_is_prepared_before_anybody_waits(files):
    (state,) = files.snapshot(sites=[files.site(ocsp={"mode": "soft"})]).states
    assert state.site.ocsp.mode == "soft"
