"""Listings: ghosts, dates that lists don't tell, sizes that nobody tells."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from device.scripted import GENERATION, ROOT, STORAGE, Answer, Answers, handle, handles, object_info, scripted
from device.world import world
from mtpfs.device import Entry, Handle, listing, writing
from mtpfs.errors import MtpfsError, ResponseError
from mtpfs.protocol.codes import DataType, Format, Operation, Property, Response
from mtpfs.protocol.datasets import PropertyElement, encode_property_list

Clock = trio.testing.MockClock
TYPES = {
    Property.ObjectFileName: DataType.STR,
    Property.ObjectFormat: DataType.UINT16,
    Property.ObjectSize: DataType.UINT64,
    Property.DateModified: DataType.STR,
}


def listed(count: int, **dates: str) -> dict[int, Answers]:
    """Return the answers of a device with so many files; `dates` maps `fN` to what the list tells of it."""

    def lists(_: int, __: int, code: int, *___: int) -> Answer:
        values: dict[int, list[str | int]] = {
            Property.ObjectFileName: [f"f{number}" for number in range(1, count + 1)],
            Property.ObjectFormat: [Format.Undefined] * count,
            Property.ObjectSize: [100] * count,
            Property.DateModified: [dates.get(f"f{n}", "20240102T030405Z") for n in range(1, count + 1)],
        }
        elements = [
            PropertyElement(number, code, TYPES[Property(code)], value)
            for number, value in enumerate(values[code], 1)
            if value
        ]
        return encode_property_list(elements)

    return {
        Operation.GetObjectHandles: handles(*range(1, count + 1)),
        Operation.GetObjectPropList: lists,
        Operation.GetObjectInfo: lambda number: object_info(f"f{number}", 100, "20200202T020202Z"),
        Operation.DeleteObject: Response.OK,
    }


# --- ghosts ---------------------------------------------------------------------------------


async def test_what_was_deleted_is_left_out(autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A deleted object that is still listed shows again after three seconds, with a word in the log."""
    device, _ = scripted(listed(6))
    await writing.delete(device, handle(3), "f3")
    assert [one.name for one in await listing.children(device, STORAGE, ROOT)] == [
        "f1",
        "f2",
        "f4",
        "f5",
        "f6",
    ]
    await trio.sleep(2.9)
    assert handle(3) not in await listing.child_handles(device, STORAGE, ROOT)
    assert not caplog.records
    await trio.sleep(0.2)
    assert handle(3) in await listing.child_handles(device, STORAGE, ROOT)
    assert len(await listing.children(device, STORAGE, ROOT)) == 6
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "'f3'" in caplog.text


async def test_a_handle_that_is_used_again(autojump_clock: Clock) -> None:
    """A new object with the handle of a deleted one is shown at once."""
    device, _ = scripted({**listed(3), Operation.SendObjectInfo: (STORAGE, 0xFFFFFFFF, 2)})
    await writing.delete(device, handle(2), "f2")
    await writing.make_folder(device, STORAGE, ROOT, "new")
    assert handle(2) in await listing.child_handles(device, STORAGE, ROOT)


async def test_a_handle_of_another_session(autojump_clock: Clock) -> None:
    """The same number in another session is another object."""
    device, _ = scripted(listed(3))
    await writing.delete(device, Handle(2, GENERATION - 1), "f2")
    assert handle(2) in await listing.child_handles(device, STORAGE, ROOT)


async def test_empty_at_once(autojump_clock: Clock) -> None:
    """A folder with nothing in it, or only with what is ignored, is empty; one with something isn't."""
    device, session = scripted({Operation.GetObjectHandles: [handles(), handles(4, 5)]})
    assert await listing.is_empty(device, STORAGE, handle(1), ())
    assert await listing.is_empty(device, STORAGE, handle(1), {handle(4), handle(5)})
    assert not await listing.is_empty(device, STORAGE, handle(1), {handle(4)})
    assert session.count(Operation.GetObjectHandles) == 3


async def test_ghosts_are_waited_for(autojump_clock: Clock) -> None:
    """`rm -r`: what was just deleted is waited for until the device says it has gone."""
    answers: list[Answer] = [handles(2, 3), handles(3), handles(3), handles()]
    device, _ = scripted({Operation.GetObjectHandles: answers, Operation.DeleteObject: Response.OK})
    for number in (2, 3):
        await writing.delete(device, handle(number), f"f{number}")
    started = trio.current_time()
    assert await listing.is_empty(device, STORAGE, handle(1), ())
    assert trio.current_time() - started == pytest.approx(0.27)


async def test_ghosts_are_never_trusted_gone(autojump_clock: Clock) -> None:
    """What stays listed is there: the folder isn't empty, after three seconds."""
    device, _ = scripted({Operation.GetObjectHandles: handles(2), Operation.DeleteObject: Response.OK})
    await writing.delete(device, handle(2), "f2")
    started = trio.current_time()
    assert not await listing.is_empty(device, STORAGE, handle(1), ())
    assert 2.5 < trio.current_time() - started < 3.5


async def test_others_beside_ghosts(autojump_clock: Clock) -> None:
    """Something that nobody deleted is an answer at once."""
    device, session = scripted(
        {Operation.GetObjectHandles: handles(2, 3), Operation.DeleteObject: Response.OK}
    )
    await writing.delete(device, handle(2), "f2")
    assert not await listing.is_empty(device, STORAGE, handle(1), ())
    assert session.count(Operation.GetObjectHandles) == 1


async def test_emptiness_on_the_virtual_phone(tmp_path: Path) -> None:
    """A folder is empty when its last file has gone."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    async with world(tmp_path) as w:
        (folder,) = await listing.children(w.device, w.storage.id, w.root)
        (file,) = await listing.children(w.device, w.storage.id, folder.handle)
        assert not await listing.is_empty(w.device, w.storage.id, folder.handle, ())
        await writing.delete(w.device, file.handle, "f")
        assert await listing.is_empty(w.device, w.storage.id, folder.handle, ())


# --- dates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["", "19700101T000000", "19700120T120000Z"])
async def test_dates_that_only_object_info_tells(told: str) -> None:
    """Android 8: one object is asked for once; then the entries say where their dates are to be had."""
    device, session = scripted(listed(20, **{f"f{number}": told for number in range(1, 21)}))
    for _ in range(3):
        entries = await listing.children(device, STORAGE, ROOT)
        assert len(entries) == 20
        assert all(one.date_elsewhere and one.modified is None for one in entries)
    assert session.count(Operation.GetObjectInfo) == 1
    described = await listing.entry(device, entries[0].handle)
    assert described.modified == 1580608922
    assert not described.date_elsewhere


async def test_true_dates_ask_nothing() -> None:
    """A device whose lists tell dates is never asked for one."""
    device, session = scripted(listed(20))
    entries = await listing.children(device, STORAGE, ROOT)
    assert all(one.modified == 1704164645 and not one.date_elsewhere for one in entries)
    assert session.count(Operation.GetObjectInfo) == 0
    assert device.dates_in_lists is None


async def test_no_dates_at_all() -> None:
    """Where ObjectInfo doesn't know better, that is tried three times and no more."""
    answers = listed(20, **{f"f{number}": "" for number in range(1, 21)})
    answers[Operation.GetObjectInfo] = object_info("f", 100, "")
    device, session = scripted(answers)
    for _ in range(10):
        entries = await listing.children(device, STORAGE, ROOT)
        assert all(one.modified is None and not one.date_elsewhere for one in entries)
    assert session.count(Operation.GetObjectInfo) == 3
    assert device.dates_in_lists is True


async def test_single_dates_elsewhere() -> None:
    """Only what has an impossible date is to be asked for."""
    device, _ = scripted(listed(6, f2="19700101T000000Z"))
    entries = {one.name: one for one in await listing.children(device, STORAGE, ROOT)}
    assert entries["f2"].date_elsewhere
    assert not entries["f1"].date_elsewhere
    assert entries["f1"].modified


async def test_dates_on_the_virtual_phone(tmp_path: Path) -> None:
    """The virtual phone's lists tell dates."""
    for number in range(6):
        (tmp_path / f"f{number}").touch()
        os.utime(tmp_path / f"f{number}", (1_600_000_000 + number,) * 2)
    async with world(tmp_path) as w:
        entries = await listing.children(w.device, w.storage.id, w.root)
        assert sorted(one.modified or 0 for one in entries) == [1_600_000_000 + n for n in range(6)]
        assert "GetObjectInfo" not in w.operations


# --- sizes and protection ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [Response.ObjectPropNotSupported, Response.OperationNotSupported, b"", b"\xff\xff\xff\xff", None],
)
async def test_a_movie_of_unknown_size(answer: Answer | None) -> None:
    """4 GiB or more on a camera is shown as 4 GiB - 1, and hides nothing."""
    answers: dict[int, Answers] = {
        Operation.GetObjectHandles: handles(1, 2),
        Operation.GetObjectInfo: lambda number: object_info(f"f{number}", 0xFFFFFFFF if number == 1 else 5),
    }
    if answer is not None:
        answers[Operation.GetObjectPropValue] = answer
    device, _ = scripted(answers)
    movie, other = await listing.children(device, STORAGE, ROOT)
    assert (movie.size, movie.size_known) == (0xFFFFFFFF, False)
    assert (other.size, other.size_known) == (5, True)


async def test_a_large_size_that_is_told() -> None:
    """ObjectSize has 64 bits."""
    device, _ = scripted(
        {
            Operation.GetObjectInfo: object_info("f", 0xFFFFFFFF),
            Operation.GetObjectPropValue: (5 << 30).to_bytes(8, "little"),
        }
    )
    described = await listing.entry(device, handle(1))
    assert (described.size, described.size_known) == (5 << 30, True)


async def test_an_object_that_is_gone() -> None:
    """A size that can't be asked for because the object has gone is an error, not unknown."""
    device, _ = scripted(
        {
            Operation.GetObjectInfo: object_info("f", 0xFFFFFFFF),
            Operation.GetObjectPropValue: Response.InvalidObjectHandle,
        }
    )
    with pytest.raises(ResponseError):
        await listing.entry(device, handle(1))


@pytest.mark.parametrize(("status", "protected"), [(0, False), (1, True), (0x8002, True), (0x8003, False)])
async def test_protection(status: int, protected: bool) -> None:
    """ProtectionStatus is told in ObjectInfo."""
    device, _ = scripted({Operation.GetObjectInfo: object_info(protection=status)})
    assert (await listing.entry(device, handle(1))).protected is protected


# --- changes meanwhile ----------------------------------------------------------------------


@pytest.mark.parametrize("gone", [Response.InvalidObjectHandle, b""])
async def test_one_that_stays_listed(gone: Answer) -> None:
    """An object that is listed and never described costs the others nothing, though more are added meanwhile."""
    count = 3

    def grown() -> Answer:
        nonlocal count
        count += 1
        return handles(*range(1, count + 1))

    device, _ = scripted(
        {
            Operation.GetObjectHandles: lambda *_: grown(),
            Operation.GetObjectInfo: lambda number: gone if number == 2 else object_info(f"f{number}", 100),
        }
    )
    found = [one.name for one in await listing.children(device, STORAGE, ROOT)]
    assert found == [f"f{number}" for number in range(1, count + 1) if number != 2]


async def test_find() -> None:
    """Of what isn't known the youngest is described first, and what has gone is passed over."""
    names = {1: "other", 2: "name", 3: "other", 4: "name", 6: "last"}
    asked: list[int] = []

    def info(number: int) -> Answer:
        asked.append(number)
        return object_info(names[number], 100) if number in names else Response.InvalidObjectHandle

    def named(entry: Entry) -> bool:
        return entry.name == "name"

    device, _ = scripted({Operation.GetObjectHandles: handles(*range(1, 7)), Operation.GetObjectInfo: info})
    assert await listing.find(device, STORAGE, ROOT, named, {handle(6)}) == handle(4)
    assert asked == [5, 4]
    asked.clear()
    assert await listing.find(device, STORAGE, ROOT, named, {handle(2), handle(4)}) is None
    assert asked == [6, 5, 3, 1] * 3  # one has gone: it might have got another handle


@pytest.mark.parametrize(
    ("answers", "fails"),
    [
        ([b"no dataset"], False),
        ([b"no dataset", b"no dataset"], True),
        ([Response.AccessDenied], True),
        ([Response.AccessDenied, b"no dataset"], True),
        ([], False),
    ],
)
async def test_nothing_can_be_described(answers: list[Answer], fails: bool) -> None:
    """A folder in which nothing can be described is an error, but for a single object that makes no sense."""
    device, _ = scripted(
        {
            Operation.GetObjectHandles: handles(*range(1, len(answers) + 1)),
            Operation.GetObjectInfo: lambda number: answers[number - 1],
        }
    )
    if fails:
        with pytest.raises(MtpfsError):
            await listing.children(device, STORAGE, ROOT)
    else:
        assert await listing.children(device, STORAGE, ROOT) == []
