"""A mail server (aiosmtpd) that keeps what it takes: STARTTLS with a certificate of its own CA, and a login."""

from __future__ import annotations

import email
import gc
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from support.gateway import free_port

USER, PASSWORD = "gateway", "swordfish-4711"


@dataclass(frozen=True)
class Taken:
    """A mail that was taken."""

    mail: EmailMessage
    sender: str
    recipients: list[str]
    was_encrypted: bool


class PostOffice:
    """Listens from `start` to `stop`, on the same port again and again."""

    def __init__(
        self, certificate: Path | None = None, key: Path | None = None, *, is_implicit: bool = False, login: bool = True
    ) -> None:
        """Without a certificate there is no TLS."""
        self.port = free_port()
        self.taken: list[Taken] = []
        self.logins: list[str] = []
        self.refuses: dict[str, str] = {}  # recipient → answer
        self.on_data: Callable[[], str | None] = lambda: None  # before a mail is taken; an answer refuses it
        self.after_quit: Callable[[], object] | None = None  # between the answer to QUIT and the end
        self._tls = certificate is not None
        self._is_implicit = is_implicit
        self._login = login and not is_implicit  # aiosmtpd knows of no TLS that is there from the start
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate, key)
        self._controller: Controller | None = None

    def start(self) -> PostOffice:
        options: dict[str, Any] = {}
        if self._login:
            options |= {"authenticator": self._authenticate, "auth_required": True, "auth_require_tls": self._tls}
        if self._is_implicit:
            options |= {"ssl_context": self._context}
        elif self._tls:
            options |= {"tls_context": self._context, "require_starttls": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()
        return self

    def stop(self) -> None:
        # aiosmtpd forgets connections that are open now, or whose client did not like its certificate.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if self._controller is not None:
                self._controller.stop()
                self._controller = None
            gc.collect()

    @property
    def mails(self) -> list[EmailMessage]:
        return [each.mail for each in self.taken]

    def to(self, address: str) -> list[EmailMessage]:
        return [each.mail for each in self.taken if address in each.recipients]

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        is_known = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.logins.append(data.login.decode())
        # A refusal that repeats what it was told, as some servers' do.
        return AuthResult(
            success=is_known, handled=False, message=None if is_known else f"535 {data.password!r} is bad"
        )

    async def handle_QUIT(  # noqa: N802 - the interface
        self, server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        if self.after_quit is not None:
            await server.push("221 Bye")
            self.after_quit()
        return "221 Bye"

    async def handle_RCPT(  # noqa: N802 - the interface
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if (answer := self.refuses.get(address)) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the interface
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if (answer := self.on_data()) is not None:
            return answer
        message = email.message_from_bytes(bytes(envelope.content or b""), policy=default)
        assert isinstance(message, EmailMessage)
        is_encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.taken.append(Taken(message, str(envelope.mail_from), envelope.rcpt_tos, is_encrypted))
        return "250 OK"
