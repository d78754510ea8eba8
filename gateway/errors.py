"""The one error tree. Every failure the gateway reports is a `GatewayError` with a cause and a remedy.

Exceptions of libraries are mapped to these at the boundary where the library is called, `from` the
cause; what leaves a package is never a library's own exception. A `RequestError` additionally carries
the reason code that goes on the wire and into the log.
"""

from __future__ import annotations

from gateway.facts import STATUS_OF_REASON, Reason


class GatewayError(Exception):
    """A failure with a cause and, if there is one, a remedy; each is one line of text."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


class ConfigError(GatewayError):
    """The configuration, or a file it names, cannot be used. Exit code 2."""


class UsageError(GatewayError):
    """The command line's own arguments or input files cannot be used. Exit code 2."""


class OperationError(GatewayError):
    """The task was understood but could not be done. Exit code 1."""


class PatternError(GatewayError):
    """A rule's condition that could never hold, or means something else than it seems."""


class RequestError(GatewayError):
    """A client's request cannot be served; `reason` goes into the answer and the log."""

    def __init__(self, reason: Reason, cause: str) -> None:
        super().__init__(cause)
        self.reason = reason

    @property
    def status(self) -> int:
        """The HTTP status of the reason."""
        return STATUS_OF_REASON[self.reason]


class UpstreamError(RequestError):
    """The upstream could not be reached or answered something that is not HTTP."""


class HandshakeError(GatewayError):
    """A TLS handshake failed; the cause goes into the access log."""


def as_clause(remedy: str) -> str:
    """A remedy for the end of a line, after "; ": it begins in lower case and has no full stop."""
    return remedy[:1].lower() + remedy[1:].removesuffix(".")


def as_sentence(remedy: str) -> str:
    """A remedy for a line of its own: it begins with a capital letter and ends with a full stop.

    A command or an address at its end gets no full stop, since it may be copied.
    """
    last = remedy.rpartition(" ")[2].strip("`'\"()")
    ends_in_word = last.replace("-", "").isalnum() and ": " not in remedy
    return remedy[:1].upper() + remedy[1:] + ("." if ends_in_word else "")


def in_one_line(error: GatewayError) -> str:
    """The cause, and the remedy if there is one, for the log."""
    return f"{error.cause}; {as_clause(error.remedy)}" if error.remedy else error.cause


def exit_code(error: GatewayError) -> int:
    """The process exit code for an error: 2 for unusable input, 1 for everything else."""
    match error:
        case ConfigError() | UsageError():
            return 2
        case _:
            return 1
