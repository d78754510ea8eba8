"""Handshakes with real TLS clients: who is asked, what resumes, and what never does."""

import contextlib
import ssl
import sys
from dataclasses import replace
from datetime import UTC, datetime
from time import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto
from support.loaded import certificate_file, key_file
from support.pki import NOW, Ca, Leaf, build, ca_extensions, crowd, dsa_key, openssl, rsa_key, rsa_with_exponent, server
from support.raw_hello import (
    DHE_SUITES_1_2,
    FALLBACK_SCSV,
    FFDHE_2048,
    FFDHE_3072,
    HANDSHAKE_FAILURE,
    INAPPROPRIATE_FALLBACK,
    NO_APPLICATION_PROTOCOL,
    P_256,
    P_521,
    SECP256K1,
    SM2,
    SUITES_1_2,
    SUITES_1_3,
    TLS_1_0,
    TLS_1_2,
    TLS_1_3,
    X448,
    parse_answer,
    raw_hello,
)
from support.waiting import until

from gateway.config.model import Site
from gateway.errors import ConfigError
from gateway.facts import Reason
from gateway.tls import certificate_request, contexts, tickets
from gateway.tls.client_hello import MAX_PROTOCOLS, peek
from gateway.tls.contexts import SESSION_SECONDS, build_site, leave_no_session
from gateway.tls.judgements import JudgementCache
from gateway.tls.peer import peer_certificates
from gateway.x509.ca_names import MAX_CA_NAMES_BYTES
from gateway.x509.der import INTEGER, SEQUENCE, content_of, elements
from gateway.x509.path_search import MAX_CHAIN_CERTIFICATES

OLD = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2099, 1, 1, tzinfo=UTC)
ROOT = Ca.make(not_before=OLD, not_after=FAR)
MIDDLE = ROOT.issue_ca("CN=Middle", not_before=OLD, not_after=FAR)
ALICE = ROOT.issue("CN=alice", not_before=OLD, not_after=FAR)
CAROL = MIDDLE.issue("CN=carol", not_before=OLD, not_after=FAR)
EVE = Ca.make("CN=Elsewhere").issue("CN=eve")
LIFETIME_HINT = 0xA9  # in a serialised session
VERSIONS = [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]


@pytest.fixture
def site(tmp_path):
    ROOT.write(tmp_path, "ca")
    certificate, key = server(tmp_path)
    return Site(
        ("mail.example.com",),
        certificate_file(certificate),
        key_file(key),
        "mail",
        client_ca=(certificate_file(tmp_path / "ca.crt"),),
    )


class Gate:
    """The server's side: one site, its judge, and what layers do with both."""

    def __init__(self, site, **options):
        self.tls = build_site(site, **options)
        self.cache = JudgementCache(self.tls.trust)
        self.later_seconds = 0

    def serve(self, client, *, asks=True):
        """Shake hands with `client`; the server's connection."""
        first = advance(client)
        hello = peek(first)
        now = time() + self.later_seconds
        connection = self.tls.connection(hello, asks=asks, may_resume=self.may_resume, unix_seconds=now)
        connection.bio_write(first)
        pump(connection, client)
        return connection

    def may_resume(self, leaf, chain=()):
        return self.cache.examine(leaf, chain, NOW).is_alone

    def judge(self, connection):
        leaf, chain = peer_certificates(connection)
        return self.cache.examine(leaf, chain, NOW).judgement

    def close(self, connection, client):
        leaf, _chain = peer_certificates(connection)
        connection.shutdown()
        pump(connection, client)
        if leaf is None or not self.may_resume(leaf):
            leave_no_session(connection)


def context(leaf=None, version=None):
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if leaf is not None:
        made.use_certificate(leaf.certificate)
        made.use_privatekey(leaf.key)
        for certificate in leaf.chain:
            made.add_extra_chain_cert(certificate)
    if version is not None:
        made.set_min_proto_version(version)
        made.set_max_proto_version(version)
    return made


def start(made, session=None):
    client = SSL.Connection(made, None)
    client.set_tlsext_host_name(b"mail.example.com")
    client.set_connect_state()
    if session is not None:
        client.set_session(session)
    return client


def advance(connection):
    """One step of a handshake, or a read after it; the bytes that it sends."""
    try:
        connection.do_handshake()
        connection.recv(1)
    except (SSL.WantReadError, SSL.ZeroReturnError):
        pass
    try:
        return connection.bio_read(1 << 17)
    except SSL.WantReadError:
        return b""


def pump(one, two):
    quiet = 0
    while quiet < 2:
        data = advance(one)
        if data:
            two.bio_write(data)
        quiet = 0 if data else quiet + 1
        one, two = two, one


def resumed(connection):
    return bool(SSL._lib.SSL_session_reused(connection._ssl))


def again(gate, made, client, *, asks=True):
    """A second connection of the same client with the session of its first; the server's side."""
    return gate.serve(start(made, client.get_session()), asks=asks)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_trusted_clients_session_resumes_with_the_same_verdict(site, version):
    gate, made = Gate(site), context(ALICE, version)
    client = start(made)
    first = gate.serve(client)
    verdict = gate.judge(first)
    gate.close(first, client)
    second = again(gate, made, client)

    assert not resumed(first)
    assert resumed(second)
    assert verdict.is_trusted
    assert gate.judge(second) == verdict


def test_several_resumptions_in_a_row(site):
    gate, made = Gate(site), context(ALICE)
    client = start(made)
    gate.serve(client)
    for _ in range(3):
        following = start(made, client.get_session())
        assert resumed(gate.serve(following))
        client = following


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("leaf", [EVE, CAROL, None], ids=["untrusted", "needs its intermediate", "no certificate"])
def test_a_session_that_would_bring_another_verdict_is_not_left_behind(site, version, leaf):
    gate, made = Gate(site), context(leaf, version)
    client = start(made)
    first = gate.serve(client)
    if leaf is CAROL:
        assert gate.judge(first).is_trusted
    gate.close(first, client)
    del first

    assert not resumed(again(gate, made, client))


def test_a_refused_client_that_gets_a_good_certificate_is_asked_again(site):
    gate, made = Gate(site), context(EVE)
    client = start(made)
    assert not gate.judge(gate.serve(client)).is_trusted

    better = start(made, client.get_session())
    better.use_certificate(ALICE.certificate)
    better.use_privatekey(ALICE.key)

    assert gate.judge(gate.serve(better)).is_trusted


def test_without_a_judge_nothing_resumes(site):
    gate, made = Gate(site), context(ALICE)
    client = start(made)
    first = advance(client)
    connection = SSL.Connection(gate.tls.asking, None)
    connection.set_accept_state()
    connection.bio_write(first)
    pump(connection, client)
    assert connection.get_peer_certificate() is not None
    assert not resumed(again(gate, made, client))
    known = start(made)
    gate.serve(known)
    first = advance(returning := start(made, known.get_session()))
    connection = SSL.Connection(gate.tls.asking, None)
    connection.set_accept_state()
    connection.bio_write(first)
    pump(connection, returning)
    assert resumed(connection)
    assert lifetime_of(returning) == 1


def lifetime_of(client):
    """What the server's last ticket told the client, in seconds; None where that is nothing."""
    members = elements(content_of(tickets.encode(client.get_session()._session), SEQUENCE))
    hints = [content for tag, content, _ in members if tag == LIFETIME_HINT]
    return int.from_bytes(content_of(hints[0], INTEGER)) if hints else None


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
def test_a_chain_of_resumptions_ends_when_its_first_ticket_does(site, asks):
    """OpenSSL by itself gives each new ticket the whole time again."""
    gate, made = Gate(site), context(ALICE)
    clients = [start(made)]
    gate.serve(clients[0], asks=asks)
    assert lifetime_of(clients[0]) == SESSION_SECONDS
    for left in (SESSION_SECONDS, SESSION_SECONDS - 1, 1000, 200, 100, 1):
        # OpenSSL's own clock goes on as before, so that each ticket's life begins now.
        gate.later_seconds = lifetime_of(clients[-1]) - left
        clients.append(start(made, clients[-1].get_session()))
        assert resumed(gate.serve(clients[-1], asks=asks))
        assert max(1, left - 2) <= lifetime_of(clients[-1]) <= left  # the test itself takes its time
    gate.later_seconds = 0

    def is_over():
        clients.append(start(made, clients[-1].get_session()))
        return not resumed(gate.serve(clients[-1], asks=asks))

    until(is_over, "the last second ends, however often the client comes back")


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
def test_a_clock_that_was_set_back_lengthens_no_session(site, asks):
    gate, made = Gate(site), context(ALICE)
    client = start(made)
    gate.serve(client, asks=asks)
    gate.later_seconds = -1000
    second = start(made, client.get_session())
    assert resumed(gate.serve(second, asks=asks))
    assert lifetime_of(second) == SESSION_SECONDS


def test_a_resumption_after_a_hello_retry_request_ends_with_its_first_ticket(site):
    gate, made = Gate(site), context(ALICE, SSL.TLS1_3_VERSION)
    client = start(made)
    gate.serve(client)
    assert SSL._lib.SSL_CTX_set1_curves_list(made._context, b"P-521:P-256") == 1
    gate.later_seconds = SESSION_SECONDS - 1000
    second = start(made, client.get_session())
    connection = gate.serve(second)
    assert resumed(connection)
    assert connection.get_group_name() == "secp256r1"
    assert 998 <= lifetime_of(second) <= 1000
    assert gate.judge(connection).is_trusted


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
def test_a_resumption_in_tls_1_2_gets_no_new_ticket(site, asks):
    gate, made = Gate(site), context(ALICE, SSL.TLS1_2_VERSION)
    client = start(made)
    gate.close(gate.serve(client, asks=asks), client)
    before = tickets.encode(client.get_session()._session)
    gate.later_seconds = 1000
    second = start(made, client.get_session())
    assert resumed(gate.serve(second, asks=asks))
    assert tickets.encode(second.get_session()._session) == before


def test_a_session_that_cannot_be_read_ends_the_handshake(site, monkeypatch):
    gate, made = Gate(site), context(ALICE)
    client = start(made)
    gate.serve(client)
    errors = []
    monkeypatch.setattr(sys, "unraisablehook", errors.append)  # where cffi reports what a callback raised
    monkeypatch.setattr(tickets, "shortened", lambda *_: b"no session")
    with pytest.raises(SSL.Error, match="callback failed"):
        again(gate, made, client)
    assert [error.exc_type for error in errors] == [ValueError]


def test_a_judge_that_fails_leaves_no_session(site, monkeypatch):
    errors = []
    monkeypatch.setattr(sys, "unraisablehook", errors.append)  # where cffi reports what a callback raised

    def broken(_leaf, _chain):
        raise ZeroDivisionError

    gate, made = Gate(site), context(ALICE)
    gate.may_resume = broken
    client = start(made)
    gate.serve(client)
    del gate.may_resume

    assert not resumed(again(gate, made, client))
    assert [error.exc_type for error in errors] == [ZeroDivisionError]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
def test_sessions_do_not_cross_between_asking_and_not(site, version, first, second):
    gate, made = Gate(site), context(ALICE, version)
    client = start(made)
    kept = gate.serve(client, asks=first)  # a connection that is freed unclosed takes its TLS 1.2 session along
    assert not resumed(kept)
    assert resumed(again(gate, made, client, asks=first))
    assert not resumed(again(gate, made, client, asks=second))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("asks", [True, False])
def test_sessions_do_not_cross_between_sites(tmp_path, site, version, asks):
    other_ca = Ca.make("CN=Other Root")
    other_ca.write(tmp_path, "other")
    one = Gate(site)
    two = Gate(replace(site, hosts=("other.example.com",), client_ca=(certificate_file(tmp_path / "other.crt"),)))
    made = context(ALICE, version)
    client = start(made)
    kept = one.serve(client, asks=asks)
    assert not resumed(kept)
    assert resumed(again(one, made, client, asks=asks))

    connection = again(two, made, client, asks=asks)

    assert not resumed(connection)
    if asks:
        assert not two.judge(connection).is_trusted


@pytest.mark.parametrize("version", VERSIONS)
def test_two_builds_of_one_site_share_no_sessions(site, version):
    one, two, made = Gate(site), Gate(site), context(ALICE, version)
    client = start(made)
    kept = one.serve(client)
    assert not resumed(kept)
    assert resumed(again(one, made, client))
    assert not resumed(again(two, made, client))


def test_the_fingerprint_changes_with_whatever_a_session_depends_on(tmp_path, site):
    Ca.make("CN=Other").write(tmp_path, "other")
    certificate, key = server(tmp_path, name="renewed")
    crl = tmp_path / "ca.crl"
    crl.write_bytes(ROOT.crl())
    base = build_site(site).fingerprint
    changed = [
        build_site(replace(site, hosts=("a.example.com",))).fingerprint,
        build_site(replace(site, certificate=certificate_file(certificate), key=key_file(key))).fingerprint,
        build_site(replace(site, client_ca=(certificate_file(tmp_path / "other.crt"),))).fingerprint,
        build_site(replace(site, client_ca=(*site.client_ca, certificate_file(tmp_path / "other.crt")))).fingerprint,
        build_site(replace(site, crl=(str(crl),))).fingerprint,
        build_site(replace(site, crl=(str(crl),), crl_policy="if_present")).fingerprint,
        build_site(site, b"rules").fingerprint,
        build_site(replace(site, protocols=("http/1.1",))).fingerprint,
    ]
    assert build_site(site).fingerprint == base
    assert len({base, *changed}) == len(changed) + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_is_told_which_cas_count(site, version):
    client = start(context(ALICE, version))
    Gate(site).serve(client)
    assert [name.get_components() for name in client.get_client_ca_list()] == [[(b"CN", b"Test Root")]]


@pytest.mark.parametrize("version", VERSIONS)
def test_whoever_is_not_asked_sends_no_certificate(site, version):
    asked = []
    made = context(ALICE, version)
    made.set_info_callback(lambda c, _w, _r: asked.append(c.get_state_string()))
    connection = Gate(site).serve(start(made), asks=False)
    assert peer_certificates(connection) == (None, [])
    assert b"SSLv3/TLS read server certificate request" not in asked
    Gate(site).serve(start(made), asks=True)
    assert b"SSLv3/TLS read server certificate request" in asked


@pytest.mark.parametrize("version", VERSIONS)
def test_the_leaf_is_the_certificate_whose_key_was_proved(site, version):
    stuffed = Leaf(EVE.certificate, EVE.key, (ALICE.certificate, ROOT.certificate))
    gate = Gate(site)
    connection = gate.serve(start(context(stuffed, version)))
    leaf, chain = peer_certificates(connection)
    assert leaf == EVE.der
    assert chain == [ALICE.der, ROOT.der]
    assert gate.judge(connection).identity.common_name == "eve"


@pytest.mark.parametrize("version", VERSIONS)
def test_no_more_of_a_chain_is_kept_than_is_looked_at(site, version):
    chain = tuple(MIDDLE.chain * (MAX_CHAIN_CERTIFICATES + 1))
    connection = Gate(site).serve(start(context(Leaf(CAROL.certificate, CAROL.key, chain), version)))
    leaf, kept = peer_certificates(connection)
    assert leaf == CAROL.der
    assert kept == [MIDDLE.der] * MAX_CHAIN_CERTIFICATES


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bad_proof_of_possession_ends_the_handshake(tmp_path, site, version):
    """A key file with alice's public half and a stranger's private one passes every check but the signature's."""
    true = ALICE.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    false = ALICE.key.private_numbers().private_value ^ 2
    stolen = true.replace(ALICE.key.private_numbers().private_value.to_bytes(32), false.to_bytes(32))
    (tmp_path / "stolen.key").write_bytes(stolen)
    thief = context(None, version)
    thief.use_certificate(ALICE.certificate)
    thief.use_privatekey_file(tmp_path / "stolen.key", crypto.FILETYPE_ASN1)
    gate = Gate(site)
    with pytest.raises(SSL.Error, match="bad signature"):
        gate.serve(start(thief))


def answer_of(site, hello, *, asks):
    """What the server's first flight says to a ClientHello written by hand."""
    connection = Gate(site).tls.connection(peek(hello), asks=asks, may_resume=lambda *_: False, unix_seconds=time())
    connection.bio_write(hello)
    with contextlib.suppress(SSL.Error):
        connection.do_handshake()
    return parse_answer(connection.bio_read(1 << 14))


def test_the_context_for_tls_1_3_serves_nothing_else(site):
    """A TLS 1.2 client in the context with tickets would leave one behind whatever its certificate."""
    client, connection = start(context(version=SSL.TLS1_2_VERSION)), SSL.Connection(build_site(site).asking, None)
    connection.set_accept_state()
    with pytest.raises(SSL.Error, match=r"unsupported protocol|protocol version"):
        pump(client, connection)


# What clients say of the versions they speak: (supported_versions, legacy_version, the one that is negotiated).
OFFERS = [
    ((TLS_1_3, TLS_1_2), TLS_1_2, SSL.TLS1_3_VERSION),
    ((TLS_1_2, TLS_1_3), TLS_1_2, SSL.TLS1_3_VERSION),
    ((0x7A7A, TLS_1_3), TLS_1_2, SSL.TLS1_3_VERSION),  # GREASE, RFC 8701
    ((TLS_1_3,), TLS_1_0, SSL.TLS1_3_VERSION),
    ((TLS_1_3, TLS_1_2), TLS_1_3, SSL.TLS1_3_VERSION),
    ((TLS_1_2,), TLS_1_2, SSL.TLS1_2_VERSION),
    ((0x7A7A, TLS_1_2), TLS_1_3, SSL.TLS1_2_VERSION),
    (None, TLS_1_2, SSL.TLS1_2_VERSION),
    (None, TLS_1_3, SSL.TLS1_2_VERSION),  # RFC 8446 section 4.2.1
    (None, 0x03FF, SSL.TLS1_2_VERSION),
]


@pytest.mark.parametrize(("versions", "legacy_version", "negotiated"), OFFERS)
def test_openssl_negotiates_the_version_that_the_context_was_chosen_for(site, versions, legacy_version, negotiated):
    """Both asking contexts keep sessions in a way that is right for one version only."""
    hello = raw_hello(versions=versions, legacy_version=legacy_version)
    connection = Gate(site).tls.connection(peek(hello), asks=True, may_resume=lambda *_: False, unix_seconds=time())
    connection.bio_write(hello)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    assert connection.get_protocol_version() == negotiated
    assert peek(hello).has_tls_1_3 == (negotiated == SSL.TLS1_3_VERSION)


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
@pytest.mark.parametrize(("versions", "legacy_version", "negotiated"), OFFERS)
def test_a_client_turned_down_to_tls_1_2_is_told(site, asks, versions, legacy_version, negotiated):
    """RFC 8446 section 4.1.3: a client that speaks TLS 1.3 sees that somebody changed its ClientHello."""
    answer = answer_of(site, raw_hello(versions=versions, legacy_version=legacy_version), asks=asks)
    assert answer.has_sentinel == (negotiated == SSL.TLS1_2_VERSION)


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
@pytest.mark.parametrize(("versions", "legacy_version", "negotiated"), OFFERS)
def test_a_client_that_fell_back_is_refused(site, asks, versions, legacy_version, negotiated):
    """RFC 7507: TLS_FALLBACK_SCSV comes with a second try at an older version, which this server didn't call for."""
    suites = [*SUITES_1_3, *SUITES_1_2, FALLBACK_SCSV]
    hello = raw_hello(versions=versions, legacy_version=legacy_version, suites=suites)
    expected = INAPPROPRIATE_FALLBACK if negotiated == SSL.TLS1_2_VERSION else None
    assert answer_of(site, hello, asks=asks).alert == expected


def test_old_versions_and_weak_suites_are_refused(site):
    for options in [{"version": SSL.TLS1_1_VERSION}, {"ciphers": b"AES128-SHA"}, {"ciphers": b"ECDHE+AES+SHA1"}]:
        made = context(version=options.get("version", SSL.TLS1_2_VERSION))
        made.set_cipher_list(options.get("ciphers", b"DEFAULT@SECLEVEL=0"))
        with pytest.raises(SSL.Error):
            Gate(site).serve(start(made))


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
@pytest.mark.parametrize("versions", [None, (TLS_1_3,)], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("offered", [[b"h3"], [b"HTTP/1.1"], [b"http/1.1x", b"imap"]])
def test_a_client_of_another_protocol_is_told_that_none_is_served(site, asks, versions, offered):
    assert answer_of(site, raw_hello(versions=versions, alpn=offered), asks=asks).alert == NO_APPLICATION_PROTOCOL


def test_a_second_hello_with_more_names_than_a_hello_may_have(site):
    """Our reader counts those of the first; a HelloRetryRequest brings another, which OpenSSL reads alone."""
    tls = build_site(site)
    common = {"versions": (TLS_1_3,), "groups": [P_521, P_256]}
    first = raw_hello(shares=[P_521], alpn=[b"http/1.1"], **common)
    second = raw_hello(shares=[P_256], alpn=[b"x"] * MAX_PROTOCOLS + [b"http/1.1"], **common)
    connection = tls.connection(peek(first), asks=True, may_resume=lambda *_: False, unix_seconds=time())
    connection.bio_write(first)
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    assert parse_answer(connection.bio_read(1 << 14)).is_retry
    connection.bio_write(second)
    with pytest.raises(SSL.Error, match="no application protocol"):
        connection.do_handshake()


def test_the_key_exchange_is_post_quantum_with_a_client_that_can(site):
    connection = Gate(site).serve(start(context()))
    assert connection.get_group_name() == "X25519MLKEM768"


def client_with(groups, version, leaf=None):
    made = context(leaf, version)
    assert SSL._lib.SSL_CTX_set1_curves_list(made._context, groups) == 1
    return start(made)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("group", ["x25519", "secp256r1", "secp384r1"])
def test_groups_that_every_client_has(site, version, group):
    more = ":P-256" if version == SSL.TLS1_2_VERSION else ""  # TLS 1.2: the curve of the server's own key
    assert Gate(site).serve(client_with(f"{group}{more}".encode(), version)).get_group_name() == group


@pytest.mark.parametrize(
    ("groups", "group"),
    [
        (b"P-384:P-256", "secp256r1"),
        (b"P-521:P-384", "secp384r1"),
        (b"ffdhe3072:X448:X25519", "x25519"),
        (b"X25519:X25519MLKEM768", "X25519MLKEM768"),
    ],
)
def test_a_client_whose_first_choice_is_not_ours_is_asked_for_another(site, groups, group):
    """Its hello has a key for the first only: a HelloRetryRequest (RFC 8446 section 4.1.4) asks for a better one."""
    connection = Gate(site).serve(client_with(groups, SSL.TLS1_3_VERSION, ALICE))
    assert connection.get_group_name().lower() == group.lower()
    assert Gate(site).judge(connection).is_trusted


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
@pytest.mark.parametrize("versions", [None, (TLS_1_3,)], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("group", [FFDHE_2048, FFDHE_3072, P_521, X448, SECP256K1, SM2])
def test_a_hello_cannot_choose_an_expensive_key_exchange(site, asks, versions, group):
    hello = raw_hello(versions=versions, groups=[group], shares=[group] if group in (FFDHE_3072, P_521) else [])
    assert answer_of(site, hello, asks=asks).alert == HANDSHAKE_FAILURE


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
def test_no_finite_field_in_tls_1_2(site, asks):
    hello = raw_hello(versions=None, suites=DHE_SUITES_1_2, groups=[P_256, FFDHE_2048])
    assert answer_of(site, hello, asks=asks).alert == HANDSHAKE_FAILURE


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", [ec.SECP384R1(), ec.SECP521R1(), None], ids=["P-384", "P-521", "Ed25519"])
def test_the_clients_own_key_may_be_on_other_curves_than_the_key_exchange(site, version, key):
    key = ed25519.Ed25519PrivateKey.generate() if key is None else ec.generate_private_key(key)
    leaf = ROOT.issue("CN=another key", not_before=OLD, not_after=FAR, key=key)
    gate = Gate(site)
    connection = gate.serve(client_with(b"X25519:P-256:P-384:P-521", version, leaf))
    assert gate.judge(connection).is_trusted
    assert connection.get_group_name().lower() == "x25519"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_key_on_a_curve_without_key_exchange(tmp_path, site, version):
    folder = tmp_path / "p521"
    folder.mkdir()
    certificate, key = server(folder, key=ec.generate_private_key(ec.SECP521R1()))
    connection = Gate(replace(site, certificate=certificate_file(certificate), key=key_file(key))).serve(
        start(context(ALICE, version))
    )
    assert connection.get_protocol_version() == version


def test_a_build_of_openssl_without_one_of_the_groups_is_a_configuration_error(site, monkeypatch):
    monkeypatch.setattr(contexts, "GROUPS", b"X25519:X25519MLKEM9999")
    with pytest.raises(ConfigError, match="X25519MLKEM9999"):
        build_site(site)


def test_the_client_cannot_renegotiate(site):
    client = start(context(version=SSL.TLS1_2_VERSION))
    connection = Gate(site).serve(client)
    client.renegotiate()
    advance(client)
    advance(connection)
    assert connection.total_renegotiations() == 0


def test_pythons_own_client_with_its_own_openssl(tmp_path, site):
    alice, key = ALICE.write(tmp_path, "alice")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = made.maximum_version = version
        made.load_verify_locations(site.certificate.path)
        made.load_cert_chain(alice, key)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = made.wrap_bio(incoming, outgoing, server_hostname="mail.example.com")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        first = outgoing.read()
        gate = Gate(site)
        connection = gate.tls.connection(peek(first), asks=True, may_resume=gate.may_resume, unix_seconds=time())
        connection.bio_write(first)
        for _ in range(3):
            incoming.write(advance(connection))
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            if data := outgoing.read():
                connection.bio_write(data)
        advance(connection)
        assert gate.judge(connection).is_trusted


@pytest.mark.parametrize("password", [None, "secret"])
def test_server_keys_made_by_openssl_also_encrypted_ones(tmp_path, site, password):
    secret = ["-des3", "-passout", f"pass:{password}", "-traditional"] if password else []
    openssl("genrsa", *secret, "-out", "rsa.key", "2048", cwd=tmp_path)
    unlock = ["-passin", f"pass:{password}"] if password else []
    openssl(
        *("req", "-x509", "-new", "-key", "rsa.key", *unlock, "-subj", "/CN=mail.example.com", "-days", "30"),
        *("-out", "rsa.crt"),
        cwd=tmp_path,
    )
    made = certificate_file(tmp_path / "rsa.crt"), key_file(tmp_path / "rsa.key", password)
    rsa_site = replace(site, certificate=made[0], key=made[1])
    assert Gate(rsa_site).serve(start(context())).get_protocol_version_name() == "TLSv1.3"


def test_the_servers_intermediate_is_sent_along(tmp_path, site):
    ca = Ca.make("CN=Server Root", not_before=OLD, not_after=FAR)
    leaf = ca.issue_ca("CN=Server CA", not_before=OLD, not_after=FAR).issue(
        "CN=mail.example.com", dns="mail.example.com", eku=None, not_before=OLD, not_after=FAR
    )
    certificate, key = leaf.write(tmp_path, "chain")
    client = start(context())
    Gate(replace(site, certificate=certificate_file(certificate), key=key_file(key))).serve(client)
    assert len(client.get_peer_cert_chain()) == 2


def test_a_chain_out_of_order_and_a_foreign_key_are_configuration_errors(tmp_path, site):
    leaf = MIDDLE.issue("CN=mail.example.com", eku=None)
    certificate, key = Leaf(leaf.certificate, leaf.key, (ROOT.certificate, MIDDLE.certificate)).write(tmp_path, "x")
    with pytest.raises(ConfigError, match="not in order") as caught:
        build_site(replace(site, certificate=certificate_file(certificate), key=key_file(key)))
    assert str(certificate) in caught.value.cause
    with pytest.raises(ConfigError, match="does not belong to the first certificate"):
        build_site(replace(site, key=key_file(key)))


def test_what_openssl_refuses_is_a_configuration_error(tmp_path, site):
    key = rsa_key(1024)
    certificate = build("CN=mail.example.com", key.public_key(), "CN=mail.example.com", key)
    path, key_path = Leaf(certificate, key).write(tmp_path, "weak")
    with pytest.raises(ConfigError, match="key too small"):
        build_site(replace(site, certificate=certificate_file(path), key=key_file(key_path)))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failing_callback_ends_the_handshake(site, monkeypatch, version):
    def broken(_certificate, _max_rsa_bits):
        raise ZeroDivisionError

    errors = []
    monkeypatch.setattr(sys, "unraisablehook", errors.append)  # where cffi reports what a callback raised
    monkeypatch.setattr(certificate_request, "_is_expensive", broken)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        Gate(site).serve(start(context(ALICE, version)))
    assert {error.exc_type for error in errors} == {ZeroDivisionError}


# which CAs a client is told of

HANDSHAKE = 22  # of the kinds of records
CERTIFICATE_REQUEST = 13  # of the kinds of handshake messages
READ_BY_EVERY_CLIENT = 32 * 1024  # of a handshake message, with its header; Windows' and Java's limit


def told(site, tmp_path, cas, version):
    """A client of the first CA shakes hands with a site that trusts all: the names it reads, the request's size."""
    (tmp_path / "ca.crt").write_bytes(b"".join(ca.pem for ca in cas))
    site = replace(site, client_ca=(certificate_file(tmp_path / "ca.crt"),))
    sizes = []

    @SSL._ffi.callback("void (*)(int, int, int, const void *, size_t, SSL *, void *)")
    def note(_is_sent, _version, kind, data, length, _ssl, _argument):
        if kind == HANDSHAKE and SSL._ffi.buffer(data, 1)[0] == bytes([CERTIFICATE_REQUEST]):
            sizes.append(length)

    made = context(cas[0].issue("CN=alice"), version)
    SSL._lib.SSL_CTX_set_msg_callback(made._context, note)
    client, gate = start(made), Gate(site)
    connection = gate.serve(client)
    SSL._lib.SSL_CTX_set_msg_callback(made._context, SSL._ffi.NULL)
    assert gate.judge(connection).is_trusted
    (size,) = sizes
    return client.get_client_ca_list(), size


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_is_told_of_as_many_cas_as_every_client_can_read(site, tmp_path, version):
    cas = crowd(MAX_CA_NAMES_BYTES)
    names, size = told(site, tmp_path, cas, version)
    assert len(names) == len(cas) > 700
    assert MAX_CA_NAMES_BYTES < size < READ_BY_EVERY_CLIENT


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("names_bytes", [MAX_CA_NAMES_BYTES + 1, 65_536, 120_000])
def test_a_client_is_told_of_no_ca_where_there_are_more(site, tmp_path, version, names_bytes):
    names, size = told(site, tmp_path, crowd(names_bytes, 70), version)
    assert names == []
    assert size < 200


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_is_told_once_of_a_ca_that_was_renewed(site, tmp_path, version):
    cas = crowd(MAX_CA_NAMES_BYTES)
    key = cas[0].key
    renewed = [
        Ca(build(name, key.public_key(), name, key, extensions=ca_extensions()), key)
        for name in (ca.certificate.subject for ca in cas)
    ]
    names, size = told(site, tmp_path, cas + renewed, version)
    assert len(names) == len(cas)
    assert size < READ_BY_EVERY_CLIENT


# keys whose proof would cost more to check than a handshake


@pytest.mark.parametrize("version", VERSIONS)
def test_of_ten_sent_cas_openssl_checks_the_signature_of_one_at_the_most(site, version, monkeypatch):
    """Its own verdict doesn't count, and their keys are the client's choice."""
    depths = []
    kind = "_on_certificate_in_tls_1_2" if version == SSL.TLS1_2_VERSION else "_on_certificate"
    lib, ffi, real = certificate_request._lib, certificate_request._ffi, certificate_request._on_certificate

    @ffi.callback("int (*)(int, X509_STORE_CTX *)", error=0)
    def note(is_good, store):
        depths.append(lib.X509_STORE_CTX_get_error_depth(store))
        return real(is_good, store)

    monkeypatch.setattr(certificate_request, kind, note)
    ca = MIDDLE
    for number in range(MAX_CHAIN_CERTIFICATES - 1):
        ca = ca.issue_ca(f"CN={number}", not_before=OLD, not_after=FAR)
    gate = Gate(site)
    served = gate.serve(start(context(ca.issue(not_before=OLD, not_after=FAR), version)))
    assert set(depths) == {0, 1}
    assert gate.judge(served).is_trusted


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sent_ca_with_an_exponent_that_is_expensive_ends_the_handshake(site, version):
    def signed_by(exponent_bits):
        ca = Ca.make("CN=Odd", key=rsa_with_exponent(2048, exponent_bits), not_before=OLD, not_after=FAR)
        leaf = ca.issue(not_before=OLD, not_after=FAR)
        return Leaf(leaf.certificate, leaf.key, (ca.certificate,))

    gate = Gate(site)
    usual = gate.serve(start(context(signed_by(64), version)))
    assert gate.judge(usual).reason is Reason.CERTIFICATE_UNTRUSTED
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        gate.serve(start(context(signed_by(2047), version)))


def holder_of(key):
    return ROOT.issue("CN=unusual", not_before=OLD, not_after=FAR, key=key)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("bits", "exponent_bits"), [(2048, 17), (2048, 64), (3072, 64)])
def test_usual_rsa_keys_are_served(site, version, bits, exponent_bits):
    gate = Gate(site)
    assert gate.judge(gate.serve(start(context(holder_of(rsa_with_exponent(bits, exponent_bits)), version)))).is_trusted


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("bits", "exponent_bits"), [(2048, 90), (2048, 2047), (3072, 3071)])
def test_an_rsa_exponent_that_would_take_long_ends_the_handshake(site, version, bits, exponent_bits):
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        Gate(site).serve(start(context(holder_of(rsa_with_exponent(bits, exponent_bits)), version)))


@pytest.mark.parametrize(
    ("limit", "key"),
    [
        ("MAX_RSA_BITS", lambda: rsa.generate_private_key(65537, 2056)),
        ("MAX_DSA_BITS", dsa_key),
    ],
)
def test_a_modulus_one_step_above_the_limit_ends_the_handshake(site, monkeypatch, limit, key):
    """With limits that keys can be made for in a test's time."""
    key = key()
    leaf = holder_of(key)
    made = context(leaf, SSL.TLS1_2_VERSION)
    made.set_cipher_list(b"DEFAULT@SECLEVEL=0")
    gate = Gate(site)
    assert gate.judge(gate.serve(start(made))).identity.common_name == "unusual"
    monkeypatch.setattr(certificate_request, limit, key.key_size - 1)
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        gate.serve(start(made))


def test_a_client_whose_key_is_too_large_reads_why(site):
    client = start(context(holder_of(rsa_with_exponent(2048, 2047)), SSL.TLS1_2_VERSION))
    connection = SSL.Connection(build_site(site).asking_tls_1_2, None)
    connection.set_accept_state()
    with pytest.raises(SSL.Error, match="certificate verify failed"):
        pump(client, connection)
    client.bio_write(connection.bio_read(1 << 14))
    with pytest.raises(SSL.Error, match="unsupported certificate"):
        client.do_handshake()


def test_a_key_that_openssl_cannot_read_is_none_to_check():
    certificate = crypto.X509()  # without a key
    assert not certificate_request._is_expensive(certificate._x509, certificate_request.MAX_RSA_BITS)
    assert SSL._lib.ERR_peek_error() == 0


def test_the_parameters_of_an_rsa_pss_key_are_no_exponent(tmp_path):
    """Such a key comes from `openssl genpkey`."""
    options = [f"rsa_pss_keygen_{name}" for name in ("md:sha256", "mgf1_md:sha256", "saltlen:32")]
    pkeyopts = [argument for option in ("rsa_keygen_bits:2048", *options) for argument in ("-pkeyopt", option)]
    openssl("genpkey", "-algorithm", "RSA-PSS", *pkeyopts, "-out", "pss.key", cwd=tmp_path)
    openssl("req", "-x509", "-new", "-key", "pss.key", "-subj", "/CN=pss", "-out", "pss.crt", cwd=tmp_path)
    certificate = crypto.load_certificate(crypto.FILETYPE_PEM, (tmp_path / "pss.crt").read_bytes())
    assert not certificate_request._is_expensive(certificate._x509, certificate_request.MAX_RSA_BITS)
