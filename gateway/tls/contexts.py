"""Prepares the TLS contexts of each site: those that ask for a client certificate, and one that doesn't.

Keeps true:
- Each Context has its own ticket keys, session cache and session-id context. So a session never resumes on another site
  or under the other policy (CVE-2025-23419, CVE-2025-23048). The Context is chosen before the handshake.
- A client certificate makes the handshake fail only if its key is absurdly large (see `certificate_request`). A wrong
  proof that the client has the key always does: OpenSSL checks CertificateVerify whatever the verify callback returns.
  The store is empty, so OpenSSL itself trusts no certificate, and only `client_cert` judges.
- A handshake leaves a session only if its certificate is trusted without intermediates that the client sent: a resumed
  session has only the leaf and must get the same verdict in every worker. A client that was refused, or that showed no
  certificate, makes a full handshake next time and is asked again. See docs/adr/0004.
- TLS 1.2 and up, forward secrecy and AEAD only; no renegotiation, compression, early data or post-handshake
  authentication.
- Every Context that serves TLS 1.2 supports TLS 1.3 too. OpenSSL then detects a handshake that an attacker turned down
  to TLS 1.2, where the client certificate travels in clear: the server's random carries the downgrade sentinel (RFC
  8446 section 4.1.3), and TLS_FALLBACK_SCSV gets `inappropriate_fallback` (RFC 7507). A maximum version of 1.2 would
  switch both off.

Contexts are made before the workers are forked, so that all workers share the ticket keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from gateway.config.model import Site
from gateway.errors import ConfigError
from gateway.tls.alpn import names_of, select_from
from gateway.tls.certificate_request import ask
from gateway.tls.client_hello import ClientHello
from gateway.tls.tickets import MayResume, Resumption, end_tickets, withhold_tickets
from gateway.tls.trust import KnownLists, Trust, load_trust
from gateway.x509.fields import issuer_of, subject_of
from gateway.x509.keys import PrivateKey, fits

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]

# TLS 1.2 only; TLS 1.3's own suites are all fine.
CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
# Key exchanges. Any client can choose one without a certificate, so expensive ones are not offered: a hello with
# ffdhe3072 costs four times as much CPU time as one with P-256. P-384 costs three times as much, and is for clients
# that must not use anything else. A group after a `/` is used only if the client offers none of those before it. If the
# hello has no key for the better group, a HelloRetryRequest asks for one.
GROUPS: Final = b"X25519MLKEM768/X25519:P-256/P-384"
# For how long after a full handshake a client may resume without proving again that it has the key; see `tickets`. Its
# certificate is judged each time.
SESSION_SECONDS: Final = 3600
_NOTHING: Final[Mapping[str, KnownLists]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SiteTls:
    """A site with everything that its handshakes need."""

    site: Site
    silent: SSL.Context  # sends no CertificateRequest
    asking: SSL.Context  # TLS 1.3: asks for a certificate; accepts any, or none
    asking_tls_1_2: SSL.Context  # the same for clients that don't offer TLS 1.3; see `ClientHello.has_tls_1_3`
    trust: Trust  # what `client_cert` judges by
    protocols: tuple[bytes, ...]  # for ALPN, best first
    fingerprint: bytes  # SHA-256 over everything that the contexts depend on; if equal, they can be kept

    def connection(
        self, hello: ClientHello, *, asks: bool, may_resume: MayResume, unix_seconds: float
    ) -> SSL.Connection:
        """A server connection on memory BIOs for a client that sent `hello` at `unix_seconds`.

        `may_resume` is called at the end of a TLS 1.3 handshake that asked for a certificate. After a TLS 1.2
        handshake, the caller must call `leave_no_session` if the session may not be resumed.
        """
        if not asks:
            context = self.silent
        elif hello.has_tls_1_3:
            context = self.asking
        else:
            context = self.asking_tls_1_2
        connection = SSL.Connection(context, None)
        connection.set_app_data(Resumption(may_resume, unix_seconds))
        connection.set_accept_state()
        return connection


def leave_no_session(connection: SSL.Connection) -> None:
    """Prevent the session of a closed TLS 1.2 connection from being resumed; call it last, after `shutdown`.

    OpenSSL drops a session from its cache if the connection is freed without having sent close_notify. It was sent;
    this clears OpenSSL's note that it was.
    """
    connection.set_shutdown(0)


def build_site(site: Site, rules_digest: bytes = b"", *, known: Mapping[str, KnownLists] = _NOTHING) -> SiteTls:
    """Prepare a site's contexts from the files read with the configuration; lists come from `known`, see `trust_of`.

    Raises `ConfigError`.

    `rules_digest`: over the rules, on which a session's rights depend too.
    """
    chain, key = site.certificate.certificates, site.key.private
    _check_pair(site, chain, key)
    trust = load_trust(site, known)
    protocols = names_of(site.protocols)
    digest = _digest(site, chain, trust, rules_digest, protocols)

    def context(policy: bytes) -> SSL.Context:
        made = _context(site, chain, key, protocols)
        made.set_session_id(hashlib.sha256(policy + digest).digest())
        return made

    silent = context(b"silent")
    asking = context(b"asking")
    asking.set_min_proto_version(SSL.TLS1_3_VERSION)
    asking.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets don't need it; a withheld session must not be cached
    withhold_tickets(asking)
    for each in (silent, asking):
        end_tickets(each)
    asking_tls_1_2 = context(b"asking TLS 1.2")
    asking_tls_1_2.set_options(SSL.OP_NO_TICKET)  # a TLS 1.2 ticket is promised before the certificate arrives
    ask(asking, trust.anchors, is_tls_1_2=False)
    ask(asking_tls_1_2, trust.anchors, is_tls_1_2=True)
    return SiteTls(site, silent, asking, asking_tls_1_2, trust, protocols, digest)


def _check_pair(site: Site, chain: Sequence[x509.Certificate], key: PrivateKey) -> None:
    if not fits(key, chain[0]):
        raise ConfigError(
            f"{site.key.path}: the key does not belong to the first certificate in {site.certificate.path}",
            "put the server's own certificate first in that file, and name its key",
        )
    for certificate, issuer in pairwise(chain):
        if issuer_of(certificate) != subject_of(issuer):
            raise ConfigError(
                f"{site.certificate.path}: the certificates are not in order: {subject_of(issuer).rfc4514_string()!r}"
                f" did not issue {subject_of(certificate).rfc4514_string()!r}",
                "put the server's certificate first, then its issuer, then that one's issuer",
            )


def _digest(
    site: Site, chain: Sequence[x509.Certificate], trust: Trust, rules_digest: bytes, protocols: Sequence[bytes]
) -> bytes:
    """SHA-256 over everything that a session's rights depend on, each part with its length."""
    parts = [
        *(host.encode() for host in site.hosts),
        *(certificate.public_bytes(Encoding.DER) for certificate in chain),
        b"trust",
        *sorted(anchor.public_bytes(Encoding.DER) for anchor in trust.anchors),
        b"revocation",
        *(source.encode() for source in site.crl),
        f"{site.crl_policy} {site.ocsp.mode} {site.ocsp.responder}".encode(),
        b"rules",
        rules_digest,
        *protocols,
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()


def _context(site: Site, chain: Sequence[x509.Certificate], key: PrivateKey, protocols: Sequence[bytes]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)  # at most 20,480 sessions per Context, OpenSSL's default
    context.set_timeout(SESSION_SECONDS)
    _set_groups(context)
    try:
        context.set_cipher_list(CIPHERS)
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ConfigError(
            f"{site.certificate.path}: OpenSSL refuses this certificate and key ({_text(error)})",
            "use an RSA key of 2048 bits or more, or an EC P-256 key, and a certificate signed with SHA-256",
        ) from error
    select_from(context, protocols)
    return context


def _text(error: SSL.Error) -> str:
    return "; ".join(str(entry[-1]) for entry in error.args[0]) if error.args else "no reason given"


def _set_groups(context: SSL.Context) -> None:
    if _lib.SSL_CTX_set1_curves_list(context._context, GROUPS) != 1:  # pyOpenSSL has no method for this
        _lib.ERR_clear_error()
        raise ConfigError(
            f"OpenSSL ({SSL.OPENSSL_VERSION_NUMBER:#x}) lacks one of the groups {GROUPS.decode()}",
            "install the version of `cryptography` that requirements/run.txt names",
        )
