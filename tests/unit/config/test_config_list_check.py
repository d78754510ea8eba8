"""What `gateway check` says of a site's revocation lists: those that don't count now, and CAs without a useful one."""

from datetime import timedelta

import pytest
from cryptography import x509
from support.config_files import BASE, NOW, fill
from support.pki import Ca
from support.scopes import delta, issuing_point

from gateway.config.load import load_with_warnings
from gateway.errors import ConfigError

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)
LONG = {"not_before": NOW - YEAR, "not_after": NOW + YEAR}
ROOT = Ca.make("CN=Root", **LONG)
TWIN = Ca.make("CN=Root", **LONG)
MIDDLE = ROOT.issue_ca("CN=Middle", **LONG)
USERS, CAS = issuing_point(only_contains_user_certs=True), issuing_point(only_contains_ca_certs=True)
EXPIRED = "expired 2026-06-01 11:00:00 UTC"
BEGINS = "is not valid before 2026-06-01 13:00:00 UTC"


def crl(number, *extensions, ca=ROOT, begin=NOW - DAY, end=NOW + DAY):
    return ca.crl(number=number, extensions=extensions, last_update=begin, next_update=end)


def expired(number, *extensions, **options):
    return crl(number, *extensions, end=NOW - HOUR, **options)


def future(number, *extensions, **options):
    return crl(number, *extensions, begin=NOW + HOUR, **options)


def change(number, base, **options):
    return delta(ROOT, base, number, **{"last_update": NOW - DAY, "next_update": NOW + DAY, **options})


@pytest.fixture
def said(tmp_path):
    """A function that writes lists and a configuration with them, and gives (errors, warnings) about lists."""
    fill(tmp_path)

    def check(*lists, anchors=(ROOT,), more=""):
        (tmp_path / "root.pem").write_bytes(b"".join(anchor.pem for anchor in anchors))
        names = [f"{number}.crl" for number in range(len(lists))]
        for name, data in zip(names, lists, strict=True):
            (tmp_path / name).write_bytes(data)
        text = BASE.replace("[ca.pem]", f"[root.pem]\n    crl: [{', '.join(names)}]{more}")
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        try:
            found = load_with_warnings(tmp_path / "config.yaml", now=NOW, environ={}).warnings
        except ConfigError as error:
            return [line for line in str(error).splitlines() if "crl" in line], []
        return [], [problem.cause for problem in found if ".crl" in problem.place.path]

    return check


@pytest.mark.parametrize(("make", "words"), [(expired, EXPIRED), (future, BEGINS)])
def test_a_list_that_does_not_count_is_an_error_unless_another_one_counts(said, make, words):
    for lists in ([make(5)], [make(5, USERS), crl(4)], [make(5), crl(4, USERS)], [make(5), change(6, 6)]):
        errors, _ = said(*lists)
        assert len(errors) == 1
        assert f"the list of 'CN=Root' {words}" in errors[0]
    assert said(future(5), future(6))[1] == []


def test_a_list_that_begins_later_beside_the_valid_one_is_a_warning(said):
    for lists in ([future(5), crl(4)], [crl(4), future(5)], [future(5, USERS), crl(4, USERS)]):
        assert said(*lists) == ([], [f"the list of 'CN=Root' {BEGINS}, but another list is valid now"])


def test_an_expired_list_beside_a_newer_one_is_a_warning_and_beside_an_older_one_an_error(said):
    assert said(expired(4), crl(5)) == ([], [f"the list of 'CN=Root' {EXPIRED}, but another list is valid now"])
    errors, _ = said(expired(5), crl(4))
    assert len(errors) == 1


def test_a_delta_list_renews_an_expired_list(said):
    assert said(expired(5), change(6, 5)) == ([], [f"the list of 'CN=Root' {EXPIRED}, but another list is valid now"])
    late = change(6, 5, next_update=NOW - HOUR)
    assert said(crl(5), late) == ([], [f"the delta list of 'CN=Root' {EXPIRED}, but another list is valid now"])


def test_lists_of_a_ca_that_is_no_anchor_are_told_apart_too(said):
    assert said(crl(1), crl(1, ca=MIDDLE), future(2, ca=MIDDLE))[1] == [
        f"the list of 'CN=Middle' {BEGINS}, but another list is valid now"
    ]
    errors, _ = said(crl(1), future(2, ca=MIDDLE))
    assert len(errors) == 1


@pytest.mark.parametrize("lists", [[crl(1, CAS)], [change(2, 1)], [crl(1, CAS), change(2, 1)]])
def test_a_ca_without_a_list_for_users_is_told(said, lists):
    cause = "no list from 'CN=Root' covers users' certificates, so all that it issued are refused"
    assert said(*lists) == ([], [cause])
    assert said(*lists, more="\n    crl_policy: if_present") == ([], [])
    assert said(*lists, crl(1, USERS)) == ([], [])
    assert said(*lists, crl(1)) == ([], [])


def test_of_two_cas_of_one_name_each_needs_a_list_of_its_own(said):
    assert said(crl(1), anchors=(ROOT, TWIN)) == (
        [],
        ["no list here is from 'CN=Root', so all certificates that it issued are refused"],
    )
    assert said(crl(1), crl(1, ca=TWIN), anchors=(ROOT, TWIN)) == ([], [])


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (issuing_point(indirect_crl=True), "the list covers certificates of other CAs too (indirectCRL)"),
        ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True), "critical extension 1.2.3"),
    ],
)
def test_a_list_that_the_gateway_would_not_take_is_an_error_with_its_line(said, extension, words):
    errors, _ = said(crl(1), crl(2, extension))
    assert len(errors) == 1
    assert ":8:18: sites[0].crl[1]: " in errors[0]
    assert words in errors[0]


def test_a_list_whose_extensions_cannot_be_read_is_an_error(said):
    broken = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.28"), b"\x05\x00"), True)
    errors, _ = said(crl(1, broken))
    assert len(errors) == 1
    assert "holds a broken revocation list" in errors[0]
