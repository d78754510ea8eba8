"""Names are checked once, at the door."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from support.pki import build as build_certificate
from support.pki import ca_extensions

from gateway.errors import UsageError
from gateway.pki import constraints, hosts, names


@pytest.mark.parametrize(
    ("written", "email"),
    [
        ("alice@example.com", "alice@example.com"),
        ("Alice.B@Example.COM", "Alice.B@example.com"),
        ("a/b'c@x-y.example", "a/b'c@x-y.example"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_addresses(written, email):
    assert names.check_email(written) == email


@pytest.mark.parametrize(
    "written",
    [
        *("", "alice", "@example.com", "alice@", "a b@example.com", "a@b@example.com", "ali..ce@example.com"),
        *(".a@example.com", "a.@example.com", '"a b"@example.com', "älice@example.com", "a@exämple.com"),
        *("a@-example.com", "a@example..com", "a@example.com\n", "a@example.com\x00", "x" * 65 + "@example.com"),
        *("=cmd@example.com", "+a@example.com", "-rf@example.com", "a@" + "x" * 64 + ".com", "a@" + "abc." * 63 + "ab"),
    ],
)
def test_what_is_no_address(written):
    with pytest.raises(UsageError) as refused:
        names.check_email(written)
    assert "\n" not in refused.value.cause
    assert "\x00" not in refused.value.cause
    assert refused.value.remedy


def test_a_domain_in_another_script_has_its_ascii_form_in_the_remedy():
    for check, text, meant in (
        (names.check_email, "jana@příklad.cz", "jana@xn--pklad-zsa96e.cz"),
        (names.check_domain, "příklad.cz", "xn--pklad-zsa96e.cz"),
    ):
        with pytest.raises(UsageError) as raised:
            check(text)
        assert raised.value.remedy == f"Write {meant}."
        assert check(meant) == meant
    for text in ("alice@straße.de", "alice@exa mple", "alice@mail_x.de"):  # read in two ways, or not at all
        with pytest.raises(UsageError) as raised:
            names.check_email(text)
        assert raised.value.remedy == "Write it like alice@example.com."


def test_a_domain_has_253_characters():
    longest = "abc." * 63 + "a"
    assert names.check_domain(longest + ".") == longest
    with pytest.raises(UsageError, match="is not a domain"):
        names.check_domain(longest + "b")


@pytest.mark.parametrize("text", ["Alice Example", "Ä", "O'Neil, Shaq", "山田太郎", "x" * 64])
def test_lines_of_a_subject(text):
    assert names.check_text(text, "name") == text


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (" Alice", "begins or ends with a space"),
        ("x" * 65, "longer than 64"),
        ("Ali\nce", "control character"),
        ("Ali\u202ece", "control character"),
        ("Ali\x00ce", "control character"),
        ("=HYPERLINK(1)", "begins with '='"),
        ("@SUM(1)", "begins with '@'"),
        *((f"{start}1", f"begins with '{start}'") for start in "＝＋－＠﹦﹢﹣﹫−"),
    ],
)
def test_lines_that_are_refused(text, cause):
    with pytest.raises(UsageError, match=cause) as refused:
        names.check_text(text, "name")
    assert refused.value.cause.isprintable()


def test_a_name_is_composed_before_it_is_counted():
    assert names.check_text("A\u0308" * 64, "name") == "Ä" * 64


def test_spelling_does_not_tell_people_apart():
    assert names.name_key("ALICE  Example") == names.name_key("alice\u00a0example") == "alice example"
    assert names.name_key("Straße") == names.name_key("STRASSE")
    assert names.name_key("Alice") != names.name_key("Alicia")


@pytest.mark.parametrize("name", ["corp", "0", "a.b-c_d", "a" * 63])
def test_names_of_authorities(name):
    assert names.check_authority_name(name) == name


@pytest.mark.parametrize("name", ["", "Corp", "../corp", ".corp", "-corp", "a/b", "a b", "a" * 64, "corp\n"])
def test_names_that_would_leave_the_folder(name):
    with pytest.raises(UsageError, match="is not a valid name for an authority"):
        names.check_authority_name(name)


@pytest.mark.parametrize("url", ["http://pki.example.com/a.crl", "http://pki:8080/", "http://10.0.0.1/x"])
def test_urls_for_certificates(url):
    assert names.check_http_url(url, "CRL URL") == url


@pytest.mark.parametrize("url", ["https://pki.example.com/a", "ldap://x/", "http://", "http://a b/", "http://ä/", "x"])
def test_urls_that_no_client_would_fetch(url):
    with pytest.raises(UsageError, match="is not a valid CRL URL"):
        names.check_http_url(url, "CRL URL")


def test_hosts():
    found = hosts.check(["Mail.Example.com", "*.example.com", "127.0.0.1", "::1", "mail.example.com"])
    assert [name.value for name in found] == [
        "mail.example.com",
        "*.example.com",
        ip_address("127.0.0.1"),
        ip_address("::1"),
    ]
    for wrong in ("mail_x.example.com", "*.*.example.com", "a b", ""):
        with pytest.raises(UsageError, match="is not a domain"):
            hosts.check([wrong])
    with pytest.raises(UsageError, match="no name of a server was given"):
        hosts.check([])


def _constrained(permitted=None, excluded=None):
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [*ca_extensions(), (x509.NameConstraints(permitted, excluded), True)]
    return build_certificate("CN=Bound", key.public_key(), "CN=Bound", key, extensions=extensions)


@pytest.mark.parametrize(
    ("tree", "within", "outside"),
    [
        ("example.com", "a@example.com", "a@mail.example.com"),
        (".example.com", "a@mail.example.com", "a@example.com"),
        ("Alice@Example.com", "alice@example.com", "bob@example.com"),
    ],
)
def test_rfc822_constraints(tree, within, outside):
    path = [_constrained([x509.RFC822Name(tree)])]
    constraints.check(path, email=within, upn=within)
    for names_, remedy in (
        ({"email": outside}, "correct the address"),
        ({"upn": outside}, "leave the user principal name out"),
    ):
        with pytest.raises(UsageError, match="CN=Bound may sign only for") as refused:
            constraints.check(path, **names_)
        assert remedy in refused.value.remedy
    with pytest.raises(UsageError, match="only for names outside of"):
        constraints.check([_constrained(None, [x509.RFC822Name(tree)])], email=within)


def test_dns_constraints():
    path = [_constrained([x509.DNSName("example.com")], [x509.DNSName("secret.example.com")])]
    within = [x509.DNSName(host) for host in ("example.com", "mail.example.com", "*.example.com")]
    constraints.check(path, email="anybody@elsewhere.org", hosts=[*within, x509.IPAddress(ip_address("10.0.0.5"))])
    for host in ("example.org", "notexample.com", "x.secret.example.com", "*.example.org"):
        with pytest.raises(UsageError, match=f"CN=Bound may sign only for .*, not for '{re.escape(host)}'"):
            constraints.check(path, hosts=[x509.DNSName(host)])


def test_ip_constraints():
    tree = x509.IPAddress(ip_network("10.0.0.0/24"))
    bound, barred = _constrained([tree]), _constrained(None, [tree])
    constraints.check([bound], hosts=hosts.check(["10.0.0.5", "mail.example.com"]))
    constraints.check([barred], hosts=hosts.check(["10.0.1.5", "::1"]))
    for path, host in ((bound, "10.0.1.5"), (bound, "::1"), (barred, "10.0.0.5")):
        with pytest.raises(UsageError, match=f"CN=Bound may sign only for .*, not for '{host}'"):
            constraints.check([path], hosts=hosts.check([host]))


@pytest.mark.parametrize("name", ["alice.smith", "a-b.c_d", "10.0.0.5", "www.bank.example"])
def test_common_names_that_read_as_hosts(name):
    """OpenSSL holds them to the DNS constraint where there is no DNS name, and the gateway refuses what it refuses."""
    path = [_constrained([x509.DNSName("example.com")])]
    with pytest.raises(UsageError, match=f"the common name '{name}' looks like a host name") as refused:
        constraints.check(path, common_name=name)
    assert "with a space" in refused.value.remedy
    with pytest.raises(UsageError, match="looks like a host name") as refused:
        constraints.check(path, common_name=name, hosts=hosts.check(["10.0.0.5"]))
    assert "host name of that domain" in refused.value.remedy
    constraints.check(path, common_name=name, hosts=hosts.check(["10.0.0.5", "mail.example.com"]))
    constraints.check([_constrained([x509.RFC822Name("example.com")])], common_name=name)


@pytest.mark.parametrize(
    "name",
    ["alice", "Alice Smith", "alice@example.org", "a..b", "-a.b", "a.b-", "a-.b", ".a", "a.", "mail.Example.com"],
)
def test_common_names_that_are_no_foreign_hosts(name):
    constraints.check([_constrained([x509.DNSName("example.com")])], common_name=name)


def test_what_an_authority_of_a_domain_is_bound_to():
    found = constraints.of_domain("example.com", hosts.check_bounds(["internal", "10.0.0.0/24", "example.com"]))
    network = x509.IPAddress(ip_network("10.0.0.0/24"))
    mail, own, other = x509.RFC822Name("example.com"), x509.DNSName("example.com"), x509.DNSName("internal")
    assert found.permitted_subtrees == [mail, own, other, network]
    assert found.excluded_subtrees == [x509.IPAddress(ip_network("::/0"))]
    both = constraints.of_domain("example.com", hosts.check_bounds(["10.0.0.5", "fd00::/8"]))
    assert both.excluded_subtrees is None
    any_ = constraints.of_domain("example.com", hosts.check_bounds(["any"]))
    assert (any_.permitted_subtrees, any_.excluded_subtrees) == ([mail], None)


@pytest.mark.parametrize(
    ("servers", "cause"),
    [
        (["any", "internal"], "was given together with others"),
        (["10.0.0.5/8"], "'10.0.0.5/8' is not a network"),
        (["exa mple"], "is not a domain"),
    ],
)
def test_bounds_that_are_none(servers, cause):
    with pytest.raises(UsageError, match=cause):
        hosts.check_bounds(servers)


def test_the_domain_of_a_path():
    bound = _constrained([x509.RFC822Name("example.com")])
    two = _constrained([x509.RFC822Name("example.com"), x509.RFC822Name("example.org")])
    assert constraints.domain([two, bound]) == "example.com"
    assert constraints.domain([two]) is None


@pytest.mark.parametrize("path", ["/", "/webmail", "/owa/a.b~c", "/%C3%A4", "/a;b=c@d!$&'()*+,:", "/" + "x" * 199])
def test_paths(path):
    assert names.check_path(path) == path


@pytest.mark.parametrize(
    "path", ["", "webmail", "/ä", "/a b", "/a?b", "/a#b", '/"', "/<", "/{x}", "/%2", "/\n", "/a\x00", "/" + "x" * 200]
)
def test_what_is_no_path(path):
    with pytest.raises(UsageError, match="is not a path"):
        names.check_path(path)
