"""Explanations of the reason codes about rules, logins, lockout and limits."""

from __future__ import annotations

from typing import Final

from gateway.cli.why.explanation import Explanation
from gateway.facts import Reason

_QUOTED: Final = r"""(?:'.*?'|".*?")"""

CONDITIONS: Final = (
    Explanation(
        code=Reason.CERTIFICATE_NOT_ALLOWED,
        name="device_not_listed",
        pattern=rf"the device (?P<named>{_QUOTED}) is not in this rule's list",
        sentence='The device {named} is not in the list of the rule "{rule}".',
        causes=("{who} has a new or another device", "the device got a new id after a reset"),
        remedy="Add the device id to the rule if the device is hers, and reload.",
        commands=("device", "line"),
    ),
    Explanation(
        code=Reason.CERTIFICATE_NOT_ALLOWED,
        name="no_device_id",
        pattern=r"the ActiveSync request has no device id",
        sentence='The request has no device id, and the rule "{rule}" lets in only listed devices.',
        causes=("the program is not a phone's mail app", "a proxy in between changed the address"),
        remedy="Find out which program it is.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.CERTIFICATE_NOT_ALLOWED,
        name="login_unreadable",
        pattern=r"the login cannot be read",
        sentence="The login can't be read, so the rule can't compare it with the certificate: {detail}.",
        causes=("the program sends two logins, or a damaged one",),
        remedy="Enter the account again on the device.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.CERTIFICATE_NOT_ALLOWED,
        name=Reason.CERTIFICATE_NOT_ALLOWED,
        sentence='The rule "{rule}" does not let in the certificate of {holder}: {detail}.',
        causes=(
            "the rule names other CAs, names, addresses or fingerprints",
            "the rule was changed",
            "the device chose another certificate",
        ),
        remedy="Change the rule, or let the device choose a certificate that the rule lets in.",
        commands=("show", "rule", "line"),
    ),
    Explanation(
        code=Reason.USER_MISMATCH,
        name="wrong_login",
        pattern=r"does not belong to the certificate",
        sentence="The login {login} does not belong to the certificate, which is of {holder}.",
        causes=(
            "the account on the device has another user name than the certificate",
            "somebody uses the device or the certificate of another person",
        ),
        remedy="Use the login that belongs to the certificate, or install the certificate of the person who logs in.",
        commands=("certificate_lines", "show", "line"),
    ),
    Explanation(
        code=Reason.USER_MISMATCH,
        name=Reason.USER_MISMATCH,
        sentence=(
            "Whose login it is can't be seen, so the rule can't compare it with the certificate of {holder}: {detail}."
        ),
        causes=("the program logs in with NTLM or Negotiate, which hides the name", "the login is damaged"),
        remedy="Let the program log in with Basic, or remove bind_user from the rule.",
        commands=("certificate_lines", "line"),
    ),
)

RULES: Final = (
    Explanation(
        code=Reason.DENIED_BY_RULE,
        name=Reason.DENIED_BY_RULE,
        sentence='The rule "{rule}" denies {place} from {address}.',
        causes=("the rule is meant so", "the rule stands above the one that would let the request in"),
        remedy="If {who} may go there, change the rule or put another one above it.",
        commands=("explain", "rule", "line"),
    ),
    Explanation(
        code=Reason.NO_RULE,
        name=Reason.NO_RULE,
        sentence="No rule lets in {place} from {address}, so the request was refused.",
        causes=(
            "the path or the host is not in any rule",
            "the rule is only for another network",
            "the address was mistyped",
        ),
        remedy="If {who} may go there, add a rule.",
        commands=("explain", "line"),
    ),
    Explanation(
        code=Reason.URI_REJECTED,
        name=Reason.URI_REJECTED,
        sentence="The address of the request can be read in more than one way, so it was refused: {detail}.",
        causes=("a link with odd characters", "a program that encodes addresses twice", "an attack"),
        remedy="Correct the link. The address can't be let in by a rule.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.NOT_FOUND,
        name=Reason.NOT_FOUND,
        sentence="The gateway itself has nothing at this address: {detail}.",
        causes=("the address was mistyped", "a list or challenge with this name does not exist"),
        remedy="Correct the address.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.METHOD_NOT_ALLOWED,
        name=Reason.METHOD_NOT_ALLOWED,
        sentence="The gateway's own page does not take this method: {detail}.",
        causes=("a program that tests servers",),
        remedy="There is nothing to do, unless a program of yours sends it.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.HOST_MISMATCH,
        name=Reason.HOST_MISMATCH,
        sentence="The request asked for another host than its connection: {detail}.",
        causes=(
            "the browser used one connection for two sites of the same certificate",
            "the host name is missing in sites",
            "a program sends a Host that is not the server's name",
        ),
        remedy="A browser tries again by itself. If the host is missing in sites, add it.",
        commands=("check", "line"),
    ),
)

LOCKOUT: Final = (
    Explanation(
        code=Reason.LOCKED_OUT,
        name=Reason.LOCKED_OUT,
        pattern=r"too many failed attempts from (?P<from_whom>[^;]*)(?:; otherwise (?P<otherwise>.*))?",
        sentence="{from_whom} was locked out after too many failed attempts.",
        causes=(
            "an old password on a device that tries again and again",
            "a wrong certificate, where lockout counts certificates",
            "somebody else behind the same address",
        ),
        remedy="Correct the password or certificate on the device first; then end the lockout, or wait for its end.",
        commands=("unban", "wrong_passwords", "line"),
    ),
    Explanation(
        code=Reason.LOCKED_OUT,
        name=Reason.LOCKED_OUT,
        sentence="{address} was locked out after too many failed attempts.",
        causes=("an old password on a device that tries again and again",),
        remedy="Correct the password on the device first; then end the lockout, or wait for its end.",
        commands=("unban", "wrong_passwords", "line"),
    ),
    Explanation(
        code=Reason.TOO_MANY_CONNECTIONS,
        name=Reason.TOO_MANY_CONNECTIONS,
        sentence="Too many connections were open, from {address} or altogether.",
        causes=(
            "many people behind one address",
            "a program that opens connections and doesn't close them",
            "an attack",
        ),
        remedy="Raise limits.connections_per_ip if many people share this address.",
        commands=("status", "address_lines", "line"),
    ),
)

LIMITS: Final = (
    Explanation(
        code=Reason.BODY_TOO_LARGE,
        name=Reason.BODY_TOO_LARGE,
        sentence="The request was too large: {detail}.",
        causes=("a mail with large attachments",),
        remedy="Send smaller attachments, or raise limits.body.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.URI_TOO_LONG,
        name=Reason.URI_TOO_LONG,
        sentence="The address of the request was too long: {detail}.",
        causes=("a link of a program that puts a whole form into the address",),
        remedy="Raise limits.uri_bytes if the program needs it.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.HEADERS_TOO_LARGE,
        name=Reason.HEADERS_TOO_LARGE,
        sentence="The header of the request was too large: {detail}.",
        causes=("too many cookies for this host", "a Kerberos ticket of a person in many groups"),
        remedy="Delete the cookies of this host in the browser, or raise limits.header_bytes.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.REQUEST_TIMEOUT,
        name=Reason.REQUEST_TIMEOUT,
        sentence="The request did not arrive in time: {detail}.",
        causes=("a bad mobile connection", "a program that opens a connection and sends nothing"),
        remedy="Try again with a better connection.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.BAD_REQUEST,
        name=Reason.BAD_REQUEST,
        sentence="The request was not correct HTTP: {detail}.",
        causes=("a program with mistakes", "a proxy in between that changes requests", "an attack"),
        remedy="Find out which program it is, and report it to its maker.",
        commands=("line",),
    ),
    Explanation(
        code=Reason.EXPECTATION_FAILED,
        name=Reason.EXPECTATION_FAILED,
        sentence="The program expects something that HTTP servers don't do: {detail}.",
        causes=("a program with mistakes",),
        remedy="Find out which program it is, and report it to its maker.",
        commands=("line",),
    ),
)
