"""The configuration as frozen dataclasses: what the file says, checked, with every default filled in.

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
    public_port: int | None = None  # in the clients' URLs, where it isn't the one that they reach
    acme_webroot: Path | None = None  # the folder in which challenges lie
    redirect_status: int = 308  # or 302


@dataclass(frozen=True, slots=True)
class Ocsp:
    """How certificate status is asked for online."""

    mode: Literal["off", "soft", "hard"] = "off"
    responder: str = "from_certificate"  # or an http(s) URL


@dataclass(frozen=True, slots=True)
class Hsts:
    """`Strict-Transport-Security`."""

    max_age_seconds: float = 365 * DAY_SECONDS
    include_subdomains: bool = False
    preload: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One `sites` entry: what we show, whom we trust, where it goes."""

    hosts: tuple[str, ...]  # lower case; exact, "*.suffix" (exactly one label) or "*" (the fallback)
    certificate: CertificateFile  # the leaf first
    key: KeyFile
    upstream: str
    client_ca: tuple[CertificateFile, ...] = ()
    crl: tuple[str, ...] = ()  # absolute file paths or http(s) URLs
    crl_policy: Literal["require", "if_present"] = "require"
    ocsp: Ocsp = Ocsp()
    hsts: Hsts | None = None  # None: the upstream's own passes
    line: int = 0

    @property
    def name(self) -> str:
        """What logs call the site: its first host."""
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
        """The server as logs name it, `https://10.0.0.5:443`."""
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """The server's own Host (RFC 9110 7.2): without the port where that is the scheme's."""
        is_usual = self.port == (443 if self.scheme == "https" else 80)
        return self._bracketed if is_usual else f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS towards the upstream. Without `ca` the system's trust store counts."""

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
    rewrite_location: bool | None = None  # None: when `host` is not preserved; else our own name alone
    proxy_protocol: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send and hold. One above each is refused with its own reason code."""

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
    """Names of the headers that carry the certificate's holder to the upstream; None: not sent."""

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
class AccessLog:
    """Where access records go. `path` None is standard output."""

    path: Path | None = None
    format: Literal["json", "combined"] = "json"


@dataclass(frozen=True, slots=True)
class Pages:
    """The refusal pages."""

    contact: str | None = None
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """The console's own listener."""

    address: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Mail:
    """How mails are sent, and to whom."""

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
class KeptAuthority:
    """An authority whose lists and OCSP signer the gateway renews by itself."""

    name: str
    passphrase_file: Path
    line: int = 0


@dataclass(frozen=True, slots=True)
class Pki:
    """The certificate registry and the authorities' files."""

    store: str = field(repr=False)  # a URL that may hold a password; a SQLite file's path in it is absolute
    folder: Path
    authorities: tuple[KeptAuthority, ...] = ()
    warn_before_seconds: tuple[float, ...] = (30 * DAY_SECONDS, 7 * DAY_SECONDS, DAY_SECONDS)  # the longest first
    mail: Mail | None = None
    is_watched: bool = False  # the gateway looks after it while it runs


@dataclass(frozen=True, slots=True)
class User:
    """The user that the gateway becomes where it is started as root."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]  # all that it is in
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
    not_inside: tuple[Address, ...] = ()  # taken out of `internal`: a container's own, see `config.container`
    trusted_proxies: tuple[Network, ...] = ()
    trusted_proxies_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"  # that names their clients
    name_servers: tuple[NameServer, ...] = ()  # empty: the system's
    limits: Limits = Limits()
    identity_headers: IdentityHeaders = IdentityHeaders()
    lockout: Lockout | None = None
    access_log: AccessLog = AccessLog()
    pages: Pages = Pages()
    workers: int = 1  # `auto` is resolved by the loader
    admin: Admin | None = None
    pki: Pki | None = None
    user: User | None = None  # None: the one that starts it

    @property
    def publishes(self) -> bool:
        """True where a listener serves what authorities publish."""
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
