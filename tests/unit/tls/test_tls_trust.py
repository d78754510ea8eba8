"""Files of CAs, keys and revocation lists: what is taken, and what is a configuration error."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.loaded import certificate_file, certificates_named, key_named
from support.pki import (
    NOW,
    Ca,
    build,
    build_crl,
    ca_extensions,
    ec_key,
    of_version_six,
    openssl_leaf,
    openssl_root,
)

from gateway.config.model import Site
from gateway.errors import ConfigError
from gateway.tls.trust import KnownLists, load_anchors, load_trust
from gateway.x509.authorities import is_ca
from gateway.x509.loading import load_certificates
from gateway.x509.path_search import PathError
from gateway.x509.paths import Paths
from gateway.x509.revocation_list import parse_lists

ROOT = Ca.make()


def site(tmp_path, **options):
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    return Site(
        ("a.example",),
        certificates_named("s.crt"),
        key_named("s.key"),
        "m",
        client_ca=(certificate_file(tmp_path / "ca.pem"),),
        **options,
    )


def test_a_missing_empty_or_unreadable_file_is_an_error_never_an_empty_list(tmp_path):
    (tmp_path / "empty.pem").write_bytes(b" \n")
    (tmp_path / "folder.pem").mkdir()
    for name in ("missing.pem", "empty.pem", "folder.pem"):
        with pytest.raises(ConfigError, match=name) as caught:
            load_anchors([tmp_path / name])
        assert caught.value.remedy


def test_der_and_bundles_of_cas_each_once(tmp_path):
    other = Ca.make("CN=Other")
    (tmp_path / "bundle.pem").write_bytes(b"# ours\n" + ROOT.pem + other.pem + ROOT.pem)
    (tmp_path / "root.der").write_bytes(ROOT.der)
    anchors = load_anchors([tmp_path / "bundle.pem", tmp_path / "root.der"])
    assert anchors == (ROOT.certificate, other.certificate)


def test_only_ca_certificates_are_anchors(tmp_path):
    root = openssl_root(tmp_path)
    leaf, _key = openssl_leaf(tmp_path)
    ROOT.issue().write(tmp_path, "v3")
    (tmp_path / "both.pem").write_bytes(root.read_bytes() + leaf.read_bytes())
    assert is_ca(load_certificates(root)[0])
    for name in ("alice.crt", "v3.crt", "both.pem"):
        with pytest.raises(ConfigError, match="is not a CA certificate"):
            load_anchors([tmp_path / name])


def test_a_site_without_lists_has_no_revocation_check(tmp_path):
    assert load_trust(site(tmp_path)).revocation is None
    assert load_trust(site(tmp_path)).lists == ()


def test_lists_from_files_and_from_urls(tmp_path):
    (tmp_path / "ca.crl").write_bytes(ROOT.crl())
    url = "http://pki.example/ca.crl"
    both = site(tmp_path, crl=(str(tmp_path / "ca.crl"), url))

    trust = load_trust(both, {url: KnownLists(parse_lists(ROOT.crl(number=2), url))})
    assert [entry.source for entry in trust.lists] == [str(tmp_path / "ca.crl"), url]
    assert trust.problems == ()

    waiting = load_trust(both)
    words = "the running gateway fetches it; if that fails, its error log says why and what to do"
    assert waiting.problems == (f"{url}: the revocation list has not been fetched yet; {words}",)
    assert waiting.warnings(NOW) == waiting.problems


def test_a_bad_file_stops_the_start_and_a_bad_download_does_not(tmp_path):
    forged = build_crl(ROOT, [], key=ec_key()).public_bytes(Encoding.PEM)
    (tmp_path / "bad.crl").write_bytes(forged)
    with pytest.raises(ConfigError, match="whose key did not sign it"):
        load_trust(site(tmp_path, crl=(str(tmp_path / "bad.crl"),)))
    url = "https://pki.example/ca.crl"
    for known in (KnownLists(parse_lists(forged, url)), KnownLists(problem=f"{url}: no list")):
        trust = load_trust(site(tmp_path, crl=(url,)), {url: known})
        assert trust.revocation.lists == ()
        assert trust.problems[0].startswith(f"{url}: ")


def test_a_list_of_an_intermediate_is_kept_for_later(tmp_path):
    middle = ROOT.issue_ca("CN=Middle")
    (tmp_path / "middle.crl").write_bytes(middle.crl())
    trust = load_trust(site(tmp_path, crl=(str(tmp_path / "middle.crl"),)))
    (group,) = trust.revocation.of_ca(middle.certificate)
    assert group.complete == trust.revocation.lists


def test_a_leaf_that_is_no_certificate_has_no_path():
    with pytest.raises(PathError, match="names are not readable"):
        next(Paths([ROOT.certificate]).find(b"rubbish", []))


def test_an_authority_of_a_version_or_with_names_that_nobody_knows(tmp_path):
    (tmp_path / "six.pem").write_bytes(of_version_six(Ca.make().certificate))
    with pytest.raises(ConfigError, match=r"six.pem holds a broken certificate"):
        load_anchors([tmp_path / "six.pem"])
    names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), bytes.fromhex("3006a0043002a300"))
    key = ec_key()
    broken = build("CN=x", key.public_key(), "CN=x", key, extensions=[*ca_extensions(), (names, True)])
    assert not is_ca(broken)
