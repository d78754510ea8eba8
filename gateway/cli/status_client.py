"""The requests of `gateway status`: plain HTTP, on this machine, with a time limit.

Keeps true: no proxy from the environment is used, no redirect is followed, and answers are limited in size.
"""

from __future__ import annotations

import getpass
import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from gateway.admin.state import COMMAND, COMMAND_HEADER, MEDIA_TYPE
from gateway.config.addresses import Unreadable, parse_listen
from gateway.config.endpoints import read_endpoints
from gateway.config.model import Admin
from gateway.errors import ConfigError, OperationError, UsageError

if TYPE_CHECKING:
    from gateway.admin.state import State

# The gateway answers within three seconds, even if only that its master doesn't answer.
ANSWER_SECONDS: Final = 5.0
# As much as the master may send to the admin process.
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_OK: Final = 200
_CHECK_ADDRESS: Final = "Correct admin.address in the configuration, or give --address HOST:PORT."
_LOOK: Final = "Read the gateway's log; restart the gateway if it hangs."
_START_IT: Final = "Start it with 'gateway run'; if it has ended, its log says why."


def admin_address(config: Path, address: str | None) -> Admin:
    """The address to ask: `address` from the command line, else the file's. Raises `ConfigError` or `UsageError`."""
    if address is not None:
        try:
            return Admin(address, *parse_listen(address))
        except Unreadable as error:
            raise UsageError(f"--address: {error.cause}", error.remedy) from error
    admin = read_endpoints(config).admin
    if admin is None:
        raise ConfigError(
            f"{config}: there is no `admin` section, so the gateway opens no port for status",
            'Add `admin: {address: "127.0.0.1:9444"}` to the file and restart the gateway.',
        )
    if admin.port == 0:
        raise ConfigError(
            f"{config}: admin.address: port 0 lets the system choose one",
            "Give --address HOST:PORT, or write a fixed port and restart the gateway.",
        )
    return admin


def check_health(config: Path, address: str | None) -> str:
    """The gateway's health, if it serves. Raises `OperationError` if it doesn't.

    Without an `admin` section, a first listener that takes connections counts as healthy.
    """
    if address is None and (found := read_endpoints(config)).admin is None and found.listeners:
        first = found.listeners[0]
        _connect(first.address, first.host, first.port).close()
        return "ok"
    lines = _get(admin_address(config, address), "/healthz").decode("utf-8", "replace").splitlines()
    return "\n".join("".join(letter for letter in line if letter.isprintable()) for line in lines) or "ok"


def fetch(admin: Admin) -> State:
    """The running gateway's state. Raises `OperationError`."""
    data = _get(admin, "/status")
    try:
        state = json.loads(data)
    except ValueError:
        state = None
    if not isinstance(state, dict) or "workers_wanted" not in state:
        raise OperationError(f"another program answers on {admin.address}", _CHECK_ADDRESS)
    return cast("State", state)


def lift(admin: Admin, address: str) -> str:
    """End the lockout of an address; returns it as the gateway counts it. Raises `OperationError`."""
    body = json.dumps({"address": address, "by": _user()})
    headers = {"Content-Type": MEDIA_TYPE, COMMAND_HEADER: COMMAND}
    status, data = _exchange(admin, "POST", "/unban", body, headers)
    try:
        answer = json.loads(data)
        outcome, known_as = answer["outcome"], str(answer["address"])
    except (ValueError, KeyError, TypeError):
        raise _refused(admin, status, data) from None
    match outcome:
        case "lifted":
            return known_as
        case "off":
            raise OperationError(
                "lockout is off, so no client is locked out", "To turn it on, add `lockout` to the configuration."
            )
        case _:
            remedy = "Run this command without --unban: it lists the lockouts."
            raise OperationError(f"{known_as} is not locked out", remedy)


def _user() -> str:
    """The user who asks, for the gateway's log; it is not verified."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def _get(admin: Admin, path: str) -> bytes:
    status, data = _exchange(admin, "GET", path)
    if status != _OK:
        raise _refused(admin, status, data)
    return data


def _refused(admin: Admin, status: int, data: bytes) -> OperationError:
    said = data[:200].decode("utf-8", "replace").strip()
    return OperationError(f"{admin.address} answers {status}: {said!r}", _LOOK)


def _exchange(
    admin: Admin, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(_host(admin.host), admin.port, timeout=ANSWER_SECONDS)
    connection.sock = _connect(admin.address, admin.host, admin.port)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER_BYTES + 1)
    except TimeoutError as error:
        raise OperationError(f"{admin.address}: no answer within {ANSWER_SECONDS:g} s", _LOOK) from error
    except OSError as error:
        raise OperationError(f"{admin.address}: {error.strerror or error}", _LOOK) from error
    except http.client.HTTPException as error:
        raise OperationError(f"the program on {admin.address} does not speak HTTP", _CHECK_ADDRESS) from error
    finally:
        connection.close()
    if len(data) > MAX_ANSWER_BYTES:
        raise OperationError(f"the answer of {admin.address} is too long", _CHECK_ADDRESS)
    return answer.status, data


def _connect(address: str, host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((_host(host), port), ANSWER_SECONDS)
    except OSError as error:
        raise OperationError(f"no gateway answers on {address}: {error.strerror or error}", _START_IT) from error


def _host(host: str) -> str:
    """The address by which this machine reaches a listener on `host`."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
