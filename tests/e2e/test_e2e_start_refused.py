"""`gateway run` with files that nobody could rely on: it says which line and what, and doesn't listen (exit code 2).

CVE-2026-27586: a CA file that was missing meant the system's trust store, that is everybody.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
import yaml
from cryptography import x509
from support.gateway import INSIDE, settings_for
from support.pki import Ca, ec_key
from support.waiting import PATIENCE_SECONDS

from gateway import clock

pytestmark = pytest.mark.e2e

GOOD_CA = "good-ca.pem"
INDIRECT = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=False,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=True,
    only_contains_attribute_certs=False,
)
WHERE = r"config\.yaml:[0-9]+:[0-9]+: sites\[0\]\."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    now = clock.now()
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=30)}
    ca = Ca.make("CN=Good CA", **dates)
    times = {"last_update": now - timedelta(days=1), "next_update": now + timedelta(days=7)}
    whole, crl = ca.pem, ca.crl(**times)
    files = {
        GOOD_CA: whole,
        "empty": b"",
        "garbled-ca.pem": whole.replace(b"M", b"N", 20),
        "one-good-one-bad-ca.pem": whole + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "key.pem": ca.key_pem(),
        "user.pem": ca.issue("CN=alice", **dates).pem,
        "half.crl": crl[: len(crl) // 2],
        "forged.crl": ca.crl(key=ec_key(), **times),
        "indirect.crl": ca.crl(extensions=[(INDIRECT, True)], **times),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("ca", "crl", "words"),
    [
        ("missing.pem", None, WHERE + r"client_ca\[0\]: .*missing\.pem does not exist"),
        ("empty", None, WHERE + r"client_ca\[0\]: .*empty is empty"),
        ("garbled-ca.pem", None, WHERE + r"client_ca\[0\]: .*garbled-ca\.pem holds a broken certificate"),
        (
            "one-good-one-bad-ca.pem",
            None,
            WHERE + r"client_ca\[0\]: .*one-good-one-bad-ca\.pem holds a broken certificate",
        ),
        ("key.pem", None, WHERE + r"client_ca\[0\]: .*key\.pem holds a private key and no certificate"),
        ("user.pem", None, WHERE + r"client_ca\[0\]: .*CN=alice"),
        (GOOD_CA, "missing.crl", WHERE + r"crl\[0\]: .*missing\.crl does not exist"),
        (GOOD_CA, "empty", WHERE + r"crl\[0\]: .*empty is empty"),
        (GOOD_CA, "half.crl", WHERE + r"crl\[0\]: .*half\.crl: line 1: the X509 CRL block that begins here has no END"),
        (GOOD_CA, "forged.crl", WHERE + r"crl\[0\]: the list is not signed by the key of 'CN=Good CA'"),
        (GOOD_CA, "indirect.crl", r"indirect\.crl: the list covers certificates of other CAs too \(indirectCRL\)"),
    ],
)
def test_a_file_that_decides_who_gets_in_must_be_whole(folder, credentials, tmp_path, ca, crl, words):
    site = {**credentials.server, "client_ca": [str(folder / ca)]}
    if crl is not None:
        site["crl"] = [str(folder / crl)]
    settings = settings_for(site, "http://127.0.0.1:9")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    command = [sys.executable, "-m", "gateway", "run", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 2, done.stderr
    assert re.search(words, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    port = int(settings["listen"][0]["address"].rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex((INSIDE, port)) != 0
