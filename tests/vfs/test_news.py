"""What programs that watch directories are to be told: what becomes of names without a request, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from mtpfs.vfs import News
from vfs.world import World, world


async def until_heard(w: World, *expected: tuple[News, bytes]) -> None:
    """Wait until this and nothing else has been heard; forget it. Without events, a listing is needed."""
    with trio.fail_after(10):
        while not set(expected) <= set(w.kernel.news):
            if not w.fs.device.sends_events:
                await w.fs.tree.ensure_listed(w.root, fresh=True)
            await trio.sleep(0.02)
    assert sorted(w.kernel.news, key=str) == sorted(expected, key=str)
    w.kernel.news.clear()


@pytest.mark.parametrize("words", ["", "no-events"])
async def test_what_the_phone_does(tmp_path: Path, words: str) -> None:
    """An event tells what has come or gone, or else the next listing does. The first listing tells nothing."""
    (tmp_path / "old").write_bytes(b"x")
    async with world(tmp_path, words) as w:
        assert await w.names() == [b"old"]
        assert not w.kernel.news
        (tmp_path / "new").write_bytes(b"x")
        await until_heard(w, (News.APPEARED, b"new"))
        (tmp_path / "d").mkdir()
        await until_heard(w, (News.APPEARED, b"d"))
        (tmp_path / "old").unlink()
        await until_heard(w, (News.VANISHED, b"old"))
        if not words:
            (tmp_path / "new").write_bytes(b"other contents")
            await until_heard(w, (News.ALTERED, b"new"))


async def test_other_contents_of_the_same_size_and_second(tmp_path: Path) -> None:
    """A file that is open is read anew when the phone says that it has changed, though nothing else tells so."""
    file, second = tmp_path / "f", 1_600_000_000 * 10**9
    file.write_bytes(b"old contents")
    os.utime(file, ns=(second, second))
    async with world(tmp_path) as w:
        opened = await w.open(b"f", write=False)
        assert await w.fs.read(opened, 0, 100) == b"old contents"
        file.write_bytes(b"new contents")
        os.utime(file, ns=(second, second + 1))
        await until_heard(w, (News.ALTERED, b"f"))
        assert await w.fs.read(opened, 0, 100) == b"new contents"
        await w.close(opened)


async def test_an_open_file_grows_without_events(tmp_path: Path) -> None:
    """`tail -f` asks by the descriptor only: its size is asked for when the listing is too old to be believed."""
    (tmp_path / "log").write_bytes(b"one")
    async with world(tmp_path, "no-events", ttl=0.1) as w:
        opened = await w.open(b"log", write=False)
        assert await w.fs.read(opened, 0, 100) == b"one"
        (tmp_path / "log").write_bytes(b"one, two")
        await trio.sleep(0.3)
        await w.fs.refresh(opened.file.node)
        assert opened.file.node.size == 8
        assert await w.fs.read(opened, 0, 100) == b"one, two"
        await w.close(opened)


async def test_an_unlisted_change(tmp_path: Path) -> None:
    """Where it isn't known what a directory holds, it is told only that something has changed."""
    async with world(tmp_path) as w:
        await w.names()
        w.root.distrust()
        (tmp_path / "new").write_bytes(b"x")
        await until_heard(w, (News.ALTERED, w.root.name))


@pytest.mark.parametrize("words", ["", "no-events", "as=sailfish", "no-move&no-rename"])
async def test_what_programs_do(tmp_path: Path, words: str) -> None:
    """The kernel tells the watchers of that by itself: they aren't to hear of it twice."""
    (tmp_path / "old").write_bytes(b"contents")
    async with world(tmp_path, words) as w:
        await w.names()
        await w.put(b"a", b"contents")
        await w.put(b"a", b"other contents")
        await w.fs.mkdir(w.root, b"d")
        await w.fs.rename(w.root, b"a", w.root, b"b")
        await w.put(b"c", b"contents")
        await w.fs.rename(w.root, b"b", w.root, b"c")
        await w.fs.unlink(w.root, b"c")
        await w.fs.rmdir(w.root, b"d")
        opened = await w.open(b"old")
        await w.fs.write(opened, 3, b"more")
        await w.close(opened)
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        (tmp_path / "last").touch()
        await until_heard(w, (News.APPEARED, b"last"))


async def test_what_is_forgotten_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To save memory directories are forgotten. The kernel has to know; a window that shows one doesn't."""
    (tmp_path / "d").mkdir()
    for number in range(20):
        (tmp_path / "d" / f"{number}").touch()
    async with world(tmp_path) as w:
        directory = await w.fs.lookup(w.root, b"d")
        await w.fs.entries(directory)
        monkeypatch.setattr("mtpfs.vfs.tree.MOST_NODES", 10)
        monkeypatch.setattr("mtpfs.vfs.tree.KEPT_NODES", 5)
        await w.fs.tree.ensure_listed(w.root, fresh=True)
        assert not directory.children
        assert w.kernel.gone
        await w.fs.entries(directory)
        assert not w.kernel.news
