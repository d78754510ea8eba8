"""From files to a snapshot, again and again: what is kept, what is watched, and what only a restart changes."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support import pki
from support.dialogue import Files
from support.loaded import certificates_named, key_named

from gateway import clock
from gateway.config.model import Pki, Site, Upstream, UpstreamTls
from gateway.errors import ConfigError
from gateway.supervisor.reload.build_snapshot import build_snapshot, with_lists
from gateway.supervisor.reload.revision import at_day, check_same_frame, read_revision
from gateway.tls.trust import KnownLists
from gateway.x509.revocation_list import parse_lists

HOUR = timedelta(hours=1)


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


def test_every_file_that_serving_depends_on_is_watched(config):
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
    config = replace(config, sites=(site,), upstreams=(Upstream("mail", (), tls=tls), plain))
    names = {"/a.crt", "/a.key", "/ca.pem", "/up.pem", "/up.crt", "/up.key"}
    assert {file.path for file in config.files} == {Path(name) for name in names}


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


# revocation lists


def listed(ca, number):
    now = clock.now()
    data = ca.crl(number=number, last_update=now - HOUR, next_update=now + 9 * HOUR)
    return {"/a.crl": KnownLists(parse_lists(data, "/a.crl"))}


@pytest.fixture
def two_sites(files, config):
    """One with a list, and one without."""
    site = replace(config.sites[0], crl=("/a.crl",))
    other = replace(config.sites[0], hosts=("other.example.com",))
    return build_snapshot(replace(config, sites=(site, other)), None, listed(files.ca, 1))


def test_other_lists_make_another_judge_of_the_sites_that_name_them(two_sites, files):
    after = with_lists(two_sites, listed(files.ca, 2))
    (one, other), (one_before, other_before) = after.states, two_sites.states
    assert [entry.number for entry in one.tls.trust.lists] == [2]
    assert one.tls.trust.generation > one_before.tls.trust.generation
    assert one.judgements.trust is one.tls.trust
    assert (one.tls.silent, one.tls.asking) == (one_before.tls.silent, one_before.tls.asking)
    assert after.sites.find("mail.example.com") is one
    assert after.sites.find("other.example.com") is other is other_before
    assert after.config is two_sites.config


def test_a_problem_of_a_list_is_a_warning_of_its_sites(two_sites):
    (known,) = two_sites.states[0].tls.trust.lists
    after = with_lists(two_sites, {"/a.crl": KnownLists((known,), "/a.crl: half a list")})
    assert after.states[0].tls.trust.problems == ("/a.crl: half a list",)
    assert after.states[0].tls.trust.lists == (known,)


def test_lists_that_are_the_same_missing_or_of_another_ca_change_nothing(two_sites):
    (known,) = two_sites.states[0].tls.trust.lists
    assert with_lists(two_sites, {"/a.crl": KnownLists((known,))}) is two_sites
    assert with_lists(two_sites, {}) is two_sites
    assert with_lists(two_sites, listed(pki.Ca.make(), 2)) is two_sites


def test_a_reload_after_the_clock_was_set_back_opens_no_rule_again(files, monkeypatch):
    rule = {"name": "new", "action": "require_certificate", "enforce": "2026-11-25"}
    config = files.config(rules=[rule])
    midnight = config.rules[0].enforced_from
    monkeypatch.setattr(clock, "unix_seconds", lambda: midnight - 1)
    before = build_snapshot(config)
    assert before.engine.changes_at == midnight
    monkeypatch.setattr(clock, "unix_seconds", lambda: midnight)
    after = build_snapshot(config, before)
    assert after.engine.changes_at == float("inf")
    monkeypatch.setattr(clock, "unix_seconds", lambda: midnight - 3600)
    assert build_snapshot(config, after).engine.changes_at == float("inf")
    later = files.config(rules=[{**rule, "enforce": "2026-11-26"}])
    assert build_snapshot(later, after).engine.changes_at == midnight + 86400  # a later day is meant


def test_what_the_master_holds_follows_the_day(files, monkeypatch):
    rules = [{"name": "new", "action": "require_certificate", "enforce": "2026-11-25"}]
    config = files.config(rules=rules)
    midnight = config.rules[0].enforced_from
    monkeypatch.setattr(clock, "unix_seconds", lambda: midnight - 1)
    monkeypatch.setattr(clock, "now", lambda: pki.NOW)
    revision = read_revision(config.path)
    assert at_day(revision, midnight - 0.5) == (revision, ())
    later, begun = at_day(revision, midnight)
    assert begun == ("new",)
    assert later.snapshot.engine.changes_at == float("inf")
    assert at_day(later, midnight - 3600) == (later, ())
