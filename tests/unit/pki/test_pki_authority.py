"""Authorities: made, taken in, unlocked; constrained ones stay within their bounds."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import teletex
from support.desk import DAY, MINUTE, NOW, PASSPHRASE, Files, issue_to, make_authority
from support.openssl_ca import OpensslCa
from support.pki import Ca, build, ca_extensions, of_version_six, openssl, openssl_leaf, openssl_root, rsa_key

from gateway import clock
from gateway.errors import OperationError, UsageError
from gateway.pki import authority, crl, files, intake, issue, keys, lifecycle, pkcs8
from gateway.pki.registry import audit, authorities
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.words import KeyKind, Signs
from gateway.x509.authorities import is_marked_as_ca
from gateway.x509.fields import subject_of
from gateway.x509.serials import serial_text


def test_a_root_is_what_was_asked_for(desk):
    made = make_authority(
        desk, common_name="Example Root", organization="Example Ltd", country="DE", domain="Example.com", days=100
    )
    certificate = made.certificate
    assert certificate.subject.rfc4514_string() == "CN=Example Root,O=Example Ltd,C=DE"
    assert certificate.issuer == certificate.subject
    assert certificate.not_valid_after_utc == NOW + 100 * DAY
    extensions = {extension.oid._name: extension for extension in certificate.extensions}
    assert extensions["basicConstraints"].critical
    assert extensions["basicConstraints"].value == x509.BasicConstraints(ca=True, path_length=None)
    assert extensions["keyUsage"].critical
    assert extensions["nameConstraints"].critical
    bounds = extensions["nameConstraints"].value
    assert bounds.permitted_subtrees == [x509.RFC822Name("example.com"), x509.DNSName("example.com")]
    every = [x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))]
    assert bounds.excluded_subtrees == every
    assert made.record.domain == "example.com"
    assert stat.S_IMODE(desk.file("corp", "key").stat().st_mode) == 0o600
    assert "key=" not in repr(made)
    unlocked = authority.unlock(desk, "corp", PASSPHRASE)
    assert unlocked.certificate == certificate


@pytest.mark.usefixtures("corp")
def test_the_wrong_passphrase_opens_nothing(desk):
    with pytest.raises(UsageError, match=r"corp.key: the passphrase does not open the key"):
        authority.unlock(desk, "corp", "another one")
    with pytest.raises(UsageError, match="no authority 'nobody'") as refused:
        authority.unlock(desk, "nobody", PASSPHRASE)
    assert refused.value.remedy == "Give one of: corp."


def test_without_any_authority_the_way_is_told(desk):
    with pytest.raises(UsageError) as refused:
        authority.load(desk, "corp")
    assert "gateway ca init" in refused.value.remedy


@pytest.mark.usefixtures("corp")
def test_another_key_is_noticed(desk):
    make_authority(desk, "other")
    files.write_private(desk.file("corp", "key"), desk.file("other", "key").read_bytes())
    with pytest.raises(OperationError, match="is not the key of authority 'corp'"):
        authority.unlock(desk, "corp", PASSPHRASE)


def test_an_intermediate_signs_within_its_parents_bounds(desk, tmp_path):
    root = make_authority(desk, "root", domain="example.com", crl_url="http://pki.example.com/root.crl", days=1000)
    between = make_authority(desk, "between", parent=root, days=999)
    assert between.record.domain == "example.com"
    assert between.record.parent == "root"
    assert between.certificate.issuer == root.certificate.subject
    basic = between.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic == x509.BasicConstraints(ca=True, path_length=0)
    points = between.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name[0].value == "http://pki.example.com/root.crl"
    leaf = issue_to(desk, between)
    assert leaf.chain == (between.certificate, root.certificate)
    (tmp_path / "leaf.pem").write_bytes(leaf.certificate.public_bytes(Encoding.PEM))
    when = str(int((NOW + DAY).timestamp()))
    openssl(
        *("verify", "-attime", when, "-x509_strict", "-CAfile", str(desk.file("root", "crt"))),
        *("-untrusted", str(desk.file("between", "crt")), "leaf.pem"),
        cwd=tmp_path,
    )
    with pytest.raises(UsageError, match=r"may sign only for example.com, not for 'bob@example.org'"):
        issue_to(desk, between, "bob@example.org")
    again = authority.unlock(desk, "between", PASSPHRASE)
    assert again.chain == (root.certificate,)


SECRETS = authority.Secrets(PASSPHRASE, "another one entirely")
PAIR = authority.Plan(
    name="corp", domain="example.com", organization="Example Ltd", signs=Signs.PEOPLE, kind=KeyKind.ECDSA_P256
)


def test_people_are_signed_below_a_root(desk):
    urls = authority.Urls("http://pki.example.com/root.crl", "http://pki.example.com/root.crt")
    corp, root = authority.create_with_root(desk, PAIR, SECRETS, NOW, urls)
    assert (corp.record.parent, corp.chain, root.chain) == ("corp-root", (root.certificate,), ())
    limit = corp.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(limit) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION}
    basic = corp.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic == x509.BasicConstraints(ca=True, path_length=0)
    assert _bounds(corp) == _bounds(root)
    with pytest.raises(x509.ExtensionNotFound):
        root.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert [each.certificate.subject.rfc4514_string() for each in (corp, root)] == [
        "CN=corp CA,O=Example Ltd",
        "CN=corp Root CA,O=Example Ltd",
    ]
    assert root.record.not_after - NOW == authority.ROOT_DAYS * DAY
    assert root.record.crl_lifetime == authority.MAX_CRL_LIFETIME, "a root in a safe signs no list for years"
    assert root.record.ocsp_url is None
    points = corp.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name[0].value == urls.crl
    assert authority.unlock(desk, "corp", PASSPHRASE)
    assert authority.unlock(desk, "corp-root", SECRETS.root)
    with pytest.raises(UsageError, match="does not open"):
        authority.unlock(desk, "corp-root", PASSPHRASE)
    assert PASSPHRASE not in repr(SECRETS)


@pytest.mark.parametrize(
    ("options", "secrets", "cause"),
    [
        ({"days": 0}, SECRETS, "an authority cannot be valid for 0 days"),
        ({"domain": "exa mple"}, SECRETS, "is not a domain"),
        ({"servers": ("any", "x")}, SECRETS, "was given together with others"),
        ({"country": "de"}, SECRETS, "is not a country code"),
        ({"name": "a" * 60}, SECRETS, "is not a valid name for an authority"),
        ({}, authority.Secrets("short", PASSPHRASE), "fewer than 8"),
        ({}, authority.Secrets(PASSPHRASE, "short"), "fewer than 8"),
    ],
)
def test_neither_root_nor_authority_is_made_of_a_plan_that_is_refused(desk, options, secrets, cause):
    with pytest.raises(UsageError, match=cause):
        authority.create_with_root(desk, replace(PAIR, **options), secrets, NOW, authority.Urls())
    with desk.registry.reading() as connection:
        assert authorities.all_of(connection) == []
    assert not list(desk.folder.rglob("*.key"))


def test_a_name_that_is_taken_makes_no_root(desk):
    make_authority(desk)
    with pytest.raises(OperationError, match="the authority 'corp' already exists"):
        authority.create_with_root(desk, PAIR, SECRETS, NOW, authority.Urls())
    assert not desk.file("corp-root", "key").exists()


def test_a_root_that_a_killed_run_left_is_used_as_the_remedy_says(desk):
    root = make_authority(desk, "corp-root", domain="example.com")
    with pytest.raises(OperationError, match="the authority 'corp-root' already exists") as refused:
        authority.create_with_root(desk, PAIR, SECRETS, NOW, authority.Urls())
    assert "--parent corp-root" in refused.value.remedy
    assert authority.create(desk, PAIR, PASSPHRASE, NOW, root).record.parent == "corp-root"


def test_a_root_lives_as_long_as_what_it_signs(desk):
    corp, root = authority.create_with_root(
        desk, replace(PAIR, days=5000, common_name="Example"), SECRETS, NOW, authority.Urls()
    )
    assert corp.record.not_after == root.record.not_after == NOW + 5000 * DAY
    assert root.certificate.subject.rfc4514_string() == "CN=Example Root,O=Example Ltd"


def test_servers_are_signed_by_the_nearest_authority_that_may(desk):
    corp, root = authority.create_with_root(desk, PAIR, SECRETS, NOW, authority.Urls())
    assert authority.signer_for(desk, "corp", Purpose.SERVER) == "corp-root"
    assert authority.signer_for(desk, "corp", Purpose.CLIENT) == "corp"
    servers = make_authority(desk, "servers", parent=root, signs=Signs.SERVERS)
    assert authority.signer_for(desk, "servers", Purpose.SERVER) == "servers"
    host = (x509.DNSName("mail.example.com"),)
    order = issue.Order(email=None, common_name="mail.example.com", purpose=Purpose.SERVER, hosts=host)
    key = keys.make(KeyKind.ECDSA_P256)
    with pytest.raises(UsageError, match="CN=corp CA,O=Example Ltd may sign for people only"):
        issue.issue(desk, corp, order, key, NOW, Files())
    assert issue.issue(desk, servers, order, key, NOW, Files())
    with pytest.raises(UsageError, match="may sign for servers only"):
        issue_to(desk, servers)


def test_the_authorities_for_people_below_another_one(desk):
    corp, root = authority.create_with_root(desk, PAIR, SECRETS, NOW, authority.Urls())
    make_authority(desk, "servers", parent=root, signs=Signs.SERVERS)
    make_authority(desk, "branch", parent=root)
    assert authority.for_people_below(desk, "corp-root") == ["branch", "corp"]
    assert authority.for_people_below(desk, "corp") == []
    lifecycle.revoke(desk, root, [], RevocationReason.SUPERSEDED, NOW, [serial_text(corp.certificate.serial_number)])
    assert authority.for_people_below(desk, "corp-root") == ["branch"]


def test_no_authority_above_may_sign_for_servers(desk):
    root = make_authority(desk, "root", signs=Signs.PEOPLE)
    make_authority(desk, "corp", parent=root, signs=Signs.PEOPLE)
    assert authority.signer_for(desk, "corp", Purpose.SERVER) == "corp"


def test_a_root_key_in_a_safe_is_asked_for(desk):
    authority.create_with_root(desk, PAIR, SECRETS, NOW, authority.Urls())
    desk.file("corp-root", "key").unlink()
    assert issue_to(desk, authority.unlock(desk, "corp", PASSPHRASE))
    with pytest.raises(UsageError, match=r"corp-root.key: the key of authority 'corp-root' is missing") as refused:
        authority.unlock(desk, "corp-root", SECRETS.root)
    assert "kept" in refused.value.remedy


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"days": 0}, "an authority cannot be valid for 0 days"),
        ({"days": authority.MAX_DAYS + 1}, "an authority cannot be valid for 36501 days"),
        ({"domain": "exa mple"}, "is not a domain"),
        ({"servers": ("internal",)}, "--server was given without --domain"),
        ({"domain": "example.com", "servers": ("any", "internal")}, "was given together with others"),
        ({"country": "Germany"}, "is not a country code"),
        ({"country": "de"}, "is not a country code"),
        ({"organization": " "}, "organization is empty"),
        ({"name": "../up"}, "is not a valid name for an authority"),
        ({"crl_url": "https://x/y"}, "is not a valid CRL URL"),
        ({"crl_lifetime": timedelta(minutes=59)}, "must be valid for at least an hour"),
        ({"crl_lifetime": timedelta(days=3661)}, "must not be valid for more than 3660 days"),
    ],
)
def test_plans_that_are_refused_leave_nothing(desk, options, cause):
    with pytest.raises(UsageError, match=cause):
        make_authority(desk, **options)
    assert not desk.file("corp", "key").exists()


def test_a_weak_passphrase_is_refused(desk):
    with pytest.raises(UsageError, match="passphrase of fewer than 8"):
        authority.create(desk, authority.Plan(name="corp", kind=KeyKind.ECDSA_P256), "short", NOW)
    assert not desk.file("corp", "key").exists()


def test_parents_bound_their_children(desk):
    root = make_authority(desk, "root", domain="example.com", days=100)
    with pytest.raises(UsageError, match=r"may sign only for example.com, not for 'example.org'"):
        make_authority(desk, parent=root, domain="example.org", days=10)
    with pytest.raises(UsageError, match="expires in 100 days") as refused:
        make_authority(desk, parent=root, days=101)
    assert "--days 100" in refused.value.remedy
    assert make_authority(desk, parent=root, domain="example.com", days=100).record.domain == "example.com"


def test_a_child_is_bound_as_its_parent_is_or_more_closely(desk):
    root = make_authority(desk, "root", domain="example.com", servers=("internal", "10.0.0.0/8"), days=100)
    options = {"parent": root, "days": 99}
    assert _bounds(make_authority(desk, "child", **options)) == _bounds(root)
    for name, servers, wanted in (
        ("network", ("10.1.0.0/16",), [x509.IPAddress(ip_network("10.1.0.0/16"))]),
        ("host", ("db.internal", "10.0.0.5"), [x509.DNSName("db.internal"), x509.IPAddress(ip_network("10.0.0.5"))]),
        ("any", ("any",), []),
    ):
        below = make_authority(desk, name, domain="example.com", servers=servers, **options)
        assert _bounds(below).permitted_subtrees[2:] == wanted
    for servers in (("elsewhere",), ("192.0.2.0/24",), ("fd00::/8",), ("0.0.0.0/0",)):
        with pytest.raises(UsageError, match="CN=root CA may sign only for"):
            make_authority(desk, "other", servers=servers, **options)


def _bounds(made):
    return made.certificate.extensions.get_extension_for_class(x509.NameConstraints).value


def test_a_child_ends_with_its_parent_unless_told_otherwise(desk):
    root = make_authority(desk, "root")
    later = NOW + timedelta(minutes=5)
    child = make_authority(desk, "child", parent=root, now=later)
    assert root.record.not_after - DAY < child.record.not_after <= root.record.not_after


def test_below_an_intermediate_there_is_no_authority(desk, tmp_path):
    root = make_authority(desk, "root")
    between = make_authority(desk, "between", parent=root)
    with pytest.raises(UsageError, match=r"CN=between CA may have no authorities below it") as refused:
        make_authority(desk, "below", parent=between)
    assert refused.value.remedy == "Give --parent root."
    assert not desk.file("below", "key").exists()
    openssl_root(tmp_path)  # its certificate names no bound
    old = intake.Intake(
        name="old",
        certificate_pem=(tmp_path / "rootCA.pem").read_bytes(),
        key_pem=(tmp_path / "rootCA.key").read_bytes(),
        key_passphrase=None,
    )
    now = _after(tmp_path)
    taken = intake.take_in(desk, old, PASSPHRASE, now)
    assert make_authority(desk, "below", parent=taken, now=now).record.parent == "old"


@pytest.mark.usefixtures("corp")
def test_a_key_that_is_there_is_never_overwritten(desk):
    before = desk.file("corp", "key").read_bytes()
    with pytest.raises(OperationError, match="the authority 'corp' already exists"):
        make_authority(desk)
    files.make_folder(desk.file("lost", "key").parent)
    files.write_private(desk.file("lost", "key"), b"from a run that was killed")
    with pytest.raises(OperationError, match="this key file already exists"):
        make_authority(desk, "lost")
    assert desk.file("corp", "key").read_bytes() == before


def test_of_two_that_make_one_authority_at_once_the_first_keeps_its_key(desk, monkeypatch):
    make = keys.make

    def make_while_another_is_faster(kind):
        monkeypatch.setattr(keys, "make", make)
        make_authority(desk)
        return make(kind)

    monkeypatch.setattr(keys, "make", make_while_another_is_faster)
    with pytest.raises(OperationError, match=r"File exists|already"):
        make_authority(desk)
    assert authority.unlock(desk, "corp", PASSPHRASE).name == "corp"


def _take_in(desk, folder, name="old", **options):
    given = {
        "certificate_pem": (folder / "rootCA.pem").read_bytes(),
        "key_pem": (folder / "rootCA.key").read_bytes(),
        "key_passphrase": "hunter2",
    }
    now = options.pop("now", NOW)
    return intake.take_in(desk, intake.Intake(name=name, **(given | options)), PASSPHRASE, now)


@pytest.fixture
def old(tmp_path):
    """An authority as tutorials make one, with a DES3-encrypted key; and its clock."""
    folder = tmp_path / "openssl"
    folder.mkdir()
    openssl_root(folder, password="hunter2")
    return folder


def _after(folder):
    made = x509.load_pem_x509_certificate((folder / "rootCA.pem").read_bytes())
    return made.not_valid_before_utc + DAY


def test_an_authority_of_openssl_is_taken_in(desk, old):
    now = _after(old)
    taken = _take_in(desk, old, now=now)
    assert taken.certificate.subject.rfc4514_string() == "CN=Example Root CA,O=Example Ltd,C=DE"
    assert b"ENCRYPTED" in desk.file("old", "key").read_bytes()
    issued = issue_to(desk, authority.unlock(desk, "old", PASSPHRASE), now=now)
    issued.certificate.verify_directly_issued_by(taken.certificate)


def test_who_was_revoked_before_stays_revoked(desk, old):
    now = _after(old)
    openssl_leaf(old, password="hunter2")
    leaf = x509.load_pem_x509_certificate((old / "alice.crt").read_bytes())
    gone = x509.RevokedCertificateBuilder().serial_number(leaf.serial_number).revocation_date(now - DAY).build()
    key = pkcs8.load((old / "rootCA.key").read_bytes(), "hunter2", "here")
    root = x509.load_pem_x509_certificate((old / "rootCA.pem").read_bytes())
    list_ = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.subject)
        .last_update(now - DAY)
        .next_update(now + DAY)
        .add_revoked_certificate(gone)
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(77)
            .revocation_date(now - DAY)
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .build()
        )
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(78)
            .revocation_date(now - DAY)
            .add_extension(x509.CRLReason(x509.ReasonFlags.aa_compromise), critical=False)
            .build()
        )
        .add_extension(x509.CRLNumber(41), critical=False)
        .sign(key, hashes.SHA256())
    )
    taken = _take_in(desk, old, crl=list_.public_bytes(Encoding.PEM), now=now)
    new = crl.renew(desk, taken, now)
    assert new.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 42
    assert new.last_update_utc > list_.last_update_utc
    assert {entry.serial_number for entry in new} == {leaf.serial_number, 77, 78}
    with desk.registry.reading() as connection:
        found = {entry.serial: entry.reason for entry in authorities.foreign(connection, taken.record)}
    assert found["4D"] is RevocationReason.KEY_COMPROMISE
    assert found["4E"] is RevocationReason.UNSPECIFIED


def test_a_list_with_a_serial_that_no_list_may_name_is_not_taken_over(desk, tmp_path):
    ca = OpensslCa.make(tmp_path, "root")
    line = "R\t301231000000Z\t261101000000Z\t{}\tunknown\t/CN=old\n"
    (ca.folder / "index.txt").write_text(line.format("1F") + line.format("FF" * 20))
    ca.publish(tmp_path / "root.crl")
    files_ = (ca.certificate.read_bytes(), (ca.folder / "ca.key").read_bytes(), (tmp_path / "root.crl").read_bytes())
    asked = intake.Intake(name="old", certificate_pem=files_[0], key_pem=files_[1], key_passphrase=None, crl=files_[2])
    with pytest.raises(UsageError, match=r"names the serial F{40}, which is longer"):
        intake.take_in(desk, asked, PASSPHRASE, NOW)
    assert not desk.file("old", "key").exists()


def test_an_authority_is_not_taken_in_from_a_part_of_its_file(desk, old):
    own = (old / "rootCA.pem").read_bytes()
    trusted = own.replace(b" CERTIFICATE-", b" TRUSTED CERTIFICATE-")
    for part in ((own + own)[:-120], own + own[:3], own + own[:-3], own + trusted):
        with pytest.raises(UsageError, match=r"^the certificate file: line \d+: "):
            _take_in(desk, old, certificate_pem=part, now=_after(old))
    assert not desk.file("old", "key").exists()


def test_a_certificate_from_before_is_revoked_by_its_serial(desk, old):
    now = _after(old)
    openssl_leaf(old, password="hunter2")
    leaf = x509.load_pem_x509_certificate((old / "alice.crt").read_bytes())
    taken = _take_in(desk, old, now=now)
    crl.renew(desk, taken, now)
    serial = serial_text(leaf.serial_number)
    lifecycle.revoke(desk, taken, [], RevocationReason.KEY_COMPROMISE, now, [serial])
    published = x509.load_pem_x509_crl(desk.file("old", "crl").read_bytes())
    assert published.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
    with pytest.raises(OperationError, match="is already on the list"):
        lifecycle.revoke(desk, taken, [], RevocationReason.KEY_COMPROMISE, now, [serial])
    with pytest.raises(OperationError, match="is not held"):
        lifecycle.release(desk, taken, [], now, [serial])


def test_a_certificate_from_before_that_was_on_hold_is_released_or_revoked(desk, tmp_path):
    ca = OpensslCa.make(tmp_path, "root")
    line = "R\t301231000000Z\t261101000000Z,certificateHold\t{}\tunknown\t/CN=old\n"
    (ca.folder / "index.txt").write_text(line.format("1F") + line.format("2F"))
    ca.publish(tmp_path / "root.crl")
    files_ = (ca.certificate.read_bytes(), (ca.folder / "ca.key").read_bytes(), (tmp_path / "root.crl").read_bytes())
    asked = intake.Intake(name="old", certificate_pem=files_[0], key_pem=files_[1], key_passphrase=None, crl=files_[2])
    now = clock.now() + MINUTE
    taken = intake.take_in(desk, asked, PASSPHRASE, now)

    def listed():
        published = x509.load_pem_x509_crl(desk.file("old", "crl").read_bytes())
        reasons = (
            (entry, entry.extensions.get_extension_for_class(x509.CRLReason).value.reason) for entry in published
        )
        return {entry.serial_number: reason for entry, reason in reasons}

    crl.renew(desk, taken, now)
    assert listed() == {0x1F: x509.ReasonFlags.certificate_hold, 0x2F: x509.ReasonFlags.certificate_hold}
    with pytest.raises(OperationError, match="is already on the list"):
        lifecycle.hold(desk, taken, [], now, ["1F"])
    lifecycle.release(desk, taken, [], now, ["1F"])
    lifecycle.revoke(desk, taken, [], RevocationReason.KEY_COMPROMISE, now, ["2F"])
    assert listed() == {0x2F: x509.ReasonFlags.key_compromise}
    with pytest.raises(OperationError, match="is not held"):
        lifecycle.release(desk, taken, [], now, ["1F"])
    lifecycle.hold(desk, taken, [], now, ["1F"])
    assert listed()[0x1F] is x509.ReasonFlags.certificate_hold
    with desk.registry.reading() as connection:
        trail = [entry.action for entry in audit.entries(connection, serial="1F")]
    assert trail == ["released", "held"]


def _pem(*leaves):
    return b"".join(leaf.certificate.public_bytes(Encoding.PEM) for leaf in leaves)


def test_an_intermediate_is_taken_in_with_those_above_it(desk):
    root = Ca.make(key=rsa_key())
    middle = root.issue_ca("CN=Middle")
    low = middle.issue_ca("CN=Low")
    taken = _take(desk, _pem(low, Ca.make("CN=Stranger"), root, middle), low)
    assert [issuer.subject.rfc4514_string() for issuer in taken.chain] == ["CN=Middle", "CN=Test Root"]
    with pytest.raises(UsageError, match="the issuer of CN=Middle is missing"):
        _take(desk, _pem(low, middle), low, "second")


def _take(desk, pem, ca, name="taken", **options):
    given = intake.Intake(name=name, certificate_pem=pem, key_pem=ca.key_pem(), key_passphrase=None, **options)
    return intake.take_in(desk, given, PASSPHRASE, NOW)


def test_authorities_that_go_round_in_circles(desk):
    one, other = Ca.make("CN=One"), Ca.make("CN=Other")
    first = build("CN=A", one.key.public_key(), "CN=B", other.key, extensions=ca_extensions())
    second = build("CN=B", other.key.public_key(), "CN=A", one.key, extensions=ca_extensions())
    circle = (Ca(first, one.key), Ca(second, other.key))
    with pytest.raises(UsageError, match="is missing"):
        _take(desk, _pem(*circle), circle[0])


def test_what_is_not_taken_in(desk):
    good = Ca.make()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    no_lists = Ca.make(extensions=[*ca_extensions(), (usage, True)])
    cases = [
        (b"", good, "holds no PEM certificate"),
        (_pem(Ca.make(not_after=NOW - DAY)), good, "expired on 2026-11-23"),
        (_pem(Ca.make(extensions=())), good, "is not an authority's"),
        (
            _pem(Ca.make(extensions=[(x509.BasicConstraints(ca=False, path_length=None), True)])),
            good,
            "is not an authority's",
        ),
        (_pem(no_lists), no_lists, "does not allow both certificates and revocation lists"),
        (_pem(good), Ca.make(), "the key does not belong"),
    ]
    for pem, ca, cause in cases:
        with pytest.raises(UsageError, match=cause):
            _take(desk, pem, ca)
    assert not desk.file("taken", "key").exists()


def test_lists_that_are_not_the_authoritys_own(desk):
    ca = Ca.make()
    stranger = Ca.make("CN=Test Root")
    for list_, cause in (
        (b"no list", "holds no readable revocation list"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "holds no readable revocation list"),
        (ca.crl([1]) + ca.crl()[:-30], "line [0-9]+: the X509 CRL block that begins here has no END"),
        (ca.crl([1]) + ca.crl([2]), "holds 2 lists"),
        (stranger.crl(), "was not signed by this authority"),
        (Ca.make("CN=Other").crl(), "was not signed by this authority"),
    ):
        with pytest.raises(UsageError, match=cause):
            _take(desk, _pem(ca), ca, crl=list_)
    der = x509.load_pem_x509_crl(ca.crl(number=None)).public_bytes(Encoding.DER)
    assert _take(desk, _pem(ca), ca, crl=der).record.crl_number == 0


def test_the_key_of_another_certificate_of_the_file(desk):
    """The message says which certificate must come first. With that one first, the authority is imported."""
    root = Ca.make()
    middle = root.issue_ca("CN=Middle")
    with pytest.raises(UsageError) as refused:
        _take(desk, _pem(root, middle), middle)
    assert refused.value.cause == (
        "the key belongs to certificate 2 of the --cert file, CN=Middle, not to the first one, CN=Test Root"
    )
    assert refused.value.remedy == "Put certificate 2 first in that file, and the authorities above it after it."
    with pytest.raises(UsageError, match="the key does not belong to CN=Test Root, the first certificate") as refused:
        _take(desk, _pem(root, middle), Ca.make("CN=Stranger"))
    assert refused.value.remedy == "Give the private key of CN=Test Root with --key."
    assert not desk.file("taken", "key").exists()
    assert _take(desk, _pem(middle, root), middle).chain == (root.certificate,)


def test_how_to_make_a_new_authority_instead_is_the_commands_own_remedy(desk):
    expired = Ca.make(not_after=NOW - DAY)
    for options, remedy in (
        ({}, "Make a new authority with 'gateway ca init taken'."),
        ({"making": "Leave out --ca."}, "Leave out --ca."),
    ):
        with pytest.raises(UsageError, match="expired on") as refused:
            _take(desk, _pem(expired), expired, **options)
        assert refused.value.remedy == remedy


def _raw(oid, value, *, critical=False):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical


def test_an_authority_that_cannot_be_read_is_not_taken_in(desk):
    ca = Ca.make()
    name, public = "CN=Test Root", ca.key.public_key()
    for extension in (
        _raw("2.5.29.30", bytes.fromhex("3006a0043002a300")),  # a name constraint for an x400Address
        _raw("2.5.29.15", b"\x05\x00"),
        _raw("2.5.29.17", bytes.fromhex("30058703313233")),  # an address of three bytes
    ):
        broken = Ca(build(name, public, name, ca.key, extensions=[*ca_extensions(), extension]), ca.key)
        with pytest.raises(UsageError, match="holds a broken certificate"):
            _take(desk, _pem(broken), ca)
    with pytest.raises(UsageError, match="holds a broken certificate"):
        _take(desk, of_version_six(ca.certificate), ca)
    assert not desk.file("taken", "key").exists()


def test_an_authority_whose_name_cannot_be_written_is_not_taken_in(desk):
    old = Ca.make(teletex.name())
    pem = _pem(teletex.latin1_leaf(old, old.key))
    with pytest.raises(UsageError, match="the name of O=Börse AG has an old encoding") as refused:
        _take(desk, pem, old)
    assert "gateway ca init" in refused.value.remedy


def test_an_authority_below_one_with_such_a_name_is_taken_in(desk):
    """Also where certificates name their issuer once more, as with `authorityKeyIdentifier=keyid,issuer:always`."""
    identifier = (x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(teletex.name())], 1), False)
    old = Ca.make(teletex.name(), serial=1, extensions=[*ca_extensions(), identifier])
    middle = old.issue_ca("CN=Middle", extensions=[*ca_extensions(), identifier])
    below = teletex.latin1_leaf(middle, old.key)
    taken = _take(desk, _pem(below, teletex.latin1_leaf(old, old.key)), middle)
    assert [subject_of(issuer).rfc4514_string() for issuer in taken.chain] == ["O=Börse AG"]
    assert issue_to(desk, taken).certificate.issuer.rfc4514_string() == "CN=Middle"


def test_the_old_keys_passphrase_has_an_option_of_its_own(desk, old):
    with pytest.raises(UsageError, match="passphrase does not open the key") as refused:
        _take_in(desk, old, key_passphrase="hunter3", now=_after(old))
    assert "--key-passphrase-file" in refused.value.remedy


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"extensions": [(x509.DeltaCRLIndicator(1), True)]}, "not a full list"),
        ({"extensions": [(x509.DeltaCRLIndicator(1), False)]}, "not a full list"),
        ({"extensions": [_raw("1.2.3", b"\x05\x00", critical=True)]}, "not a full list"),
        ({"number": None, "extensions": [_raw("2.5.29.20", b"\x05\x00")]}, "cannot be read"),
        ({"number": intake.MAX_CRL_NUMBER + 1}, "negative or above"),
    ],
)
def test_a_list_on_which_somebody_may_be_missing_is_not_taken_over(desk, options, cause):
    ca = Ca.make()
    with pytest.raises(UsageError, match=cause):
        _take(desk, _pem(ca), ca, crl=ca.crl([5], **options))
    assert not desk.file("taken", "key").exists()


def test_harmless_extensions_and_great_numbers_are_taken_over(desk):
    ca = Ca.make()
    list_ = ca.crl([5], number=intake.MAX_CRL_NUMBER, extensions=[_raw("1.2.3", b"\x05\x00")])
    taken = _take(desk, _pem(ca), ca, crl=list_)
    new = crl.renew(desk, taken, NOW)
    assert new.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == intake.MAX_CRL_NUMBER + 1


def test_of_two_entries_for_one_serial_the_one_for_good_counts(desk):
    ca = Ca.make()
    list_ = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    list_ = list_.last_update(NOW - DAY).next_update(NOW + DAY)
    hold, gone = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.key_compromise
    for serial, reason in ((5, hold), (5, gone), (6, gone), (6, hold)):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
        list_ = list_.add_revoked_certificate(entry.add_extension(x509.CRLReason(reason), critical=False).build())
    pem = list_.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    taken = _take(desk, _pem(ca), ca, crl=pem)
    with desk.registry.reading() as connection:
        found = {entry.serial: entry.reason for entry in authorities.foreign(connection, taken.record)}
    assert found == {"05": RevocationReason.KEY_COMPROMISE, "06": RevocationReason.KEY_COMPROMISE}


@pytest.mark.parametrize("bound", [(), ("-pkeyopt", "rsa_pss_keygen_md:sha256")], ids=["any-hash", "one-hash"])
def test_an_authority_for_rsa_pss_only_is_not_taken(desk, tmp_path, bound):
    folder = _pss_root(tmp_path, *bound)
    with pytest.raises(UsageError, match=r"the authority CN=pss has a key that can sign only with RSA-PSS") as refused:
        _take_in(desk, folder, key_passphrase=None, now=_after(folder))
    assert "gateway ca init" in refused.value.remedy
    assert "client_ca" in refused.value.remedy
    assert not desk.file("old", "key").exists()


def test_an_authority_for_rsa_pss_only_that_was_taken_once_signs_no_more(desk, tmp_path, monkeypatch):
    folder = _pss_root(tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(keys, "check_signer", lambda *_: None)
        _take_in(desk, folder, key_passphrase=None, now=_after(folder))
        authority.unlock(desk, "old", PASSPHRASE)
    with pytest.raises(UsageError, match=r"the authority 'old' has a key that can sign only with RSA-PSS") as refused:
        authority.unlock(desk, "old", PASSPHRASE)
    assert "gateway ca init" in refused.value.remedy


def _pss_root(folder, *bound):
    bits = ("-pkeyopt", "rsa_keygen_bits:2048")
    openssl("genpkey", "-algorithm", "RSA-PSS", *bits, *bound, "-out", "rootCA.key", cwd=folder)
    subject = ("-days", "900", "-subj", "/CN=pss")
    openssl("req", "-x509", "-new", "-key", "rootCA.key", *subject, "-out", "rootCA.pem", cwd=folder)
    return folder


def test_an_authority_with_keyusage_for_both_is_taken(desk):
    made = make_authority(desk)
    plain = pkcs8.load(desk.file("corp", "key").read_bytes(), PASSPHRASE, "here")
    pem = made.certificate.public_bytes(Encoding.PEM)
    given = intake.Intake(name="again", certificate_pem=pem, key_pem=pkcs8.plain_pem(plain), key_passphrase=None)
    assert intake.take_in(desk, given, PASSPHRASE, NOW).certificate == made.certificate


def test_a_v1_root_counts_as_an_authority(desk, tmp_path):
    openssl("genrsa", "-out", "v1.key", "2048", cwd=tmp_path)
    openssl("req", "-new", "-key", "v1.key", "-subj", "/CN=V1 Root", "-out", "v1.csr", cwd=tmp_path)
    openssl("x509", "-req", "-in", "v1.csr", "-signkey", "v1.key", "-days", "99", "-out", "v1.pem", cwd=tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "v1.pem").read_bytes())
    assert is_marked_as_ca(certificate) is (certificate.version is x509.Version.v1)
    given = intake.Intake(
        name="v1",
        certificate_pem=(tmp_path / "v1.pem").read_bytes(),
        key_pem=(tmp_path / "v1.key").read_bytes(),
        key_passphrase=None,
    )
    now = certificate.not_valid_before_utc + DAY
    taken = intake.take_in(desk, given, PASSPHRASE, now)
    assert make_authority(desk, "below", parent=taken, now=now).chain == (certificate,)
    leaf = issue_to(desk, taken, purpose=Purpose.AUTH, now=now)
    aki = leaf.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
