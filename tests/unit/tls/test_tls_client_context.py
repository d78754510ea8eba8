"""Contexts towards servers: what is verified, which is the same with every version of Python."""

import contextlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import SERVER_AUTH, Ca, ec_key, rsa_key, server

from gateway.tls.client_context import VERIFY_FLAGS, client_context, show_certificate
from gateway.x509.loading import load_certificates

HOST = "mail.example.com"
ALWAYS = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2099, 1, 1, tzinfo=UTC)}
# No key identifiers and no key usage, as with `openssl x509 -req`.
ROOT = Ca.make("CN=Root", **ALWAYS)
MIDDLE = ROOT.issue_ca("CN=Middle", **ALWAYS)


def issue(folder, ca=ROOT, **options):
    return ca.issue("CN=server", dns=HOST, eku=SERVER_AUTH, **{**ALWAYS, **options}).write(folder, "server")


def anchors(folder, certificate):
    file = folder / "anchors.pem"
    file.write_bytes(certificate.certificate.public_bytes(Encoding.PEM))
    return file


def shake_hands(client, certificate, key, host=HOST, **versions):
    """What a server and this client agree on. Raises the client's `ssl.SSLError`."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    served.set_alpn_protocols(["http/1.1"])
    for name, version in versions.items():
        setattr(served, name, version)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=host)
    theirs = served.wrap_bio(up, down, server_side=True)
    for end in (ours, theirs) * 2 + (ours,):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return ours.version(), ours.selected_alpn_protocol()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_certificate_and_a_ca_without_key_identifiers_are_fine(tmp_path, version):
    context = client_context(load_certificates(anchors(tmp_path, ROOT)), ["http/1.1"])
    agreed = shake_hands(context, *issue(tmp_path), maximum_version=ssl.TLSVersion[version.replace(".", "_")])
    assert agreed == (version, "http/1.1")
    assert context.verify_flags == VERIFY_FLAGS


def test_a_chain_ends_in_a_root(tmp_path):
    certificate, key = issue(tmp_path, MIDDLE)
    assert shake_hands(client_context(load_certificates(anchors(tmp_path, ROOT))), certificate, key)
    for anchor in (anchors(tmp_path, MIDDLE), certificate):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(client_context(load_certificates(anchor)), certificate, key)


def test_a_server_that_signed_its_certificate_itself_can_be_named(tmp_path):
    certificate, key = server(tmp_path, HOST)
    assert shake_hands(client_context(load_certificates(certificate)), certificate, key)


@pytest.mark.parametrize(
    ("host", "anchor", "dates"),
    [
        ("other.example.com", ROOT, {}),
        (HOST, Ca.make("CN=Root", **ALWAYS), {}),
        (HOST, ROOT, {"not_after": datetime(2020, 2, 1, tzinfo=UTC)}),
    ],
    ids=["another name", "another CA of that name", "outdated"],
)
def test_what_is_refused(tmp_path, host, anchor, dates):
    context = client_context(load_certificates(anchors(tmp_path, anchor)))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, *issue(tmp_path, **dates), host=host)


def test_the_systems_store_counts_where_no_ca_is_named_and_never_beside_one(tmp_path, monkeypatch):
    certificate, key = issue(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(anchors(tmp_path, ROOT)))  # OpenSSL's name for another store
    assert shake_hands(client_context(), certificate, key)
    (tmp_path / "other").mkdir()
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(
            client_context(load_certificates(anchors(tmp_path / "other", Ca.make("CN=Other")))), certificate, key
        )


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_nothing_older_than_tls_1_2(tmp_path):
    old = {"minimum_version": ssl.TLSVersion.TLSv1_1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with pytest.raises(ssl.SSLError):
        shake_hands(client_context(load_certificates(anchors(tmp_path, ROOT))), *issue(tmp_path), **old)


def test_keys_go_into_no_file_that_the_environment_names(tmp_path, monkeypatch):
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    shake_hands(client_context(load_certificates(anchors(tmp_path, ROOT))), *issue(tmp_path))
    assert not keys.exists()


@pytest.mark.parametrize(
    "key", [ec_key(), rsa_key(), ed25519.Ed25519PrivateKey.generate()], ids=["EC", "RSA", "Ed25519"]
)
def test_a_certificate_is_shown_with_its_chain_and_no_file_is_left(tmp_path, key):
    leaf = MIDDLE.issue("CN=gateway", key=key, **ALWAYS)
    context = client_context(load_certificates(anchors(tmp_path, ROOT)))
    before = open_descriptors()
    show_certificate(context, (leaf.certificate, MIDDLE.certificate), leaf.key)
    assert open_descriptors() == before
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*issue(tmp_path))
    served.verify_mode = ssl.CERT_REQUIRED
    served.load_verify_locations(anchors(tmp_path, ROOT))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(down, up, server_hostname=HOST)
    theirs = served.wrap_bio(up, down, server_side=True)
    for end in (ours, theirs) * 2:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert theirs.getpeercert(binary_form=True) == leaf.der


def test_a_key_of_another_certificate_is_not_shown():
    with pytest.raises(ssl.SSLError, match="MISMATCH"):
        show_certificate(client_context(), (ROOT.certificate,), ec_key())


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}
