"""An inbox of Roundcube and one of SOGo, opened in Chromium with a client certificate over a slow round trip.

Each round is a browser of its own, with nothing in its cache and no TLS session, that has the cookies of a person who
is logged in. HTTP/1.1 is the same browser with HTTP/2 switched off, before the same server.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificate
from rich.table import Table

from bench import peers, processes
from bench.certificates import HOST, Certificates
from bench.report import Target

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the webmail servers and the browser are

NAME = "latency"
SERVERS = ("nginx", "gateway")
ROUND_TRIP_MS = 50
MAILS = 40
SETTLE_SECONDS = 1.5  # for what a page asks for after it has shown the inbox, and for the log
WIRES = {"HTTP/1.1": ("--disable-http2",), "HTTP/2.0": ()}
P12_PASSWORD = "opens the p12"  # noqa: S105 - of a throw-away file
# How long over HTTP/2, compared with HTTP/1.1.
RATIO = 1.0

# The moment at which the first mail is shown, by the page's clock, which begins when a person opens the page.
_WATCH = """
new MutationObserver((_, observer) => {
  if (document.querySelector(SELECTOR) === null) return;
  window.inboxShown = performance.now();
  observer.disconnect();
}).observe(document, {childList: true, subtree: true});
"""
_TIMES = """(() => {
  const [page] = performance.getEntriesByType('navigation');
  return window.inboxShown && page.loadEventEnd ? [page.loadEventEnd, window.inboxShown] : null;
})()"""


@dataclass(frozen=True)
class Webmail:
    name: str
    login: str
    user: str  # selectors of the login page
    password: str
    inbox: str
    mail: str  # the selector of a mail in the list


ROUNDCUBE = Webmail(
    "Roundcube", "/roundcube/", "#rcmloginuser", "#rcmloginpwd", "/roundcube/?_task=mail&_mbox=INBOX", "tr.message"
)
SOGO = Webmail(
    *("SOGo", "/SOGo/", "input[type=text]", "input[type=password]"),
    *("/SOGo/so/alice/Mail/view", ".sg-message-list-item"),
)


@dataclass(frozen=True)
class Opened:
    """One round. `connections` includes those that Chromium ended when it was first asked for a certificate."""

    loaded_ms: float
    shown_ms: float
    requests: int
    connections: int
    full: int  # handshakes
    resumed: int

    @property
    def aborted(self) -> int:
        return self.connections - self.full - self.resumed


@dataclass(frozen=True)
class Inbox:
    """All rounds of one webmail, server and version of HTTP."""

    webmail: str
    server: str
    protocol: str
    rounds: list[Opened] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(getattr(each, name) for each in self.rounds)


class Front:
    """A running server before a webmail, and the slow way to it."""

    def __init__(self, name: str, folder: Path, port: int, slow_port: int, proxy: processes.Helper) -> None:
        self.name = name
        self.port = port
        self.slow_port = slow_port
        self._log = folder / f"{name}-access.jsonl"
        self._proxy = proxy

    def connections(self) -> int:
        return int(self._proxy.ask("count"))

    def records(self) -> list[dict[str, Any]]:
        """The log's requests: client_port, protocol and tls_resumed."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [record for record in map(json.loads, lines) if record["method"] is not None]


def _gateway(place: peers.Place, upstream: str) -> peers.Start:
    c = place.certificates
    config = place.folder / "gateway-latency.yaml"
    config.write_text(f"""\
listen:
  - address: "127.0.0.1:{place.port}"
networks:
  internal: [127.0.0.9/32]
sites:
  - hosts: [{HOST}]
    certificate: {c.server}
    key: {c.server_key}
    client_ca: [{c.ca}]
    upstream: mail
upstreams:
  mail:
    servers: ["{upstream}"]
rules:
  - name: Webmail
    from: external
    uri: [/roundcube, /SOGo, /SOGo.woa]
    action: require_certificate
  - name: Everything else
    action: deny
access_log: {{path: {place.folder / "gateway-access.jsonl"}, format: json}}
workers: 1
""")
    return peers.Start([sys.executable, "-m", "gateway", "run", "-c", str(config)])


def _nginx(place: peers.Place, upstream: str) -> peers.Start:
    c = place.certificates
    return peers.nginx_of(
        place.folder,
        "nginx",
        f"""
    log_format access escape=json '{{"client_port":$remote_port,"method":"$request_method","uri":"$request_uri",'
        '"protocol":"$server_protocol","status":$status,"tls_resumed":"$ssl_session_reused"}}';
    access_log {place.folder}/nginx-access.jsonl access;
    upstream mail {{ server {upstream.removeprefix("http://")}; keepalive {peers.KEEPALIVE_CONNECTIONS}; }}
    server {{
        listen 127.0.0.1:{place.port} ssl http2;
        server_name {HOST};
        ssl_certificate {c.server};
        ssl_certificate_key {c.server_key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_client_certificate {c.ca};
        ssl_verify_client on;
        proxy_http_version 1.1;
        proxy_buffer_size 64k;
        proxy_buffers 8 64k;
        client_max_body_size 2g;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto https;
        location / {{ proxy_pass http://mail; }}
    }}""",
    )


STARTS = {"nginx": _nginx, "gateway": _gateway}


class Latency:
    """Opens inboxes; `cores` are the servers' and that of everything else."""

    def __init__(self, folder: Path, certificates: Certificates, cores: tuple[int, int]) -> None:
        self._folder = folder / NAME
        self._folder.mkdir()
        self._certificates = certificates
        self._server_core, self._load_core = cores
        self._p12 = self._folder / "client.p12"
        self._p12.write_bytes(_p12(certificates))
        self._browsers = 0

    def measure(self, servers: Sequence[str], rounds: int) -> list[Inbox]:
        from support.browser import chooses_certificate  # noqa: PLC0415 - found since the line above
        from support.groupware import Groupware  # noqa: PLC0415
        from support.roundcube import Roundcube  # noqa: PLC0415

        inboxes = []
        for webmail, service in ((ROUNDCUBE, Roundcube), (SOGO, Groupware)):
            with chooses_certificate(), service.started() as running:
                for number in range(MAILS):
                    running.dovecot.deliver("alice", _mail(number))
                inboxes += self._of_webmail(webmail, running.url, servers, rounds)
        return inboxes

    def _of_webmail(self, webmail: Webmail, upstream: str, servers: Sequence[str], rounds: int) -> list[Inbox]:
        with contextlib.ExitStack() as stack:
            fronts = [stack.enter_context(self._front(name, webmail, upstream)) for name in servers]
            cookies = {front.name: self._log_in(webmail, front) for front in fronts}
            inboxes = {(f.name, wire): Inbox(webmail.name, f.name, wire) for f in fronts for wire in WIRES}
            for _ in range(rounds):
                for front in fronts:
                    for wire in WIRES:
                        opened, cookies[front.name] = self._open(webmail, front, wire, cookies[front.name])
                        inboxes[front.name, wire].rounds.append(opened)
            return list(inboxes.values())

    @contextlib.contextmanager
    def _front(self, name: str, webmail: Webmail, upstream: str) -> Iterator[Front]:
        folder = self._folder / webmail.name
        folder.mkdir(exist_ok=True)
        port, slow_port = processes.free_port(), processes.free_port()
        start = STARTS[name](peers.Place(folder, self._certificates, port, 0), upstream)
        output = folder / f"{name}.out"
        delay = (str(slow_port), str(port), str(ROUND_TRIP_MS / 2))
        with (
            processes.running(start.command, core=self._server_core, port=port, output=output),
            processes.Helper("tests.support.delaying_proxy", *delay, core=self._load_core) as proxy,
        ):
            yield Front(name, folder, port, slow_port, proxy)

    @contextlib.contextmanager
    def _browser(self, port: int, flags: tuple[str, ...] = ()) -> Iterator[Any]:
        from support.browser import Browser  # noqa: PLC0415

        self._browsers += 1
        folder = self._folder / f"browser-{self._browsers}"
        folder.mkdir()
        p12s = ((self._p12, P12_PASSWORD),)
        with Browser.start(folder, port, trusted=self._certificates.ca, p12s=p12s, flags=flags) as browser:
            yield browser

    def _log_in(self, webmail: Webmail, front: Front) -> list[dict[str, Any]]:
        from support.groupware import PASSWORD  # noqa: PLC0415 - Roundcube's is the same

        with self._browser(front.port) as browser:
            browser.open(f"https://{HOST}{webmail.login}")
            browser.wait_until_seen(webmail.password)
            browser.type_into(webmail.user, "alice")
            browser.type_into(webmail.password, PASSWORD)
            browser.press_enter()
            browser.wait_for(f"document.querySelector({json.dumps(webmail.mail)}) !== null")
            return browser.cookies()

    def _open(
        self, webmail: Webmail, front: Front, wire: str, cookies: list[dict[str, Any]]
    ) -> tuple[Opened, list[dict[str, Any]]]:
        """One round, and the cookies after it."""
        requests, connections = len(front.records()), front.connections()
        with self._browser(front.slow_port, WIRES[wire]) as browser:
            browser.put_cookies(cookies)
            browser.run_in_each_page(_WATCH.replace("SELECTOR", json.dumps(webmail.mail)))
            browser.open(f"https://{HOST}{webmail.inbox}")
            loaded, shown = browser.wait_for(_TIMES)
            time.sleep(SETTLE_SECONDS)
            connections = front.connections() - connections
            cookies = browser.cookies()
        records = front.records()[requests:]
        if {record["protocol"] for record in records} != {wire}:
            raise SystemExit(f"{front.name} did not speak {wire} with Chromium")
        # Chromium's connections have a port of the proxy's each.
        is_resumed = {record["client_port"]: record["tls_resumed"] in (True, "r") for record in records}
        resumed = sum(is_resumed.values())
        return Opened(loaded, shown, len(records), connections, len(is_resumed) - resumed, resumed), cookies


def _p12(certificates: Certificates) -> bytes:
    key = load_pem_private_key(certificates.client_key.read_bytes(), None)
    certificate = load_pem_x509_certificate(certificates.client.read_bytes())
    encryption = BestAvailableEncryption(P12_PASSWORD.encode())
    return pkcs12.serialize_key_and_certificates(b"alice", key, certificate, None, encryption)


def _mail(number: int) -> bytes:
    date = f"Tue, 24 Nov 2026 09:{number:02}:00 +0000"
    return f"From: Bob <bob@example.com>\r\nDate: {date}\r\nSubject: Figures {number}\r\n\r\nFine.\r\n".encode()


def table(inboxes: Sequence[Inbox]) -> Table:
    result = Table(title=f"An inbox in Chromium, round trip {ROUND_TRIP_MS} ms", title_justify="left")
    for column in (*_COLUMNS[:3], "lowest … highest", *_COLUMNS[3:]):
        result.add_column(column, justify="left" if column in _COLUMNS[:2] else "right", no_wrap=True)
    for each in inboxes:
        shown = [opened.shown_ms for opened in each.rounds]
        row = _row(each)
        result.add_row(*row[:3], f"{min(shown):.0f} … {max(shown):.0f}", *row[3:])
    return result


_COLUMNS = (
    *("inbox", "server", "mails shown, ms", "page loaded, ms", "requests", "connections"),
    *("full handshakes", "resumed", "aborted"),
)
_COUNTS = ("requests", "connections", "full", "resumed", "aborted")


def _row(inbox: Inbox) -> list[str]:
    times = [f"{inbox.median(name):.0f}" for name in ("shown_ms", "loaded_ms")]
    return [
        f"{inbox.webmail}, {inbox.protocol}",
        inbox.server,
        *times,
        *(f"{inbox.median(name):g}" for name in _COUNTS),
    ]


def markdown(inboxes: Sequence[Inbox]) -> str:
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(_row(each)) + " |" for each in inboxes)])


def targets(inboxes: Sequence[Inbox]) -> list[Target]:
    """HTTP/2 must not be slower than HTTP/1.1."""
    of = {(each.webmail, each.protocol): each for each in inboxes if each.server == "gateway"}
    found = []
    for webmail in dict.fromkeys(name for name, _ in of):
        ratio = of[webmail, "HTTP/2.0"].median("shown_ms") / of[webmail, "HTTP/1.1"].median("shown_ms")
        found.append(Target(f"{webmail}'s inbox shown over HTTP/2", RATIO, ratio, "× HTTP/1.1"))
    return found
