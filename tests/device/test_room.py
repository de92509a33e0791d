"""How much fits: asked seldom, never believed blindly."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import trio
import trio.testing

from device.scripted import STORAGE, scripted, storage_info
from mtpfs.device import Device
from mtpfs.errors import FsError, RemoteProtocolError
from mtpfs.protocol.codes import Operation, Response

GIB = 1 << 30
MIB = 1 << 20
Clock = trio.testing.MockClock


def with_room(*free: int, capacity: int = 1 << 40) -> tuple[Device, Callable[[], int]]:
    """Return a device that tells these numbers one after the other, and a count of how often it did."""
    device, session = scripted({Operation.GetStorageInfo: [storage_info(one, capacity) for one in free]})
    return device, lambda: session.count(Operation.GetStorageInfo)


async def refused(device: Device, growth: int) -> bool:
    try:
        await device.room.require(STORAGE, growth)
    except FsError as error:
        return error.errno == errno.ENOSPC
    return False


async def test_asked_once_and_counted_down(autojump_clock: Clock) -> None:
    """What is written is subtracted from one answer; a refusal only follows a new one."""
    device, asked = with_room(2 * GIB, GIB)
    assert not await refused(device, GIB)
    device.room.took(STORAGE, GIB)
    assert not await refused(device, GIB // 2)
    assert asked() == 1
    device.room.took(STORAGE, -GIB)
    assert not await refused(device, 2 * GIB)
    assert asked() == 1
    device.room.took(STORAGE, GIB)
    assert await refused(device, 3 * GIB)
    assert asked() == 2


async def test_what_was_freed_meanwhile(autojump_clock: Clock) -> None:
    """What the count says is gone, and the phone says has room, isn't refused."""
    device, asked = with_room(GIB, 3 * GIB)
    await device.room.require(STORAGE, 1)
    assert not await refused(device, 2 * GIB)
    assert asked() == 2


async def test_asked_again(autojump_clock: Clock) -> None:
    """An answer lasts ten seconds, less where room is low, and none after `forget`."""
    device, asked = with_room(GIB, GIB, GIB, GIB, 100 * MIB)
    await device.room.require(STORAGE, 1)
    await trio.sleep(9)
    await device.room.require(STORAGE, 1)
    assert asked() == 1
    await trio.sleep(2)
    await device.room.require(STORAGE, 1)
    assert asked() == 2
    device.room.forget(STORAGE)
    await device.room.require(STORAGE, 1)
    assert asked() == 3
    device.room.took(STORAGE, GIB - 200 * MIB)
    await device.room.require(STORAGE, 1)
    assert asked() == 3
    await trio.sleep(1)
    await device.room.require(STORAGE, 1)
    await device.room.require(STORAGE, 1)
    assert asked() == 4


async def test_where_room_is_low_it_is_asked_once_a_second(autojump_clock: Clock) -> None:
    """However many small writes there are; and at once when the count says that one may not fit."""
    device, asked = with_room(100 * MIB)
    for _ in range(50):
        await device.room.require(STORAGE, MIB)
        device.room.took(STORAGE, MIB)
        await trio.sleep(0.1)
    assert asked() == 5
    device, asked = with_room(4 * MIB, 4 * MIB, MIB)
    for _ in range(4):
        await device.room.require(STORAGE, MIB)
        device.room.took(STORAGE, MIB)
    assert asked() == 1
    assert not await refused(device, MIB)
    assert asked() == 2
    device.room.took(STORAGE, 4 * MIB)
    assert await refused(device, 2 * MIB)
    assert asked() == 3


async def test_nothing_for_no_growth() -> None:
    """A change that needs no room asks nothing."""
    device, asked = with_room(1)
    assert not await refused(device, 0)
    assert not await refused(device, -5)
    assert asked() == 0


@pytest.mark.parametrize("free", [0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 2 * GIB])
async def test_unknown(free: int) -> None:
    """0, all ones and more than the capacity refuse nothing, and have everything compared."""
    device, _ = with_room(free, capacity=GIB)
    assert not await refused(device, 1 << 50)
    assert not await device.room.is_short(STORAGE, 1 << 50)
    assert await device.room.must_confirm(STORAGE, 1)


@pytest.mark.parametrize("answer", [Response.GeneralError, b"junk"])
async def test_no_answer(answer: Response | bytes) -> None:
    """A device that can't describe its storage has unknown room, which is no error."""
    device, _ = scripted({Operation.GetStorageInfo: answer})
    assert not await refused(device, 1)
    assert await device.room.must_confirm(STORAGE, 1)
    assert not await device.room.is_short(STORAGE, 1)


async def test_full_after_all(autojump_clock: Clock) -> None:
    """0 is believed of a storage that told of room before."""
    device, _ = with_room(GIB, 0)
    await device.room.require(STORAGE, 1)
    assert await device.room.is_short(STORAGE, 1)
    assert await refused(device, 1)


async def test_is_short_asks_now() -> None:
    """Whether room is short is the device's word of now, not our count."""
    device, asked = with_room(GIB, 5 * MIB)
    await device.room.require(STORAGE, 1)
    assert await device.room.is_short(STORAGE, 6 * MIB)
    assert not await device.room.is_short(STORAGE, 5 * MIB)
    assert asked() == 3


async def test_what_is_compared(autojump_clock: Clock) -> None:
    """On a roomy phone only changes of 1 MiB and more are compared; all where room is low."""
    device, asked = with_room(GIB)
    assert not await device.room.must_confirm(STORAGE, MIB - 1)
    assert await device.room.must_confirm(STORAGE, MIB)
    assert asked() == 1
    device.room.took(STORAGE, 800 * MIB)
    assert await device.room.must_confirm(STORAGE, 1)
    assert asked() == 1


async def test_caught() -> None:
    """A device that was caught once is never believed again, anywhere."""
    device, asked = with_room(GIB)
    device.room.note_caught()
    assert await device.room.must_confirm(STORAGE, 0)
    assert await device.room.must_confirm(0x20001, 0)
    assert asked() == 0


async def test_garbled_storage_is_no_reason_to_fail() -> None:
    """A storage whose description is no MTP has unknown room."""
    device, _ = scripted({Operation.GetStorageInfo: RemoteProtocolError("not MTP")})
    assert not await refused(device, 1)
    assert device.room.unknown == [STORAGE]
