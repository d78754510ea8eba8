"""What a rule asks of a certificate, tried on the wire, and `gateway explain` beside it: both must say the same."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID, ObjectIdentifier
from support.client import TLS_1_2
from support.credentials import Identity
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.pki import SERVER_AUTH, Ca, ca_extensions, upn
from support.wire import WIRES_BY_VERSION

from gateway import clock
from gateway.cli.app import run

pytestmark = pytest.mark.e2e

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)

SERVED = (200, None)
MISSING = (403, "certificate_missing")
NOT_ALLOWED = (403, "certificate_not_allowed")
UNTRUSTED = (403, "certificate_untrusted")
WRONG_USAGE = (403, "certificate_wrong_usage")
ALICE, MALLORY = "alice@example.com", "mallory@example.net"


class People:
    """Certificates of two CAs, by name; dates that hold now."""

    def __init__(self, folder):
        self.folder = folder
        now = clock.now()
        self.dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=30)}
        self.staff, self.guests = Ca.make("CN=Staff CA", **self.dates), Ca.make("CN=Guests CA", **self.dates)
        self.department = self.staff.issue_ca("CN=Department CA", **self.dates)
        self.identities = {}
        for name, ca in (("staff", self.staff), ("guests", self.guests), ("department", self.department)):
            ca.write(folder, f"{name}-ca")
        self._issue()
        self._issue_odd()

    def add(self, name, ca, subject, **options):
        self.identities[name] = Identity(*ca.issue(subject, **self.dates, **options).write(self.folder, name))

    def _issue(self):
        self.add("alice", self.staff, "CN=alice,OU=Mail,O=Example Ltd,C=DE", email=ALICE)
        self.add("guest", self.guests, "CN=alice,OU=Mail,O=Example Ltd,C=DE", email=ALICE)
        self.add("chained", self.department, "CN=alice,O=Example Ltd", email=ALICE)
        self.add("shouting", self.staff, "CN=alice,O=EXAMPLE  LTD", email="ALICE@EXAMPLE.COM")
        self.add("mallory", self.staff, "CN=mallory,O=Other Ltd", email=MALLORY)
        self.add("similar", self.staff, "CN=mallory,O=Example Ltd AG", email="alice@example.com.example.net")
        self.add("old_style", self.staff, f"1.2.840.113549.1.9.1={ALICE},CN=alice,O=Example Ltd")
        self.add("two_mails", self.staff, "CN=both", extensions=[_names(MALLORY, ALICE)])

    def _issue_odd(self):
        self.add("mail_in_dns", self.staff, "CN=alice,O=Example Ltd", dns=ALICE)
        self.add("mail_in_cn", self.staff, f"CN={ALICE}")
        self.add("mail_in_upn", self.staff, "CN=alice", upn_name=ALICE)
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"mailto:{ALICE}")])
        self.add("mail_in_uri", self.staff, "CN=alice", extensions=[(uri, False)])
        self.add("nul_in_cn", self.staff, _subject("alice\x00.example.net"))
        self.add("line_in_cn", self.staff, _subject("alice\r\nX-Client-Email: admin@example.com"))
        self.add("nul_in_upn", self.staff, "CN=alice", upn_name=f"{ALICE}\x00.net")
        two_ats = x509.RFC822Name._init_without_validation("mallory@example.net@example.com")
        self.add("two_ats", self.staff, "CN=alice", extensions=[(x509.SubjectAlternativeName([two_ats]), False)])
        unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
        self.add("unknown_critical", self.staff, "CN=alice,O=Example Ltd", email=ALICE, extensions=[(unknown, True)])
        self.add("unknown", self.staff, "CN=alice,O=Example Ltd", email=ALICE, extensions=[(unknown, False)])
        self.add("server", self.staff, "CN=alice,O=Example Ltd", email=ALICE, eku=SERVER_AUTH)
        self.add("ca_true", self.staff, "CN=alice,O=Example Ltd", email=ALICE, extensions=ca_extensions())
        no_sign = x509.KeyUsage(*(number == 1 for number in range(9)))
        self.add("no_sign", self.staff, "CN=alice,O=Example Ltd", email=ALICE, extensions=[(no_sign, True)])
        self.add("no_usage", self.staff, "CN=alice,O=Example Ltd", email=ALICE, eku=())

    def fingerprint(self, name):
        certificate = x509.load_pem_x509_certificate(self.identities[name].certificate.read_bytes())
        return certificate.fingerprint(hashes.SHA256()).hex()


def _names(*emails):
    return (x509.SubjectAlternativeName([*map(x509.RFC822Name, emails), upn("nobody@example.org")]), False)


def _subject(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def gateway(start, people, credentials, mail):
    def rule(name, **conditions):
        return {"name": name, "uri": [f"/{name}"], "action": "require_certificate", "certificate": conditions}

    cas = [str(people.folder / "staff-ca.crt"), str(people.folder / "guests-ca.crt")]
    rules = [
        {"name": "Nobody posts", "uri": ["/posted"], "methods": ["POST"], "action": "deny"},
        {"name": "Inside", "from": "internal", "action": "allow"},
        {"name": "trusted", "uri": ["/trusted"], "action": "require_certificate"},
        rule("ca", ca=[cas[0]]),
        rule("subject", subject={"O": "Example Ltd"}),
        rule("wild", subject={"O": "Example *", "CN": "a*"}),
        rule("email", email=["*@example.com"]),
        rule("fingerprint", fingerprint_sha256=[people.fingerprint("alice").upper()]),
        rule("all", ca=[cas[0]], subject={"O": "Example Ltd", "C": "DE"}, email=[ALICE]),
        # A certificate that is not let in by the rule above does not fall through to this one.
        {"name": "Second thoughts", "uri": ["/all", "/others"], "action": "allow"},
        {"name": "Everything else", "action": "deny"},
    ]
    site = {**credentials.server, "client_ca": cas}
    return start(settings_for(site, mail.url, rules=rules))


CASES = [
    ("trusted", "alice", SERVED),
    ("trusted", None, MISSING),
    ("trusted", "guest", SERVED),
    ("trusted", "chained", SERVED),
    ("trusted", "unknown", SERVED),
    ("trusted", "no_usage", SERVED),
    ("trusted", "unknown_critical", UNTRUSTED),
    ("trusted", "nul_in_cn", UNTRUSTED),
    ("trusted", "line_in_cn", UNTRUSTED),
    ("trusted", "nul_in_upn", UNTRUSTED),
    ("trusted", "server", WRONG_USAGE),
    ("trusted", "ca_true", WRONG_USAGE),
    ("trusted", "no_sign", WRONG_USAGE),
    ("ca", "alice", SERVED),
    ("ca", "chained", SERVED),
    ("ca", "guest", NOT_ALLOWED),
    ("subject", "alice", SERVED),
    ("subject", "shouting", SERVED),
    ("subject", "similar", NOT_ALLOWED),
    ("subject", "mallory", NOT_ALLOWED),
    ("wild", "alice", SERVED),
    ("wild", "similar", NOT_ALLOWED),
    ("email", "alice", SERVED),
    ("email", "shouting", SERVED),
    ("email", "old_style", SERVED),
    ("email", "two_mails", SERVED),
    ("email", "mallory", NOT_ALLOWED),
    ("email", "similar", NOT_ALLOWED),
    ("email", "mail_in_dns", NOT_ALLOWED),
    ("email", "mail_in_cn", NOT_ALLOWED),
    ("email", "mail_in_upn", NOT_ALLOWED),
    ("email", "mail_in_uri", NOT_ALLOWED),
    ("email", "two_ats", NOT_ALLOWED),
    ("fingerprint", "alice", SERVED),
    ("fingerprint", "chained", NOT_ALLOWED),
    ("all", "alice", SERVED),
    ("all", "chained", NOT_ALLOWED),
    ("all", "guest", NOT_ALLOWED),
    ("all", None, MISSING),
    ("elsewhere", "alice", (403, "denied_by_rule")),
]


def visit(gateway, mail, wire, method, path, source, identity):  # noqa: PLR0917
    """(verdict, the access record; None over TLS 1.2, since the log is written a tenth of a second later)."""
    answer = wire.ask(gateway.port, path, method=method, source=source, identity=identity)
    if wire.version == TLS_1_2:
        return answer.verdict, None
    request_id = answer.get("X-Request-Id") if answer.reason else mail.received[-1].request_id
    record = gateway.log.of(request_id)
    assert record["protocol"] == wire.protocol
    return answer.verdict, record


def explained(gateway, capsys, *arguments):
    """What `gateway explain` says of the same request."""
    assert run(["explain", "--json", "-c", str(gateway.config), *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@by_version
@pytest.mark.parametrize(("rule", "name", "verdict"), CASES)
def test_every_condition_holds_and_explain_agrees(gateway, mail, people, capsys, rule, name, verdict, wire):  # noqa: PLR0917
    identity = name and people.identities[name]
    got, record = visit(gateway, mail, wire, "GET", f"/{rule}", OUTSIDE, identity)
    assert got == verdict
    if record is None:
        return
    shown = () if identity is None else ("--cert", str(identity.certificate))
    check(explained(gateway, capsys, "--ip", OUTSIDE, *shown, f"https://{HOST}/{rule}"), record, verdict)


def check(told, record, verdict):
    outcome, (status, reason) = told["outcome"], verdict
    assert outcome["passes"] == (status == 200)
    assert (outcome["status"], outcome["reason"]) == ((None, None) if status == 200 else (status, reason))
    assert (outcome["rule"], outcome["decision"]) == (record["rule"], record["decision"])
    assert told["client"]["address"] == record["client_ip"]
    assert told["site"] == record["site"]
    if told["certificate"]["shown"]:
        assert told["certificate"]["subject"] == record["cert_subject"]
        assert told["certificate"]["fingerprint"] == record["cert_fingerprint"]


REQUESTS = [
    ("GET", "/trusted", INSIDE),
    ("GET", "/elsewhere", INSIDE),
    ("POST", "/posted", INSIDE),
    ("POST", "/posted", OUTSIDE),
    ("GET", "/posted", OUTSIDE),
    ("GET", "/TRUSTED/x?y=z", OUTSIDE),
    ("GET", "/x/../trusted", OUTSIDE),
    ("GET", "/trustedx", OUTSIDE),
    ("GET", "/%74rusted", OUTSIDE),
    ("GET", "/trusted%2fx", OUTSIDE),
    ("GET", "/../trusted", OUTSIDE),
    ("GET", "/trusted%00", OUTSIDE),
    ("OPTIONS", "/trusted", OUTSIDE),
]


@pytest.mark.parametrize("name", [None, "alice"])
@pytest.mark.parametrize(("method", "path", "source"), REQUESTS)
def test_explain_agrees_about_paths_methods_and_addresses(  # noqa: PLR0917
    gateway, mail, people, capsys, method, path, source, name, wire
):
    identity = name and people.identities[name]
    got, record = visit(gateway, mail, wire, method, path, source, identity)
    shown = () if identity is None else ("--cert", str(identity.certificate))
    told = explained(gateway, capsys, "--ip", source, "-X", method, *shown, f"https://{HOST}{path}")
    check(told, record, got)
    assert told["certificate"]["asked"] == (source == OUTSIDE)
    assert record["status"] == got[0]
    if got == SERVED:
        assert mail.only().target.partition(b"?")[0] == told["path"].encode()
