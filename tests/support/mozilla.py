"""Headless Firefox and Thunderbird, each with a profile of its own and with the policies of a device kit.

    with policies_of(kit, FIREFOX), Mozilla.start(folder, FIREFOX, p12=(path, password)) as firefox:
        firefox.open("https://mail.example.com:12345/webmail")
        firefox.evaluate("document.title")

A user's certificate is put into the profile's NSS database by `pk12util`, as Firefox itself does it. Policies are where
an administrator puts them: beside the program, in `distribution`. Either is spoken to in Marionette's protocol,
the one that geckodriver speaks: JSON arrays over TCP, each after its length and a colon.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from support.browser import ARTEFACTS
from support.gateway import HOST
from support.programs import need, need_root, run
from support.waiting import PATIENCE_SECONDS, until

FIREFOX, THUNDERBIRD = "firefox-esr", "thunderbird"
FLAGS = ("--headless", "--no-remote", "--marionette", "-remote-allow-system-access")
ANSWER_SECONDS = 90.0
READ_BYTES = 65536
# The gateway's name is this machine; and nothing is fetched from anywhere else.
PREFERENCES = {
    "network.dns.localDomains": HOST,
    "marionette.port": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "extensions.update.enabled": False,
    "media.gmp-manager.url": "http://127.0.0.1:1/",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.trr.mode": 5,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
}


@contextmanager
def policies_of(kit: Path, program: str) -> Iterator[None]:
    """While this holds, the program has a kit's policies, for everybody: its files where the documentation says."""
    home = Path("/usr/lib") / program
    need_root(f"put policies into {home}")
    need(program)
    distribution = home / "distribution"
    places = {"policies.json": distribution, "root.crt": distribution / "certificates"}
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # other test runs on this machine wait
        for name, place in places.items():
            place.mkdir(exist_ok=True)
            shutil.copy(kit / name, place / name)
        yield
    finally:
        for name, place in places.items():
            (place / name).unlink(missing_ok=True)
        for place in (distribution / "certificates", distribution):
            with suppress(OSError):  # the distribution's own files are in it
                place.rmdir()
        os.close(folder)


class Mozilla:
    """One running Firefox or Thunderbird with one tab."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._last_id = 0

    @classmethod
    def start(cls, folder: Path, program: str, *, p12: tuple[Path, str] | None = None) -> Mozilla:
        """`p12`: a file with a user's certificate, and its password."""
        profile = folder / "profile"
        profile.mkdir()
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        (profile / "user.js").write_text("".join(lines))
        _fill_store(profile, p12)
        output = folder / "output.txt"
        with output.open("wb") as written:
            process = subprocess.Popen(
                [need(program), *FLAGS, "--profile", str(profile)],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                env={**os.environ, "HOME": str(folder), "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
                start_new_session=True,
            )
        made = cls(process, output)
        try:
            made._attach(profile / "MarionetteActivePort")
        except BaseException:
            made.stop()
            raise
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def open(self, url: str) -> None:
        """Go there, and wait until the page is there."""
        self._ask("WebDriver:Navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """What an expression of JavaScript comes to."""
        return self._ask("WebDriver:ExecuteScript", script=f"return {script}", args=[])["value"]

    def evaluate_inside(self, script: str) -> Any:
        """The same with the program's own rights, where its settings and certificates can be looked at."""
        self._ask("Marionette:SetContext", value="chrome")
        try:
            return self.evaluate(script)
        finally:
            self._ask("Marionette:SetContext", value="content")

    def keep_picture(self, name: str) -> bytes:
        """What the window shows, kept as artefacts/NAME.png too."""
        picture = b64decode(self._ask("WebDriver:TakeScreenshot", full=False)["value"])
        ARTEFACTS.mkdir(exist_ok=True)
        (ARTEFACTS / f"{name}.png").write_bytes(picture)
        return picture

    def stop(self) -> None:
        """End it and all its processes, which are a group of their own."""
        if self._socket is not None:
            with suppress(OSError, AssertionError):
                self._ask("Marionette:Quit", flags=["eForceQuit"])
            self._socket.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _attach(self, port_file: Path) -> None:
        def port() -> int:
            assert self._process.poll() is None, self._output.read_text()
            text = port_file.read_text() if port_file.exists() else ""
            return int(text) if text.strip() else 0

        found = until(port, "it listens to Marionette", seconds=ANSWER_SECONDS)
        self._socket = socket.create_connection(("127.0.0.1", found), timeout=ANSWER_SECONDS)
        assert self._message()["marionetteProtocol"] == 3
        self._ask("WebDriver:NewSession", capabilities={})

    def _ask(self, command: str, **parameters: Any) -> Any:
        assert self._socket is not None
        self._last_id += 1
        message = json.dumps([0, self._last_id, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        kind, number, error, result = self._message()
        assert (kind, number, error) == (1, self._last_id, None), (command, error)
        return result

    def _message(self) -> Any:
        while (colon := self._buffer.find(b":")) < 0:
            self._read()
        end = colon + 1 + int(self._buffer[:colon])
        while len(self._buffer) < end:
            self._read()
        message = json.loads(bytes(self._buffer[colon + 1 : end]))
        del self._buffer[:end]
        return message

    def _read(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(READ_BYTES)
        assert data, f"it ended: {self._output.read_text()}"
        self._buffer += data


def _fill_store(profile: Path, p12: tuple[Path, str] | None) -> None:
    where = ("-d", f"sql:{profile}")
    _do("certutil", "-N", *where, "--empty-password")
    if p12 is not None:
        _do("pk12util", "-i", str(p12[0]), *where, "-W", p12[1])


def _do(program: str, *arguments: str) -> None:
    code, output = run(program, arguments)
    assert code == 0, output
