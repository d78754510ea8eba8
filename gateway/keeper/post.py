"""The connection to the mail server, one for a batch of mails.

Keeps true: the server's certificate is checked before anything is sent, except with `tls: none`. The configuration
makes sure that a password is never sent without TLS. No message of the gateway has the password, even if the server
repeats it. Every step has a time limit.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from typing import Final, cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from gateway.config.model import Mail
from gateway.errors import ConfigError, OperationError
from gateway.keeper.letters import UndeliverableError
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

# For the connection, TLS and the login together.
CONNECT_SECONDS: Final = 30.0
# For one mail. A server that scans mails may need half a minute.
MAIL_SECONDS: Final = 60.0
QUIT_SECONDS: Final = 5.0
# How much of a server's answer is shown.
ANSWER_CHARACTERS: Final = 200
_TRY_LATER: Final = 421  # RFC 5321 section 3.8: the server closes the connection


class Post:
    """A connection to the mail server."""

    def __init__(self, client: SMTP, mail: Mail) -> None:
        self._client = client
        self._mail = mail

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> dict[str, str]:
        """Send one mail. If the server accepts it for some recipients only, returns the others with their answers.

        Raises `UndeliverableError` if only this mail fails, `OperationError` if the server can't be used any more.
        """
        try:
            async with asyncio.timeout(MAIL_SECONDS):
                refused, _ = await self._client.sendmail(self._mail.sender, list(recipients), message.as_bytes())
        except SMTPRecipientsRefused as error:
            raise UndeliverableError(_answer(error.recipients[0]), "Correct the address.") from error
        except SMTPDataError as error:
            if error.code == _TRY_LATER:
                raise _unusable(self._mail, error) from _harmless(error)
            raise UndeliverableError(_answer(error), "Ask the mail server's administrator.") from error
        except (SMTPException, OSError, ValueError) as error:
            raise _unusable(self._mail, error) from _harmless(error)
        return {address: _shown(f"{answer.code} {answer.message}") for address, answer in refused.items()}


@asynccontextmanager
async def connected(mail: Mail) -> AsyncIterator[Post]:
    """A connection to the mail server, logged in if the configuration has a user. Raises `OperationError`."""
    client = SMTP(
        hostname=mail.host,
        port=mail.port,
        username=mail.username,
        password=mail.password,
        timeout=CONNECT_SECONDS,
        use_tls=mail.tls == "implicit",
        start_tls=mail.tls == "starttls",
        tls_context=None if mail.tls == "none" else _context(mail),
    )
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect()
    except (SMTPException, OSError, ValueError) as error:
        raise _unusable(mail, error) from _harmless(error)
    try:
        yield Post(client, mail)
    finally:
        transport = cast("asyncio.Transport | None", client.transport)
        with suppress(SMTPException, OSError):
            async with asyncio.timeout(QUIT_SECONDS):
                await client.quit()
        client.close()
        if transport is not None:  # nothing follows the answer to QUIT, but TLS would wait for a close_notify
            transport.abort()


def _context(mail: Mail) -> ssl.SSLContext:
    try:
        return client_context(None if mail.ca is None else load_certificates(mail.ca))
    except ConfigError as error:
        raise OperationError(error.cause, error.remedy) from error
    except OSError as error:
        remedy = "Write the path of a PEM file of CA certificates into pki.mail.ca."
        raise OperationError(f"{mail.ca}: cannot be used: {error}", remedy) from error


def _unusable(mail: Mail, error: Exception) -> OperationError:
    place = f"the mail server {mail.host}:{mail.port}"
    match error:
        case SMTPAuthenticationError():
            # Without the answer's text: some servers repeat the login there.
            cause = f"refuses the login: {error.code}"
            remedy = "Correct pki.mail.username and pki.mail.password."
        case TimeoutError():
            cause = "does not answer in time"
            remedy = "Start it, or let this machine connect to it."
        case SMTPResponseException():
            cause = f"answers {_answer(error)}"
            remedy = "Write an address that it accepts into pki.mail.from, or ask its administrator."
        case _ if _is_about_certificates(error):
            cause = f"has a certificate that is not trusted: {_shown(str(error))}"
            remedy = "Write the file of its CA into pki.mail.ca, and the name in its certificate into pki.mail.server."
        case _:
            cause = f"cannot be used: {_shown(_in_words(error))}"
            remedy = (
                "Start it, or correct pki.mail.server and pki.mail.tls (mostly starttls on port 587, implicit on 465)."
            )
    return OperationError(f"{place} {cause}", remedy)


def _in_words(error: BaseException) -> str:
    """The system's message for a failed connection, such as "Connection refused"; otherwise the error's own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            return os.strerror(cast("int", cause.errno))
        cause = cause.__cause__
    return str(error)


def _harmless(error: Exception) -> Exception | None:
    """The exception to keep as cause: None for a login, whose answer must not be printed with a traceback."""
    return None if isinstance(error, SMTPAuthenticationError) else error


def _is_about_certificates(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _answer(error: SMTPResponseException) -> str:
    return _shown(f"{error.code} {error.message}")


def _shown(text: str) -> str:
    line = " ".join(text.split())[:ANSWER_CHARACTERS]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
