"""Where COPY and MOVE write is judged like the path they read."""

import pytest
from support.dialogue import get, header, request, response, status

RULES = [
    {"name": "closed", "uri": ["/dav/admin"], "action": "deny"},
    {"name": "dav", "uri": ["/dav"], "action": "allow"},
    {"name": "reports", "uri": ["/reports"], "methods": ["COPY"], "action": "allow"},
    {"name": "admin", "uri": ["/admin"], "action": "deny"},
]
PRESERVED = {"mail": {"servers": ["http://10.0.0.5:8080"]}}
RENAMED = {"mail": {"servers": ["http://10.0.0.5:8080"], "host": "sogo.internal"}}


def moves(world, destination, method="MOVE", host="mail.example.com"):
    """(the client, after it has asked)."""
    client = world.client()
    client.says(request(method, "/dav/a", f"Destination: {destination}", host=host))
    return client


def told(world, destination, **more):
    """The field that the upstream reads."""
    client = moves(world, destination, **more)
    server = world.accepts()
    head = server.hears()
    server.says(response("201 Created"))
    assert status(client.hears()) == 201
    assert head.count(b"estination:") == 1
    return header(head, "Destination")


@pytest.mark.parametrize(
    ("upstreams", "base"), [(PRESERVED, "http://mail.example.com"), (RENAMED, "http://sogo.internal")]
)
@pytest.mark.parametrize(
    ("destination", "spelling"),
    [
        ("https://mail.example.com/dav/b", "/dav/b"),
        ("HTTPS://MAIL.example.com:443/dav/b%20c?d", "/dav/b%20c?d"),
        ("http://mail.example.com/dav/b", "/dav/b"),
        ("https://mail.example.com/%64av/./x/../b", "/dav/b"),
        ("https://mail.example.com/dav/100%25%20%e2%80%a6.", "/dav/100%25%20%E2%80%A6."),
    ],
)
def test_the_upstream_reads_the_spelling_that_was_judged(make_world, upstreams, base, destination, spelling):
    world = make_world(rules=RULES, upstreams=upstreams)
    assert told(world, destination) == base + spelling


@pytest.mark.parametrize("upstreams", [PRESERVED, RENAMED])
def test_a_path_alone_stays_one(make_world, upstreams):
    assert told(make_world(rules=RULES, upstreams=upstreams), "/dav//b") == "/dav/b"


def test_white_space_after_the_value_is_no_part_of_it(make_world):
    assert told(make_world(rules=RULES), "/dav/b \t") == "/dav/b"


def test_a_port_that_is_in_host_belongs_to_the_name_and_a_foreign_one_goes_no_further(make_world):
    world = make_world(rules=RULES)
    there = "https://mail.example.com:8443/dav/b"
    assert told(world, there, host="mail.example.com:8443") == "http://mail.example.com/dav/b"
    assert status(moves(world, there).hears()) == 400


@pytest.mark.parametrize(
    ("destination", "code", "reason", "rule"),
    [
        ("https://mail.example.com/admin/b", 403, "denied_by_rule", "admin"),
        ("/%61dmin/b", 403, "denied_by_rule", "admin"),
        ("/dav/../ADMIN/b", 403, "denied_by_rule", "admin"),
        ("/dav/adm%C4%B1n.", 403, "denied_by_rule", "closed"),
        ("/da%E2%80%8Dv/b", 403, "no_rule", None),
        ("/elsewhere", 403, "no_rule", None),
        ("/reports/b", 403, "no_rule", None),  # with COPY alone
        ("https://mail.example.com", 403, "no_rule", None),
        ("/dav/%2e%2e%2fadmin", 400, "uri_rejected", "dav"),
        ("/dav/b#c", 400, "uri_rejected", "dav"),
        ("https://intranet.example.com/dav/b", 400, "bad_request", "dav"),
        ("https://mail.example.com@evil.example/dav/b", 400, "bad_request", "dav"),
        ("https://mail.example.com.evil.example/dav/b", 400, "bad_request", "dav"),
        ("//evil.example/dav/b", 400, "bad_request", "dav"),
        ("ftp://mail.example.com/dav/b", 400, "bad_request", "dav"),
        ("dav/b", 400, "bad_request", "dav"),
        ("", 400, "bad_request", "dav"),
    ],
)
def test_what_may_not_be_asked_for_may_not_be_written_to(make_world, destination, code, reason, rule):
    world = make_world(rules=RULES)
    assert status(moves(world, destination).hears()) == code
    assert (world.record["status"], world.record["reason"], world.record["rule"]) == (code, reason, rule)


def test_a_rules_methods_count_for_it(make_world):
    world = make_world(rules=RULES)
    assert told(world, "/reports/b", method="COPY") == "/reports/b"


def test_two_of_them_are_read_by_two_servers_in_two_ways(make_world):
    world = make_world(rules=RULES)
    client = world.client()
    client.says(get("/dav/a", "Destination: /dav/b", "destination: /admin/b"))
    assert status(client.hears()) == 400


def test_another_spelling_of_the_fields_name_is_judged_too(make_world):
    world = make_world(rules=RULES)
    client = world.client()
    client.says(get("/dav/a", "DESTINATION: /admin/b"))
    assert status(client.hears()) == 403
