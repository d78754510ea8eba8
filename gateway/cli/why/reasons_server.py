"""Explanations of what the mail server did, and of connections that failed before a request."""

from __future__ import annotations

from typing import Final

from gateway.cli.why.explanation import Explanation
from gateway.cli.why.lines import CONNECTION_FAILED, NO_REASON, REFUSED_BY_SERVER, SERVER_ERROR, WRONG_PASSWORD
from gateway.facts import Reason
from gateway.logs.filters import HANDSHAKE_FAILED

_LOOK_AT_SERVER: Final = "Look whether the mail server runs and answers; {who} can do nothing about it."

UPSTREAM: Final = (
    Explanation(
        code=Reason.UPSTREAM_UNREACHABLE,
        name=Reason.UPSTREAM_UNREACHABLE,
        sentence="The mail server could not be reached: {detail}.",
        causes=("it is down, or restarts", "a firewall or the network in between", "its address has changed"),
        remedy=_LOOK_AT_SERVER,
        commands=("status", "server_lines", "line"),
    ),
    Explanation(
        code=Reason.NO_HEALTHY_UPSTREAM,
        name=Reason.NO_HEALTHY_UPSTREAM,
        sentence="No mail server was working: {detail}.",
        causes=("all servers of this upstream are down", "their health check fails"),
        remedy=_LOOK_AT_SERVER,
        commands=("status", "server_lines", "line"),
    ),
    Explanation(
        code=Reason.UPSTREAM_TIMEOUT,
        name=Reason.UPSTREAM_TIMEOUT,
        sentence="The mail server did not answer in time: {detail}.",
        causes=("it is overloaded", "the request takes long, such as a search"),
        remedy=_LOOK_AT_SERVER,
        commands=("status", "server_lines", "line"),
    ),
    Explanation(
        code=Reason.UPSTREAM_BAD_RESPONSE,
        name=Reason.UPSTREAM_BAD_RESPONSE,
        sentence="The mail server's answer could not be used: {detail}.",
        causes=("it closed the connection in the middle", "another program answers at its address"),
        remedy=_LOOK_AT_SERVER,
        commands=("status", "server_lines", "line"),
    ),
    Explanation(
        code=SERVER_ERROR,
        name=SERVER_ERROR,
        sentence="The gateway let {who} in, but the mail server answered with status {status}.",
        causes=("an error of the mail server",),
        remedy="Read the mail server's own log.",
        commands=("server_lines", "line"),
    ),
    Explanation(
        code=WRONG_PASSWORD,
        name=WRONG_PASSWORD,
        sentence="The gateway let {who} in, but the mail server did not accept the password of {login} (401).",
        causes=("the password was changed, and the device has the old one", "the account is locked or has expired"),
        remedy="Enter the password again on the device; look on the mail server whether the account is locked.",
        commands=("wrong_passwords", "line"),
    ),
    Explanation(
        code=REFUSED_BY_SERVER,
        name=REFUSED_BY_SERVER,
        sentence="The gateway let {who} in, but the mail server answered 403.",
        causes=(
            "the account may not use this service on the mail server",
            "the mail server blocks or quarantines the device",
        ),
        remedy="Look on the mail server what the account and the device may do.",
        commands=("server_lines", "line"),
    ),
    Explanation(
        code=NO_REASON,
        name=NO_REASON,
        sentence="The answer was {status}. The combined format does not say why.",
        causes=("the gateway refused the request, or the mail server did",),
        remedy="Use access_log.format: json, which has the reason.",
        commands=("address_lines",),
    ),
)


def _handshake(name: str, pattern: str, sentence: str, *causes: str, remedy: str) -> Explanation:
    return Explanation(
        code=HANDSHAKE_FAILED,
        name=name,
        pattern=f"(?i){pattern}",
        sentence=sentence,
        causes=causes,
        remedy=remedy,
        commands=("check", "address_lines") if name.startswith("server_certificate") else ("address_lines",),
    )


HANDSHAKES: Final = (
    _handshake(
        "server_certificate_expired",
        r"alert certificate expired",
        "The device of {who} says that the certificate of this site is not valid today: it has ended, or the clock of "
        "the device is wrong.",
        "the site's certificate, or its intermediate, has expired",
        "the date or time of the device is wrong",
        remedy="Check the site's certificate. If other devices get in, correct the date and time of this device.",
    ),
    _handshake(
        "server_certificate_refused",
        r"alert (?:certificate unknown|bad certificate|unknown ca|unsupported certificate|"
        r"certificate revoked|bad certificate status response|access denied)",
        "The device of {who} did not accept the certificate of this site, so it ended the handshake: {detail}.",
        "the site's certificate has expired, or its intermediate is missing in the file",
        "the device does not know the CA of the site's certificate",
        "the clock of the device is wrong",
        remedy="Check the site's certificate. If other devices get in, look at the date and time of this device.",
    ),
    _handshake(
        "tls_too_old",
        r"unsupported protocol|version too low|wrong version number|protocol version|inappropriate fallback",
        "The device of {who} speaks only a TLS version that is too old: {detail}.",
        "an old phone, an old Windows or an old mail program: TLS 1.0 or 1.1",
        "a proxy or virus scanner in between",
        remedy="Update the device or the program. TLS 1.2 is the oldest version that is accepted.",
    ),
    _handshake(
        "nothing_in_common",
        r"no shared cipher|no suitable|no shared|handshake failure|insufficient security|no application protocol",
        "The device of {who} and the gateway have no cipher, key exchange or protocol in common: {detail}.",
        "an old device",
        "a program that speaks another protocol, such as only HTTP/2",
        remedy="Update the device or the program.",
    ),
    _handshake(
        "weak_key",
        r"too small|too weak|md too weak|bad rsa|wrong signature|bad signature|modulus|key size",
        "The certificate of {holder} has a key that the handshake refuses: {detail}.",
        "the key is too short, or absurdly long",
        "the device has the certificate of another key",
        remedy="Issue a new certificate and install it with its key.",
    ),
    _handshake(
        "certificate_unusable",
        r"certificate verify failed|no certificate|unable to|decode error|unknown certificate type",
        "The certificate that the device of {who} sent can't be used in a handshake: {detail}.",
        "the certificate is damaged, or not for logging in",
        "the private key on the device does not belong to it",
        remedy="Install the certificate again, with its key.",
    ),
    _handshake(
        "too_slow",
        r"not finished within",
        "The device of {who} did not finish the handshake in time: {detail}.",
        "a question of the device is waiting for an answer: which certificate, or the PIN of a card",
        "a bad mobile connection",
        remedy="Answer the question on the device, and try again.",
    ),
    Explanation(
        code=HANDSHAKE_FAILED,
        name=HANDSHAKE_FAILED,
        sentence="The TLS handshake failed: {detail}.",
        causes=(
            "an old or odd program",
            "a browser that dropped a connection, or a question for a certificate that was cancelled",
        ),
        remedy="Look at the other lines of this address.",
        commands=("address_lines",),
    ),
)

CONNECTIONS: Final = (
    Explanation(
        code=CONNECTION_FAILED,
        name="too_many_connections",
        pattern=r"too many (?:connections|handshakes)",
        sentence="{address} opened too many connections: {detail}.",
        causes=("many people behind one address", "a program that connects again and again", "an attack"),
        remedy=(
            "Raise limits.connections_per_ip or limits.handshakes_per_second_per_ip if many people share this address."
        ),
        commands=("status", "address_lines"),
    ),
    Explanation(
        code=CONNECTION_FAILED,
        name="unknown_host",
        pattern=r"no site has the host|no server name",
        sentence="The device asked for a host that no site has: {detail}.",
        causes=("the server name on the device was mistyped", "the host is missing in sites"),
        remedy="Correct the server name on the device, or add the host to sites.",
        commands=("check", "address_lines"),
    ),
    Explanation(
        code=CONNECTION_FAILED,
        name="plain_http",
        pattern=r"plain HTTP on a TLS port",
        sentence="The program speaks http where https is expected.",
        causes=("the address on the device begins with http:// or SSL is switched off",),
        remedy="Write https:// or switch on SSL on the device.",
        commands=("address_lines",),
    ),
    Explanation(
        code=CONNECTION_FAILED,
        name="proxy_header",
        pattern=r"PROXY|proxy_protocol_from",
        sentence="The connection and the PROXY protocol don't fit: {detail}.",
        causes=("the balancer sends a PROXY header and the listener expects none, or the other way round",),
        remedy="Correct the listener's proxy_protocol_from, or the balancer.",
        commands=("check", "address_lines"),
    ),
    Explanation(
        code=CONNECTION_FAILED,
        name=CONNECTION_FAILED,
        sentence="The connection ended before a request: {detail}.",
        causes=("a program other than a browser or mail app", "a bad connection", "a port scan"),
        remedy="Look at the other lines of this address.",
        commands=("address_lines",),
    ),
)
