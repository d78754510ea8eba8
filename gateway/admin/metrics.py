"""The state as Prometheus metrics (text format 0.0.4).

Keeps true: no label takes a value that a client chose, so the number of series is bounded by the configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.admin.state import EndingState, RegistryState, State
from gateway.config.units import format_duration
from gateway.facts import ANOTHER_CERTIFICATE_COULD_HELP, STATUS_OF_REASON

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_CERTIFICATE_STATES: Final = ("live", "expired", "superseded", "held", "revoked", "pending")
_STATUS_CLASSES: Final = {number: f"{number}xx" for number in range(1, 6)}


def _status_class(status: int | None) -> str:
    return "none" if status is None else _STATUS_CLASSES.get(status // 100, "other")


# Every series exists from the start, at zero: Prometheus sees no increase in a series that begins at 1.
_EVERY_ANSWER: Final = MappingProxyType(
    dict.fromkeys(
        (
            *((status, "") for status in ("2xx", "3xx", "4xx", "5xx", "none")),
            *((_status_class(status), str(reason)) for reason, status in STATUS_OF_REASON.items()),
        ),
        0,
    )
)


def render(state: State) -> bytes:
    """The exposition of one state."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StateCollector(state))
    return generate_latest(registry)


class _StateCollector(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state
        yield InfoMetricFamily("gateway", "The version of the gateway.", {"version": state["version"]})
        yield _gauge("gateway_start_time_seconds", "When the gateway was started, Unix time.", _unix(state["started"]))
        yield _gauge("gateway_serving", "1 while at least one worker takes connections.", state["is_serving"])
        yield from _processes(state)
        yield from _resources(state)
        yield from _traffic(state)
        yield _upstreams(state)
        yield _servers_up(state)
        yield _endings(state)
        yield _gauge(
            "gateway_lockouts",
            "Addresses, and certificates at an address, that are locked out after too many failed logins.",
            len(state["lockouts"]),
        )
        yield _gauge("gateway_warnings", "Warnings that `gateway status` shows.", len(state["warnings"]))
        text = "CAs, revocation lists and site certificates whose dates make the gateway refuse clients now."
        yield _gauge("gateway_outages", text, len(state["outages"]))
        yield from _reloads(state)
        yield from _lists(state)
        if (registry := state["registry"]) is not None:
            yield from _registry(registry)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


def _counter(name: str, documentation: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, value=value)


def _processes(state: State) -> Iterator[Metric]:
    workers = state["workers"]
    answering = sum(worker["is_answering"] for worker in workers)
    family = GaugeMetricFamily("gateway_workers", "Worker processes.", labels=["state"])
    for label, count in (("wanted", state["workers_wanted"]), ("running", len(workers)), ("answering", answering)):
        family.add_metric([label], count)
    yield family
    restarts = state["worker_restarts"]
    yield _counter("gateway_worker_restarts", "Worker processes that ended unexpectedly and were replaced.", restarts)
    yield from _helpers(state)


def _resources(state: State) -> Iterator[Metric]:
    workers = state["workers"]
    tasks, files = (sum(worker[key] for worker in workers) for key in ("tasks", "open_files"))
    yield _gauge("gateway_tasks", "Tasks of all workers' event loops.", tasks)
    yield _gauge("gateway_open_files", "Open file descriptors of all workers.", files)
    shares = (worker["open_files"] / worker["open_files_limit"] for worker in workers if worker["open_files_limit"])
    yield _gauge(
        "gateway_open_files_used_ratio",
        "Open file descriptors of the worker that is nearest to its limit, divided by that limit.",
        max(shares, default=0.0),
    )


def _helpers(state: State) -> Iterator[Metric]:
    running = GaugeMetricFamily(
        "gateway_helper_running", "1 while a helper process (beside the workers) answers.", labels=["name"]
    )
    restarts = CounterMetricFamily(
        "gateway_helper_restarts", "Helper processes that ended unexpectedly and were replaced.", labels=["name"]
    )
    for helper in state["helpers"]:
        running.add_metric([helper["name"]], helper["is_answering"])
        restarts.add_metric([helper["name"]], helper["restarts"])
    yield running
    yield restarts


def _traffic(state: State) -> Iterator[Metric]:
    yield _gauge("gateway_connections", "Open client connections.", state["connections"])
    answers = Counter(_EVERY_ANSWER)
    for answer in state["answers"]:
        answers[_status_class(answer["status"]), answer["reason"] or ""] += answer["count"]
    family = CounterMetricFamily(
        "gateway_requests",
        "Requests by class of status (none: the client had disconnected), and by reason if the gateway refused them.",
        labels=["status", "reason"],
    )
    for labels, count in sorted(answers.items()):
        family.add_metric(list(labels), count)
    yield family
    yield _observed(state)
    family = CounterMetricFamily(
        "gateway_handshakes",
        "TLS handshakes; failed: the connection ended before the handshake was finished.",
        labels=["result"],
    )
    handshakes = state["handshakes"]
    for result, count in (
        ("full", handshakes["full"]),
        ("resumed", handshakes["resumed"]),
        ("failed", handshakes["failed"]),
    ):
        family.add_metric([result], count)
    yield family
    family = CounterMetricFamily("gateway_body_bytes", "Bytes of bodies.", labels=["direction"])
    family.add_metric(["received"], state["bytes"]["received"])
    family.add_metric(["sent"], state["bytes"]["sent"])
    yield family
    dropped = state["dropped_log_lines"]
    yield _counter("gateway_access_log_dropped_lines", "Access log lines that could not be written or sent.", dropped)


def _observed(state: State) -> Metric:
    family = CounterMetricFamily(
        "gateway_observed_refusals",
        "Requests that a rule in observation let in and would otherwise have refused, by rule and reason.",
        labels=["rule", "reason"],
    )
    counts = Counter(
        {
            (observation["rule"], str(reason)): 0
            for observation in state["observation"]
            for reason in ANOTHER_CERTIFICATE_COULD_HELP
        }
    )
    for observed in state["observed"]:
        counts[observed["rule"], observed["reason"]] += observed["count"]
    for labels, count in sorted(counts.items()):
        family.add_metric(list(labels), count)
    return family


def _upstreams(state: State) -> Metric:
    family = GaugeMetricFamily(
        "gateway_upstream_connections", "Connections to upstream servers.", labels=["upstream", "server", "state"]
    )
    for upstream, servers in state["upstreams"].items():
        for server in servers:
            family.add_metric([upstream, server["server"], "busy"], server["busy"])
            family.add_metric([upstream, server["server"], "idle"], server["idle"])
    return family


def _servers_up(state: State) -> Metric:
    family = GaugeMetricFamily(
        "gateway_upstream_up", "Share of the workers that would ask the server, 0 to 1.", labels=["upstream", "server"]
    )
    for upstream, servers in state["upstreams"].items():
        for server in servers:
            family.add_metric([upstream, server["server"]], server["up_in"] / max(server["workers"], 1))
    return family


def _endings(state: State) -> Metric:
    """The earliest end for each set of labels: two CAs can have the same name, and one file can hold two lists."""
    ends: dict[tuple[str, str, str], float] = {}

    def note(kind: str, site: str, ending: EndingState) -> None:
        labels = kind, site, ending["name"]
        end = _unix(ending["ends"])
        ends[labels] = min(end, ends.get(labels, end))

    for site in state["sites"]:
        note("certificate", site["name"], site["certificate"])
        for authority in site["client_cas"]:
            note("client_ca", site["name"], authority)
        for entry in site["crls"]:
            note("crl", site["name"], entry)
    family = GaugeMetricFamily(
        "gateway_expiry_timestamp_seconds",
        "When a site's certificate, a client CA or a revocation list (its nextUpdate) ends, Unix time.",
        labels=["kind", "site", "name"],
    )
    for labels, end in ends.items():
        family.add_metric(list(labels), end)
    return family


def _reloads(state: State) -> Iterator[Metric]:
    reload = state["reload"]
    family = CounterMetricFamily("gateway_reloads", "Reloads since the start.", labels=["result"])
    family.add_metric(["succeeded"], reload["succeeded"])
    family.add_metric(["refused"], reload["refused"])
    yield family
    loaded = _unix(reload["loaded"])
    text = "When the configuration in use was read, Unix time."
    yield _gauge("gateway_config_loaded_timestamp_seconds", text, loaded)
    is_current = reload["error"] is None
    yield _gauge("gateway_config_current", "0 while the newest change on disk is refused.", is_current)


def _lists(state: State) -> Iterator[Metric]:
    newest = state["lists_generation"]
    late = [worker["lists_behind_seconds"] for worker in state["workers"] if worker["lists_generation"] < newest]
    yield _gauge(
        "gateway_revocation_lists_generation", "How often revocation lists have changed since the start.", newest
    )
    yield _gauge("gateway_revocation_lists_behind", "Workers without the newest revocation lists.", len(late))
    yield _gauge(
        "gateway_revocation_lists_behind_seconds",
        "For how long the newest revocation lists have been missing in the worker that is furthest behind.",
        max(late, default=0.0),
    )


def _registry(registry: RegistryState) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "gateway_pki_certificates", "Certificates of the registry.", labels=["authority", "state"]
    )
    ends = GaugeMetricFamily(
        "gateway_pki_authority_expiry_timestamp_seconds", "When an authority ends, Unix time.", labels=["authority"]
    )
    lists = GaugeMetricFamily(
        "gateway_pki_list_next_update_timestamp_seconds",
        "nextUpdate of an authority's newest revocation list, Unix time.",
        labels=["authority"],
    )
    for authority in registry["authorities"]:
        name = authority["name"]
        for status in _CERTIFICATE_STATES:
            family.add_metric([name, status], authority["certificates"].get(status, 0))
        ends.add_metric([name], _unix(authority["ends"]))
        if (list_ends := authority["list_ends"]) is not None:
            lists.add_metric([name], _unix(list_ends))
    yield from (family, ends, lists)
    family = GaugeMetricFamily(
        "gateway_pki_expiring", "Certificates that end within this time and are not renewed.", labels=["within"]
    )
    for ending in registry["ending"]:
        family.add_metric([format_duration(ending["within_seconds"])], ending["count"])
    yield family
    yield _gauge("gateway_pki_problems", "Revoked authorities that sites trust.", len(registry["problems"]))
    yield _gauge("gateway_pki_troubles", "Tasks that the keeper cannot do now.", len(registry["troubles"]))
    looked = 0.0 if registry["looked"] is None else _unix(registry["looked"])
    yield _gauge("gateway_pki_looked_timestamp_seconds", "When the registry was read last, Unix time.", looked)
    mails = CounterMetricFamily("gateway_pki_mails", "Mails since the keeper's start.", labels=["result"])
    mails.add_metric(["sent"], registry["mails"]["sent"])
    mails.add_metric(["refused"], registry["mails"]["refused"])
    yield mails
    if (notifications := registry["notifications"]) is not None:
        text = "0 while other machines' revocations do not arrive here at once."
        yield _gauge("gateway_pki_notifications_up", text, notifications["is_up"])


def _unix(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
