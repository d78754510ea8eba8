"""The schema of sites and rules: values, meaning and default of each key."""

from __future__ import annotations

from typing import Final

from gateway.config.kinds import Choice, Duration, Field, Flag, FlagOrDay, ListOf, Record, TableOf, Text
from gateway.config.schema_words import DAY, FILE, HOST, NETWORK, ONE_LINE, optional

METHOD_PATTERN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"  # RFC 9110, 5.6.2
FINGERPRINT_PATTERN: Final = r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}"
# The attributes of X.509 names: the usual short names (RFC 4514, 3, and OpenSSL's), or an OID.
ATTRIBUTE_PATTERN: Final = (
    r"CN|O|OU|C|L|ST|S|STREET|DC|UID|SN|GN|title|initials|pseudonym|dnQualifier|generationQualifier|postalCode|"
    r"businessCategory|organizationIdentifier|serialNumber|emailAddress|E|[0-2](?:\.(?:0|[1-9][0-9]{0,15})){1,20}"
)

OCSP: Final = Record(
    (
        optional(
            "mode",
            Choice(("off", "soft", "hard"), "a mode"),
            "off",
            "`off`: no responder is asked. `soft`: without an answer the certificate counts as good. `hard`: without "
            "an answer the certificate is refused.",
        ),
        optional(
            "responder",
            Text(
                what="a responder",
                pattern=r"from_certificate|https?://[^\s#]+",
                example="from_certificate or http://ocsp.example.com/",
            ),
            "from_certificate",
            "Which responder is asked: the one that the certificate names, or the URL given here.",
        ),
    )
)

HSTS: Final = Record(
    (
        optional(
            "max_age",
            Duration(0.0, 3650 * DAY),
            "365d",
            "How long browsers remember it. With `0s` browsers forget it at their next visit.",
        ),
        optional(
            "include_subdomains",
            Flag(),
            False,
            "It also applies to every host below this one, including those on other servers.",
        ),
        optional(
            "preload",
            Flag(),
            False,
            "Asks browser makers to add the host to their built-in lists (hstspreload.org). A removal takes months. "
            "Needs `include_subdomains` and a `max_age` of 365 days or more.",
        ),
    ),
    short="max_age",
)

SITE: Final = Record(
    (
        Field(
            "hosts",
            ListOf(HOST, minimum=1),
            'TLS server names and HTTP hosts. `"*.example.com"` stands for exactly '
            'one label; `"*"` is the fallback for every other name.',
            is_required=True,
        ),
        Field(
            "certificate",
            FILE,
            "The site's own certificate: PEM, leaf first, then its intermediates.",
            is_required=True,
        ),
        Field("key", FILE, "The certificate's private key, PEM.", is_required=True),
        Field(
            "key_password",
            Text(what="a password", is_secret=True, can_be_empty=True),
            "Password of the private key; empty: the key is not encrypted.",
            is_nullable=True,
        ),
        Field(
            "client_ca",
            ListOf(FILE, minimum=1),
            "The CAs whose client certificates this site trusts, PEM. Without "
            "this key no rule for the site can require a certificate.",
        ),
        Field(
            "crl",
            ListOf(Text(what="a file name or URL", example="certs/rootCA.crl"), minimum=1),
            "Revocation lists, complete and delta lists: PEM or DER files, or http(s) URLs that are fetched and "
            "refreshed.",
            default_note="no revocation check",
        ),
        optional(
            "crl_policy",
            Choice(("require", "if_present"), "a policy"),
            "require",
            "`require`: a certificate is refused unless a current list of its issuer covers it. `if_present`: without "
            "such a list it is let in.",
        ),
        Field(
            "hsts",
            HSTS,
            "Strict-Transport-Security in every answer of this site: browsers then use only https for its hosts. It "
            "replaces the upstream's header.",
            is_nullable=True,
            default_note="off: the upstream's header is kept",
        ),
        optional("ocsp", OCSP, {}, "Online checks whether a client certificate is revoked."),
        Field(
            "protocols",
            ListOf(Choice(("h2", "http/1.1"), "a protocol"), minimum=1),
            "What clients may speak, best first: the first one that the client offers too (ALPN) is used. `h2` is "
            "[HTTP/2](http2.md). `http/1.1` includes HTTP/1.0 and can't be left out, because clients without ALPN "
            "speak it.",
            default_note="`[h2, http/1.1]`; `[http/1.1]` if the upstream has `connections: per_client` or "
            "`proxy_protocol`",
        ),
        Field(
            "upstream",
            Text(what="an upstream's name", example="mail"),
            "Where requests go: a name under `upstreams`.",
            is_required=True,
        ),
    )
)

CERTIFICATE: Final = Record(
    (
        Field(
            "ca",
            ListOf(FILE, minimum=1),
            "The CAs that a certificate must come from, PEM. Each must be one of the site's CAs, or come from one.",
            default_note="any of the site's",
        ),
        Field(
            "subject",
            TableOf(Text(), ATTRIBUTE_PATTERN, "an attribute of a certificate's subject", minimum=1),
            "Attributes of the subject, such as `{O: Example Ltd}`. Values are exact or have `*` wildcards.",
            default_note="any",
        ),
        optional(
            "email",
            ListOf(
                Text(
                    what="an e-mail pattern",
                    pattern=r"\*|(?!\.)[^@\s]+@(?:\*|(?:\*\.)?[!-)+-?A-~]+)",
                    example='"*@example.com"',
                    has_spaces=False,
                )
            ),
            [],
            "A mail address in the certificate (rfc822Name or emailAddress). `*` wildcards may stand before the `@`; "
            "empty: any.",
        ),
        optional(
            "fingerprint_sha256",
            ListOf(
                Text(
                    what="a SHA-256 fingerprint",
                    pattern=FINGERPRINT_PATTERN,
                    example="64 hex digits, with or without colons",
                )
            ),
            [],
            "The fingerprint of the certificate; empty: any.",
        ),
        Field(
            "bind_user",
            Choice(("email", "upn", "cn", "san"), "a kind of name"),
            "The mail login (HTTP Basic, ActiveSync) must match this name in the certificate. Logins in web forms are "
            "not checked.",
            is_nullable=True,
        ),
        optional(
            "device_ids",
            ListOf(
                Text(
                    what="a device id", pattern=r"[A-Za-z0-9._-]{1,128}", example='"ApplDNQ123456789"', has_spaces=False
                )
            ),
            [],
            "ActiveSync devices that this rule lets in; empty: any.",
        ),
    )
)

RULE: Final = Record(
    (
        Field(
            "name",
            Text(what="a name on one line", pattern=ONE_LINE, example="Webmail from outside"),
            "The name of the rule in logs.",
            default_note="`rule N`, counted from 1",
        ),
        Field(
            "from",
            ListOf(NETWORK, minimum=1),
            "Client addresses: a network name, a CIDR, or a list of both.",
            default_note="everyone",
        ),
        Field("hosts", ListOf(HOST, minimum=1), "Hosts of the sites.", default_note="every site"),
        Field(
            "uri",
            ListOf(Text(what="a path", example="/webmail, =/exact/path or ~regex"), minimum=1),
            "`/path`: this path and everything below it. `=/path`: only this path. `~regex` (RE2): it must match the "
            "whole path. Case is ignored.",
            default_note="every path",
        ),
        Field(
            "methods",
            ListOf(Text(what="an HTTP method", pattern=METHOD_PATTERN, example="GET", has_spaces=False), minimum=1),
            "HTTP methods.",
            default_note="every method",
        ),
        Field(
            "action",
            Choice(("allow", "require_certificate", "deny"), "an action"),
            "What to do with the request.",
            is_required=True,
        ),
        Field(
            "certificate",
            CERTIFICATE,
            "What a rule with `require_certificate` requires of a trusted certificate. All conditions must hold.",
            default_note="any trusted certificate",
        ),
        Field(
            "enforce",
            FlagOrDay(),
            "Only for rules with `require_certificate`. `false`: the rule is in observation. It lets in the requests "
            "that it would refuse, as requests without a certificate, and the access log has the reason in "
            "`observed`. A day: the rule is in observation until then, and refuses from 00:00 UTC of that day on.",
            default_note="`true`",
        ),
    )
)
