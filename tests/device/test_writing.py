"""Changes: names that are still taken, formats that are refused, and what an OK is worth."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from device.scripted import ROOT, STORAGE, UPLOADED, Answer, handle, object_info, scripted, storage_info
from device.world import source, world
from mtpfs.device import Device, listing, writing
from mtpfs.errors import (
    FsError,
    MtpfsError,
    RemoteProtocolError,
    ResponseError,
    TransportGoneError,
    TransportStallError,
)
from mtpfs.protocol.codes import Format, Operation, Response
from mtpfs.virtual.faults import FOREVER, Fault, Kind

Clock = trio.testing.MockClock
Change = Callable[[Device], Awaitable[object]]
GIB = 1 << 30
MIB = 1 << 20

CHANGES: dict[str, tuple[int, Change]] = {
    "upload": (
        Operation.SendObjectInfo,
        lambda device: writing.upload(device, STORAGE, ROOT, "Name", source(b"data"), None),
    ),
    "make_folder": (
        Operation.SendObjectInfo,
        lambda device: writing.make_folder(device, STORAGE, ROOT, "Name"),
    ),
    "rename": (
        Operation.SetObjectPropValue,
        lambda device: writing.rename(device, handle(5), "other", "Name"),
    ),
    "move": (
        Operation.MoveObject,
        lambda device: writing.move(device, handle(5), STORAGE, handle(6), "Name"),
    ),
}
OK: dict[int, Answer] = {
    Operation.SendObjectInfo: (STORAGE, 0xFFFFFFFF, 9),
    Operation.SetObjectPropValue: Response.OK,
    Operation.MoveObject: Response.OK,
}


def refusing(operation: int, code: Response, times: int) -> Device:
    """Return a device that refuses `operation` so many times, and then does it."""
    device, session = scripted({**UPLOADED, **OK, operation: [*[code] * times, OK[operation]]})
    session.calls.clear()
    return device


# --- vacated names ----------------------------------------------------------------------


@pytest.mark.parametrize("code", [Response.GeneralError, Response.AccessDenied])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_vacated_name_is_waited_for(change: str, code: Response, autojump_clock: Clock) -> None:
    """What takes a name that was deleted a moment ago, in whatever spelling, is tried again."""
    operation, do = CHANGES[change]
    device = refusing(operation, code, 4)
    await writing.delete(device, handle(8), "nAmE")
    await trio.sleep(1)
    started = trio.current_time()
    await do(device)
    assert trio.current_time() - started == pytest.approx(0.02 + 0.05 + 0.2 + 0.5)


@pytest.mark.parametrize("change", CHANGES)
async def test_the_refusal_comes_after_three_seconds(change: str, autojump_clock: Clock) -> None:
    """A name that stays taken is the device's error in the end."""
    operation, do = CHANGES[change]
    device = refusing(operation, Response.GeneralError, 100)
    await writing.delete(device, handle(8), "Name")
    started = trio.current_time()
    with pytest.raises(ResponseError) as caught:
        await do(device)
    assert caught.value.code == Response.GeneralError
    assert trio.current_time() - started == pytest.approx(2.97)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("vacated", "age", "code"),
    [
        ("other name", 0.0, Response.GeneralError),
        ("Name", 4.0, Response.GeneralError),
        ("Name", 0.0, Response.StoreFull),
        ("Name", 0.0, Response.InvalidParameter),
    ],
)
async def test_other_refusals_come_at_once(
    change: str, vacated: str, age: float, code: Response, autojump_clock: Clock
) -> None:
    """Nothing waits for a name that nobody vacated lately, or for a refusal that isn't about that."""
    operation, do = CHANGES[change]
    device = refusing(operation, code, 100)
    await writing.delete(device, handle(8), vacated)
    await trio.sleep(age)
    started = trio.current_time()
    with pytest.raises(ResponseError):
        await do(device)
    assert trio.current_time() == started


async def test_renames_and_moves_vacate(autojump_clock: Clock) -> None:
    """The old name of what was renamed or moved may be taken for a moment, as a deleted one's."""
    device = refusing(Operation.SendObjectInfo, Response.GeneralError, 1)
    await writing.rename(device, handle(5), "Name", "other")
    await writing.upload(device, STORAGE, ROOT, "Name", source(b""), None)
    device = refusing(Operation.SendObjectInfo, Response.GeneralError, 1)
    await writing.move(device, handle(5), STORAGE, handle(6), "Name")
    await writing.make_folder(device, STORAGE, ROOT, "Name")


async def test_data_is_never_sent_twice(autojump_clock: Clock) -> None:
    """An upload whose data was refused isn't tried again; its fragment is deleted, and vacates the name."""
    device, session = scripted({**UPLOADED, Operation.SendObject: Response.GeneralError})
    await writing.delete(device, handle(8), "Name")
    session.calls.clear()
    with pytest.raises(ResponseError):
        await writing.upload(device, STORAGE, ROOT, "Name", source(b"data"), None)
    assert [operation for operation, _ in session.calls] == [
        Operation.SendObjectInfo,
        Operation.SendObject,
        Operation.DeleteObject,
    ]
    await trio.sleep(2)
    assert device.recent.was_vacated("name")


@pytest.mark.parametrize("change", ["upload", "folder"])
async def test_on_the_virtual_phone(tmp_path: Path, change: str, autojump_clock: Clock) -> None:
    """Deleting and making anew works while Android's inotify is behind."""
    (tmp_path / "name").write_bytes(b"old")
    async with world(tmp_path) as w:
        (old,) = await listing.children(w.device, w.storage.id, w.root)
        await writing.delete(w.device, old.handle, "name")
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.SendObjectInfo, times=3))
        if change == "upload":
            await writing.upload(w.device, w.storage.id, w.root, "name", source(b"new contents"), None)
            assert (tmp_path / "name").read_bytes() == b"new contents"
        else:
            await writing.make_folder(w.device, w.storage.id, w.root, "name")
            assert (tmp_path / "name").is_dir()


# --- formats ------------------------------------------------------------------------------


async def test_a_listed_format_that_is_refused(autojump_clock: Clock) -> None:
    """A player that lists MP3 and refuses it gets the file as Undefined, and is offered MP3 no more."""
    answers = [Response.InvalidObjectFormatCode, OK[Operation.SendObjectInfo]]
    device, session = scripted({**UPLOADED, Operation.SendObjectInfo: answers}, formats=(Format.MP3,))
    await writing.upload(device, STORAGE, ROOT, "song.mp3", source(b"x"), None)
    assert session.count(Operation.SendObjectInfo) == 2
    await writing.upload(device, STORAGE, ROOT, "song2.mp3", source(b"x"), None)
    assert session.count(Operation.SendObjectInfo) == 3
    assert device.formats_refused == {Format.MP3}


async def test_undefined_that_is_refused() -> None:
    """Where Undefined is refused there is nothing else to try."""
    device, session = scripted({**UPLOADED, Operation.SendObjectInfo: Response.InvalidObjectFormatCode})
    with pytest.raises(ResponseError):
        await writing.upload(device, STORAGE, ROOT, "notes", source(b"x"), None)
    assert session.count(Operation.SendObjectInfo) == 1


async def test_too_large() -> None:
    """What a card's filesystem can't hold is EFBIG."""
    device, _ = scripted({**UPLOADED, Operation.SendObjectInfo: Response.ObjectTooLarge})
    with pytest.raises(ResponseError) as caught:
        await writing.upload(device, STORAGE, ROOT, "film", source(b"x"), None)
    assert caught.value.errno == errno.EFBIG


# --- what came of it ------------------------------------------------------------------------


def stored(size: int, told: int, *, free: int = 10 * GIB, wide: bool = True) -> Device:
    """Return a device with a file of `size` bytes that ObjectInfo tells another size of."""

    def read(_: int, offset: int, *rest: int) -> bytes | Response:
        return b"x" if offset < size else Response.InvalidParameter

    operation = Operation.GetPartialObject64 if wide else Operation.GetPartialObject
    device, _ = scripted(
        {
            Operation.GetObjectInfo: object_info("f", told),
            operation: read,
            Operation.GetStorageInfo: storage_info(free),
        }
    )
    return device


async def test_the_right_size() -> None:
    """What has the size that was sent costs one transaction, and nobody is caught."""
    device = stored(100, 100)
    await writing.confirm_size(device, STORAGE, handle(1), 100)
    assert not device.room.caught


@pytest.mark.parametrize("told", [0, 50, 200])
@pytest.mark.parametrize("wide", [True, False])
async def test_a_stale_size(told: int, wide: bool) -> None:
    """Tizen's old size of a changed file is found out by reading its end."""
    device = stored(100, told, wide=wide)
    await writing.confirm_size(device, STORAGE, handle(1), 100)
    assert not device.room.caught
    assert device.stale_sizes


@pytest.mark.parametrize(("size", "told"), [(50, 50), (99, 99), (0, 0), (150, 150), (50, 200)])
async def test_a_wrong_size(size: int, told: int) -> None:
    """What is shorter or longer than it was sent is an error, and the device is known for it."""
    device = stored(size, told)
    with pytest.raises(FsError) as caught:
        await writing.confirm_size(device, STORAGE, handle(1), 100)
    assert caught.value.errno == errno.EIO
    assert device.room.caught
    assert await device.room.must_confirm(STORAGE, 1)


async def test_a_full_disk() -> None:
    """Where what is missing doesn't fit any more, the disk was full."""
    device = stored(40 * MIB, 40 * MIB, free=5 * MIB)
    with pytest.raises(FsError) as caught:
        await writing.confirm_size(device, STORAGE, handle(1), 60 * MIB)
    assert caught.value.errno == errno.ENOSPC


async def test_a_size_that_cannot_be_compared() -> None:
    """A size from 4 GiB on of a device that can't tell is taken as it is."""
    device = stored(5 * GIB, 0xFFFFFFFF)
    await writing.confirm_size(device, STORAGE, handle(1), 5 * GIB)
    with pytest.raises(FsError):
        await writing.confirm_size(device, STORAGE, handle(1), 3 * GIB)


async def test_confirming_on_the_virtual_phone(tmp_path: Path) -> None:
    """A file that lost its end is found out."""
    async with world(tmp_path) as w:
        made = await writing.upload(w.device, w.storage.id, w.root, "f", source(bytes(5000)), None)
        await writing.confirm_size(w.device, w.storage.id, made, 5000)
        with (tmp_path / "f").open("r+b") as file:
            file.truncate(3000)
        with pytest.raises(FsError) as caught:
            await writing.confirm_size(w.device, w.storage.id, made, 5000)
        assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    ("error", "free", "expected"),
    [
        (ResponseError(Operation.SendObject, Response.GeneralError), MIB, errno.ENOSPC),
        (ResponseError(Operation.SendPartialObject, Response.StoreFull), MIB, errno.ENOSPC),
        (TransportStallError("stalled"), MIB, errno.ENOSPC),
        (RemoteProtocolError("junk"), MIB, errno.ENOSPC),
        (ResponseError(Operation.SendObject, Response.GeneralError), GIB, errno.EIO),
        (ResponseError(Operation.SendObject, Response.AccessDenied), MIB, errno.EACCES),
        (TransportGoneError("unplugged"), MIB, errno.ENODEV),
    ],
)
async def test_what_a_refusal_means(error: MtpfsError, free: int, expected: int) -> None:
    """What full devices say is ENOSPC where the room is short, and stays what it was elsewhere."""
    device, _ = scripted({Operation.GetStorageInfo: storage_info(free)})
    meant = await writing.refusal(device, STORAGE, error, 2 * MIB)
    assert meant.errno == expected
    if expected != errno.ENOSPC:
        assert meant is error


async def test_a_refusal_that_cannot_be_explained() -> None:
    """A device that has gone can't be asked for its room: the first error counts."""
    device, _ = scripted({Operation.GetStorageInfo: TransportGoneError("unplugged")})
    error = ResponseError(Operation.SendObject, Response.GeneralError)
    assert await writing.refusal(device, STORAGE, error, 1) is error


async def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    """An upload that the device runs full on is refused, is ENOSPC, and leaves no file."""
    async with world(tmp_path, "capacity=1000000") as w:
        w.transport.faults.add(Fault(Kind.FULL, Operation.SendObject, times=FOREVER, amount=1000))
        with pytest.raises(ResponseError) as caught:
            await writing.upload(w.device, w.storage.id, w.root, "f", source(bytes(500_000)), None)
        assert caught.value.errno == errno.ENOSPC
        assert not list(tmp_path.iterdir())


# --- busy devices and edits -----------------------------------------------------------------


async def test_a_busy_device(autojump_clock: Clock) -> None:
    """DeviceBusy before the data is waited for; at the data it is an error, for some of it may be taken."""
    answers = [Response.DeviceBusy, Response.DeviceBusy, OK[Operation.SendObjectInfo]]
    device, session = scripted({**UPLOADED, Operation.SendObjectInfo: answers})
    await writing.upload(device, STORAGE, ROOT, "f", source(b"data"), None)
    assert session.count(Operation.SendObject) == 1
    device, session = scripted({**UPLOADED, Operation.SendObject: Response.DeviceBusy})
    with pytest.raises(ResponseError):
        await writing.upload(device, STORAGE, ROOT, "f", source(b"data"), None)
    assert session.count(Operation.SendObject) == 1


@pytest.mark.parametrize("number", [0, 0xFFFFFFFF])
async def test_created_nothing(number: int) -> None:
    """An OK with a handle of no object is EIO."""
    device, session = scripted({**UPLOADED, Operation.SendObjectInfo: (STORAGE, 0xFFFFFFFF, number)})
    for change in ("upload", "make_folder"):
        with pytest.raises(FsError) as caught:
            await CHANGES[change][1](device)
        assert caught.value.errno == errno.EIO
    assert session.count(Operation.SendObject) == 0


async def test_an_edit_that_was_left_open() -> None:
    """An edit of a host that crashed is ended, and begun again; other refusals are errors."""
    device, session = scripted(
        {
            Operation.BeginEditObject: [Response.GeneralError, Response.OK, Response.AccessDenied],
            Operation.EndEditObject: Response.OK,
        }
    )
    await writing.begin_edit(device, handle(1))
    assert session.count(Operation.EndEditObject) == 1
    with pytest.raises(ResponseError):
        await writing.begin_edit(device, handle(1))


async def test_a_parent_that_is_unknown() -> None:
    """Whoever keeps handles is told which one the device doesn't know."""
    unknown: list[object] = []
    device, _ = scripted({**UPLOADED, Operation.SendObjectInfo: Response.InvalidParentObject})
    device.on_unknown_handle(unknown.append)
    with pytest.raises(ResponseError):
        await writing.upload(device, STORAGE, handle(6), "f", source(b""), None)
    assert unknown == [handle(6)]
