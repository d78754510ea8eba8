"""YAML as a tree with positions, from both of PyYAML's parsers alike, with every bound one above it."""

import pytest

from gateway.config.marks import (
    DEPTH_LEVELS,
    LOADERS,
    TEXT_BYTES,
    TREE_NODES,
    Mapping,
    Scalar,
    Sequence,
    YamlError,
    decode,
    parse,
)
from gateway.config.problems import Mark

both_loaders = pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)


def failure(text, loader):
    with pytest.raises(YamlError) as raised:
        parse(text, loader)
    return raised.value


@both_loaders
def test_keys_and_values_know_where_they_stand(loader):
    tree = parse("a: 1\n# c\nb:\n  - 'x'\n  - {c: off, d: }\n", loader)
    assert tree == Mapping(
        Mark(1, 1),
        (
            (Scalar(Mark(1, 1), "a"), Scalar(Mark(1, 4), "1")),
            (
                Scalar(Mark(3, 1), "b"),
                Sequence(
                    Mark(4, 3),
                    (
                        Scalar(Mark(4, 5), "x", is_plain=False),
                        Mapping(
                            Mark(5, 5),
                            (
                                (Scalar(Mark(5, 6), "c"), Scalar(Mark(5, 9), "off")),
                                (Scalar(Mark(5, 14), "d"), Scalar(Mark(5, 14), "")),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


def test_the_two_parsers_of_pyyaml_agree():
    text = 'ü: "é"\nlist: &a [1, "2", |\n'.replace("|\n", "x]") + "\nagain: *a\nfolded: >\n  one\n  two\n? k\n: v\n"
    assert len({repr(parse(text, loader)) for loader in LOADERS}) == 1


@both_loaders
@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n# nothing"])
def test_a_file_without_content_has_no_tree(loader, text):
    assert parse(text, loader) is None


@both_loaders
@pytest.mark.parametrize(
    ("text", "mark", "cause"),
    [
        ("a: [1\nb: 2\n", Mark(1, 4), "not valid YAML: the bracket that begins here is not closed"),
        ("a: b: c\n", Mark(1, 5), "not valid YAML"),
        ("a:\n\t- b\n", Mark(2, 1), "not valid YAML"),
        ("a: 1\n---\nb: 2\n", Mark(2, 1), "a second document"),
        ("a: !!python/object:os.system x\n", Mark(1, 4), "the YAML tag"),
        ("a: !x [1]\n", Mark(1, 4), "the YAML tag"),
        ("? [a]\n: b\n", Mark(1, 3), "this is a list or mapping, but a key is expected"),
        ("a: *b\n", Mark(1, 4), "*b is an alias, but &b is not"),
        ("a: &a [*a]\n", Mark(1, 8), "*a is an alias, but &a is not"),
        ("a: &a {b: *a}\n", Mark(1, 11), "*a is an alias, but &a is not"),
    ],
)
def test_what_is_no_usable_yaml_is_refused_at_its_place(loader, text, mark, cause):
    error = failure(text, loader)
    assert error.cause.startswith(cause)
    assert error.remedy
    assert (error.mark.line, abs(error.mark.column - mark.column) <= 1) == (mark.line, True)


@both_loaders
@pytest.mark.parametrize("text", ['a: "\\Uffffffff"\n', 'a: "\\ud800"\n', 'a: "\\q"\n', "%YAML 9.1\n---\na: 1\n", "&"])
def test_odd_escapes_and_directives_never_give_another_exception(loader, text):
    try:
        parse(text, loader)
    except YamlError as error:
        assert error.cause  # noqa: PT017 - some are read by one parser and refused by the other


@both_loaders
def test_depth_is_bounded(loader):
    assert parse("[" * DEPTH_LEVELS + "]" * DEPTH_LEVELS, loader) is not None
    assert "nested deeper" in failure("[" * (DEPTH_LEVELS + 1) + "]" * (DEPTH_LEVELS + 1), loader).cause
    assert "nested deeper" in failure("{a: " * 5000, loader).cause


@both_loaders
def test_aliases_are_bounded_by_what_they_expand_to(loader):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    assert f"more than {TREE_NODES:,}" in failure("\n".join(lines), loader).cause
    assert parse("\n".join(lines[:4]), loader) is not None


def test_one_value_above_the_bound_is_refused():
    def flow(count):  # the list is a value too
        return "[" + "1," * (count - 1) + "]"

    assert parse(flow(TREE_NODES)) is not None
    assert "more than" in failure(flow(TREE_NODES + 1), LOADERS[0]).cause


def test_size_is_bounded():
    assert len(decode(b" " * TEXT_BYTES)) == TEXT_BYTES
    with pytest.raises(YamlError, match="has more than"):
        decode(b" " * (TEXT_BYTES + 1))


@pytest.mark.parametrize(
    ("data", "mark"),
    [(b"a: 1\nb: \xff\n", Mark(2, 4)), (b"a: \x00", Mark(1, 4)), ("a\nü\x85\x07".encode(), Mark(2, 3))],
)
def test_bytes_that_are_no_text_are_refused_at_their_place(data, mark):
    with pytest.raises(YamlError) as raised:
        decode(data)
    assert raised.value.mark == mark


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert decode(b"\xef\xbb\xbfa: 1") == "a: 1"
