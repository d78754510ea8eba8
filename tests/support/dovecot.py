"""Dovecot with a mailbox for whoever logs in with the one password; on a socket it takes mails from a mail server too.

dovecot = Dovecot(services, password="opens-the-mailbox")
dovecot.deliver("alice", b"Subject: Hello\\r\\n\\r\\nWorld\\r\\n")
"""

from __future__ import annotations

import imaplib
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

from support.services import Services

NEEDED = ("dovecot", "/usr/lib/dovecot/imap")
NEEDED_FOR_LMTP = "/usr/lib/dovecot/lmtp"

_CONFIG = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.txt
instance_name = gateway-tests
protocols = {protocols}
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
  args = uid={uid} gid={gid} home={folder}/mail/%n allow_all_users=yes
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


class Dovecot:
    """Running from here on, until the services end."""

    def __init__(self, services: Services, password: str, *, takes_mails: bool = False) -> None:
        self._host, self.port = services.host, services.free_port()
        self._password = password
        self.lmtp = services.folder / "dovecot" / "lmtp"
        account = pwd.getpwnam("nobody")
        services.make_folder("mail", account.pw_name)
        config = services.folder / "dovecot.conf"
        config.write_text(
            _CONFIG.format(
                folder=services.folder,
                host=self._host,
                port=self.port,
                password=password,
                protocols="imap lmtp" if takes_mails else "imap",
                uid=account.pw_uid,
                gid=account.pw_gid,
            )
        )
        services.run("dovecot", "-F", "-c", str(config))
        services.wait_for("dovecot", lambda: services.listens(self.port))

    def deliver(self, user: str, message: bytes) -> None:
        """A mail that is in the user's inbox now."""
        with self._opened(user, "INBOX") as imap:
            kind, data = imap.append("INBOX", "", "", message)
            assert kind == "OK", data

    def mails(self, user: str, mailbox: str = "INBOX") -> list[EmailMessage]:
        """What is there; nothing in a mailbox that isn't."""
        with self._opened(user, mailbox) as imap:
            if imap.state != "SELECTED":
                return []
            _, (numbers,) = imap.search(None, "ALL")
            return [_parsed(imap, number) for number in numbers.split()]

    @contextmanager
    def _opened(self, user: str, mailbox: str) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4(self._host, self.port, timeout=30) as imap:
            imap.login(user, self._password)
            # Dovecot counts changes from the first time on that somebody asks for it; SOGo's Sync relies on it.
            imap.enable("CONDSTORE")
            imap.select(mailbox)
            yield imap


def _parsed(imap: imaplib.IMAP4, number: bytes) -> EmailMessage:
    _, parts = imap.fetch(number.decode(), "(BODY.PEEK[])")
    (whole,) = [part[1] for part in parts if isinstance(part, tuple)]
    return BytesParser(policy=default).parsebytes(whole)
