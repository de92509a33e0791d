"""Names that are vacated and taken again on a phone that hears late of the first, and drops what has the name then."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from vfs.world import World, world

ROUNDS = 20


async def settled(w: World) -> dict[bytes, bytes]:
    """Return what the mount shows when the phone has heard of everything."""
    await w.fs.device.storages()
    await trio.sleep(10)
    w.fs.tree.expire()
    return {node.name: await w.get(node) for node in await w.fs.entries(w.root)}


async def replaced(w: World, contents: bytes) -> None:
    await w.put(b"file", contents)


async def renamed_over(w: World, contents: bytes) -> None:
    await w.put(b"new", contents)
    await w.fs.rename(w.root, b"new", w.root, b"file", replace=True)


async def made_anew(w: World, contents: bytes) -> None:
    await w.fs.unlink(w.root, b"file")
    await w.put(b"file", contents)


@pytest.mark.parametrize("change", [replaced, renamed_over, made_anew])
async def test_the_name_stays(tmp_path: Path, autojump_clock: trio.testing.MockClock, change) -> None:  # type: ignore[no-untyped-def]
    """However often it is vacated and taken again, the last contents are there, for the phone and for who has them open."""
    async with world(tmp_path, "as=sailfish") as w:
        await w.put(b"file", b"first")
        for number in range(ROUNDS):
            contents = b"contents %d" % number
            await change(w, contents)
            opened = await w.open(b"file")
            await w.fs.write(opened, len(contents), b", and more")
            await w.close(opened)
            assert await settled(w) == {b"file": contents + b", and more"}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_folder_made_anew(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A directory that is removed and made again can be filled."""
    async with world(tmp_path, "as=sailfish") as w:
        for _ in range(ROUNDS):
            folder = await w.fs.mkdir(w.root, b"folder")
            await w.put(b"file", b"contents", folder)
            await w.fs.unlink(folder, b"file")
            await w.fs.rmdir(w.root, b"folder")
    assert not list(tmp_path.iterdir())
