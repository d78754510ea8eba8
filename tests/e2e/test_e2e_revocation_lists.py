"""Every state that a revocation list can be in, each on a site of its own: what covers nobody fails closed.

Where lists are required, a certificate without a word about it is `revocation_unknown`; `if_present` lets it in.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
from support.client import TLS_1_3, VERSIONS, Client, ask, context_for
from support.gateway import OUTSIDE, settings_for
from support.openssl_ca import POINT, OpensslCa, put
from support.pki import openssl
from support.waiting import AT_ONCE_SECONDS, lasting_seconds, until

from gateway import clock

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])

SERVED = (200, None)
REVOKED = (403, "certificate_revoked")
UNKNOWN = (403, "revocation_unknown")
RULES = [{"name": "Members", "action": "require_certificate"}]
# A list that lives so long is read at least once, and does not hold up the tests.
BRIEF_SECONDS = 6

# site → (its lists, its policy)
SITES = {
    "current": (["root.crl"], "require"),
    "der": (["root.der"], "require"),
    "outdated": (["outdated.crl"], "require"),
    "outdated-lenient": (["outdated.crl"], "if_present"),
    "future": (["future.crl"], "require"),
    "future-beside": (["future.crl", "root.crl"], "require"),
    "users": (["users.crl"], "require"),
    "users-lenient": (["users.crl"], "if_present"),
    "cas": (["cas.crl", "issuing.crl"], "require"),
    "scopes": (["users.crl", "cas.crl", "issuing.crl"], "require"),
    "point": (["point.crl"], "require"),
    "none-lenient": (["other.crl"], "if_present"),
    "none": (["other.crl"], "require"),
    "two": (["second.crl", "first.crl"], "require"),
    "two-in-one-file": (["both.crl"], "require"),
    "root-only": (["root.crl"], "require"),
    "root-only-lenient": (["root.crl"], "if_present"),
    "whole-chain": (["root.crl", "issuing.crl"], "require"),
    "forged": (["root.crl", "forged.crl"], "require"),
    "delta": (["base.crl", "delta.crl"], "require"),
    "delta-lenient": (["delta.crl", "base.crl"], "if_present"),
    "delta-alone": (["delta.crl"], "require"),
    "delta-ahead": (["base.crl", "ahead.crl"], "require"),
    "brief": (["brief.crl"], "require"),
    "soon": (["root.crl", "soon.crl"], "require"),
}
EXPECTED = [
    ("current", "good", SERVED),
    ("current", "revoked", REVOKED),
    ("current", "held", REVOKED),
    ("der", "good", SERVED),
    ("der", "revoked", REVOKED),
    ("outdated", "good", UNKNOWN),
    ("outdated", "revoked", REVOKED),
    ("outdated-lenient", "good", SERVED),
    ("outdated-lenient", "revoked", REVOKED),
    ("future", "good", UNKNOWN),
    ("future-beside", "good", SERVED),
    ("future-beside", "revoked", REVOKED),
    # A list of users' certificates says nothing of a CA's, and the other way round.
    ("users", "good", SERVED),
    ("users", "revoked", REVOKED),
    ("users", "at_point", SERVED),
    ("users", "chained", UNKNOWN),
    ("users-lenient", "chained", SERVED),
    ("cas", "good", UNKNOWN),
    ("cas", "chained", SERVED),
    ("scopes", "good", SERVED),
    ("scopes", "revoked", REVOKED),
    ("scopes", "chained", SERVED),
    ("scopes", "under_revoked_ca", REVOKED),
    # A list of a distribution point covers what names that point.
    ("point", "at_point", SERVED),
    ("point", "at_point_revoked", REVOKED),
    ("point", "at_other_point", UNKNOWN),
    ("point", "good", UNKNOWN),
    # A delta list counts with the complete list that it changes. Without it what it names is refused.
    ("delta", "good", SERVED),
    ("delta", "in_delta", REVOKED),
    ("delta", "released", SERVED),
    ("delta", "chained", UNKNOWN),
    ("delta-lenient", "in_delta", REVOKED),
    ("delta-lenient", "released", SERVED),
    ("delta-alone", "good", UNKNOWN),
    ("delta-alone", "in_delta", REVOKED),
    ("delta-ahead", "good", SERVED),
    ("delta-ahead", "in_delta", REVOKED),
    ("delta-ahead", "released", REVOKED),
    ("none", "good", UNKNOWN),
    ("none-lenient", "good", SERVED),
    # The second list, by number, names nobody's certificate but one; the first, which began later, names others.
    ("two", "good", SERVED),
    ("two", "named_by_second", REVOKED),
    ("two-in-one-file", "named_by_second", REVOKED),
    ("root-only", "good", SERVED),
    ("root-only", "chained", UNKNOWN),
    ("root-only-lenient", "chained", SERVED),
    ("whole-chain", "good", SERVED),
    ("whole-chain", "chained", SERVED),
    ("whole-chain", "chained_revoked", REVOKED),
    ("whole-chain", "under_revoked_ca", REVOKED),
    ("forged", "good", SERVED),
    ("forged", "chained", UNKNOWN),
]


def host_of(site):
    return f"{site}.example.com"


class World:
    """Two roots' worth of lists in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.root = OpensslCa.make(folder, "Root")
        self.issuing = OpensslCa.make(folder, "Issuing", self.root)
        self.revoked_ca = OpensslCa.make(folder, "Revoked issuing", self.root)
        names = ("soon_revoked", "good", "revoked", "held", "named_by_second", "in_delta", "released")
        self.people = {name: self.root.issue(name) for name in names}
        for name, url in (("at_point", POINT), ("at_point_revoked", POINT), ("at_other_point", f"{POINT}2")):
            self.people[name] = self.root.issue(name, extensions=f"crlDistributionPoints = URI:{url}\n")
        self.people["chained"] = self.issuing.issue("chained")
        self.people["chained_revoked"] = self.issuing.issue("chained_revoked")
        self.people["under_revoked_ca"] = self.revoked_ca.issue("under_revoked_ca")
        self.root.revoke(self.revoked_ca.identity())
        self.issuing.revoke(self.people["chained_revoked"])
        self._make_lists()

    def _make_lists(self):
        now = clock.now()
        # What was revoked when the list with the lower number was made, which is dated later.
        self.publish("first.crl", self.root, timedelta(minutes=-1), timedelta(days=1), now)
        self.root.revoke(self.people["revoked"])
        self.root.revoke(self.people["held"], "certificateHold")
        self.root.revoke(self.people["at_point_revoked"])
        self.root.publish(self.folder / "root.crl")
        self.root.publish(self.folder / "users.crl", "-crlexts", "only_users")
        self.root.publish(self.folder / "cas.crl", "-crlexts", "only_cas")
        self.root.publish(self.folder / "point.crl", "-crlexts", "of_point")
        openssl("crl", "-in", "root.crl", "-outform", "DER", "-out", "root.der", cwd=self.folder)
        self.publish("outdated.crl", self.root, timedelta(days=-9), timedelta(days=-2), now)
        self.publish("future.crl", self.root, timedelta(days=2), timedelta(days=9), now)
        self.root.revoke(self.people["named_by_second"])
        self.publish("second.crl", self.root, timedelta(hours=-1), timedelta(days=1), now)
        both = [self.folder / name for name in ("second.crl", "first.crl")]
        put(self.folder / "both.crl", b"a comment\n" + b"".join(path.read_bytes() for path in both))
        self._make_deltas()
        self.issuing.publish(self.folder / "issuing.crl")
        self.root.publish(self.folder / "brief.crl")
        self.root.publish(self.folder / "soon.crl")
        stranger = self.folder / "stranger"
        stranger.mkdir()
        OpensslCa.make(stranger, "Issuing").publish(self.folder / "forged.crl")
        OpensslCa.make(stranger, "Other").publish(self.folder / "other.crl")

    def _make_deltas(self):
        self.root.revoke(self.people["released"], "certificateHold")
        self.root.publish(self.folder / "base.crl")
        base = self.root.list_number
        self.root.revoke(self.people["in_delta"])
        self.root.release(self.people["released"])
        put(self.folder / "delta.crl", self.root.delta(base))
        put(self.folder / "ahead.crl", self.root.delta(base + 1))

    def publish(self, name, ca, start, end, now):
        dates = [(now + offset).strftime("%Y%m%d%H%M%SZ") for offset in (start, end)]
        ca.publish(self.folder / name, "-crl_lastupdate", dates[0], "-crl_nextupdate", dates[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def gateway(start, world, credentials, mail):
    sites = [
        {
            **credentials.server,
            "hosts": [host_of(site)],
            "client_ca": [str(world.root.certificate)],
            "crl": [str(world.folder / name) for name in lists],
            "crl_policy": policy,
            "upstream": "mail",
        }
        for site, (lists, policy) in SITES.items()
    ]
    started = start({**settings_for({}, mail.url, rules=RULES), "sites": sites})
    refusing = ("outdated", "future", "none", "delta-alone", "brief")  # nobody gets in there
    started.expected_errors += [rf"gateway\.warnings: {re.escape(host_of(site))}: " for site in refusing]
    return started


@both_versions
@pytest.mark.parametrize(("site", "name", "verdict"), EXPECTED)
def test_what_a_list_says_and_does_not_say(gateway, world, site, name, verdict, version):
    context = context_for(None, world.people[name], version)
    answer = ask(gateway.port, "/webmail", source=OUTSIDE, server_name=host_of(site), context=context)
    assert answer.verdict == verdict
    if answer.reason and version == TLS_1_3:  # the log is written a tenth of a second later
        assert gateway.log.of(answer.get("X-Request-Id"))["cert_subject"].startswith(f"CN={name}")


def test_every_site_is_tried():
    assert {site for site, _, _ in EXPECTED} | {"brief", "soon"} == set(SITES)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("outdated", r"outdated\.crl: the revocation list expired 2[0-9-]+ [0-9:]+ UTC"),
        ("none", r"no revocation list of 'CN=Root': all its certificates are refused"),
        (
            "delta-ahead",
            r"ahead\.crl: the delta list changes a complete list with number \d+ or above, which is missing",
        ),
    ],
)
def test_the_log_says_which_list_is_missing_or_outdated(gateway, site, words):
    until(lambda: re.search(words, gateway.errors), f"a warning for {site}: {words}")


def served_clients(gateway, **options):
    """One for each version of TLS."""
    clients = [Client(gateway.port, version=version, **options) for version in VERSIONS]
    for client in clients:
        assert client.ask("GET", "/webmail").verdict == SERVED
    return clients


def brief_seconds(gateway, **options):
    """So long lasts what has to end while such clients are open, but not before they have been served."""
    began = time.monotonic()
    for client in served_clients(gateway, **options):
        client.close()
    return lasting_seconds(BRIEF_SECONDS, time.monotonic() - began)


def until_refused(clients):
    """Ask on open connections without a pause; what each hears when it is no longer served."""
    return [
        until(lambda client=client: (v := client.ask("GET", "/webmail").verdict) != SERVED and v, "refused")
        for client in clients
    ]


def test_a_list_that_runs_out_stops_open_connections_until_there_is_a_new_one(gateway, world):
    path = world.folder / "brief.crl"
    options = {"source": OUTSIDE, "server_name": host_of("brief"), "identity": world.people["good"]}
    seconds = brief_seconds(gateway, **options)
    world.root.publish(path, "-crlsec", str(seconds))
    began = time.monotonic()
    clients = served_clients(gateway, **options)
    assert until_refused(clients) == [UNKNOWN, UNKNOWN]
    assert seconds - 2 < time.monotonic() - began < seconds + AT_ONCE_SECONDS
    for client in clients:
        assert client.is_at_end()
        client.close()
    world.root.publish(path)
    until(
        lambda: ask(gateway.port, "/webmail", **options).verdict == SERVED, "the list is there", seconds=AT_ONCE_SECONDS
    )


def test_a_list_that_begins_later_counts_on_open_connections_once_it_has_begun(gateway, world):
    options = {"source": OUTSIDE, "server_name": host_of("soon"), "identity": world.people["soon_revoked"]}
    world.root.revoke(world.people["soon_revoked"])
    seconds = brief_seconds(gateway, **options)
    began = time.monotonic()
    world.publish("soon.crl", world.root, timedelta(seconds=seconds), timedelta(days=1), clock.now())
    clients = served_clients(gateway, **options)
    assert until_refused(clients) == [REVOKED, REVOKED]
    assert seconds - 2 < time.monotonic() - began < seconds + AT_ONCE_SECONDS
    for client in clients:
        client.close()


def test_a_certificate_that_expires_stops_its_open_connections(gateway, world):
    options = {"source": OUTSIDE, "server_name": host_of("current")}
    seconds = brief_seconds(gateway, **options, identity=world.people["good"])
    clients = served_clients(gateway, **options, identity=world.root.issue("ending", seconds=seconds))
    assert until_refused(clients) == [(403, "certificate_expired")] * 2
    for client in clients:
        client.close()
