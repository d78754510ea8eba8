"""What has to be fetched, and how it reaches the fetcher."""

import pytest
from support.loaded import certificate_file, certificates_named, key_named
from support.pki import Ca

from gateway.config.model import Config, Site
from gateway.errors import ConfigError
from gateway.fetching import plan as module
from gateway.fetching.list_store import ListStore
from gateway.fetching.plan import fetch_plan, from_message, to_message

ROOT, OTHER = Ca.make(), Ca.make("CN=Other")
ANCHORS = (ROOT.certificate, OTHER.certificate)
HTTP, HTTPS = "http://a/ca.crl", "https://a/ca.crl"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    (tmp_path / "other.pem").write_bytes(OTHER.pem)

    def make(ca, *crl):
        return Site(
            ("a",), certificates_named("c"), key_named("k"), "m", client_ca=(certificate_file(tmp_path / ca),), crl=crl
        )

    return make


def config(tmp_path, *sites):
    return Config(tmp_path / "config.yaml", (), sites, (), (), {})


def test_the_plan_has_every_url_once_with_the_cas_of_all_its_sites(tmp_path, site):
    two = config(
        tmp_path, site("root.pem", HTTP, "/a/file.crl"), site("other.pem", HTTP, HTTPS), site("root.pem", "/f")
    )
    assert fetch_plan(two) == {HTTP: ANCHORS, HTTPS: (OTHER.certificate,)}


def test_the_channel_carries_each_certificate_once(tmp_path):
    store = ListStore(tmp_path / "crl", tmp_path / "fallback")
    plan = {HTTP: ANCHORS, HTTPS: (OTHER.certificate,), "http://b/": ()}
    told = to_message(plan, store)
    assert len(told["certificates"]) == 2
    assert from_message(told) == (plan, store)


def test_more_cas_than_the_channel_carries_are_refused_with_the_configuration(tmp_path, site, monkeypatch):
    one = config(tmp_path, site("root.pem", HTTP))
    told = to_message(fetch_plan(one), ListStore(tmp_path, tmp_path))
    limit = len(module.orjson.dumps({name: told[name] for name in ("certificates", "urls")}))
    monkeypatch.setattr(module, "MAX_PLAN_BYTES", limit)
    fetch_plan(one)
    monkeypatch.setattr(module, "MAX_PLAN_BYTES", limit - 1)
    with pytest.raises(ConfigError, match=f"take {limit} bytes; at most {limit - 1} are allowed") as caught:
        fetch_plan(one)
    assert "client_ca" in caught.value.remedy
