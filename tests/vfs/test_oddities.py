"""What odd and broken phones do, seen through the filesystem: nothing else breaks, and nothing stays broken."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from mtpfs.device import Entry, Handle
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import Node, Open
from mtpfs.vfs.tree import UNKNOWN_DATE
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from vfs.world import World, world

WITHOUT_LISTS = ("", "no-proplist")


async def check(w: World, directory: Path, count: int) -> None:
    """Everything works: names, contents, writing."""
    names = await w.names()
    assert len(names) == count
    for name in names:
        node = await w.fs.lookup(w.root, name)
        if not node.is_folder:
            assert await w.get(node) == (directory / os.fsdecode(name)).read_bytes()
    await w.put(b"check", b"works")
    assert (directory / "check").read_bytes() == b"works"


def files(directory: Path, count: int = 6) -> None:
    for number in range(count):
        (directory / f"f{number}").write_bytes(os.urandom(3000 + number))


@pytest.mark.parametrize("words", WITHOUT_LISTS)
async def test_phantom_entry(tmp_path: Path, words: str) -> None:
    """A handle that nothing is behind hides no other object."""
    files(tmp_path)
    async with world(tmp_path, words) as w:
        w.transport.faults.add(Fault(Kind.PHANTOM, Operation.GetObjectHandles))
        await check(w, tmp_path, 6)
        assert not w.transport.faults.pending


@pytest.mark.parametrize("words", WITHOUT_LISTS)
@pytest.mark.parametrize("amount", [3, 100_000])
async def test_lying_count(tmp_path: Path, words: str, amount: int) -> None:
    """A count beyond the data is never a part of the directory, and passes.

    One of handles is an error; one of properties is got over.
    """
    files(tmp_path)
    async with world(tmp_path, words) as w:
        w.transport.faults.add(Fault(Kind.LYING_COUNT, Operation.GetObjectHandles, amount=amount))
        with pytest.raises(MtpfsError) as caught:
            await w.names()
        assert caught.value.errno == errno.EIO
        assert not w.transport.faults.pending
        if words != "no-proplist":
            w.transport.faults.add(Fault(Kind.LYING_COUNT, Operation.GetObjectPropList, amount=amount))
            assert len(await w.names()) == 6
            assert not w.transport.faults.pending
        await check(w, tmp_path, 6)


@pytest.mark.parametrize("words", ["", "no-proplist", "no-partial", "samsung"])
@pytest.mark.parametrize("amount", [1000, -1000])
async def test_lying_sizes(tmp_path: Path, words: str, amount: int) -> None:
    """A size that isn't true is never filled up with anything: an error, or what is there up to that size."""
    files(tmp_path)
    lists = Operation.GetObjectInfo if words == "no-proplist" else Operation.GetObjectPropList
    async with world(tmp_path, words) as w:
        w.transport.faults.add(Fault(Kind.LYING_SIZE, lists, times=6, amount=amount))
        names = await w.names()
        assert len(names) == 6
        for name in names:
            node = await w.fs.lookup(w.root, name)
            content = (tmp_path / os.fsdecode(name)).read_bytes()
            assert node.size == len(content) + amount
            if amount > 0:
                with pytest.raises(MtpfsError):
                    await w.get(node)
            else:
                assert await w.get(node) == content[: node.size]
        w.transport.faults.clear()
        w.fs.tree.expire()
        await check(w, tmp_path, 6)


@pytest.mark.parametrize("times", [1, 3, 6])
async def test_objects_that_hide_for_a_moment(tmp_path: Path, times: int) -> None:
    """What is listed and then unknown, as on a phone that is locked and unlocked in between, isn't left out."""
    files(tmp_path)
    async with world(tmp_path, "no-proplist") as w:
        w.transport.faults.add(
            Fault(Kind.REFUSE, Operation.GetObjectInfo, times=times, code=Response.InvalidObjectHandle)
        )
        assert len(await w.names()) == 6
        assert not w.transport.faults.pending


async def test_directory_that_is_unknown_for_a_moment(tmp_path: Path) -> None:
    """Its handle is looked up anew; if that doesn't help, it is ESTALE, for ENOENT would say that it is empty."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"contents")
    unknown = Fault(Kind.REFUSE, Operation.GetObjectHandles, code=Response.InvalidObjectHandle)
    async with world(tmp_path, "no-events") as w:
        directory = await w.fs.lookup(w.root, b"d")
        w.transport.renumber()
        assert await w.names(directory) == [b"f"]
        w.fs.tree.expire()
        w.transport.faults.add(unknown)
        assert await w.names(directory) == [b"f"]
        assert not w.transport.faults.pending
        w.transport.faults.add(replace(unknown, times=FOREVER))
        for call in (w.names, lambda d: w.fs.lookup(d, b"f")):
            w.fs.tree.expire()
            with pytest.raises(FsError) as caught:
                await call(directory)
            assert caught.value.errno == errno.ESTALE
        w.transport.faults.clear()
        assert await w.names(directory) == [b"f"]


async def test_handles_that_never_last(tmp_path: Path) -> None:
    """A phone whose objects get other handles while they are asked for: an error, never an empty directory."""
    files(tmp_path)
    async with world(tmp_path, "no-proplist&no-events") as w:
        w.transport.faults.add(Fault(Kind.RENUMBER, Operation.GetObjectInfo, times=FOREVER))
        with pytest.raises(MtpfsError) as caught:
            await w.names()
        assert caught.value.errno == errno.EIO
        w.transport.faults.clear()
        w.transport.faults.add(Fault(Kind.RENUMBER, Operation.GetObjectInfo, skip=2))
        assert len(await w.names()) == 6
        await check(w, tmp_path, 6)


async def test_directory_that_has_vanished(tmp_path: Path) -> None:
    """It isn't shown as an empty one to somebody who still knows it."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        assert [node.name for node in await w.fs.entries(directory)] == [b"f"]
        shutil.rmtree(tmp_path / "d")
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        with pytest.raises(FsError) as caught:
            await w.fs.entries(directory)
        assert caught.value.errno == errno.ESTALE


@pytest.mark.parametrize("call", ["list", "flush"])
async def test_directory_that_vanishes_while_it_is_waited_for(tmp_path: Path, call: str) -> None:
    """Whoever waits for its lock, or for a claim in it, meanwhile hears of that, and takes nothing for listed or saved."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"old")
    outcome = []

    async def try_it(w: World, directory: Node, opened: Open) -> None:
        try:
            await (w.fs.entries(directory) if call == "list" else w.fs.flush(opened))
        except FsError as error:
            outcome.append(error.errno)

    async with world(tmp_path) as w, trio.open_nursery() as nursery:
        directory = await w.fs.lookup(w.root, b"d")
        opened = await w.open(b"f", directory, write=True)
        await w.fs.truncate(opened.file.node, 0, opened)
        await w.fs.write(opened, 0, b"new")
        async with directory.listing_lock, w.claims.claim((directory, "f")):
            directory.distrust()
            nursery.start_soon(try_it, w, directory, opened)
            await trio.testing.wait_all_tasks_blocked(0.1)
            shutil.rmtree(tmp_path / "d")
            await w.fs.tree.ensure_listed(w.root, fresh=True)
            w.fs.tree.listed_empty(directory)  # as if somebody else had listed it
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert outcome == [errno.ESTALE]
        await w.fs.release(opened)


async def test_object_that_is_unknown_while_it_is_read(tmp_path: Path) -> None:
    """Once is no error, if the object is still listed then; twice is one."""
    files(tmp_path)
    unknown = Fault(Kind.REFUSE, Operation.GetPartialObject64, code=Response.InvalidObjectHandle)
    async with world(tmp_path) as w:
        node = await w.fs.lookup(w.root, b"f1")
        w.transport.faults.add(unknown)
        assert await w.get(node) == (tmp_path / "f1").read_bytes()
        node = await w.fs.lookup(w.root, b"f2")
        w.transport.faults.add(replace(unknown, times=2))
        with pytest.raises(FsError) as caught:
            await w.get(node)
        assert caught.value.errno == errno.ESTALE
        await check(w, tmp_path, 6)


async def test_object_that_vanishes_while_it_is_read(tmp_path: Path) -> None:
    """The reader hears of it, the name goes, and everything else stays."""
    files(tmp_path)
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    async with world(tmp_path) as w:
        opened = await w.open(b"large", write=False)
        await w.fs.read(opened, 0, 1000)
        w.transport.faults.add(Fault(Kind.VANISH, Operation.GetPartialObject64))
        with pytest.raises(FsError) as caught:
            await w.fs.read(opened, 2_000_000, 1000)
        assert caught.value.errno in {errno.ESTALE, errno.ENOENT}
        await w.fs.release(opened)
        assert b"large" not in await w.names()
        await check(w, tmp_path, 6)


@pytest.mark.parametrize(
    "operation", [Operation.GetObjectInfo, Operation.SetObjectPropValue, Operation.DeleteObject]
)
async def test_object_that_vanishes_before_it_is_changed(tmp_path: Path, operation: Operation) -> None:
    """An operation on an object that has just gone is ENOENT, or is what was wanted; not more."""
    files(tmp_path)
    async with world(tmp_path, "no-events") as w:
        node = await w.fs.lookup(w.root, b"f0")
        node.attributes_stale = True
        w.transport.faults.add(Fault(Kind.VANISH, operation))
        failure = errno.ENOENT
        try:
            await w.fs.refresh(node)
            await w.fs.rename(w.root, b"f0", w.root, b"other")
            await w.fs.unlink(w.root, b"other")
        except (FsError, ResponseError) as error:
            failure = error.errno
        assert failure in {errno.ENOENT, errno.ESTALE}
        assert not w.transport.faults.pending
        w.fs.tree.expire()
        await check(w, tmp_path, 5)


@pytest.mark.parametrize("words", ["", "no-edit"])
async def test_full_in_the_middle_of_a_file(tmp_path: Path, words: str) -> None:
    """ENOSPC reaches the writer; the old contents stay whole; room again, and it can be saved."""
    files(tmp_path)
    async with world(tmp_path, words) as w:
        before = (tmp_path / "f1").read_bytes()
        for name in (b"f1", b"new"):
            w.transport.faults.add(Fault(Kind.FULL, Operation.SendObject, amount=100_000))
            with pytest.raises(MtpfsError) as caught:
                await w.put(name, os.urandom(300_000))
            assert caught.value.errno == errno.ENOSPC
            assert not w.transport.faults.pending
        assert (tmp_path / "f1").read_bytes() == before
        assert not (tmp_path / "new").exists()
        await check(w, tmp_path, 6)


@pytest.mark.parametrize(
    "operation", [None, *(Operation[name] for name in ("SendObjectInfo", "GetObjectPropList"))]
)
async def test_bursts_of_device_busy(
    tmp_path: Path, operation: Operation | None, autojump_clock: trio.testing.MockClock
) -> None:
    """A device that is busy for a while is waited for."""
    files(tmp_path)
    async with world(tmp_path) as w:
        for _ in range(3):
            w.transport.faults.add(Fault(Kind.BUSY, operation, skip=1, times=4))
        await check(w, tmp_path, 6)


@pytest.mark.parametrize(("seconds", "is_error"), [(1, False), (25, False), (45, True), (100, True)])
async def test_late_answers(
    tmp_path: Path, seconds: int, is_error: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Late within the timeout is only late; later is an error, and the answer that comes then is nobody else's."""
    files(tmp_path)
    async with world(tmp_path, "no-events") as w:
        node = await w.fs.lookup(w.root, b"f1")
        w.transport.faults.add(Fault(Kind.LATE, Operation.GetPartialObject64, amount=1000 * seconds))
        content = (tmp_path / "f1").read_bytes()
        begun = w.transport.monotonic()
        if is_error:
            with pytest.raises(MtpfsError):
                await w.get(node)
            assert w.transport.monotonic() - begun < seconds
        else:
            assert await w.get(node) == content
            assert w.transport.monotonic() - begun > seconds
            assert w.operations["GetPartialObject64"] == 1  # nothing was asked again
        while w.transport.monotonic() - begun < seconds:  # it is given up for a while, and tried again
            try:
                found = await w.get(node)
            except MtpfsError:
                await trio.sleep(6)
            else:
                assert found == content
                break
        assert await w.get(node) == content
        await check(w, tmp_path, 6)


@pytest.mark.parametrize("words", WITHOUT_LISTS)
async def test_names_twice_and_names_that_are_none(tmp_path: Path, words: str) -> None:
    """Two objects with one name are two files; a name that isn't Unicode is a name nevertheless."""
    files(tmp_path)
    # Android clips names to 254 units: these two become one
    (tmp_path / ("n" * 254 + "1")).write_bytes(b"one")
    (tmp_path / ("n" * 254 + "2")).write_bytes(b"two")
    (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"odd")
    async with world(tmp_path, words) as w:
        names = await w.names()
        assert len(set(names)) == len(names) == 9
        contents = {}
        for name in names:
            contents[name] = await w.get(await w.fs.lookup(w.root, name))
        assert sorted(contents[name] for name in names if name.startswith(b"nnn")) == [b"one", b"two"]
        assert [contents[name] for name in names if name.endswith(b".jpg")] == [b"odd"]
        (odd,) = (name for name in names if name.endswith(b".jpg"))
        await w.fs.unlink(w.root, odd)
        assert len(os.listdir(tmp_path)) == 8


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour east of Greenwich."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("words", WITHOUT_LISTS)
@pytest.mark.parametrize(
    ("who", "known"),
    [
        ("android", True),
        ("samsung", True),
        ("jolla", True),
        ("lumia", True),
        ("none", False),
        ("zero", False),
        ("junk", False),
    ],
)
async def test_dates(tmp_path: Path, words: str, who: str, known: bool) -> None:
    """Every way to write a date is understood; what is none is unknown, and hides nothing."""
    files(tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (1582945200, 1582945200))
    async with world(tmp_path, f"dates={who}&{words}") as w:
        for name in await w.names():
            modified = (await w.fs.lookup(w.root, name)).modified
            assert modified == (1582945200 if known else UNKNOWN_DATE)
        await check(w, tmp_path, 6)


@pytest.mark.parametrize("words", ["", "no-proplist", "no-edit"])
async def test_renumbered_with_an_event(tmp_path: Path, words: str) -> None:
    """All handles change and the phone says so: open files, directories and inode numbers go on."""
    files(tmp_path)
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/deep").write_bytes(b"deep")
    async with world(tmp_path, words) as w:
        outer = await w.fs.lookup(w.root, b"d")
        inner = await w.fs.lookup(outer, b"e")
        deep = await w.fs.lookup(inner, b"deep")
        open_one = await w.fs.lookup(w.root, b"f1")
        opened = await w.fs.open(open_one, write=False)
        numbers = [node.ino for node in (outer, inner, deep, open_one)]
        w.transport.renumber()
        await trio.sleep(1)
        assert bytes(await w.fs.read(opened, 0, 5000)) == (tmp_path / "f1").read_bytes()
        await w.fs.release(opened)
        await w.put(b"new", b"new", inner)
        assert (tmp_path / "d/e/new").read_bytes() == b"new"
        assert await w.get(deep) == b"deep"
        await w.fs.rename(inner, b"deep", w.root, b"high")
        assert (tmp_path / "high").read_bytes() == b"deep"
        await w.fs.unlink(inner, b"new")
        found = [await w.fs.lookup(w.root, b"d"), await w.fs.lookup(outer, b"e"), deep, open_one]
        assert [node.ino for node in found] == numbers
        await check(w, tmp_path, 8)


@pytest.mark.parametrize("words", ["", "no-proplist", "no-edit"])
async def test_renumbered_without_a_word(tmp_path: Path, words: str) -> None:
    """Nobody says that handles have changed: a call may fail, but none goes to a wrong object, and none fails twice."""
    files(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/deep").write_bytes(b"deep")
    async with world(tmp_path, words) as w:
        directory = await w.fs.lookup(w.root, b"d")
        await w.fs.lookup(directory, b"deep")
        w.transport.faults.add(Fault(Kind.RENUMBER))
        failures = set()
        for attempt in range(4):
            try:
                await w.put(b"f1", b"changed")
                await w.put(b"new", b"new", directory)
                break
            except MtpfsError as error:
                failures.add((attempt, error.errno))
        assert {attempt for attempt, _ in failures} <= {0, 1}
        assert {number for _, number in failures} <= {errno.ENOENT, errno.ESTALE, errno.EIO}
        assert (tmp_path / "f1").read_bytes() == b"changed"
        assert (tmp_path / "d/new").read_bytes() == b"new"
        for path in tmp_path.glob("*mtpfs-*"):
            path.unlink()  # what a failed attempt may leave
        w.fs.tree.expire()
        await check(w, tmp_path, 7)


@pytest.mark.parametrize("kind", [Kind.FAIL, Kind.SILENT_SUCCESS])
async def test_change_that_was_done_after_all(tmp_path: Path, kind: Kind) -> None:
    """A device that says that it has failed, or nothing, and has done it: the next look shows what is there."""
    files(tmp_path)
    (tmp_path / "d").mkdir()
    async with world(tmp_path) as w:
        assert len(await w.names()) == 7
        w.transport.faults.add(Fault(kind, Operation.DeleteObject, times=2))
        for change in (w.fs.unlink(w.root, b"f1"), w.fs.rmdir(w.root, b"d")):
            with pytest.raises(MtpfsError):
                await change
        w.transport.faults.add(Fault(kind, Operation.SendObjectInfo))
        with pytest.raises(MtpfsError):
            await w.fs.mkdir(w.root, b"new")
        assert await w.names() == sorted(os.fsencode(name) for name in os.listdir(tmp_path))


async def test_a_namesake_of_an_older_handle(tmp_path: Path) -> None:
    """A file keeps its name and handle when a device lists a second object of that name (cmtp-responder's leftovers)."""
    async with world(tmp_path, "no-events") as w:
        await w.put(b"earlier", b"x")
        await w.fs.unlink(w.root, b"earlier")
        node = await w.put(b"f", b"contents")
        handle = node.handle
        assert handle is not None
        older = Entry(
            Handle(handle.number - 1, handle.generation), "f", is_folder=False, size=1, modified=None
        )
        known = Entry(handle, "f", is_folder=False, size=8, modified=None)
        w.fs.tree.merge(w.root, [older, known])
        assert w.root.children[b"f"] is node
        assert node.handle == handle
        assert w.root.children[b"f~2"].handle == older.handle
