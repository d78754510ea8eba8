"""A real browser: headless Chromium with a profile, a home and a certificate store of its own.

    with Browser.start(folder, port, trusted=credentials.server_ca, p12=(credentials.p12, P12_PASSWORD)) as browser:
        browser.open("https://mail.example.com/webmail")
        browser.evaluate("document.title")

Users' certificates are put into its NSS database by `pk12util`, as a person does it. Which one to show is asked in a
dialogue that nobody can click here, so a policy answers it, for this gateway's name alone. The browser is spoken to
over two pipes (`--remote-debugging-pipe`), in the DevTools protocol: messages in JSON, each ended by a NUL.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from support.gateway import HOST, INSIDE
from support.programs import need, need_root, run
from support.waiting import PATIENCE_SECONDS, until

POLICIES = Path("/etc/chromium/policies/managed")
ANSWER_SECONDS = 60.0
READ_BYTES = 65536
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--remote-debugging-pipe", "--window-size=1280,900"),
)

# The middle of an element, which may be in a frame of the page; null while something else is seen there, or it still
# moves or fades in.
_MIDDLE = """((selector, frame) => {
  const holder = frame && document.querySelector(frame);
  const page = frame ? holder?.contentDocument : document;
  const element = page?.querySelector(selector);
  if (!element || page.getAnimations().some(each => each.effect?.target?.contains(element))) return null;
  const box = element.getBoundingClientRect();
  const x = box.x + box.width / 2, y = box.y + box.height / 2;
  if (!element.contains(page.elementFromPoint(x, y))) return null;
  const {x: left, y: top} = frame ? holder.getBoundingClientRect() : {x: 0, y: 0};
  return {x: left + x, y: top + y};
})"""


ANY_CERTIFICATE = json.dumps(
    {"AutoSelectCertificateForUrls": [json.dumps({"pattern": f"https://{HOST}", "filter": {}})]}
)


@contextmanager
def chooses_certificate(policy_text: str = ANY_CERTIFICATE) -> Iterator[None]:
    """While this policy holds, Chromium shows the certificate that the gateway asks for without asking anybody."""
    need_root(f"write the policy that chooses a certificate, in {POLICIES}")
    made = [folder for folder in (POLICIES, *POLICIES.parents) if not folder.exists()]
    POLICIES.mkdir(parents=True, exist_ok=True)
    policy = POLICIES / f"gateway-tests-{os.getpid()}.json"
    policy.write_text(policy_text)
    try:
        yield
    finally:
        policy.unlink()
        for folder in made:
            with suppress(OSError):  # another run's policy is in it
                folder.rmdir()


class Browser:
    """One running Chromium with one tab. Its requests for the gateway's name go to a port of loopback."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, come: int, output: Path) -> None:
        self._process = process
        self._to, self._from = to, come
        self._output = output
        self._buffer = bytearray()
        self._last_id = 0
        self._tab: str | None = None

    @classmethod
    def start(
        cls,
        folder: Path,
        port: int,
        *,
        trusted: Path,
        p12s: tuple[tuple[Path, str], ...] = (),
        languages: str = "en-GB,en",
        flags: tuple[str, ...] = (),
    ) -> Browser:
        """`trusted`: the CA of the gateway's own certificate; `p12s`: files with users' certificates, and passwords."""
        program = need("chromium")
        _fill_store(folder / ".pki" / "nssdb", trusted, p12s)
        profile = folder / "profile"
        (profile / "Default").mkdir(parents=True)
        (profile / "Default" / "Preferences").write_text(json.dumps({"intl": {"accept_languages": languages}}))
        command = [
            *(program, *FLAGS, *flags, f"--user-data-dir={profile}"),
            f"--host-resolver-rules=MAP {HOST}:443 {INSIDE}:{port}, MAP * ~NOTFOUND, EXCLUDE {INSIDE}",
            "about:blank",
        ]
        output = folder / "chromium.txt"
        its_in, to = os.pipe()
        come, its_out = os.pipe()
        # Chromium reads its orders from descriptor 3 and answers on 4.
        wrapper = ["bash", "-c", f'exec "$@" 3<&{its_in} 4>&{its_out}', "bash", *command]
        try:
            with output.open("wb") as written:
                process = subprocess.Popen(
                    wrapper,
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=written,
                    pass_fds=(its_in, its_out),
                    env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config")},
                    start_new_session=True,
                )
        finally:
            os.close(its_in)
            os.close(its_out)
        made = cls(process, to, come, output)
        try:
            made._attach()
        except BaseException:
            made.stop()
            raise
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def open(self, url: str) -> None:
        """Go there, and wait until the page and all that it loads is there."""
        result = self._ask("Page.navigate", url=url)
        assert "errorText" not in result, result
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        """What an expression of JavaScript, or a promise it gives, comes to."""
        result = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        """The first true value of the expression."""

        def value() -> Any:
            try:
                return self.evaluate(script)
            except AssertionError:  # in the middle of going to another page
                return None

        try:
            return until(value, script, seconds=seconds)
        except AssertionError as error:
            error.add_note(f"The page: {self._page()}")
            raise

    def type_into(self, selector: str, text: str) -> None:
        """As with a keyboard."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self._ask("Input.insertText", text=text)

    def click(self, selector: str, *, frame: str | None = None) -> None:
        """As with a mouse, on the middle of what is seen; `frame`: the selector of the frame that it is in."""
        at = self.wait_until_seen(selector, frame=frame)
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def wait_until_seen(self, selector: str, *, frame: str | None = None) -> dict[str, float]:
        """Where its middle is, once that rests and nothing lies over it."""
        script = f"{_MIDDLE}({json.dumps(selector)}, {json.dumps(frame)})"
        last = None
        while last != (last := self.wait_for(script)):
            pass
        return last

    def choose_files(self, selector: str, *paths: Path) -> None:
        """What a person does in the dialogue that a file input opens."""
        found = self._ask("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        files = [str(path) for path in paths]
        self._ask("DOM.setFileInputFiles", objectId=found["result"]["objectId"], files=files)

    def save_downloads(self, folder: Path) -> None:
        """From now on files go there, under their own names as soon as they are whole."""
        self._ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def cookies(self) -> list[dict[str, Any]]:
        """Those of the page, as `put_cookies` takes them in another browser."""
        found = self._ask("Network.getCookies")["cookies"]
        return [{key: each[key] for key in ("name", "value", "domain", "path", "secure", "httpOnly")} for each in found]

    def put_cookies(self, cookies: list[dict[str, Any]]) -> None:
        """Have these, before a page is opened."""
        self._ask("Network.setCookies", cookies=cookies)

    def run_in_each_page(self, script: str) -> None:
        """From now on each page begins with this script."""
        self._ask("Page.enable")
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=script)

    def press_enter(self) -> None:
        """In the field that was typed into last."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **key)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **key)

    def be_a_phone(self) -> None:
        """From now on the window is as large as a phone's."""
        self._ask("Emulation.setDeviceMetricsOverride", **PHONE)

    def be_dark(self) -> None:
        """From now on the system prefers dark pages."""
        feature = {"name": "prefers-color-scheme", "value": "dark"}
        self._ask("Emulation.setEmulatedMedia", features=[feature])

    def keep_picture(self, name: str) -> bytes:
        """What the window shows, kept as artefacts/NAME.png too."""
        picture = b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        ARTEFACTS.mkdir(exist_ok=True)
        (ARTEFACTS / f"{name}.png").write_bytes(picture)
        return picture

    def print_page(self) -> bytes:
        """The page on paper of the size that it asks for, as a PDF file."""
        return b64decode(self._ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])

    def stop(self) -> None:
        """End it and all its processes, which are a group of their own."""
        os.close(self._to)
        os.close(self._from)
        with suppress(subprocess.TimeoutExpired):  # without its pipes it ends
            self._process.wait(PATIENCE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _page(self) -> str:
        """Where it is and what a person reads there."""
        try:
            return str(self.evaluate("`${location.href}\n${document.body.innerText}`"))
        except AssertionError as error:
            return str(error)

    def _attach(self) -> None:
        def tabs() -> list[str]:
            targets = self._ask("Target.getTargets")["targetInfos"]
            return [target["targetId"] for target in targets if target["type"] == "page"]

        target = until(tabs, "Chromium has a tab")[0]
        self._tab = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def _ask(self, method: str, **parameters: Any) -> Any:
        """One order's result; what else Chromium tells meanwhile is nobody's business here."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        if self._tab is not None:
            message["sessionId"] = self._tab
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while (answer := json.loads(self._message(method, deadline))).get("id") != self._last_id:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _message(self, method: str, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\0")) < 0:
            readable, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"Chromium did not answer {method}: {self._output.read_text()}"
            data = os.read(self._from, READ_BYTES)
            assert data, f"Chromium ended at {method}: {self._output.read_text()}"
            self._buffer += data
        message = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return message


def _fill_store(database: Path, trusted: Path, p12s: tuple[tuple[Path, str], ...]) -> None:
    database.mkdir(parents=True)
    where = ("-d", f"sql:{database}")
    _do("certutil", "-N", *where, "--empty-password")
    _do("certutil", "-A", *where, "-n", "Server CA", "-t", "C,,", "-i", str(trusted))
    for path, password in p12s:
        _do("pk12util", "-i", str(path), *where, "-W", password)


def _do(program: str, *arguments: str) -> None:
    code, output = run(program, arguments)
    assert code == 0, output
