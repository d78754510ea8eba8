"""Real questions to a real DNS server on loopback, on the loop that workers run."""

import dns.rcode
import pytest
import uvloop
from support.dns_server import DnsServer

from gateway.config.model import NameServer
from gateway.proxy.upstream import dns as resolver_module
from gateway.proxy.upstream.dns import MAX_ADDRESSES, Resolver

HOST = "mail.lan"


@pytest.fixture
def server():
    with DnsServer() as made:
        yield made


def look_up(resolver, name=HOST):
    """What is found, and that nothing is left behind."""
    return uvloop.run(resolver.lookup(name))


def asking(*servers):
    return Resolver([NameServer(server.host, server.port) for server in servers])


class OnPort(Resolver):
    """The system's file knows no ports."""

    __slots__ = ("port",)

    def _stub(self):
        stub = super()._stub()
        stub.port = self.port
        return stub


def test_both_kinds_of_addresses_come_with_their_time(server):
    server.says(HOST, "127.0.0.5", "127.0.0.6", "FD00::0:5", ttl=7)
    six, four = look_up(asking(server))
    assert (six.addresses, six.ttl_seconds, six.is_answer) == (("fd00::5",), 7, True)
    assert (sorted(four.addresses), four.ttl_seconds) == (["127.0.0.5", "127.0.0.6"], 7)
    assert sorted(server.asked) == [(HOST, "A"), (HOST, "AAAA")]


def test_nothing_is_remembered(server):
    server.says(HOST, "127.0.0.5", ttl=600)
    resolver = asking(server)
    look_up(resolver)
    server.says(HOST, "127.0.0.6", ttl=600)
    assert look_up(resolver)[1].addresses == ("127.0.0.6",)
    server.forgets(HOST)
    assert look_up(resolver)[1].addresses == ()
    server.says(HOST, "127.0.0.5")
    assert look_up(resolver)[1].addresses == ("127.0.0.5",)


def test_the_shortest_time_on_the_way_counts(server):
    server.says("real.lan", "127.0.0.5", ttl=600)
    server.says_alias(HOST, "real.lan", ttl=3)
    assert look_up(asking(server))[1][:2] == (("127.0.0.5",), 3)


def test_that_there_is_no_such_name_is_an_answer(server):
    for records in look_up(asking(server)):
        assert records == ((), 0.0, "the name does not exist", True)


def test_a_name_without_addresses_is_an_answer(server):
    server.says(HOST)
    for records in look_up(asking(server)):
        assert records == ((), 0.0, "the name has no address", True)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.YXDOMAIN])
def test_a_server_that_fails_leaves_the_question_open(server, rcode):
    server.fails(HOST, rcode)
    for records in look_up(asking(server)):
        assert (records.addresses, records.is_answer) == ((), False)
        assert records.cause
    if rcode == dns.rcode.SERVFAIL:
        assert f"{server.host}@{server.port} answered SERVFAIL" in records.cause


def test_one_kind_may_fail_alone(server):
    server.fails_half(HOST, "AAAA", "127.0.0.5")
    six, four = look_up(asking(server))
    assert (six.is_answer, four.is_answer, four.addresses) == (False, True, ("127.0.0.5",))


def test_a_server_that_says_nothing_is_not_waited_for_long(server, monkeypatch):
    monkeypatch.setattr(resolver_module, "LOOKUP_SECONDS", 0.2)
    server.is_silent_about(HOST)
    for records in look_up(asking(server)):
        assert not records.is_answer
        assert "timed out" in records.cause


def test_another_server_is_asked_where_the_first_fails(server):
    with DnsServer() as other:
        server.fails(HOST)
        other.says(HOST, "127.0.0.5")
        assert look_up(asking(server, other))[1].addresses == ("127.0.0.5",)


def test_an_answer_that_is_cut_short_is_asked_for_over_tcp(server):
    many = [f"10.0.{number}.1" for number in range(40)]
    server.says(HOST, *many, is_truncated=True)
    assert sorted(look_up(asking(server))[1].addresses) == sorted(many)
    assert (HOST, "A") in server.asked_over_tcp


def test_so_many_addresses_are_used_and_no_more(server):
    many = [f"10.0.{number}.1" for number in range(MAX_ADDRESSES + 1)]
    server.says(HOST, *many, is_truncated=True)
    assert list(look_up(asking(server))[1].addresses) == sorted(many)[:MAX_ADDRESSES]


# the system's own servers


def test_the_systems_file_counts_with_its_search_list(server, tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver {server.host}\nsearch other.lan lan\n")
    resolver = OnPort(resolv_conf=str(conf))
    resolver.port = server.port
    server.says(HOST, "127.0.0.5")
    assert look_up(resolver, "mail")[1].addresses == ("127.0.0.5",)
    assert [name for name, kind in server.asked if kind == "A"] == ["mail.other.lan", HOST]


def test_servers_of_our_own_know_no_search_list(server):
    server.says(HOST, "127.0.0.5")
    assert look_up(asking(server), "mail")[1].cause == "the name does not exist"
    assert {name for name, _ in server.asked} == {"mail"}


@pytest.mark.parametrize("text", [None, "search lan\n", "nameserver nonsense\n"])
def test_a_systems_file_that_names_nobody_leaves_the_question_open(tmp_path, text):
    conf = tmp_path / "resolv.conf"
    if text is not None:
        conf.write_text(text)
    for records in look_up(Resolver(resolv_conf=str(conf))):
        assert not records.is_answer
        assert records.cause.startswith(f"{conf}: ")


def test_a_name_that_dns_cannot_carry_leaves_the_question_open(server):
    six, _ = look_up(asking(server), "a" * 64 + ".lan")
    assert not six.is_answer
