"""The Huffman code: RFC 7541's examples and each symbol, and that a string has one coded form only."""

from importlib.util import find_spec, module_from_spec

import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from gateway.http.huffman import HuffmanError, decode_huffman

EOS = 256


def coded(*symbols, padding=None):
    """The codes one after the other, filled up with ones, or the bits `padding` behind them."""
    bits = "".join(f"{REQUEST_CODES[symbol]:0{REQUEST_CODES_LENGTH[symbol]}b}" for symbol in symbols)
    bits += "1" * (-len(bits) % 8) if padding is None else padding
    return int(bits or "0", 2).to_bytes(len(bits) // 8)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("25a849e95ba97d7f", b"custom-key"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        ("", b""),
    ],
)
def test_examples_of_the_rfc(data, text):
    assert decode_huffman(bytes.fromhex(data)) == text


def test_every_symbol_beside_every_length_of_padding():
    for symbol in range(256):
        for before in range(8):
            symbols = (*b"0" * before, symbol)
            assert decode_huffman(coded(*symbols)) == bytes(symbols)


def test_padding_is_at_most_seven_bits():
    assert decode_huffman(coded(*b"0" * 5, padding="1" * 7)) == b"00000"  # 25 bits and 7
    for data in (coded(*b"&", padding="1" * 8), coded(*b"00000", padding="1" * 15), b"\xff", b"\xff\xff\xff"):
        with pytest.raises(HuffmanError):
            decode_huffman(data)


@pytest.mark.parametrize(
    ("text", "padding"),
    [(b":", "0"), (b"0", "110"), (b"0", "101"), (b"00000", "0000001"), (b"00000", "1111110"), (b"000", "0")],
)
def test_padding_is_all_ones(text, padding):
    with pytest.raises(HuffmanError):
        decode_huffman(coded(*text, padding=padding))


def test_the_end_of_string_never_occurs():
    for before in range(8):
        for after in (b"", b"0"):
            with pytest.raises(HuffmanError):
                decode_huffman(coded(*b"0" * before, EOS, *after))


def test_a_long_string():
    text = bytes(range(256)) * 50
    assert decode_huffman(coded(*text)) == text


def test_states_that_were_not_needed_before():
    """Each is made in the middle of a string, which is then read on from there."""
    spec = find_spec("gateway.http.huffman")
    fresh = module_from_spec(spec)
    spec.loader.exec_module(fresh)
    text = b"a" * 1000 + bytes(range(256))
    made = []
    fill = fresh._Node.fill
    fresh._Node.fill = lambda node: (made.append(node), fill(node))
    assert fresh.decode_huffman(coded(*text)) == text
    assert fresh.decode_huffman(coded(*text)) == text
    assert len(made) == len(set(made)) > 50
