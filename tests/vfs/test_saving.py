"""Replacing a file on a device that refuses one step of it after the other: what is there, at each refusal, and next
time.

Faults at every single step are in `test_every_step`. Here several of them come together.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mtpfs.errors import MtpfsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import Open, openfile, saving
from mtpfs.vfs.temporaries import Kind, parse, temporary_name
from mtpfs.virtual.faults import FOREVER, Fault
from mtpfs.virtual.faults import Kind as FaultKind
from vfs.test_replug import replug, unplug
from vfs.world import World, phone_with_file, world

OLD, NEW = b"old contents", b"new contents, which are longer"


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return phone_with_file(tmp_path, monkeypatch, OLD)


def refuse(w: World, operation: Operation, *, skip: int = 0, times: int = FOREVER) -> None:
    """Have the device refuse an operation; the code is one after which nothing is tried again."""
    w.transport.faults.add(
        Fault(FaultKind.REFUSE, operation, skip=skip, times=times, code=Response.ObjectWriteProtected)
    )


def there(phone: Path) -> dict[str | Kind, bytes]:
    """Return all contents on the phone, by name or by kind of temporary name."""
    files = [path for path in phone.iterdir() if path.is_file()]
    return {left.kind if (left := parse(path.name)) else path.name: path.read_bytes() for path in files}


async def refused(w: World, opened: Open) -> None:
    with pytest.raises(MtpfsError) as caught:
        await w.fs.sync(opened)
    assert errno.errorcode[caught.value.errno] == "EACCES"


async def replacement(w: World, *, early: bool = False) -> Open:
    """Have NEW written in place of `f`, and not saved yet. `early`: all but its end is on the device, as a part."""
    opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)
    await w.fs.write(opened, 0, NEW[:-1])
    assert (Kind.PART in there(w.phone)) == early
    await w.fs.write(opened, len(NEW) - 1, NEW[-1:])
    return opened


@pytest.fixture
def early(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the new contents are sent before they are complete."""
    if request.param:
        monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1)
    return bool(request.param)


at_once_or_early = pytest.mark.parametrize("early", [False, True], indirect=True, ids=["at once", "early"])


async def test_name_that_the_old_one_does_not_get_back(phone: Path) -> None:
    """The new one doesn't get the name, nor does the old one get it back: the next try is a new file, and tidies up."""
    async with world(phone) as w:
        opened = await replacement(w)
        refuse(w, Operation.SetObjectPropValue, skip=1)
        refuse(w, Operation.SendObjectInfo, skip=1, times=1)
        await refused(w, opened)
        assert there(phone) == {Kind.NEW: NEW, Kind.OLD: OLD}
        await w.close(opened)
        assert there(phone) == {"f": NEW}


@at_once_or_early
async def test_nothing_can_be_renamed(phone: Path, early: bool) -> None:
    """What can't be marked as the last copy isn't one: the old contents stay until the new ones are somewhere."""
    async with world(phone) as w:
        opened = await replacement(w, early=early)
        refuse(w, Operation.SetObjectPropValue)
        if early:
            await refused(w, opened)
            assert there(phone)["f"] == OLD
            with pytest.raises(MtpfsError):
                await w.close(opened)
            await w.names()
            assert there(phone) == {"f": OLD}
        else:
            await w.close(opened)
            assert there(phone) == {"f": NEW}


async def test_temporary_object_that_stays(phone: Path) -> None:
    """Where nothing can be renamed the temporary object goes first. If it stays, it doesn't get the name later."""
    async with world(phone) as w:
        opened = await replacement(w, early=False)
        refuse(w, Operation.SetObjectPropValue)
        refuse(w, Operation.DeleteObject, times=1)
        await w.close(opened)
        assert there(phone) == {"f": NEW, Kind.NEW: NEW}
        w.transport.faults.clear()
        await w.fs.unlink(w.root, b"f")
        assert await w.names() == []
        assert there(phone) == {}


@pytest.mark.usefixtures("_sends_early")
async def test_part_that_stays(phone: Path) -> None:
    """A part that couldn't be deleted when its file was given up is deleted later, even if the file has gone by then."""
    async with world(phone) as w:
        opened = await replacement(w, early=True)
        refuse(w, Operation.EndEditObject)
        # The second one is for the listing before the file is deleted.
        refuse(w, Operation.DeleteObject, times=2)
        with pytest.raises(MtpfsError):
            await w.close(opened)
        assert Kind.PART in there(phone)
        await w.fs.unlink(w.root, b"f")
        assert await w.names() == []
        assert there(phone) == {}


@at_once_or_early
async def test_last_copy(phone: Path, early: bool) -> None:
    """The old one can't be put aside: the new one is complete under another name before the old one goes."""
    async with world(phone) as w:
        opened = await replacement(w, early=early)
        refuse(w, Operation.SetObjectPropValue, skip=int(early), times=1)
        await w.close(opened)
        assert there(phone) == {"f": NEW}
        assert await w.get(await w.fs.lookup(w.root, b"f")) == NEW


@at_once_or_early
@pytest.mark.parametrize("skip", [0, 1])
async def test_last_copy_that_cannot_be_sent(phone: Path, early: bool, skip: int) -> None:
    """The new contents are whole on the device, whatever is refused after the old ones have gone; the next look shows them."""
    async with world(phone) as w:
        opened = await replacement(w, early=early)
        refuse(
            w,
            Operation.SetObjectPropValue,
            skip=skip if early else 0,
            times=1 if early and skip else 1 + early,
        )
        refuse(w, Operation.SendObjectInfo, skip=int(not early), times=1)
        await refused(w, opened)
        assert there(phone) == {Kind.LAST: NEW}
        if early:
            with pytest.raises(MtpfsError):
                await w.close(opened)
        else:
            await w.close(opened)
        assert await w.names() == [b"f"]
        assert await w.get(await w.fs.lookup(w.root, b"f")) == NEW
    assert there(phone) == {"f": NEW}


@pytest.fixture
def _sends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1)


@pytest.mark.usefixtures("_sends_early")
async def test_listing_while_it_is_written(phone: Path) -> None:
    """A part that is being written is no leftover, and isn't shown, however often the directory is listed."""
    async with world(phone) as w:
        opened = await replacement(w, early=True)
        for _ in range(2):
            w.fs.tree.expire()
            assert await w.names() == [b"f"]
            assert there(phone)["f"] == OLD
            await w.fs.write(opened, len(NEW) - 1, NEW[-1:])
        await w.close(opened)
        assert await w.names() == [b"f"]
        assert there(phone) == {"f": NEW}


@pytest.mark.usefixtures("_sends_early")
@pytest.mark.parametrize("all_sent", [False, True])
async def test_unplugged_while_it_is_written(phone: Path, all_sent: bool) -> None:
    """When the phone is back, writing goes on where it was, and the old contents are there until it is done."""
    async with world(phone) as w:
        opened = await replacement(w, early=True)
        if all_sent:
            assert bytes(await w.fs.read(opened, 0, len(NEW))) == NEW
        await unplug(w)
        await replug(w)
        assert await w.names() == [b"f"]
        assert there(phone)["f"] == OLD
        await w.close(opened)
        assert there(phone) == {"f": NEW}


@pytest.mark.usefixtures("_sends_early")
@pytest.mark.parametrize("meanwhile", ["changed", "removed", "part removed"])
async def test_changed_while_it_was_away(phone: Path, meanwhile: str) -> None:
    """What was changed on the phone meanwhile isn't replaced, and what is complete isn't deleted."""
    async with world(phone) as w:
        opened = await replacement(w, early=True)
        assert bytes(await w.fs.read(opened, 0, len(NEW))) == NEW
        await unplug(w)
        if meanwhile == "part removed":
            (part,) = (path for path in phone.iterdir() if path.name != "f")
            part.unlink()
        elif meanwhile == "changed":
            (phone / "f").write_bytes(b"the phone's own")
        else:
            (phone / "f").unlink()
        await replug(w)
        with pytest.raises(MtpfsError):
            await w.close(opened)
        await w.names()
        left = {"changed": b"the phone's own", "removed": NEW, "part removed": OLD}[meanwhile]
        assert there(phone) == {"f": left}


@pytest.mark.usefixtures("_sends_early")
@pytest.mark.parametrize("change", ["rename", "move", "unlink", "empty"])
async def test_name_changed_while_it_is_written(phone: Path, change: str) -> None:
    """The new contents go with the file's name; nothing else stays."""
    (phone / "d").mkdir()
    async with world(phone) as w:
        folder = await w.fs.lookup(w.root, b"d")
        opened = await replacement(w, early=True)
        if change == "rename":
            await w.fs.rename(w.root, b"f", w.root, b"g")
        elif change == "move":
            await w.fs.rename(w.root, b"f", folder, b"f")
        elif change == "unlink":
            await w.fs.unlink(w.root, b"f")
        else:
            await w.fs.truncate(opened.file.node, 0)
        await w.close(opened)
        await w.names()
        await w.names(folder)
    found = {str(path.relative_to(phone)): path.read_bytes() for path in phone.rglob("*") if path.is_file()}
    assert found == {"rename": {"g": NEW}, "move": {"d/f": NEW}, "unlink": {}, "empty": {"f": b""}}[change]


async def test_temporary_names_are_claimed(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing at any moment of a replacement has to know that what it finds is at work, and no leftover."""
    seen: list[str] = []
    async with world(phone) as w:
        take = w.transport.responder._start

        def look(request: Any) -> None:
            for name in os.listdir(phone):
                if (left := parse(name)) is not None:
                    seen.append(left.kind.name)
                    assert w.claims.is_claimed(w.root, name)
            take(request)

        monkeypatch.setattr(w.transport.responder, "_start", look)
        opened = await replacement(w)
        refuse(w, Operation.SetObjectPropValue, times=1)
        await w.fs.sync(opened)
        await w.fs.write(opened, 0, NEW)
        await w.close(opened)
        await w.put(b"f", OLD)
    assert {"NEW", "LAST", "OLD"} <= set(seen)
    assert there(phone) == {"f": OLD}


@pytest.mark.parametrize(
    ("words", "operation"),
    [("", Operation.SetObjectPropValue), ("no-rename", Operation.DeleteObject)],
)
async def test_old_contents_that_have_gone(phone: Path, words: str, operation: Operation) -> None:
    """What was deleted on the phone a moment before it is replaced needn't be: the new contents get the name."""
    async with world(phone, words) as w:
        w.transport.faults.add(Fault(FaultKind.VANISH, operation))
        await w.put(b"f", NEW)
        assert there(phone) == {"f": NEW}
        assert await w.names() == [b"f"]


async def test_room_without_renames(phone: Path) -> None:
    """Where the old contents go first, their room counts. What doesn't fit even then is refused before they go."""
    (phone / "f").write_bytes(bytes(30_000))
    async with world(phone, "no-rename&capacity=40960") as w:
        with pytest.raises(MtpfsError) as caught:
            await w.put(b"f", bytes(50_000))
        assert caught.value.errno == errno.ENOSPC
        assert "DeleteObject" not in w.operations
        await w.put(b"f", b"x" * 30_000)
    assert there(phone) == {"f": b"x" * 30_000}


BEFORE, WHOLE, FRAGMENT = b"the old contents", b"new contents", b"new"
State = dict[str | Kind, bytes]


@pytest.mark.parametrize(
    ("found", "cannot", "left", "named", "superfluous", "is_ours"),
    [
        ({}, None, {}, None, set(), False),
        ({"f": BEFORE}, None, {"f": BEFORE}, BEFORE, set(), False),
        ({Kind.OLD: BEFORE}, None, {"f": BEFORE}, BEFORE, set(), True),
        ({Kind.OLD: BEFORE}, "rename", {Kind.OLD: BEFORE}, None, {Kind.OLD}, False),
        (
            {Kind.OLD: BEFORE, "f": WHOLE},
            None,
            {Kind.OLD: BEFORE, "f": WHOLE},
            WHOLE,
            {Kind.OLD},
            True,
        ),
        ({Kind.OLD: BEFORE, "f": FRAGMENT}, None, {"f": BEFORE}, BEFORE, set(), True),
        (
            {Kind.OLD: BEFORE, "f": FRAGMENT},
            "delete",
            {Kind.OLD: BEFORE, "f": FRAGMENT},
            FRAGMENT,
            {Kind.OLD},
            True,
        ),
        ({Kind.NEW: FRAGMENT, "f": BEFORE}, None, {"f": BEFORE}, BEFORE, set(), False),
        ({Kind.PART: FRAGMENT, "f": BEFORE}, None, {"f": BEFORE}, BEFORE, set(), False),
        (
            {Kind.NEW: FRAGMENT, "f": BEFORE},
            "delete",
            {Kind.NEW: FRAGMENT, "f": BEFORE},
            BEFORE,
            set(),
            False,
        ),
        ({Kind.LAST: WHOLE}, None, {Kind.LAST: WHOLE}, None, {Kind.LAST}, False),
        (
            {Kind.LAST: WHOLE, "f": FRAGMENT},
            None,
            {Kind.LAST: WHOLE, "f": FRAGMENT},
            FRAGMENT,
            {Kind.LAST},
            True,
        ),
        ({Kind.GONE: BEFORE}, None, {Kind.GONE: BEFORE}, None, set(), False),
    ],
)
async def test_tidying_up(
    phone: Path,
    found: State,
    cannot: str | None,
    left: State,
    named: bytes | None,
    superfluous: set[Kind],
    is_ours: bool,
) -> None:
    """Before a second try fragments go, the old contents get their name back, and the last copy stays."""
    (phone / "f").unlink()
    other = temporary_name(Kind.NEW, "other", len(FRAGMENT))
    (phone / other).write_bytes(FRAGMENT)
    async with world(phone) as w, w.claims.claim((w.root, "f")) as claim:
        for name, data in found.items():
            path = temporary_name(name, "f", len(WHOLE)) if isinstance(name, Kind) else name
            (phone / path).write_bytes(data)
        storage, folder = await w.fs.tree.place(w.root)
        place = saving.Place(w.root, storage, folder, "f", claim)
        entries = await w.fs.tree.look(w.root)
        if cannot == "rename":
            refuse(w, Operation.SetObjectPropValue)
        elif cannot == "delete":
            refuse(w, Operation.DeleteObject)
        entry, rest, ours = await saving.tidy(w.fs.device, place, entries)
        assert (phone / other).exists()
        (phone / other).unlink()
        assert there(phone) == left
        assert ours is is_ours
        assert {parsed.kind for one in rest if (parsed := parse(one.name))} == superfluous
        if named is None:
            assert entry is None
        else:
            assert entry is not None
            assert (entry.name, entry.size) == ("f", len(named))
