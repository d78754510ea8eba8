"""The record layer against real TLS clients: Python's ssl, and pyOpenSSL where that one can't misbehave enough."""

import contextlib
import ctypes
import gc
import ssl
import weakref
from dataclasses import replace
from ipaddress import ip_address
from time import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from support.loaded import certificate_file, key_file
from support.pki import server

from gateway.config.model import Site
from gateway.tls.client_hello import peek
from gateway.tls.contexts import build_site
from gateway.tls.layer import AT_ONCE_BYTES, MAX_RECORDS, MAX_UNASKED_BYTES, SLICE_BYTES, TlsLayer

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
MIB = 1024 * 1024
HANDSHAKE_RECORD, DATA_RECORD = 22, 23
CLOSED_IN_HANDSHAKE = "the client closed the connection during the handshake"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    certificate, key = server(tmp_path_factory.mktemp("layer"))
    return build_site(Site(("mail.example.com",), certificate_file(certificate), key_file(key), "mail"))


@pytest.fixture(scope="module")
def of_two(tls):
    """A site that serves two protocols."""
    return build_site(replace(tls.site, protocols=("h2", "http/1.1")))


class Socket:
    """A transport that keeps what is written, and is as strict as a real one."""

    def __init__(self, *, can_write_eof=True):
        self.sent = bytearray()
        self.state = "open"
        self.is_reading = True
        self._can_write_eof = can_write_eof

    def write(self, data):
        assert self.state == "open", "written after its end"
        assert data
        self.sent += data

    def can_write_eof(self):
        return self._can_write_eof

    def write_eof(self):
        assert self._can_write_eof
        self.state = "half-closed"

    def close(self):
        self.state = "closed"

    def abort(self):
        self.state = "aborted"

    def pause_reading(self):
        self.is_reading = False

    def resume_reading(self):
        self.is_reading = True

    def get_extra_info(self, name):
        return {"sockname": ("::ffff:192.0.2.1", 443, 0, 0)}[name]

    def taken(self):
        data = bytes(self.sent)
        self.sent.clear()
        return data


class Recorder:
    """An application that writes down what it hears."""

    def __init__(self, *, stays_open=False, closes_on=None, pauses_on=None):
        self.heard = []
        self.waiting = []
        self.discarded_bytes = 0
        self.layer = None
        self._stays_open = stays_open
        self._closes_on = closes_on
        self._pauses_on = pauses_on

    def _hear(self, word, *rest):
        self.heard.append((word, *rest) if rest else word)
        if word == self._closes_on:
            self.layer.close()
        if word == self._pauses_on:
            self.layer.pause_reading()

    def handshake_done(self):
        self._hear("done")

    def handshake_failed(self, cause):
        self._hear("failed", cause)

    def data_received(self, data):
        assert type(data) is bytes
        self._hear("data", data)

    def discarded(self, count):
        self.discarded_bytes += count

    def eof_received(self):
        self._hear("eof")
        return self._stays_open

    def connection_lost(self, error):
        self._hear("lost", error)

    def wait_turn(self, go_on):
        self.waiting.append(go_on)

    def receive(self, data):
        """Ciphertext for the layer, and the turn that a longer read waits for."""
        self.layer.data_received(data)
        if len(data) > AT_ONCE_BYTES and self.waiting:
            self.waiting.pop(0)()

    def turns(self):
        """Every turn that it waits for, one after the other; how many there were."""
        count = 0
        while self.waiting:
            self.waiting.pop(0)()
            count += 1
        return count

    def pause_writing(self):
        self._hear("pause")

    def resume_writing(self):
        self._hear("resume")

    @property
    def data(self):
        return b"".join(each[1] for each in self.heard if each[0] == "data")


class Dialogue:
    """A client of Python's ssl, and a layer in front of a `Recorder`."""

    def __init__(self, tls, version=ssl.TLSVersion.TLSv1_3, *, socket=None, is_trusting=True, **options):
        self.tls = tls
        self.socket = socket or Socket()
        self.application = Recorder(**options)
        self.layer = None
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = made.maximum_version = version
        if is_trusting:
            made.load_verify_locations(tls.site.certificate.path)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = made.wrap_bio(self._in, self._out, server_hostname="mail.example.com")

    def begin(self):
        """The ClientHello, and the layer that is to read it."""
        hello = self.step()
        connection = self.tls.connection(peek(hello), asks=False, may_resume=lambda *_: False, unix_seconds=time())
        self.layer = self.application.layer = TlsLayer(connection, self.socket, self.application)
        return hello

    def step(self):
        """One step of the client's handshake; what it sends."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self._out.read()

    def shake_hands(self, pieces=lambda data: [data]):
        flight = self.begin()
        while flight:
            for piece in pieces(flight):
                self.application.receive(piece)
            self._in.write(self.socket.taken())
            flight = self.step()
        return self

    def encrypted(self, data):
        self.client.write(data)
        return self._out.read()

    def say(self, data):
        self.layer.data_received(self.encrypted(data))
        self.application.turns()

    def goodbye(self):
        """The client's close_notify."""
        with pytest.raises((ssl.SSLWantReadError, ssl.SSLSyscallError)):
            self.client.unwrap()
        return self._out.read()

    def read(self):
        """What the client reads of what was sent; None for a clean end."""
        self._in.write(self.socket.taken())
        data = b""
        while True:
            try:
                more = self.client.read(MIB)
            except ssl.SSLWantReadError:
                return data
            except ssl.SSLZeroReturnError:
                return data or None
            if not more:
                return data or None
            data += more


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_a_handshake_and_data_both_ways_however_cut(tls, version, size):
    dialogue = Dialogue(tls, version)
    dialogue.shake_hands(lambda data: [data[at : at + size] for at in range(0, len(data), size)])
    layer, application = dialogue.layer, dialogue.application
    assert application.heard == ["done"]
    assert layer.is_established
    assert not layer.is_resumed
    assert not layer.is_closing()
    assert layer.group_name
    dialogue.say(b"hello")
    assert application.data == b"hello"
    layer.write(b"world")
    assert dialogue.read() == b"world"
    assert repr(layer) == "<TlsLayer established>"


def test_before_the_handshake_there_is_no_group(tls):
    dialogue = Dialogue(tls)
    dialogue.begin()
    assert dialogue.layer.group_name is None
    assert not dialogue.layer.is_established
    assert repr(dialogue.layer) == "<TlsLayer handshaking>"


def test_where_it_came_in(tls):
    dialogue = Dialogue(tls)
    dialogue.begin()
    assert dialogue.layer.local == (ip_address("192.0.2.1"), 443)


def test_data_in_the_last_flight_comes_behind_the_handshake(tls):
    dialogue = Dialogue(tls)
    hello = dialogue.begin()
    dialogue.layer.data_received(hello)
    dialogue._in.write(dialogue.socket.taken())
    last = dialogue.step()
    dialogue.layer.data_received(last + dialogue.encrypted(b"early"))
    assert dialogue.application.heard == ["done", ("data", b"early")]


# the handshake fails


def failed(dialogue):
    (heard,) = dialogue.application.heard
    assert heard[0] == "failed"
    assert dialogue.layer.is_closing()
    assert not dialogue.layer.is_established
    return heard[1]


def test_garbage_for_a_handshake(tls):
    dialogue = Dialogue(tls)
    dialogue.begin()
    dialogue.layer.data_received(b"\x16\x03\x01\x00\x05hello")
    assert failed(dialogue)
    assert dialogue.socket.state == "half-closed"
    assert dialogue.socket.sent[:1] == b"\x15"  # an alert
    dialogue.layer.data_received(b"more")
    assert dialogue.application.discarded_bytes == len(b"more")
    dialogue.layer.connection_lost(None)
    assert dialogue.application.heard[1:] == [("lost", None)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_does_not_trust_us(tls, version):
    dialogue = Dialogue(tls, version, is_trusting=False)
    hello = dialogue.begin()
    dialogue.layer.data_received(hello)
    dialogue._in.write(dialogue.socket.taken())
    with pytest.raises(ssl.SSLCertVerificationError):
        dialogue.step()
    dialogue.layer.data_received(dialogue._out.read())
    assert "unknown ca" in failed(dialogue)
    assert dialogue.socket.state == "half-closed"
    assert not dialogue.layer.eof_received()  # the socket closes then


def test_a_transport_that_cannot_close_one_side_keeps_both_until_the_client_closes(tls):
    dialogue = Dialogue(tls, socket=Socket(can_write_eof=False))
    dialogue.begin()
    dialogue.layer.data_received(b"\x16\x03\x01\x00\x05hello")
    assert failed(dialogue)
    assert dialogue.socket.state == "open"


def test_a_client_without_a_version_in_common(tls):
    dialogue = Dialogue(tls, ssl.TLSVersion.TLSv1_2)
    hello = dialogue.begin()
    dialogue.layer.data_received(hello.replace(b"\x03\x03", b"\x03\x01"))
    assert failed(dialogue) == "unsupported protocol"


def test_a_close_notify_for_a_handshake(tls):
    dialogue = Dialogue(tls, ssl.TLSVersion.TLSv1_2)
    hello = dialogue.begin()
    dialogue.layer.data_received(hello)
    dialogue.layer.data_received(b"\x15\x03\x03\x00\x02\x01\x00")
    assert failed(dialogue) == CLOSED_IN_HANDSHAKE


def test_the_end_of_the_stream_in_the_handshake(tls):
    dialogue = Dialogue(tls)
    dialogue.begin()
    assert not dialogue.layer.eof_received()
    assert failed(dialogue) == CLOSED_IN_HANDSHAKE
    assert not dialogue.layer.eof_received()
    dialogue.layer.connection_lost(None)
    assert len(dialogue.application.heard) == 2


def test_a_socket_lost_in_the_handshake(tls):
    dialogue = Dialogue(tls)
    dialogue.begin()
    error = ConnectionResetError()
    dialogue.layer.connection_lost(error)
    assert dialogue.application.heard == [
        ("failed", "the client went away during the handshake"),
        ("lost", error),
    ]
    dialogue.layer.write(b"x")
    assert not dialogue.socket.sent


def test_an_application_that_closes_at_once_hears_no_data(tls):
    dialogue = Dialogue(tls, closes_on="done")
    hello = dialogue.begin()
    dialogue.layer.data_received(hello)
    dialogue._in.write(dialogue.socket.taken())
    last = dialogue.step()
    dialogue.layer.data_received(last + dialogue.encrypted(b"early"))
    assert dialogue.application.heard == ["done"]
    assert dialogue.socket.state == "closed"


def test_closing_in_the_handshake_sends_no_close_notify(tls):
    dialogue = Dialogue(tls)
    dialogue.begin()
    dialogue.layer.close()
    assert dialogue.socket.state == "closed"
    assert not dialogue.socket.sent


# the client ends


@pytest.mark.parametrize("version", VERSIONS)
def test_close_notify_is_answered_and_ends_the_connection(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    dialogue.layer.data_received(dialogue.encrypted(b"bye") + dialogue.goodbye())
    assert dialogue.application.heard == ["done", ("data", b"bye"), "eof"]
    assert dialogue.socket.state == "closed"
    assert dialogue.read() is None
    assert repr(dialogue.layer) == "<TlsLayer closing>"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_application_may_go_on_writing_to_a_client_that_is_done(tls, version):
    dialogue = Dialogue(tls, version, stays_open=True).shake_hands()
    dialogue.layer.data_received(dialogue.goodbye())
    assert dialogue.layer.eof_received()
    assert dialogue.application.heard == ["done", "eof", "eof"]
    dialogue.layer.write(b"the rest")
    assert dialogue.socket.sent
    dialogue.layer.close()
    assert dialogue.socket.state == "closed"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_comes_behind_a_close_notify_is_ignored_and_not_kept(tls, version):
    dialogue = Dialogue(tls, version, stays_open=True).shake_hands()
    dialogue.application.receive(dialogue.goodbye())
    before = allocated_bytes()
    for _ in range(100):
        dialogue.application.receive(b"\x17\x03\x03\x3f\xfb" + bytes(16379))
    assert allocated_bytes() - before < 4 * SLICE_BYTES
    assert dialogue.application.heard == ["done", "eof"]
    dialogue.layer.write(b"the rest")
    assert dialogue.socket.sent
    assert dialogue.socket.state == "open"


def test_the_end_of_the_stream_is_for_the_application(tls):
    dialogue = Dialogue(tls).shake_hands()
    assert not dialogue.layer.eof_received()
    dialogue.layer.connection_lost(None)
    assert dialogue.application.heard == ["done", "eof", ("lost", None)]
    assert dialogue.layer.is_closing()


# broken and hostile records


def broken_mac(dialogue):
    record = bytearray(dialogue.encrypted(b"hello"))
    record[-1] ^= 1
    return bytes(record)


HOSTILE = {
    "bad record MAC": broken_mac,
    "plain HTTP": lambda _dialogue: b"GET / HTTP/1.1\r\n\r\n",
    "record too long": lambda _dialogue: b"\x17\x03\x03\xff\xff" + b"x" * 100,
    "plaintext data": lambda _dialogue: b"\x17\x03\x03\x00\x05hello",
    "unknown record type": lambda _dialogue: b"\x63\x03\x03\x00\x05hello",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_record_ends_the_connection_with_an_alert(tls, version, name):
    dialogue = Dialogue(tls, version).shake_hands()
    dialogue.say(b"before")
    dialogue.layer.data_received(HOSTILE[name](dialogue) + b"behind")
    assert dialogue.application.data == b"before"
    assert dialogue.layer.is_closing()
    assert dialogue.socket.state == "closed"
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        dialogue.read()
    assert SSL._lib.ERR_peek_error() == 0


@pytest.mark.parametrize("leaves_no_session", [True, False])
def test_a_broken_record_after_our_own_end_is_not_answered(tls, leaves_no_session):
    dialogue = Dialogue(tls, stays_open=True).shake_hands()
    dialogue.layer.leaves_no_session = leaves_no_session
    dialogue.layer.write_eof()
    dialogue.socket.taken()
    dialogue.layer.data_received(broken_mac(dialogue))
    assert not dialogue.socket.sent
    assert dialogue.socket.state == "closed"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_in_two_halves_and_empty_segments(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    record = dialogue.encrypted(b"hello")
    for piece in (record[:3], b"", record[3:-1], b"", record[-1:]):
        dialogue.layer.data_received(piece)
    assert dialogue.application.heard == ["done", ("data", b"hello")]
    assert not dialogue.layer.is_closing()


@pytest.mark.parametrize("version", VERSIONS)
def test_errors_of_other_calls_are_not_taken_for_the_connections(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    record = dialogue.encrypted(b"hello")
    other = SSL.Context(SSL.TLS_METHOD)
    assert SSL._lib.SSL_CTX_set_cipher_list(other._context, b"no such cipher") == 0
    assert SSL._lib.SSL_CTX_use_certificate_chain_file(other._context, b"/no/such/file") == 0
    assert SSL._lib.ERR_peek_error() != 0
    try:
        dialogue.layer.data_received(record[:8])
        dialogue.layer.data_received(record[8:])
        dialogue.layer.write(b"world")
    finally:
        SSL._lib.ERR_clear_error()
    assert dialogue.application.data == b"hello"
    assert dialogue.read() == b"world"


class Peer:
    """A client of pyOpenSSL: it can ask for a renegotiation, and tells its keys."""

    def __init__(self, tls, version, *, groups=None, offers=()):
        """`offers`: lists of protocols for the ClientHello, and for the next one after a HelloRetryRequest."""
        self.secrets = {}
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if groups is not None:
            assert SSL._lib.SSL_CTX_set1_curves_list(context._context, groups) == 1
        context.set_keylog_callback(self._keep)
        self.client = SSL.Connection(context, None)
        self.client.set_tlsext_host_name(b"mail.example.com")
        self.client.set_connect_state()
        for offer in offers[:1]:
            self.client.set_alpn_protos(offer)
        self.socket, self.application = Socket(), Recorder()
        flight = self.step()
        for offer in offers[1:]:
            self.client.set_alpn_protos(offer)
        connection = tls.connection(peek(flight), asks=False, may_resume=lambda *_: False, unix_seconds=time())
        self.layer = self.application.layer = TlsLayer(connection, self.socket, self.application)
        while flight:
            self.application.receive(flight)
            if self.socket.sent:
                self.client.bio_write(self.socket.taken())
            flight = self.step()

    def _keep(self, _connection, line):
        label, _random, secret = line.split()
        self.secrets[label] = bytes.fromhex(secret.decode())

    def step(self):
        with contextlib.suppress(SSL.WantReadError):
            self.client.do_handshake()
        return self.sent()

    def sent(self):
        try:
            return self.client.bio_read(MIB)
        except SSL.WantReadError:
            return b""


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize(
    ("offers", "expected"), [([], b""), ([[b"h2", b"http/1.1"]], b"h2"), ([[b"http/1.1"]], b"http/1.1")]
)
def test_the_protocol_after_the_handshake(of_two, version, offers, expected):
    assert Peer(of_two, version, offers=offers).layer.protocol == expected


@pytest.mark.parametrize(("first", "second"), [([b"h2"], [b"http/1.1"]), ([b"http/1.1"], [b"h2"])])
def test_the_list_of_the_second_hello_decides(of_two, first, second):
    """It follows a HelloRetryRequest, here because the first one has no key for a group of ours."""
    peer = Peer(of_two, SSL.TLS1_3_VERSION, groups=b"P-521:P-384", offers=[first, second])
    assert peer.layer.is_established
    assert peer.layer.group_name == "secp384r1"
    assert peer.layer.protocol == second[0] == peer.client.get_alpn_proto_negotiated()


def test_before_the_handshake_there_is_no_protocol(of_two):
    dialogue = Dialogue(of_two)
    dialogue.begin()
    assert dialogue.layer.protocol == b""


def test_a_renegotiation_is_refused_at_once_and_leaves_nothing_behind(tls):
    peer = Peer(tls, SSL.TLS1_2_VERSION)
    peer.client.renegotiate()
    peer.layer.data_received(peer.step())
    assert peer.socket.sent[:1] == b"\x15"
    assert not peer.layer.is_closing()
    assert peer.layer.connection.total_renegotiations() == 0
    with pytest.raises(SSL.WantReadError):
        peer.layer.connection.bio_read(1)
    peer.client.bio_write(peer.socket.taken())
    with pytest.raises(SSL.Error, match="no renegotiation"):
        peer.client.recv(1)


def expanded(secret, label, length):
    """HKDF-Expand-Label without context (RFC 8446 7.1), for the SHA-384 suite."""
    full = b"tls13 " + label
    info = length.to_bytes(2) + bytes([len(full)]) + full + b"\x00"
    return HKDFExpand(hashes.SHA384(), length, info).derive(secret)


def sealed(secret, sequence, content, kind):
    """A TLS 1.3 record (RFC 8446 5.2) under AES-256-GCM."""
    key, nonce = expanded(secret, b"key", 32), expanded(secret, b"iv", 12)
    nonce = (int.from_bytes(nonce) ^ sequence).to_bytes(12)
    header = bytes([DATA_RECORD, 3, 3]) + (len(content) + 17).to_bytes(2)
    return header + AESGCM(key).encrypt(nonce, content + bytes([kind]), header)


KEY_UPDATE = b"\x18\x00\x00\x01\x01"  # that asks for one in return (RFC 8446 4.6.3)
KEY_UPDATE_BYTES = 5 + len(KEY_UPDATE) + 17


class Rekeying(Peer):
    """A client that encrypts by itself, from the secrets that pyOpenSSL's told, and changes its keys."""

    def __init__(self, tls):
        super().__init__(tls, SSL.TLS1_3_VERSION)
        assert self.client.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
        self.secret = self.secrets[b"CLIENT_TRAFFIC_SECRET_0"]
        self.sequence = 0

    def sealed(self, content, kind=DATA_RECORD):
        self.sequence += 1
        return sealed(self.secret, self.sequence - 1, content, kind)

    def new_key(self):
        record = self.sealed(KEY_UPDATE, HANDSHAKE_RECORD)
        self.secret, self.sequence = expanded(self.secret, b"traffic upd", 48), 0
        return record


def test_a_key_update_of_tls_1_3_is_answered_with_the_next_record(tls):
    peer = Rekeying(tls)
    peer.application.receive(peer.sealed(b"old key") + peer.new_key() + peer.sealed(b", new key"))
    assert peer.application.data == b"old key, new key"
    assert not peer.socket.sent
    peer.layer.write(b"answer")
    assert len(peer.socket.sent) == KEY_UPDATE_BYTES + 5 + len(b"answer") + 17
    peer.client.bio_write(peer.socket.taken())
    assert peer.client.recv(100) == b"answer"


def test_one_key_update_too_many_cuts_the_connection(tls):
    peer = Rekeying(tls)
    for _ in range(1 + MAX_UNASKED_BYTES // KEY_UPDATE_BYTES):  # each sends the answer to the one before
        peer.application.receive(peer.new_key())
    assert peer.socket.state == "open"
    assert MAX_UNASKED_BYTES - KEY_UPDATE_BYTES < len(peer.socket.sent) <= MAX_UNASKED_BYTES
    with pytest.raises(SSL.WantReadError):
        peer.layer.connection.bio_read(1)
    peer.application.receive(peer.new_key())
    assert peer.socket.state == "aborted"


@pytest.mark.parametrize("leaves_no_session", [True, False])
def test_a_key_update_after_our_own_end_is_not_answered(tls, leaves_no_session):
    peer = Rekeying(tls)
    peer.layer.leaves_no_session = leaves_no_session
    peer.layer.write_eof()
    peer.socket.taken()
    peer.application.receive(peer.new_key() + peer.new_key() + peer.new_key() + peer.sealed(b"still here"))
    assert peer.application.data == b"still here"
    assert not peer.socket.sent


# writing


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 4 * SLICE_BYTES, 3 * MIB + 1])
def test_all_that_is_written_arrives(tls, version, size):
    dialogue = Dialogue(tls, version).shake_hands()
    data = bytes(range(256)) * (size // 256 + 1)
    dialogue.layer.write(data[:size])
    assert dialogue.read() == data[:size]


def test_writing_nothing_sends_nothing(tls):
    dialogue = Dialogue(tls).shake_hands()
    dialogue.layer.write(b"")
    assert not dialogue.socket.sent
    assert dialogue.socket.state == "open"


@pytest.mark.parametrize("version", VERSIONS)
def test_many_records_at_once_are_read(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    data = bytes(range(256)) * (MIB // 256)
    dialogue.say(data)
    assert dialogue.application.data == data


@pytest.mark.parametrize("version", VERSIONS)
def test_a_large_read_is_handed_on_in_pieces_and_nothing_more_is_read_meanwhile(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    data = b"x" * (4 * SLICE_BYTES)
    layer, application = dialogue.layer, dialogue.application
    layer.data_received(dialogue.encrypted(data))
    assert len(application.data) <= SLICE_BYTES
    assert not dialogue.socket.is_reading
    pieces = 1
    while application.waiting:
        before = len(application.data)
        application.waiting.pop()()
        assert len(application.data) - before <= SLICE_BYTES
        pieces += 1
    assert pieces >= 4
    assert application.data == data
    assert dialogue.socket.is_reading


@pytest.mark.parametrize("version", VERSIONS)
def test_a_read_that_is_not_short_waits_for_its_turn(tls, version):
    """One client may have hundreds of connections with something to read in the same turn of the loop."""
    dialogue = Dialogue(tls, version).shake_hands()
    short, longer = dialogue.encrypted(b"x"), dialogue.encrypted(b"y" * AT_ONCE_BYTES)
    dialogue.layer.data_received(short)
    assert dialogue.application.data == b"x"
    dialogue.layer.data_received(longer)
    assert dialogue.application.data == b"x"
    assert not dialogue.socket.is_reading
    assert dialogue.application.turns() == 1
    assert dialogue.application.data == b"x" + b"y" * AT_ONCE_BYTES
    assert dialogue.socket.is_reading


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count", [MAX_RECORDS - 1, MAX_RECORDS, MAX_RECORDS + 1, 10 * MAX_RECORDS])
def test_small_records_are_handed_on_some_at_a_time(tls, version, count):
    dialogue = Dialogue(tls, version).shake_hands()
    application = dialogue.application
    dialogue.application.receive(b"".join(dialogue.encrypted(b"x") for _ in range(count)))
    assert len(application.data) == min(count, MAX_RECORDS)
    assert dialogue.socket.is_reading == (count < MAX_RECORDS)
    turns = application.turns()
    assert turns == count // MAX_RECORDS
    assert application.data == b"x" * count
    assert dialogue.socket.is_reading


def test_an_application_that_pauses_gets_nothing_more_and_all_of_it_later(tls):
    dialogue = Dialogue(tls, pauses_on="data").shake_hands()
    layer, application = dialogue.layer, dialogue.application
    layer.data_received(b"".join(dialogue.encrypted(b"x") for _ in range(3)) + dialogue.goodbye())
    for count in (1, 2, 3):
        assert application.heard == ["done", *[("data", b"x")] * count]
        assert not dialogue.socket.is_reading
        assert application.turns() == 0
        layer.resume_reading()
        layer.resume_reading()
        assert application.turns() == 1
    assert application.heard[-1] == "eof"


def test_an_application_that_pauses_again_before_its_turn_gets_nothing(tls):
    dialogue = Dialogue(tls, pauses_on="data").shake_hands()
    dialogue.layer.data_received(b"".join(dialogue.encrypted(b"x") for _ in range(3)))
    dialogue.layer.resume_reading()
    dialogue.layer.pause_reading()
    assert dialogue.application.turns() == 1
    assert dialogue.application.data == b"x"
    dialogue.layer.resume_reading()
    assert dialogue.application.turns() == 1
    assert dialogue.application.data == b"xx"


def test_what_comes_while_the_rest_of_a_read_waits_stands_behind_it(tls):
    """A transport may have something on its way when reading is paused."""
    dialogue = Dialogue(tls).shake_hands()
    dialogue.layer.data_received(dialogue.encrypted(b"x" * (2 * SLICE_BYTES)))
    dialogue.layer.data_received(dialogue.encrypted(b"y"))
    dialogue.application.turns()
    assert dialogue.application.data == b"x" * (2 * SLICE_BYTES) + b"y"


def test_the_rest_of_a_read_is_thrown_away_where_the_connection_ends_before_its_turn(tls):
    dialogue = Dialogue(tls).shake_hands()
    data = dialogue.encrypted(b"x" * (4 * SLICE_BYTES))
    dialogue.application.receive(data)
    heard = dialogue.application.data
    dialogue.layer.close_sending()
    dialogue.layer.resume_reading()
    assert dialogue.application.turns() == 1
    assert dialogue.application.data == heard
    assert dialogue.application.discarded_bytes == len(data) - SLICE_BYTES
    assert dialogue.socket.is_reading


def test_a_connection_that_is_lost_waits_for_no_turn(tls):
    dialogue = Dialogue(tls).shake_hands()
    dialogue.layer.data_received(dialogue.encrypted(b"x" * (4 * SLICE_BYTES)))
    dialogue.layer.connection_lost(None)
    heard = list(dialogue.application.heard)
    assert dialogue.application.turns() == 1
    assert dialogue.application.heard == heard


def test_a_failure_in_a_later_piece_cuts_the_connection(tls):
    dialogue = Dialogue(tls).shake_hands()
    dialogue.layer.data_received(dialogue.encrypted(b"x" * (4 * SLICE_BYTES)))
    dialogue.application.data_received = None
    with pytest.raises(TypeError):
        dialogue.application.turns()
    assert dialogue.socket.state == "aborted"


def test_a_write_that_openssl_refuses_cuts_the_connection(tls):
    for size in (1, SLICE_BYTES + 1):
        dialogue = Dialogue(tls).shake_hands()
        dialogue.layer.connection.shutdown()
        dialogue.layer.write(b"x" * size)
        assert dialogue.socket.state == "aborted"
        assert dialogue.layer.is_closing()
        assert SSL._lib.ERR_peek_error() == 0


def test_what_comes_behind_a_close_is_not_heard(tls):
    """Neither the records of the same segment, nor those of the next slice of a large one."""
    for size in (1, SLICE_BYTES - 100):
        dialogue = Dialogue(tls, closes_on="data").shake_hands()
        dialogue.application.receive(b"".join(dialogue.encrypted(b"x" * size) for _ in range(3)))
        assert dialogue.application.data == b"x" * size
        dialogue.say(b"more")
        dialogue.layer.write(b"answer")
        assert dialogue.application.data == b"x" * size
        assert dialogue.read() is None


# our own end


@pytest.mark.parametrize("version", VERSIONS)
def test_close_says_goodbye_once(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    dialogue.layer.write(b"last")
    dialogue.layer.close()
    size = len(dialogue.socket.sent)
    dialogue.layer.close()
    dialogue.layer.close_sending()
    dialogue.layer.write_eof()
    dialogue.layer.write(b"more")
    assert len(dialogue.socket.sent) == size
    assert dialogue.read() == b"last"
    assert dialogue.read() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_abort_says_no_goodbye(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    dialogue.layer.abort()
    assert dialogue.socket.state == "aborted"
    assert not dialogue.socket.sent
    dialogue.layer.write(b"x")
    dialogue.say(b"y")
    assert dialogue.application.heard == ["done"]


@pytest.mark.parametrize("can_write_eof", [True, False])
def test_a_connection_that_sends_no_more_throws_away_what_comes(tls, can_write_eof):
    dialogue = Dialogue(tls, socket=Socket(can_write_eof=can_write_eof)).shake_hands()
    dialogue.layer.write(b"answer")
    dialogue.layer.close_sending()
    assert dialogue.socket.state == ("half-closed" if can_write_eof else "open")
    dialogue.say(b"x" * MIB)
    dialogue.say(b"y")
    assert not dialogue.layer.eof_received()
    assert dialogue.application.heard == ["done"]
    assert dialogue.application.discarded_bytes > MIB + 1  # as it came: each record is a little longer
    assert dialogue.read() == b"answer"
    assert dialogue.read() is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("can_write_eof", [True, False])
def test_a_half_closed_connection_reads_on(tls, version, can_write_eof):
    dialogue = Dialogue(tls, version, socket=Socket(can_write_eof=can_write_eof)).shake_hands()
    dialogue.layer.write_eof()
    size = len(dialogue.socket.sent)
    dialogue.layer.write_eof()
    dialogue.layer.write(b"more")
    assert len(dialogue.socket.sent) == size
    dialogue.say(b"still here")
    assert dialogue.application.data == b"still here"
    dialogue.layer.close()
    assert dialogue.socket.state == "closed"
    assert dialogue.read() is None


@pytest.mark.parametrize("leaves_no_session", [True, False])
def test_whoever_may_not_resume_leaves_no_session(tls, leaves_no_session):
    dialogue = Dialogue(tls, ssl.TLSVersion.TLSv1_2).shake_hands()
    dialogue.layer.leaves_no_session = leaves_no_session
    dialogue.layer.close()
    assert dialogue.layer.connection.get_shutdown() == (0 if leaves_no_session else SSL.SENT_SHUTDOWN)
    assert dialogue.read() is None


def test_backpressure_goes_through(tls):
    dialogue = Dialogue(tls).shake_hands()
    layer = dialogue.layer
    layer.pause_writing()
    layer.resume_writing()
    assert dialogue.application.heard[1:] == ["pause", "resume"]
    layer.pause_reading()
    assert not dialogue.socket.is_reading
    layer.resume_reading()
    assert dialogue.socket.is_reading


# memory


def test_a_lost_connection_is_freed_without_the_cycle_collector(tls):
    dialogue = Dialogue(tls).shake_hands()
    connection = weakref.ref(dialogue.layer.connection)
    gc.collect()
    gc.disable()
    try:
        dialogue.layer.connection_lost(None)
        dialogue = None
        assert connection() is None
    finally:
        gc.enable()


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "x", "y")
    ]


_libc = ctypes.CDLL(None)
CONNECTIONS = 20


def allocated_bytes():
    gc.collect()
    _libc.mallinfo2.restype = _Mallinfo
    info = _libc.mallinfo2()
    return info.uordblks + info.hblkhd


@pytest.mark.skipif(not hasattr(_libc, "mallinfo2"), reason="only glibc tells what is allocated")
@pytest.mark.parametrize("version", VERSIONS)
def test_an_idle_connection_holds_one_record_each_way_and_none_when_told_to_rest(tls, version):
    def rest(transfer, then):
        """A connection whose client is gone from memory, as it is in reality."""
        dialogue = Dialogue(tls, version).shake_hands()
        transfer(dialogue)
        then(dialogue.layer)
        dialogue.application.heard.clear()
        dialogue.socket.sent = bytearray()
        return dialogue.layer

    def much(dialogue):
        dialogue.layer.write(b"x" * MIB)
        dialogue.socket.sent = bytearray()
        for _ in range(16):
            dialogue.say(b"y" * 16000)

    def cost(transfer, then=lambda _layer: None):
        rest(transfer, then)
        before = allocated_bytes()
        layers = [rest(transfer, then) for _ in range(CONNECTIONS)]
        return (allocated_bytes() - before) / len(layers)

    fresh = cost(lambda _dialogue: None)
    assert cost(much) - fresh < 2 * 1.5 * SLICE_BYTES
    assert cost(much, TlsLayer.release_buffers) - fresh < SLICE_BYTES / 4


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_goes_on_after_its_rest(tls, version):
    dialogue = Dialogue(tls, version).shake_hands()
    record = dialogue.encrypted(b"hello")
    dialogue.layer.data_received(record[:8])  # OpenSSL holds it, not the BIO
    dialogue.layer.release_buffers()
    dialogue.layer.data_received(record[8:])
    dialogue.layer.write(b"world")
    assert dialogue.application.data == b"hello"
    assert dialogue.read() == b"world"


def test_a_connection_that_is_not_at_rest_keeps_its_buffers(tls):
    dialogue = Dialogue(tls)
    hello = dialogue.begin()
    dialogue.layer.release_buffers()  # not yet established
    dialogue.layer.data_received(hello)
    assert dialogue.socket.sent
    dialogue = Dialogue(tls).shake_hands()
    dialogue.layer.connection.bio_write(dialogue.encrypted(b"hello"))
    dialogue.layer.release_buffers()  # would lose a record
    dialogue.say(b", world")
    assert dialogue.application.data == b"hello, world"
    dialogue.layer.close()
    dialogue.layer.release_buffers()
    assert dialogue.read() is None
