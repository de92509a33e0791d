"""A file that is closed, opened by another program, or looked up anew, while it is being unlinked or renamed."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest
import trio
import trio.testing

from mtpfs.device import Device, Handle, writing
from mtpfs.errors import MtpfsError
from mtpfs.vfs.claims import Claim
from mtpfs.vfs.openfile import Destination, OpenFile
from vfs.world import world


@pytest.mark.parametrize("words", ["", "no-move&no-rename"])
async def test_reopened_while_it_is_unlinked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """The second descriptor is as good as the first one would have been."""
    (tmp_path / "f").write_bytes(b"contents")
    rename, keep = writing.rename, OpenFile.keep
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
        monkeypatch.setattr(OpenFile, "keep", kept)
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
