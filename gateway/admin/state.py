"""What is known of the running gateway: the JSON of `/status`, from which metrics and `gateway status` are made too.

Times are RFC 3339 in UTC, durations seconds. Keys are only ever added: other people's scripts read them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypedDict

# What `POST /unban` asks for: HTML forms, and `fetch` with `mode: "no-cors"`, can't carry either.
COMMAND_HEADER: Final = "X-Gateway-Command"
COMMAND: Final = "unban"
MEDIA_TYPE: Final = "application/json"


class WorkerState(TypedDict):
    """One worker process, as it said last."""

    pid: int
    started: str
    is_answering: bool  # it answered the question that this state is the answer to
    report_age_seconds: float | None  # of what is said here; None: it has not said anything yet
    is_draining: bool
    connections: int
    tasks: int  # of its event loop, its own one counted
    open_files: int  # file descriptors: of connections, and about twenty others
    open_files_limit: int  # how many it may have; 0 before its first report
    reload_error: str | None  # why it serves by an older configuration than the others
    lists_generation: int  # of the revocation lists that it has taken up
    lists_behind_seconds: float  # for how long there have been newer ones; 0 where there are none
    lists_error: str | None  # why it could not take them up


class HelperState(TypedDict):
    """One process beside the workers that there should be."""

    name: str  # "publisher"
    pid: int | None  # None while a new one is about to start
    started: str | None
    is_answering: bool  # False: none runs, or it has said nothing for seconds
    restarts: int  # how many ended unasked


class ServerState(TypedDict):
    """One upstream server, over all workers."""

    server: str
    addresses: list[str]  # where its name leads now; none where it is given by address, or its name leads nowhere
    busy: int  # connections that carry an exchange
    idle: int  # connections that are kept
    up_in: int  # workers that would ask it
    workers: int  # workers that know it
    cause: str | None  # of the last failure that one of them remembers


class EndingState(TypedDict):
    """Something with a last day: a certificate or a revocation list."""

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
    """How the configuration came to be, and what stands in the way of the next."""

    loaded: str  # when what is served by now was read
    succeeded: int  # reloads since the start
    refused: int
    refused_at: str | None  # when the newest refused attempt was, where none has succeeded since
    error: str | None  # why it was refused; a line for each problem


class AnswerCount(TypedDict):
    """How many requests ended so."""

    status: int | None  # None: the client had gone before the answer
    reason: str | None  # the reason code where the gateway refused
    count: int


class ObservedCount(TypedDict):
    """How many requests a rule in observation has let in that it would have refused."""

    rule: str
    reason: str  # the reason code that it would have given
    count: int


class ObservationState(TypedDict):
    """A rule in observation: it lets in what it would refuse."""

    rule: str
    line: int  # in the YAML file
    refuses_from: str | None  # from when on it refuses; None: no day is given
    outlook: str  # what will become of such requests, in a sentence
    count: int  # of such requests since the start


class HandshakeCounts(TypedDict):
    """Finished TLS handshakes, and connections that ended before theirs was."""

    full: int
    resumed: int
    failed: int


class ByteCounts(TypedDict):
    """Bytes of request and answer bodies."""

    received: int
    sent: int


class LockoutState(TypedDict):
    """One client that is kept out after too many failed logins."""

    address: str  # an IPv4 address, or the /64 of an IPv6 one
    certificate: (
        str | None
    )  # its fingerprint, where only its holder is kept out; None: every client without a trusted one
    holder: str | None  # its first mail address, else its common name
    ends: str
    seconds_left: float


class AuthorityState(TypedDict):
    """An authority of the registry."""

    name: str
    ends: str
    seconds_left: float
    list_ends: str | None  # the newest revocation list's nextUpdate; None where there is no list yet
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
    """How many certificates end within so long, without a successor."""

    within_seconds: float
    count: int


class TroubleState(TypedDict):
    """What the keeper can't do now."""

    what: str
    cause: str
    remedy: str
    since: str
    retry_at: str


class MailCounts(TypedDict):
    """Mails since the keeper's start."""

    sent: int
    refused: int  # by their recipients' servers; tried again


class NotificationsState(TypedDict):
    """Whether other machines' revocations are told to this one as they happen (PostgreSQL's LISTEN and NOTIFY)."""

    is_up: bool
    since: str
    cause: str | None  # why not; None before it was tried, too


class RegistryState(TypedDict):
    """The certificate registry, as the keeper saw it last."""

    looked: str | None  # None: it could not be looked at yet
    is_silent: bool  # the keeper has said nothing for minutes
    authorities: list[AuthorityState]
    ending: list[EndingCount]
    next: list[CertificateState]  # the first that end
    problems: list[str]  # authorities that were revoked and that a site trusts
    troubles: list[TroubleState]
    mails: MailCounts
    notifications: NotificationsState | None  # None: a registry of one machine


class State(TypedDict):
    """All of it."""

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
    list_problems: list[str]  # files of lists whose newest content can't be used: the last good list counts
    sites: list[SiteState]
    upstreams: dict[str, list[ServerState]]
    lockouts: list[LockoutState]  # the first to end first
    warnings: list[str]
    outages: list[str]  # what refuses clients now: a CA, list or site certificate that has ended
    answers: list[AnswerCount]
    observation: list[ObservationState]
    observed: list[ObservedCount]  # by rules that are or were in observation since the start
    handshakes: HandshakeCounts
    bytes: ByteCounts
    dropped_log_lines: int
    registry: RegistryState | None  # None: nothing is kept


class LiftAnswer(TypedDict):
    """What became of letting an address in again."""

    address: str  # as in `LockoutState`; a certificate as it was given
    outcome: Literal["lifted", "not_locked_out", "off", "no_address"]  # off: the configuration has no `lockout`


# Asks the master. Raises `OperationError` where it does not answer.
StateSource = Callable[[], Awaitable[State]]
# Lets an address in again; the second argument says who wants it, for the log. Raises the same.
Lift = Callable[[str, str], Awaitable[LiftAnswer]]
