"""Files whose upload has failed, though the device may have got them: they can be removed, renamed, and sent later."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from mtpfs.errors import MtpfsError
from mtpfs.protocol.codes import Operation
from mtpfs.vfs import Node
from mtpfs.virtual.faults import Fault, Kind
from vfs.world import World, world

DATA = b"contents " * 100


async def doubtful(w: World, name: bytes = b"f") -> Node:
    """Have an upload be complete on the phone, and unconfirmed."""
    opened = await w.fs.create(w.root, name)
    node = opened.file.node
    await w.fs.write(opened, 0, DATA)
    w.transport.faults.add(Fault(Kind.SILENT_SUCCESS, Operation.SendObject))
    with pytest.raises(MtpfsError):
        await w.fs.flush(opened)
    await w.fs.release(opened)
    assert (w.phone / os.fsdecode(name)).read_bytes() == DATA
    assert not node.handle
    return node


@pytest.mark.parametrize("words", ["", "no-edit", "no-move&no-rename"])
async def test_removed(tmp_path: Path, words: str, autojump_clock: MockClock) -> None:
    """What is removed is gone from the phone, too, and doesn't come back."""
    async with world(tmp_path, words) as w:
        await doubtful(w)
        await w.fs.unlink(w.root, b"f")
        assert "f" not in os.listdir(tmp_path)
        await trio.sleep(60)
        w.fs.tree.expire()
        assert await w.names() == []
    assert os.listdir(tmp_path) == []


async def test_not_removed_without_an_answer(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A phone that doesn't answer has removed nothing, and whoever asked hears that."""
    async with world(tmp_path) as w:
        await doubtful(w)
        w.transport.faults.add(Fault(Kind.SILENCE, times=0))
        with pytest.raises(MtpfsError):
            await w.fs.unlink(w.root, b"f")
        w.transport.faults.clear()
        await trio.sleep(60)
        assert await w.names() == [b"f"]
        assert await w.get(await w.fs.lookup(w.root, b"f")) == DATA


@pytest.mark.parametrize("words", ["", "no-edit", "no-move&no-rename"])
async def test_renamed(tmp_path: Path, words: str, autojump_clock: MockClock) -> None:
    """It has one name afterwards, whole."""
    async with world(tmp_path, words) as w:
        await doubtful(w)
        name = b"g"
        await w.fs.rename(w.root, b"f", w.root, name)
        await trio.sleep(60)
        w.fs.tree.expire()
        assert await w.names() == [name]
        assert await w.get(await w.fs.lookup(w.root, name)) == DATA
    assert os.listdir(tmp_path) == [os.fsdecode(name)]


async def test_renamed_over(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A file that takes its place is the only one."""
    async with world(tmp_path) as w:
        await w.put(b"other", b"others")
        await doubtful(w)
        await w.fs.rename(w.root, b"other", w.root, b"f")
        await trio.sleep(60)
        w.fs.tree.expire()
        assert await w.names() == [b"f"]
        assert await w.get(await w.fs.lookup(w.root, b"f")) == b"others"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("first", ["unlink", "sync"])
async def test_removed_while_it_is_sent(tmp_path: Path, first: str) -> None:
    """Whichever comes first, neither waits for the other for ever, and the file is gone."""
    async with world(tmp_path) as w:
        await doubtful(w)
        opened = await w.open(b"f")

        async def sync() -> None:
            await w.fs.sync(opened)

        async def unlink() -> None:
            await w.fs.unlink(w.root, b"f")

        with trio.fail_after(60):  # by a real clock: one that jumps doesn't wait for threads
            async with trio.open_nursery() as nursery, w.claims.claim((w.root, "f")):
                for task in (unlink, sync) if first == "unlink" else (sync, unlink):
                    nursery.start_soon(task)
                    await trio.testing.wait_all_tasks_blocked()
            await w.fs.release(opened)
            while os.listdir(tmp_path):
                await trio.sleep(0.01)
        w.fs.tree.expire()
        assert await w.names() == []
    assert os.listdir(tmp_path) == []


async def test_renamed_while_its_removal_waits(tmp_path: Path) -> None:
    """A removal that finds the file renamed meanwhile removes nothing, and the contents are sent all the same."""
    data = bytes(9 << 20)  # more than one piece, so that sending can be stopped
    async with world(tmp_path) as w:
        opened = await w.fs.create(w.root, b"f")
        await w.fs.write(opened, 0, data)
        errors: list[int] = []

        async def unlink() -> None:
            try:
                await w.fs.unlink(w.root, b"f")
            except MtpfsError as error:
                errors.append(error.errno)

        async with trio.open_nursery() as nursery, w.claims.claim((w.root, "f"), (w.root, "g")):
            nursery.start_soon(unlink)
            await trio.testing.wait_all_tasks_blocked()
            w.fs.tree.relocate(opened.file.node, w.root, b"g", "g")  # what a rename does under its claim
        assert errors == [errno.ENOENT]
        await w.close(opened)
        assert (tmp_path / "g").read_bytes() == data
