"""The state of the running gateway: the JSON of `/status`, also used for metrics and `gateway status`.

Times are RFC 3339 in UTC, durations seconds. Keys are only added, never renamed or removed: admins' scripts read them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypedDict

# `POST /unban` requires both: HTML forms, and `fetch` with `mode: "no-cors"`, can send neither.
COMMAND_HEADER: Final = "X-Gateway-Command"
COMMAND: Final = "unban"
MEDIA_TYPE: Final = "application/json"


class WorkerState(TypedDict):
    """One worker process, by its last report."""

    pid: int
    started: str
    is_answering: bool  # it answered the question for this state
    report_age_seconds: float | None  # None: it has not reported yet
    is_draining: bool
    connections: int
    tasks: int  # of its event loop, including its main one
    open_files: int  # file descriptors: those of connections, and about twenty others
    open_files_limit: int  # how many it may have; 0 before its first report
    reload_error: str | None  # why it uses an older configuration than the others
    lists_generation: int  # of the revocation lists that it has loaded
    lists_behind_seconds: float  # for how long there have been newer ones; 0 if there are none
    lists_error: str | None  # why it could not load them


class HelperState(TypedDict):
    """One process that should run beside the workers."""

    name: str  # "publisher"
    pid: int | None  # None while a new one is about to start
    started: str | None
    is_answering: bool  # False: it isn't running, or it hasn't reported for seconds
    restarts: int  # how often it ended unexpectedly


class ServerState(TypedDict):
    """One upstream server, over all workers."""

    server: str
    addresses: list[str]  # of its name now; empty if it is given by address, or its name has no address
    busy: int  # connections that carry an exchange
    idle: int  # connections that are kept open
    up_in: int  # workers that would send it requests
    workers: int  # workers that have reported on it
    cause: str | None  # of the last failure that a worker reported


class EndingState(TypedDict):
    """A certificate or revocation list, and when it ends."""

    name: str  # the subject (RFC 4514), or the list's file or URL
    begins: str
    ends: str
    seconds_left: float


class SiteState(TypedDict):
    """One site."""

    name: str
    hosts: list[str]
    upstream: str
    certificate: EndingState
    client_cas: list[EndingState]
    crls: list[EndingState]


RESTART: Final = "systemctl restart gateway"  # in the error of a reload for which a restart is needed


class ReloadState(TypedDict):
    """When the configuration was read, and why the newest change was refused."""

    loaded: str  # when the configuration in use was read
    succeeded: int  # reloads since the start
    refused: int
    refused_at: str | None  # when the newest attempt was refused, if none has succeeded since
    error: str | None  # why it was refused; a line for each problem


class AnswerCount(TypedDict):
    """How many requests ended with this status and reason."""

    status: int | None  # None: the client had disconnected before the answer
    reason: str | None  # the reason code if the gateway refused
    count: int


class ObservedCount(TypedDict):
    """How many requests a rule in observation let in that it would otherwise have refused."""

    rule: str
    reason: str  # the reason code that it would have given
    count: int


class ObservationState(TypedDict):
    """A rule in observation: it lets in requests that it would otherwise refuse."""

    rule: str
    line: int  # in the YAML file
    refuses_from: str | None  # from when on it refuses; None: no day is given
    outlook: str  # what will happen to such requests, in a sentence
    count: int  # of such requests since the start


class HandshakeCounts(TypedDict):
    """Finished TLS handshakes, and connections that ended before the handshake was finished."""

    full: int
    resumed: int
    failed: int


class ByteCounts(TypedDict):
    """Bytes of request and answer bodies."""

    received: int
    sent: int


class LockoutState(TypedDict):
    """One client that is locked out after too many failed logins."""

    address: str  # an IPv4 address, or the /64 of an IPv6 one
    certificate: (
        str | None
    )  # its fingerprint, if only its holder is locked out; None: every client without a trusted certificate
    holder: str | None  # its first mail address, else its common name
    ends: str
    seconds_left: float


class AuthorityState(TypedDict):
    """An authority of the registry."""

    name: str
    ends: str
    seconds_left: float
    list_ends: str | None  # the newest revocation list's nextUpdate; None if there is no list yet
    list_seconds_left: float | None
    list_number: int
    is_kept: bool  # the gateway renews its lists by itself
    certificates: dict[str, int]  # live, expired, superseded, held, revoked, pending → how many; no zeros


class CertificateState(TypedDict):
    """A certificate of the registry that ends soon and has no successor."""

    serial: str
    name: str
    email: str | None
    authority: str
    ends: str
    seconds_left: float


class EndingCount(TypedDict):
    """How many certificates end within this time and are not renewed."""

    within_seconds: float
    count: int


class TroubleState(TypedDict):
    """A task that the keeper can't do now."""

    what: str
    cause: str
    remedy: str
    since: str
    retry_at: str


class MailCounts(TypedDict):
    """Mails since the keeper's start."""

    sent: int
    refused: int  # by mail servers; they are sent again


class NotificationsState(TypedDict):
    """Whether other machines' revocations arrive here at once (PostgreSQL's LISTEN and NOTIFY)."""

    is_up: bool
    since: str
    cause: str | None  # why not; also None before the first attempt


class RegistryState(TypedDict):
    """The certificate registry, by the keeper's last report."""

    looked: str | None  # when it was read; None: it could not be read yet
    is_silent: bool  # the keeper has not reported for minutes
    authorities: list[AuthorityState]
    ending: list[EndingCount]
    next: list[CertificateState]  # those that end first
    problems: list[str]  # authorities that were revoked and that a site trusts
    troubles: list[TroubleState]
    mails: MailCounts
    notifications: NotificationsState | None  # None: a registry of one machine


class State(TypedDict):
    """The whole state."""

    version: str
    time: str
    pid: int  # the master's
    started: str
    uptime_seconds: float
    config: str
    is_stopping: bool
    is_serving: bool  # at least one worker answered and takes connections
    workers_wanted: int
    worker_restarts: int
    workers: list[WorkerState]
    helpers: list[HelperState]
    connections: int
    reload: ReloadState
    lists_generation: int  # of the newest revocation lists: how often any has changed since the start
    list_problems: list[str]  # files of lists whose newest content can't be used: the last good list is used
    sites: list[SiteState]
    upstreams: dict[str, list[ServerState]]
    lockouts: list[LockoutState]  # the first to end first
    warnings: list[str]
    outages: list[str]  # why clients are refused now: a CA, list or site certificate that has ended
    answers: list[AnswerCount]
    observation: list[ObservationState]
    observed: list[ObservedCount]  # by rules that are or were in observation since the start
    handshakes: HandshakeCounts
    bytes: ByteCounts
    dropped_log_lines: int
    registry: RegistryState | None  # None: the gateway keeps no authorities


class LiftAnswer(TypedDict):
    """The result of ending a lockout."""

    address: str  # as in `LockoutState`; a certificate as it was given
    outcome: Literal["lifted", "not_locked_out", "off", "no_address"]  # off: the configuration has no `lockout`


# Asks the master. Raises `OperationError` if it does not answer.
StateSource = Callable[[], Awaitable[State]]
# Ends an address's lockout; the second argument names the user who asks, for the log. Raises the same.
Lift = Callable[[str, str], Awaitable[LiftAnswer]]
