"""The handle that Android gives for a copy is no proof: it is cut to 16 bits, or 0xFFFF where the name was taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from vfs.world import world


@pytest.mark.parametrize("name", [b"song", b"other name"])
@pytest.mark.parametrize("length", [5, 50], ids=["as long as the copy", "longer"])
async def test_more_objects_than_a_handle_of_16_bits_can_tell_apart(
    tmp_path: Path, name: bytes, length: int
) -> None:
    """What has the handle that the phone tells is another file. Nothing is done to it."""
    (tmp_path / "Album").mkdir()
    async with world(tmp_path) as w:
        bystander = await w.put(b"bystander", b"b" * length)
        song = await w.put(b"song", b"notes")
        album = await w.fs.lookup(w.root, b"Album")
        assert bystander.handle is not None
        w.transport.responder.phone.store._next_handle = 0x10000 + bystander.handle.number
        copy = await w.fs.copy(song, album, name)
        assert copy.handle is not None
        assert copy.handle.number > 0xFFFF
        assert await w.get(copy) == b"notes"
        assert await w.get(bystander) == b"b" * length
    assert (tmp_path / "Album" / name.decode()).read_bytes() == b"notes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Album", "bystander", "song"]
    assert len([*(tmp_path / "Album").iterdir()]) == 1


async def test_copy_to_a_name_that_was_vacated_a_moment_ago(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The phone copies, and gives a handle that nothing has."""
    (tmp_path / "Album").mkdir()
    async with world(tmp_path, "ghost=2") as w:
        song = await w.put(b"song", b"notes")
        album = await w.fs.lookup(w.root, b"Album")
        await w.put(b"song", b"an older one", album)
        await w.fs.unlink(album, b"song")
        copy = await w.fs.copy(song, album, b"song")
        assert await w.get(copy) == b"notes"
    assert (tmp_path / "Album/song").read_bytes() == b"notes"
