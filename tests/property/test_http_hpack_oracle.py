"""hpack, another implementation, reads and writes the same: the same fields, or an error in both."""

import contextlib
import os
from random import Random

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hpack_blocks import SIZES, Blocks

from gateway.http.hpack import NEVER_INDEXED, STATIC_TABLE, Decoder, Encoder, HeaderListTooLarge, HpackError

# What we refuse and hpack reads, and why.
STRICTER = {
    # hpack reads five octets: 32 GiB, or small numbers with zeros behind them.
    "an integer has more than 4 octets after its first",
    # RFC 7541 4.2: an encoder sends at most the smallest size and the last.
    "more than 2 changes of the table's size",
}
NO_LIMIT = 2**40
SOAKED = os.environ.get("SOAK_SEEDS", "")
BLOCKS = 100_000 if SOAKED else 1000  # in each of ten parts
BLOCKS_OF_A_CONNECTION = 20

names = st.one_of(
    st.sampled_from([name for name, _ in STATIC_TABLE]), st.sampled_from((b"x-a", b"x-b")), st.binary(max_size=40)
)
values = st.one_of(
    st.sampled_from([value for _, value in STATIC_TABLE]), st.sampled_from((b"", b"1", b"2")), st.binary(max_size=300)
)
fields = st.one_of(st.sampled_from(STATIC_TABLE), st.tuples(names, values))
lists = st.lists(fields, max_size=8).flatmap(
    lambda few: st.lists(st.sampled_from(few), max_size=20) if few else st.just([])
)
sizes = st.one_of(st.sampled_from(SIZES), st.integers(0, 5000))


def limitless(table_bytes=4096):
    return Decoder(max_table_bytes=table_bytes, max_list_bytes=NO_LIMIT, max_fields=NO_LIMIT)


def they_read(decoder, block):
    return [tuple(field) for field in decoder.decode(block, raw=True)]


def compare(blocks, table_bytes=4096):
    """Both read the blocks of a connection; returns how many blocks there were until an error."""
    ours, theirs = limitless(table_bytes), hpack.Decoder(NO_LIMIT)
    theirs.max_allowed_table_size = table_bytes
    count = 0
    for block in blocks:
        count += 1
        cause = read = expected = None
        try:
            read = ours.decode(block)
        except HpackError as error:
            cause = error.cause
        with contextlib.suppress(hpack.HPACKError):
            expected = they_read(theirs, block)
        assert read == expected or cause in STRICTER, (cause, block.hex())
        if cause is not None:
            break
    return count


@pytest.mark.parametrize("part", range(10))
def test_mutated_blocks(part):
    """With `make soak` a million."""
    random = Random(f"{SOAKED} {part}")
    source = Blocks(random)
    count = 0
    while count < BLOCKS:
        blocks = (source.mutated() if random.random() < 0.2 else source.block() for _ in range(BLOCKS_OF_A_CONNECTION))
        count += compare(blocks, 4096 if random.random() < 0.9 else random.choice(SIZES))


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=4), sizes)
def test_any_bytes(blocks, size):
    compare(blocks)
    compare([b"\x20" + block for block in blocks], size)


@settings(max_examples=100)
@given(st.lists(st.tuples(lists, st.lists(sizes, max_size=3)), max_size=6), sizes)
def test_what_we_write(rounds, bound):
    """hpack and our own decoder read it, whatever table the peer and we allow, and however that changes."""
    encoder, theirs, ours = Encoder(max_table_bytes=bound), hpack.Decoder(NO_LIMIT), limitless(NO_LIMIT)
    for written, settings_of_peer in rounds:
        for size in settings_of_peer:
            encoder.set_table_bytes(size)
            theirs.max_allowed_table_size = size
        block = encoder.encode(written)
        assert they_read(theirs, block) == written
        assert ours.decode(block) == written
        for name, value in theirs.header_table.dynamic_entries:
            assert name not in NEVER_INDEXED, value
        assert theirs.header_table_size <= bound


@settings(max_examples=100)
@given(st.lists(st.tuples(lists, st.one_of(st.none(), sizes), st.booleans()), max_size=6))
def test_what_they_write(rounds):
    encoder, ours = hpack.Encoder(), limitless(5000)
    for written, size, is_huffman in rounds:
        if size is not None:
            encoder.header_table_size = size
        assert ours.decode(encoder.encode(written, huffman=is_huffman)) == written


@settings(max_examples=100)
@given(st.lists(lists, max_size=6), st.integers(0, 2000), st.integers(0, 20))
def test_lists_that_are_too_large_leave_the_table_in_step(rounds, max_list_bytes, max_fields):
    encoder, ours = hpack.Encoder(), Decoder(max_list_bytes=max_list_bytes, max_fields=max_fields)
    for written in rounds:
        block = encoder.encode(written)
        size = sum(len(name) + len(value) + 32 for name, value in written)
        if size > max_list_bytes or len(written) > max_fields:
            with pytest.raises(HeaderListTooLarge):
                ours.decode(block)
        else:
            assert ours.decode(block) == written
