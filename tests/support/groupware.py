"""SOGo as people run it: sogod with PostgreSQL, memcached and Dovecot behind it and nginx in front, all on loopback.

with Groupware.started() as groupware:
    groupware.dovecot.deliver(USER, b"Subject: Hello\\r\\n\\r\\nWorld\\r\\n")
    settings_for(site, groupware.url)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psycopg
from support import dovecot, postgres
from support.dovecot import Dovecot
from support.services import Services

USER, PASSWORD = "alice", "opens-the-mailbox"
MAX_PING_SECONDS = 60
WEB_RESOURCES = "/usr/lib/GNUstep/SOGo/WebServerResources"
ACTIVE_SYNC = "/usr/lib/GNUstep/SOGo/ActiveSync.SOGo/ActiveSync"
NEEDED = (*dovecot.NEEDED, "sogod", "memcached", "nginx", "pg_ctlcluster", ACTIVE_SYNC)

# The tables that sogod makes itself otherwise: its workers do so all at once, and those who lose report an error.
_TABLES = """\
CREATE TABLE people (c_uid text PRIMARY KEY, c_name text, c_password text, c_cn text, mail text);
CREATE TABLE profile (c_uid varchar(255) PRIMARY KEY, c_defaults text, c_settings text);
CREATE TABLE folder_info (
  c_folder_id serial, c_path varchar(255) PRIMARY KEY, c_path1 varchar(255) NOT NULL, c_path2 varchar(255),
  c_path3 varchar(255), c_path4 varchar(255), c_foldername varchar(255) NOT NULL, c_location varchar(2048),
  c_quick_location varchar(2048), c_acl_location varchar(2048), c_folder_type varchar(255) NOT NULL
);
CREATE TABLE sessions (
  c_id varchar(255) PRIMARY KEY, c_value varchar(4096) NOT NULL, c_creationdate int NOT NULL, c_lastseen int NOT NULL
);
"""

# As in SOGo's own documentation, with the time that a phone's Ping takes.
_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.txt;
events {{ }}
http {{
  include /etc/nginx/mime.types;
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  proxy_http_version 1.1;
  proxy_read_timeout 3650;
  proxy_buffer_size 64k;
  proxy_buffers 8 64k;
  proxy_set_header Host $host;
  proxy_set_header x-webobjects-server-protocol HTTP/1.0;
  proxy_set_header x-webobjects-server-name $host;
  proxy_set_header x-webobjects-server-url https://$host;
  proxy_set_header x-webobjects-server-port 443;
  server {{
    listen {host}:{port};
    location = / {{ return 302 https://$host/SOGo; }}
    location ^~ /SOGo {{ proxy_pass http://{host}:{sogo}; }}
    location ^~ /Microsoft-Server-ActiveSync {{
      proxy_pass http://{host}:{sogo}/SOGo/Microsoft-Server-ActiveSync;
    }}
    location /SOGo.woa/WebServerResources/ {{ alias {resources}/; }}
    location ^~ /SOGo/WebServerResources/ {{ alias {resources}/; }}
  }}
}}
"""


class Groupware:
    """All of it. One person has an account: `USER`."""

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Running while it is entered."""
        with Services("sogo", needed=NEEDED) as services:
            yield cls(services)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ports = {name: services.free_port() for name in ("postgres", "sogo", "web")}
        self._start_database()
        self.dovecot = Dovecot(services, PASSWORD)
        self._start_memcached()
        self._start_sogo()
        self._start_web()

    @property
    def url(self) -> str:
        """Where the gateway finds it."""
        return f"http://{self._services.host}:{self._ports['web']}"

    def _start_database(self) -> None:
        host, port = self._services.host, self._ports["postgres"]
        self._services.stack.enter_context(postgres.cluster((host, port)))
        with psycopg.connect(host=host, port=port, user="gateway", dbname="postgres") as connection:
            connection.execute(_TABLES)
            person = (USER, USER, PASSWORD, "Alice Example", f"{USER}@example.com")
            connection.execute("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", person)

    def _start_memcached(self) -> None:
        path = self._services.folder / "memcached.sock"
        # In a folder of root's the socket is made by root, and the server then runs as nobody.
        self._services.run("memcached", "-u", "root", "-s", str(path), "-a", "0777", "-m", "16")
        self._services.wait_for("memcached", path.exists)

    def _start_sogo(self) -> None:
        host, port = self._services.host, self._ports["sogo"]
        home, spool = (self._services.make_folder(name, "sogo") for name in ("sogo", "sogo-spool"))
        database = f"postgresql://gateway:none@{host}:{self._ports['postgres']}/postgres"
        source = (
            f'({{type = sql; id = people; viewURL = "{database}/people"; canAuthenticate = YES; '
            'isAddressBook = YES; userPasswordAlgorithm = plain; displayName = "People";})'
        )
        settings = {
            "WOPort": f"{host}:{port}",
            "WOWorkersCount": "3",
            "WONoDetach": "YES",
            "WOLogFile": "-",
            "WOPidFile": str(home / "pid"),
            "WOWatchDogRequestTimeout": "60",
            "SOGoProfileURL": f"{database}/profile",
            "OCSFolderInfoURL": f"{database}/folder_info",
            "OCSSessionsFolderURL": f"{database}/sessions",
            "OCSEMailAlarmsFolderURL": f"{database}/alarms",
            "SOGoUserSources": source,
            "SOGoMemcachedHost": str(self._services.folder / "memcached.sock"),
            "SOGoMailSpoolPath": str(spool),
            "SOGoIMAPServer": f"imap://{host}:{self.dovecot.port}",
            "SOGoMailDomain": "example.com",
            "SOGoLoginModule": "Mail",
            "SOGoLanguage": "English",
            "SOGoTimeZone": "UTC",
            "SOGoMaximumPingInterval": str(MAX_PING_SECONDS),
            "SOGoMaximumSyncInterval": str(MAX_PING_SECONDS),
            "SOGoInternalSyncInterval": "1",
        }
        arguments = [each for name, value in settings.items() for each in (f"-{name}", value)]
        self._services.run("sogod", *arguments, user="sogo", home=home)
        self._services.wait_for("sogod", lambda: self._services.answers(port, "/SOGo/"))

    def _start_web(self) -> None:
        folder, port = self._services.folder, self._ports["web"]
        config = folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                folder=folder,
                host=self._services.host,
                port=port,
                sogo=self._ports["sogo"],
                resources=WEB_RESOURCES,
            )
        )
        self._services.run("nginx", "-e", str(folder / "nginx.txt"), "-c", str(config))
        self._services.wait_for("nginx", lambda: self._services.listens(port))
