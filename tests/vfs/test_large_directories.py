"""What one change costs doesn't depend on how much is in its directory. Counted in lines, not in time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mtpfs.errors import FsError
from mtpfs.vfs.filesystem import Filesystem
from vfs.world import World, world

ROOMS = tuple(
    str(Path(sys.modules[Filesystem.__module__].__file__ or "").parents[1] / room)
    for room in ("vfs", "device")
)


@contextmanager
def counted_lines() -> Iterator[list[int]]:
    """Count the lines of vfs/ and device/ that are run on this thread."""
    count = [0]

    def local(_frame: FrameType, event: str, _argument: Any) -> Any:
        count[0] += event == "line"
        return local

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(ROOMS) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)


async def changes(w: World, number: int) -> None:
    await w.put(b"file %d" % number, b"x")
    await w.fs.mkdir(w.root, b"folder %d" % number)
    await w.fs.rename(w.root, b"file %d" % number, w.root, b"other %d" % number)
    await w.fs.unlink(w.root, b"other %d" % number)
    await w.fs.rmdir(w.root, b"folder %d" % number)


async def cost(phone: Path, siblings: int, words: str) -> int:
    phone.mkdir()
    for number in range(siblings):
        (phone / f"IMG_{number:05}.jpg").touch()
    async with world(phone, f"{words}no-events") as w:
        w.fs.tree._ttl = 3600.0
        assert len(await w.names()) == siblings
        for number in range(2):  # what is learned once, and a rename that gives another handle
            await changes(w, number)
        await w.put(b"last", b"x")  # the index
        await w.fs.unlink(w.root, b"last")
        with counted_lines() as count:
            await changes(w, 2)
    return count[0]


@pytest.mark.parametrize("words", ["", "as=umtp&"])
async def test_changes_among_many(tmp_path: Path, words: str) -> None:
    """Create, mkdir, rename, unlink and rmdir take as many steps among 10,000 files as among 100."""
    few, many = await cost(tmp_path / "few", 100, words), await cost(tmp_path / "many", 10_000, words)
    assert few > 100
    assert many < 1.3 * few


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
