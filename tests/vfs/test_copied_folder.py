"""A listing that was under way when its folder was replaced by a copy is none of the copy's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.device import Device, Entry, Handle, listing
from vfs.world import world


async def test_listed_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds has the handles of the new objects, not of those that are being deleted."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"contents")
    children = listing.children
    async with world(tmp_path, "no-move&no-rename") as w:
        directory = await w.fs.lookup(w.root, b"d")
        old = directory.handle
        calls = 0

        async def listed(device: Device, storage_id: int, folder: Handle) -> list[Entry]:
            nonlocal calls
            calls += 1
            found = await children(device, storage_id, folder)
            if calls == 1:
                await w.fs.rename(w.root, b"d", w.root, b"e")
            return found

        monkeypatch.setattr(listing, "children", listed)
        (node,) = await w.fs.entries(directory)
        assert calls > 1
        assert directory.handle is not None
        assert directory.handle != old
        assert directory.storage is not None
        (entry,) = await children(w.fs.device, directory.storage.id, directory.handle)
        assert node.handle == entry.handle
        assert await w.get(node) == b"contents"
