"""Temporary files that programs rename wait for their name, and are lost in no case."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mtpfs.errors import FsError
from mtpfs.protocol.codes import Operation
from mtpfs.vfs.held import holds
from mtpfs.virtual.faults import Fault, Kind
from vfs.world import World, world

DRAFT = b".photo.jpg.Ab12Cd"


async def write(w: World, name: bytes = DRAFT) -> None:
    """Write and close, without anybody waiting for the device."""
    await w.put(name, b"contents", by_mkstemp=True)


def test_names() -> None:
    """Only what rsync calls its temporary files, and creates as it does, is one."""
    assert holds(DRAFT, exclusive=True, mode=0o100600)
    assert holds(b".a.aaaaaa", exclusive=True, mode=0o600)
    for name in (b"photo.jpg.Ab12Cd", b".photo", b".photo.jpg", b"..Ab12Cd", b".a.Ab12C-", b".a.Ab12Cde"):
        assert not holds(name, exclusive=True, mode=0o600)
    assert not holds(DRAFT, exclusive=False, mode=0o600)
    assert not holds(DRAFT, exclusive=True, mode=0o644)


async def test_sent_with_date_and_name(tmp_path: Path) -> None:
    """The date set between close and rename arrives with the contents."""
    async with world(tmp_path) as w:
        await write(w)
        assert not list(tmp_path.iterdir())
        node = await w.fs.lookup(w.root, DRAFT)
        assert await w.get(node) == b"contents"
        await w.fs.set_modified(node, 1_400_000_000)
        await w.fs.rename(w.root, DRAFT, w.root, b"photo.jpg")
        assert (tmp_path / "photo.jpg").read_bytes() == b"contents"
        assert (tmp_path / "photo.jpg").stat().st_mtime == 1_400_000_000
        assert w.file(node) is None


@pytest.mark.parametrize("kind", ["arrival-dates", "as=umtp", "as=tizen", "arrival-dates&no-rename"])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("replaces", [True, False])
async def test_date_that_the_phone_drops(
    tmp_path: Path, kind: str, *, is_first: bool, replaces: bool
) -> None:
    """A date is remembered of the file that has the name in the end, also where there was one before.

    The first one is held, and sent as what it becomes. The next ones are renamed on the phone, or sent anew.
    """
    async with world(tmp_path, kind) as w:
        if not is_first:
            await w.put(b"before", b"x")
            await w.fs.set_modified(await w.fs.lookup(w.root, b"before"), 1_300_000_000)
            w.fs.device.keeps_dates = False
        if replaces:
            (tmp_path / "photo").write_bytes(b"old")
            await w.fs.tree.ensure_listed(w.root, fresh=True)
        draft = b".photo.Ab12Cd"
        await write(w, draft)
        node = await w.fs.lookup(w.root, draft)
        await w.fs.set_modified(node, 1_400_000_000)
        await w.fs.rename(w.root, draft, w.root, b"photo")
        assert node.modified == 1_400_000_000
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert (await w.fs.lookup(w.root, b"photo")).modified == 1_400_000_000
        assert (tmp_path / "photo").read_bytes() == b"contents"


async def test_date_of_a_phone_that_stumbles(tmp_path: Path) -> None:
    """A date that the phone has dropped is remembered, though the first question for its own came to nothing."""
    async with world(tmp_path, "arrival-dates") as w:
        opened = await w.fs.create(w.root, b"photo")
        await w.fs.write(opened, 0, b"contents")
        await w.fs.set_modified(await w.fs.lookup(w.root, b"photo"), 1_400_000_000)
        w.transport.faults.add(Fault(Kind.STALL, Operation.GetObjectInfo))
        await w.close(opened)
        assert not w.transport.faults.pending
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert (await w.fs.lookup(w.root, b"photo")).modified == 1_400_000_000


async def test_never_renamed(tmp_path: Path, autojump_clock: MockClock) -> None:
    """One that nobody renames is sent after a while."""
    async with world(tmp_path) as w:
        await write(w)
        for _ in range(1000):
            if (tmp_path / DRAFT.decode()).exists() and not w.fs.device.session.statistics().queued:
                break
            # Not on the simulated clock: it runs ahead while the worker thread is at work.
            await trio.to_thread.run_sync(time.sleep, 0.01)
    assert (tmp_path / DRAFT.decode()).read_bytes() == b"contents"


async def test_unmounted(tmp_path: Path) -> None:
    """One that waits when the mount ends is sent then."""
    async with world(tmp_path) as w:
        await write(w)
        await w.put(b"other", b"contents")
        assert w.fs.unsaved == 1
    assert (tmp_path / DRAFT.decode()).read_bytes() == b"contents"
    assert [path.rpartition("/")[2] for path in w.fs.outcome.arrived] == [DRAFT.decode()]
    assert w.fs.outcome.unsent == []


async def test_synced(tmp_path: Path) -> None:
    """fsync means now."""
    async with world(tmp_path) as w:
        opened = await w.fs.create(w.root, DRAFT, exclusive=True, mode=0o600)
        await w.fs.write(opened, 0, b"contents")
        await w.fs.sync(opened)
        assert (tmp_path / DRAFT.decode()).read_bytes() == b"contents"
        await w.fs.release(opened)


async def test_unlinked(tmp_path: Path) -> None:
    """One that is deleted was never sent, and nothing of it is kept."""
    async with world(tmp_path) as w:
        await write(w)
        node = await w.fs.lookup(w.root, DRAFT)
        before = w.operations.get("SendObject", 0)
        await w.fs.unlink(w.root, DRAFT)
        assert w.file(node) is None
        with pytest.raises(FsError):
            await w.fs.lookup(w.root, DRAFT)
        assert w.operations.get("SendObject", 0) == before


async def test_replaced_by_another(tmp_path: Path) -> None:
    """A draft can be renamed over another draft."""
    async with world(tmp_path) as w:
        await write(w, b".one.aaaaaa")
        await write(w, b".two.bbbbbb")
        await w.fs.rename(w.root, b".one.aaaaaa", w.root, b".two.bbbbbb")
        assert await w.names() == [b".two.bbbbbb"]
    assert [path.name for path in tmp_path.iterdir()] == [".two.bbbbbb"]


async def test_others_are_sent_at_once(tmp_path: Path) -> None:
    """Nothing else waits: neither another name, nor that name for a file which no mkstemp has made."""
    async with world(tmp_path) as w:
        await w.put(b".bashrc.backup", b"contents")
        assert (tmp_path / ".bashrc.backup").read_bytes() == b"contents"
        await write(w, b".photo.jpg")
        assert (tmp_path / ".photo.jpg").read_bytes() == b"contents"
