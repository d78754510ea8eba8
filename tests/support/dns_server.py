"""A DNS server on loopback, over UDP and TCP, that says what a test has told it, and writes down what it was asked.

    with DnsServer() as dns:
        dns.says("mail.lan", "127.0.0.5", "::1", ttl=1)
        dns.fails("mail.lan")                 # SERVFAIL from now on
        dns.asked                             # [("mail.lan", "AAAA"), ("mail.lan", "A")]

A name that it was told nothing of does not exist.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from support.gateway import free_port
from support.waiting import PATIENCE_SECONDS

LOOPBACK = "127.0.0.1"
# A resolver may well keep a "no" as long as the zone says: the gateway must not.
NEGATIVE_TTL = 600


@dataclass(frozen=True)
class Entry:
    """What is said of one name."""

    addresses: tuple[str, ...] = ()
    ttl: int = 60
    alias: str | None = None
    alias_ttl: int = 60
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    is_silent: bool = False
    is_truncated: bool = False  # over UDP
    only: str | None = None  # the one kind that rcode and silence are about: "A" or "AAAA"


class DnsServer:
    """Serves from its making to `stop`."""

    def __init__(self, host: str = LOOPBACK) -> None:
        self.host, self.port = host, free_port()
        self._entries: dict[str, Entry] = {}
        self._asked: list[tuple[str, str]] = []
        self._asked_tcp: list[tuple[str, str]] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((host, self.port))
        self._tcp = socket.create_server((host, self.port))
        self._threads = [threading.Thread(target=serve) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """As the configuration file has it."""
        return f"{self.host}:{self.port}"

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(name, kind) of every question so far, in their order."""
        return list(self._asked)

    @property
    def asked_over_tcp(self) -> list[tuple[str, str]]:
        return list(self._asked_tcp)

    # what to say

    def says(self, name: str, *addresses: str, ttl: int = 60, is_truncated: bool = False) -> None:
        self._entries[name] = Entry(addresses, ttl, is_truncated=is_truncated)

    def says_alias(self, name: str, target: str, ttl: int) -> None:
        self._entries[name] = Entry(alias=target, alias_ttl=ttl)

    def fails(self, name: str, rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> None:
        self._entries[name] = Entry(rcode=rcode)

    def fails_half(self, name: str, kind: str, *addresses: str, ttl: int = 60) -> None:
        """SERVFAIL for one kind of question, these addresses for the other."""
        self._entries[name] = Entry(addresses, ttl, rcode=dns.rcode.SERVFAIL, only=kind)

    def is_silent_about(self, name: str) -> None:
        self._entries[name] = Entry(is_silent=True)

    def forgets(self, name: str) -> None:
        self._entries.pop(name, None)

    # the wire

    def _serve_udp(self) -> None:
        while True:
            data, peer = self._udp.recvfrom(4096)
            if not data:
                return
            with contextlib.suppress(OSError):
                if (answer := self._answer(data, is_tcp=False)) is not None:
                    self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection, contextlib.suppress(OSError, struct.error):
                connection.settimeout(PATIENCE_SECONDS)
                stream = connection.makefile("rwb")
                (length,) = struct.unpack("!H", stream.read(2))
                if not length:
                    return
                if (answer := self._answer(stream.read(length), is_tcp=True)) is not None:
                    stream.write(struct.pack("!H", len(answer)) + answer)
                    stream.flush()

    def _answer(self, data: bytes, *, is_tcp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        entry = self._entries.get(name)
        if entry is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            answer.authority.append(
                dns.rrset.from_text(".", NEGATIVE_TTL, "IN", "SOA", f"a. b. 1 2 3 4 {NEGATIVE_TTL}")
            )
        elif entry.only in (None, kind) and (entry.is_silent or entry.rcode != dns.rcode.NOERROR):
            answer.set_rcode(entry.rcode)
        elif entry.is_truncated and not is_tcp:
            answer.flags |= dns.flags.TC
        else:
            self._fill(answer, name, kind, entry)
        # After the answer is decided: who sees the question here knows that a later change is for the next one.
        (self._asked_tcp if is_tcp else self._asked).append((name, kind))
        return None if entry is not None and entry.is_silent else answer.to_wire()

    def _fill(self, answer: dns.message.Message, name: str, kind: str, entry: Entry) -> None:
        if entry.alias is not None:
            answer.answer.append(dns.rrset.from_text(f"{name}.", entry.alias_ttl, "IN", "CNAME", f"{entry.alias}."))
            name, entry = entry.alias, self._entries[entry.alias]
        version = 6 if kind == "AAAA" else 4
        if texts := [text for text in entry.addresses if ip_address(text).version == version]:
            answer.answer.append(dns.rrset.from_text(f"{name}.", entry.ttl, "IN", kind, *texts))

    def stop(self) -> None:
        """Let both threads end, and free the port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.host, self.port))
        with socket.create_connection((self.host, self.port)) as last_tcp:
            last_tcp.sendall(b"\0\0")
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()
