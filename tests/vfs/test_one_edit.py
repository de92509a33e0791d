"""Several files edited at once on a phone that has room for one edit, and ends the other silently."""

from __future__ import annotations

import os
import random
from pathlib import Path

import trio

from vfs.world import world

FILES, CHANGES, PIECE, SIZE = 4, 60, 4096, 200_000


async def test_several_writers(tmp_path: Path) -> None:
    """Each writer's bytes are all there at the end, though every edit keeps ending the others'."""
    expected = {f"f{number}": bytearray(os.urandom(SIZE)) for number in range(FILES)}
    for name, contents in expected.items():
        (tmp_path / name).write_bytes(contents)

    async with world(tmp_path, "as=sailfish") as w:

        async def edit(name: str) -> None:
            chance = random.Random(name)
            opened = await w.open(name.encode())
            for _ in range(CHANGES):
                at = chance.randrange(SIZE - PIECE)
                piece = chance.randbytes(PIECE)
                await w.fs.write(opened, at, piece)
                expected[name][at : at + PIECE] = piece
                await trio.lowlevel.checkpoint()
            await w.close(opened)

        async with trio.open_nursery() as writers:
            for name in expected:
                writers.start_soon(edit, name)
    for name, contents in expected.items():
        assert (tmp_path / name).read_bytes() == contents, name


async def test_directories_are_not_listed_for_it(tmp_path: Path) -> None:
    """The refusal of an edit that was ended says nothing of the file's handle, nor of the folders above."""
    (tmp_path / "d").mkdir()
    for name in "ab":
        (tmp_path / "d" / name).write_bytes(bytes(20_000))
    async with world(tmp_path, "as=sailfish") as w:
        folder = await w.fs.lookup(w.root, b"d")
        one, other = await w.open(b"a", folder), await w.open(b"b", folder)
        before = dict(w.operations)
        for turn in range(4):
            for opened in (one, other):
                await w.fs.write(opened, 4096 * turn, b"x")
                await w.fs.sync(opened)
                await w.fs.write(opened, 4096 * turn + 1, b"y")
        await w.close(one)
        await w.close(other)
        assert "GetObjectHandles" not in w.spent(before)
    for name in "ab":
        assert (tmp_path / "d" / name).read_bytes()[::4096] == b"xxxx\0"


async def test_a_date_that_was_only_assumed(tmp_path: Path) -> None:
    """An edit that was ended is begun again, also where the phone has given the file another date than it was sent."""
    async with world(tmp_path, "as=sailfish") as w:
        for name in (b"a", b"b"):
            await w.put(name, b"....")
            os.utime(tmp_path / name.decode(), (1_600_000_000, 1_600_000_000))  # the phone's clock is wrong
        one, other = await w.open(b"a"), await w.open(b"b")
        await w.fs.write(one, 0, b"1")
        await w.fs.write(other, 0, b"2")
        await w.close(other)
        await w.close(one)
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"1...", b"2..."]
