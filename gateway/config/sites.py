"""Reads the `sites` section and checks that each host belongs to one site, files fit, and trust anchors are CAs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from gateway.config.addresses import Unreadable, parse_host
from gateway.config.certificates import Certificates, Material
from gateway.config.list_check import ListCheck
from gateway.config.list_folder import list_folder
from gateway.config.model import DAY_SECONDS, Hsts, Ocsp, Site, Upstream
from gateway.config.problems import Place, Problems, did_you_mean, listing, quote
from gateway.config.reading import Value
from gateway.config.upstreams import given
from gateway.x509.ca_names import why_none_is_named
from gateway.x509.files import CertificateFile, KeyFile
from gateway.x509.host_names import uncovered_hosts
from gateway.x509.public_cas import lacks_intermediate, strangers
from gateway.x509.revocation_list import RevocationList
from gateway.x509.same_names import too_many_of_one_name

# Required by hstspreload.org.
PRELOAD_SECONDS: Final = 365 * DAY_SECONDS
_HSTS: Final = {"max_age": "max_age_seconds", "include_subdomains": "include_subdomains", "preload": "preload"}
_OTHER_SCHEME: Final = re.compile(r"(http)://[^/?]*:443(?![0-9])|(https)://[^/?]*:80(?![0-9])")
_URL: Final = re.compile(r"https?://[^\s/?#@\\]+(?:[/?][^\s#\\]*)?")


@dataclass(frozen=True, slots=True)
class SiteView:
    """What other sections need to know about a site, even if the site has errors."""

    hosts: tuple[str, ...]
    has_client_ca: bool
    anchors: Certificates | None  # None if a client_ca can't be read
    site: Site | None  # None if the site has errors


class Sites:
    """Reads the sites one after the other.

    `upstream_names` is None if the section `upstreams` can't be read; `upstreams` are those without errors.
    """

    def __init__(
        self,
        material: Material,
        upstream_names: Iterable[str] | None,
        upstreams: Iterable[Upstream],
        problems: Problems,
    ) -> None:
        self._material = material
        self._upstream_names = None if upstream_names is None else tuple(upstream_names)
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._problems = problems
        self._owners: dict[str, Place] = {}
        self._addresses: list[tuple[Place, str]] = []  # hosts that are addresses, of sites without "*"
        self.list_files: list[tuple[Place, Path, tuple[RevocationList, ...]]] = []  # those that were read

    def read(self, value: Value) -> SiteView:
        """Read one site; errors are reported."""
        hosts = self._hosts(value)
        authorities = [self._material.authorities(item) for item in value.items("client_ca")]
        anchors = self._anchors(value, authorities)
        certificate, key = self._certificate(value, hosts)
        self._check_strangers(value, anchors, certificate)
        crl = self._crl(value, anchors or ())
        upstream = self._upstream(value)
        protocols = self._protocols(value, upstream)
        site = None
        if hosts and certificate and key and upstream:
            site = Site(
                hosts=hosts,
                certificate=certificate,
                key=key,
                upstream=upstream,
                client_ca=tuple(file for file in authorities if file is not None),
                crl=crl,
                ocsp=Ocsp(**given(value.section("ocsp"), {"mode": "mode", "responder": "responder"})),
                hsts=self._hsts(value),
                protocols=protocols,
                line=value.place.mark.line,
                **given(value, {"crl_policy": "crl_policy"}),
            )
        return SiteView(hosts, "client_ca" in value.keys, anchors, site)

    def check_addresses(self) -> None:
        """Warn of hosts that clients can't ask for. To be called after every site was read."""
        fallback = self._owners.get("*")
        for place, host in self._addresses:
            cause = f"clients send no server name for an address, so none can ask for {quote(host)}"
            if fallback is None:
                remedy = 'add "*" to this list, for clients that send no server name'
            else:
                remedy = (
                    f'remove it: clients without a server name reach the site with "*" ({fallback.path} in line '
                    f"{fallback.mark.line})"
                )
            self._problems.warning(place, cause, remedy)

    def _hosts(self, value: Value) -> tuple[str, ...]:
        found: list[str] = []
        addresses: list[tuple[Place, str]] = []
        for item in value.items("hosts"):
            host = read_host(item, self._problems)
            if host is None:
                continue
            if (owner := self._owners.setdefault(host, item.place)) is not item.place:
                cause = f"{quote(host)} is already {owner.path} in line {owner.mark.line}"
                self._problems.error(item.place, cause, "remove one of the two")
                continue
            found.append(host)
            addresses += [(item.place, host)] if _is_address(host) else []
        if "*" not in found:
            self._addresses += addresses
        return tuple(found)

    def _anchors(self, value: Value, authorities: Sequence[CertificateFile | None]) -> Certificates | None:
        found = [file for file in authorities if file is not None]
        if len(found) < len(authorities):
            return None
        anchors = tuple(certificate for file in found for certificate in file.certificates)
        for line in (why_none_is_named(anchors), *too_many_of_one_name(anchors)):
            if line is not None:
                cause, _, remedy = line.rpartition("; ")
                self._problems.warning(value.at("client_ca"), cause, remedy)
        return anchors

    def _check_strangers(self, value: Value, anchors: Certificates | None, own: CertificateFile | None) -> None:
        found = strangers(anchors or (), None if own is None else own.certificates[0])
        if found is not None:
            self._problems.warning(value.at("client_ca"), *found)

    def _certificate(self, value: Value, hosts: tuple[str, ...]) -> tuple[CertificateFile | None, KeyFile | None]:
        certificate, key = value.get("certificate"), value.get("key")
        password = value.plain("key_password", None)
        if certificate is None:
            return None, None
        is_faulty = "key_password" in value.keys and "key_password" not in value.data
        shown, secret = self._material.identity(certificate, key, password, is_password_faulty=is_faulty)
        if password and secret is not None and secret.key is not None and not secret.is_encrypted:
            cause = f"key_password has no effect: {secret.path} is not encrypted"
            self._problems.warning(value.at("key_password"), cause, "remove key_password")
        uncovered = () if shown is None else uncovered_hosts(shown.certificates[0], hosts)
        if uncovered:
            cause = (
                "the certificate's subjectAltName does not contain "
                f"{listing(map(quote, uncovered), 'and')}, so browsers will warn"
            )
            self._problems.warning(certificate.place, cause, "issue it again with these names too")
        if shown is not None and lacks_intermediate(shown.certificates):
            cause = "the file has no intermediate, so phones and other clients refuse the certificate"
            remedy = "append the certificate of the CA that issued it, or name the CA's full chain (fullchain.pem)"
            self._problems.warning(certificate.place, cause, remedy)
        return shown, secret

    def _crl(self, value: Value, anchors: Certificates) -> tuple[str, ...]:
        sources: list[str] = []
        lists = ListCheck(anchors, self._material.now, self._problems)
        is_all_read = True
        for item in value.items("crl"):
            if "://" in str(item.data):
                is_all_read = False
                sources += self._url(item)
                self._material.permissions.check(list_folder(self._material.folder), item.place)
                continue
            found = self._material.revocation_lists(item)
            lists.add(item.place, found)
            self.list_files.append((item.place, self._material.path(item), found))
            is_all_read &= bool(found)
            sources.append(str(self._material.path(item)))
        if value.get("crl") is not None and "client_ca" not in value.keys:
            self._problems.warning(value.at("crl"), "crl has no effect without client_ca", "add client_ca")
        lists.check_dates()
        if is_all_read and sources and value.plain("crl_policy", "require") == "require":
            lists.check_coverage(value.at("crl"))
        elif is_all_read and sources:
            lists.check_use(value.at("crl"))
        return tuple(sources)

    def _url(self, item: Value) -> list[str]:
        """The URL of a list. A user name or password in it is refused, because URLs appear in logs."""
        url = str(item.data)
        if _URL.fullmatch(url) and _has_port_in_bounds(url):
            if (found := _OTHER_SCHEME.match(url)) is not None:
                other, port, scheme = ("https", 443, "http") if found[1] else ("http", 80, "https")
                cause = f"port {port} is for {other}, not for {scheme}"
                self._problems.warning(item.place, cause, f"write {other}://{url.partition('://')[2]}")
            return [url]
        self._problems.error(
            item.place, f"{quote(url)} cannot be fetched", "write http://host/path or https://host/path"
        )
        return []

    def _hsts(self, value: Value) -> Hsts | None:
        section = value.get("hsts")
        if section is None:
            return None
        found = Hsts(**given(section, _HSTS))
        if found.preload and not (found.include_subdomains and found.max_age_seconds >= PRELOAD_SECONDS):
            cause = "browsers accept preload only with include_subdomains and a max_age of 365 days or more"
            remedy = "write {max_age: 365d, include_subdomains: true, preload: true}, or remove preload"
            self._problems.error(section.at("preload"), cause, remedy)
        return found

    def _upstream(self, value: Value) -> str | None:
        item = value.get("upstream")
        if item is None:
            return None
        name = str(item.data)
        known = self._upstream_names
        if known is not None and name not in known:
            remedy = did_you_mean(name, known, "define it under upstreams")
            if "://" in name and known:
                remedy = f"write the upstream's name, {listing(known)}, and this URL under its servers"
            self._problems.error(item.place, f"{quote(name)} is not the name of an upstream", remedy)
        return name

    def _protocols(self, value: Value, upstream_name: str | None) -> tuple[Literal["h2", "http/1.1"], ...]:
        """HTTP/2 sends several requests at once, so it can't be used where a client has one upstream connection."""
        upstream = self._upstreams.get(upstream_name or "")
        is_of_one_client = upstream is not None and upstream.is_of_one_client
        found: list[Literal["h2", "http/1.1"]] = []
        for item in value.items("protocols"):
            if item.data in found:
                self._problems.error(item.place, f"{quote(item.data)} is listed twice", "remove one")
            else:
                found.append(item.data)
        place = value.at("protocols")
        if upstream is not None and is_of_one_client and "h2" in found:
            why = "connections: per_client" if upstream.connections == "per_client" else "proxy_protocol: true"
            cause = f"with h2 a client sends several requests at once, and upstream {upstream.name} has one connection"
            self._problems.error(place, f"{cause} for each client ({why})", "write [http/1.1]")
        elif found == ["h2"] and not self._problems.are_in(place):
            cause = "http/1.1 can't be left out, because clients without ALPN speak it, such as monitoring"
            self._problems.error(place, cause, "write [h2, http/1.1]")
        return tuple(found) or (("http/1.1",) if is_of_one_client else ("h2", "http/1.1"))


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host.strip("[]")))
    except ValueError:
        return False


def _has_port_in_bounds(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def read_host(item: Value, problems: Problems) -> str | None:
    """A host pattern in its one spelling; None (and an error) if it is not a host pattern."""
    try:
        return parse_host(str(item.data))
    except Unreadable as error:
        problems.error(item.place, error.cause, error.remedy)
        return None
