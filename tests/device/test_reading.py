"""Ranges: wide, then narrow, then the caller's whole fetch; and where an object ends."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from device.scripted import Answers, handle, scripted
from device.world import world
from mtpfs.device import Device, Rank, listing, reading
from mtpfs.errors import FsError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.faults import FOREVER, Fault, Kind

GIB = 1 << 30
WIDE, NARROW = Operation.GetPartialObject64, Operation.GetPartialObject
CONTENT = bytes(range(256)) * 4


def narrow(_: int, offset: int, count: int) -> bytes:
    return CONTENT[offset : offset + count]


def wide(_: int, low: int, high: int, count: int) -> bytes:
    offset = low + (high << 32)
    return CONTENT[offset : offset + count]


def tizen(_: int, offset: int, count: int, *rest: int) -> bytes:
    """The three-parameter handler: offset-high is taken for the count."""
    return CONTENT[offset : offset + count]


async def get(
    device: Device, offset: int, count: int, size: int | None = len(CONTENT), number: int = 1
) -> bytes:
    return bytes(await reading.read(device, handle(number), offset, count, size, rank=Rank.BULK))


async def fails(
    device: Device, offset: int, count: int, size: int | None = len(CONTENT), number: int = 1
) -> int:
    with pytest.raises(FsError) as caught:
        await reading.read(device, handle(number), offset, count, size, rank=Rank.BULK)
    return caught.value.errno


async def test_tizen_is_read_by_narrow_reads() -> None:
    """Wide reads that answer OK with nothing are given up when narrow ones bring data."""
    device, session = scripted({WIDE: tizen, NARROW: narrow})
    assert await get(device, 100, 300) == CONTENT[100:400]
    assert await get(device, 0, 10, number=2) == CONTENT[:10]
    assert session.count(WIDE) == 1
    assert not device.supports(WIDE)
    assert not reading.can_read_ranges(device, 5 * GIB)


async def test_nothing_brings_anything() -> None:
    """Where neither brings data the whole is fetched; after three objects nobody asks any more."""
    device, session = scripted({WIDE: b"", NARROW: b""})
    for number in (1, 2, 3, 4):
        assert await fails(device, 0, 10, number=number) == errno.EOPNOTSUPP
    assert (session.count(WIDE), session.count(NARROW)) == (3, 3)
    assert not reading.can_read_ranges(device, 10)


async def test_a_file_that_became_shorter() -> None:
    """Nothing from a device that has answered before is the file's end: an error, and nothing is given up."""
    device, _ = scripted({WIDE: wide, NARROW: narrow})
    assert await get(device, 0, 10) == CONTENT[:10]
    assert await fails(device, 1000, 100, size=2000) == errno.EIO
    assert device.supports(WIDE, NARROW)


async def test_large_files_of_a_narrow_device() -> None:
    """Below 4 GiB narrow reads are good for an object of any size, and beyond for none."""
    device, _ = scripted({NARROW: lambda _number, _offset, count: bytes(count)})
    assert reading.can_read_ranges(device, 4 * GIB - 1)
    assert not reading.can_read_ranges(device, 4 * GIB + 1)
    assert await get(device, 3 * GIB, 100, size=6 * GIB) == bytes(100)
    assert await fails(device, 5 * GIB, 100, size=6 * GIB) == errno.EOPNOTSUPP
    assert device.supports(NARROW)


@pytest.mark.parametrize("answers", [{WIDE: wide}, {NARROW: narrow}])
async def test_an_unknown_size(answers: dict[int, Answers]) -> None:
    """The device tells the end: what is asked beyond it isn't there, and is no error."""
    device, _ = scripted(answers)
    assert await get(device, 0, 1000, None) == CONTENT[:1000]
    assert await get(device, 1000, 1000, None) == CONTENT[1000:]
    assert await get(device, len(CONTENT), 10, None) == b""


async def test_an_unknown_size_and_no_data() -> None:
    """A device that never brought a byte isn't believed that an object is empty."""
    device, _ = scripted({WIDE: b""})
    assert await fails(device, 0, 10, None) == errno.EOPNOTSUPP
    assert device.supports(WIDE)


async def test_an_error_beyond_the_end() -> None:
    """InvalidParameter is how some answer beyond the end; other refusals stay errors."""
    answers: list[bytes | Response] = [CONTENT[:10], Response.InvalidParameter]
    device, _ = scripted({NARROW: [*answers]})
    assert await get(device, 0, 20, None) == CONTENT[:10]
    device, _ = scripted({NARROW: [CONTENT[:10], Response.GeneralError]})
    with pytest.raises(ResponseError):
        await get(device, 0, 20, None)
    device, _ = scripted({NARROW: [*answers]})
    with pytest.raises(ResponseError):
        await get(device, 0, 20)


async def test_on_the_virtual_phone(tmp_path: Path) -> None:
    """Short answers are completed, and a refused wide read is done by the narrow one."""
    (tmp_path / "f").write_bytes(CONTENT)
    async with world(tmp_path) as w:
        (file,) = await listing.children(w.device, w.storage.id, w.root)
        refused = Fault(Kind.REFUSE, WIDE, times=FOREVER, code=Response.OperationNotSupported)
        w.transport.faults.add(refused)
        assert (
            bytes(await reading.read(w.device, file.handle, 5, 500, file.size, rank=Rank.BULK))
            == CONTENT[5:505]
        )
        assert w.operations["GetPartialObject"] == 1
        w.transport.faults.clear()
        assert await reading.read(w.device, file.handle, 5, 500, file.size, rank=Rank.BULK) == CONTENT[5:505]
        assert w.operations["GetPartialObject"] == 1


@pytest.mark.parametrize("size", [len(CONTENT), None])
async def test_the_whole(tmp_path: Path, size: int | None) -> None:
    """A whole fetch tells how much came, also where nobody knew before."""
    (tmp_path / "f").write_bytes(CONTENT)
    got = bytearray()
    async with world(tmp_path) as w:
        (file,) = await listing.children(w.device, w.storage.id, w.root)
        assert await reading.read_whole(w.device, file.handle, size, got.extend) == len(CONTENT)
        assert got == CONTENT
        if size is None:
            w.transport.faults.add(Fault(Kind.UNKNOWN_LENGTH, Operation.GetObject))
            assert await reading.read_whole(w.device, file.handle, None, got.extend) == len(CONTENT)
