"""Exchange ActiveSync as a phone speaks it: commands in WBXML, made and read by libwbxml's own programs.

phone = Phone(wire, port, "alice", "password", source=OUTSIDE, identity=credentials["alice"])
phone.command("FolderSync", '<FolderSync xmlns="FolderHierarchy:"><SyncKey>0</SyncKey></FolderSync>')
"""

from __future__ import annotations

import subprocess
from base64 import b64encode
from typing import Any, Self
from xml.etree import ElementTree as ET

from support.client import Answer
from support.programs import need
from support.wire import Wire

PATH = "/Microsoft-Server-ActiveSync"
DEVICE = "gatewaytests0001"
_HEAD = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE ActiveSync PUBLIC "-//MICROSOFT//DTD ActiveSync//EN" "http://www.microsoft.com/">'


def wbxml(xml: str) -> bytes:
    """The element in WBXML 1.3, as phones send it: without string table and public identifier."""
    return _convert("xml2wbxml", "-v", "1.3", "-n", "-a", text=(_HEAD + xml).encode())


def parsed(data: bytes) -> ET.Element:
    """WBXML as a tree, its tags without name spaces."""
    xml = _convert("wbxml2xml", "-m", "0", "-l", "ACTIVESYNC", text=data)
    root = ET.fromstring(xml)  # noqa: S314 - made here
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _convert(program: str, *options: str, text: bytes) -> bytes:
    done = subprocess.run([need(program), *options, "-o", "-", "-"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr, text)
    return done.stdout


class Phone:
    """One connection to the gateway; `options` as of `Client`."""

    def __init__(self, wire: Wire, port: int, user: str, password: str, **options: Any) -> None:
        self.client = wire.client(port, **options)
        self._user = user
        basic = b64encode(f"{user}:{password}".encode()).decode()
        self.login = f"Authorization: Basic {basic}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def options(self) -> Answer:
        """What the server can do."""
        return self.client.ask("OPTIONS", PATH, self.login)

    def send(self, command: str, xml: str) -> None:
        """A command whose answer is read later, by `receive`."""
        target = f"{PATH}?Cmd={command}&User={self._user}&DeviceId={DEVICE}&DeviceType=SmartPhone"
        fields = (
            *(self.login, "MS-ASProtocolVersion: 14.1", "X-MS-PolicyKey: 0"),
            *("User-Agent: Test-Phone/1.0", "Content-Type: application/vnd.ms-sync.wbxml"),
        )
        self.exchange = self.client.start("POST", target, *fields, body=wbxml(xml))

    def receive(self) -> ET.Element | None:
        """The answer to the command sent last; None for an empty one, which says that nothing has changed."""
        answer = self.exchange.answer()
        assert answer.status == 200, (answer.status, answer.body)
        assert answer.get("Content-Type") == "application/vnd.ms-sync.wbxml"
        return parsed(answer.body) if answer.body else None

    def command(self, command: str, xml: str) -> ET.Element | None:
        """A command and its answer."""
        self.send(command, xml)
        return self.receive()
