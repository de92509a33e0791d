"""PTP/IP's packets: round trips, the bytes of libgphoto2, junk, and containers on their way there and back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.errors import LocalProtocolError, RemoteProtocolError
from mtpfs.protocol.codes import ContainerType, Operation
from mtpfs.protocol.containers import (
    UNKNOWN_LENGTH,
    Container,
    ContainerStream,
    DataChunk,
    DataStart,
    encode_header,
)
from mtpfs.protocol.ptpip import (
    CHUNK,
    INIT_EVENT_ACK,
    LONGEST_NAME,
    PROBE_REQUEST,
    PROBE_RESPONSE,
    Cancel,
    DataPacket,
    InitCommandAck,
    InitCommandRequest,
    InitEventRequest,
    InitFail,
    Packer,
    Packet,
    PacketStream,
    Request,
    StartData,
    Unpacker,
    encode_answer,
)
from protocol.strategies import parameters, u16, u32

GUID = bytes(range(16))
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=LONGEST_NAME // 2)
guids = st.binary(min_size=16, max_size=16)
commands = st.builds(Container, st.just(ContainerType.COMMAND), u16, u32, parameters)
responses = st.builds(Container, st.just(ContainerType.RESPONSE), u16, u32, parameters)
events = st.builds(Container, st.just(ContainerType.EVENT), u16, u32, parameters)
packets = st.one_of(
    st.builds(InitCommandRequest, guids, names, u32),
    st.builds(InitCommandAck, u32, guids, names, u32),
    st.builds(InitEventRequest, u32),
    st.builds(InitFail, u32),
    st.builds(Request, commands, st.booleans()),
    responses,
    events,
    st.builds(StartData, u32, st.none() | st.integers(0, 2**64 - 2)),
    st.builds(Cancel, u32),
    st.sampled_from([INIT_EVENT_ACK, PROBE_REQUEST, PROBE_RESPONSE]),
)
sizes = st.integers(1, 40)


def encoded(packet: Packet) -> bytes:
    return encode_answer(packet) if isinstance(packet, Container) else packet.encode()


def data_packet(data: bytes, *, transaction: int = 7, last: bool = False) -> bytes:
    return DataPacket(transaction, len(data), last).encode() + data


def cut(data: bytes, step: int = 1 << 20, *, whole: bool = True) -> list[Packet]:
    """Return the packets in a stream of bytes that comes in pieces; the bytes of data are dropped."""
    stream, found = PacketStream(), list[Packet]()
    scratch = memoryview(bytearray(1 << 20))
    while data:
        room = stream.room(scratch)
        count = min(step, len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        packet = stream.took(count)
        if packet is not None:
            found.append(packet)
    assert stream.idle or not whole
    return found


def read(unpacker: Unpacker, arriving: bytes, size: int, step: int = 1 << 20) -> list[bytes]:
    """Return what reads into a buffer of `size` bytes give, as the transport does them."""
    reads, view, done = [], memoryview(bytearray(size)), 0
    while True:
        count, ends = unpacker.fill(view[done:])
        done += count
        if ends or done == size:
            reads.append(bytes(view[:done]))
            done = 0
            continue
        room = unpacker.room(view[done:])
        if not arriving:
            return [*reads, bytes(view[:done])] if done else reads
        count = min(step, len(room), len(arriving))
        room[:count] = arriving[:count]
        arriving = arriving[count:]
        done += unpacker.took(count)


def containers(reads: list[bytes], size: int) -> list[object]:
    """Return what a session makes of reads: data as one `bytes`."""
    stream, found = ContainerStream(), list[object]()
    for transfer in reads:
        stream.feed(memoryview(transfer), short=len(transfer) < size)
        while (event := stream.next_event()) is not None:
            if isinstance(event, DataStart):
                found.append(b"")
            elif isinstance(event, DataChunk):
                last = found.pop()
                assert isinstance(last, bytes)
                found.append(last + bytes(event.data))
            elif isinstance(event, Container):
                found.append(event)
    assert stream.idle
    return found


@given(st.lists(packets, max_size=5), sizes)
def test_round_trips(sent: list[Packet], step: int) -> None:
    """What is encoded is what is decoded, in pieces of any size."""
    assert cut(b"".join(map(encoded, sent)), step) == sent


def test_the_bytes_of_libgphoto2() -> None:
    """The first packets of a connection, as libgphoto2 writes them."""
    assert InitCommandRequest(GUID, "ab").encode() == (
        bytes.fromhex("22000000 01000000") + GUID + bytes.fromhex("6100 6200 0000 00000100")
    )
    assert InitEventRequest(5).encode() == bytes.fromhex("0c000000 03000000 05000000")
    command = Container(ContainerType.COMMAND, Operation.OpenSession, 0, (1,))
    assert Request(command, sends_data=False).encode() == bytes.fromhex(
        "16000000 06000000 01000000 0210 00000000 01000000"
    )


def test_a_long_name_is_cut() -> None:
    (packet,) = cut(InitCommandRequest(GUID, "x" * 100).encode())
    assert isinstance(packet, InitCommandRequest)
    assert packet.name == "x" * LONGEST_NAME


@pytest.mark.parametrize(
    "tail", [b"a\0b\0", b"a\0b\0\0\0", b"a\0b\0\0\0\1\0"], ids=["no NUL", "no version", "half"]
)
def test_names_of_careless_cameras(tail: bytes) -> None:
    """A welcome without a version, or without the NUL, is one all the same."""
    body = (9).to_bytes(4, "little") + GUID + tail
    (packet,) = cut((8 + len(body)).to_bytes(4, "little") + b"\2\0\0\0" + body)
    assert isinstance(packet, InitCommandAck)
    assert (packet.connection, packet.name) == (9, "ab")


@given(st.binary(max_size=200), sizes)
def test_junk(data: bytes, step: int) -> None:
    """Packets or an error; and a stream takes no more memory, whatever it is told."""
    with suppress(RemoteProtocolError):
        assert len(cut(data, step, whole=False)) <= len(data) // 8


@given(st.lists(packets.map(encoded) | st.binary(max_size=30), max_size=8).map(b"".join), sizes, sizes)
def test_junk_for_the_unpacker(data: bytes, step: int, size: int) -> None:
    with suppress(RemoteProtocolError):
        reads = read(Unpacker(), data, size + 12, step)
        assert sum(map(len, reads)) <= len(data) + 12


@pytest.mark.parametrize(
    "data",
    [
        b"\7\0\0\0\7\0\0\0",
        b"\xff\xff\xff\xff\7\0\0\0",
        b"\x01\x04\0\0\7\0\0\0",
        b"\x0b\0\0\0\x0a\0\0\0",
        b"\x08\0\0\0\x0f\0\0\0",
        b"\x08\0\0\0\7\0\0\0",
        b"\x26\0\0\0\7\0\0\0" + bytes(30),
        b"\x10\0\0\0\2\0\0\0" + bytes(8),
    ],
    ids=["short", "huge", "too long", "data without id", "unknown", "empty", "six parameters", "half a GUID"],
)
def test_what_cant_be_a_packet(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        cut(data)


RESPONSE = Container(ContainerType.RESPONSE, 0x2001, 7)


@pytest.mark.parametrize(
    "data",
    [
        data_packet(b"x"),
        StartData(7, 4).encode() + data_packet(b"abcde"),
        StartData(7, 4).encode() + data_packet(b"abc", last=True),
        StartData(7, 4).encode() + data_packet(b"abcd", transaction=8),
        StartData(7, 4).encode() + encode_answer(RESPONSE),
        StartData(7, None).encode() + data_packet(b"a") + encode_answer(RESPONSE),
        StartData(7, 4).encode() + StartData(7, 4).encode(),
        StartData(7, 4).encode() + Cancel(7).encode(),
        InitFail(1).encode(),
        encode_answer(Container(ContainerType.EVENT, 0x4002, 7)),
    ],
    ids=[
        "unannounced",
        "too much",
        "too little",
        "of another",
        "answered in the middle",
        "answered without an end",
        "twice",
        "cancelled",
        "refused",
        "event",
    ],
)
def test_what_cant_come_now(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read(Unpacker(), data, 1 << 16)


@given(
    st.lists(st.binary(max_size=50), max_size=4),
    responses,
    st.booleans(),
    st.booleans(),
    sizes,
    st.integers(13, 80),
)
def test_answers(
    pieces: list[bytes], response: Container, known: bool, glued: bool, step: int, size: int
) -> None:
    """Data comes out whole and then the response, whatever the packets, the pieces and the buffers are."""
    total = sum(map(len, pieces))
    arriving = StartData(7, total if known else None).encode()
    arriving += b"".join(map(data_packet, pieces[:-1] if glued else pieces))
    arriving += data_packet(pieces[-1] if glued and pieces else b"", last=True)
    arriving += encode_answer(response)
    unpacker = Unpacker()
    found = containers(read(unpacker, arriving, size, step), size)
    assert found == [b"".join(pieces), response]
    assert unpacker.idle


@given(st.binary(max_size=50), sizes)
def test_the_end_of_data_may_be_missing(data: bytes, step: int) -> None:
    """A camera that says no more once everything has come is understood."""
    arriving = StartData(7, len(data)).encode() + data_packet(data) + encode_answer(RESPONSE)
    assert containers(read(Unpacker(), arriving, 100, step), 100) == [data, RESPONSE]


def test_probes_between_answers() -> None:
    reads = read(Unpacker(), PROBE_REQUEST.encode() + encode_answer(RESPONSE), 100)
    assert containers(reads, 100) == [RESPONSE]


def packed(packer: Packer, writes: list[bytes], step: int = 1 << 20) -> bytes:
    """Return what goes out for these writes, to a connection that takes `step` bytes at once."""
    out = bytearray()
    for write in writes:
        view, taken = memoryview(write), 0
        while True:
            if taken < len(view) or not view:
                taken += packer.accept(view[taken:])
            due = bytes(packer.outgoing) + bytes(view[taken : taken + packer.open])
            if not due:
                break
            out += due[:step]
            taken += packer.sent(len(due[:step]))
    return bytes(out)


@given(commands, st.binary(max_size=300), st.booleans(), st.booleans(), sizes, sizes)
def test_data_to_the_camera(
    command: Container, data: bytes, known: bool, split: bool, step: int, taken: int
) -> None:
    """What a session writes arrives as announced: all bytes, in order, the last packet marked as such."""
    packer = Packer()
    size = len(data) if known else UNKNOWN_LENGTH
    header = encode_header(ContainerType.DATA, command.code, command.transaction_id, size)
    whole = data if split else header + data
    writes = [whole[at : at + step + 12] for at in range(0, len(whole), step + 12)]
    writes = [command.encode(), *([header] if split else []), *writes, b""]
    arrived = packed(packer, writes, taken)
    assert packer.idle
    first, start, *rest = cut(arrived)
    assert first == Request(command, sends_data=True)
    assert start == StartData(command.transaction_id, len(data) if known else None)
    sizes = [packet.size for packet in rest if isinstance(packet, DataPacket)]
    assert sum(sizes) == len(data)
    assert [packet.is_last for packet in rest if isinstance(packet, DataPacket)] == [
        *[False] * (len(rest) - 1),
        True,
    ]
    received = Unpacker()
    told = b"".join(read(received, arrived[len(first.encode()) :], 1000))
    assert told[12:] == data


def test_packets_of_data_are_small() -> None:
    packer = Packer()
    packed(packer, [Container(ContainerType.COMMAND, 1, 1).encode()])
    sent = packed(packer, [encode_header(ContainerType.DATA, 1, 1, 200_000) + bytes(200_000)])
    sizes = [packet.size for packet in cut(sent) if isinstance(packet, DataPacket)]
    assert max(sizes) == CHUNK


def test_a_command_waits_for_what_follows() -> None:
    """Nothing goes out before it is known whether data follows; a command that is dropped never does."""
    packer = Packer()
    command = Container(ContainerType.COMMAND, Operation.GetDeviceInfo, 3)
    assert packed(packer, [command.encode()]) == b""
    assert packer.release() == Operation.GetDeviceInfo
    assert bytes(packer.outgoing) == Request(command, sends_data=False).encode()
    assert packer.release() is None
    packer = Packer()
    packed(packer, [command.encode()])
    packer.drop()
    assert packer.release() is None


@pytest.mark.parametrize(
    "writes",
    [[b"x"], [encode_header(ContainerType.DATA, 1, 1, 5)], [encode_header(ContainerType.RESPONSE, 1, 1, 0)]],
)
def test_what_isnt_a_container(writes: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError):
        packed(Packer(), writes)
