"""DER that is nearly right: certificates, lists, requests and OCSP answers with one to three faults in them.

A mutation is made in the tree of elements, so that what is around it stays whole, and now and then in the bytes.
`Mutator(seed)` makes the same ones in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.x509.der import SEQUENCE, content_of, element, elements

MAX_FAULTS = 3
MAX_DEPTH = 30
MANY = 300  # more than MAX_NAMES
SHORT_BYTES = 64  # of what is repeated so often
MAX_PARTS = 500
MAX_PART_BYTES = 2048
BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, SET = 0x01, 0x02, 0x03, 0x04, 0x06, 0x31
TIMES = (0x17, 0x18)
STRINGS = (0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A, 0x1C, 0x1E)
TAGS = (*STRINGS, *TIMES, BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, 0x05, OBJECT_IDENTIFIER, 0x0A, SEQUENCE, SET)
CONTEXT_TAGS = (*range(0x80, 0x89), *range(0xA0, 0xA9))
ADDRESS = 0x87  # an iPAddress among names
NUMBERS = (b"", b"\0", b"\xff", b"\x80", b"\x7f", b"\0\0", b"\xfb", b"\1" * 21, b"\x80" + b"\0" * 40, b"\x7f" * 9)
WHEN = (
    *(b"", b"Z", b"000000000000Z", b"491231235959Z", b"500101000000Z", b"991332256199Z", b"2611240000Z"),
    *(b"00000101000000Z", b"00010101000000Z", b"99991231235959Z", b"20261124120000.5Z", b"20261124120000+0100"),
    *(b"20260230000000Z", b"-9990101000000Z", b"20261124120060Z"),
)
TEXTS = (
    b"",
    b"\0",
    b"a\0b",
    b"\xf6",
    b"\xc3\xb6",
    b"\xd8\x00",
    b"*",
    b"a" * 70,
    b" ",
    b"@",
    b"a@b@c",
    b"http://[",
    b"\xff",
)
# Of extensions, usages, access methods, attributes of names, keys, signatures, digests and policies, and wrong ones.
OIDS_IN_HEX = """
551d0e 551d0f 551d11 551d12 551d13 551d14 551d15 551d17 551d18 551d1b 551d1c 551d1d 551d1e 551d1f 551d20 551d21 551d23
551d24 551d25 551d2e 551d36 2b06010505070101 2b06010505070118 2b0601050507300105 2b06010401d679020402
2b06010401d679020403 2b0601040182371402 551d2500 2b06010505070301 2b06010505070302 2b06010505073001
2b060104018237140203 550403 550406 55042d 2a864886f70d010901 2a864886f70d010101 2a8648ce3d0201 2b6570 2b6571 2b656e
2a8648ce380401 2a864886f70d01010a 2a864886f70d01010b 2a8648ce3d040302 2a8648ce3d030107 2b8104000a 2b0e03021a
608648016503040201 551d2000 80 8001 2a ffffffffffffffffff7f
"""
OIDS = tuple(map(bytes.fromhex, OIDS_IN_HEX.split()))
ADDRESS_BYTES = (0, 1, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33)


@dataclass(eq=False)
class Node:
    """An element; `children` where it holds elements, after `prefix`."""

    tag: int
    content: bytes = b""
    children: list[Node] | None = None
    prefix: bytes = b""  # the count of unused bits, where a BIT STRING holds elements

    @property
    def der(self) -> bytes:
        if self.children is None:
            return element(self.tag, self.content)
        return element(self.tag, self.prefix + b"".join(child.der for child in self.children))

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children or ():
            yield from child.walk()


def tree(der: bytes) -> Node:
    """The one element that `der` is."""
    ((tag, content, _),) = elements(der)
    return _node(tag, content, 0)


def _node(tag: int, content: bytes, depth: int) -> Node:
    prefix = b"\0" if tag == BIT_STRING else b""
    holds = bool(tag & 0x20) or (tag in (BIT_STRING, OCTET_STRING) and content[len(prefix) :][:1] in (b"\x30", b"\x03"))
    if holds and depth < MAX_DEPTH and content.startswith(prefix):
        try:
            found = list(elements(content[len(prefix) :]))
        except ValueError:
            found = []
        if found:
            return Node(tag, children=[_node(each, inside, depth + 1) for each, inside, _ in found], prefix=prefix)
    return Node(tag, content)


def signed_again(der: bytes, key: Any) -> bytes:
    """The outermost SEQUENCE with a new signature, by an EC key, over its first element."""
    parts = list(elements(content_of(der, SEQUENCE)))
    signature = element(
        BIT_STRING, b"\0" + key.sign(parts[0][2], ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    )
    return element(
        SEQUENCE, b"".join((*(whole for _, _, whole in parts[:2]), signature, *(w for _, _, w in parts[3:])))
    )


@dataclass
class Mutator:
    """Makes mutations; what it has been given before is a source of foreign parts."""

    seed: int
    _random: random.Random = field(init=False)
    _parts: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def choose(self, items: Any) -> Any:
        return self._random.choice(items)

    def mutated(self, der: bytes) -> bytes:
        """`der` with faults in it."""
        root = tree(der)
        for _ in range(self._random.randint(1, MAX_FAULTS)):
            nodes = list(root.walk())
            node = self._random.choice(nodes)
            if len(self._parts) < MAX_PARTS and len(part := node.der) <= MAX_PART_BYTES:
                self._parts.append(part)
            self._random.choice(self._faults(node, nodes))()
        data = root.der
        return data if self._random.random() < 0.85 else self.broken(data)

    def broken(self, data: bytes) -> bytes:
        """`data` with bytes changed, put in, left out or cut off."""
        result = bytearray(data)
        for _ in range(self._random.randint(1, MAX_FAULTS)):
            at = self._random.randrange(len(result) + 1)
            match self._random.randrange(5):
                case 0 | 1:
                    result[at : at + 1] = bytes((self._random.randrange(256),))
                case 2:
                    result[at:at] = self._random.randbytes(self._random.randint(1, 4))
                case 3:
                    del result[at : at + self._random.randint(1, 4)]
                case _:
                    del result[at:]
        return bytes(result)

    def _faults(self, node: Node, nodes: list[Node]) -> list[Callable[[], None]]:
        """What can be done to this element; more than once where it is likely to find something."""
        faults = [lambda: self._tag(node), lambda: self._become(node, self._random.choice(nodes).der)]
        if self._parts:
            faults.append(lambda: self._become(node, self._random.choice(self._parts)))
        if node.children is not None:
            return [
                *faults,
                *(
                    lambda how=how: how(node.children)
                    for how in (self._leave_out, self._repeat, self._swap, self._empty)
                ),
            ]
        values = {BOOLEAN: NUMBERS, INTEGER: NUMBERS, OBJECT_IDENTIFIER: OIDS, **dict.fromkeys(TIMES, WHEN)}
        choices = values.get(node.tag, TEXTS)
        faults += [lambda: self._set(node, self._random.choice(choices))] * 3
        faults.append(lambda: self._set(node, self.broken(node.content)))
        if node.tag == ADDRESS:
            faults += [lambda: self._set(node, bytes(self._random.choice(ADDRESS_BYTES)))] * 3
        return faults

    def _tag(self, node: Node) -> None:
        node.tag = self._random.choice((*TAGS, *CONTEXT_TAGS))

    @staticmethod
    def _set(node: Node, content: bytes) -> None:
        node.content = content

    @staticmethod
    def _become(node: Node, der: bytes) -> None:
        copy = tree(der)
        node.tag, node.content, node.children, node.prefix = copy.tag, copy.content, copy.children, copy.prefix

    def _leave_out(self, children: list[Node]) -> None:
        if children:
            del children[self._random.randrange(len(children))]

    def _repeat(self, children: list[Node]) -> None:
        if children:
            child = self._random.choice(children)
            children += [child] * (self._random.choice((1, 1, MANY)) if len(child.der) <= SHORT_BYTES else 1)

    def _swap(self, children: list[Node]) -> None:
        self._random.shuffle(children)

    @staticmethod
    def _empty(children: list[Node]) -> None:
        children.clear()
