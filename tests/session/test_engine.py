"""One transaction over a scripted wire: what counts as short, as broken off inside a data phase, and as ours."""

from __future__ import annotations

from array import array
from collections import deque
from typing import cast

import pytest

from mtpfs.errors import RemoteProtocolError, TransportError, TransportTimeoutError
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import HEADER_SIZE, Container, encode_header
from mtpfs.session import DataSource
from mtpfs.session.engine import LARGE_TRANSFER, SLICE, SMALL, Engine, Phase
from mtpfs.transport import Buffer, Transport

PACKET = 512
TIMEOUT = 60.0  # seconds, many slices
UNKNOWN_LENGTH = 0xFFFFFFFF


class Wire:
    """A device that sends `incoming`, a transfer for each read, and takes everything; with a clock of its own."""

    name = "wire"
    max_packet = PACKET

    def __init__(self, *incoming: bytes) -> None:
        self.incoming = deque(incoming)
        self.sent = bytearray()
        self.takes = True
        self.late = False
        """Whether a transfer comes at the end of the time that is given to it."""
        self._now = 100.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def write(self, data: Buffer, timeout: float) -> int:
        if not self.takes:
            self._now += timeout
            raise TransportTimeoutError("full")
        self.sent += memoryview(data).cast("B")
        return memoryview(data).nbytes

    def read(self, buffer: array[int], timeout: float) -> int:
        if self.late or not self.incoming:
            self._now += timeout
        if not self.incoming:
            raise TransportTimeoutError("silent")
        piece = self.incoming.popleft()
        if len(piece) > len(buffer):
            piece, rest = piece[: len(buffer)], piece[len(buffer) :]
            self.incoming.appendleft(rest)
        memoryview(buffer)[: len(piece)] = array("B", piece)
        return len(piece)


def engine(*incoming: bytes) -> tuple[Engine, Wire]:
    wire = Wire(*incoming)
    return Engine(cast(Transport, wire)), wire


def response(number: int = 0, code: Response = Response.OK) -> bytes:
    return Container(ContainerType.RESPONSE, code, number, ()).encode()


@pytest.mark.parametrize(
    ("size", "late", "short"),
    [
        (PACKET, False, True),
        (2 * PACKET - 1, False, True),
        (2 * PACKET - 1, True, True),
        (2 * PACKET, True, False),  # it may go on: nothing has ended it but the clock
        (SMALL + PACKET, False, False),
        (SMALL + PACKET, True, False),
    ],
)
def test_short_transfers(size: int, late: bool, short: bool) -> None:
    """Less than was asked for ends a transfer, but for whole packets at which time was up."""
    tested, wire = engine(bytes(size))
    wire.late = late
    data, was_short = tested.read_transfer(SMALL, TIMEOUT)
    assert (len(data), was_short) == (size, short)
    assert tested.bytes_in == size


@pytest.mark.parametrize(
    "size", [1, 1000, SMALL, LARGE_TRANSFER, LARGE_TRANSFER + 1, 2 * LARGE_TRANSFER + SMALL]
)
def test_data_of_unknown_length(size: int) -> None:
    """It ends where a transfer ends, however many reads that takes."""
    payload = bytes(range(256)) * (size // 256 + 1)
    header = encode_header(ContainerType.DATA, Operation.GetObject, 0, 0)[4:]
    data = UNKNOWN_LENGTH.to_bytes(4, "little") + header + payload[:size]
    tested, _ = engine(data, *([b""] if len(data) % PACKET == 0 else []), response())
    result = tested.transact(Operation.GetObject, limit=1 << 30, expected=size)
    assert bytes(result.data) == payload[:size]
    assert tested.in_step


@pytest.mark.parametrize(
    "size", [1, SMALL, LARGE_TRANSFER - HEADER_SIZE, LARGE_TRANSFER + 1, 2 * LARGE_TRANSFER + 77]
)
def test_data_that_is_sent(size: int) -> None:
    """The bytes on the wire are the header and the source's, whatever pieces they go in."""
    payload = (bytes(range(251)) * (size // 251 + 1))[:size]

    def fill(offset: int, room: memoryview) -> int:
        piece = payload[offset : offset + len(room)]
        room[: len(piece)] = piece
        return len(piece)

    tested, wire = engine()
    command = Container(ContainerType.COMMAND, Operation.SendObject, 0, ()).encode()
    with pytest.raises(TransportTimeoutError):  # it never answers: an answer would end the sending
        tested.transact(Operation.SendObject, data=DataSource(size, fill), timeout=TIMEOUT)
    header = encode_header(ContainerType.DATA, Operation.SendObject, 0, size)
    assert bytes(wire.sent) == command + header + payload
    assert tested.bytes_out == len(wire.sent)


def test_silence_after_the_data() -> None:
    """A device that has all the data and doesn't answer is in no data phase: a Cancel would do harm."""
    tested, _ = engine()
    with pytest.raises(TransportTimeoutError):
        tested.transact(Operation.SendObject, data=b"data", timeout=TIMEOUT)
    assert not tested.in_step
    assert not tested.in_data_phase


def test_silence_in_the_data() -> None:
    """A device that falls silent inside its data is in its data phase."""
    tested, _ = engine(
        encode_header(ContainerType.DATA, Operation.GetObject, 0, 5000) + bytes(PACKET - HEADER_SIZE)
    )
    with pytest.raises(TransportTimeoutError):
        tested.transact(Operation.GetObject, timeout=TIMEOUT)
    assert not tested.in_step
    assert tested.in_data_phase


@pytest.mark.parametrize("takes", [True, False])
def test_hurry(takes: bool) -> None:
    """Who is in a hurry waits one slice for a device that doesn't answer, or takes nothing; with time, all of it."""
    for hurried in (True, False):
        tested, wire = engine()
        wire.takes = takes
        if hurried:
            tested.hurry()
        assert tested.hurried is hurried
        before = wire.monotonic()
        with pytest.raises(TransportTimeoutError):
            tested.transact(Operation.GetDeviceInfo, timeout=TIMEOUT)
        waited = wire.monotonic() - before
        assert waited < 2 * SLICE if hurried else waited >= TIMEOUT
        tested.take_time()
        assert not tested.hurried


def test_out_of_step() -> None:
    """What falls out of step refuses transactions, without a byte on the wire, until a step is assumed."""
    tested, wire = engine(response())
    tested.fall_out_of_step()
    assert not tested.in_step
    with pytest.raises(TransportError, match="out of step"):
        tested.transact(Operation.GetDeviceInfo)
    assert not wire.sent
    tested.assume_step()
    assert tested.transact(Operation.GetDeviceInfo).parameters == ()


def test_data_phase_that_is_over() -> None:
    """A data phase that was told of by a Cancel isn't one any more."""
    tested, _ = engine()
    tested.enter(Phase.COMMAND)
    tested.enter(Phase.SENDING)
    assert tested.in_data_phase
    tested.fall_out_of_step()
    assert not tested.in_data_phase


def test_end_of_a_session() -> None:
    """Leica answers the end of a session with transaction 0; nothing else may."""
    tested, _ = engine(response(), response(1), response(0))
    tested.transact(Operation.OpenSession, 1)
    tested.transact(Operation.GetDeviceInfo)
    tested.transact(Operation.CloseSession)
    tested, _ = engine(response(), response(1), response(0))
    tested.transact(Operation.OpenSession, 1)
    tested.transact(Operation.GetDeviceInfo)
    with pytest.raises(TransportTimeoutError):
        tested.transact(Operation.GetDeviceInfo, timeout=TIMEOUT)


def test_only_leftovers() -> None:
    """A device that sends nothing but answers to what was never asked is given up."""
    tested, _ = engine(*[response(7)] * 100)
    with pytest.raises(RemoteProtocolError):
        tested.transact(Operation.GetDeviceInfo, timeout=TIMEOUT)
    assert not tested.in_step


def test_bytes_that_lead_nowhere() -> None:
    """A device that sends a little now and then is given up, though each transfer comes in time."""
    tested, wire = engine(
        encode_header(ContainerType.DATA, Operation.GetObject, 0, 1 << 20) + bytes(PACKET - HEADER_SIZE),
        *[bytes(PACKET)] * 500,
    )
    wire.late = True
    before = wire.monotonic()
    with pytest.raises(TransportTimeoutError):
        tested.transact(Operation.GetObject, timeout=TIMEOUT, limit=1 << 20)
    assert wire.monotonic() - before < 3 * TIMEOUT
    assert wire.incoming


def test_leftovers_while_sending() -> None:
    """Data of an earlier transaction doesn't end the data phase: when the device takes no more, it may be told."""
    tested, wire = engine(response(), response(1))
    tested.transact(Operation.OpenSession, 1)
    tested.transact(Operation.GetDeviceInfo)
    wire.incoming.append(encode_header(ContainerType.DATA, Operation.GetObject, 1, 4) + b"data")

    def fill(_offset: int, room: memoryview) -> int:
        wire.takes = len(wire.sent) < LARGE_TRANSFER
        return len(room)

    with pytest.raises(TransportTimeoutError):
        tested.transact(Operation.SendObject, data=DataSource(3 * LARGE_TRANSFER, fill), timeout=TIMEOUT)
    assert tested.in_data_phase
    assert not wire.incoming


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("beyond", [0, 1])
def test_limit(is_told: bool, beyond: int) -> None:
    """As many bytes as are allowed are taken, and not one more, whether their number is announced or not."""
    limit = 1000
    header = encode_header(ContainerType.DATA, Operation.GetDeviceInfo, 0, limit + beyond)
    if not is_told:
        header = UNKNOWN_LENGTH.to_bytes(4, "little") + header[4:]
    tested, _ = engine(header + bytes(limit + beyond), response())
    if beyond:
        with pytest.raises(RemoteProtocolError, match="allowed" if is_told else "more than"):
            tested.transact(Operation.GetDeviceInfo, limit=limit)
    else:
        assert len(tested.transact(Operation.GetDeviceInfo, limit=limit).data) == limit


def test_nothing_is_sent_out_of_step() -> None:
    """A command on a wire in an unknown state would be taken for data, or the other way round."""
    tested, wire = engine(response())
    tested.fall_out_of_step()
    with pytest.raises(TransportError):
        tested.transact(Operation.GetDeviceInfo)
    assert not wire.sent
    assert not tested.operations


def test_phases_follow_each_other() -> None:
    """A step that no transaction makes is a mistake of ours, and heard of."""
    tested, _ = engine()
    with pytest.raises(AssertionError):
        tested.enter(Phase.RECEIVING)
