"""The registry's section: what is relative, and what is where by default."""

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load, read_pki
from gateway.config.model import Pki


@pytest.mark.parametrize(
    ("section", "store", "files"),
    [
        ('store: "sqlite:///pki/registry.db"', "sqlite:///{here}/pki/registry.db", "{here}/pki"),
        ('store: "sqlite:////srv/pki/registry.db"', "sqlite:////srv/pki/registry.db", "/srv/pki"),
        ('store: "sqlite:///pki/registry.db", folder: keys', "sqlite:///{here}/pki/registry.db", "{here}/keys"),
        ('store: "postgresql+psycopg://u:p@h/d"', "postgresql+psycopg://u:p@h/d", "{here}/pki"),
        ('store: "postgresql+psycopg://u:p@h/d", folder: /srv/keys', "postgresql+psycopg://u:p@h/d", "/srv/keys"),
        ('store: "postgresql+psycopg://u:p@h/d", folder: null', "postgresql+psycopg://u:p@h/d", "{here}/pki"),
    ],
)
def test_the_registry_and_the_files_are_found(write, folder, section, store, files):
    path = write(f"{BASE}pki: {{{section}}}\n")
    expected = Pki(store.format(here=folder), type(folder)(files.format(here=folder)))
    assert load(path, now=NOW, environ={}).pki == expected
    assert read_pki(path, environ={}) == expected
