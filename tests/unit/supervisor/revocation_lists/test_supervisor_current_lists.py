"""Which lists count: what is taken up, when, and what is left as it was."""

import errno
import logging
from datetime import timedelta

import pytest
import yaml
from support.dialogue import Files
from support.openssl_ca import put
from support.pki import Ca, ec_key

from gateway import clock
from gateway.errors import ConfigError
from gateway.fetching.list_store import ListStore
from gateway.supervisor.reload.build_snapshot import with_lists
from gateway.supervisor.reload.revision import read_revision
from gateway.supervisor.revocation_lists import current as module
from gateway.supervisor.revocation_lists.current import MAX_LOOKS, CurrentLists, ListSet, read_lists

URL = "http://crl.example.com/ca.crl"
HOUR = timedelta(hours=1)
NOW = clock.now()


def make_ca(name="CN=Test Root"):
    return Ca.make(name, not_before=NOW - 24 * HOUR, not_after=NOW + 99 * 24 * HOUR)


def a_list(ca, number, *, begun=HOUR, **more):
    return ca.crl(number=number, last_update=NOW - begun, next_update=NOW - begun + 24 * HOUR, **more)


class House:
    """A configuration's folder and the state of its lists."""

    def __init__(self, folder):
        self.folder = folder
        self.ca, self.other = make_ca(), make_ca("CN=Other")
        self.middle = self.ca.issue_ca("CN=Middle")
        self.path = folder / "ca.crl"
        self.store = ListStore(folder / "state", folder / "fallback")
        self.write_anchors(self.ca, self.other)
        self.source = str(self.path)

    def write_anchors(self, *authorities):
        put(self.folder / "ca.pem", b"".join(ca.pem for ca in authorities))

    def begin(self, files, *sources):
        """The state as at a start with these sources."""
        self.files = files
        self.revision = read_revision(self.write_config(*sources))
        self.state = CurrentLists(self.revision.store)
        self.state.follow(self.revision.lists, self.revision.snapshot)

    def write_config(self, *sources):
        sources = sources or (self.source,)
        site = self.files.site(client_ca=[str(self.folder / "ca.pem")], crl=list(sources))
        settings = {
            "listen": [{"address": "127.0.0.1:443"}],
            "sites": [site],
            "upstreams": {"mail": {"servers": ["http://127.0.0.1:1"]}},
            "rules": [{"name": "all", "action": "allow"}],
        }
        path = self.files.folder / "config.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def look(self, now=NOW):
        return self.state.look(now)

    def settle(self):
        """Looks until nothing is in the making."""
        looks = [self.look(), self.look()]
        return tuple(source for look in looks for source in look.changed)

    def numbers(self, source=None):
        return [entry.number for entry in self.state.current.entries[source or self.source].lists]

    def problem(self, source=None):
        return self.state.current.entries[source or self.source].problem


@pytest.fixture
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def house(tmp_path, files):
    made = House(tmp_path)
    made.path.write_bytes(a_list(made.ca, 1))
    made.begin(files)
    return made


def test_what_is_there_at_the_start_counts(house):
    assert house.numbers() == [1]
    assert house.state.current.generation == 1
    assert house.look() == module.Look()


def test_a_signed_list_counts_at_the_first_look(house, caplog):
    caplog.set_level(logging.INFO)
    house.path.write_bytes(a_list(house.ca, 2))
    look = house.look()
    assert (look.changed, look.refused, look.is_news) == ((house.source,), (), True)
    assert (house.numbers(), house.state.current.generation) == ([2], 2)
    assert f"the revocation list {house.source} has changed (generation 2)" in caplog.text
    assert [house.look(), house.look()] == [module.Look()] * 2
    assert house.state.current.generation == 2


def test_a_file_that_is_touched_is_the_same(house):
    put(house.path, house.path.read_bytes())
    assert house.settle() == ()
    assert house.state.current.generation == 1


def test_what_is_changed_again_after_the_first_look_is_seen(house):
    house.path.write_bytes(a_list(house.ca, 2))
    house.look()
    house.path.write_bytes(a_list(house.ca, 3))
    house.look()
    assert house.numbers() == [3]


def test_half_of_a_list_is_no_broken_one(house, caplog):
    whole = a_list(house.ca, 2)
    house.path.write_bytes(whole[:100])
    assert house.look() == module.Look()
    house.path.write_bytes(whole)
    assert house.look().changed == (house.source,)
    assert not caplog.text


def test_half_of_a_bundle_does_not_take_the_other_half_away(house):
    both = a_list(house.ca, 2) + a_list(house.other, 5)
    house.path.write_bytes(both)
    assert house.settle() == (house.source,)
    newer = a_list(house.ca, 3)
    house.path.write_bytes(newer)
    house.look()
    assert house.numbers() == [2, 5]
    house.path.write_bytes(newer + a_list(house.other, 6))
    house.look()
    assert house.numbers() == [3, 6]


def test_half_of_a_bundle_of_two_cas_of_one_name_takes_nothing_away(house, files):
    old, new = make_ca(), make_ca()  # a CA that began anew: each key's list covers those whom it signed
    house.write_anchors(old, new)
    house.path.write_bytes(a_list(old, 2) + a_list(new, 5))
    house.begin(files)
    newer = a_list(old, 3)
    house.path.write_bytes(newer)
    house.look()
    assert house.numbers() == [2, 5]
    house.path.write_bytes(newer + a_list(new, 6))
    house.look()
    assert house.numbers() == [3, 6]


def test_a_list_that_is_missing_from_its_bundle_for_good_is_gone(house):
    house.path.write_bytes(a_list(house.ca, 2) + a_list(house.other, 5))
    house.settle()
    house.path.write_bytes(a_list(house.ca, 3))
    assert house.settle() == (house.source,)
    assert house.numbers() == [3]


def test_a_list_of_another_ca_counts_when_the_file_is_quiet(house):
    house.path.write_bytes(a_list(house.middle, 7))
    assert house.look() == module.Look()
    assert house.look().changed == (house.source,)
    assert house.numbers() == [7]


def test_a_file_that_never_rests_is_taken_as_it_is(house):
    for _ in range(MAX_LOOKS - 1):
        put(house.path, a_list(house.middle, 7))
        assert house.look() == module.Look()
    put(house.path, a_list(house.middle, 8))
    assert house.look().changed == (house.source,)
    assert house.numbers() == [8]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"rubbish", ": not a readable revocation list"),
        (b"", " is empty"),
        (None, " does not exist"),
    ],
)
def test_a_broken_file_leaves_the_last_good_list(house, caplog, content, words):
    if content is None:
        house.path.unlink()
    else:
        house.path.write_bytes(content)
    house.look()
    look = house.look()
    assert (look.changed, look.refused, look.is_news) == ((), (house.source,), True)
    assert house.numbers() == [1]
    assert f"{house.source}{words}" in house.problem()
    assert f"{house.problem()}; the last good list stays" in caplog.text
    snapshot = with_lists(house.revision.snapshot, house.state.current.known())
    assert house.problem() in snapshot.states[0].tls.trust.warnings(NOW)

    caplog.clear()
    assert not house.look().is_news  # it is told once
    assert not caplog.text
    house.path.write_bytes(a_list(house.ca, 2))
    house.settle()
    assert (house.numbers(), house.problem()) == ([2], None)
    assert house.state.current.generation == 2


def test_the_old_content_may_come_back_after_a_broken_one(house):
    good = house.path.read_bytes()
    house.path.write_bytes(b"rubbish")
    house.settle()
    house.path.write_bytes(good)
    assert house.settle() == ()
    assert (house.problem(), house.state.current.generation) == (None, 1)


def test_a_forged_list_does_not_count(house):
    house.path.write_bytes(a_list(house.ca, 2, key=ec_key()))
    assert house.settle() == ()
    assert "whose key did not sign it; use the list that this CA signed" in house.problem()


def test_what_cannot_be_read_now_is_tried_at_each_look(house, monkeypatch):
    real = module.read_file

    def fail(path):
        raise ConfigError(f"{path}: Too many open files") from OSError(errno.EMFILE, "Too many open files")

    house.path.write_bytes(a_list(house.ca, 2))
    monkeypatch.setattr(module, "read_file", fail)
    assert house.settle() == ()
    assert "Too many open files" in house.problem()
    monkeypatch.setattr(module, "read_file", real)
    assert house.look().changed == (house.source,)
    assert house.problem() is None


def test_one_file_does_not_hold_up_another_in_whatever_way_it_fails(house, monkeypatch, caplog):
    second = house.folder / "other.crl"
    second.write_bytes(a_list(house.other, 5))
    house.begin(house.files, house.source, str(second))
    real = module.parse_lists

    def parse(data, source):
        if source == house.source:
            raise MemoryError("no room")
        return real(data, source)

    monkeypatch.setattr(module, "parse_lists", parse)
    house.path.write_bytes(a_list(house.ca, 2))
    second.write_bytes(a_list(house.other, 6))
    look = house.look()
    assert (look.changed, look.refused) == ((str(second),), (house.source,))
    assert house.numbers() == [1]
    assert "no room" in caplog.text


# lists that begin later


def test_a_list_that_begins_later_stands_beside_the_valid_one_until_it_begins(house):
    later = NOW + HOUR
    house.path.write_bytes(a_list(house.ca, 2, begun=-HOUR))
    assert house.settle() == (house.source,)
    assert house.numbers() == [1, 2]
    house.path.write_bytes(a_list(house.ca, 3, begun=-HOUR))
    house.settle()
    assert house.numbers() == [1, 3]
    assert house.look(later - timedelta(seconds=1)).changed == ()
    generation = house.state.current.generation
    assert house.look(later).changed == (house.source,)
    assert (house.numbers(), house.state.current.generation) == ([3], generation + 1)


def test_a_valid_list_takes_the_place_of_both(house):
    house.path.write_bytes(a_list(house.ca, 2, begun=-HOUR))
    house.settle()
    house.path.write_bytes(a_list(house.ca, 3))
    house.settle()
    assert house.numbers() == [3]


# fetched lists


def test_a_fetched_list_counts_as_soon_as_it_is_stored(house):
    house.begin(house.files, URL)
    assert house.problem(URL).startswith(f"{URL}: the revocation list has not been fetched yet; the running gateway")
    house.revision.store.write(URL, a_list(house.middle, 4))
    assert house.look().changed == (URL,)
    assert (house.numbers(URL), house.problem(URL)) == ([4], None)
    house.revision.store.write(URL, b"rubbish")
    assert house.settle() == ()
    assert (house.numbers(URL), house.problem(URL)[: len(URL)]) == ([4], URL)


def test_without_any_list_the_log_says_so(house, caplog):
    house.begin(house.files, URL)
    house.revision.store.write(URL, b"rubbish")
    house.settle()
    assert f"{house.problem(URL)}; there is no list" in caplog.text


# another configuration


def reread(house, *sources):
    """As the master reloads."""
    path = house.write_config(*sources)
    house.revision = read_revision(path, None, house.revision)
    house.state.follow(house.revision.lists, house.revision.snapshot)


def test_a_configuration_keeps_the_lists_that_are_known_and_does_not_read_them_again(house):
    entry = house.state.current.entries[house.source]
    house.path.write_bytes(b"half of a li")
    reread(house)
    assert house.state.current.entries[house.source] is entry
    assert house.state.current.generation == 1


def test_a_configuration_brings_new_lists_and_drops_those_that_it_does_not_name(house):
    second = house.folder / "other.crl"
    second.write_bytes(a_list(house.other, 5))
    reread(house, house.source, str(second))
    assert (house.numbers(), house.numbers(str(second)), house.state.current.generation) == ([1], [5], 2)
    reread(house, str(second), URL)
    assert list(house.state.current.entries) == [str(second), URL]


def test_a_configuration_with_a_new_list_that_is_broken_is_refused(house):
    (house.folder / "new.crl").write_bytes(b"rubbish")
    with pytest.raises(ConfigError):
        reread(house, house.source, str(house.folder / "new.crl"))
    house.path.write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="not a readable revocation list"):  # where it broke between two readings
        read_lists(house.revision.config, house.store, ListSet())


def test_a_list_of_a_ca_that_was_made_anew_is_read_again(house):
    house.path.write_bytes(a_list(renewed := make_ca(), 1))
    assert house.settle() == ()  # its key is not known yet
    assert house.problem() is not None
    house.write_anchors(renewed, house.other)
    reread(house)
    assert (house.numbers(), house.problem()) == ([1], None)
    assert house.state.current.entries[house.source].lists[0].is_signed_by(renewed.certificate)


def test_what_was_refused_is_looked_at_again_under_other_anchors(house):
    renewed = make_ca()
    house.path.write_bytes(a_list(renewed, 9))
    house.settle()
    assert house.numbers() == [1]
    house.write_anchors(house.ca, renewed)  # the old list still fits
    reread(house)
    assert house.settle() == (house.source,)
    assert (house.numbers(), house.problem()) == ([9], None)


def test_a_fetched_list_that_no_longer_fits_is_a_problem_and_no_error(house):
    house.begin(house.files, URL)
    house.revision.store.write(URL, a_list(house.ca, 4))
    house.settle()
    house.write_anchors(make_ca())
    house.revision = read_revision(house.write_config(URL), None, house.revision)
    assert house.revision.lists.entries[URL].lists == ()
    assert "whose key did not sign it" in house.revision.lists.entries[URL].problem
