"""GetObject, the partial reads, thumbnails, and the packets that they come in."""

from __future__ import annotations

import os
import tracemalloc
from array import array
from pathlib import Path

import pytest

from mtpfs.errors import TransportStallError, TransportTimeoutError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.transfers import FileRange, Outbox, Transfer
from virtual.conftest import Connect
from virtual.initiator import Initiator

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def file(root: Path) -> Path:
    path = root / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.usefixtures("file")
def test_get_object(connect: Connect) -> None:
    phone = connect()
    assert phone.get(Operation.GetObject, phone.handles()[0]) == CONTENT


@pytest.mark.parametrize("size", [0, 1, 499, 500, 501, 1012, 16372])
@pytest.mark.parametrize("buffer", [512, 1024, 16384, 1 << 16])
@pytest.mark.parametrize("max_packet", [64, 512])
def test_every_end_of_a_data_phase(
    connect: Connect, root: Path, size: int, buffer: int, max_packet: int
) -> None:
    """Sizes around whole packets, in reads that end before, at and behind the data."""
    (root / "file").write_bytes(CONTENT[:1] * size)
    phone = connect(buffer=buffer, max_packet=max_packet)
    assert phone.get(Operation.GetObject, phone.handles()[0]) == CONTENT[:1] * size


@pytest.mark.parametrize(
    ("size", "buffer", "transfers"),
    [
        (499, 512, [511, 12]),
        (500, 512, [512, 0, 12]),
        (500, 1024, [512, 12]),
        (1012, 1024, [1024, 0, 12]),
        (1013, 1024, [1024, 1, 12]),
        (1524, 1024, [1024, 512, 12]),
    ],
)
def test_zero_length_packets(
    connect: Connect, root: Path, size: int, buffer: int, transfers: list[int]
) -> None:
    """A read ends with a full buffer, a short packet, or the zero-length packet, which it swallows."""
    (root / "file").write_bytes(bytes(size))
    phone = connect(buffer=buffer)
    handle = phone.handles()[0]
    phone.command(Operation.GetObject, handle)
    assert [len(phone.read()) for _ in transfers] == transfers
    with pytest.raises(TransportTimeoutError):
        phone.read()


def partial(phone: Initiator, handle: int, offset: int, length: int) -> tuple[bytes, int]:
    answer = phone.do(Operation.GetPartialObject64, handle, offset & 0xFFFFFFFF, offset >> 32, length)
    assert answer.ok
    assert answer.data is not None
    return answer.data, answer.parameters[0]


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    ("offset", "length"), [(0, 5), (100, 1000), (10000, 5000), (10239, 1), (0, 0xFFFFFFFF), (5, 0)]
)
def test_partial_reads(connect: Connect, offset: int, length: int) -> None:
    """Clamped to the size; the response tells how many bytes were sent. Both operations agree."""
    phone = connect()
    (handle,) = phone.handles()
    expected = CONTENT[offset : offset + length]
    assert partial(phone, handle, offset, length) == (expected, len(expected))
    short = phone.do(Operation.GetPartialObject, handle, offset, length)
    assert (short.data, short.parameters) == (expected, (len(expected),))


@pytest.mark.usefixtures("file")
def test_at_the_end(connect: Connect) -> None:
    """At the end: no data, OK. Behind it: GeneralError without a data phase."""
    phone = connect()
    (handle,) = phone.handles()
    assert partial(phone, handle, len(CONTENT), 100) == (b"", 0)
    answer = phone.do(Operation.GetPartialObject64, handle, len(CONTENT) + 1, 0, 100)
    assert (answer.code, answer.data) == (Response.GeneralError, None)


def test_beyond_4_gib(connect: Connect, root: Path) -> None:
    """64-bit offsets; a GetObject of that size says 0xFFFFFFFF."""
    size = (4 << 30) + 1000
    with (root / "big").open("wb") as big:
        big.truncate(size)
        big.seek(size - 3)
        big.write(b"end")
    phone = connect()
    (handle,) = phone.handles()
    assert partial(phone, handle, size - 5, 100) == (b"\0\0end", 5)
    phone.command(Operation.GetObject, handle)
    assert phone.read()[:4] == b"\xff\xff\xff\xff"
    phone.transport.cancel(phone.transaction)


def test_nothing_is_held_in_memory(connect: Connect, root: Path) -> None:
    """A file of 256 MiB goes through a buffer of 1 MiB."""
    with (root / "big").open("wb") as big:
        big.truncate(256 << 20)
    phone = connect(buffer=1 << 20)
    (handle,) = phone.handles()
    tracemalloc.start()
    try:
        phone.command(Operation.GetObject, handle)
        left = (256 << 20) + 12
        while left:
            left -= phone.transport.read(phone.buffer, 1)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert len(phone.read()) == 12


def test_a_file_that_shrinks_while_it_is_sent(connect: Connect, root: Path) -> None:
    """Both endpoints stall, no response follows, and after clearing the halt all is well."""
    path = root / "file"
    path.write_bytes(bytes(100_000))
    phone = connect(buffer=1024)
    (handle,) = phone.handles()
    phone.command(Operation.GetObject, handle)
    assert len(phone.read()) == 1024
    path.write_bytes(b"")
    with pytest.raises(TransportStallError):
        phone.read()
    assert phone.transport.device_status() == Response.TransactionCancelled
    with pytest.raises(TransportStallError):
        phone.command(Operation.GetDeviceInfo)
    phone.transport.clear_halt()
    assert phone.transport.device_status() == Response.OK
    assert phone.do(Operation.GetDeviceInfo).ok


@pytest.mark.parametrize("operation", [Operation.GetObject, Operation.GetThumb])
def test_what_has_no_content(connect: Connect, root: Path, operation: int) -> None:
    """A folder's data, and a thumbnail where there is none."""
    (root / "folder").mkdir()
    phone = connect()
    answer = phone.do(operation, phone.handles()[0])
    assert (answer.code, answer.data) == (Response.GeneralError, None)
    assert phone.do(operation, 999).code == Response.InvalidObjectHandle


@pytest.mark.usefixtures("file")
def test_reading_needs_a_whole_number_of_packets(connect: Connect) -> None:
    """libusb would lose data (EOVERFLOW)."""
    phone = connect()
    with pytest.raises(ValueError, match="multiple"):
        phone.transport.read(array("B", bytes(100)), 1)


def test_glued_pieces_fill_a_read() -> None:
    """Pieces of one transfer have no boundaries of their own."""
    outbox = Outbox(512)
    outbox.put(Transfer(b"a" * 300, b"", memoryview(b"b" * 300)))
    view = memoryview(bytearray(512))
    assert outbox.fill(view) == 512
    assert bytes(view) == b"a" * 300 + b"b" * 212
    assert outbox.fill(view) == 88
    assert outbox.fill(view) is None


def test_clearing_closes_files(file: Path) -> None:
    outbox = Outbox(512)
    part = FileRange(os.open(file, os.O_RDONLY), 0, 10)
    outbox.put(Transfer(b"head", part))
    outbox.clear()
    assert part.descriptor == -1
    assert not outbox
