"""The files of one certificate, the forms it is exported in, and what is found again."""

from __future__ import annotations

import stat
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from support.desk import DAY, NOW, PASSPHRASE, Files, issue_to, make_authority, reload
from support.pki import build as build_certificate

from gateway.errors import OperationError, UsageError
from gateway.pki import delivery, exports, issue, lifecycle, pkcs8, pkcs12, recovery
from gateway.pki.keys import make
from gateway.pki.registry import audit
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.registry.search import Wanted, listed_only, one, search
from gateway.pki.words import KeyKind, P12Format
from gateway.x509.serials import serial_text

KEY = make(KeyKind.ECDSA_P256)
PASSWORD = "pässword pässword"


def _deliver(desk, signer, made, email="alice@example.com"):
    return issue.issue(desk, signer, issue.Order.of_person(email), made.key or KEY.public_key(), NOW, made)


def test_certificate_key_p12_and_password(desk, tmp_path):
    root = make_authority(desk, "root")
    between = make_authority(desk, "between", parent=root, days=999)
    made = delivery.Delivery(folder=tmp_path / "out", stem="alice", key=KEY, password=PASSWORD, has_password_file=True)
    issued = _deliver(desk, between, made)
    names = ["alice.crt", "alice.key", "alice.p12", "alice.password"]
    assert [path.name for path in made.paths] == names
    assert [stat.S_IMODE(path.stat().st_mode) for path in made.paths] == [0o644, 0o600, 0o600, 0o600]
    crt, key, p12, password = (path.read_bytes() for path in made.paths)
    assert x509.load_pem_x509_certificates(crt) == [issued.certificate, between.certificate]
    assert pkcs8.load(key, PASSWORD, "x").public_key() == KEY.public_key()
    assert pkcs12.open_(p12, PASSWORD, "x")[1] == issued.certificate
    assert password.decode() == f"{PASSWORD}\n"
    assert PASSWORD not in repr(made)
    again = delivery.Delivery(folder=tmp_path / "out", stem="alice", key=KEY, password=PASSWORD)
    second = _deliver(desk, between, again, "bob@example.com")
    assert [path.name for path in again.paths] == [
        f"alice-{second.record.serial[:8]}.{suffix}" for suffix in ("crt", "key", "p12")
    ]


def test_a_server_gets_a_plain_key_and_a_request_none(desk, corp, tmp_path):
    server = delivery.Delivery(folder=tmp_path, stem="server", key=KEY)
    _deliver(desk, corp, server)
    assert [path.name for path in server.paths] == ["server.crt", "server.key"]
    assert server.paths[1].read_bytes() == pkcs8.plain_pem(KEY)
    elsewhere = delivery.Delivery(folder=tmp_path, stem="csr")
    _deliver(desk, corp, elsewhere, "bob@example.com")
    assert [path.name for path in elsewhere.paths] == ["csr.crt"]


def test_all_files_or_none(desk, corp, tmp_path, monkeypatch):
    (tmp_path / "alice.txt").touch()

    def full(_path, _data):
        raise OperationError("no space left")

    monkeypatch.setattr(delivery, "write_private", full)
    made = delivery.Delivery(folder=tmp_path / "out", stem="alice", key=KEY, password=PASSWORD)
    with pytest.raises(OperationError, match="no space left"):
        _deliver(desk, corp, made)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("format_", list(P12Format))
def test_p12_files_open_with_their_password_only(corp, format_):
    certificate = issue.sign(corp, issue.Order.of_person("a@example.com"), KEY, NOW)
    data = pkcs12.build(
        key=KEY, certificate=certificate, chain=corp.path, name="Älice", password=PASSWORD, format_=format_
    )
    assert pkcs12.open_(data, PASSWORD, "x")[1] == certificate
    for wrong in ("other", PASSWORD.lower() + "x"):
        with pytest.raises(UsageError, match=r"a.p12: the password does not open the p12 file") as refused:
            pkcs12.open_(data, wrong, "a.p12")
        assert wrong not in str(refused.value)


def test_p12_files_without_a_key_of_ours():
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = build_certificate("CN=x", key.public_key(), "CN=x", key, algorithm=None)
    for data in (
        serialize_key_and_certificates(b"x", key, certificate, None, BestAvailableEncryption(b"password")),
        serialize_key_and_certificates(b"x", None, certificate, None, BestAvailableEncryption(b"password")),
        serialize_key_and_certificates(b"x", KEY, None, None, BestAvailableEncryption(b"password")),
    ):
        with pytest.raises(UsageError, match="holds no key with its certificate"):
            pkcs12.open_(data, "password", "a.p12")


def test_exports(desk):
    root = make_authority(desk, "root")
    between = make_authority(desk, "between", parent=root, days=999)
    path = (between.record.certificate_der, *between.record.chain_der)
    own = between.certificate
    assert exports.certificates(path, "der") == between.record.certificate_der
    assert x509.load_pem_x509_certificates(exports.certificates(path, "pem")) == [own]
    assert x509.load_pem_x509_certificates(exports.certificates(path, "chain")) == [own, root.certificate]
    assert set(load_der_pkcs7_certificates(exports.certificates(path, "p7b"))) == {own, root.certificate}


def test_documents_hold_no_secret(desk, corp):
    record = issue_to(desk, corp, escrow=PASSPHRASE).record
    document = exports.describe_certificate(record, NOW)
    assert (document["state"], document["is_key_kept"], document["reason"]) == ("live", True, None)
    assert "PRIVATE" not in str(document)
    lifecycle.revoke(desk, corp, [record], RevocationReason.KEY_COMPROMISE, NOW)
    assert exports.describe_certificate(reload(desk, record), NOW)["reason"] == "key-compromise"
    authority = exports.describe_authority(desk, corp.record, NOW)
    assert (authority["name"], authority["key"], authority["parent"]) == ("corp", "EC P-256", None)


def test_an_authority_is_told_to_be_revoked_by_whose_list_names_it(desk, corp):
    below = make_authority(desk, "below", parent=corp)
    serial = serial_text(below.certificate.serial_number)

    def told(name=below, now=NOW):
        document = exports.describe_authority(desk, name.record, now)
        return document["state"], document["reason"], document["revoked_ca"], document["on_list_of"]

    assert told() == ("valid", None, None, None)
    lifecycle.hold(desk, corp, [], NOW, [serial])
    names = ("CN=below CA", "CN=corp CA,O=Example Ltd")
    assert told() == ("held", "certificate-hold", *names)
    lifecycle.revoke(desk, corp, [], RevocationReason.KEY_COMPROMISE, NOW, [serial])
    assert told() == ("revoked", "key-compromise", *names)
    assert told(corp) == ("valid", None, None, None)
    assert told(now=below.record.not_after + DAY)[0] == "expired"


def test_what_only_the_list_names_is_found_beside_the_registrys(desk, corp):
    other = make_authority(desk, "other")
    below = make_authority(desk, "below", parent=corp)
    own = issue_to(desk, corp).record
    lifecycle.revoke(desk, corp, [own], RevocationReason.UNSPECIFIED, NOW)
    lifecycle.revoke(desk, corp, [], RevocationReason.UNSPECIFIED, NOW, ["0B", own.serial])
    lifecycle.hold(desk, corp, [], NOW, [serial_text(below.certificate.serial_number)])
    lifecycle.hold(desk, other, [], NOW, ["0C"])

    def found(**wanted):
        with desk.registry.reading() as connection:
            listed = listed_only(connection, Wanted(**wanted))
        return {document["serial"]: document for document in map(exports.describe_entry, listed)}

    assert set(found(is_revoked=True)) == {"0B", "0C", serial_text(below.certificate.serial_number)}
    assert set(found(is_revoked=True, authority="other")) == {"0C"}
    assert found(is_revoked=True, user="a") == found(is_revoked=True, expiring_within=DAY) == found() == {}
    documents = found(is_revoked=True)
    told = {(one["state"], one["purpose"], one["subject"]) for one in documents.values()}
    assert told == {("revoked", None, None), ("held", "authority", "CN=below CA"), ("held", None, None)}
    assert all(set(one) == set(exports.describe_certificate(own, NOW)) for one in documents.values())


def test_a_kept_key_is_given_out_and_that_is_written_down(desk, corp):
    record = issue_to(desk, corp, key=KEY, escrow=PASSPHRASE).record
    data = recovery.recover(desk, record, PASSPHRASE, NOW)
    assert pkcs8.load(data, PASSPHRASE, "x").public_key() == KEY.public_key()
    with desk.registry.reading() as connection:
        assert audit.entries(connection, serial=record.serial)[-1].action == "key recovered"
    with pytest.raises(UsageError, match="does not open"):
        recovery.recover(desk, record, "wrong one", NOW)
    with pytest.raises(UsageError, match="no key is kept"):
        recovery.recover(desk, issue_to(desk, corp, "b@example.com").record, PASSPHRASE, NOW)


def test_searching(desk):
    signer, other = make_authority(desk), make_authority(desk, "other")
    alice = issue_to(desk, signer, "Alice@example.com", "Alice Example", days=10).record
    bob = issue_to(desk, signer, "bob@example.com", "50%_off", upn="robert@example.com").record
    carol = issue_to(desk, other, "carol@example.com").record
    lifecycle.hold(desk, other, [carol], NOW)

    def found(**wanted):
        with desk.registry.reading() as connection:
            return [record.id for record in search(connection, Wanted(**wanted), NOW)]

    assert found() == [alice.id, bob.id, carol.id]
    assert found(user="ALICE@") == [alice.id]
    zoe = issue_to(desk, signer, "zoe@example.com", "Zoë ÖZTÜRK").record
    assert found(user="zoë öztürk") == found(user="ZOË") == found(user="Zoe\u0308 O\u0308z") == [zoe.id]
    assert found(user="alice ex") == [alice.id]
    assert found(user="robert") == [bob.id]
    assert found(user="0%_o") == [bob.id]
    assert found(user="_") == [bob.id]
    assert found(authority="other") == [carol.id]
    assert found(is_revoked=True) == [carol.id]
    assert found(expiring_within=10 * DAY) == [alice.id]
    assert found(expiring_within=10 * DAY - timedelta(seconds=1)) == []
    lifecycle.renew(desk, signer, alice, lifecycle.Renewal(key=KEY, days=20), NOW, Files())
    assert found(expiring_within=10 * DAY) == []


def test_the_one_that_is_meant(desk, corp):
    old = issue_to(desk, corp).record
    assert one([old], NOW, "x") is old
    new = lifecycle.renew(desk, corp, old, lifecycle.Renewal(key=KEY), NOW, Files()).record
    old = reload(desk, old)
    assert one([old, new], NOW, "x") is new
    device = issue_to(desk, corp, purpose=Purpose.CLIENT, device="Phone").record
    with pytest.raises(UsageError, match=f"matches several certificates: {old.serial}, {new.serial}, {device.serial}"):
        one([old, new, device], NOW, "alice@example.com")
