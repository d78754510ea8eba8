"""What a worker counts, and that no client can make it count endlessly many things."""

from gateway.facts import Reason
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.proxy.counters import Counters


def record(status=None, reason=None, request_id="1", **sizes):
    made = AccessRecord(ConnectionFields(), 0.0, request_id)
    made.status, made.reason = status, reason
    made.bytes_in, made.bytes_out = sizes.get("bytes_in"), sizes.get("bytes_out")
    return made


def counted(*records):
    counters = Counters()
    for each in records:
        counters.note(each)
    return counters.as_dict()


def test_answers_are_counted_by_status_and_reason():
    told = counted(
        record(200),
        record(200),
        record(403),
        record(403, Reason.NO_RULE),
        record(403, Reason.NO_RULE),
        record(502, Reason.UPSTREAM_UNREACHABLE),
        record(None),
    )
    assert told["answers"] == [
        [200, None, 2],
        [403, None, 1],
        [None, None, 1],
        [403, "no_rule", 2],
        [502, "upstream_unreachable", 1],
    ]
    assert told["handshakes"] == {"full": 0, "resumed": 0, "failed": 0}


def test_what_is_observed_is_counted_by_rule_and_reason():
    counters = Counters()
    for rule, reason in (
        ("new", Reason.CERTIFICATE_MISSING),
        ("new", Reason.CERTIFICATE_MISSING),
        ("old", Reason.USER_MISMATCH),
    ):
        made = record(200)
        made.rule, made.observed = rule, reason
        counters.note_observed(made)
    assert counters.as_dict()["observed"] == [["new", "certificate_missing", 2], ["old", "user_mismatch", 1]]


def test_bodies_are_counted_in_bytes_refused_ones_too():
    told = counted(
        record(200, bytes_in=1, bytes_out=10),
        record(200, bytes_in=0, bytes_out=None),
        record(413, Reason.BODY_TOO_LARGE, bytes_in=5, bytes_out=100),
        record(403, Reason.NO_RULE),
    )
    assert told["bytes"] == {"in": 6, "out": 110}


def test_what_a_failed_handshake_says_is_no_key():
    """Its reason holds the client's own words, such as the server name: each would be a counter of its own."""
    told = counted(*(record(None, f"no site has the host {number}.example", None) for number in range(100)))
    assert (told["answers"], told["handshakes"]["failed"]) == ([], 100)
    told = counted(record(400, "plain HTTP on a TLS port"))  # its answer has a number
    assert (told["answers"], told["handshakes"]["failed"]) == ([], 1)


def test_handshakes_are_counted_by_kind():
    counters = Counters()
    for is_resumed in (True, False, True):
        counters.handshake_done(is_resumed=is_resumed)
    assert counters.as_dict()["handshakes"] == {"full": 1, "resumed": 2, "failed": 0}
