"""Nothing secret is in a process list, an environment that wasn't given it, a log, the registry, or a file of others.

Every command that handles secrets runs as a program of its own, with an open and a closed umask, while all it starts
is looked at; then every file that it left.
"""

from __future__ import annotations

import base64
import csv
import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from support.desk_command import PASSPHRASE, DeskFolder

pytestmark = pytest.mark.e2e

EMAIL = "alice@example.com"
USERS = 6
LOOK_SECONDS = 0.01
OPEN, CLOSED = 0o000, 0o077
# A program that begins with this umask, as one that an administrator's shell starts.
WITH_UMASK = "import os, sys; os.umask(int(sys.argv[1], 8)); os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"


@dataclass
class Watch:
    """What everybody could see of the programs that a test started: their command lines, and their environments."""

    command_lines: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    printed: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def over(self):
        looking = threading.Thread(target=self._look)
        looking.start()
        try:
            yield
        finally:
            self._end.set()
            looking.join()

    def _look(self):
        while not self._end.wait(LOOK_SECONDS):
            for pid in _descendants(os.getpid()):
                self._note(pid, "cmdline", self.command_lines)
                self._note(pid, "environ", self.environments)

    @staticmethod
    def _note(pid, what, seen):
        try:
            seen.add(Path(f"/proc/{pid}/{what}").read_bytes())
        except OSError:
            return


def _descendants(pid):
    try:
        children = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [each for child in children for each in (child, *_descendants(child))]


def _do(desk, watch, umask, *arguments, env=None):
    command = [sys.executable, "-c", WITH_UMASK, f"{umask:o}", "-m", "gateway", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=desk.path,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    watch.printed.append(done.stdout + done.stderr)
    assert done.returncode == 0, watch.printed[-1]
    return done.stdout


def _everything(do):
    """Every command that has a secret in its hands."""
    secret = ("--passphrase-file", "secret")
    do("ca", "init", "corp", "--key", "ecdsa-p256", *secret)
    do(
        "ca",
        "init",
        "low",
        "--parent",
        "corp-root",
        "--key",
        "ecdsa-p256",
        "--days",
        900,
        *secret,
        "--parent-passphrase-file",
        "secret",
    )
    do("cert", "issue", EMAIL, "--ca", "corp", *secret)
    do("cert", "issue", "kept@example.com", "--ca", "low", "--escrow", "--out", "kept", *secret)
    do("cert", "export", "kept@example.com", "--format", "key", "--out", "kept/again.key", *secret)
    do("cert", "import", "users.csv", "--ca", "corp", "--out", "out", *secret)
    do("cert", "renew", EMAIL, "--out", "new", *secret)
    password = ("--p12", f"new/{EMAIL}.p12", "--password-file", f"new/{EMAIL}.password")
    do("cert", "renew", EMAIL, "--same-key", *password, "--out", "newer", *secret)
    password = ("--p12", f"newer/{EMAIL}.p12", "--password-file", f"new/{EMAIL}.password")
    for kind in ("ios", "windows"):
        profile = ("cert", "profile", EMAIL, "--kind", kind, "--host", "mail.example.com", *password)
        do(*profile, "--out", f"kit-{kind}")
        do(*profile, "--out", f"with-{kind}", "--include-password")
    do("cert", "server", "mail.example.com", "--ca", "corp", *secret)
    do("ca", "ocsp", "corp", *secret)
    do("cert", "hold", "u1@example.com", *secret)
    do("cert", "revoke", "u2@example.com", *secret)
    do("ca", "crl", "corp", *secret)
    do("cert", "show", EMAIL)
    do("cert", "list", "--json")


def _secrets(desk):
    """What nobody may see: the passphrase, every password, and every private key in any of its spellings."""
    found = {PASSPHRASE.encode(), base64.b64encode(PASSPHRASE.encode())}
    found |= {path.read_bytes().strip() for path in desk.path.rglob("*.password")}
    with (desk.path / "out/passwords.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == USERS
    found |= {line["password"].encode() for line in lines}
    for name, secret in (("mail.example.com.key", None), ("pki/corp/corp.key", PASSPHRASE.encode())):
        key = load_pem_private_key((desk.path / name).read_bytes(), secret)
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        found |= {der, base64.b64encode(der), key.private_numbers().private_value.to_bytes(32, "big")}
    return found


def _is_key(path, data):
    """Whether there is a private key in it, however well encrypted."""
    return b"PRIVATE KEY-----" in data or path.suffix in (".p12", ".mobileconfig")


def _check_files(folder, secrets, given=()):
    """Whoever else is on the machine reads what is public, and changes nothing. Returns how many files are secret."""
    found = 0
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o022, f"{path} may be written by others: {mode:o}"
        if path.is_dir() or path in given:
            continue
        data = path.read_bytes()
        if _is_key(path, data) or _holding([data], secrets):
            found += 1
            assert mode == 0o600, f"{path} holds a secret and has mode {mode:o}"
        elif path.suffix in (".crt", ".crl"):
            assert mode == 0o644, f"{path} is for a gateway that runs as another user, and has mode {mode:o}"
    return found


def test_no_secret_is_seen_printed_logged_or_left_to_others(tmp_path):
    desk, watch = DeskFolder(tmp_path / "desk"), Watch()
    desk.path.mkdir(mode=0o755)
    (desk.path / "secret").write_text(f"{PASSPHRASE}\n")
    _write_users(desk)
    given = set(desk.path.rglob("*"))
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    with watch.over():
        _everything(lambda *arguments: _do(desk, watch, OPEN, *arguments, env={"TMPDIR": str(temporary)}))

    secrets = _secrets(desk)
    assert any(b"multiprocessing" in line for line in watch.command_lines), "the import's own processes were looked at"
    assert not _holding(watch.command_lines, secrets)
    assert not _holding(watch.environments, secrets)
    assert not _holding([text.encode() for text in watch.printed], secrets)
    assert not any(temporary.iterdir())
    assert _check_files(desk.path, secrets, given) > 3 * USERS / 2
    registry = list(desk.path.glob("pki/registry.db*"))
    assert registry
    assert not _holding([path.read_bytes() for path in registry], secrets)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in registry)
    assert not _holding([path.read_bytes() for path in desk.path.glob("kit-*/*")], secrets)
    assert _holding([path.read_bytes() for path in desk.path.glob("with-*/*")], secrets)


def test_a_closed_umask_closes_nothing_that_others_need(tmp_path):
    """A gateway that runs as another user reads certificates and lists."""
    desk, watch = DeskFolder(tmp_path), Watch()
    for arguments in (
        ("ca", "init", "corp", "--key", "ecdsa-p256"),
        ("cert", "server", "mail.example.com", "--ca", "corp", "--out", "made"),
    ):
        _do(desk, watch, CLOSED, *arguments, env=desk.environment)

    assert _check_files(tmp_path, {PASSPHRASE.encode()}) == 3
    assert (tmp_path / "pki/corp/corp.crl").exists()
    assert stat.S_IMODE((tmp_path / "pki/corp").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o755


def test_a_passphrase_in_the_environment_is_in_no_command_line(tmp_path):
    desk, watch = DeskFolder(tmp_path), Watch()
    _write_users(desk)

    with watch.over():
        for arguments in (
            ("ca", "init", "corp", "--key", "ecdsa-p256"),
            ("cert", "import", "users.csv", "--ca", "corp", "--out", "out"),
        ):
            _do(desk, watch, 0o022, *arguments, env=desk.environment)

    assert any(b"multiprocessing" in line for line in watch.command_lines)
    assert not _holding(watch.command_lines, {PASSPHRASE.encode()})
    assert not _holding([text.encode() for text in watch.printed], {PASSPHRASE.encode()})


def _write_users(desk):
    rows = (f"u{number}@example.com,User {number}\n" for number in range(USERS))
    (desk.path / "users.csv").write_text("email,name\n" + "".join(rows))


def _holding(texts, secrets):
    """The texts with a secret in them, cut short."""
    return [text[:80] for text in texts if any(secret in text for secret in secrets)]
