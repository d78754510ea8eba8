"""HPACK: RFC 7541's examples, what is refused, what only ends a stream, and how the encoder keeps its table in step."""

import hpack
import pytest
from hpack.hpack import encode_integer

from gateway.errors import GatewayError
from gateway.http.hpack import (
    MAX_INTEGER_OCTETS,
    MAX_SEEN_FIELDS,
    NEVER_INDEXED,
    STATIC_TABLE,
    Decoder,
    Encoder,
    HeaderListTooLarge,
    HpackError,
)

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
HTTPS = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com")]
FOUND = [
    (b":status", b"302"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
OK = [
    (b":status", b"200"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    (b"location", b"https://www.example.com"),
    (b"content-encoding", b"gzip"),
    (b"set-cookie", COOKIE),
]
REQUESTS = [GET, [*GET, (b"cache-control", b"no-cache")], [*HTTPS, (b"custom-key", b"custom-value")]]
ANSWERS = [FOUND, [(b":status", b"307"), *FOUND[1:]], OK]
TABLE_OF_256 = b"\x3f\xe1\x01"  # the size that the answers of the RFC's examples have


def decoder(*, max_list_bytes=65536, max_fields=100, **more):
    return Decoder(max_list_bytes=max_list_bytes, max_fields=max_fields, **more)


def decode(data, **more):
    return decoder(**more).decode(bytes.fromhex(data) if isinstance(data, str) else data)


def string(text):
    return bytes(encode_integer(len(text), 7)) + text


def index(number):
    octets = encode_integer(number, 7)
    octets[0] |= 0x80
    return bytes(octets)


def literal(name, value, first=0x40):
    return bytes((first,)) + string(name) + string(value)


class TestExamplesOfTheRfc:
    @pytest.mark.parametrize(
        ("data", "field"),
        [
            ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header")),
            ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
            ("100870617373776f726406736563726574", (b"password", b"secret")),
            ("82", (b":method", b"GET")),
        ],
    )
    def test_single_fields(self, data, field):
        assert decode(data) == [field]

    @pytest.mark.parametrize(
        "blocks",
        [
            (
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ),
            (
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ),
        ],
        ids=["plain", "huffman"],
    )
    def test_requests(self, blocks):
        reader = decoder()
        assert [reader.decode(bytes.fromhex(block)) for block in blocks] == REQUESTS
        assert reader.decode(b"\xbe\xbf\xc0") == [REQUESTS[2][4], REQUESTS[1][4], GET[3]]
        with pytest.raises(HpackError):
            reader.decode(b"\xc1")

    @pytest.mark.parametrize(
        "blocks",
        [
            (
                (
                    "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e176874"
                    "7470733a2f2f7777772e6578616d706c652e636f6d"
                ),
                "4803333037c1c0bf",
                (
                    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d415344"
                    "4a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"
                ),
            ),
            (
                (
                    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9"
                    "ae82ae43d3"
                ),
                "4883640effc1c0bf",
                (
                    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b39"
                    "60d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
                ),
            ),
        ],
        ids=["plain", "huffman"],
    )
    def test_answers_in_a_table_of_256_bytes(self, blocks):
        reader = decoder()
        first, second, third = map(bytes.fromhex, blocks)
        assert [reader.decode(TABLE_OF_256 + first), reader.decode(second), reader.decode(third)] == ANSWERS
        assert reader.decode(b"\xbe\xbf\xc0") == [OK[5], OK[4], OK[2]]
        with pytest.raises(HpackError):
            reader.decode(b"\xc1")

    def test_the_static_table(self):
        assert decode(bytes(0x80 | index for index in range(1, 62))) == list(STATIC_TABLE)
        with pytest.raises(HpackError, match="an index outside of the tables"):
            decode(b"\xbe")

    def test_an_integer_of_several_octets(self):
        """1337 in a prefix of five bits."""
        assert decode(b"\x3f\x9a\x0a\x82") == [(b":method", b"GET")]
        assert decode(b"\x3f\x9a\x0a\x82", max_table_bytes=1337) == [(b":method", b"GET")]
        with pytest.raises(HpackError, match="the table is larger than its setting"):
            decode(b"\x3f\x9a\x0a\x82", max_table_bytes=1336)


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "cause"),
        [
            ("80", "an index outside of the tables"),
            ("be", "an index outside of the tables"),
            ("ff00", "an index outside of the tables"),
            ("ff80ffff7f", "an index outside of the tables"),
            ("7f0000", "an index outside of the tables"),
            ("1f2f00", "an index outside of the tables"),
            ("ff", "a block ends within a field"),
            ("ff80", "a block ends within a field"),
            ("3f", "a block ends within a field"),
            ("3fe1", "a block ends within a field"),
            ("40", "a block ends within a field"),
            ("0f", "a block ends within a field"),
            ("4001", "a block ends within a string"),
            ("400161", "a block ends within a field"),
            ("40016105", "a block ends within a string"),
            ("007fffffff7f", "a block ends within a string"),
            ("ff8080808000", "an integer has more than 4 octets after its first"),
            ("ffffffffff7f", "an integer has more than 4 octets after its first"),
            ("3f8080808000", "an integer has more than 4 octets after its first"),
            ("007f8080808000", "an integer has more than 4 octets after its first"),
            ("3fe21f", "the table is larger than its setting"),
            ("3fffffff7f", "the table is larger than its setting"),
            ("202020", "more than 2 changes of the table's size"),
            ("8220", "a change of the table's size after the start of a block"),
            ("3fe11f8220", "a change of the table's size after the start of a block"),
            ("0081ff00", "a string is not in the Huffman code"),
            ("00016181fe", "a string is not in the Huffman code"),
            ("00016184ffffffff", "a string is not in the Huffman code"),
        ],
    )
    def test_the_connection_ends(self, data, cause):
        reader = decoder()
        for block in (bytes.fromhex(data), b"\x82"):  # a second call gives the same error
            with pytest.raises(HpackError) as caught:
                reader.decode(block)
            assert caught.value.cause == cause
            assert type(caught.value) is HpackError
        assert isinstance(caught.value, GatewayError)

    def test_the_largest_of_what_is_read(self):
        padded = b"\x80" * (MAX_INTEGER_OCTETS - 1) + b"\x00"
        assert decode(b"\x3f" + padded + b"\x00\x7f" + padded + b"a" * 127 + b"\x00") == [(b"a" * 127, b"")]
        assert decode(b"\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
        assert decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]

    def test_a_table_that_is_not_reduced_to_its_setting(self):
        with pytest.raises(HpackError, match="the table was not reduced"):
            decode(b"\x82", max_table_bytes=4095)
        with pytest.raises(HpackError, match="the table was not reduced"):
            decode(b"", max_table_bytes=0)
        reader = decoder(max_table_bytes=0)
        assert reader.decode(b"\x20" + literal(b"a", b"b")) == [(b"a", b"b")]
        with pytest.raises(HpackError, match="an index outside"):
            reader.decode(b"\xbe")

    def test_a_block_without_fields(self):
        assert decode(b"") == []
        assert decode(b"\x20") == []


class TestTable:
    def test_a_table_larger_than_usual(self):
        reader = decoder(max_table_bytes=8192)
        reader.decode(b"\x3f\xe1\x3f")
        for number in range(200):  # of 41 bytes each: the newest 199 fit
            reader.decode(literal(b"n", b"%08d" % number))
        assert reader.decode(index(62) + index(62 + 198)) == [(b"n", b"00000199"), (b"n", b"00000001")]
        with pytest.raises(HpackError):
            reader.decode(index(62 + 199))

    def test_a_field_as_large_as_the_table_and_one_byte_larger(self):
        reader = decoder()
        value = b"v" * (4096 - 33)
        assert reader.decode(literal(b"b", b"c") + literal(b"a", value)) == [(b"b", b"c"), (b"a", value)]
        assert reader.decode(index(62)) == [(b"a", value)]
        assert reader.decode(literal(b"a", value + b"v")) == [(b"a", value + b"v")]
        with pytest.raises(HpackError):  # it emptied the table, which was no error
            reader.decode(index(62))

    def test_a_name_of_the_entry_that_its_field_displaces(self):
        reader = decoder()
        reader.decode(b"\x3f\x03" + literal(b"a", b"b"))  # 34 bytes: one such field
        assert reader.decode(b"\x7e\x01c") == [(b"a", b"c")]
        assert reader.decode(b"\xbe") == [(b"a", b"c")]

    def test_fields_not_indexed_and_never_indexed_change_nothing(self):
        reader = decoder()
        reader.decode(literal(b"a", b"b", 0x00) + literal(b"c", b"d", 0x10))
        with pytest.raises(HpackError):
            reader.decode(b"\xbe")

    def test_a_size_of_zero_empties_it(self):
        reader = decoder()
        reader.decode(literal(b"a", b"b"))
        assert reader.decode(b"\x20\x3f\xe1\x1f") == []
        with pytest.raises(HpackError):
            reader.decode(b"\xbe")


class TestTooLarge:
    def test_each_field_counts_with_32_octets(self):
        fields = literal(b"ab", b"cd") + literal(b"cookie", b"") * 2
        size = 36 + 2 * 38
        assert len(decode(fields, max_list_bytes=size)) == 3
        with pytest.raises(HeaderListTooLarge, match=f"header fields larger than {size - 1} bytes"):
            decode(fields, max_list_bytes=size - 1)

    def test_the_number_of_fields(self):
        crumbs = literal(b"cookie", b"") + b"\xbe" * 9
        assert decode(crumbs, max_fields=10) == [(b"cookie", b"")] * 10
        with pytest.raises(HeaderListTooLarge, match="more than 9 header fields"):
            decode(crumbs, max_fields=9)

    @pytest.mark.parametrize("limits", [{"max_list_bytes": 200}, {"max_fields": 2}])
    def test_the_table_stays_in_step(self, limits):
        reader = decoder(**limits)
        with pytest.raises(HeaderListTooLarge):
            reader.decode(literal(b"a", b"b" * 99) + literal(b"c", b"d" * 99) + literal(b"e", b"f"))
        assert reader.decode(b"\xbe") == [(b"e", b"f")]
        assert reader.decode(b"\xc0") == [(b"a", b"b" * 99)]

    def test_fields_of_a_table_are_not_copied(self):
        """What is called an HPACK bomb: many references to one large field."""
        reader = decoder(max_fields=20_000, max_list_bytes=2**31)
        reader.decode(literal(b"a", b"v" * 4000))
        fields = reader.decode(b"\xbe" * 16_384)
        assert len({id(field) for field in fields}) == 1


class Peer:
    """hpack's decoder at the other end."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.decoder = hpack.Decoder()

    def set_table_bytes(self, size):
        self.encoder.set_table_bytes(size)
        self.decoder.max_allowed_table_size = size

    def reads(self, *fields):
        """The block of these fields, which the peer reads as they are."""
        block = self.encoder.encode(fields)
        assert [tuple(field) for field in self.decoder.decode(block, raw=True)] == list(fields)
        return block


@pytest.fixture
def peer():
    return Peer(Encoder(max_table_bytes=4096))


class TestEncoder:
    def test_what_is_in_the_static_table(self, peer):
        assert peer.reads(*STATIC_TABLE) == bytes(0x80 | index for index in range(1, 62))

    def test_a_field_is_put_into_the_table_when_it_comes_again(self, peer):
        field = b"x-frame-options", b"DENY"
        assert peer.reads(field) == b"\x00\x0fx-frame-options\x04DENY"
        assert peer.reads(field) == b"\x40\x0fx-frame-options\x04DENY"
        assert peer.reads(field, (b":status", b"200"), field) == b"\xbe\x88\xbe"

    def test_names_of_the_static_table(self, peer):
        assert peer.reads((b":status", b"302")) == b"\x08\x03302"
        assert peer.reads((b":status", b"302")) == b"\x48\x03302"
        assert peer.reads((b"server", b"gateway")) == b"\x0f\x27\x07gateway"
        assert peer.reads((b"server", b"gateway")) == b"\x76\x07gateway"
        assert peer.reads((b"server", b"gateway"), (b":status", b"302")) == b"\xbe\xbf"

    @pytest.mark.parametrize("name", sorted(NEVER_INDEXED))
    def test_secrets_are_never_indexed(self, peer, name):
        blocks = [peer.reads((name, b"secret")) for _ in range(3)]
        assert blocks == [blocks[0]] * 3
        assert blocks[0][0] & 0xF0 == 0x10

    def test_values_that_never_come_again_are_not_put_into_the_table(self, peer):
        for number in range(MAX_SEEN_FIELDS + 1):
            assert peer.reads((b"x-request", b"%d" % number))[0] == 0x00
        # The first of them was forgotten, the last is known.
        assert peer.reads((b"x-request", b"0"))[0] == 0x00
        assert peer.reads((b"x-request", b"%d" % MAX_SEEN_FIELDS))[0] == 0x40

    def test_the_oldest_fields_make_room(self, peer):
        for number in range(300):
            for first in (0x00, 0x40):
                assert peer.reads((b"name", b"%060d" % number))[0] == first
        newest = [(b"name", b"%060d" % number) for number in range(299, 299 - 42, -1)]  # of 96 bytes each
        assert peer.reads(*newest) == b"".join(index(62 + place) for place in range(42))
        assert peer.reads((b"name", b"%060d" % 257))[0] == 0x00

    def test_a_field_as_large_as_the_table_and_one_byte_larger(self, peer):
        for _ in range(2):
            peer.reads((b"a", b"v" * (4096 - 33)))
        assert peer.reads((b"a", b"v" * (4096 - 33))) == b"\xbe"
        assert [peer.reads((b"a", b"v" * (4096 - 32)))[0] for _ in range(3)] == [0x00] * 3

    @pytest.mark.parametrize(
        ("sizes", "octets"),
        [
            ((4096,), ""),
            ((65536,), ""),  # we don't use more than our own bound
            ((100,), "3f45"),
            ((0,), "20"),
            ((0, 4096), "203fe11f"),
            ((0, 100), "203f45"),
            ((100, 0), "20"),
            ((100, 0, 65536), "203fe11f"),
        ],
    )
    def test_the_peers_setting(self, peer, sizes, octets):
        field = b"a", b"b"
        for _ in range(2):
            peer.reads(field)
        for size in sizes:
            peer.set_table_bytes(size)
        is_kept = min(sizes) >= 34
        assert peer.reads(field).hex() == octets + ("be" if is_kept else "0001610162")
        assert not peer.reads((b":status", b"200"))[0] & 0x60  # said once

    def test_growing_again(self, peer):
        peer.set_table_bytes(100)
        peer.reads()
        peer.set_table_bytes(200)
        assert peer.reads().hex() == "3fa901"

    def test_a_bound_of_ours(self):
        peer = Peer(Encoder(max_table_bytes=0))
        assert peer.reads((b":status", b"200")) == b"\x20\x88"
        assert [peer.reads((b"a", b"b"))[0] for _ in range(3)] == [0x00] * 3
        peer = Peer(Encoder(max_table_bytes=8192))
        assert peer.reads((b":status", b"200")) == b"\x88"
        peer.set_table_bytes(65536)
        assert peer.reads((b":status", b"200")) == b"\x3f\xe1\x3f\x88"
        for number in range(200):
            for _ in range(2):
                peer.reads((b"n", b"%04d" % number))
        assert peer.reads((b"n", b"0000")) == b"\xff\x86\x01"
