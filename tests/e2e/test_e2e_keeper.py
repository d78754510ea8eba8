"""The gateway keeps the registry by itself: lists are renewed before they end, holders are told before theirs does."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support import postgres
from support.client import Client
from support.credentials import Identity
from support.desk import PASSPHRASE, issue_to, make_authority, open_desk
from support.gateway import HOST, INSIDE, free_port, settings_for
from support.pki import SERVER_AUTH, Ca, ec_key
from support.post import PASSWORD, USER, PostOffice
from support.waiting import until
from support.watched import Watched

from gateway.keeper import alert_state
from gateway.keeper.alert_state import Person, State
from gateway.pki import crl, lifecycle, pkcs8
from gateway.pki.desk import Desk
from gateway.pki.registry import authorities, certificates
from gateway.pki.registry.records import RevocationReason
from gateway.x509.serials import serial_text

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
LIFETIME = HOUR  # the shortest that an authority may have
SOON_SECONDS = 45.0  # for what the keeper does right after its start, however busy the machine


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", PASSWORD)
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)


class Site:
    """A folder with a registry, an authority whose list is of another time, and a user."""

    def __init__(self, folder: Path, credentials, url: str | None = None, list_age: timedelta = timedelta(0)) -> None:
        self.folder = folder
        self.credentials = credentials
        self.passphrase = folder / "corp.passphrase"
        self.passphrase.write_text(f"{PASSPHRASE}\n")
        self.passphrase.chmod(0o600)
        self.now = datetime.now(UTC)
        self.url = url or f"sqlite:///{folder}/pki/registry.db"
        self.desk = open_desk(folder, url)
        self.authority = self.make("corp", list_age)

    def make(self, name: str, list_age: timedelta):
        """An authority of long ago, whose newest list is the second."""
        made = make_authority(self.desk, name, now=self.now - 100 * DAY, crl_lifetime=LIFETIME)
        crl.renew(self.desk, made, self.now - list_age)
        return made

    def user(self, name: str, days: int = 300) -> Identity:
        key = ec_key()
        issued = issue_to(self.desk, self.authority, f"{name}@example.com", name, key=key, days=days, now=self.now)
        return self.identity(name, issued.certificate, key)

    def identity(self, name: str, certificate, key) -> Identity:
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(pkcs8.plain_pem(key))
        return Identity(*files)

    def settings(self, mail_url: str, *, pki=None, home: Path | None = None, **more):
        """`home`: the folder with the authorities' files on another machine."""
        files = (home or self.folder) / "pki"
        kept = {"store": self.url, "folder": str(files)}
        kept |= {"authorities": {"corp": {"passphrase_file": str(self.passphrase)}}, **(pki or {})}
        trusted = f"{files}/{self.authority.name}/{self.authority.name}"
        trust = {"client_ca": [f"{trusted}.crt"], "crl": [f"{trusted}.crl"]}
        admin = {"address": f"{INSIDE}:{free_port()}"}
        return settings_for({**self.credentials.server, **trust}, mail_url, admin=admin, pki=kept, **more)


@pytest.fixture
def site(tmp_path, credentials):
    made = []

    def make(folder: Path = tmp_path, **options) -> Site:
        made.append(Site(folder, credentials, **options))
        return made[-1]

    yield make
    for each in made:
        each.desk.registry.close()


@pytest.fixture
def launch(mail, tmp_path_factory):
    launched = []

    def start(site: Site, **more) -> Watched:
        folder = tmp_path_factory.mktemp("gateway")
        launched.append(Watched.start(folder, site.settings(mail.url, **more)))
        return launched[-1]

    yield start
    codes = [gateway.stop() for gateway in launched]
    assert not any(codes)
    for gateway in launched:
        gateway.check_errors()


@pytest.fixture(scope="module")
def post_ca(tmp_path_factory):
    """Certificate and key of a mail server, and its CA."""
    folder, now = tmp_path_factory.mktemp("post"), datetime.now(UTC)
    dates = {"not_before": now - DAY, "not_after": now + DAY}
    ca = Ca.make("CN=Post CA", **dates)
    name = x509.SubjectAlternativeName([x509.IPAddress(ip_address(INSIDE))])
    ca.write(folder, "ca")
    certificate, key = ca.issue("CN=post", eku=SERVER_AUTH, extensions=[(name, False)], **dates).write(folder, "post")
    return certificate, key, folder / "ca.crt"


@pytest.fixture
def post(post_ca):
    office = PostOffice(*post_ca[:2]).start()
    yield office
    office.stop()


def mail_settings(post: PostOffice, ca: Path, **more):
    return {
        "server": f"{INSIDE}:{post.port}",
        "ca": str(ca),
        "username": USER,
        "password": "${SMTP_PASSWORD}",
        "from": "gateway@example.com",
        "admin": ["admin@example.com"],
        **more,
    }


def verdict(gateway: Watched, identity: Identity, outside: str):
    with Client(gateway.port, source=outside, identity=identity) as client:
        return client.ask("GET", "/webmail").verdict


def list_of(desk: Desk):
    found = x509.load_pem_x509_crl(desk.file("corp", "crl").read_bytes())
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number, found.next_update_utc


def looked(gateway: Watched):
    return until(lambda: gateway.state()["registry"]["looked"], "the registry was looked at", seconds=SOON_SECONDS)


def keeper_of(gateway: Watched) -> int:
    (pid,) = until(lambda: gateway.helpers("gateway-keeper"), "the keeper runs", seconds=SOON_SECONDS)
    return pid


OUTDATED = r"gateway\.warnings: mail\.example\.com: .*/corp\.crl: the revocation list expired "


def test_an_outdated_list_locks_nobody_out_where_the_gateway_renews_it(site, launch, outside):
    corp = site(list_age=2 * HOUR)
    alice = corp.user("alice")
    assert list_of(corp.desk) == (2, pytest.approx(corp.now - HOUR, abs=MINUTE))
    unkept = launch(corp, pki={"authorities": {}})
    unkept.expected_errors.append(OUTDATED)
    assert verdict(unkept, alice, outside) == (403, "revocation_unknown")
    assert unkept.state()["registry"] is not None
    told = unkept.ask_status()
    problem = f"; run `gateway ca -c {unkept.config} crl corp`, and write `corp: {{passphrase_file: FILE}}` under "
    assert (told.returncode, problem in told.stdout.partition("\nproblems\n")[2]) == (1, True)
    unkept.says(problem)
    assert unkept.get("/healthz")[0] == 200
    assert problem in unkept.get("/healthz")[1]
    assert "problem: " in unkept.ask_status("--health").stdout
    assert unkept.metric("gateway_outages") == 1
    kept = launch(corp)
    kept.expected_errors.append(OUTDATED)
    until(lambda: verdict(kept, alice, outside) == (200, None), "alice gets in", seconds=SOON_SECONDS)
    assert list_of(corp.desk) == (3, pytest.approx(corp.now + HOUR, abs=MINUTE))
    until(
        lambda: verdict(unkept, alice, outside) == (200, None),
        "and through the gateway beside it",
        seconds=SOON_SECONDS,
    )
    kept.says("authority 'corp': made a new revocation list")
    until(lambda: unkept.ask_status().returncode == 0, "its status says so too", seconds=SOON_SECONDS)
    unkept.says("no longer a problem: ")


def test_a_list_in_its_last_quarter_is_renewed_and_taken_up_before_it_ends(site, launch, outside):
    corp = site(list_age=46 * MINUTE)  # the gateway itself warns from the 47th on
    alice = corp.user("alice")
    gateway = launch(corp)

    def served():
        (entry,) = gateway.state()["sites"][0]["crls"]
        return entry["seconds_left"]

    until(lambda: served() > 55 * 60, "the gateway serves by the new list", seconds=SOON_SECONDS)
    assert verdict(gateway, alice, outside) == (200, None)
    looked(gateway)
    (authority,) = gateway.state()["registry"]["authorities"]
    assert (authority["name"], authority["list_number"], authority["is_kept"]) == ("corp", 3, True)
    assert authority["certificates"] == {"live": 1}
    assert not [line for line in gateway.state()["warnings"] if "list" in line]
    assert "revocation list ends" not in gateway.errors  # nobody was alarmed by what was renewed in time
    assert gateway.metric("gateway_pki_certificates", authority="corp", state="live") == 1
    assert gateway.metric("gateway_pki_list_next_update_timestamp_seconds", authority="corp") > corp.now.timestamp()
    done = gateway.ask_status()
    assert (done.returncode, done.stderr) == (0, "")
    assert "renewed by the gateway" in done.stdout


def test_a_wrong_passphrase_is_found_at_the_start_and_mended_by_a_reload(site, launch):
    corp = site()
    corp.passphrase.write_text("not this one\n")
    gateway = launch(corp)
    gateway.expected_errors.append("authority 'corp': .*passphrase")
    until(lambda: gateway.state()["registry"]["troubles"], "the trouble is told", seconds=SOON_SECONDS)
    assert gateway.metric("gateway_pki_troubles") == 1
    done = gateway.ask_status()
    assert done.returncode == 1
    assert "authority 'corp': " in done.stdout
    assert "not this one" not in done.stdout + gateway.errors
    corp.passphrase.write_text(f"{PASSPHRASE}\n")
    gateway.signal(signal.SIGHUP)
    until(lambda: not gateway.state()["registry"]["troubles"], "all is well", seconds=SOON_SECONDS)
    assert gateway.ask_status().returncode == 0
    gateway.says("authority 'corp': works again")


def test_a_revoked_authority_that_the_site_still_trusts_is_a_problem(site, launch, outside):
    """Nothing refuses it: a CA in client_ca is trusted whatever the list of the one above it says."""
    corp = site()
    root = corp.make("root", timedelta(0))
    corp.authority = make_authority(corp.desk, "below", parent=root, now=corp.now - DAY)
    alice = corp.user("alice")
    gateway = launch(corp)
    looked(gateway)
    assert gateway.ask_status().returncode == 0
    serial = serial_text(corp.authority.certificate.serial_number)
    lifecycle.revoke(corp.desk, root, [], RevocationReason.KEY_COMPROMISE, corp.now, [serial])
    gateway.expected_errors.append("the authority 'below' was revoked")
    until(lambda: gateway.state()["registry"]["problems"], "the keeper notices", seconds=90)
    assert verdict(gateway, alice, outside) == (200, None)
    done = gateway.ask_status()
    assert "the authority 'below' was revoked" in done.stdout.partition("\nproblems\n")[2]
    assert (done.returncode, gateway.metric("gateway_pki_problems")) == (1, 1)


def test_a_list_that_nobody_renews_is_warned_of_unless_the_site_warns_already(site, launch):
    corp = site(list_age=50 * MINUTE)
    corp.make("other", 50 * MINUTE)
    gateway = launch(corp, pki={"authorities": {}, "warn": {"before": ["30d"]}})
    looked(gateway)

    def warnings():
        return [line for line in gateway.state()["warnings"] if "revocation list" in line]

    until(lambda: len(warnings()) == 2, "each list is warned of", seconds=SOON_SECONDS)
    assert sum(f"'gateway ca -c {gateway.config} crl other'" in line for line in warnings()) == 1
    assert sum(str(corp.desk.file("corp", "crl")) in line for line in warnings()) == 1
    assert gateway.ask_status().returncode == 0
    until(lambda: f"'gateway ca -c {gateway.config} crl other'" in gateway.errors, "the log says so", seconds=90)


def test_the_keeper_has_no_socket_that_listens_and_shows_no_secret(site, launch, post, post_ca):
    corp = site()
    corp.user("alice", days=300)
    gateway = launch(corp, pki={"mail": mail_settings(post, post_ca[2])})
    pid = keeper_of(gateway)
    looked(gateway)
    shown = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm", "status"))
    shown += gateway.errors.encode() + gateway.get("/status")[1].encode()
    assert PASSWORD.encode() not in shown
    assert PASSPHRASE.encode() not in shown
    assert b"PATH=" in shown
    links = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists()]
    sockets = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")}
    listening = {
        line.split()[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    assert listening
    assert not sockets & listening
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


def test_holder_and_administrator_are_told_once_whatever_dies(site, launch, post, post_ca):
    corp = site()
    corp.user("alice", days=31)  # the only one with more than a threshold of life, and less than that left
    corp.user("bob", days=300)
    later = corp.now - 3 * DAY
    key = ec_key()
    issue_to(corp.desk, corp.authority, "carol@example.com", "Carol", key=key, days=40, now=later - 35 * DAY)
    pki = {"mail": mail_settings(post, post_ca[2])}
    more = {"pages": {"contact": "helpdesk@example.com"}}
    gateway = launch(corp, pki=pki, **more)
    until(lambda: len(post.mails) == 2, "both mails", seconds=SOON_SECONDS)
    (mail,), (summary,) = post.to("carol@example.com"), post.to("admin@example.com")
    assert post.logins == [USER]
    assert {(taken.sender, taken.was_encrypted) for taken in post.taken} == {("gateway@example.com", True)}
    assert mail["To"] == "carol@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"].startswith("Your certificate for your mail ends on ")
    text = mail.get_content()
    assert "helpdesk@example.com" in text
    assert "carol@example.com" in summary.get_content()
    assert "alice@example.com" not in summary.get_content()
    until(lambda: gateway.metric("gateway_pki_mails_total", result="sent") == 2, "they are counted")
    pid = keeper_of(gateway)
    gateway.expected_errors.append(rf"the keeper {pid} ended \(signal SIGKILL\)")
    before = looked(gateway)
    os.kill(pid, signal.SIGKILL)
    until(lambda: gateway.helpers("gateway-keeper") not in ([], [pid]), "another keeper", seconds=SOON_SECONDS)
    until(lambda: looked(gateway) != before, "it has looked", seconds=SOON_SECONDS)
    assert gateway.stop() == 0
    again = launch(corp, pki=pki, **more)
    looked(again)
    corp.user("dora", days=300)
    issue_to(corp.desk, corp.authority, "erik@example.com", "Erik", key=key, days=40, now=later - 35 * DAY)
    again.signal(signal.SIGHUP)  # a round at once
    until(lambda: post.to("erik@example.com"), "the next mail", seconds=SOON_SECONDS)
    assert len(post.mails) == 3


def test_a_mail_server_that_cannot_be_trusted_hears_no_password(site, launch, post, post_ca, credentials):
    corp = site()
    issue_to(corp.desk, corp.authority, "carol@example.com", "Carol", days=40, now=corp.now - 38 * DAY)
    gateway = launch(corp, pki={"mail": mail_settings(post, credentials.server_ca)})
    gateway.expected_errors += [
        "e-mail: the mail server .* has a certificate that is not trusted",
        "e-mail: .*refuses the login: 535",
    ]
    until(lambda: gateway.state()["registry"]["troubles"], "the trouble is told", seconds=SOON_SECONDS)
    assert (post.logins, post.mails) == ([], [])
    assert "e-mail: the mail server" in gateway.ask_status().stdout
    pki = gateway.settings["pki"]
    gateway.rewrite(pki={**pki, "mail": mail_settings(post, post_ca[2], password="of another")})
    until(lambda: "refuses the login" in gateway.errors, "the login is refused", seconds=SOON_SECONDS)
    assert post.mails == []
    assert "of another" not in gateway.errors + gateway.ask_status().stdout  # the server's answer repeats it
    gateway.rewrite(pki={**pki, "mail": mail_settings(post, post_ca[2])})
    until(lambda: post.to("carol@example.com"), "the mail", seconds=SOON_SECONDS)
    until(lambda: not gateway.state()["registry"]["troubles"], "all is well", seconds=SOON_SECONDS)


def is_heard_again(notifications: dict[str, Any], since: str) -> bool:
    """They were lost after this time, and arrive."""
    return (notifications["is_up"], notifications["cause"]) == (True, None) and notifications["since"] > since


def test_two_gateways_on_one_registry_renew_once_and_send_once(site, launch, post, post_ca, tmp_path, outside):
    with postgres.cluster() as template:
        plain = template.format(database="postgres").replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE DATABASE registry")
        first, second = tmp_path / "one", tmp_path / "two"
        for folder in (first, second):
            folder.mkdir()
        corp = site(first, url=template.format(database="registry"), list_age=2 * HOUR)
        for name in ("carol", "dave", "erik"):
            issue_to(corp.desk, corp.authority, f"{name}@example.com", name, days=40, now=corp.now - 38 * DAY)
        alice = corp.user("alice")
        for suffix in ("crt", "key", "crl"):
            target = second / "pki" / "corp" / f"corp.{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(corp.desk.file("corp", suffix).read_bytes())
        pki = {"mail": mail_settings(post, post_ca[2])}
        nodes = [launch(corp, home=folder, pki=pki) for folder in (first, second)]
        for node in nodes:
            node.expected_errors.append(OUTDATED)
            until(lambda node=node: verdict(node, alice, outside) == (200, None), "alice gets in", seconds=SOON_SECONDS)
            looked(node)
        until(lambda: len(post.mails) >= 4, "all mails", seconds=SOON_SECONDS)
        with corp.desk.registry.reading() as connection:
            assert authorities.get(connection, "corp").crl_number == 3
        for node in nodes:
            until(lambda node=node: node.metric("gateway_pki_notifications_up") == 1, "both are told at once")
            node.expected_errors.append("no notifications of other machines' revocations: .*closed the connection")
        heard_since = [node.state()["registry"]["notifications"]["since"] for node in nodes]
        with psycopg.connect(plain.replace("/postgres?", "/registry?"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        for node, since in zip(nodes, heard_since, strict=True):
            until(
                lambda node=node, since=since: is_heard_again(node.state()["registry"]["notifications"], since),
                "what was lost is there again",
                seconds=SOON_SECONDS,
            )
            node.says("revocations arrive again")
        record = issue_to(corp.desk, corp.authority, "frank@example.com", "frank", now=corp.now).record
        lifecycle.revoke(corp.desk, corp.authority, [record], RevocationReason.KEY_COMPROMISE, datetime.now(UTC))
        with corp.desk.registry.reading() as connection:
            (of_alice,) = certificates.matching(connection, "alice@example.com")
        lifecycle.revoke(corp.desk, corp.authority, [of_alice], RevocationReason.KEY_COMPROMISE, datetime.now(UTC))
        for node in nodes:
            until(
                lambda node=node: verdict(node, alice, outside) == (403, "certificate_revoked"),
                "alice is out on every node",
                seconds=SOON_SECONDS,
            )
        for node in nodes:
            before = looked(node)
            node.signal(signal.SIGHUP)
            until(lambda node=node, before=before: looked(node) != before, "another round", seconds=SOON_SECONDS)
        sent = sorted(str(mail["To"]) for mail in post.mails)
        assert sent == [f"{name}@example.com" for name in ("admin", "carol", "dave", "erik")]
        for node in nodes:
            assert node.stop() == 0


def test_whoever_a_server_refuses_keeps_nobody_from_being_told(site, launch, post, post_ca):
    post.refuses["carol@example.com"] = "550 5.1.1 no such user"
    corp = site()
    for name in ("carol", "dave"):
        issue_to(corp.desk, corp.authority, f"{name}@example.com", name, days=40, now=corp.now - 38 * DAY)
    gateway = launch(corp, pki={"mail": mail_settings(post, post_ca[2], admin=[])})
    until(lambda: gateway.metric("gateway_pki_mails_total", result="refused") == 1, "a refusal", seconds=SOON_SECONDS)
    until(lambda: post.to("dave@example.com"), "the other's mail", seconds=SOON_SECONDS)
    gateway.says("a mail to carol@example.com was refused: 550 5.1.1 no such user")
    assert gateway.ask_status().returncode == 0  # one mailbox is no trouble of the gateway


def test_a_registry_that_is_not_there_is_told_and_not_made(launch, site, tmp_path):
    corp = site()
    gateway = launch(corp, pki={"store": "sqlite:///elsewhere/registry.db"})
    gateway.expected_errors.append("the registry: .*there is no registry")
    until(lambda: gateway.state()["registry"]["troubles"], "the trouble is told", seconds=SOON_SECONDS)
    assert not (tmp_path / "elsewhere").exists()
    assert HOST in gateway.state()["sites"][0]["hosts"]


def test_a_new_place_and_many_refusals_are_mailed_by_what_the_log_says(
    site, launch, post, post_ca, outsiders, monkeypatch
):
    """The keeper finds a state by which it has learnt for two days."""
    corp = site()
    monkeypatch.setenv("STATE_DIRECTORY", str(corp.folder / "state"))
    alice, now = corp.user("alice"), datetime.now(UTC).timestamp()
    home, away = outsiders(), outsiders()
    known = Person(networks=[f"{home.rpartition('.')[0]}.0/24"])
    learnt = State(began=now - 2 * DAY.total_seconds(), seen_until=now, people={"alice@example.com": known})
    alert_state.save(corp.folder / "state" / "alerts.json", learnt)
    alerts = {"new_place": True, "refusals": 3}
    gateway = launch(corp, pki={"mail": mail_settings(post, post_ca[2]), "alerts": alerts})
    looked(gateway)
    assert verdict(gateway, alice, home) == (200, None)
    assert verdict(gateway, alice, away) == (200, None)
    for _ in range(3):
        with Client(gateway.port, source=home, identity=alice) as client:
            assert client.ask("GET", "/").reason == "denied_by_rule"
    until(lambda: len(gateway.log.records()) >= 5, "the log is written")

    gateway.signal(signal.SIGHUP)  # the keeper looks at once; if it is still mailing, again after a minute
    until(lambda: len(post.mails) >= 2, "both mails arrive", seconds=2 * SOON_SECONDS)
    (told,) = post.to("alice@example.com")
    assert f"from {away}, in the network {away.rpartition('.')[0]}.0/24" in told.get_content()
    assert home not in told.get_content()
    (refusals,) = post.to("admin@example.com")
    assert "denied_by_rule (3)" in refusals.get_content()
    until(lambda: gateway.metric("gateway_pki_mails_total", result="sent") == 2, "the keeper has reported them")
