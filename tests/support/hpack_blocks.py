"""Field blocks in every representation that HPACK has, and the same with faults in them.

`Blocks(random)` draws from the random numbers that it is given, so that a seed makes the same ones in every run.
"""

from __future__ import annotations

from random import Random

from hpack.hpack import encode_integer
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
NAMES = (b":path", b"cookie", b"x-forwarded-for", b"accept-language", b"a", b"", b"\xff\x00")
VALUES = (
    *(b"", b"/webmail/?_task=mail&_mbox=INBOX", b"de,en;q=0.7", b"0", b"\x00\x01\xfe\xff", bytes(range(256))),
    *(b"roundcube_sessid=k2b5vq9l0f3o8m1t7n4c6d", b"v" * 126, b"v" * 127, b"v" * 128, b"v" * 4100),
)
# Of tables: bounds, what is around them, what is far beyond them.
SIZES = (0, 1, 30, 31, 32, 33, 34, 64, 100, 158, 159, 4095, 4096)
INDEXES = (0, 1, 14, 15, 16, 31, 61, 62, 63, 64, 65, 70, 126, 127, 128, 189, 190, 2**14, 2**28)
MAX_FIELDS = 8
MAX_FAULTS = 3


def integer(number: int, first: int, bits: int) -> bytes:
    octets = encode_integer(number, bits)
    octets[0] |= first
    return bytes(octets)


class Blocks:
    def __init__(self, random: Random) -> None:
        self._random = random

    def block(self) -> bytes:
        """A block as an encoder may write it, but for indexes that may be outside of the tables."""
        random = self._random
        updates = random.choices((0, 1, 2, 3), (90, 6, 3, 1))[0]
        return b"".join(
            (
                *(
                    integer(random.choice(SIZES + (4097, 2**28, 2**34) * (random.random() < 0.1)), 0x20, 5)
                    for _ in range(updates)
                ),
                *(self._field() for _ in range(random.randint(0, MAX_FIELDS))),
            )
        )

    def mutated(self) -> bytes:
        """A block with octets and bits changed, put in, left out, repeated or cut off."""
        random = self._random
        data = bytearray(self.block())
        for _ in range(random.randint(1, MAX_FAULTS)):
            at = random.randrange(len(data) + 1)
            match random.randrange(7):
                case 0:
                    data[at : at + 1] = bytes((random.randrange(256),))
                case 1 | 2:
                    data[at : at + 1] = bytes(b ^ 1 << random.randrange(8) for b in data[at : at + 1])
                case 3:
                    data[at:at] = random.choice((b"\xff", b"\x80", b"\x20", b"\x3f", random.randbytes(2)))
                case 4:
                    del data[at : at + random.randint(1, 4)]
                case 5:
                    data[at:at] = data[at : at + random.randint(1, 20)] * random.randint(1, 4)
                case _:
                    del data[at:]
        return bytes(data)

    def _field(self) -> bytes:
        random = self._random
        if random.random() < 0.4:
            return integer(self._index(), 0x80, 7)
        first, bits = random.choice(((0x40, 6), (0x40, 6), (0x00, 4), (0x10, 4)))
        if random.random() < 0.5:
            return integer(self._index(), first, bits) + self._string(random.choice(VALUES))
        return bytes((first,)) + self._string(random.choice(NAMES)) + self._string(random.choice(VALUES))

    def _index(self) -> int:
        random = self._random
        chance = random.random()
        if chance < 0.02:
            return random.choice(INDEXES)
        return random.randint(62, 64) if chance < 0.3 else random.randint(1, 61)

    def _string(self, text: bytes) -> bytes:
        random = self._random
        if random.random() < 0.1:
            text = random.randbytes(random.randrange(12))
        if random.random() < 0.5:
            return integer(len(text), 0x00, 7) + text
        coded = _coded(text)
        if random.random() < 0.02:  # padding of more than seven bits
            coded += b"\xff"
        return integer(len(coded), 0x80, 7) + coded


_known: dict[bytes, bytes] = {}


def _coded(text: bytes) -> bytes:
    if text not in VALUES:
        return _huffman.encode(text)
    if text not in _known:
        _known[text] = _huffman.encode(text)
    return _known[text]
