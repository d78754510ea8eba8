"""The configuration as frozen dataclasses: the content of the file, checked, with all defaults filled in.

Durations are seconds, sizes are bytes, paths are absolute. Nothing here knows YAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from gateway.facts import Address
from gateway.policy.rules import Rule
from gateway.x509.files import CertificateFile, KeyFile

Network = IPv4Network | IPv6Network
KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One `listen` entry. An empty host means every address, IPv4 and IPv6."""

    address: str  # as written: "0.0.0.0:443"
    host: str
    port: int
    redirect_to_https: bool = False
    proxy_protocol_from: tuple[Network, ...] = ()
    pki: bool = False
    public_port: int | None = None  # in the clients' URLs, if it differs from the port that they reach
    acme_webroot: Path | None = None  # the folder with the challenges
    redirect_status: int = 308  # or 302


@dataclass(frozen=True, slots=True)
class Ocsp:
    """How a certificate's status is requested online."""

    mode: Literal["off", "soft", "hard"] = "off"
    responder: str = "from_certificate"  # or an http(s) URL


@dataclass(frozen=True, slots=True)
class Hsts:
    """The values of the header `Strict-Transport-Security`."""

    max_age_seconds: float = 365 * DAY_SECONDS
    include_subdomains: bool = False
    preload: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One `sites` entry: its hosts and certificate, the CAs that it trusts, and its upstream."""

    hosts: tuple[str, ...]  # lower case; exact, "*.suffix" (exactly one label) or "*" (the fallback)
    certificate: CertificateFile  # the leaf first
    key: KeyFile
    upstream: str
    client_ca: tuple[CertificateFile, ...] = ()
    crl: tuple[str, ...] = ()  # absolute file paths or http(s) URLs
    crl_policy: Literal["require", "if_present"] = "require"
    ocsp: Ocsp = Ocsp()
    hsts: Hsts | None = None  # None: the upstream's header is kept
    protocols: tuple[Literal["h2", "http/1.1"], ...] = ("h2", "http/1.1")  # for clients, best first; http/1.1 always
    line: int = 0

    @property
    def name(self) -> str:
        """The site's name in logs: its first host."""
        return self.hosts[0]


@dataclass(frozen=True, slots=True)
class NameServer:
    """A DNS server: an IP address and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Server:
    """One upstream server."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def url(self) -> str:
        """The server's name in logs: `https://10.0.0.5:443`."""
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """The server's own Host (RFC 9110 7.2), without the port if it is the scheme's default."""
        is_usual = self.port == (443 if self.scheme == "https" else 80)
        return self._bracketed if is_usual else f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS towards the upstream. Without `ca`, the system's trust store is used."""

    ca: CertificateFile | None = None
    server_name: str | None = None
    certificate: CertificateFile | None = None
    key: KeyFile | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """Active health checks."""

    path: str = "/"
    interval_seconds: float = 10.0
    timeout_seconds: float = 3.0
    rise: int = 2
    fall: int = 3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an upstream may take."""

    connect_seconds: float = 5.0
    response_seconds: float = 3600.0  # ActiveSync heartbeats last up to 3,540 s
    idle_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """A named group of servers."""

    name: str
    servers: tuple[Server, ...]
    balance: Literal["least_connections", "round_robin", "client_ip"] = "least_connections"
    tls: UpstreamTls = UpstreamTls()
    health: Health | None = None
    timeouts: Timeouts = Timeouts()
    host: str = "preserve"  # or a literal Host
    connections: Literal["shared", "per_client"] = "shared"
    rewrite_location: bool | None = None  # None: if `host` is not preserved; otherwise only our own name
    proxy_protocol: bool = False
    line: int = 0

    @property
    def is_of_one_client(self) -> bool:
        """True if each connection to the servers is for one client's connection only."""
        return self.connections == "per_client" or self.proxy_protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what a client may send, and on its connections."""

    header_bytes: int = 32 * KIB
    headers: int = 100
    uri_bytes: int = 8 * KIB
    body_bytes: int = 2 * GIB
    connections: int = 10_000
    connections_per_ip: int = 200
    handshakes_per_second_per_ip: int = 100
    requests_per_second_per_ip: int = 2000
    handshake_seconds: float = 10.0
    header_time_seconds: float = 20.0
    keepalive_seconds: float = 75.0
    transfer_idle_seconds: float = 60.0
    body_bytes_per_second: int = 64


@dataclass(frozen=True, slots=True)
class IdentityHeaders:
    """Names of the headers that tell the upstream who holds the certificate; None: not sent."""

    rfc9440: bool = True
    subject: str | None = "X-Client-Subject"
    email: str | None = "X-Client-Email"
    serial: str | None = "X-Client-Serial"
    fingerprint: str | None = "X-Client-Fingerprint"
    verified: str | None = "X-Client-Verified"


@dataclass(frozen=True, slots=True)
class Lockout:
    """Refusal of a client after too many failed logins."""

    failures: int = 10
    window_seconds: float = 600.0
    ban_seconds: float = 900.0
    count: tuple[Literal["login", "certificate"], ...] = ("login",)


@dataclass(frozen=True, slots=True)
class SyslogServer:
    """A server that takes the access log by syslog."""

    kind: Literal["udp", "tcp", "tls", "unix"]
    host: str  # of a unix socket: its path
    port: int = 0
    ca: Path | None = None  # for TLS; None: the system's trust store

    @property
    def url(self) -> str:
        """The server's name in messages: `syslog:tls://10.0.0.5:6514`."""
        host = f"[{self.host}]" if ":" in self.host and self.kind != "unix" else self.host
        return f"syslog:{self.kind}://{host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class Rotation:
    """When the access log begins a new file, and what happens to the old ones."""

    size_bytes: int = 256 * 1024 * 1024
    age_seconds: float = 86400.0
    keep: int = 30
    compress: Literal["zstd", "gzip", "none"] = "zstd"


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where access records are written: a file, a syslog server, the journal; otherwise standard output."""

    path: Path | None = None
    format: Literal["json", "combined"] = "json"
    syslog: SyslogServer | None = None
    is_journald: bool = False
    rotate: Rotation | None = None  # None: only a signal lets the gateway open another file

    @property
    def is_stdout(self) -> bool:
        """True if the log goes to standard output."""
        return self.path is None and self.syslog is None and not self.is_journald


@dataclass(frozen=True, slots=True)
class Pages:
    """The contact on refusal pages, and the folder with own templates."""

    contact: str | None = None
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """The listener for status and metrics."""

    address: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Mail:
    """How mails are sent, and their recipients."""

    host: str
    port: int
    sender: str
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    admins: tuple[str, ...] = ()
    to_users: bool = True


@dataclass(frozen=True, slots=True)
class Alerts:
    """Mails about what the access log shows."""

    new_place: bool = False  # to the holder of a certificate that is used at a new place
    refusals: int | None = None  # to the administrators, from so many refusals of one person on


@dataclass(frozen=True, slots=True)
class KeptAuthority:
    """An authority whose lists and OCSP signer the gateway renews by itself."""

    name: str
    passphrase_file: Path
    line: int = 0


@dataclass(frozen=True, slots=True)
class Pki:
    """The certificate registry and the authorities' files."""

    store: str = field(repr=False)  # a URL that may contain a password; the path of a SQLite file in it is absolute
    folder: Path
    authorities: tuple[KeptAuthority, ...] = ()
    warn_before_seconds: tuple[float, ...] = (30 * DAY_SECONDS, 7 * DAY_SECONDS, DAY_SECONDS)  # the longest first
    mail: Mail | None = None
    alerts: Alerts | None = None  # None: off
    is_watched: bool = False  # the gateway renews and warns while it runs


@dataclass(frozen=True, slots=True)
class User:
    """The user that the gateway switches to if it is started as root."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]  # all groups of the user
    home: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    path: Path
    listen: tuple[Listener, ...]
    sites: tuple[Site, ...]
    upstreams: tuple[Upstream, ...]
    rules: tuple[Rule, ...]
    networks: dict[str, tuple[Network, ...]]  # resolved, with the default `internal`, without `external`
    not_inside: tuple[Address, ...] = ()  # a container's addresses, removed from `internal`: `config.container`
    trusted_proxies: tuple[Network, ...] = ()
    trusted_proxies_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"  # which names clients
    name_servers: tuple[NameServer, ...] = ()  # empty: the system's
    limits: Limits = Limits()
    identity_headers: IdentityHeaders = IdentityHeaders()
    lockout: Lockout | None = None
    access_log: AccessLog = AccessLog()
    pages: Pages = Pages()
    workers: int = 1  # `auto` is resolved by the loader
    admin: Admin | None = None
    pki: Pki | None = None
    user: User | None = None  # None: the user that starts the gateway
    # Eight hex digits for the file's bytes, which the access log names. Two files that mean the same are equal.
    digest: str | None = field(default=None, compare=False)

    @property
    def publishes(self) -> bool:
        """True if a listener serves the authorities' lists and certificates."""
        return any(listener.pki for listener in self.listen)

    @property
    def files(self) -> tuple[CertificateFile | KeyFile, ...]:
        """The files of certificates and keys that handshakes depend on, as they were read."""
        found: list[CertificateFile | KeyFile | None] = []
        for site in self.sites:
            found += [site.certificate, site.key, *site.client_ca]
        for upstream in self.upstreams:
            found += [upstream.tls.ca, upstream.tls.certificate, upstream.tls.key]
        return tuple(file for file in found if file is not None)
