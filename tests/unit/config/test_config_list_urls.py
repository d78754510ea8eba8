"""URLs of revocation lists: which can be fetched."""

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load
from gateway.config.problems import ConfigErrors


@pytest.mark.parametrize(
    "url", ["http://crl.example.com/ca.crl", "https://[::1]:8443/a?b=c", "http://a", "http://10.0.0.1:80/%20"]
)
def test_http_and_https(write, url):
    config = load(write(BASE.replace("[ca.pem]", f'[ca.pem]\n    crl: ["{url}"]')), now=NOW, environ={})
    assert config.sites[0].crl == (url,)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://a/ca.crl", "ldap://a/cn=ca", "file:///etc/ca.crl", "HTTP://a/", "http://", "http:///ca.crl"),
        *("http://user:secret@a/", "http://a:0/", "http://a:99999/", "http://a:b/", "http://a/#b", "http://a/b c"),
        *("http://a\\\\b/", "http://[::1/"),
    ],
)
def test_others_are_mistakes_and_not_taken_for_files(write, url):
    with pytest.raises(ConfigErrors) as raised:
        load(write(BASE.replace("[ca.pem]", f'[ca.pem]\n    crl: ["{url}"]')), now=NOW, environ={})
    (problem,) = raised.value.problems
    assert "sites[0].crl[0]: " in str(problem)
    assert str(problem).endswith("cannot be fetched; write http://host/path or https://host/path")
