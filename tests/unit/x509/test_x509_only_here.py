"""X.509 is read in one package. What is read elsewhere is listed here, with its reason."""

import re
from pathlib import Path

import pytest

import gateway

ROOT = Path(gateway.__file__).parent
READERS = re.compile(r"\bload_(?:pem|der)_(?:x509|private|ocsp|public)\w*|\bload_(?:cert_chain|verify_locations)\b")
ELSEWHERE = {
    # what strangers send to the desk and the responder, each behind the guard of `x509/unreadable.py`
    "pki/requests.py": {"load_pem_x509_csr", "load_der_x509_csr"},
    "pki/ocsp.py": {"load_der_ocsp_request"},
    # the desk's own keys: encrypted with a passphrase of a person, or just made by a process of its own
    "pki/pkcs8.py": {"load_pem_private_key"},
    "pki/key_pool.py": {"load_der_private_key"},
    # OpenSSL is handed what was read before, from memory
    "tls/client_context.py": {"load_cert_chain", "load_verify_locations"},
    # curl's part in the demonstration, with the files that it has just made
    "cli/demo_requests.py": {"load_cert_chain"},
}


def readers():
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("x509/") and (found := set(READERS.findall(path.read_text(encoding="utf-8")))):
            yield name, found


def test_no_other_package_reads_certificates_keys_lists_or_answers():
    assert dict(readers()) == ELSEWHERE


@pytest.mark.parametrize("line", ["x509.load_der_x509_crl(data)", "context.load_verify_locations(path)"])
def test_a_reader_is_found(line):
    assert READERS.search(line)
