"""Both ends of ten thousand ActiveSync Pings: a phone for each on one side, the mail server on the other.

`python -m bench.ping_ends upstream PORT` answers no Ping before it is told to: "count" prints how many wait, "speak"
answers them all and prints when it began. `python -m bench.ping_ends client '{"port": …}'` makes the connections, with
a Ping on each, prints how many seconds that took and, when all are answered, how many that were and when the last was.
Times are of the monotonic clock, which all processes share. What is wrong ends the process with a message.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.certificates import HOST
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

PATH = "/Microsoft-Server-ActiveSync?Cmd=Ping&User=alice&DeviceId=BENCH&DeviceType=Phone"
# Ping (MS-ASCMD 2.2.1.13) in WBXML: a heartbeat of 3540 s, one folder of class Email.
QUESTION = b"\x03\x01\x6a\x00\x00\x0d\x45\x48\x033540\x00\x01\x49\x4a\x4b\x035\x00\x01\x4c\x03Email\x00\x01\x01\x01\x01"
# Status 1: nothing new within the heartbeat.
ANSWER = b"\x03\x01\x6a\x00\x00\x0d\x45\x47\x031\x00\x01\x01"
TYPE = "application/vnd.ms-sync.wbxml"
# As many clients of one address as `limits.connections_per_ip` lets in by default.
CLIENTS_OF_AN_ADDRESS = 200
AT_ONCE = 32  # handshakes under way
RECEIVE_BYTES = 16 * 1024
BACKLOG = 4096
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    port: int
    pings: int
    ca: str
    client: str
    client_key: str


class MailServer:
    """Lets every Ping wait until it is told to speak."""

    def __init__(self, port: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self.listening.setblocking(False)
        self.epoll = select.epoll()
        self.open: dict[int, socket.socket] = {}
        self.heard: dict[int, bytes] = {}
        self.waiting: set[int] = set()

    def run(self) -> None:
        for descriptor in (self.listening.fileno(), sys.stdin.fileno()):
            self.epoll.register(descriptor, select.EPOLLIN)
        while True:
            for descriptor, _ in self.epoll.poll():
                if descriptor == self.listening.fileno():
                    self.accept()
                elif descriptor != sys.stdin.fileno():
                    self.hear(descriptor)
                elif not self.obey(sys.stdin.readline().strip()):
                    return

    def accept(self) -> None:
        connected, _ = self.listening.accept()
        connected.setblocking(False)
        self.open[connected.fileno()] = connected
        self.heard[connected.fileno()] = b""
        self.epoll.register(connected.fileno(), select.EPOLLIN)

    def hear(self, descriptor: int) -> None:
        data = self.open[descriptor].recv(RECEIVE_BYTES)
        if not data:
            self.waiting.discard(descriptor)
            del self.heard[descriptor]
            self.open.pop(descriptor).close()
            return
        self.heard[descriptor] += data
        if self.heard[descriptor].endswith(b"\r\n\r\n" + QUESTION):
            self.heard[descriptor] = b""
            self.waiting.add(descriptor)

    def obey(self, command: str) -> bool:
        match command:
            case "count":
                print(len(self.waiting), flush=True)
            case "speak":
                answer = f"HTTP/1.1 200 OK\r\nContent-Type: {TYPE}\r\nContent-Length: {len(ANSWER)}\r\n\r\n".encode()
                begin = time.monotonic()
                for descriptor in self.waiting:
                    self.open[descriptor].sendall(answer + ANSWER)
                self.waiting.clear()
                print(begin, flush=True)
            case _:
                return False
        return True


class Phones:
    """All the clients."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.context = client_context(load_certificates(Path(job.ca)))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(job.client, job.client_key)
        fields = f"Host: {HOST}\r\nUser-Agent: Bench/1.0\r\nContent-Type: {TYPE}\r\nContent-Length: {len(QUESTION)}\r\n"
        more = "MS-ASProtocolVersion: 16.1\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"
        self.request = f"POST {PATH} HTTP/1.1\r\n{fields}{more}".encode() + QUESTION
        self.epoll = select.epoll()
        self.open: dict[int, ssl.SSLSocket] = {}
        self.shaking: set[int] = set()
        self.answered: set[int] = set()

    def connect(self, number: int) -> None:
        address = number // CLIENTS_OF_AN_ADDRESS
        source = f"127.1.{address // 250}.{address % 250 + 1}"
        plain = socket.create_connection(("127.0.0.1", self.job.port), WAIT_SECONDS, source_address=(source, 0))
        phone = self.context.wrap_socket(plain, server_hostname=HOST, do_handshake_on_connect=False)
        phone.setblocking(False)
        self.open[phone.fileno()] = phone
        self.shaking.add(phone.fileno())
        self.epoll.register(phone.fileno(), select.EPOLLIN)
        self.shake(phone)

    def shake(self, phone: ssl.SSLSocket) -> None:
        try:
            phone.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.shaking.discard(phone.fileno())
        phone.write(self.request)

    def ask_all(self) -> None:
        """Each connects and sends its Ping, a few at a time."""
        begun = 0
        while begun < self.job.pings or self.shaking:
            while begun < self.job.pings and len(self.shaking) < AT_ONCE:
                self.connect(begun)
                begun += 1
            self.turn()

    def turn(self) -> None:
        for descriptor, _ in self.epoll.poll(WAIT_SECONDS):
            if descriptor in self.shaking:
                self.shake(self.open[descriptor])
            else:
                self.read(descriptor)

    def read(self, descriptor: int) -> None:
        try:
            data = self.open[descriptor].recv(RECEIVE_BYTES)
        except ssl.SSLWantReadError:  # a session ticket
            return
        if not (data.startswith(b"HTTP/1.1 200") and data.endswith(b"\r\n\r\n" + ANSWER)):
            raise SystemExit(f"not the answer, after {len(self.answered)} of {self.job.pings}: {data[:300]!r}")
        self.answered.add(descriptor)

    def run(self) -> None:
        begin = time.monotonic()
        self.ask_all()
        print(time.monotonic() - begin, flush=True)
        while len(self.answered) < self.job.pings:
            self.turn()
        print(json.dumps([len(self.answered), time.monotonic()]), flush=True)
        sys.stdin.readline()


def main() -> None:
    match sys.argv[1:]:
        case ["upstream", port]:
            MailServer(int(port)).run()
        case ["client", job]:
            Phones(Job(**json.loads(job))).run()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
