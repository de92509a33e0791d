"""The splitter of the bulk-in stream: the same bytes, cut in every way that devices were seen to cut them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.errors import LocalProtocolError, RemoteProtocolError
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import (
    UNKNOWN_LENGTH,
    Container,
    ContainerStream,
    DataChunk,
    DataEnd,
    DataStart,
    StreamEvent,
    decode_event,
    encode_header,
    needs_zero_length_packet,
    parameter,
)
from protocol import strategies

OK = Container(ContainerType.RESPONSE, Response.OK, 7)


@dataclass(frozen=True)
class Data:
    """A data container, for the tests' own use."""

    code: int
    transaction_id: int
    payload: bytes

    def encode(self) -> bytes:
        header = encode_header(ContainerType.DATA, self.code, self.transaction_id, len(self.payload))
        return header + self.payload


datas = st.builds(Data, strategies.u16, strategies.u32, st.binary(max_size=300))
sequences = st.lists(strategies.containers | datas, max_size=6)


def pull(stream: ContainerStream) -> list[StreamEvent]:
    events = []
    while (event := stream.next_event()) is not None:
        events.append(event)
    return events


def feed(
    transfers: Iterable[bytes], *, short: bool = False
) -> tuple[list[Container | Data], ContainerStream]:
    """Feed all transfers, pulling after each; put the chunks of a payload together again."""
    stream = ContainerStream()
    found: list[Container | Data] = []
    start, payload = DataStart(0, 0, 0), b""
    for transfer in transfers:
        stream.feed(memoryview(transfer), short=short)
        for event in pull(stream):
            match event:
                case Container():
                    found.append(event)
                case DataStart():
                    start, payload = event, b""
                case DataChunk(data):
                    assert len(data) > 0
                    payload += data
                case DataEnd():
                    assert start.length in {None, len(payload)}
                    found.append(Data(start.code, start.transaction_id, payload))
    return found, stream


def whole(parts: Iterable[Container | Data]) -> bytes:
    return b"".join(part.encode() for part in parts)


@given(sequences)
def test_one_transfer_each(parts: list[Container | Data]) -> None:
    """As a well-behaved device sends them, each ending short."""
    found, stream = feed((part.encode() for part in parts), short=True)
    assert found == parts
    assert stream.idle


@given(sequences)
def test_all_glued(parts: list[Container | Data]) -> None:
    """Everything in one transfer (Samsung YP-T9 glues data and response)."""
    found, stream = feed([whole(parts)])
    assert found == parts
    assert stream.idle


@given(sequences)
def test_byte_by_byte(parts: list[Container | Data]) -> None:
    """No cut is special."""
    data = whole(parts)
    found, stream = feed(data[i : i + 1] for i in range(len(data)))
    assert found == parts
    assert stream.idle


@given(sequences, st.data())
def test_split_at_random(parts: list[Container | Data], data: st.DataObject) -> None:
    """Reads that are full, so that nothing ends where they end."""
    stream = whole(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found, splitter = feed(pieces)
    assert found == parts
    assert splitter.idle


@given(sequences, st.binary(min_size=1, max_size=11).filter(any))
def test_trailing_bytes_wait(parts: list[Container | Data], tail: bytes) -> None:
    """The beginning of the next container is kept until it can be understood."""
    found, stream = feed([whole(parts) + tail])
    assert found == parts
    assert not stream.idle
    assert stream.needed == 12 - len(tail)


@given(datas)
def test_zero_length_packets_change_nothing(data: Data) -> None:
    """Before, between and behind: a zero-length packet carries no meaning when the length is known."""
    found, stream = feed([b"", data.encode(), b"", b"", OK.encode(), b""], short=True)
    assert found == [data, OK]
    assert stream.idle


@given(datas, strategies.u8.map(lambda n: bytes([n])))
def test_pad_byte_in_its_own_transfer(data: Data, pad: bytes) -> None:
    """A full read of the data, then the byte that stands for the zero-length packet (iRiver)."""
    stream = ContainerStream()
    stream.feed(memoryview(data.encode()), short=False)
    pull(stream)
    stream.feed(memoryview(pad), short=True)
    assert pull(stream) == []
    stream.feed(memoryview(OK.encode()), short=True)
    assert pull(stream) == [OK]


@given(datas, strategies.u8.map(lambda n: bytes([n])))
def test_pad_byte_behind_the_data(data: Data, pad: bytes) -> None:
    """The same byte, read together with the data because the buffer had room."""
    found, stream = feed([data.encode() + pad, OK.encode()], short=True)
    assert found == [data, OK]
    assert stream.idle


@given(datas, st.integers(1, 11))
def test_zero_junk_before_the_response(data: Data, count: int) -> None:
    """Samsung YP-U3 sends a few zero bytes first."""
    found, stream = feed([data.encode(), bytes(count), OK.encode()], short=True)
    assert found == [data, OK]
    assert stream.idle


@given(datas)
def test_split_header(data: Data) -> None:
    """The header in a transfer of its own (Windows Phone)."""
    encoded = data.encode()
    found, _ = feed([encoded[:12], encoded[12:], OK.encode()], short=True)
    assert found == [data, OK]


def _unknown(payload: bytes) -> bytes:
    return UNKNOWN_LENGTH.to_bytes(4, "little") + Data(0x1009, 7, payload).encode()[4:]


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=4))
def test_unknown_length_ends_with_a_short_transfer(pieces: list[bytes]) -> None:
    """4 GiB and more: full reads belong to the data, the short one ends it."""
    stream = ContainerStream()
    events: list[StreamEvent] = []
    transfers = [_unknown(pieces[0]), *pieces[1:]]
    for number, transfer in enumerate(transfers, 1):
        stream.feed(memoryview(transfer), short=number == len(transfers))
        assert stream.needed is None or number == len(transfers) or events == []
        events += pull(stream)
    assert events[0] == DataStart(0x1009, 7, None)
    assert b"".join(event.data for event in events if isinstance(event, DataChunk)) == b"".join(pieces)
    assert events[-1] == DataEnd()
    stream.feed(memoryview(OK.encode()), short=True)
    assert pull(stream) == [OK]


@pytest.mark.parametrize("header_alone", [False, True])
def test_unknown_length_ends_with_a_zero_length_packet(header_alone: bool) -> None:
    """An exact multiple of packets: only the empty transfer behind it tells that this was all."""
    stream, encoded = ContainerStream(), _unknown(b"abc")
    if header_alone:
        stream.feed(memoryview(encoded[:12]), short=True)
        assert pull(stream) == [DataStart(0x1009, 7, None)]
        encoded = encoded[12:]
    stream.feed(memoryview(encoded), short=False)
    assert DataEnd() not in pull(stream)
    assert stream.needed is None
    stream.feed(memoryview(b""), short=True)
    assert pull(stream) == [DataEnd()]
    assert stream.idle


def test_unknown_length_ended_by_the_caller() -> None:
    """Where the size was known otherwise, surplus bytes are the next container."""
    stream = ContainerStream()
    stream.feed(memoryview(_unknown(b"abc")), short=False)
    assert pull(stream) == [DataStart(0x1009, 7, None), DataChunk(memoryview(b"abc"))]
    stream.end_data()
    stream.feed(memoryview(OK.encode()), short=True)
    assert pull(stream) == [DataEnd(), OK]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"\x0b\0\0\0\x03\0\x01\x20\0\0\0\0", "length 11"),
        (b"\x0c\0\0\0\x05\0\x01\x20\0\0\0\0", "type 5"),
        (b"\x24\0\0\0\x03\0\x01\x20\0\0\0\0", "36 bytes"),
        (b"\xff\xff\xff\xff\x03\0\x01\x20\0\0\0\0", "bytes"),
    ],
)
def test_impossible_headers(header: bytes, message: str) -> None:
    """Out of step: an error at once, no wait for gigabytes that never come."""
    stream = ContainerStream()
    stream.feed(memoryview(header), short=True)
    with pytest.raises(RemoteProtocolError, match=message):
        stream.next_event()
    stream.clear()
    stream.feed(memoryview(OK.encode()), short=True)
    assert stream.next_event() == OK


def test_needed_counts_down() -> None:
    """The reader learns how much to ask for: the rest of the header, then of the payload."""
    stream = ContainerStream()
    assert stream.needed == 12
    encoded = Data(0x1009, 7, b"x" * 100).encode()
    stream.feed(memoryview(encoded[:5]), short=False)
    assert stream.needed == 7
    stream.feed(memoryview(encoded[5:20]), short=False)
    assert stream.next_event() == DataStart(0x1009, 7, 100)
    assert stream.needed == 92


def test_payload_is_not_copied() -> None:
    """The chunk is the caller's buffer itself."""
    buffer = bytearray(Data(0x1009, 7, b"x" * 100).encode())
    stream = ContainerStream()
    stream.feed(memoryview(buffer), short=True)
    stream.next_event()
    chunk = stream.next_event()
    assert isinstance(chunk, DataChunk)
    assert chunk.data.obj is buffer


def test_too_many_parameters() -> None:
    """Six are one more than the container holds."""
    with pytest.raises(LocalProtocolError):
        Container(ContainerType.COMMAND, Operation.GetObject, 1, (0,) * 6).encode()


@pytest.mark.parametrize("number", [-1, 1 << 32])
def test_parameters_are_unsigned_32_bit(number: int) -> None:
    with pytest.raises(LocalProtocolError):
        Container(ContainerType.COMMAND, Operation.GetObject, 1, (number,)).encode()


def test_lengths_from_4_gib_on_are_unknown() -> None:
    """The largest length that can be said, and the first that can't."""
    limit = UNKNOWN_LENGTH - 12
    assert encode_header(ContainerType.DATA, 0x1009, 1, limit - 1)[:4] == b"\xfe\xff\xff\xff"
    for payload in (limit, limit + 1, 1 << 40):
        assert encode_header(ContainerType.DATA, 0x1009, 1, payload)[:4] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize("size", [500, 1012, 16372, 1048564])
def test_zero_length_packet_exactly_after_whole_packets(size: int) -> None:
    """The payloads that hang a phone when the packet is forgotten; and none after a bare header."""
    assert needs_zero_length_packet(12 + size, 512)
    assert not needs_zero_length_packet(12 + size + 1, 512)
    assert not needs_zero_length_packet(12, 512)
    assert not needs_zero_length_packet(0, 512)


def test_absent_parameters_are_zero() -> None:
    assert parameter((5,), 0) == 5
    assert parameter((5,), 1) == 0


def test_short_events() -> None:
    """Real devices cut the transaction id off, or claim a length they don't send."""
    assert decode_event(bytes.fromhex("0800000004000240")) == Container(ContainerType.EVENT, 0x4002, 0)
    claimed = bytes.fromhex("18000000040002400900000078000000")
    assert decode_event(claimed) == Container(ContainerType.EVENT, 0x4002, 9, (0x78,))


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0\x04\0\x02", bytes.fromhex("0c0000000300012001000000")])
def test_what_is_no_event(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_event(data)
