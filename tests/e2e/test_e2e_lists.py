"""Revocation lists from a web server, fetched by a running gateway."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.client import Client, ask
from support.credentials import CA_PASSWORD
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.pki import Ca, build_crl
from support.scopes import delta
from support.waiting import AT_ONCE_SECONDS, until
from support.watched import Watched
from support.web import Page, WebServer

from gateway.supervisor.processes.watchdog import HUNG_HELPER_SECONDS

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

UNKNOWN = (403, "revocation_unknown")
REVOKED = (403, "certificate_revoked")
GOOD = (200, None)
HOUR = timedelta(hours=1)
SECRET = "s3cret-t0ken"


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture(scope="module")
def root(credentials):
    return credentials._load(credentials.root, credentials.folder / "rootCA.key", CA_PASSWORD)


@pytest.fixture
def crl(root):
    """Makes lists of the root, ever newer ones."""
    now = datetime.now(UTC)

    def make(number, *revoked, begun=HOUR, lasts=8 * HOUR):
        made = build_crl(root, revoked, number=number, last_update=now - begun, next_update=now - begun + lasts)
        return made.public_bytes(Encoding.DER)

    return make


@pytest.fixture
def launch(tmp_path, credentials, mail):
    """Starts a gateway that fetches `url`, always in the same folder."""
    launched = []

    def start(url, *, folder=tmp_path, **site) -> Watched:
        settings = settings_for(
            {**credentials.server, "client_ca": [str(credentials.root)], "crl": [url], **site}, mail.url
        )
        settings["admin"] = {"address": f"{INSIDE}:{free_port()}"}
        launched.append(Watched.start(folder, settings))
        # A list counts once it is fetched.
        launched[-1].expected_errors.append(r"gateway\.warnings: mail\.example\.com: no revocation list of ")
        return launched[-1]

    yield start
    for gateway in launched:
        assert gateway.stop() == 0
        gateway.check_errors()


def verdict(gateway, credentials, name="alice"):
    return ask(gateway.port, "/webmail", source=OUTSIDE, identity=credentials[name]).verdict


def becomes(gateway, credentials, expected, name="alice", seconds=AT_ONCE_SECONDS):
    until(lambda: verdict(gateway, credentials, name) == expected, f"{name}: {expected}", seconds=seconds)


def serial_of(credentials, name="alice"):
    return x509.load_der_x509_certificate(credentials[name].der)


def fetch_now(gateway):
    gateway.signal(signal.SIGHUP)


def test_a_list_is_fetched_and_a_newer_one_bites_on_an_open_connection(launch, web, credentials, crl):
    web.answers["/ca.crl"] = Page(crl(1))
    gateway = launch(web.url("/ca.crl"))
    becomes(gateway, credentials, GOOD)
    gateway.says("fetched the list number 1")

    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail").verdict == GOOD
        web.answers["/ca.crl"] = Page(crl(2, serial_of(credentials)))
        fetch_now(gateway)
        until(lambda: "number 2" in gateway.errors, "the new list is fetched")
        answer = GOOD

        def is_refused():
            nonlocal answer
            answer = client.ask("GET", "/webmail").verdict
            return answer == REVOKED

        until(is_refused, "alice is out on her open connection", seconds=AT_ONCE_SECONDS)
    assert verdict(gateway, credentials, "v3") == GOOD


def test_until_a_list_was_fetched_nobody_gets_in_and_the_log_is_loud(launch, web, credentials, crl):
    gateway = launch(web.url("/ca.crl"))
    assert verdict(gateway, credentials) == UNKNOWN
    until(lambda: "the server answered 404; there is no list, next try in" in gateway.errors, "a line in the log")
    gateway.says(f"{web.url('/ca.crl')}: the revocation list has not been fetched yet")
    gateway.says("no revocation list of")

    web.answers["/ca.crl"] = Page(crl(1))
    fetch_now(gateway)
    becomes(gateway, credentials, GOOD)


def test_the_last_good_list_outlasts_a_restart_and_whatever_the_server_does(launch, web, credentials, crl, tmp_path):
    web.answers["/ca.crl"] = Page(crl(5, serial_of(credentials)))
    gateway = launch(web.url("/ca.crl"))
    becomes(gateway, credentials, REVOKED)
    web.answers["/ca.crl"] = Page(crl(4))  # somebody on the way plays back an older one
    fetch_now(gateway)
    until(lambda: "is older than the one that was fetched before" in gateway.errors, "a line in the log")
    for body, words in ((b"rubbish", "not a readable revocation list"), (b"", "not a readable revocation list")):
        web.answers["/ca.crl"] = Page(body)
        fetch_now(gateway)
        until(lambda words=words: words in gateway.errors, "a line in the log")
    assert verdict(gateway, credentials) == REVOKED
    assert verdict(gateway, credentials, "v3") == GOOD
    assert gateway.stop() == 0
    web.stop()

    again = launch(web.url("/ca.crl"))
    assert verdict(again, credentials) == REVOKED
    assert verdict(again, credentials, "v3") == GOOD
    assert (tmp_path / "state" / "crl").stat().st_mode & 0o777 == 0o700


def test_slow_servers_and_poisoned_lists_hold_no_revocation_up(launch, web, credentials, crl, root):
    """Each URL fails for itself, however many there are and however they fail."""
    goes_on = threading.Event()
    name, good = root.certificate.subject.public_bytes(), crl(1)
    poisoned = {
        "/version": good.replace(b"\x02\x01\x01", b"\x02\x01\x07", 1),
        "/bitstring": good.replace(name, name.replace(b"\x0c", b"\x03")),
        "/long": b"\x30\x84\x00\xff\xff\xff" + good * 2000,
    }
    assert len({good, *poisoned.values()}) == 4
    for path, body in poisoned.items():
        web.answers[path] = Page(body)
    slow = [f"/slow/{number}" for number in range(20)]
    web.answers.update(dict.fromkeys(slow, Page(good, goes_on=goes_on)))
    web.answers["/ca.crl"] = Page(good)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = [f"http://127.0.0.1:{silent.getsockname()[1]}/{number}" for number in range(5)]
        urls = [*map(web.url, slow), *places, *map(web.url, poisoned), web.url("/ca.crl")]
        gateway = launch(urls[0], crl=urls)
        becomes(gateway, credentials, GOOD)
        until(lambda: all(f"{web.url(path)}: not a readable" in gateway.errors for path in poisoned), "they are read")
        web.answers["/ca.crl"] = Page(crl(2, serial_of(credentials)))
        fetch_now(gateway)
        becomes(gateway, credentials, REVOKED)
        assert verdict(gateway, credentials, "v3") == GOOD
        assert len(gateway.helpers("gateway-fetch")) == 1
        goes_on.set()


def test_tokens_in_urls_are_in_no_output(launch, web, credentials, crl, tmp_path):
    middle = Ca.make("CN=Middle")
    web.answers[f"/ca.crl?token={SECRET}"] = Page(crl(1))
    web.answers[f"/other.crl?token={SECRET}"] = Page(middle.crl())
    web.answers[f"/moved?token={SECRET}"] = Page(status=302, headers={"Location": f"ftp://a/x y?token={SECRET}"})
    with BrokenServer() as broken:
        paths = ("/ca.crl", "/other.crl", "/moved", "/missing", "/none.crl")
        urls = [f"{place}?token={SECRET}" for place in (*map(web.url, paths), f"{broken.url}/x")]
        closed = f"http://user:{SECRET}@127.0.0.1:{free_port()}/?token={SECRET}"
        ocsp = {"mode": "soft", "responder": closed}
        gateway = launch(urls[0], crl=urls, ocsp=ocsp, crl_policy="if_present")
        words = ("number 1", "not in client_ca", "is not followed", "answered 404", "400, message=")
        until(lambda: all(text in gateway.errors for text in words), "each URL has been asked")
    becomes(gateway, credentials, GOOD)
    until(lambda: "cannot be reached" in gateway.errors, "the responder was asked")
    told = gateway.ask_status().stdout + str(gateway.state())
    assert web.url("/ca.crl?…") in told
    assert web.url("/missing?…: the revocation list has not been fetched yet") in told
    told += gateway.get("/metrics")[1] + gateway.log.path.read_text() + run_gateway("check", gateway)
    certificate = tmp_path / "alice.der"
    certificate.write_bytes(credentials["alice"].der)
    explained = run_gateway("explain", gateway, "--ip", OUTSIDE, "--cert", str(certificate), f"https://{HOST}/webmail")
    assert "the certificate satisfies the rule" in explained
    told += explained
    (site,) = gateway.settings["sites"]
    gateway.expected_errors.append("reload refused")
    gateway.rewrite(sites=[{**site, "crl": [f"http://user:{SECRET}@127.0.0.1/ca.crl"]}])
    until(lambda: gateway.state()["reload"]["error"], "the reload is refused")
    told += gateway.ask_status().stdout + str(gateway.state()) + run_gateway("check", gateway)
    assert "'http://…@127.0.0.1/ca.crl' cannot be fetched" in told
    assert SECRET not in told
    assert SECRET not in gateway.errors


class BrokenServer:
    """Answers what is no HTTP."""

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nno field\r\n\r\n")


def run_gateway(command, gateway, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "gateway", command, "-c", str(gateway.config), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_what_a_fetched_delta_list_revoked_stays_out_until_the_complete_list_has_its_changes(
    launch, web, credentials, root, crl
):
    now = datetime.now(UTC)

    def change(number, base, *named):
        return delta(root, base, number, named=named, last_update=now - HOUR, next_update=now + 8 * HOUR)

    web.answers["/ca.crl"], web.answers["/delta.crl"] = Page(crl(1)), Page(change(2, 1))
    gateway = launch(None, crl=[web.url("/ca.crl"), web.url("/delta.crl")])
    becomes(gateway, credentials, GOOD)
    web.answers["/delta.crl"] = Page(change(3, 1, serial_of(credentials)))
    fetch_now(gateway)
    becomes(gateway, credentials, REVOKED)
    # It starts from a complete list that is not there yet, and doesn't repeat what that one has.
    web.answers["/delta.crl"] = Page(change(5, 4, serial_of(credentials, "rsa4096")))
    fetch_now(gateway)
    becomes(gateway, credentials, REVOKED, "rsa4096")
    assert verdict(gateway, credentials) == REVOKED
    web.answers["/ca.crl"] = Page(crl(4))
    fetch_now(gateway)
    becomes(gateway, credentials, GOOD)
    assert verdict(gateway, credentials, "rsa4096") == REVOKED


def test_the_folder_may_have_a_name_that_is_no_utf8(launch, web, credentials, crl, tmp_path):
    """As disks from elsewhere have them."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    web.answers["/ca.crl"] = Page(crl(1))
    gateway = launch(web.url("/ca.crl"), folder=folder)
    becomes(gateway, credentials, GOOD)
    assert gateway.state()["config"].endswith("/caf?/config.yaml")
    assert gateway.ask_status().returncode in {0, 1}
    assert list((folder / "state" / "crl").glob("*.crl"))


def test_a_fetcher_that_dies_is_replaced(launch, web, credentials, crl):
    web.answers["/ca.crl"] = Page(crl(1))
    gateway = launch(web.url("/ca.crl"))
    becomes(gateway, credentials, GOOD)
    (fetcher,) = gateway.helpers("gateway-fetch")
    gateway.expected_errors.append(rf"the fetcher {fetcher} ended \(signal SIGKILL\)")
    os.kill(fetcher, signal.SIGKILL)
    until(lambda: gateway.helpers("gateway-fetch") not in ([], [fetcher]), "another fetcher")
    until(lambda: len(web.requests) >= 2, "it fetches")


def test_a_fetcher_that_hangs_is_told_and_replaced_and_a_revocation_arrives(launch, web, credentials, crl):
    web.answers["/ca.crl"] = Page(crl(1))
    gateway = launch(web.url("/ca.crl"))
    becomes(gateway, credentials, GOOD)
    (hung,) = gateway.helpers("gateway-fetch")
    gateway.expected_errors.append(rf"the fetcher {hung} (has not answered for|ended)")
    os.kill(hung, signal.SIGSTOP)
    web.answers["/ca.crl"] = Page(crl(2, serial_of(credentials)))
    told = until(lambda: (asked := gateway.ask_status()).returncode == 1 and asked.stdout, "it is told", seconds=20)
    assert f"the fetcher (process {hung}) does not answer; it is replaced after twenty seconds" in told
    patience = 2 * HUNG_HELPER_SECONDS
    until(lambda: gateway.helpers("gateway-fetch") not in ([], [hung]), "another fetcher", seconds=patience)
    gateway.says(f"the fetcher {hung} has not answered for")
    becomes(gateway, credentials, REVOKED)
    until(lambda: gateway.state()["helpers"][0]["is_answering"], "it answers")


def test_the_fetcher_has_no_password_no_key_and_no_port(launch, web, credentials, crl, monkeypatch):
    """It is a program of its own: what the master read and opened is not in it."""
    monkeypatch.setenv("MAIL_KEY_PASSWORD", SECRET)
    web.answers["/ca.crl"] = Page(crl(1))
    gateway = launch(web.url("/ca.crl"))
    becomes(gateway, credentials, GOOD)
    (fetcher,) = gateway.helpers("gateway-fetch")
    process = Path(f"/proc/{fetcher}")
    assert SECRET.encode() in Path(f"/proc/{gateway.process.pid}/environ").read_bytes()
    assert SECRET.encode() not in (process / "environ").read_bytes()
    assert b"gateway.supervisor.helpers.fetcher_process" in (process / "cmdline").read_bytes()
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"}
    targets = {str(link.readlink()) for link in (process / "fd").iterdir()}
    assert not {f"socket:[{inode}]" for inode in listening} & targets
    assert not [target for target in targets if target.startswith(str(gateway.folder)) and "stderr" not in target]


def test_without_urls_there_is_no_fetcher(launch, credentials, crl, tmp_path):
    path = tmp_path / "ca.crl"
    path.write_bytes(crl(1))
    gateway = launch(str(path))
    assert verdict(gateway, credentials) == GOOD
    assert gateway.helpers("gateway-fetch") == []
    assert not Path(tmp_path / "state").exists()
