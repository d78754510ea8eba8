"""Where to ask a running gateway, from files in every state."""

import pytest
from support.config_files import BASE

from gateway.config.endpoints import Endpoints, read_endpoints
from gateway.config.model import Admin
from gateway.config.problems import ConfigErrors

ADMIN = Admin("127.0.0.1:9444", "127.0.0.1", 9444)
LINE = 'admin: {address: "127.0.0.1:9444"}\n'


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "config.yaml"

    def made(text, environ=None):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_endpoints(path, environ or {})

    return made


def test_no_certificate_and_no_key_is_needed(read):
    """They are not there: nothing but the file's own text is read."""
    found = read(BASE + LINE)
    assert found.admin == ADMIN
    assert [listener.address for listener in found.listeners] == [":443"]


def test_without_the_section_there_is_nobody_to_ask(read):
    assert read(BASE).admin is None
    assert read(BASE + "admin: null\n").admin is None


def test_a_file_that_is_wrong_elsewhere_says_it_all_the_same(read):
    assert read(f"rulez: 1\nsites: 7\n{LINE}") == Endpoints(ADMIN, ())


def test_the_address_may_come_from_the_environment(read):
    text = 'admin: {address: "127.0.0.1:${PORT}"}\n'
    assert read(text, {"PORT": "9444"}).admin.port == 9444


@pytest.mark.parametrize(
    "section",
    [
        LINE,
        "admin: {address: 127.0.0.1:9444}\n",
        "admin: { address: '127.0.0.1:9444', more: 1 }\n",
        "admin:\n  address: 127.0.0.1:9444  # where\n",
        'admin:\r\n    address: "127.0.0.1:9444"\r\n',
    ],
)
def test_a_file_that_is_no_yaml_any_more_still_says_it(read, section):
    assert read(f"rules: [}}\n{section}rest").admin == ADMIN


@pytest.mark.parametrize(
    "text",
    [
        "rules: [}\n",
        "rules: [}\nadmin: {address: nowhere}\n",
        "rules: [}\n# admin: {address: 127.0.0.1:9444}\n",
        "rules: [}\n  admin: {address: 127.0.0.1:9444}\n",
        b"\xff\xfe",
    ],
)
def test_a_file_that_can_not_be_read_is_told_with_its_place(read, text):
    with pytest.raises(ConfigErrors, match=r"config\.yaml:1:"):
        read(text)


@pytest.mark.parametrize(
    ("section", "what"),
    [("admin: {address: nowhere}\n", "admin.address: 'nowhere' has no port"), ("admin: {}\n", "this key is missing")],
)
def test_a_wrong_section_is_told_and_nothing_else(read, section, what):
    with pytest.raises(ConfigErrors) as raised:
        read(f"rulez: 1\n{section}")
    assert len(raised.value.problems) == 1
    assert what in str(raised.value)


@pytest.mark.parametrize("text", ["- a list\n", "# nothing but a comment\n"])
def test_what_is_no_configuration_names_nobody(read, text):
    assert read(text) == Endpoints(None, ())


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigErrors, match="does not exist; put the file there"):
        read_endpoints(tmp_path / "config.yaml")
