"""When a certificate, its CA or a revocation list ends, so does what is under way by it, with a record that says why.

A WebSocket, a download, an ActiveSync Ping and an upload each, over TLS 1.2 and 1.3 and HTTP/2, by certificates that
`openssl` made to end within seconds; and beside them what needed no certificate, or has one that lasts.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta

import pytest
from support.gateway import OUTSIDE, settings_for
from support.openssl_ca import OpensslCa
from support.waiting import AT_ONCE_SECONDS, lasting_seconds, until
from support.wire import CUT_SHORT, WIRES_BY_VERSION

from gateway import clock

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

# Long enough to open thirty connections, and short enough not to hold up the tests; more on a busy machine.
LIFE_SECONDS = 9
RULES = [
    {"name": "Open to everybody", "uri": ["/open"], "action": "allow"},
    {"name": "Members", "action": "require_certificate"},
]
HELLO = b"ping"
BODY_BYTES = 1000
PING = "/Microsoft-Server-ActiveSync?Cmd=Ping&User=alice&DeviceId=ABC&DeviceType=phone"
KINDS = ("socket", "download", "ping", "upload")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ends")
    root = OpensslCa.make(folder, "Root")
    root.publish(root.folder / "brief.crl", "-crlsec", "600")
    return root


@pytest.fixture(scope="module")
def gateway(start, world, credentials, mail):
    site = {**credentials.server, "client_ca": [str(world.certificate)], "upstream": "mail"}
    listed = {**site, "crl": [str(world.folder / "brief.crl")]}
    sites = [
        {**site, "hosts": ["plain.example.com"]},
        {**listed, "hosts": ["strict.example.com"], "crl_policy": "require"},
        {**listed, "hosts": ["lenient.example.com"], "crl_policy": "if_present"},
    ]
    return start({**settings_for({}, mail.url, rules=RULES), "sites": sites})


@pytest.fixture
def slow_mail(mail):
    """Answers that don't end by themselves."""

    def echo(dialogue):
        dialogue.switch()
        while data := dialogue.read(len(HELLO)):
            dialogue.send(data)

    def stream(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nbeginning" % BODY_BYTES)
        dialogue.wait_closed()

    for prefix in ("/webmail", "/open"):
        mail.answer(f"{prefix}/socket", echo)
        mail.answer(f"{prefix}/download", stream)
        mail.answer(f"{prefix}/upload", lambda dialogue: dialogue.wait_closed())
    mail.answer("/Microsoft-Server-ActiveSync", lambda dialogue: dialogue.wait_closed())
    return mail


class Work:
    """One of each kind on each wire: over HTTP/2 all of them on one connection."""

    def __init__(self, stack, gateway, host, identity, prefix="/webmail", kinds=KINDS):
        self.gateway = gateway
        self.exchanges = {}
        for wire in WIRES_BY_VERSION:
            client = None
            for kind in kinds:
                if client is None or not wire.is_http2:
                    client = wire.client(gateway.port, source=OUTSIDE, server_name=host, identity=identity)
                    stack.enter_context(client)
                self.exchanges[kind, wire] = getattr(self, f"_{kind}")(client, f"{prefix}/{kind}")

    @staticmethod
    def _socket(client, target):
        return client.open(target)

    @staticmethod
    def _download(client, target):
        exchange = client.start("GET", target)
        assert (exchange.head().status, exchange.read(9)) == (200, b"beginning")
        return exchange

    @staticmethod
    def _ping(client, _target):
        return client.start("POST", PING, body=b"\x03\x01")

    @staticmethod
    def _upload(client, target):
        exchange = client.start("POST", target, length=BODY_BYTES)
        exchange.send(b"half")
        return exchange

    def ends(self, reason):
        """Each hears of it in its way."""
        for (kind, wire), exchange in self.exchanges.items():
            if kind in ("ping", "upload"):
                answer = exchange.answer()
                assert answer.verdict == (403, reason), (kind, wire)
                assert answer.get("Connection") == wire.close
            else:
                with pytest.raises(CUT_SHORT):
                    exchange.read(len(HELLO))

    def goes_on(self):
        """Whether a socket still talks, and nothing else has ended."""
        for (kind, wire), exchange in self.exchanges.items():
            if kind == "socket":
                exchange.send(HELLO)
                assert exchange.read(len(HELLO)) == HELLO, wire
            else:
                assert exchange.is_silent(0.05), (kind, wire)


def records_of(gateway, mail, name):
    """Those of a certificate, told by the requests that reached the mail server."""
    found = [gateway.log.of(request.request_id) for request in mail.received]
    return [record for record in found if (record["cert_subject"] or "").startswith(f"CN={name}-")]


def ending_ca(root, seconds):
    """An intermediate that ends before what it issued."""
    made = OpensslCa.make(root.folder, "Ending", root)
    end = f"{clock.now() + timedelta(seconds=seconds):%Y%m%d%H%M%SZ}"
    root._sign(made.folder / "ca.csr", made.certificate, "ca_certificate", "-enddate", end)
    return made


def publish(gateway, world, seconds):
    """A list that lives so long; it is read when this returns."""
    seen = gateway.errors.count(" has changed (generation ")
    world.publish(world.folder / "brief.crl", "-crlsec", str(seconds))
    until(lambda: gateway.errors.count(" has changed (generation ") > seen, "the list is read")


def test_what_is_under_way_ends_with_its_certificate_and_nothing_else(gateway, world, slow_mail):
    lasting = world.issue("lasting")
    with ExitStack() as stack:
        began = time.monotonic()
        other = Work(stack, gateway, "plain.example.com", lasting)
        seconds = lasting_seconds(LIFE_SECONDS, time.monotonic() - began)
        under_ca = ending_ca(world, seconds + 1).issue("under")
        ending = world.issue("ending", seconds=seconds)
        began = time.monotonic()
        victim = Work(stack, gateway, "plain.example.com", ending)
        unasked = Work(stack, gateway, "plain.example.com", ending, "/open", kinds=("socket", "download", "upload"))
        chained = Work(stack, gateway, "plain.example.com", under_ca)
        victim.ends("certificate_expired")
        chained.ends("certificate_untrusted")
        assert seconds - 2 < time.monotonic() - began < seconds + AT_ONCE_SECONDS
        other.goes_on()
        unasked.goes_on()
    ended = [each for each in records_of(gateway, slow_mail, "ending") if not each["uri"].startswith("/open")]
    assert len(ended) == len(victim.exchanges)
    assert {record["reason"] for record in ended} == {"certificate_expired"}
    assert {record["status"] for record in ended} == {101, 200, 403}
    assert all(record["detail"].startswith("expired ") for record in ended)
    assert {record["reason"] for record in records_of(gateway, slow_mail, "under")} == {"certificate_untrusted"}
    assert {record["reason"] for record in records_of(gateway, slow_mail, "lasting")} == {None}


def test_what_is_under_way_ends_with_a_list_that_has_to_be_there(gateway, world, slow_mail):
    identity = world.issue("listed")
    try:
        with ExitStack() as stack:
            began = time.monotonic()
            other = Work(stack, gateway, "lenient.example.com", identity)
            publish(gateway, world, lasting_seconds(LIFE_SECONDS + 1, time.monotonic() - began))
            victim = Work(stack, gateway, "strict.example.com", identity)
            unasked = Work(stack, gateway, "strict.example.com", identity, "/open", kinds=("socket", "download"))
            victim.ends("revocation_unknown")
            other.goes_on()
            unasked.goes_on()
    finally:
        publish(gateway, world, 600)
    ended = [each for each in records_of(gateway, slow_mail, "listed") if each["reason"]]
    assert len(ended) == len(victim.exchanges)
    assert {(record["site"], record["reason"]) for record in ended} == {("strict.example.com", "revocation_unknown")}
    assert all(" expired " in record["detail"] for record in ended)
