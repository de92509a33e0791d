"""The filesystem on the object: data safety, names, caches, transactions counted."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from mtpfs.device import Entry, listing
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.session import resync
from mtpfs.vfs import openfile
from mtpfs.vfs.recovery import recovery_directory
from mtpfs.vfs.windows import LARGEST, MEMORY
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from phones import ONE_STORAGE, name
from vfs.world import world

REFUSED_NAME = Fault(Kind.REFUSE, Operation.SetObjectPropValue, code=Response.InvalidObjectPropValue)
"""A rename that isn't tried again: GeneralError may mean that a name which was just vacated is still taken."""


async def settle(condition: object) -> None:
    """Wait until a condition holds that events bring about."""
    assert callable(condition)
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.02)


def error_of(caught: pytest.ExceptionInfo[MtpfsError]) -> str:
    return errno.errorcode[caught.value.errno]


@pytest.mark.parametrize("words", ONE_STORAGE, ids=name)
async def test_contents_are_exact(tmp_path: Path, words: str) -> None:
    """What is written is on the phone, and read back, for sizes around packets and windows."""
    async with world(tmp_path, words) as w:
        for size in (0, 1, 500, 501, 1012, 131072, 1048564, 3_000_001):
            data = os.urandom(size)
            node = await w.put(b"f%d.mp3" % size, data)
            assert (tmp_path / f"f{size}.mp3").read_bytes() == data
            assert await w.get(node) == data


@pytest.mark.parametrize("words", ONE_STORAGE, ids=name)
async def test_overwriting(tmp_path: Path, words: str) -> None:
    """Replacing keeps the old contents until flush, and leaves one object."""
    (tmp_path / "f.mp3").write_bytes(b"old contents")
    async with world(tmp_path, words) as w:
        opened = await w.open(b"f.mp3")
        node = opened.file.node
        await w.fs.truncate(node, 0, opened)
        await w.fs.write(opened, 0, b"new")
        assert (tmp_path / "f.mp3").read_bytes() == b"old contents"
        await w.fs.flush(opened)
        assert (tmp_path / "f.mp3").read_bytes() == b"new"
        await w.fs.release(opened)
        assert os.listdir(tmp_path) == ["f.mp3"]
        assert await w.get(node) == b"new"


@pytest.mark.parametrize("kind", [Kind.REFUSE, Kind.STALL_MID_DATA, Kind.SILENCE])
@pytest.mark.parametrize("operation", [Operation.SendObjectInfo, Operation.SendObject])
@pytest.mark.parametrize("words", ["", "no-edit"])
async def test_failing_replacement_keeps_the_old_file(
    tmp_path: Path, kind: Kind, operation: Operation, words: str
) -> None:
    """Whatever goes wrong while sending, the old contents are whole, and flush says that it failed."""
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path, words) as w:
        w.transport.faults.add(Fault(kind, operation, amount=20, times=FOREVER))
        with pytest.raises(MtpfsError):
            await w.put(b"f", os.urandom(100_000))
        assert (tmp_path / "f").read_bytes() == b"old contents"
        w.transport.faults.clear()
        await w.put(b"f", b"new")
        assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.parametrize("skip", [0, 1, 2])
@pytest.mark.parametrize("operation", [Operation.DeleteObject, Operation.SetObjectPropValue])
async def test_replacement_that_is_refused_at_the_end(
    tmp_path: Path, operation: Operation, skip: int
) -> None:
    """When deleting the old object or renaming is refused once, the new contents get their name another way."""
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(Kind.REFUSE, operation, skip=skip))
        await w.put(b"f", b"new contents")
        assert (tmp_path / "f").read_bytes() == b"new contents"
        assert await w.names() == [b"f"]  # which also deletes what couldn't be deleted before
        w.transport.faults.clear()
        await w.put(b"f", b"newest")
        assert (tmp_path / "f").read_bytes() == b"newest"
        assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("operation", [Operation.DeleteObject, Operation.SetObjectPropValue])
async def test_replacement_that_goes_on_failing(tmp_path: Path, operation: Operation) -> None:
    """Where nothing is deleted or renamed at all, one of the contents is whole, and success isn't claimed falsely."""
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(Kind.REFUSE, operation, times=FOREVER))
        await w.put(b"f", b"new contents")
        assert (tmp_path / "f").read_bytes() == b"new contents"
        for other in (Operation.SendObject, Operation.SendObjectInfo):
            w.transport.faults.add(Fault(Kind.REFUSE, other, skip=1, times=FOREVER))
        if operation == Operation.DeleteObject:
            await w.put(b"f", b"newest contents")
            assert (tmp_path / "f").read_bytes() == b"newest contents"
        else:
            with pytest.raises(MtpfsError):
                await w.put(b"f", b"newest contents")
            kept = [path for path in recovery_directory().rglob("*") if path.is_file()]
            whole = {path.read_bytes() for path in (*tmp_path.iterdir(), *kept)}
            assert {b"new contents", b"newest contents"} <= whole  # both, where the old ones had to go first
        w.transport.faults.clear()
        await w.put(b"f", b"last")
        assert (tmp_path / "f").read_bytes() == b"last"


async def test_failed_flush_can_be_repeated(tmp_path: Path) -> None:
    """After a flush that failed, the contents are still there, and the next flush saves them."""
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(Kind.FAIL, Operation.SendObject, code=Response.StoreFull))
        opened = await w.fs.create(w.root, b"f")
        await w.fs.write(opened, 0, b"contents")
        with pytest.raises(ResponseError) as caught:
            await w.fs.flush(opened)
        assert error_of(caught) == "ENOSPC"
        await w.close(opened)
        assert (tmp_path / "f").read_bytes() == b"contents"


@pytest.mark.parametrize("new", [b"short", b"contents that are longer than the old ones"])
async def test_given_up_contents_leave_no_size(tmp_path: Path, new: bytes) -> None:
    """When new contents are given up, size and date are the device's again, though asking for them fails at first."""
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.SendObject, code=Response.StoreFull))
        with pytest.raises(MtpfsError):
            await w.put(b"f", new)
        node = w.root.children[b"f"]
        assert node.ino in w.kernel.changed
        w.transport.faults.add(Fault(Kind.STALL, Operation.GetObjectInfo))
        with pytest.raises(MtpfsError):
            await w.fs.refresh(node)
        await w.fs.refresh(node)
        assert node.size == 12
        assert await w.get(node) == b"old contents"


@pytest.mark.parametrize(
    "fault", [Fault(Kind.REFUSE, Operation.SendObjectInfo), Fault(Kind.FULL, Operation.SendObject)]
)
async def test_unsaved_file_doesnt_stay(tmp_path: Path, fault: Fault) -> None:
    """A new file that could never be saved is not shown after it was closed.

    But for what Android keeps: a SendObject that it refuses as such leaves the announced name in its listings.
    """
    async with world(tmp_path) as w:
        w.transport.faults.add(replace(fault, times=FOREVER))
        with pytest.raises(MtpfsError):
            await w.put(b"f", b"contents")
        assert await w.names() == []


@pytest.mark.parametrize("words", ["", "no-edit", "no-partial&no-edit"])
async def test_changes_in_place(tmp_path: Path, words: str) -> None:
    """Writing into, truncating and extending existing contents, open and closed."""
    model = bytearray(os.urandom(10_000))
    (tmp_path / "f").write_bytes(model)
    async with world(tmp_path, words) as w:
        opened = await w.open(b"f")
        node = opened.file.node
        for offset, data in ((5, b"abc"), (9_999, b"end and more"), (20_000, b"behind a hole"), (0, b"x")):
            await w.fs.write(opened, offset, data)
            model[len(model) : offset] = bytes(max(0, offset - len(model)))
            model[offset : offset + len(data)] = data
        assert bytes(await w.fs.read(opened, 0, 100_000)) == model
        await w.fs.truncate(node, 8, opened)
        del model[8:]
        await w.fs.truncate(node, 30, opened)
        model += bytes(22)
        await w.fs.flush(opened)
        assert (tmp_path / "f").read_bytes() == model
        await w.fs.release(opened)
        await w.fs.truncate(node, 3)
        assert (tmp_path / "f").read_bytes() == model[:3]


async def test_edit_that_is_only_advertised(tmp_path: Path) -> None:
    """A device that advertises edits and refuses them is written to by sending the whole."""
    (tmp_path / "f").write_bytes(b"0123456789")
    async with world(tmp_path) as w:
        refusal = Fault(
            Kind.REFUSE, Operation.BeginEditObject, times=FOREVER, code=Response.OperationNotSupported
        )
        w.transport.faults.add(refusal)
        opened = await w.open(b"f")
        await w.fs.write(opened, 4, b"XX")
        await w.close(opened)
        assert (tmp_path / "f").read_bytes() == b"0123XX6789"


async def test_partial_reads_that_are_only_advertised(tmp_path: Path) -> None:
    """A device that refuses its partial reads is read by whole objects."""
    data = os.urandom(300_000)
    (tmp_path / "f").write_bytes(data)
    async with world(tmp_path) as w:
        for operation in (Operation.GetPartialObject64, Operation.GetPartialObject):
            code = Response.OperationNotSupported
            w.transport.faults.add(Fault(Kind.REFUSE, operation, times=FOREVER, code=code))
        assert await w.get(await w.fs.lookup(w.root, b"f")) == data


async def test_large_new_file_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file beyond the spool's limit goes on in place, byte-exact."""
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1 << 20)
    data = os.urandom(12_000_000)
    async with world(tmp_path) as w:
        opened = await w.fs.create(w.root, b"f")
        for offset in range(0, len(data), 131072):
            await w.fs.write(opened, offset, data[offset : offset + 131072])
        await w.close(opened)
        assert (tmp_path / "f").read_bytes() == data
        assert w.operations["SendPartialObject"] == 3


async def test_large_replacement_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that replaces a file; the old contents keep their name until the new ones are complete."""
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1 << 20)
    (tmp_path / "f").write_bytes(b"old contents")
    data = os.urandom(12_000_000)
    async with world(tmp_path) as w:
        opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)
        for offset in range(0, len(data), 131072):
            await w.fs.write(opened, offset, data[offset : offset + 131072])
            assert (tmp_path / "f").read_bytes() == b"old contents"
        assert bytes(await w.fs.read(opened, 5_000_000, 1000)) == data[5_000_000:5_001_000]
        assert w.operations["SendPartialObject"] >= 2
        await w.close(opened)
        assert (tmp_path / "f").read_bytes() == data
        assert await w.get(opened.file.node) == data
        assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("operation", [Operation.SendPartialObject, Operation.EndEditObject])
async def test_large_replacement_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    """When it is refused on the way, write or close say so, and the old contents are the file's."""
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1 << 20)
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path) as w:
        w.transport.faults.add(Fault(Kind.REFUSE, operation, code=Response.StoreFull, times=FOREVER))
        opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)

        async def write_and_close() -> None:
            for offset in range(0, 12_000_000, 131072):
                await w.fs.write(opened, offset, bytes(131072))
            await w.fs.flush(opened)

        with pytest.raises(MtpfsError):
            await write_and_close()
        with pytest.raises(MtpfsError):
            await w.fs.flush(opened)
        await w.fs.release(opened)
        w.transport.faults.clear()
        assert await w.names() == [b"f"]
        assert await w.get(await w.fs.lookup(w.root, b"f")) == b"old contents"
        assert os.listdir(tmp_path) == ["f"]


async def test_small_files_cost_two_transactions(tmp_path: Path) -> None:
    """Copying a small file in is SendObjectInfo and SendObject; the room is asked for once for all of them."""
    async with world(tmp_path) as w:
        await w.names()
        before = w.operations.copy()
        for number in range(10):
            await w.put(b"f%d" % number, b"x" * 10_000)
        assert w.spent(before) == {"SendObjectInfo": 10, "SendObject": 10, "GetStorageInfo": 1}


@pytest.mark.parametrize(("size", "asked"), [(10_000, 0), (1 << 20, 1)])
async def test_cost_of_replacing(tmp_path: Path, size: int, asked: int) -> None:
    """Sent, put aside, renamed, deleted; from 1 MiB on compared; and the room is asked for."""
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path) as w:
        await w.names()
        before = w.operations.copy()
        await w.put(b"f", bytes(size))
        expected = {
            "GetStorageInfo": 1,
            "SendObjectInfo": 1,
            "SendObject": 1,
            "GetObjectInfo": asked,
            "SetObjectPropValue": 2,
            "DeleteObject": 1,
        }
        assert w.spent(before) == {name: count for name, count in expected.items() if count}


async def test_nothing_written_costs_nothing(tmp_path: Path) -> None:
    """A descriptor that is closed before anything was written (`> file`, `dd of=`) sends nothing; the last one does."""
    (tmp_path / "f").write_bytes(b"old contents")
    async with world(tmp_path) as w:
        opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)
        before = w.operations.copy()
        await w.fs.flush(opened)
        assert w.spent(before) == {}
        assert (tmp_path / "f").read_bytes() == b"old contents"
        await w.fs.write(opened, 0, b"new")
        await w.close(opened)
        assert (tmp_path / "f").read_bytes() == b"new"
        new = await w.fs.create(w.root, b"empty")
        await w.fs.flush(new)
        assert os.listdir(tmp_path) == ["f"]
        await w.fs.release(new)
        assert (tmp_path / "empty").read_bytes() == b""


async def test_listing_costs(tmp_path: Path) -> None:
    """10,000 files are listed in at most 8 transactions, and in none the second time."""
    for number in range(10_000):
        (tmp_path / f"IMG_{number:05}.jpg").touch()
    async with world(tmp_path) as w:
        before = w.transactions
        assert len(await w.names()) == 10_000
        assert w.transactions - before <= 8
        before = w.transactions
        assert len(await w.names()) == 10_000
        assert w.transactions == before


async def test_random_reads_fetch_what_they_ask_for(tmp_path: Path) -> None:
    """A random read is one transaction of its own size."""
    data = os.urandom(2_000_000)
    (tmp_path / "f").write_bytes(data)
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        before, bytes_before = w.transactions, w.fs.device.session.statistics().bytes_in
        for offset in (500_000, 40_000, 1_900_000, 800_000):
            assert await w.fs.read(opened, offset, 4096) == data[offset : offset + 4096]
        await trio.testing.wait_all_tasks_blocked()
        assert w.transactions - before == 4
        assert w.fs.device.session.statistics().bytes_in - bytes_before < 4 * 5000
        await w.fs.release(opened)


async def test_sequential_reads_grow(tmp_path: Path) -> None:
    """Reading on needs ever fewer transactions, and never fetches a byte twice."""
    size = 20_000_000
    (tmp_path / "f").write_bytes(bytes(size))
    async with world(tmp_path) as w:
        node = await w.fs.lookup(w.root, b"f")
        before, bytes_before = w.transactions, w.fs.device.session.statistics().bytes_in
        assert len(await w.get(node)) == size
        assert w.transactions - before <= 12
        assert w.fs.device.session.statistics().bytes_in - bytes_before < size + 2000


async def test_parallel_readers_share(tmp_path: Path) -> None:
    """Readers of the same range wait for one transaction together."""
    data = os.urandom(131072)
    (tmp_path / "f").write_bytes(data)
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        before = w.transactions

        async def reader() -> None:
            assert await w.fs.read(opened, 0, 131072) == data

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(reader)
        assert w.transactions - before == 1
        await w.fs.release(opened)


async def test_read_ahead_is_bounded(tmp_path: Path) -> None:
    """However much is read, windows take no more memory than their budget and one window."""
    (tmp_path / "f").write_bytes(bytes(60_000_000))
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        node = opened.file.node
        for offset in range(0, node.size, 131072):
            await w.fs.read(opened, offset, 131072)
        assert w.fs.statistics().window_bytes <= MEMORY * LARGEST
        await w.fs.release(opened)


async def test_device_that_ends_early(tmp_path: Path) -> None:
    """A device with less data than it announced is an error, never a short copy."""
    (tmp_path / "f").write_bytes(bytes(500_000))
    async with world(tmp_path, "no-events") as w:
        node = await w.fs.lookup(w.root, b"f")
        os.truncate(tmp_path / "f", 1000)
        with pytest.raises(MtpfsError):
            await w.get(node)


async def test_names(tmp_path: Path) -> None:
    """What can be a name is one; what can't gets its errno."""
    async with world(tmp_path) as w:
        for name in ("n" * 254, "\N{CHEESE WEDGE}" * 60, "20180915_180351(0).jpg", "a:b?*", " x "):
            await w.put(name.encode(), b"x")
            assert name.encode() in await w.names()
        for wrong, expected in ((b"n" * 255, "ENAMETOOLONG"), (b"\xff\xfe", "EILSEQ")):
            with pytest.raises(FsError) as caught:
                await w.fs.create(w.root, wrong)
            assert error_of(caught) == expected


async def test_case_insensitive_collision(tmp_path: Path) -> None:
    """A name that would destroy another one, differing in case, is refused; renaming the case works."""
    async with world(tmp_path) as w:
        await w.put(b"Photo", b"x")
        for attempt in (w.fs.create(w.root, b"PHOTO"), w.fs.mkdir(w.root, b"photo")):
            with pytest.raises(FsError) as caught:
                await attempt
            assert error_of(caught) == "EEXIST"
        await w.fs.rename(w.root, b"Photo", w.root, b"PHOTO")
        assert os.listdir(tmp_path) == ["PHOTO"]


async def test_inode_numbers_stay(tmp_path: Path) -> None:
    """Numbers survive listings and new sessions, in which handles are others."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"contents")
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        opened = await w.open(b"f", directory, write=False)
        node = opened.file.node
        await w.fs.tree.ensure_listed(directory, fresh=True)
        assert (await w.fs.lookup(directory, b"f")).ino == node.ino

        def new_session(engine: object) -> None:
            resync.reopen_session(engine)  # type: ignore[arg-type]
            w.fs.device.session.renumbered()

        await w.fs.device.session.run(new_session)
        assert bytes(await w.fs.read(opened, 0, 100)) == b"contents"
        assert (await w.fs.lookup(directory, b"f")).ino == node.ino
        await w.fs.release(opened)


async def test_changes_on_the_phone_are_seen(tmp_path: Path) -> None:
    """Events bring what appears, and take what vanishes, without listing again."""
    (tmp_path / "old").touch()
    async with world(tmp_path) as w:
        assert await w.names() == [b"old"]
        listings = w.operations["GetObjectHandles"]
        (tmp_path / "new.jpg").write_bytes(b"photo")
        await settle(lambda: b"new.jpg" in w.root.children)
        assert await w.get(w.root.children[b"new.jpg"]) == b"photo"
        (tmp_path / "old").unlink()
        await settle(lambda: b"old" not in w.root.children)
        assert b"old" in w.kernel.gone
        assert w.operations["GetObjectHandles"] == listings


async def test_locked_phone(tmp_path: Path) -> None:
    """A locked phone is empty, which is never believed; unlocked, it has its storage."""
    (tmp_path / "f").touch()
    async with world(tmp_path, "locked") as w:
        assert await w.fs.entries(w.fs.tree.root) == []
        w.transport.set_locked(False)
        (storage,) = await w.fs.entries(w.fs.tree.root)
        assert await w.names(storage) == [b"f"]


async def test_unlinked_file_can_be_read_on(tmp_path: Path) -> None:
    """An open file outlives its name, and its object is gone after the last close."""
    data = os.urandom(400_000)
    (tmp_path / "f").write_bytes(data)
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        await w.fs.unlink(w.root, b"f")
        assert await w.names() == []
        assert bytes(await w.fs.read(opened, 300_000, 100_000)) == data[300_000:]
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert await w.names() == []
        await w.fs.release(opened)
        assert os.listdir(tmp_path) == []


async def test_rmdir_asks_the_device(tmp_path: Path) -> None:
    """A folder that only the device knows to be full isn't deleted: MTP would delete recursively."""
    (tmp_path / "d").mkdir()
    async with world(tmp_path, "no-events") as w:
        directory = await w.fs.lookup(w.root, b"d")
        assert await w.names(directory) == []
        (tmp_path / "d/precious").touch()
        with pytest.raises(FsError) as caught:
            await w.fs.rmdir(w.root, b"d")
        assert error_of(caught) == "ENOTEMPTY"
        assert (tmp_path / "d/precious").exists()


async def test_failing_rename_is_undone(tmp_path: Path) -> None:
    """When renaming over a file fails, and sending it anew does too, both have their names and contents."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    async with world(tmp_path) as w:
        w.transport.faults.add(replace(REFUSED_NAME, skip=1))
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.SendObjectInfo, times=FOREVER))
        with pytest.raises(ResponseError):
            await w.fs.rename(w.root, b"a", w.root, b"b")
        assert sorted(await w.names()) == [b"a", b"b"]
        assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("a", "b")


@pytest.mark.parametrize("skip", [0, 1])
async def test_refused_rename_is_done_by_sending(tmp_path: Path, skip: int) -> None:
    """A small file whose renaming over another one is refused is sent under its new name."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    async with world(tmp_path) as w:
        w.transport.faults.add(replace(REFUSED_NAME, skip=skip))
        await w.fs.rename(w.root, b"a", w.root, b"b")
        assert await w.names() == [b"b"]
        assert (tmp_path / "b").read_text() == "a"
        assert await w.get(await w.fs.lookup(w.root, b"b")) == b"a"
        assert os.listdir(tmp_path) == ["b"]


async def test_moving_with_colliding_names(tmp_path: Path) -> None:
    """A move to another name gets there even if the old name is taken on the other side."""
    (tmp_path / "d").mkdir()
    (tmp_path / "a").write_text("moving")
    (tmp_path / "d/a").write_text("in the way")
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        await w.fs.rename(w.root, b"a", directory, b"c")
        assert (tmp_path / "d/c").read_text() == "moving"
        assert (tmp_path / "d/a").read_text() == "in the way"
        await w.fs.rename(directory, b"c", directory, b"a")
        assert (tmp_path / "d/a").read_text() == "moving"
        assert sorted(os.listdir(tmp_path / "d")) == ["a"]


async def test_exdev_where_the_device_cant(tmp_path: Path) -> None:
    """Without MoveObject, or between storages, mv is told to copy."""
    (tmp_path / "a").touch()
    (tmp_path / "d").mkdir()
    async with world(tmp_path, "no-move") as w:
        directory = await w.fs.lookup(w.root, b"d")
        with pytest.raises(FsError) as caught:
            await w.fs.rename(w.root, b"a", directory, b"a")
        assert error_of(caught) == "EXDEV"


async def test_dates(tmp_path: Path) -> None:
    """A date set before closing is the object's; one set after is remembered here, for Android takes none."""
    async with world(tmp_path) as w:
        opened = await w.fs.create(w.root, b"f")
        await w.fs.write(opened, 0, b"x")
        node = opened.file.node
        await w.fs.set_modified(node, 1_500_000_000.5)
        await w.close(opened)
        assert (tmp_path / "f").stat().st_mtime == 1_500_000_000
        assert node.modified == 1_500_000_000
        await w.fs.set_modified(node, 1_000_000_000)
        assert node.modified == 1_000_000_000
        assert (tmp_path / "f").stat().st_mtime == 1_500_000_000
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert node.modified == 1_000_000_000
        await w.put(b"f", b"y")
        assert node.modified == int((tmp_path / "f").stat().st_mtime)


@pytest.mark.parametrize("is_known", [False, True])
async def test_date_set_later_on_a_phone_that_drops_dates(tmp_path: Path, *, is_known: bool) -> None:
    """It is remembered beside the date that the phone tells, not beside the one that the file was sent with."""
    async with world(tmp_path, "arrival-dates&no-events") as w:
        if is_known:
            opened = await w.fs.create(w.root, b"told")
            await w.fs.set_modified(opened.file.node, 1_400_000_000)
            await w.close(opened)
        assert w.fs.device.keeps_dates is (False if is_known else None)
        node = await w.put(b"f", b"x")
        os.utime(tmp_path / "f", (1_500_000_000,) * 2)  # the phone's clock is years behind
        sent = node.modified
        await w.fs.set_modified(node, 1_000_000_000)
        assert node.modified == 1_000_000_000
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert node.modified == 1_000_000_000
        assert sent > 1_500_000_000


async def test_one_bad_object_hides_nothing(tmp_path: Path) -> None:
    """An object that can't be described is skipped; all others are there."""
    for number in range(3):
        (tmp_path / f"f{number}").touch()
    async with world(tmp_path, "no-proplist") as w:
        w.fs.tree.expire()
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.GetObjectInfo, skip=1))
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert len(await w.names()) == 2


async def test_a_listing_that_was_under_way_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device has lost track while it was listing: what it said before may be wrong."""
    (tmp_path / "f").touch()
    async with world(tmp_path, ttl=3600.0) as w:
        children = listing.children

        async def interrupted(*of: Any) -> list[Entry]:
            found = await children(*of)
            w.fs.tree.expire()
            (tmp_path / "late").touch()
            return found

        monkeypatch.setattr(listing, "children", interrupted)
        await w.names()
        monkeypatch.undo()
        assert await w.names() == [b"f", b"late"]
        before = w.transactions
        assert await w.names() == [b"f", b"late"]
        assert w.transactions == before


async def test_finish_saves_what_is_open(tmp_path: Path) -> None:
    """Ending the mount sends what was written and not closed."""
    async with world(tmp_path) as w:
        opened = await w.fs.create(w.root, b"pending")
        await w.fs.write(opened, 0, b"contents")
    assert (tmp_path / "pending").read_bytes() == b"contents"


async def test_read_waits_for_the_write_before_it(tmp_path: Path) -> None:
    """A read that comes after a write returns what was written, even if the write takes its time."""
    (tmp_path / "f").write_bytes(b"old")
    async with world(tmp_path) as w:
        opened = await w.open(b"f")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.write, opened, 3, b"new")
            await trio.testing.wait_all_tasks_blocked()
            assert bytes(await w.fs.read(opened, 0, 10)) == b"oldnew"
        await w.close(opened)


async def test_growing_between_reads_without_partial_reads(tmp_path: Path) -> None:
    """What was fetched whole for a read isn't mistaken for the file after it has grown."""
    async with world(tmp_path, "no-partial") as w:
        await w.put(b"f", b"123")
        opened = await w.open(b"f")
        await w.fs.write(opened, 3, b"456")
        with trio.fail_after(10):
            assert bytes(await w.fs.read(opened, 0, 10)) == b"123456"
            await w.fs.write(opened, 6, b"789")
            assert bytes(await w.fs.read(opened, 0, 10)) == b"123456789"
        await w.close(opened)


@pytest.mark.parametrize("words", ["", "no-rename", "no-rename&no-edit", "no-rename&no-partial"])
async def test_unlinked_file_can_be_used_on(tmp_path: Path, words: str) -> None:
    """An open file that was deleted is read, written, and then gone, on devices that can't rename too."""
    (tmp_path / "f").write_bytes(b"contents")
    async with world(tmp_path, words) as w:
        opened = await w.open(b"f")
        await w.fs.write(opened, 0, b"C")
        await w.fs.unlink(w.root, b"f")
        await w.fs.write(opened, 8, b"!")
        assert bytes(await w.fs.read(opened, 0, 10)) == b"Contents!"
        await w.put(b"f", b"another")
        await w.close(opened)
        assert os.listdir(tmp_path) == ["f"]
        assert (tmp_path / "f").read_bytes() == b"another"


async def test_unlink_of_a_file_that_isnt_sent_yet(tmp_path: Path) -> None:
    """A new file can be deleted before it ever was on the device."""
    async with world(tmp_path) as w:
        opened = await w.fs.create(w.root, b"f")
        await w.fs.unlink(w.root, b"f")
        await w.fs.write(opened, 0, b"x")
        assert bytes(await w.fs.read(opened, 0, 10)) == b"x"
        await w.close(opened)
        assert os.listdir(tmp_path) == []


async def test_rmdir_after_closing_a_deleted_file(tmp_path: Path) -> None:
    """A directory can be removed as soon as the last deleted file in it was closed, not before."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"contents")
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        opened = await w.open(b"f", directory, write=False)
        await w.fs.unlink(directory, b"f")
        with pytest.raises(FsError) as caught:
            await w.fs.rmdir(w.root, b"d")
        assert error_of(caught) == "ENOTEMPTY"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.release, opened)  # the kernel doesn't wait for it
            await trio.testing.wait_all_tasks_blocked()
            await w.fs.rmdir(w.root, b"d")
        assert os.listdir(tmp_path) == []


async def test_no_trash(tmp_path: Path) -> None:
    """No trash can be made in the root, however one tries; one that is there is shown, and elsewhere it is a name."""
    (tmp_path / ".Trash-1000").mkdir()
    (tmp_path / ".Trash-1000/deleted").write_text("contents")
    async with world(tmp_path, storage="Internal shared storage") as w:
        fs, root = w.fs, w.fs.tree.root
        for trash in (b".Trash", b".Trash-0", b".Trash-4294967294"):
            with pytest.raises(FsError) as made:
                await fs.mkdir(root, trash)
            with pytest.raises(FsError) as created:
                await fs.create(root, trash)
            folder = await fs.mkdir(root, b"folder")
            with pytest.raises(FsError) as renamed:
                await fs.rename(root, b"folder", root, trash, replace=True)
            assert error_of(made) == error_of(created) == error_of(renamed) == "EPERM"
            await fs.mkdir(folder, trash)
            await fs.rmdir(folder, trash)
            await fs.rmdir(root, b"folder")
        assert [node.name for node in await fs.entries(root)] == [b".Trash-1000"]
        there = await fs.lookup(root, b".Trash-1000")
        assert [node.name for node in await fs.entries(there)] == [b"deleted"]
        for other in (b".Trash-", b".Trash-me", b".Trashes", b"Trash"):
            await fs.mkdir(root, other)
