"""A file that is closed, opened by another program, or looked up anew, while it is being unlinked or renamed."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from mtpfs.device import Device, Entry, Handle, listing, writing
from mtpfs.errors import MtpfsError, TransportTimeoutError
from mtpfs.vfs import saving
from mtpfs.vfs.claims import Claim
from mtpfs.vfs.openfile import Destination, OpenFile
from vfs.world import world


@pytest.mark.parametrize("words", ["", "no-move&no-rename"])
async def test_reopened_while_it_is_unlinked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """The second descriptor is as good as the first one would have been."""
    (tmp_path / "f").write_bytes(b"contents")
    rename, keep = writing.rename, OpenFile.bring_here
    async with world(tmp_path, words) as w:
        descriptors = [await w.open(b"f", write=False)]
        node = descriptors[0].file.node

        async def reopen() -> None:
            if len(descriptors) == 1:
                await w.close(descriptors[0])
                await w.fs._files.end(descriptors[0].file)
                descriptors.append(await w.fs.open(node, write=False))
                assert descriptors[1].file is not descriptors[0].file

        async def renamed(device: Device, handle: Handle, old: str, new: str) -> None:
            await rename(device, handle, old, new)
            await reopen()

        async def kept(file: OpenFile, claim: Claim) -> None:
            await keep(file, claim)
            await reopen()

        monkeypatch.setattr(writing, "rename", renamed)
        monkeypatch.setattr(OpenFile, "bring_here", kept)
        await w.fs.unlink(w.root, b"f")
        assert bytes(await w.fs.read(descriptors[1], 0, 100)) == b"contents"
        await w.close(descriptors[1])
    assert list(tmp_path.iterdir()) == []


async def test_closed_and_unplugged_while_it_is_unlinked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put aside for a descriptor that is closed by then, and the phone leaves: the next listing deletes it."""
    (tmp_path / "f").write_bytes(b"contents")
    rename = writing.rename
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)

        async def renamed(device: Device, handle: Handle, old: str, new: str) -> None:
            await rename(device, handle, old, new)
            await w.close(opened)
            await w.fs._files.end(opened.file)
            w.transport.unplug()
            await device.session.until_gone()

        monkeypatch.setattr(writing, "rename", renamed)
        with pytest.raises(MtpfsError) as caught:
            await w.fs.unlink(w.root, b"f")
        assert caught.value.errno == errno.ENODEV
        assert [path.name.split("-")[1] for path in tmp_path.iterdir()] == ["gone"]
        w.transport.replug()
        await w.fs.device.session.until_back()
        assert await w.names() == []
        assert list(tmp_path.iterdir()) == []


async def test_handle_is_looked_up_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is put aside for another one is found by the name that it has for the moment."""
    (tmp_path / "f").write_bytes(b"old contents")
    (tmp_path / "new").write_bytes(b"new contents")
    rename = writing.rename
    async with world(tmp_path) as w:
        opened = await w.open(b"f")
        node = opened.file.node
        await w.fs.write(opened, 0, b"OLD")
        known_as = []

        async def look_up() -> None:
            known_as.append(node.object_name.split("-")[1:2])
            handle = node.handle
            assert handle is not None
            w.fs.tree._distrust(handle)  # as when the device says that it doesn't know it
            assert await w.fs.tree.handle(node) == handle

        async def renamed(device: Device, handle: Handle, old: str, new: str) -> None:
            await look_up()
            await rename(device, handle, old, new)

        monkeypatch.setattr(writing, "rename", renamed)
        await w.fs.rename(w.root, b"new", w.root, b"f")
        await look_up()
        assert known_as == [[], ["old"], ["old"], ["gone"]]
        assert bytes(await w.fs.read(opened, 0, 100)) == b"OLD contents"
        await w.close(opened)
        assert await w.get(await w.fs.lookup(w.root, b"f")) == b"new contents"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"new contents")]


async def test_closed_in_vain_while_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file that can't be sent, and whose last descriptor is closed during a rename, is nowhere afterwards."""
    async with world(tmp_path) as w, trio.open_nursery() as nursery:
        opened = await w.fs.create(w.root, b"f")
        await w.fs.write(opened, 0, b"contents")
        opened.file.give_up()

        async def save(file: OpenFile, claim: Claim, destination: Destination | None = None) -> None:
            nursery.start_soon(w.fs.release, opened)
            await trio.testing.wait_all_tasks_blocked()

        monkeypatch.setattr(OpenFile, "save", save)
        with contextlib.suppress(MtpfsError):
            await w.fs.rename(w.root, b"f", w.root, b"g")
        await trio.testing.wait_all_tasks_blocked()
        assert w.file(opened.file.node) is None
        assert await w.names() == []
    assert list(tmp_path.iterdir()) == []


async def test_target_that_is_unsaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be renamed, what is replaced is what the phone has, not what isn't sent yet."""
    (tmp_path / "f").write_bytes(b"old contents")
    (tmp_path / "new").write_bytes(b"new contents")
    store = saving.store
    replaced = []

    async def stored(*args: Any, old: Entry, **kwargs: Any) -> Handle:
        replaced.append(old.size)
        return await store(*args, old=old, **kwargs)

    monkeypatch.setattr(saving, "store", stored)
    async with world(tmp_path, "no-move&no-rename") as w:
        opened = await w.open(b"f")
        await w.fs.truncate(opened.file.node, 0, opened)
        await w.fs.write(opened, 0, bytes(1000))
        await w.fs.rename(w.root, b"new", w.root, b"f")
        assert replaced == [12]
        assert bytes(await w.fs.read(opened, 0, 2000)) == bytes(1000)
        await w.close(opened)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"new contents")]


async def test_moved_away_while_its_directory_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a phone says of an object that we have moved meanwhile is true of where it is now, not of here."""
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(b"contents")
    children, move_object = listing.children, writing.move
    async with world(tmp_path) as w, trio.open_nursery() as nursery:
        folder = await w.fs.lookup(w.root, b"d")
        await w.names(folder)

        moving, asked, moved = trio.Event(), trio.Event(), trio.Event()

        async def move(*arguments: Any) -> None:
            moving.set()
            await asked.wait()
            await move_object(*arguments)

        async def rename() -> None:
            await w.fs.rename(w.root, b"f", folder, b"g")
            moved.set()

        async def listed(device: Device, storage_id: int, parent: Handle) -> list[Entry]:
            entries = await children(device, storage_id, parent)
            if not moved.is_set():
                asked.set()
                await moved.wait()
            return [entry if entry.is_folder else replace(entry, name="g") for entry in entries]

        monkeypatch.setattr(writing, "move", move)
        nursery.start_soon(rename)
        await moving.wait()
        monkeypatch.setattr(listing, "children", listed)
        w.root.distrust()
        assert await w.names() == [b"d"]
        assert await w.names(folder) == [b"g"]
        assert await w.get(await w.fs.lookup(folder, b"g")) == b"contents"


async def test_described_while_it_gets_another_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late answer about the object that a file had before doesn't make that its object again."""
    (tmp_path / "f").write_bytes(b"contents")
    describe = listing.entry
    async with world(tmp_path, "no-move&no-rename") as w:
        node = await w.fs.lookup(w.root, b"f")

        async def described(device: Device, handle: Handle) -> Entry:
            monkeypatch.setattr(listing, "entry", describe)
            entry = await describe(device, handle)
            await w.fs.rename(w.root, b"f", w.root, b"g")
            return entry

        monkeypatch.setattr(listing, "entry", described)
        node.attributes_stale = True
        await w.fs.refresh(node)
        assert (node.name, node.object_name) == (b"g", "g")
        assert await w.get(node) == b"contents"


async def test_put_aside_in_vain_while_another_change_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that waited for a claim on the name of a moment claims the right one before it does anything."""
    for name in ("f", "new", "other"):
        (tmp_path / name).write_bytes(name.encode())
    rename = writing.rename
    async with world(tmp_path) as w, trio.open_nursery() as nursery:

        async def renamed(device: Device, handle: Handle, old: str, new: str) -> None:
            if old == "new":
                # By now f is put aside. The second change begins, and has to wait for this one.
                nursery.start_soon(partial(w.fs.rename, w.root, b"f", w.root, b"other", replace=True))
                await trio.testing.wait_all_tasks_blocked()
                raise TransportTimeoutError("no answer")
            if old == "other":
                held.append(w.claims.is_claimed(w.root, "f"))
            await rename(device, handle, old, new)

        held: list[bool] = []
        monkeypatch.setattr(writing, "rename", renamed)
        with pytest.raises(MtpfsError):
            await w.fs.rename(w.root, b"new", w.root, b"f")
    assert held == [True]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new": b"new", "other": b"f"}
