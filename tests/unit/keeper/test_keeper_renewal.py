"""Lists and signers are renewed when they are due, and one authority's fault is no other's."""

from __future__ import annotations

import logging
from datetime import timedelta

from support.desk import DAY, PASSPHRASE, make_authority

from gateway.keeper.renewal import Renewal, signer_end
from gateway.keeper.troubles import Troubles
from gateway.pki import crl, ocsp_signer
from gateway.pki.authority import DEFAULT_CRL_LIFETIME
from gateway.pki.registry import authorities

SOON = DEFAULT_CRL_LIFETIME * 3 / 4


def _number(desk, name="corp"):
    with desk.registry.reading() as connection:
        return authorities.get(connection, name).crl_number


def test_a_list_is_renewed_when_it_is_due_and_not_before(desk, corp, make_plan, now, caplog):
    caplog.set_level(logging.INFO)
    troubles = Troubles()
    renewal = Renewal(make_plan(), troubles)
    renewal.run(desk, now)
    assert _number(desk) == 1
    renewal.run(desk, now + SOON - timedelta(seconds=1))
    assert _number(desk) == 1
    renewal.run(desk, now + SOON)
    assert _number(desk) == 2
    renewal.run(desk, now + SOON)
    assert _number(desk) == 2
    assert list(troubles) == []
    assert [record.getMessage() for record in caplog.records] == [
        "authority 'corp': made a new revocation list, valid until 2027-01-16 00:00 UTC"
    ]
    assert corp.name == "corp"


def test_a_signer_is_renewed_where_there_is_one(desk, corp, make_plan, now):
    renewal = Renewal(make_plan(), Troubles())
    renewal.run(desk, now)
    assert signer_end(desk, "corp") is None
    first = ocsp_signer.make_signer(desk, corp, now)
    renewal.run(desk, now + 19 * DAY)
    assert signer_end(desk, "corp") == first.certificate.not_valid_after_utc
    renewal.run(desk, now + 20 * DAY)
    assert signer_end(desk, "corp") == now + 50 * DAY


def test_a_damaged_signer_is_made_anew(desk, corp, make_plan, now):
    ocsp_signer.make_signer(desk, corp, now)
    desk.file("corp", "ocsp.key").write_bytes(b"damaged")
    assert signer_end(desk, "corp").year == 1970
    Renewal(make_plan(), Troubles()).run(desk, now)
    assert signer_end(desk, "corp") == now + 30 * DAY


def test_a_wrong_passphrase_is_found_at_once_and_stops_no_other(desk, corp, make_plan, passphrase_file, tmp_path, now):
    make_authority(desk, "other")
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("of somebody else\n")
    troubles = Troubles()
    plan = make_plan(passphrase_files={"corp": wrong, "nobody": wrong, "other": passphrase_file})
    renewal = Renewal(plan, troubles)
    renewal.run(desk, now)
    found = {trouble.what: trouble.cause for trouble in troubles}
    remedies = [trouble.remedy for trouble in troubles]
    assert f"Write the passphrase of 'corp' into {wrong}." in remedies
    assert set(found) == {"authority 'corp'", "authority 'nobody'"}
    assert "somebody else" not in str(found)
    assert "there is no authority 'nobody'" in found["authority 'nobody'"]
    renewal.run(desk, now + SOON)
    assert (_number(desk), _number(desk, "other")) == (1, 2)
    wrong.write_text(f"{PASSPHRASE}\n")
    renewal.run(desk, now + SOON + DAY)
    assert _number(desk) == 2
    assert [trouble.what for trouble in troubles] == ["authority 'nobody'"]
    assert corp.name == "corp"


def test_a_trouble_that_has_passed_by_itself_is_forgotten(desk, corp, make_plan, passphrase_file, now):
    troubles = Troubles()
    renewal = Renewal(make_plan(), troubles)
    renewal.run(desk, now)
    passphrase_file.unlink()
    renewal.run(desk, now + SOON)
    assert [trouble.what for trouble in troubles] == ["authority 'corp'"]
    crl.renew(desk, corp, now + SOON)  # at the desk
    renewal.run(desk, now + SOON)
    assert len(list(troubles)) == 1  # the passphrase is not proven any more
    passphrase_file.write_text(f"{PASSPHRASE}\n")
    renewal.run(desk, now + SOON + DAY)
    renewal.run(desk, now + SOON + DAY)
    assert list(troubles) == []
