"""Bulk issuing: all rows or none, only what is missing, and nothing half-done after a crash."""

from __future__ import annotations

import fcntl
import os
import stat
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from support.bad_users import BAD
from support.desk import DAY, NOW, import_users, issue_to, make_authority

from gateway.errors import OperationError, UsageError
from gateway.pki import batch, crl, issue, keys, lifecycle, password_list, pkcs12
from gateway.pki.csv_users import CsvError
from gateway.pki.registry import certificates, revoked_people
from gateway.pki.registry.records import Purpose, RevocationReason, State
from gateway.pki.words import KeyKind, P12Format
from gateway.x509.keys import are_equal


@pytest.fixture
def run(desk, tmp_path):
    """Import a CSV text into a folder."""

    def run(signer, text, *, out="out", now=NOW, progress=lambda _done, _total: None, **options):
        (tmp_path / "users.csv").write_text(text)
        options.setdefault("kind", KeyKind.ECDSA_P256)
        wanted = batch.Batch(csv_file=tmp_path / "users.csv", out=tmp_path / out, **options)
        return import_users(desk, signer, wanted, lambda: now, progress)

    return run


def _states(desk):
    with desk.registry.reading() as connection:
        return [(record.email, record.state) for record in certificates.find(connection)]


def _passwords(folder):
    return password_list.PasswordList(folder / "passwords.csv").lines()


TWO = "email,name,p12_format,days\na@example.com,Ann,,\nb@example.com,Bob,modern,10\n"


def test_each_user_gets_a_file_that_the_password_opens(desk, corp, run, tmp_path):
    before = os.umask(0)
    steps = []
    outcome = run(corp, TWO, progress=lambda done, total: steps.append((done, total)))
    os.umask(before)
    assert outcome == batch.Outcome(issued=2, present=0)
    assert steps == [(0, 2), (1, 2), (2, 2)]
    lines = _passwords(tmp_path / "out")
    assert [(line.email, line.name, line.file) for line in lines] == [
        ("a@example.com", "Ann", "a@example.com.p12"),
        ("b@example.com", "Bob", "b@example.com.p12"),
    ]
    assert "password" not in repr(lines[0])
    with desk.registry.reading() as connection:
        records = certificates.find(connection)
    assert [record.p12_format for record in records] == ["compat", "modern"]
    for line, record in zip(lines, records, strict=True):
        data = (tmp_path / "out" / line.file).read_bytes()
        key, certificate = pkcs12.open_(data, line.password, "here")
        assert certificate.fingerprint(hashes.SHA256()).hex() == record.fingerprint
        assert are_equal(key.public_key(), certificate.public_key())
        assert line.serial == record.serial
    assert records[1].not_after == NOW + 10 * DAY
    for path in (tmp_path / "out").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_the_longest_address_has_a_file(corp, run, tmp_path):
    longest = f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 59}.de"
    assert run(corp, f"email,name\n{longest},Ann\n") == batch.Outcome(1, 0)
    [line] = _passwords(tmp_path / "out")
    assert line.email == longest
    assert pkcs12.open_((tmp_path / "out" / line.file).read_bytes(), line.password, "here")


def test_again_makes_only_what_is_missing(desk, corp, run, tmp_path):
    run(corp, TWO)
    before = _passwords(tmp_path / "out")
    assert run(corp, TWO) == batch.Outcome(0, 2)
    assert run(corp, TWO + "c@example.com,Carol,,\n") == batch.Outcome(1, 2)
    assert _passwords(tmp_path / "out")[:2] == before
    assert [state for _, state in _states(desk)] == [State.LIVE] * 3


def _first(desk):
    with desk.registry.reading() as connection:
        return certificates.find(connection)[0]


def test_a_revoked_one_is_made_again_beside_the_old_file_where_that_is_meant(desk, corp, run, tmp_path):
    run(corp, TWO)
    ann = _first(desk)
    lifecycle.revoke(desk, corp, [ann], RevocationReason.KEY_COMPROMISE, NOW)
    with pytest.raises(CsvError) as refused:
        run(corp, TWO + "c@example.com,Carl,,\n")
    told = f"users.csv:2:1: a@example.com was revoked on 2026-11-24 (key-compromise), certificate {ann.serial}"
    assert told in refused.value.cause
    assert "--reissue-revoked" in refused.value.cause
    assert len(_states(desk)) == 2, "nothing is issued, to the others neither"
    assert run(corp, TWO, reissues_revoked=True).issued == 1
    assert run(corp, TWO) == batch.Outcome(0, 2)
    files = sorted(path.name for path in (tmp_path / "out").glob("a@*"))
    assert len(files) == 2
    assert files[0].startswith("a@example.com-")


def test_one_that_was_only_replaced_is_made_again(desk, corp, run):
    run(corp, TWO)
    lifecycle.revoke(desk, corp, [_first(desk)], RevocationReason.SUPERSEDED, NOW)
    assert run(corp, TWO).issued == 1


def test_a_new_device_of_a_revoked_person_is_refused_and_one_of_another_is_not(desk, corp, run):
    lost = issue_to(desk, corp, "a@example.com", "Ann", device="Phone").record
    lifecycle.revoke(desk, corp, [lost], RevocationReason.UNSPECIFIED, NOW)
    head, old, new = "email,name,device\n", "A@example.com,Ann,phone\n", "a@example.com,Ann,Tablet\n"
    for row in (old, new):
        with pytest.raises(CsvError, match=r"a@example\.com on 'Phone' was revoked on 2026-11-24"):
            run(corp, head + row)
    other = make_authority(desk, "other")
    with pytest.raises(CsvError, match="was revoked"):
        run(other, head + new)
    issue_to(desk, other, "a@example.com", "Ann", device="Laptop")  # one who is let in, and has lost a device
    assert run(corp, head + new).issued == 1
    with pytest.raises(CsvError, match="was revoked"):
        run(corp, head + old)
    expired = issue_to(desk, corp, "b@example.com", "Bob", days=1).record
    lifecycle.revoke(desk, corp, [expired], RevocationReason.UNSPECIFIED, NOW)
    with pytest.raises(CsvError, match=r"b@example\.com was revoked"):
        run(corp, head + "b@example.com,Bob,\n", now=NOW + 30 * DAY)


def test_each_use_of_a_device_has_a_latest_certificate(desk, corp):
    signing = issue_to(desk, corp, purpose=Purpose.SMIME_SIGNING).record
    lifecycle.revoke(desk, corp, [signing], RevocationReason.UNSPECIFIED, NOW)
    issue_to(desk, corp, purpose=Purpose.AUTH)
    with desk.registry.reading() as connection:
        people = revoked_people.registered(connection, NOW)
    found = {each: people.find("Alice@example.com", None, each) for each in Purpose if each is not Purpose.SERVER}
    assert {each for each, why in found.items() if why is not None} == {
        Purpose.CLIENT,
        Purpose.SMIME,
        Purpose.SMIME_SIGNING,
    }


def test_a_held_one_is_there_already(desk, corp, run):
    run(corp, TWO)
    with desk.registry.reading() as connection:
        lifecycle.hold(desk, corp, certificates.find(connection)[:1], NOW)
    assert run(corp, TWO) == batch.Outcome(0, 2)


def test_one_bad_row_and_nothing_is_made(desk, run, tmp_path):
    bound = make_authority(desk, domain="example.com", days=100)
    text = (
        "email,name,upn,days,device\n"
        "a@example.org,A,,,\nb@example.com,B,b@example.org,,\nc@example.com,C,,101,\n"
        f"d@example.com,{'D' * 60},,,{'E' * 60}\ne@example.com,e.f,,,\n"
    )
    with pytest.raises(CsvError) as refused:
        run(bound, text)
    assert [(problem.line, problem.column) for problem in refused.value.problems] == [
        (2, 1),
        (3, 3),
        (4, 4),
        (5, 2),
        (6, 2),
    ]
    assert _states(desk) == []
    assert not list((tmp_path / "out").glob("*.p12"))
    assert "Nothing was issued" in refused.value.remedy


@pytest.mark.parametrize("row", ["m@example.com,bob,,", "m@example.com,Mallory,bob@example.com,"])
def test_the_login_of_somebody_in_the_registry_is_not_given_to_another(desk, corp, run, row):
    issue_to(desk, corp, "bob@example.com", "Bob Example")
    with pytest.raises(CsvError) as refused:
        run(corp, f"email,name,upn,days\n{row}\n")
    assert [problem.line for problem in refused.value.problems] == [2]
    assert len(_states(desk)) == 1


@pytest.mark.parametrize("kind", BAD)
def test_a_mistake_of_any_kind_and_nothing_is_made(desk, corp, tmp_path, kind):
    """Not even for the good rows before it, of which there is one in every file here that has columns."""
    data, places, _ = BAD[kind]
    header, end, rest = data.partition(b"\n")
    is_plain = header.lower() == b"email,name" and rest
    (tmp_path / "users.csv").write_bytes(header + end + b"good@example.com,Good\n" + rest if is_plain else data)
    wanted = batch.Batch(csv_file=tmp_path / "users.csv", out=tmp_path / "out", kind=KeyKind.ECDSA_P256)
    with pytest.raises(CsvError) as refused:
        import_users(desk, corp, wanted, lambda: NOW, lambda _done, _total: None)
    assert [(each.line, each.column) for each in refused.value.problems] == [
        (line + bool(is_plain), column) for line, column in places
    ]
    assert _states(desk) == []
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {".import"}


def test_names_that_others_hold_are_told_first(desk, corp, run):
    issue_to(desk, corp, "other@example.com", "Ann")
    issue_to(desk, corp, "b@example.com", "Bob", purpose=Purpose.AUTH)
    with pytest.raises(CsvError) as refused:
        run(corp, TWO)
    assert [(problem.line, problem.column) for problem in refused.value.problems] == [(2, 2), (3, 2)]
    assert "in use by other@example.com" in refused.value.cause


def _leave_pending(desk, corp, run_id, email="a@example.com", name="Ann", at=NOW):
    """What a desk leaves that is killed after signing."""
    order = issue.Order.of_person(email, name)
    new = certificates.NewCertificate(
        certificate=issue.sign(corp, order, keys.make(KeyKind.ECDSA_P256), at),
        common_name=name,
        purpose=Purpose.CLIENT,
        email=email,
        run=run_id,
    )
    with desk.registry.writing() as connection:
        return certificates.add_pending(connection, corp.record, new, at, "killed")


def test_what_a_killed_run_left_is_cleared_away(desk, corp, run, tmp_path):
    run(corp, "email,name\nz@example.com,Zoe\n")
    out = tmp_path / "out"
    left = _leave_pending(desk, corp, (out / ".import").read_text())
    list_ = password_list.PasswordList(out / "passwords.csv")
    list_.add(password_list.PasswordLine("a@example.com", "Ann", "a@example.com.p12", "x", left.serial))
    (out / "a@example.com.p12").write_bytes(b"half")
    (out / ".b.p12.0123.tmp").write_bytes(b"half")
    with (out / "passwords.csv").open("ab") as file:
        file.write(b"b@example.com,Bo")
    assert run(corp, TWO) == batch.Outcome(2, 0)
    assert [line.email for line in _passwords(out)] == ["z@example.com", "a@example.com", "b@example.com"]
    assert _states(desk)[1] == ("a@example.com", State.REVOKED)
    assert not list(out.glob(".*.tmp"))
    ann = _passwords(out)[1]
    assert pkcs12.open_((out / ann.file).read_bytes(), ann.password, "here")
    assert ann.file == "a@example.com.p12"


def test_what_a_killed_run_left_goes_though_a_list_was_made_since(desk, corp, run, tmp_path):
    run(corp, "email,name\nz@example.com,Zoe\n")
    out = tmp_path / "out"
    left = _leave_pending(desk, corp, (out / ".import").read_text())
    list_ = password_list.PasswordList(out / "passwords.csv")
    list_.add(password_list.PasswordLine("a@example.com", "Ann", "a@example.com.p12", "x", left.serial))
    (out / "a@example.com.p12").write_bytes(b"of nobody")
    with desk.registry.reading() as connection:
        zoe = certificates.find(connection)[0]
    later = NOW + crl.PENDING_LEASE + timedelta(seconds=1)
    lifecycle.revoke(desk, corp, [zoe], RevocationReason.CESSATION_OF_OPERATION, later)
    assert run(corp, TWO, now=later) == batch.Outcome(2, 0), "one that was never handed out is no revocation"
    files = [(line.email, line.file) for line in _passwords(out)]
    assert files == [("z@example.com", "z@example.com.p12")] + [
        (f"{n}@example.com", f"{n}@example.com.p12") for n in "ab"
    ]


def test_an_interrupted_run_leaves_no_password_of_what_it_took_back(desk, corp, run, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch, "write_private", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(corp, TWO)
    assert _states(desk) == [("a@example.com", State.REVOKED)]
    assert run(corp, TWO) == batch.Outcome(2, 0)
    assert [line.file for line in _passwords(tmp_path / "out")] == ["a@example.com.p12", "b@example.com.p12"]


def test_what_is_being_made_elsewhere_is_waited_for(desk, corp, run):
    _leave_pending(desk, corp, "another")
    with pytest.raises(CsvError, match="is being made by another run"):
        run(corp, TWO)
    assert run(corp, TWO, now=NOW + timedelta(minutes=16)) == batch.Outcome(2, 0)
    assert _states(desk)[0] == ("a@example.com", State.REVOKED)


def test_one_import_at_a_time_works_in_a_folder(corp, run, tmp_path):
    run(corp, TWO)
    with (tmp_path / "out/.import").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OperationError, match="another import is running in"):
            run(corp, TWO)
    assert run(corp, TWO, out="other") == batch.Outcome(0, 2)


def test_folders_that_cannot_be_used(desk, corp, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.import").mkdir()
    with pytest.raises(OperationError, match="cannot be opened"):
        run(corp, TWO)
    (tmp_path / "third").mkdir()
    (tmp_path / "third/.x.tmp").mkdir()
    with pytest.raises(OperationError, match="of an interrupted import cannot be removed"):
        run(corp, TWO, out="third")
    assert _states(desk) == []


def test_a_list_that_is_none_is_left_alone(corp, run, tmp_path):
    (tmp_path / "out").mkdir()
    for content in (b"my,own,file\n", b"\xff\n", b'email,name,file,password,serial\n"x'):
        (tmp_path / "out/passwords.csv").write_bytes(content)
        if content.endswith(b"\n"):
            with pytest.raises(UsageError, match="list"):
                run(corp, TWO)
            assert (tmp_path / "out/passwords.csv").read_bytes() == content
    assert run(corp, TWO).issued == 2
    assert len(_passwords(tmp_path / "out")) == 2


def test_rsa_keys_come_from_processes(corp, run, tmp_path):
    text = "email,name\n" + "".join(f"u{n}@example.com,User {n}\n" for n in range(6))
    assert run(corp, text, kind=KeyKind.RSA_2048, processes=2, p12_format=P12Format.MODERN).issued == 6
    line = _passwords(tmp_path / "out")[0]
    assert pkcs12.open_((tmp_path / "out" / line.file).read_bytes(), line.password, "x")[0].key_size == 2048
