"""A gateway's state as `/status` tells it: all is well, two workers, one site."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

STARTED = "2026-11-24T10:00:00.000Z"


def helper(**more):
    """The publisher, which hangs."""
    return {
        "name": "publisher",
        "pid": 103,
        "started": STARTED,
        "is_answering": False,
        "restarts": 3,
    } | more


def worker(pid: int, **changes: Any) -> dict[str, Any]:
    return {
        "pid": pid,
        "started": STARTED,
        "is_answering": True,
        "report_age_seconds": 0.0,
        "is_draining": False,
        "connections": 3,
        "tasks": 1,
        "open_files": 30,
        "open_files_limit": 1024,
        "reload_error": None,
        "lists_generation": 3,
        "lists_behind_seconds": 0.0,
        "lists_error": None,
        **changes,
    }


def server(url: str = "https://10.0.0.5:443", **changes: Any) -> dict[str, Any]:
    return {"server": url, "addresses": [], "busy": 1, "idle": 2, "up_in": 2, "workers": 2, "cause": None, **changes}


def lockout(
    address: str, seconds_left: float = 723.4, certificate: str | None = None, holder: str | None = None
) -> dict[str, Any]:
    who = {"address": address, "certificate": certificate, "holder": holder}
    return {**who, "ends": "2026-11-24T11:12:03.400Z", "seconds_left": seconds_left}


def ending(name: str, seconds_left: float = 31_536_000.0, ends: str = "2027-11-24T11:00:00.000Z") -> dict[str, Any]:
    return {"name": name, "begins": "2025-01-01T00:00:00.000Z", "ends": ends, "seconds_left": seconds_left}


def authority(name: str = "corp", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "ends": "2027-11-24T11:00:00.000Z",
        "seconds_left": 31_536_000.0,
        "list_ends": "2026-12-24T11:00:00.000Z",
        "list_seconds_left": 2_592_000.0,
        "list_number": 7,
        "is_kept": True,
        "certificates": {"expired": 3, "live": 1234},
        **changes,
    }


def trouble(what: str = "authority 'corp'", **changes: Any) -> dict[str, Any]:
    since = "2026-11-24T10:58:00.000Z"
    texts = {"what": what, "cause": "the passphrase is wrong", "remedy": "Correct it."}
    return {**texts, "since": since, "retry_at": "2026-11-24T11:01:00.000Z", **changes}


def registry(**changes: Any) -> dict[str, Any]:
    """A registry that is kept, where nothing calls for anybody."""
    return {
        "looked": "2026-11-24T10:59:30.000Z",
        "is_silent": False,
        "authorities": [authority()],
        "ending": [{"within_seconds": 2_592_000.0, "count": 0}, {"within_seconds": 86_400.0, "count": 0}],
        "next": [],
        "problems": [],
        "troubles": [],
        "mails": {"sent": 0, "refused": 0},
        "notifications": None,
        **changes,
    }


_STATE: dict[str, Any] = {
    "version": "1.2.3",
    "time": "2026-11-24T11:00:00.000Z",
    "pid": 100,
    "started": STARTED,
    "uptime_seconds": 3600.0,
    "config": "/etc/gateway/config.yaml",
    "is_stopping": False,
    "is_serving": True,
    "workers_wanted": 2,
    "worker_restarts": 0,
    "workers": [worker(101), worker(102)],
    "helpers": [{"name": "publisher", "pid": 103, "started": STARTED, "is_answering": True, "restarts": 1}],
    "connections": 6,
    "reload": {"loaded": STARTED, "succeeded": 4, "refused": 0, "refused_at": None, "error": None},
    "lists_generation": 3,
    "list_problems": [],
    "sites": [
        {
            "name": "mail.example.com",
            "hosts": ["mail.example.com", "*.mail.example.com"],
            "upstream": "mail",
            "certificate": ending("CN=mail.example.com"),
            "client_cas": [ending("CN=Root")],
            "crls": [ending("/etc/gateway/root.crl")],
        }
    ],
    "upstreams": {"mail": [server()]},
    "lockouts": [],
    "warnings": [],
    "outages": [],
    "answers": [
        {"status": 200, "reason": None, "count": 90},
        {"status": 304, "reason": None, "count": 9},
        {"status": None, "reason": None, "count": 1},
        {"status": 403, "reason": "certificate_missing", "count": 5},
    ],
    "observation": [],
    "observed": [],
    "handshakes": {"full": 10, "resumed": 4, "failed": 2},
    "bytes": {"received": 1000, "sent": 2_000_000},
    "dropped_log_lines": 0,
    "registry": None,
}


def a_state(**changes: Any) -> Any:
    return {**deepcopy(_STATE), **changes}
