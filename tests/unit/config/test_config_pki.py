"""The registry's section: what is relative, and what is where by default."""

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load, load_with_warnings, read_pki
from gateway.config.model import Pki
from gateway.config.problems import ConfigErrors


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


def listening(section):
    return BASE.replace('":443"', '":443"\n  - address: ":80"\n    pki: true', 1) + section


def test_a_listener_publishes_what_the_registry_has(write):
    config = load(write(listening('pki: {store: "sqlite:///x"}')), now=NOW, environ={})
    assert [listener.pki for listener in config.listen] == [False, True]
    assert config.publishes
    assert not load(write(BASE), now=NOW, environ={}).publishes


@pytest.mark.parametrize("section", ["", "pki: null"])
def test_without_a_registry_there_is_nothing_to_publish(write, section):
    with pytest.raises(ConfigErrors) as raised:
        load(write(listening(section)), now=NOW, environ={})
    cause = "4:10: listen[1].pki: there is no pki section, so nothing could be published; add one with"
    assert cause in raised.value.cause


def test_a_faulty_section_is_said_once(write):
    with pytest.raises(ConfigErrors) as raised:
        load(write(listening("pki: {store: 7}")), now=NOW, environ={})
    assert "there is no pki section" not in raised.value.cause


def test_a_gateway_that_serves_no_site_is_warned_of(write):
    listeners = 'listen: [{address: ":80", pki: true}, {address: ":81", redirect_to_https: true}]\n'
    text = listeners + BASE.partition("\n")[2].partition("\n")[2] + 'pki: {store: "sqlite:///x"}\n'
    (warning,) = load_with_warnings(write(text), now=NOW, environ={}).warnings
    said = "listen: every listener only redirects or publishes; add one without redirect_to_https and pki"
    assert str(warning).endswith(said)
