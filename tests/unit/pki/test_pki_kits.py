"""Device kits: what is in them, what stays the same through renewals, and what is not in them."""

from __future__ import annotations

import json
import plistlib
import re
import stat
import subprocess
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from support.desk import NOW, PASSPHRASE, Files, issue_to, make_authority
from support.pki import Ca, ec_key, of_version_six
from support.pki import build as make_certificate

from gateway.errors import OperationError, UsageError
from gateway.pki import authority, lifecycle
from gateway.pki.file_names import file_stem
from gateway.pki.kits import apple, build
from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.registry import certificates
from gateway.pki.registry.records import Purpose
from gateway.pki.words import KitKind, Language

PASSWORD = "it's-a-secret"


STEM = file_stem("o'neil@example.com")


def _person(issued, **options):
    given = {
        "email": "o'neil@example.com",
        "name": "Shaq O’Neil <b>",
        "host": "mail.example.com",
        "user_name": "EXAMPLE\\oneil",
        "certificate": issued.certificate,
        "chain": issued.chain,
        "p12": b"p12 bytes",
    }
    return Person(**(given | options))


@pytest.fixture
def issued(desk):
    root = make_authority(desk, "root", organization="Example Ltd")
    return issue_to(desk, make_authority(desk, "between", parent=root, days=999), "o'neil@example.com", "Shaq")


@pytest.fixture
def person(issued):
    return _person(issued)


def _profile(person, kind=KitKind.IOS, **options):
    document = plistlib.loads(apple.profile(person, kind, **options).data)
    return document, {payload["PayloadType"].rpartition(".")[2]: payload for payload in document["PayloadContent"]}


def test_an_iphone_gets_certificate_root_and_account(person):
    document, parts = _profile(person)
    assert (document["PayloadType"], document["PayloadVersion"]) == ("Configuration", 1)
    assert document["PayloadIdentifier"] == f"com.example.mail.{STEM}"
    assert set(parts) == {"root", "pkcs1", "pkcs12", "account"}
    assert x509.load_der_x509_certificate(parts["root"]["PayloadContent"]) == person.root
    assert x509.load_der_x509_certificate(parts["pkcs1"]["PayloadContent"]) == person.chain[0]
    assert parts["pkcs12"]["PayloadContent"] == b"p12 bytes"
    assert "Password" not in parts["pkcs12"]
    account = parts["account"]
    identity = parts["pkcs12"]["PayloadUUID"]
    assert account["PayloadType"] == "com.apple.eas.account"
    assert (account["Host"], account["SSL"], account["UserName"]) == ("mail.example.com", True, "EXAMPLE\\oneil")
    for key in ("PayloadCertificateUUID", "SMIMESigningCertificateUUID", "SMIMEEncryptionCertificateUUID"):
        assert account[key] == identity
    assert account["SMIMESigningEnabled"] is True
    assert account["SMIMEEnableEncryptionPerMessageSwitch"] is True
    assert document["TargetDeviceType"] == 1
    assert "PayloadScope" not in document
    uuids = [document["PayloadUUID"], *(payload["PayloadUUID"] for payload in document["PayloadContent"])]
    assert len(set(uuids)) == 5


def test_a_certificate_for_logging_in_signs_no_mail(person):
    _, parts = _profile(replace(person, purpose=Purpose.AUTH))
    assert not [key for key in parts["account"] if key.startswith("SMIME")]


def test_a_certificate_for_mail_comes_beside_the_account(person):
    """Its profile stands beside the one for logging in, whose account it would otherwise take the place of."""
    login, _ = _profile(replace(person, purpose=Purpose.AUTH))
    seen = {login["PayloadIdentifier"], login["PayloadUUID"]}
    for purpose in (Purpose.SMIME, Purpose.SMIME_SIGNING, Purpose.SMIME_ENCRYPTION):
        for kind in (KitKind.IOS, KitKind.MACOS):
            document, parts = _profile(replace(person, purpose=purpose), kind)
            assert set(parts) == {"root", "pkcs1", "pkcs12"}
        assert not {document["PayloadIdentifier"], document["PayloadUUID"]} & seen
        seen |= {document["PayloadIdentifier"], document["PayloadUUID"]}
    assert _profile(person)[0]["PayloadIdentifier"] == login["PayloadIdentifier"]


@pytest.mark.parametrize(
    ("kind", "purpose", "cause"),
    [
        (KitKind.FIREFOX, Purpose.SMIME, "is only for mail, but a kit for firefox needs one for logging in"),
        (KitKind.CHROME, Purpose.SMIME_SIGNING, "is only for mail, but a kit for chrome"),
        (KitKind.ANDROID, Purpose.SMIME_ENCRYPTION, "is only for mail, but a kit for android"),
        (KitKind.THUNDERBIRD, Purpose.AUTH, "is only for logging in, but a kit for thunderbird needs one for mail"),
    ],
)
def test_a_certificate_that_is_of_no_use_there_makes_no_kit(person, kind, purpose, cause):
    with pytest.raises(UsageError, match=cause):
        build.build(replace(person, purpose=purpose), kind)


def test_a_mac_gets_exchange_and_a_preference_for_safari(person):
    document, parts = _profile(person, KitKind.MACOS)
    assert (document["PayloadScope"], document["TargetDeviceType"]) == ("User", 5)
    assert parts["account"]["PayloadType"] == "com.apple.ews.account"
    assert parts["identitypreference"]["Name"] == "https://mail.example.com/"
    assert parts["identitypreference"]["PayloadCertificateUUID"] == parts["pkcs12"]["PayloadUUID"]


def test_a_renewal_takes_the_old_profiles_place(desk, person):
    with desk.registry.reading() as connection:
        old = certificates.find(connection)[0]
    signer = authority.unlock(desk, "between", PASSPHRASE)
    renewal = lifecycle.Renewal(key=ec.generate_private_key(ec.SECP256R1()))
    new = _person(lifecycle.renew(desk, signer, old, renewal, NOW, Files()), p12=b"new")
    before, after = (_profile(one)[0] for one in (person, new))

    def names(document):
        return [(p["PayloadIdentifier"], p["PayloadUUID"]) for p in (document, *document["PayloadContent"])]

    assert names(before) == names(after)
    assert names(before) != names(_profile(replace(person, email="other@example.com"))[0])


def test_identifiers_of_ordinary_addresses_are_short_and_no_two_people_share_one(person):
    def identifier(email, **options):
        return replace(person, email=email, **options).identifier

    assert identifier("Alice.B+x@example.com") == "com.example.mail.alice.b+x"
    assert identifier("alice@example.com", host="example.com") == "com.example.alice"
    assert identifier("alice@example.com", purpose=Purpose.SMIME_SIGNING) == "com.example.mail.alice.signing"
    assert identifier("alice@example.org") == "com.example.mail.alice@example.org"
    emails = ("alice@example.com", "alice@mail.example.com", "alice@example.org", "a!b@example.com", "a#b@example.com")
    found = [identifier(email) for email in (*emails, "alice.signing@example.com")]
    found.append(identifier("alice@example.com", purpose=Purpose.SMIME_SIGNING))
    assert len(set(found)) == len(found)


def test_a_public_root_is_left_out(person):
    assert "root" not in _profile(person, has_root=False)[1]
    assert "pkcs1" in _profile(person, has_root=False)[1]


def test_a_signed_profile_is_verified_by_openssl(person, tmp_path):
    root = Ca.make()
    middle = root.issue_ca()
    leaf = middle.issue("CN=mail.example.com")
    kit = build.build(person, KitKind.IOS)
    signed = apple.sign_profiles(kit, leaf.pem, leaf.key_pem(), "sign.key")
    assert [file.name for file in signed] == [file.name for file in kit]
    assert signed[1] is kit[1]
    (tmp_path / "p").write_bytes(signed[0].data)
    (tmp_path / "root").write_bytes(root.pem)
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", "p", "-CAfile", "root", "-purpose", "any"],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert plistlib.loads(done.stdout) == plistlib.loads(kit[0].data)


def test_signing_files_that_cannot_be_used():
    leaf = Ca.make().issue("CN=x")
    with pytest.raises(UsageError, match="the file of the signing certificate holds no PEM certificate"):
        apple.sign_profiles([], b"", leaf.key_pem(), "sign.key")
    with pytest.raises(UsageError, match="the file of the signing certificate holds a broken certificate"):
        apple.sign_profiles([], of_version_six(leaf.certificate), leaf.key_pem(), "sign.key")
    with pytest.raises(UsageError, match="a header or footer that is cut off"):
        apple.sign_profiles([], leaf.pem + b"-----BEGIN CERTIF", leaf.key_pem(), "sign.key")
    with pytest.raises(UsageError, match=r"sign.key: the signing key is encrypted") as refused:
        apple.sign_profiles([], leaf.pem, leaf.key_pem("hunter2"), "sign.key")
    assert refused.value.remedy == (
        "Decrypt it and give --sign-key sign.key.pem: openssl pkey -in sign.key -out sign.key.pem"
    )
    middle = Ca.make().issue_ca()
    wrong = middle.pem + middle.issue("CN=x", key=leaf.key).certificate.public_bytes(Encoding.PEM)
    with pytest.raises(UsageError, match=r"sign.key: the key's certificate is not the first in the file"):
        apple.sign_profiles([], wrong, leaf.key_pem(), "sign.key")
    with pytest.raises(UsageError, match=r"sign.key: is not the signing certificate's key"):
        apple.sign_profiles([], leaf.pem, Ca.make(key=ec_key()).key_pem(), "sign.key")


def test_windows_gets_a_script_that_quotes_what_people_are_called(person):
    files = {file.name: file for file in build.build(replace(person, email="o'neil’s@example.com"), KitKind.WINDOWS)}
    stem = file_stem("o'neil’s@example.com")
    script = files[f"{stem}.ps1"]
    assert script.data.startswith(b"\xef\xbb\xbf")
    text = script.data.decode("utf-8-sig")
    assert "\n" not in text.replace("\r\n", "")
    assert f"Import-PfxCertificate -FilePath '.\\{stem}.p12'" in text
    assert "Import-Certificate -FilePath '.\\root.cer' -CertStoreLocation Cert:\\CurrentUser\\Root" in text
    assert "Import-Certificate -FilePath '.\\authority1.cer' -CertStoreLocation Cert:\\CurrentUser\\CA" in text
    assert x509.load_der_x509_certificate(files["authority1.cer"].data) == person.chain[0]
    assert "Read-Host -AsSecureString" in text
    assert "'Open https://mail.example.com/ in Edge or Chrome" in text
    assert text.rstrip().endswith("Read-Host 'Press Enter to close' | Out-Null"), "the window stays until it is read"
    assert text.count("{") == text.count("}")
    mail = build.build(replace(person, purpose=Purpose.SMIME), KitKind.WINDOWS)[0].data.decode("utf-8-sig")
    assert "In Outlook" in mail
    assert not script.is_secret
    assert x509.load_der_x509_certificate(files["root.cer"].data) == person.root
    assert files[f"{stem}.p12"].is_secret


def test_a_password_is_in_the_kit_only_when_asked_for(person):
    for kind in KitKind:
        for file in build.build(person, kind):
            assert PASSWORD.encode() not in file.data
    for kind in KitKind:
        files = build.build(build.with_password(person, PASSWORD), kind)
        holding = [file for file in files if b"a-secret" in file.data]
        assert holding
        assert all(file.is_secret for file in holding)
    script = build.build(build.with_password(person, PASSWORD), KitKind.WINDOWS)[0].data.decode("utf-8-sig")
    assert "-String 'it''s-a-secret'" in script
    ios = plistlib.loads(build.build(build.with_password(person, PASSWORD), KitKind.IOS)[0].data)
    assert [p["Password"] for p in ios["PayloadContent"] if "Password" in p] == [PASSWORD]


def test_chrome_chooses_by_itself(person):
    files = {file.name: file.data for file in build.build(person, KitKind.CHROME)}
    [choice] = json.loads(files["chrome-policy.json"])["AutoSelectCertificateForUrls"]
    assert json.loads(choice) == {"pattern": "https://mail.example.com", "filter": {"ISSUER": {"CN": "between CA"}}}
    nameless = replace(person, chain=(Ca.make("O=No Name").certificate,))
    [choice] = json.loads(build.build(nameless, KitKind.CHROME)[0].data)["AutoSelectCertificateForUrls"]
    assert json.loads(choice)["filter"] == {}


@pytest.mark.parametrize("kind", [KitKind.FIREFOX, KitKind.THUNDERBIRD])
def test_firefox_and_thunderbird_get_policies(person, kind):
    files = {file.name: file.data for file in build.build(person, kind)}
    policies = json.loads(files["policies.json"])["policies"]
    assert policies["Certificates"]["Install"] == ["root.crt"]
    assert x509.load_pem_x509_certificate(files["root.crt"]) == person.root


def test_android_gets_managed_settings(person):
    files = {file.name: file.data for file in build.build(person, KitKind.ANDROID)}
    managed = json.loads(files[f"{STEM}-gmail.json"])
    assert managed["exchange_host"] == "mail.example.com"
    assert managed["exchange_ssl_required"] is True
    assert {f"{STEM}.p12", "root.cer"} <= set(files)
    other = {file.name for file in build.build(replace(person, email="other@example.com"), KitKind.ANDROID)}
    assert other & set(files) == {"root.cer"}, "kits may lie in one folder"


@pytest.mark.parametrize("kind", list(KitKind))
def test_the_letter_says_who_and_how_and_escapes_names(person, kind):
    text = build.build(person, kind)[-1].data.decode()
    assert "Shaq O’Neil &lt;b&gt;" in text
    assert "<b>" not in text
    assert "<svg" in text
    assert certificates.serial_text(person.certificate.serial_number) in text
    assert len(re.findall("<li>", text)) >= 3
    assert not re.search(r"\{\w+\}", text)
    assert "http" not in re.sub(r"https://mail\.example\.com/|http://www\.w3\.org/2000/svg", "", text)


def test_a_letter_writes_the_serial_as_the_registry_does(person):
    key = ec_key()
    odd = replace(person, certificate=make_certificate("CN=x", key.public_key(), "CN=y", key, serial=0xABC))
    assert "<code>0ABC</code>" in build.build(odd, KitKind.IOS)[-1].data.decode()


def test_the_letter_tells_what_the_certificate_is_for(person):
    def text(purpose, kind=KitKind.IOS, **options):
        return build.build(replace(person, purpose=purpose), kind, **options)[-1].data.decode()

    assert "reach your mail from outside" in text(Purpose.AUTH)
    assert "you sign mail" in text(Purpose.SMIME)
    for kind in (KitKind.IOS, KitKind.MACOS, KitKind.WINDOWS):
        assert text(Purpose.SMIME, kind).partition("<ol>")[2] != text(Purpose.CLIENT, kind).partition("<ol>")[2]
    assert "Certificate Trust Settings" in text(Purpose.CLIENT)
    assert "Certificate Trust Settings" not in text(Purpose.CLIENT, has_root=False)
    assert "<li></li>" not in text(Purpose.CLIENT, has_root=False)


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("kind", list(KitKind))
def test_every_language_has_every_letter(person, language, kind):
    page = {"language": language, "path": "/webmail", "contact": "<Help> help@example.com"}
    for purpose in (Purpose.CLIENT, Purpose.SMIME):
        if purpose is Purpose.SMIME and kind in (KitKind.ANDROID, KitKind.CHROME, KitKind.FIREFOX):
            continue
        kit = build.build(replace(person, purpose=purpose, **page), kind)
        english = build.build(replace(person, purpose=purpose), kind)
        text = kit[-1].data.decode()
        assert f'<html lang="{language}">' in text
        assert text.count("<li>") == english[-1].data.decode().count("<li>")
        assert "&lt;Help&gt; help@example.com</dd>" in text
        assert ("https://mail.example.com/webmail" in text) or purpose is Purpose.SMIME
        assert not re.search(r"\{\w+\}", text)
        assert [file.name for file in kit] == [file.name for file in english]


def test_the_code_and_the_script_lead_to_the_page(person):
    there = replace(person, path="/owa/")
    assert there.url == "https://mail.example.com/owa/"
    files = build.build(there, KitKind.WINDOWS)
    assert "'Open https://mail.example.com/owa/ in Edge" in files[0].data.decode("utf-8-sig")
    code, plain = (
        re.search("<svg.*</svg>", kit[-1].data.decode(), re.DOTALL)[0]
        for kit in (files, build.build(person, KitKind.WINDOWS))
    )
    assert code != plain


def test_kits_for_two_devices_of_a_person_lie_in_one_folder(person, tmp_path):
    kits = [build.build(replace(person, device=device), KitKind.IOS) for device in ("Phone", "Tablet", None)]
    for kit in kits:
        build.write(kit, tmp_path / "kit")
    assert len(list((tmp_path / "kit").iterdir())) == 6


def test_a_kit_is_written_for_its_owner(tmp_path):
    files = [KitFile("a.p12", b"x", is_secret=True), KitFile("root.crt", b"y")]
    paths = build.write(files, tmp_path / "kit")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (*paths, tmp_path / "kit")] == [0o600, 0o644, 0o700]


@pytest.mark.parametrize("kind", list(KitKind))
def test_kits_of_two_people_lie_in_one_folder(person, kind, tmp_path):
    """Names that differ in a sign which no file name has are two names."""
    kits = [build.build(replace(person, email=f"{local}@example.com"), kind) for local in ("a!b", "a#b")]
    for kit in kits:
        build.write(kit, tmp_path / "kit")
    for kit in kits:
        assert all((tmp_path / "kit" / file.name).read_bytes() == file.data for file in kit)


def test_all_kits_of_one_person_lie_in_one_folder(person, tmp_path):
    """Those for a certificate for mail alone beside those for logging in."""
    mail = replace(person, purpose=Purpose.SMIME, p12=b"mail's p12")
    apart = [replace(person, purpose=purpose) for purpose in (Purpose.SMIME_SIGNING, Purpose.SMIME_ENCRYPTION)]
    kits = [build.build(person, kind) for kind in KitKind]
    kits += [build.build(each, kind) for each in (mail, *apart) for kind in (KitKind.IOS, KitKind.WINDOWS)]
    for kit in kits:
        build.write(kit, tmp_path)
    for kit in kits:
        assert all((tmp_path / file.name).read_bytes() == file.data for file in kit), kit[-1].name


@pytest.mark.parametrize("kind", [KitKind.IOS, KitKind.MACOS, KitKind.WINDOWS, KitKind.ANDROID])
@pytest.mark.parametrize("purpose", [Purpose.CLIENT, Purpose.SMIME])
def test_a_letter_names_files_of_its_kit_alone(person, kind, purpose):
    if kind is KitKind.ANDROID and purpose is Purpose.SMIME:
        purpose = Purpose.AUTH
    plain = replace(person, email="alice@example.com", purpose=purpose)
    *files, page = build.build(plain, kind)
    named = set(re.findall(r"alice@example\.com[\w-]*\.(?:mobileconfig|ps1|p12)", page.data.decode()))
    assert named
    assert named <= {file.name for file in files}


@pytest.mark.parametrize("kind", [KitKind.FIREFOX, KitKind.CHROME, KitKind.WINDOWS, KitKind.ANDROID])
def test_a_kit_of_another_authority_takes_no_roots_place(desk, person, kind, tmp_path):
    first = build.build(person, kind)
    build.write(first, tmp_path)
    signer = make_authority(desk, "other")
    other = _person(issue_to(desk, signer, "bob@example.com"), email="bob@example.com")
    with pytest.raises(OperationError, match="belongs to a kit for another root or host") as refused:
        build.write(build.build(other, kind), tmp_path)
    assert "--out" in refused.value.remedy
    assert {file.name: (tmp_path / file.name).read_bytes() for file in first} == {
        file.name: file.data for file in first
    }
    assert len(list(tmp_path.glob("bob*"))) == 0
