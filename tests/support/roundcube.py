"""Roundcube as people run it: PHP-FPM behind nginx, Dovecot for the mailboxes and Exim to send with, all on loopback.

with Roundcube.started() as roundcube:
    roundcube.dovecot.deliver("alice", b"Subject: Hello\\r\\n\\r\\nWorld\\r\\n")
    settings_for(site, roundcube.url)

Whoever logs in with `PASSWORD` has an account, USER@example.com. A mail that is sent goes through Exim into the
recipient's mailbox in Dovecot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from support import dovecot
from support.dovecot import Dovecot
from support.gateway import INSIDE
from support.services import Services

PASSWORD = "opens-the-mailbox"
DOMAIN = "example.com"
MAX_UPLOAD_MEBIBYTES = 25
EXIM_USER = "Debian-exim"
PHP_FPM = "/usr/sbin/php-fpm*"
WEB_ROOT = "/var/lib/roundcube/public_html"
DEFAULTS = Path("/etc/roundcube/defaults.inc.php")
PHP_DRIVER = "/usr/lib/php/*/pdo_sqlite.so"
NEEDED = (
    *(*dovecot.NEEDED, dovecot.NEEDED_FOR_LMTP, "nginx", "exim4", PHP_FPM, PHP_DRIVER, str(DEFAULTS)),
    f"{WEB_ROOT}/index.php",
)

# One of the mailboxes' owners may send, to the others. It runs as its own user from the start, and so needs none else.
_EXIM = """\
primary_hostname = mail.{domain}
qualify_domain = {domain}
spool_directory = {folder}/exim
log_file_path = {folder}/exim/%slog
pid_file_path = {folder}/exim/pid
local_interfaces = {host}
daemon_smtp_ports = {port}
message_size_limit = 50M
tls_advertise_hosts =
keep_environment =
deliver_drop_privilege
acl_smtp_rcpt = recipient
begin acl
recipient:
  accept
    authenticated = *
    domains = {domain}
  deny
begin routers
mailbox:
  driver = accept
  transport = dovecot
begin transports
dovecot:
  driver = lmtp
  socket = {lmtp}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if eq{{$auth3}}{{{password}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if eq{{$auth2}}{{{password}}}}}
  server_set_id = $auth1
"""

_ROUNDCUBE = """\
<?php
$config['db_dsnw'] = 'sqlite:///{folder}/roundcube/mail.db?mode=0640';
$config['imap_host'] = '{host}:{imap}';
$config['smtp_host'] = '{host}:{smtp}';
$config['mail_domain'] = '{domain}';
$config['des_key'] = '0123456789abcdef01234567';
$config['log_dir'] = '{folder}/roundcube/';
$config['temp_dir'] = '{folder}/roundcube/';
$config['log_logins'] = true;
$config['login_rate_limit'] = 100;
$config['proxy_whitelist'] = ['{gateway}'];
$config['language'] = 'en_GB';
$config['draft_autosave'] = 0;
$config['plugins'] = [];
"""

_PHP_FPM = """\
[global]
daemonize = no
error_log = {folder}/php.txt
[roundcube]
user = www-data
group = www-data
listen = {folder}/php.sock
listen.owner = www-data
pm = static
pm.max_children = 3
catch_workers_output = yes
env[ROUNDCUBE_CONFIG_DIR] = {folder}/config
php_admin_value[upload_tmp_dir] = {folder}/roundcube
php_admin_value[upload_max_filesize] = {megabytes}M
php_admin_value[post_max_size] = {megabytes}M
"""

# As in docs/servers.md.
_NGINX = """\
daemon off;
user www-data;
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
  server {{
    listen {host}:{port};
    client_max_body_size 0;
    fastcgi_read_timeout 300;
    include /etc/nginx/fastcgi.conf;
    fastcgi_param SCRIPT_FILENAME {root}/index.php;
    fastcgi_param SCRIPT_NAME /roundcube/index.php;
    location = /roundcube {{ return 302 https://$host/roundcube/; }}
    location = /roundcube/ {{ fastcgi_pass unix:{folder}/php.sock; }}
    location = /roundcube/index.php {{ fastcgi_pass unix:{folder}/php.sock; }}
    location ~ \\.(php|inc|md)$ {{ return 404; }}
    location /roundcube/ {{ alias {root}/; }}
  }}
}}
"""


class Roundcube:
    """All of it."""

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Running while it is entered."""
        with Services("roundcube", needed=NEEDED) as services:
            yield cls(services)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._smtp, self._web = services.free_port(), services.free_port()
        self.dovecot = Dovecot(services, PASSWORD, takes_mails=True)
        self._start_exim()
        self._start_php()
        self._start_web()

    @property
    def url(self) -> str:
        """Where the gateway finds it."""
        return f"http://{self._services.host}:{self._web}"

    def log(self, name: str) -> str:
        """What Roundcube wrote into one of its logs so far."""
        path = self._services.folder / "roundcube" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _start_exim(self) -> None:
        self._services.make_folder("exim", EXIM_USER)
        config = self._write("exim.conf", _EXIM, port=self._smtp, lmtp=self.dovecot.lmtp, password=PASSWORD)
        self._services.run("exim4", "-bdf", "-q1m", "-C", str(config), user=EXIM_USER)
        self._services.wait_for("exim4", lambda: self._services.listens(self._smtp))

    def _start_php(self) -> None:
        folder = self._services.folder
        self._services.make_folder("roundcube", "www-data")
        (folder / "config").mkdir()
        (folder / "config" / DEFAULTS.name).symlink_to(DEFAULTS)
        self._write("config/config.inc.php", _ROUNDCUBE, imap=self.dovecot.port, smtp=self._smtp, gateway=INSIDE)
        config = self._write("php-fpm.conf", _PHP_FPM, megabytes=MAX_UPLOAD_MEBIBYTES)
        self._services.run(PHP_FPM, "-y", str(config))
        self._services.wait_for(PHP_FPM, (folder / "php.sock").exists)

    def _start_web(self) -> None:
        config = self._write("nginx.conf", _NGINX, port=self._web, root=WEB_ROOT)
        self._services.run("nginx", "-e", str(self._services.folder / "nginx.txt"), "-c", str(config))
        self._services.wait_for("nginx", lambda: self._services.answers(self._web, "/roundcube/"))

    def _write(self, name: str, template: str, **values: object) -> Path:
        path = self._services.folder / name
        path.write_text(
            template.format(folder=self._services.folder, host=self._services.host, domain=DOMAIN, **values)
        )
        return path
