"""The servers that are measured, told the same: one worker, the same certificates, rules, forwarded headers and log.

Everybody verifies the client certificate where one is shown, lets 127.0.0.1 in without, forwards two paths, sends
X-Forwarded-For, X-Forwarded-Proto and X-Request-Id on, keeps upstream connections open, streams bodies without storing
them, and writes a JSON access log.
"""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.certificates import HOST, Certificates

KEEPALIVE_CONNECTIONS = 64
MOST_OPEN_FILES = 24_000
PATHS = {"1k": ("/webmail/1k", 1024), "64k": ("/webmail/64k", 65536)}

_HAPROXY_LOG = (
    '{"time":"%tr","request_id":"%ID","client_ip":"%ci","client_port":%cp,"site":"%ft","method":"%HM"'
    ',"host":"%[capture.req.hdr(0),json(utf8s)]","uri":"%[capture.req.uri,json(utf8s)]","status":%ST'
    ',"bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,"upstream":"%s","upstream_ms":%Tr'
    ',"tls_version":"%sslv","tls_cipher":"%sslc","cert_subject":"%[ssl_c_s_dn,json(utf8s)]"'
    ',"user_agent":"%[capture.req.hdr(1),json(utf8s)]"}'
)


@dataclass(frozen=True)
class Place:
    """Where a server lives while it is measured."""

    folder: Path
    certificates: Certificates
    port: int
    upstream_port: int


@dataclass(frozen=True)
class Start:
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def gateway(place: Place) -> Start:
    c = place.certificates
    config = place.folder / "gateway.yaml"
    config.write_text(f"""\
listen:
  - address: "127.0.0.1:{place.port}"
networks:
  internal: [127.0.0.1/32]
  office: [203.0.113.0/28, 198.51.100.0/24]
sites:
  - hosts: [{HOST}]
    certificate: {c.server}
    key: {c.server_key}
    client_ca: [{c.ca}]
    upstream: mail
upstreams:
  mail:
    servers: ["http://127.0.0.1:{place.upstream_port}"]
rules:
  - name: Nobody administers from outside
    from: external
    uri: [/ecp, /owa/auth, /webmail/admin]
    action: deny
  - name: Inside the office no certificate is needed
    from: [internal, office]
    action: allow
  - name: Health checks of the balancer
    uri: ["=/healthz"]
    methods: [GET, HEAD]
    action: allow
  - name: Webmail and ActiveSync from outside
    hosts: [{HOST}]
    from: external
    uri: [/webmail, /Microsoft-Server-ActiveSync]
    methods: [GET, POST, OPTIONS]
    action: require_certificate
  - name: Everything else
    action: deny
limits: {{connections_per_ip: 5000, handshakes_per_second_per_ip: 1000000,
  requests_per_second_per_ip: 1000000}}
access_log: {{path: {place.folder / "gateway-access.jsonl"}, format: json}}
workers: 1
""")
    return Start([sys.executable, "-m", "gateway", "run", "-c", str(config)])


def nginx(place: Place) -> Start:
    c = place.certificates
    return nginx_of(
        place.folder,
        "nginx",
        f"""
    log_format access escape=json '{{"time":"$time_iso8601","request_id":"$request_id","client_ip":"$remote_addr",'
        '"method":"$request_method","host":"$host","uri":"$request_uri","status":$status,"bytes_out":$bytes_sent,'
        '"duration":$request_time,"upstream":"$upstream_addr","upstream_time":"$upstream_response_time",'
        '"tls_version":"$ssl_protocol","tls_cipher":"$ssl_cipher","cert_subject":"$ssl_client_s_dn",'
        '"cert_serial":"$ssl_client_serial","user_agent":"$http_user_agent","referer":"$http_referer"}}';
    access_log {place.folder}/nginx-access.jsonl access buffer=64k flush=1s;
    geo $is_inside {{ default 0; 127.0.0.1/32 1; 203.0.113.0/28 1; 198.51.100.0/24 1; }}
    map "$is_inside:$ssl_client_verify" $is_allowed {{ default 0; "~^1:" 1; "0:SUCCESS" 1; }}
    upstream mail {{ server 127.0.0.1:{place.upstream_port}; keepalive {KEEPALIVE_CONNECTIONS}; }}
    server {{
        listen 127.0.0.1:{place.port} ssl;
        server_name {HOST};
        ssl_certificate {c.server};
        ssl_certificate_key {c.server_key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_client_certificate {c.ca};
        ssl_verify_client optional;
        keepalive_timeout 75s;
        keepalive_requests 1000000000;
        proxy_http_version 1.1;
        proxy_read_timeout 60m;
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        client_max_body_size 2g;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Request-Id $request_id;
        location / {{ return 403; }}
        location /webmail {{ if ($is_allowed = 0) {{ return 403; }} proxy_pass http://mail; }}
        location /Microsoft-Server-ActiveSync {{ if ($is_allowed = 0) {{ return 403; }} proxy_pass http://mail; }}
    }}""",
    )


def upstream(place: Place) -> Start:
    """The mail server's stand-in: nginx with files of exactly 1 and 64 KiB, on the load generator's core."""
    for path, size in PATHS.values():
        file = place.folder / "root" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    # The bench runs as root in a container: the worker must be able to read what only root owns.
    return nginx_of(
        place.folder,
        "upstream",
        f"""
    access_log off;
    sendfile on;
    open_file_cache max=10 inactive=600s;
    server {{
        listen 127.0.0.1:{place.upstream_port};
        root {place.folder}/root;
        keepalive_timeout 600s;
        keepalive_requests 1000000000;
    }}""",
    )


def nginx_of(folder: Path, name: str, http: str) -> Start:
    """An nginx of this name with one worker; `http`: what its block of this name contains."""
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{name}-temp-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / f"{name}.conf"
    open_files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST_OPEN_FILES)
    config.write_text(f"""\
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {open_files};
pid {folder}/{name}.pid;
error_log {folder}/{name}-error.log warn;
events {{ worker_connections {open_files}; }}
http {{
    {temporary}{http}
}}
""")
    return Start([_program("nginx"), "-e", f"{folder}/{name}-error.log", "-c", str(config)])


def haproxy(place: Place) -> Start:
    c = place.certificates
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""\
global
    nbthread 1
    maxconn 4096
    log stdout format raw local0 info
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log global
    timeout connect 5s
    timeout client 75s
    timeout server 60m
    timeout http-keep-alive 75s
    http-reuse always
    unique-id-format %{{+X}}o%ci%cp%Ts%rt
    log-format '{_HAPROXY_LOG}'
frontend front
    bind 127.0.0.1:{place.port} ssl crt {c.server_both} ca-file {c.ca} verify optional
    capture request header Host len 64
    capture request header User-Agent len 128
    acl is_inside src 127.0.0.1/32 203.0.113.0/28 198.51.100.0/24
    acl is_path path_beg -i /webmail /Microsoft-Server-ActiveSync
    http-request deny deny_status 403 unless is_path
    http-request deny deny_status 403 if !is_inside !{{ ssl_c_used }}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Request-Id %[unique-id]
    default_backend mail
backend mail
    server mail 127.0.0.1:{place.upstream_port} pool-max-conn {KEEPALIVE_CONNECTIONS}
""")
    return Start([_program("haproxy"), "-db", "-f", str(config)])


def caddy(place: Place) -> Start:
    c = place.certificates
    config = place.folder / "Caddyfile"
    config.write_text(f"""\
{{
    admin off
    auto_https off
    storage file_system {place.folder}/caddy
    default_bind 127.0.0.1
    servers {{
        protocols h1
    }}
}}
https://{HOST}:{place.port} {{
    bind 127.0.0.1
    tls {c.server} {c.server_key} {{
        client_auth {{
            mode verify_if_given
            trusted_ca_cert_file {c.ca}
        }}
    }}
    log {{
        output file {place.folder}/caddy-access.jsonl
        format json
    }}
    @mail path /webmail/* /Microsoft-Server-ActiveSync*
    @stranger {{
        not remote_ip 127.0.0.1/32 203.0.113.0/28 198.51.100.0/24
        expression {{tls_client_subject}} == ""
    }}
    handle @stranger {{
        respond 403
    }}
    handle @mail {{
        reverse_proxy 127.0.0.1:{place.upstream_port} {{
            header_up X-Request-Id {{http.request.uuid}}
            transport http {{
                keepalive_idle_conns_per_host {KEEPALIVE_CONNECTIONS}
                compression off
            }}
        }}
    }}
    handle {{
        respond 403
    }}
}}
""")
    home = {"HOME": str(place.folder), "XDG_CONFIG_HOME": str(place.folder), "GOMAXPROCS": "1"}
    return Start([_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)], home)


def aiohttp(place: Place) -> Start:
    c = place.certificates
    arguments = [place.port, place.upstream_port, c.server, c.server_key, c.ca, place.folder / "aiohttp-access.log"]
    return Start([sys.executable, "-m", "bench.aiohttp_proxy", *map(str, arguments)])


PEERS: dict[str, Callable[[Place], Start]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "aiohttp": aiohttp,
    "gateway": gateway,
}


def missing(names: Sequence[str]) -> list[str]:
    """The programs that aren't installed; nginx is needed always, as the upstream."""
    return [
        name
        for name in dict.fromkeys(["taskset", "nginx", *names])
        if name not in ("gateway", "aiohttp") and not _find(name)
    ]


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _program(name: str) -> str:
    path = _find(name)
    if path is None:
        raise FileNotFoundError(name)
    return path
