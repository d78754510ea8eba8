"""Decodes HPACK's Huffman code (RFC 7541 section 5.2 and appendix B).

Keeps true: a string has one coded form only. Padding is at most seven bits, all of them ones, and the code of the end
of string (EOS) never occurs; anything else raises `HuffmanError`.

The decoder takes a whole octet in each step. Its states are the inner nodes of the code's tree; a state is a row of 256
steps, and a last one for the end of the string. A row is filled when it is first used: reading ordinary header fields
needs about sixty of the 256 rows.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import GatewayError

# The symbols of each length of code in bits. The code is canonical: on each level of its tree, the codes that end come
# first, in the order of their symbols.
_SYMBOLS: Final = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: bytes.fromhex("80 82 83 a2 b8 c2 e0 e2"),
    21: bytes.fromhex("99 a1 a7 ac b0 b1 b3 d1 d8 d9 e3 e5 e6"),
    22: bytes.fromhex("81 84 85 86 88 92 9a 9c a0 a3 a4 a9 aa ad b2 b5 b9 ba bb bd be c4 c6 e4 e8 e9"),
    23: bytes.fromhex("01 87 89 8a 8b 8c 8d 8f 93 95 96 97 98 9b 9d 9e a5 a6 a8 ae af b4 b6 b7 bc bf c5 e7 ef"),
    24: bytes.fromhex("09 8e 90 91 94 9f ab ce d7 e1 ec ed"),
    25: bytes.fromhex("c7 cf ea eb"),
    26: bytes.fromhex("c0 c1 c8 c9 ca cd d2 d5 da db ee f0 f2 f3 ff"),
    27: bytes.fromhex("cb cc d3 d4 d6 dd de df f1 f4 f5 f6 f7 f8 fa fb fc fd fe"),
    28: bytes.fromhex("02 03 04 05 06 07 08 0b 0c 0e 0f 10 11 12 13 14 15 17 18 19 1a 1b 1c 1d 1e 1f 7f dc f9"),
    30: b"\n\r\x16",  # and EOS, whose code is all ones
}
_LONGEST_BITS: Final = max(_SYMBOLS)
_MAX_PADDING_BITS: Final = 7
_END: Final = 256  # the place in a row of the step at the end of the string

# Where a step leads to, and the symbols that it completes.
_Row = list[tuple["_Row", bytes]]


class HuffmanError(GatewayError):
    """The string is not in the Huffman code."""


class _Node:
    """An inner node of the code's tree; the way to it are the bits that were read of an unfinished code."""

    __slots__ = ("branches", "is_padding", "row")

    def __init__(self, *, is_padding: bool) -> None:
        self.branches: list[_Node | bytes | None] = []  # by the next bit; a symbol where a code ends, None for EOS
        self.is_padding = is_padding  # whether a string may end here
        self.row: _Row = []

    def fill(self) -> None:
        """Make the row's steps."""
        steps: _Row = []
        self._add_steps(self, 8, b"", steps)
        steps.append((_root.row if self.is_padding else _failed, b""))
        self.row.extend(steps)

    def _add_steps(self, at: _Node, bits: int, symbols: bytes, steps: _Row) -> None:
        """Add the steps of all octets whose last `bits` bits lead on from the node `at`."""
        if not bits:
            steps.append((at.row, symbols))
            return
        for branch in at.branches:
            if isinstance(branch, _Node):
                self._add_steps(branch, bits - 1, symbols, steps)
            elif branch is None:
                steps.extend([(_failed, b"")] * (1 << (bits - 1)))
            else:
                self._add_steps(_root, bits - 1, symbols + branch, steps)


def _tree() -> tuple[_Node, dict[int, _Node]]:
    """The root, and all inner nodes by the identity of their rows."""
    root = _Node(is_padding=True)
    nodes = {id(root.row): root}
    level = [root]
    for bits in range(1, _LONGEST_BITS + 1):
        symbols = iter(_SYMBOLS.get(bits, b""))
        parents, level = level, []
        for parent in parents:
            for bit in (0, 1):
                symbol = next(symbols, None)
                if symbol is not None:
                    parent.branches.append(bytes((symbol,)))
                elif bits == _LONGEST_BITS:
                    parent.branches.append(None)
                else:
                    is_ones = parent.is_padding and bit == 1
                    node = _Node(is_padding=is_ones and bits <= _MAX_PADDING_BITS)
                    parent.branches.append(node)
                    nodes[id(node.row)] = node
                    level.append(node)
    return root, nodes


_root, _nodes = _tree()
_failed: _Row = []
_failed.extend([(_failed, b"")] * (_END + 1))


def decode_huffman(data: bytes) -> bytes:
    """The string that `data` encodes, at most 8/5 as long. Raises `HuffmanError`."""
    row = _root.row
    symbols: list[bytes] = []  # one for each octet, mostly of one byte or none
    while True:
        try:
            for octet in data[len(symbols) :]:  # all of it, or the rest after a row was filled
                row, completed = row[octet]
                symbols.append(completed)
            row, _ = row[_END]
        except IndexError:  # a row that was not needed before
            _nodes[id(row)].fill()
        else:
            break
    if row is _failed:
        raise HuffmanError("a string is not in the Huffman code")
    return b"".join(symbols)
