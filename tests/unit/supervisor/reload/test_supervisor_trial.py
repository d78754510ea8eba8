"""Each part of a configuration is tried apart, so that one fault hides no other."""

from dataclasses import replace

import pytest
from support.config_files import BASE, NOW, fill

from gateway.config.load import load
from gateway.config.model import UpstreamTls
from gateway.supervisor.reload.trial import faults_of
from gateway.x509.reader import FileReader


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    fill(folder)
    text = BASE.replace("[ca.pem]", '[ca.pem]\n    crl: [ca.crl, "http://crl.example.com/ca.crl"]')
    (folder / "config.yaml").write_text(text)
    return load(folder / "config.yaml", now=NOW, environ={})


def key_in(path):
    return FileReader().key(path, None, may_be_encrypted=False)


def found(config, **options):
    return [(fault.section, fault.line, fault.key, fault.value) for fault in faults_of(config, **options)]


def test_a_good_configuration_has_none(config):
    assert found(config) == []


def test_every_fault_is_told_with_where_it_comes_from(config):
    folder = config.path.parent
    forged = str(folder / "forged.crl")
    site = replace(config.sites[0], key=key_in(folder / "other.key"), crl=(*config.sites[0].crl, forged))
    tls = UpstreamTls(certificate=FileReader().certificates(folder / "mail.crt"), key=key_in(folder / "other.key"))
    pages = replace(config.pages, directory=folder / "nowhere")
    broken = replace(config, sites=(site,), upstreams=(replace(config.upstreams[0], tls=tls),), pages=pages)
    line, upstream_line = site.line, config.upstreams[0].line
    lists, page = ("sites", line, "crl", forged), ("pages", 0, "directory", None)
    expected = [("sites", line, "certificate", None), lists, ("upstreams", upstream_line, "tls", None), page]
    assert found(broken) == expected
    assert found(broken, has_keys=False) == [lists, page]


def test_a_ca_that_is_none_ends_the_trial_of_its_site_alone(config):
    site = replace(config.sites[0], client_ca=(FileReader().certificates(config.path.parent / "mail.crt"),))
    assert found(replace(config, sites=(site, config.sites[0]))) == [("sites", site.line, "client_ca", None)]
