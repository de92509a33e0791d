"""The index of names that a device which folds them takes for one."""

from __future__ import annotations

from pathlib import Path

from mtpfs.errors import FsError
from vfs.world import world


async def test_namesakes_follow_changes(tmp_path: Path) -> None:
    """A name that differs in case is found whatever has happened to it, and not after it has gone."""

    async def is_taken(name: bytes) -> bool:
        try:
            opened = await w.fs.create(w.root, name)
        except FsError:
            return True
        await w.close(opened)
        await w.fs.unlink(w.root, name)
        return False

    (tmp_path / "Song").write_bytes(b"x")
    async with world(tmp_path, "case-insensitive") as w:
        assert await is_taken(b"song")
        await w.fs.rename(w.root, b"Song", w.root, b"Tune")
        assert not await is_taken(b"song")
        assert await is_taken(b"tune")
        opened = await w.open(b"Tune", write=False)
        await w.fs.unlink(w.root, b"Tune")  # hidden while it is open
        assert not await is_taken(b"tune")
        await w.fs.release(opened)
        await w.put(b"Song", b"new")
        assert await is_taken(b"SONG")
        await w.fs.mkdir(w.root, b"Dir")
        await w.fs.rename(w.root, b"Song", await w.fs.lookup(w.root, b"Dir"), b"Song")
        assert not await is_taken(b"sonG")
        (tmp_path / "Late").write_bytes(b"x")
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert await is_taken(b"LATE")
