"""SOGo as people run it: sogod with PostgreSQL, memcached and Dovecot behind it and nginx in front, all on loopback.

    with Groupware() as groupware:
        groupware.deliver("Subject: Hello\\r\\n\\r\\nWorld\\r\\n")
        settings_for(site, groupware.url)

Everything they write is in one folder of /tmp, for they run as users who can't read root's own folders. Each runs
in the foreground, in a process group of its own, and is ended by that.
"""

from __future__ import annotations

import imaplib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import psycopg
import pytest
from support import postgres
from support.programs import need
from support.waiting import until

USER, PASSWORD = "alice", "opens-the-mailbox"
MAX_PING_SECONDS = 60
START_SECONDS = 60.0
STOP_SECONDS = 3.0  # sogod takes half a minute, and is killed
WEB_RESOURCES = "/usr/lib/GNUstep/SOGo/WebServerResources"
ACTIVE_SYNC = "/usr/lib/GNUstep/SOGo/ActiveSync.SOGo/ActiveSync"
IMAP = "/usr/lib/dovecot/imap"

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

_DOVECOT = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.txt
instance_name = gateway-tests
protocols = imap
listen = {host}
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%n
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = {uid}
first_valid_gid = {gid}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
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
    """All of it, running while it is entered. One person has an account: `USER`."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            message = "only root may start PostgreSQL, Dovecot and SOGo as the users they want to be"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
        needed = (*("sogod", "memcached", "dovecot", "nginx", "pg_ctlcluster"), ACTIVE_SYNC, IMAP)
        self._programs = {program: need(program) for program in needed}
        self._stack = ExitStack()
        self.folder = Path()
        # An address of its own: no outgoing connection takes one of its ports before its server does.
        self._host = f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
        self._ports = {name: self._free_port() for name in ("postgres", "imap", "sogo", "web")}

    @property
    def url(self) -> str:
        """Where the gateway finds it."""
        return f"http://{self._host}:{self._ports['web']}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            self.folder = Path(tempfile.mkdtemp(prefix="gateway-sogo-", dir="/tmp"))
            self.folder.chmod(0o755)
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._start_database()
            self._start_mail()
            self._start_memcached()
            self._start_sogo()
            self._start_web()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def deliver(self, message: str) -> None:
        """A mail that is in the inbox now."""
        with imaplib.IMAP4(self._host, self._ports["imap"], timeout=10) as imap:
            imap.login(USER, PASSWORD)
            # Dovecot counts changes from the first time on that somebody asks for it; SOGo's Sync relies on it.
            imap.enable("CONDSTORE")
            imap.select("INBOX")
            kind, data = imap.append("INBOX", "", "", message.encode())
            assert kind == "OK", data

    def _free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind((self._host, 0))
            return int(probe.getsockname()[1])

    def _start_database(self) -> None:
        port = self._ports["postgres"]
        self._stack.enter_context(postgres.cluster((self._host, port)))
        with psycopg.connect(host=self._host, port=port, user="gateway", dbname="postgres") as connection:
            connection.execute(_TABLES)
            person = (USER, USER, PASSWORD, "Alice Example", f"{USER}@example.com")
            connection.execute("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", person)

    def _start_mail(self) -> None:
        account = pwd.getpwnam("nobody")
        mail = self.folder / "mail"
        mail.mkdir()
        os.chown(mail, account.pw_uid, account.pw_gid)
        config = self.folder / "dovecot.conf"
        config.write_text(
            _DOVECOT.format(
                folder=self.folder,
                host=self._host,
                port=self._ports["imap"],
                password=PASSWORD,
                uid=account.pw_uid,
                gid=account.pw_gid,
            )
        )
        self._run("dovecot", "-F", "-c", str(config))
        self._await("dovecot", lambda: _listens(self._host, self._ports["imap"]))

    def _start_memcached(self) -> None:
        path = self.folder / "memcached.sock"
        # In a folder of root's the socket is made by root, and the server then runs as nobody.
        self._run("memcached", "-u", "root", "-s", str(path), "-a", "0777", "-m", "16")
        self._await("memcached", path.exists)

    def _start_sogo(self) -> None:
        home = self.folder / "sogo"
        (home / "spool").mkdir(parents=True)
        account = pwd.getpwnam("sogo")
        for path in (home, home / "spool"):
            os.chown(path, account.pw_uid, account.pw_gid)
        database = f"postgresql://gateway:none@{self._host}:{self._ports['postgres']}/postgres"
        source = (
            f'({{type = sql; id = people; viewURL = "{database}/people"; canAuthenticate = YES; '
            'isAddressBook = YES; userPasswordAlgorithm = plain; displayName = "People";})'
        )
        settings = {
            "WOPort": f"{self._host}:{self._ports['sogo']}",
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
            "SOGoMemcachedHost": str(self.folder / "memcached.sock"),
            "SOGoMailSpoolPath": str(home / "spool"),
            "SOGoIMAPServer": f"imap://{self._host}:{self._ports['imap']}",
            "SOGoMailDomain": "example.com",
            "SOGoLoginModule": "Mail",
            "SOGoLanguage": "English",
            "SOGoTimeZone": "UTC",
            "SOGoMaximumPingInterval": str(MAX_PING_SECONDS),
            "SOGoMaximumSyncInterval": str(MAX_PING_SECONDS),
            "SOGoInternalSyncInterval": "1",
        }
        arguments = [each for name, value in settings.items() for each in (f"-{name}", value)]
        self._run("sogod", *arguments, user="sogo", home=home)
        self._await("sogod", lambda: _answers(self._host, self._ports["sogo"], "/SOGo/"))

    def _start_web(self) -> None:
        config = self.folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                folder=self.folder,
                host=self._host,
                port=self._ports["web"],
                sogo=self._ports["sogo"],
                resources=WEB_RESOURCES,
            )
        )
        self._run("nginx", "-e", str(self.folder / "nginx.txt"), "-c", str(config))
        self._await("nginx", lambda: _listens(self._host, self._ports["web"]))

    def _run(self, program: str, *arguments: str, user: str | None = None, home: Path | None = None) -> None:
        """Start it; when everything is over, end its whole process group."""
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else []
        output = self.folder / f"{program}.output"
        with output.open("wb") as written:
            process = subprocess.Popen(
                [*as_user, self._programs[program], *arguments],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(home or self.folder)},
                start_new_session=True,
            )
        self._stack.callback(_end, process)
        self._running = process

    def _await(self, program: str, is_there: Callable[[], bool]) -> None:
        def holds() -> bool:
            assert self._running.poll() is None, self._told(program)
            return is_there()

        try:
            until(holds, f"{program} runs", seconds=START_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._told(program)}") from error

    def _told(self, program: str) -> str:
        paths = (self.folder / f"{program}.output", self.folder / f"{program}.txt")
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def _answers(host: str, port: int, path: str) -> bool:
    """A web server gives any answer to HTTP here."""
    try:
        with socket.create_connection((host, port), timeout=30) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return connection.recv(12).startswith(b"HTTP/1")
    except OSError:
        return False
