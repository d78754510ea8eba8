"""Opens the access log: a file or standard output, journald, or a syslog server.

Keeps true: if the log can't be opened, the gateway does not start. A syslog server that is away is no reason for that:
the lines wait for it.
"""

from __future__ import annotations

from gateway.config.model import AccessLog
from gateway.errors import ConfigError
from gateway.logs.journal import journal_log
from gateway.logs.output import AccessLogOutput
from gateway.logs.syslog import syslog_log
from gateway.logs.writer import AccessLogWriter
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates


def open_access_log(settings: AccessLog) -> AccessLogOutput:
    """The log for these settings. Raises `ConfigError`."""
    server = settings.syslog
    if settings.is_journald:
        return journal_log()
    if server is None:
        return AccessLogWriter(settings.path, holds_lock=settings.rotate is not None)
    if server.kind != "tls":
        return syslog_log(server)
    authorities = None if server.ca is None else load_certificates(server.ca)
    try:
        return syslog_log(server, client_context(authorities))
    except OSError as error:
        cause = f"access_log.ca: {server.ca or 'the system CAs'}: cannot be used: {error}"
        raise ConfigError(cause, "name a PEM file of CA certificates") from error
