"""TLS towards upstreams: what is verified, and when a context stays the one it was."""

import ssl

import pytest
from support import pki
from support.loaded import certificate_file, key_file

from gateway.config.model import Server, Upstream, UpstreamTls
from gateway.errors import ConfigError
from gateway.proxy.upstream.tls import upstream_tls


def https(**tls):
    return Upstream("mail", (Server("https", "10.0.0.5", 443),), tls=UpstreamTls(**tls))


def test_plain_upstreams_need_no_context():
    assert upstream_tls(Upstream("mail", (Server("http", "10.0.0.5", 80),))) is None


def test_upstreams_are_verified_unless_the_file_says_no(files):
    verified = upstream_tls(https(ca=certificate_file(files.folder / "ca.pem"))).context
    assert (verified.verify_mode, verified.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(verified.get_ca_certs()) == 1  # and not the system's beside it
    unverified = upstream_tls(https(verify=False)).context
    assert (unverified.verify_mode, unverified.check_hostname) == (ssl.CERT_NONE, False)


def test_a_certificate_towards_the_upstream_must_fit_its_key(files):
    certificate, key = certificate_file(files.folder / "server.crt"), key_file(files.folder / "server.key")
    assert upstream_tls(https(certificate=certificate, key=key)) is not None
    files.ca.issue().write(files.folder, "other")
    with pytest.raises(ConfigError, match=r"upstreams\.mail\.tls"):
        upstream_tls(https(certificate=certificate, key=key_file(files.folder / "other.key")))


def test_a_context_stays_while_its_files_hold_the_same(files, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(files.ca.pem)
    first = upstream_tls(https(ca=certificate_file(path)))
    path.write_bytes(b"# the same\n" + files.ca.pem)
    assert upstream_tls(https(ca=certificate_file(path)), first) is first
    path.write_bytes(pki.Ca.make().pem)
    other = upstream_tls(https(ca=certificate_file(path)), first)
    assert other is not first
    assert other.context.get_ca_certs() != first.context.get_ca_certs()


def test_a_context_is_another_with_other_settings(files):
    first = upstream_tls(https(ca=certificate_file(files.folder / "ca.pem")))
    assert upstream_tls(https(ca=certificate_file(files.folder / "ca.pem"), verify=False), first) is not first


def test_the_systems_store_counts_where_no_ca_is_named(tmp_path, monkeypatch):
    store = tmp_path / "certs"
    store.mkdir()
    paths = ssl.get_default_verify_paths()._replace(cafile=str(tmp_path / "missing.pem"), capath=str(store))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    first = upstream_tls(https())
    assert upstream_tls(https(), first) is first
    (tmp_path / "missing.pem").write_bytes(b"")
    assert upstream_tls(https(), first) is not first
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths._replace(cafile=None, capath=None))
    assert upstream_tls(https()) is not None
