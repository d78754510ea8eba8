import pytest
from support.dialogue import Files, World


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Certificates are made once; a dialogue writes its own configuration file beside them."""
    return Files(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def plain_snapshot(files):
    """Most dialogues need no other settings."""
    return files.snapshot()


@pytest.fixture
def make_world(files, plain_snapshot, monkeypatch):
    worlds = []

    def make(*, is_started=True, **settings):
        snapshot = files.snapshot(**settings) if settings else plain_snapshot
        worlds.append(World(files, monkeypatch, snapshot, is_started=is_started))
        return worlds[-1]

    yield make
    for each in worlds:
        each.close()


@pytest.fixture
def world(make_world):
    return make_world()
