"""YAML text as a tree in which every key and value has its line and column.

Keeps true: the tree is made from PyYAML's events, so no object is constructed from a tag, there is no
recursion, and depth, size and the expansion of aliases are limited. Scalars stay text: the schema decides what a scalar
means, not YAML (`off` stays `off`, `010` stays `010`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gateway.config.problems import START, Mark, quote
from gateway.config.yaml_hints import Stop, explain, odd_scalar

TEXT_BYTES: Final = 2 * 1024 * 1024  # some 8,000 rules; parsing is linear, 2 MiB take about a second
DEPTH_LEVELS: Final = 20  # the schema needs 6
TREE_NODES: Final = 200_000  # with every alias expanded: ten aliases of ten aliases of … end here

# What YAML 1.1 (5.1) allows in a stream; checked here so that both of PyYAML's parsers say the same.
_NOT_PRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

LOADERS: Final[tuple[Any, ...]] = tuple(
    loader for name in ("CSafeLoader", "SafeLoader") if (loader := getattr(yaml, name, None)) is not None
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value, as text."""

    mark: Mark
    text: str
    is_plain: bool = True  # without quotes; only then it can be a number, a boolean or null
    fault: tuple[str, str] | None = None  # cause and remedy, if it contains characters that look like others


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in file order, including duplicate keys."""

    mark: Mark
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


class YamlError(Exception):
    """The text is not usable YAML. The loader catches this error and reports it as a problem of the file."""

    def __init__(self, mark: Mark, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.mark = mark
        self.cause = cause
        self.remedy = remedy


@dataclass(slots=True)
class _Frame:
    """A list or mapping that has not ended yet."""

    mark: Mark
    anchor: str | None
    is_mapping: bool
    nodes: list[Node] = field(default_factory=list)  # of a mapping: keys and values alternately
    size: int = 1  # nodes in it, itself included, aliases expanded


def decode(data: bytes) -> str:
    """The file's text. Raises `YamlError` if it is too long, not UTF-8, or contains control characters."""
    if len(data) > TEXT_BYTES:
        raise YamlError(
            START,
            f"the file has more than {TEXT_BYTES:,} bytes",
            "check its name, or use fewer rules with more entries",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        raise YamlError(_position(before), "the file is not UTF-8 text", "save it as UTF-8") from error
    if found := _NOT_PRINTABLE.search(text):
        mark = _position(text[: found.start()])
        raise YamlError(mark, f"the character U+{ord(found[0]):04X} is not allowed here", "remove it")
    return text


def parse(text: str, loader: Any = LOADERS[0]) -> Node | None:
    """The tree of the only document in `text`; None if it is empty. Raises `YamlError`."""
    try:
        return _Composer().compose(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        where, begun = _mark_of(error.problem_mark) or START, _mark_of(error.context_mark)
        problem = str(error.problem or error.context)
        if (hint := explain(Stop(text.splitlines(), where, problem, begun))) is not None:
            raise YamlError(hint.mark, f"not valid YAML: {hint.cause}", hint.remedy) from error
        remedy = "check indentation, colons and quotes on this line and the one above"
        raise YamlError(where, f"not valid YAML: {problem}", remedy) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # e.g. an escape beyond Unicode in pure Python
        raise YamlError(START, "not valid YAML", "check escapes in quoted values") from error


class _Composer:
    """Builds the tree from events, with its own stack."""

    def __init__(self) -> None:
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._root: Node | None = None
        self._documents = 0

    def compose(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
            if getattr(event, "tag", None) is not None:
                raise YamlError(mark, f"the YAML tag {quote(event.tag)} is not allowed", "remove it")
            self._on_event(event, mark)
        return None if isinstance(self._root, Scalar) and not self._root.text else self._root

    def _on_event(self, event: Any, mark: Mark) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise YamlError(
                        mark,
                        "a second document begins here",
                        "remove the --- above it, or move the second document to another file",
                    )
            case yaml.ScalarEvent():
                is_plain = bool(event.implicit[0])
                where = self._key_mark(mark) if is_plain and not event.value else mark
                fault = odd_scalar(event.value, is_key=self._is_at_key()) if is_plain else None
                self._attach(Scalar(where, event.value, is_plain, fault), 1, event.anchor)
            case yaml.AliasEvent():
                self._alias(str(event.anchor), mark)
            case yaml.CollectionStartEvent():
                self._open(event, mark)
            case yaml.CollectionEndEvent():
                self._close()

    def _is_at_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_mapping and len(self._stack[-1].nodes) % 2 == 0

    def _key_mark(self, mark: Mark) -> Mark:
        """The place of an empty value: that of its key, because PyYAML's two parsers disagree on the value's place."""
        frame = self._stack[-1] if self._stack else None
        is_value = frame is not None and frame.is_mapping and len(frame.nodes) % 2 == 1
        return frame.nodes[-1].mark if frame is not None and is_value else mark

    def _open(self, event: Any, mark: Mark) -> None:
        if len(self._stack) >= DEPTH_LEVELS:
            raise YamlError(mark, f"nested deeper than {DEPTH_LEVELS} levels", "check the brackets")
        self._stack.append(_Frame(mark, event.anchor, isinstance(event, yaml.MappingStartEvent)))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.is_mapping:
            keys = [key for key in frame.nodes[::2] if isinstance(key, Scalar)]
            node: Node = Mapping(frame.mark, tuple(zip(keys, frame.nodes[1::2], strict=True)))
        else:
            node = Sequence(frame.mark, tuple(frame.nodes))
        self._attach(node, frame.size, frame.anchor)

    def _alias(self, name: str, mark: Mark) -> None:
        # An anchor is known only once its value is complete, so nothing can contain itself.
        if name not in self._anchors:
            remedy = f'put the value in quotes: "*{name:.40}", or define &{name:.40} above it'
            raise YamlError(mark, f"*{name:.40} is an alias, but &{name:.40} is not defined above it", remedy)
        node, size = self._anchors[name]
        self._attach(node, size, None)

    def _attach(self, node: Node, size: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.size += size
        if frame.size > TREE_NODES:
            raise YamlError(node.mark, f"more than {TREE_NODES:,} values", "use fewer aliases")
        if frame.is_mapping and len(frame.nodes) % 2 == 0 and not isinstance(node, Scalar):
            raise YamlError(
                node.mark,
                "this is a list or mapping, but a key is expected",
                "write a name, in quotes if it has brackets",
            )
        frame.nodes.append(node)


def _mark_of(mark: Any) -> Mark | None:
    return None if mark is None else Mark(mark.line + 1, mark.column + 1)


def _position(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
