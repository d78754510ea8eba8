"""Header compression of HTTP/2: reads and writes field blocks (RFC 7541). Does no I/O.

Keeps true: a block is read as RFC 7541 says, or it is refused. After a refusal the connection has to end, because the
two ends no longer agree on the dynamic table. A list that is only too large doesn't end the connection: its whole block
is read first, so that the table stays the same at both ends.

Decoding allocates at most 8/5 of the block for strings and one reference for each field; fields that come from a table
are not copied. So a small block can't grow into a large list, and the caller bounds all of it by bounding the block.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import Final

from gateway.errors import GatewayError
from gateway.http.huffman import HuffmanError, decode_huffman

Field = tuple[bytes, bytes]

# RFC 7541 4.1: what a field counts for besides its name and value.
FIELD_OVERHEAD_BYTES: Final = 32
# RFC 9113 6.5.2: the size of the dynamic table until an end says otherwise.
INITIAL_TABLE_BYTES: Final = 4096
# Each octet after the first of an integer holds seven bits: four are enough for 256 MiB. Longer ones only waste time.
MAX_INTEGER_OCTETS: Final = 4
# RFC 7541 4.2: the smallest size that the table had since the last block, and its size now.
MAX_SIZE_UPDATES: Final = 2
# Fields that the encoder has seen once. A field is put into the table when it comes again, so that values which never
# come again (dates, lengths, request numbers) don't displace others.
MAX_SEEN_FIELDS: Final = 64
# Values that must be guessed to be known: never in the table, and marked so that proxies don't put them into theirs
# (RFC 7541 7.1.3).
NEVER_INDEXED: Final = frozenset(
    (b"authentication-info", b"authorization", b"cookie", b"proxy-authorization", b"set-cookie")
)

# RFC 7541 appendix A.
STATIC_TABLE: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
            b"content-disposition content-encoding content-language content-length content-location content-range "
            b"content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range "
            b"if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization "
            b"range referer refresh retry-after server set-cookie strict-transport-security transfer-encoding "
            b"user-agent vary via www-authenticate"
        ).split()
    ),
)
# Indexes begin at 1; the dynamic table follows the static one.
_FIRST_DYNAMIC: Final = len(STATIC_TABLE) + 1


class HpackError(GatewayError):
    """The block can't be read (COMPRESSION_ERROR): the connection has to end."""


class HeaderListTooLarge(HpackError):  # noqa: N818 - it is a refusal of one stream
    """The block was read, but its fields are too many or too large: only its stream is refused."""


class Decoder:
    """Reads the blocks of one connection in their order. After an error, every further call raises the same error.

    `max_table_bytes` is the gateway's SETTINGS_HEADER_TABLE_SIZE. The table begins with 4,096 bytes; where the setting
    is less, the peer has to say with its first block that the table is smaller.
    """

    __slots__ = ("_broken", "_max_fields", "_max_list_bytes", "_max_table_bytes", "_size", "_table", "_table_bytes")

    def __init__(self, *, max_table_bytes: int = INITIAL_TABLE_BYTES, max_list_bytes: int, max_fields: int) -> None:
        self._max_table_bytes = max_table_bytes
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        # By index. Nothing is at index 0, which is checked. The newest field of the dynamic table is its first.
        self._table: list[Field] = [(b"", b""), *STATIC_TABLE]
        self._table_bytes = INITIAL_TABLE_BYTES  # what it may hold
        self._size = 0  # of the dynamic table's fields
        self._broken = ""  # the cause of the error, if there was one

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a whole block. Raises `HpackError`, or `HeaderListTooLarge` where only the stream is refused.

        Each field counts with its 32 octets, and each cookie crumb is a field.
        """
        if self._broken:
            raise HpackError(self._broken)
        try:
            fields = self._fields(block)
        except HpackError as error:
            self._broken = error.cause
            raise
        except IndexError as error:  # of `block`: indexes of the table are checked
            self._broken = "a block ends within a field"
            raise HpackError(self._broken) from error
        if len(fields) > self._max_fields:
            raise HeaderListTooLarge(f"more than {self._max_fields} header fields")
        if len(fields) * FIELD_OVERHEAD_BYTES + sum(map(len, chain.from_iterable(fields))) > self._max_list_bytes:
            raise HeaderListTooLarge(f"header fields larger than {self._max_list_bytes} bytes")
        return fields

    def _fields(self, block: bytes) -> list[Field]:
        at = self._size_updates(block)
        table = self._table
        fields: list[Field] = []
        end = len(block)
        while at < end:
            first = block[at]
            at += 1
            if first < 0x80:
                field, at = self._literal(block, first, at)
                fields.append(field)
                continue
            index = first & 0x7F
            if index == 0x7F:
                index, at = _long_integer(block, at, 0x7F)
            if not 0 < index < len(table):
                raise HpackError("an index outside of the tables")
            fields.append(table[index])
        return fields

    def _size_updates(self, block: bytes) -> int:
        """Read the changes of the table's size at the start of a block (RFC 7541 4.2); returns where fields begin."""
        at = count = 0
        while at < len(block) and block[at] & 0xE0 == 0x20:
            count += 1
            if count > MAX_SIZE_UPDATES:
                raise HpackError(f"more than {MAX_SIZE_UPDATES} changes of the table's size")
            size, at = _integer(block[at] & 0x1F, block, at + 1, 0x1F)
            if size > self._max_table_bytes:
                raise HpackError("the table is larger than its setting")
            self._table_bytes = size
            self._evict(size)
        if self._table_bytes > self._max_table_bytes:
            raise HpackError("the table was not reduced to its setting")
        return at

    def _literal(self, block: bytes, first: int, at: int) -> tuple[Field, int]:
        """The field of which at least the value is a string, and where it ends (RFC 7541 6.2)."""
        is_indexed = first & 0x40
        if is_indexed:
            index, at = _integer(first & 0x3F, block, at, 0x3F)
        elif first & 0x20:
            raise HpackError("a change of the table's size after the start of a block")
        else:  # a field that is never indexed is read as one that is not
            index, at = _integer(first & 0x0F, block, at, 0x0F)
        if not index:
            name, at = _string(block, at)
        elif index < len(self._table):
            name = self._table[index][0]
        else:
            raise HpackError("an index outside of the tables")
        value, at = _string(block, at)
        field = name, value
        if is_indexed:
            self._add(field)
        return field, at

    def _add(self, field: Field) -> None:
        """Put a field into the dynamic table; one that is larger than the table only empties it (RFC 7541 4.4)."""
        size = len(field[0]) + len(field[1]) + FIELD_OVERHEAD_BYTES
        self._evict(self._table_bytes - size)
        if size <= self._table_bytes:
            self._table.insert(_FIRST_DYNAMIC, field)
            self._size += size

    def _evict(self, room_bytes: int) -> None:
        """Drop the oldest fields until the rest is not larger than `room_bytes`."""
        while self._size > room_bytes and self._size:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + FIELD_OVERHEAD_BYTES


def _integer(number: int, block: bytes, at: int, full: int) -> tuple[int, int]:
    """The integer whose first octet holds `number`, and where it ends; `full` says that more octets follow."""
    return (number, at) if number < full else _long_integer(block, at, full)


def _long_integer(block: bytes, at: int, full: int) -> tuple[int, int]:
    number = full
    for shift in range(0, 7 * MAX_INTEGER_OCTETS, 7):
        octet = block[at]
        at += 1
        number += (octet & 0x7F) << shift
        if octet < 0x80:
            return number, at
    raise HpackError(f"an integer has more than {MAX_INTEGER_OCTETS} octets after its first")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """The string at `at`, and where it ends (RFC 7541 5.2)."""
    first = block[at]
    length, at = _integer(first & 0x7F, block, at + 1, 0x7F)
    end = at + length
    if end > len(block):
        raise HpackError("a block ends within a string")
    data = block[at:end]
    if first < 0x80:
        return data, end
    try:
        return decode_huffman(data), end
    except HuffmanError as error:
        raise HpackError(error.cause) from error


class Encoder:
    """Writes the blocks of one connection in their order.

    `max_table_bytes` is the most that the gateway spends on the table, whatever the peer allows. Strings are not
    written in the Huffman code: that would take more time than the octets are worth, as fields that come again are in
    the table.
    """

    __slots__ = ("_added", "_lowest", "_max_table_bytes", "_places", "_seen", "_size", "_table_bytes", "_told_bytes")

    def __init__(self, *, max_table_bytes: int) -> None:
        self._max_table_bytes = max_table_bytes
        self._table_bytes = INITIAL_TABLE_BYTES  # what the table may hold
        self._told_bytes = INITIAL_TABLE_BYTES  # the same, as the peer knows it from the last block
        self._lowest = INITIAL_TABLE_BYTES  # the smallest of both and what was between them
        self._size = 0  # of the table's fields
        self._added = 0  # how many fields were ever put into the table
        self._places: dict[Field, int] = {}  # the table, oldest first; the value of `_added` before each field
        self._seen: set[int] = set()  # hashes of fields that came once
        self.set_table_bytes(INITIAL_TABLE_BYTES)

    def set_table_bytes(self, size_bytes: int) -> None:
        """Take the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells it the size that is used."""
        self._table_bytes = min(size_bytes, self._max_table_bytes)
        self._lowest = min(self._lowest, self._table_bytes)
        self._evict(self._table_bytes)

    def encode(self, fields: Iterable[Field]) -> bytes:
        """The block of these fields, whose names are in lower case."""
        pieces = self._size_updates()
        places = self._places
        for field in fields:
            octets = _STATIC_FIELDS.get(field)
            if octets is None:
                place = places.get(field)
                octets = self._literal(*field) if place is None else _indexed(_FIRST_DYNAMIC - 1 + self._added - place)
            pieces.append(octets)
        return b"".join(pieces)

    def _size_updates(self) -> list[bytes]:
        """What tells the peer of changes of the table's size since the last block (RFC 7541 4.2)."""
        updates = []
        if self._lowest < self._told_bytes:
            updates.append(_integer_octets(0x20, 0x1F, self._lowest))
        if self._lowest < self._table_bytes:
            updates.append(_integer_octets(0x20, 0x1F, self._table_bytes))
        self._lowest = self._told_bytes = self._table_bytes
        return updates

    def _literal(self, name: bytes, value: bytes) -> bytes:
        """A field that is not in the tables; it is put into the dynamic table when it comes for the second time."""
        index = _STATIC_NAMES.get(name, 0)
        if name in NEVER_INDEXED:
            start = _integer_octets(0x10, 0x0F, index)
        elif self._is_worth_adding(name, value):
            self._add(name, value)
            start = _integer_octets(0x40, 0x3F, index)
        else:
            start = _integer_octets(0x00, 0x0F, index)
        if not index:
            start += _integer_octets(0x00, 0x7F, len(name)) + name
        return start + _integer_octets(0x00, 0x7F, len(value)) + value

    def _is_worth_adding(self, name: bytes, value: bytes) -> bool:
        if len(name) + len(value) + FIELD_OVERHEAD_BYTES > self._table_bytes:
            return False
        seen = self._seen
        field = hash((name, value))
        if field in seen:
            seen.remove(field)
            return True
        if len(seen) >= MAX_SEEN_FIELDS:
            seen.clear()
        seen.add(field)
        return False

    def _add(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + FIELD_OVERHEAD_BYTES
        self._evict(self._table_bytes - size)
        self._size += size
        self._places[name, value] = self._added
        self._added += 1

    def _evict(self, room_bytes: int) -> None:
        while self._size > room_bytes:
            field = name, value = next(iter(self._places))
            del self._places[field]
            self._size -= len(name) + len(value) + FIELD_OVERHEAD_BYTES


def _integer_octets(first: int, full: int, number: int) -> bytes:
    """An integer (RFC 7541 5.1) behind the bits `first`; `full` is what the rest of the first octet can hold."""
    if number < full:
        return bytes((first | number,))
    octets = bytearray((first | full,))
    number -= full
    while number >= 0x80:
        octets.append(0x80 | number & 0x7F)
        number >>= 7
    octets.append(number)
    return bytes(octets)


@cache
def _indexed(index: int) -> bytes:
    """A field that is in a table; there are as many as the largest table has places."""
    return _integer_octets(0x80, 0x7F, index)


_STATIC_FIELDS: Final = {field: _indexed(index) for index, field in enumerate(STATIC_TABLE, 1)}
_STATIC_NAMES: Final = {name: index for index, (name, _) in reversed(list(enumerate(STATIC_TABLE, 1)))}
