"""The systemd unit of the gateway. The one in docs/operation.md is what this makes for `/etc/gateway`.

Keeps true: the service runs as an ordinary user that can write to `pki/`, its logs and its state and to nothing else,
and `systemctl reload` changes nothing where `gateway check` finds an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - compared with, not written to

_UNIT: Final = """\
[Unit]
Description=Mutual-TLS gateway for mail
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
User={user}
ExecStart={program} run -c {config}
# If the check finds an error, the reload ends here: systemctl shows it, and the old configuration stays in use.
ExecReload={program} check -c {config}
ExecReload=/bin/kill -HUP $MAINPID
# systemd stops only the master, and the master ends the other processes.
KillMode=mixed
TimeoutStopSec=45
Restart=on-failure
# Each connection of a client takes a file descriptor, and so does each connection to the mail server.
LimitNOFILE=65536

# Written by the service: revocation lists and the registry, /var/log/gateway, /var/lib/gateway.
ReadWritePaths={writable}
LogsDirectory=gateway
LogsDirectoryMode=0750
StateDirectory=gateway
UMask=0027
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={homes}
PrivateTmp={temporary}
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What differs from one machine to the next."""

    program: Sequence[str]  # the command `gateway`
    config: Path
    user: str
    writable: Path  # the registry's folder
    steps: Sequence[str]  # the commands that install it


def unit(about: Unit) -> str:
    """The unit file."""
    steps = "".join(f"#   {step}\n" for step in about.steps)
    paths = (about.config, Path(about.program[0]))
    homes = any(path.is_relative_to(home) for path in paths for home in _HOMES)
    temporary = any(path.is_relative_to(folder) for path in paths for folder in _TEMPORARY)
    text = _UNIT.format(
        user=about.user,
        program=" ".join((_quoted(about.program[0]), *map(_word, about.program[1:]))),
        config=_word(str(about.config)),
        writable=_quoted(f"-{about.writable}"),  # "-": the folder need not exist
        homes="read-only" if homes else "yes",
        temporary="no" if temporary else "yes",
    )
    return f"# The gateway as a service. Commands that install it, for root:\n{steps}\n{text}"


def _word(text: str) -> str:
    """One argument of a command, with `$` escaped (systemd.service(5)); the program's own name needs no escape."""
    return _quoted(text.replace("$", "$$"))


def _quoted(text: str) -> str:
    """One word of a setting, with `%` escaped, and quoted as systemd.syntax(7) says."""
    plain = text.replace("%", "%%")
    if plain.isascii() and all(letter.isalnum() or letter in "/._-+:@%$" for letter in plain):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
