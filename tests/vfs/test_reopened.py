"""A file that is closed, and opened by somebody else, while it is being unlinked."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mtpfs.device import Device, Handle, writing
from mtpfs.errors import MtpfsError
from mtpfs.vfs.claims import Claim
from mtpfs.vfs.openfile import OpenFile
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
