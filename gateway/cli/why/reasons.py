"""The table of reasons: for each code that a line can have, a sentence, the usual causes, a remedy and a command."""

from __future__ import annotations

from typing import Final

from gateway.cli.why import reasons_certificate, reasons_rule, reasons_server
from gateway.cli.why.explanation import Explanation

TABLE: Final[tuple[Explanation, ...]] = (
    *reasons_certificate.MISSING,
    *reasons_certificate.DATES,
    *reasons_certificate.UNTRUSTED,
    *reasons_certificate.REVOCATION,
    *reasons_certificate.USAGE,
    *reasons_rule.CONDITIONS,
    *reasons_rule.RULES,
    *reasons_rule.LOCKOUT,
    *reasons_rule.LIMITS,
    *reasons_server.UPSTREAM,
    *reasons_server.HANDSHAKES,
    *reasons_server.CONNECTIONS,
)
