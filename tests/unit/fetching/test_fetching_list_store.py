"""Fetched lists on disk: which may follow which, and what a folder that can't be written means."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from support.loaded import certificates_named, key_named
from support.pki import DAY, NOW, Ca, ec_key
from support.scopes import issuing_point

from gateway.config.model import Config, Site
from gateway.errors import ConfigError, OperationError
from gateway.fetching import list_store as module
from gateway.fetching.list_store import ListStore, check_successor, stored_lists

ROOT, OTHER = Ca.make(), Ca.make("CN=Other")
ANCHORS = (ROOT.certificate, OTHER.certificate)
HTTP, HTTPS = "http://a/ca.crl", "https://a/ca.crl"
HOUR = timedelta(hours=1)


def follows(data, stored=None, *, url=HTTP, anchors=ANCHORS, now=NOW):
    return check_successor(url, data, stored, anchors, now)


def refused(words, *arguments, **options):
    with pytest.raises(ConfigError, match=words):
        follows(*arguments, **options)


def test_a_newer_list_follows_an_older_one_and_never_the_other_way_round():
    old, new = ROOT.crl(number=4), ROOT.crl(number=5, last_update=NOW - 2 * DAY)
    assert follows(old)[0].number == 4
    assert follows(new, old)[0].number == 5
    assert follows(new, new)[0].number == 5
    refused("of 'CN=Test Root' is older than the one that was fetched before", old, new)
    early, late = ROOT.crl(number=5, last_update=NOW - 3 * HOUR), ROOT.crl(number=5, last_update=NOW - 2 * HOUR)
    follows(late, early)
    refused("older", early, late)
    refused("older", ROOT.crl(number=None), old)


def test_an_outdated_list_may_follow_an_older_one():
    follows(ROOT.crl(number=5, next_update=NOW - HOUR), ROOT.crl(number=4))


def test_each_ca_of_a_bundle_is_looked_at_by_itself():
    both = ROOT.crl(number=4) + OTHER.crl(number=9)
    follows(ROOT.crl(number=5) + OTHER.crl(number=9), both)
    follows(ROOT.crl(number=3) + ROOT.crl(number=5) + OTHER.crl(number=9), both)
    refused("'CN=Other' is older", ROOT.crl(number=5) + OTHER.crl(number=8), both)
    refused("the answer no longer contains a list of 'CN=Other'", ROOT.crl(number=5), both)


def test_a_forged_list_does_not_follow():
    refused("whose key did not sign it", ROOT.crl(number=9, key=ec_key()), ROOT.crl(number=1))


def test_a_ca_that_was_made_anew_under_its_old_name_begins_anew():
    renewed = Ca.make()
    follows(renewed.crl(number=1), ROOT.crl(number=99), anchors=(renewed.certificate,))
    refused(
        "no longer contains a list of 'CN=Test Root'",
        renewed.crl(number=1),
        ROOT.crl(number=99),
        anchors=(renewed.certificate, ROOT.certificate),
    )


def test_a_list_that_nobody_can_check_must_come_over_https():
    middle = ROOT.issue_ca("CN=Middle")
    refused("not in client_ca", middle.crl())
    old, new = middle.crl(number=4), middle.crl(number=5)
    follows(new, old, url=HTTPS)
    refused("older", old, new, url=HTTPS)
    follows(ROOT.crl(), old, url=HTTPS)
    with_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(middle.key.public_key())
    named = middle.crl(number=4, extensions=[(with_key, False)])
    follows(named, new, url=HTTPS)  # another key of that name, as far as anybody can tell
    refused("older", named, middle.crl(number=5, extensions=[(with_key, False)]), url=HTTPS)


USERS, CAS = issuing_point(only_contains_user_certs=True), issuing_point(only_contains_ca_certs=True)


def of(scope, ca=ROOT, **options):
    return ca.crl(extensions=[] if scope is None else [scope], **options)


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_a_list_never_gives_way_to_one_that_covers_less(url):
    whole, users, cas = of(None, number=4), of(USERS, number=5), of(CAS, number=5)
    refused("covers only certificates of users; the previous one covered all certificates", users, whole, url=url)
    refused("covers only certificates of CAs; the previous one covered only certificates of users", cas, users, url=url)
    refused("covers only certificates of CAs", cas, whole + users, url=url)
    for old, new in ((whole, users), (ROOT.crl(number=6), whole)):
        with pytest.raises(ConfigError) as raised:
            follows(new, old, url=url)
        assert f"delete {ListStore(Path(), Path()).files(url)[1].name} from " in raised.value.remedy
    assert len(follows(whole + cas, users, url=url)) == 2
    middle = ROOT.issue_ca("CN=Middle")
    refused("covers only certificates of users", of(USERS, middle, number=5), of(None, middle), url=HTTPS)


def test_each_scope_is_as_new_as_before():
    stored = of(USERS, number=5) + of(CAS, number=50)
    follows(of(USERS, number=6) + of(CAS, number=50), stored)
    refused("is older", of(USERS, number=51) + of(CAS, number=49), stored)
    refused("covers only certificates of users", of(USERS, number=51), stored)


def test_a_list_of_everything_follows_one_of_a_part_by_its_date():
    part = of(USERS, number=50, last_update=NOW - 2 * HOUR)
    follows(of(None, number=1, last_update=NOW - HOUR), part)
    refused("is older", of(None, number=99, last_update=NOW - 3 * HOUR), part)


def test_a_ca_whose_list_spells_its_name_in_another_way_is_known():
    spelled = Ca.make("CN=TEST  root", key=ROOT.key)
    follows(spelled.crl(number=5), ROOT.crl(number=4))
    refused("is older", spelled.crl(number=3), ROOT.crl(number=4))
    refused("whose key did not sign it", spelled.crl(number=5, key=ec_key()))


def test_a_list_of_tomorrow_waits():
    refused("begins in the future, 2026-11-24 12:00:01 UTC", ROOT.crl(last_update=NOW + timedelta(seconds=1)))
    follows(ROOT.crl(last_update=NOW))


def test_so_many_lists_that_they_take_long_to_check_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_LISTS", 3)
    follows(ROOT.crl() * 3)
    refused("more than 3 lists", ROOT.crl() * 4)


def test_a_damaged_file_protects_nothing_and_stops_nobody():
    follows(ROOT.crl(), b"damaged")


@pytest.fixture
def store(tmp_path):
    return ListStore(tmp_path / "state" / "crl", tmp_path / "fallback")


def test_what_was_written_is_read_and_only_by_its_owner(store):
    assert store.read(HTTP) is None
    assert store.write(HTTP, b"one") is None
    assert store.write(HTTP, b"two") is None
    assert store.write(HTTPS, b"other") is None
    assert (store.read(HTTP), store.read(HTTPS)) == (b"two", b"other")
    assert (store.has(HTTP), store.has("http://b/")) == (True, False)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    files = list(store.folder.iterdir())
    assert sorted(file.stat().st_mode & 0o777 for file in files) == [0o600, 0o600]
    assert not store.fallback.exists()


def test_a_folder_that_cannot_be_written_is_replaced_until_it_can(store, tmp_path):
    (tmp_path / "state").write_text("in the way")
    fault = store.write(HTTP, b"one")
    assert str(store.folder) in fault
    assert store.read(HTTP) == b"one"
    assert store.fallback.stat().st_mode & 0o777 == 0o700
    (tmp_path / "state").unlink()
    assert store.write(HTTP, b"two") is None
    assert store.read(HTTP) == b"two"
    assert list(store.fallback.iterdir()) == []
    store.discard_fallback()
    assert not store.fallback.exists()
    store.discard_fallback()


def test_when_nothing_can_be_written_the_old_stays_and_the_cause_is_told(store, tmp_path, monkeypatch):
    store.write(HTTP, b"one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OperationError, match="No space left on device") as caught:
        store.write(HTTP, b"two")
    assert str(store.folder) in caught.value.remedy
    assert store.read(HTTP) == b"one"
    assert len(list(store.folder.iterdir())) == 1
    assert list((tmp_path / "fallback").iterdir()) == []


def test_a_fifo_in_the_way_is_not_waited_for(store):
    store.write(HTTP, b"one")
    (path,) = store.folder.iterdir()
    path.unlink()
    os.mkfifo(path)
    assert store.read(HTTP) is None


def test_a_link_in_the_way_is_not_followed(store, tmp_path):
    store.write(HTTP, b"one")
    (path,) = store.folder.iterdir()
    target = tmp_path / "target"
    path.with_name(f".{path.name}.{os.getpid()}").symlink_to(target)
    store.write(HTTP, b"two")
    assert not target.exists()


def test_the_folder_stands_beside_the_file_or_where_systemd_says(tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    one, other = ListStore.beside(tmp_path / "config.yaml"), ListStore.beside(tmp_path / "config.yaml")
    assert one.folder == tmp_path / "state" / "crl"
    assert one.fallback != other.fallback
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/a:{tmp_path}/b")
    assert ListStore.beside(tmp_path / "config.yaml").folder == tmp_path / "a" / "crl"

    def nowhere():
        raise FileNotFoundError

    monkeypatch.setattr(module.tempfile, "gettempdir", nowhere)
    assert ListStore.beside(tmp_path / "config.yaml").fallback.parent == Path("/dev/shm")  # noqa: S108 - a random name in it


def test_the_stored_lists_of_a_configuration_are_those_of_its_urls(tmp_path, store):
    site = Site(("a",), certificates_named("c"), key_named("k"), "m", crl=(HTTP, HTTPS, "/a/file.crl"))
    store.write(HTTPS, ROOT.crl(number=7))
    config = Config(tmp_path / "config.yaml", (), (site,), (), (), {})
    (known,) = stored_lists(config, store).values()
    assert ([entry.number for entry in known.lists], known.problem) == ([7], None)
    store.write(HTTP, b"rubbish")
    known = stored_lists(config, store)[HTTP]
    assert known.lists == ()
    assert known.problem.startswith(f"{HTTP}: not a readable revocation list")
