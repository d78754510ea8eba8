"""A site's Strict-Transport-Security: in every answer over TLS, once, and in none over plain HTTP."""

import pytest
from support.dialogue import INSIDE, SocketEnd, get, header, request, response, status
from support.plain_http import plain_connection

from gateway.config.model import Listener

SERVERS = "Strict-Transport-Security: max-age=5"


@pytest.fixture
def world(files, make_world):
    return make_world(sites=[files.site(hsts={"max_age": "90d", "include_subdomains": True})])


OURS = "max-age=7776000; includeSubDomains"


def answered(world, *fields, client=None):
    client = client or world.client()
    client.says(get())
    world.accepts().says(response("200 OK", "A: b", *fields))
    return client.hears()


@pytest.mark.parametrize("fields", [(), (SERVERS,), (SERVERS.lower(), SERVERS)])
def test_the_sites_field_replaces_the_servers(world, fields):
    answer = answered(world, *fields)
    assert (status(answer), header(answer, "A")) == (200, "b")
    assert header(answer, "Strict-Transport-Security") == OURS
    assert answer.lower().count(b"strict-transport-security") == 1


@pytest.mark.parametrize(("fields", "expected"), [((SERVERS,), "max-age=5"), ((), None)])
def test_without_the_key_the_servers_own_passes(make_world, fields, expected):
    assert header(answered(make_world(), *fields), "Strict-Transport-Security") == expected


@pytest.mark.parametrize("data", [get("/secret"), get(host="x.example.com"), b"nonsense\r\n\r\n"])
def test_refusals_carry_it(world, data):
    client = world.client()
    client.says(data)
    assert header(client.hears(), "Strict-Transport-Security") == OURS


def test_an_upgrade_carries_it(world):
    client = world.client()
    client.says(request("GET", "/webmail", "Connection: Upgrade", "Upgrade: websocket"))
    world.accepts().says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    answer = client.hears()
    assert (status(answer), header(answer, "Strict-Transport-Security")) == (101, OURS)


@pytest.mark.parametrize("data", [get(), get(host="x.example.com"), b"nonsense\r\n\r\n"])
def test_plain_http_never_carries_it(world, data):
    listener = Listener("127.0.0.1:80", "127.0.0.1", 80, redirect_to_https=True)
    end = SocketEnd(world, plain_connection(world, listener), (INSIDE, 40000))
    end.says(data)
    answer = end.hears()
    assert status(answer) in {308, 400, 421}
    assert header(answer, "Strict-Transport-Security") is None


def test_a_reload_changes_it_on_open_connections(files, world):
    client = world.client()
    world.does(world.service.adopt, files.snapshot(sites=[files.site(hsts="0s")]))
    assert header(answered(world, SERVERS, client=client), "Strict-Transport-Security") == "max-age=0"
