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
