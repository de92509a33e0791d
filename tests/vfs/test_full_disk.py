"""A phone that becomes full at every megabyte of an upload and of an edit: ENOSPC, and nothing is lost or left.

The phone has told of much room a moment ago, and somebody else has taken it. So nothing is refused beforehand, and
each kind of phone does what it does when its disk is full (`full=`).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mtpfs.errors import MtpfsError
from mtpfs.vfs.temporaries import parse
from vfs.world import World, world

MIB = 1 << 20
CAPACITY = 400 * MIB
SIZE = 8 * MIB
MODES = ("refuse", "lie", "early", "stall", "aosp")
PIECE = MIB
LONGEST = 5.0
UNWARNED = {"lie", "early", "stall"}
"""Modes in which SendObjectInfo is answered OK: the phone finds out while it is being sent to."""


async def fill(w: World, free: int) -> None:
    """Leave `free` bytes on a phone that has just told of more."""
    storage = w.root.storage
    assert storage is not None
    await w.fs.device.room.require(storage.id, 1)
    used = sum(path.stat().st_size for path in w.phone.iterdir())
    with (w.phone / "filler").open("wb") as file:
        file.truncate(CAPACITY - used - free)
    for each in w.transport.responder.phone.store.all_storages:
        w.transport.responder.phone.store.recount(each)


async def answer(w: World, name: bytes, data: bytes, offset: int = 0, *, truncate: bool = False) -> int:
    """Write as programs do, in pieces; return the first error of write and close."""
    began = w.transport.monotonic()
    code = 0
    try:
        node = await w.fs.lookup(w.root, name)
    except MtpfsError:
        opened = await w.fs.create(w.root, name)
    else:
        opened = await w.fs.open(node, write=True, truncate=truncate)
    try:
        for at in range(0, len(data), PIECE):
            await w.fs.write(opened, offset + at, data[at : at + PIECE])
    except MtpfsError as error:
        code = error.errno
    try:
        await w.fs.flush(opened)
    except MtpfsError as error:
        code = code or error.errno
    finally:
        await w.fs.release(opened)
    assert w.transport.monotonic() - began < LONGEST
    return code


async def check(w: World, expected: dict[str, bytes]) -> None:
    """The phone has just these files, they are shown, and everything works when there is room again."""
    there = {path.name: path.read_bytes() for path in w.phone.iterdir() if path.name != "filler"}
    assert not [name for name in there if parse(name)]
    assert there == expected
    for name, data in expected.items():
        node = await w.fs.lookup(w.root, name.encode())
        await w.fs.refresh(node)
        assert node.size == len(data)
        assert await w.get(node) == data
    (w.phone / "filler").unlink()
    w.fs.tree.expire()
    await w.put(b"check", b"works")
    assert (w.phone / "check").read_bytes() == b"works"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("what", "free"),
    [*(("new", free) for free in range(9)), *(("replaced", free) for free in (0, 1, 5, 7, 8))],
)
async def test_uploads(tmp_path: Path, mode: str, what: str, free: int) -> None:
    """The file is there whole, or it isn't there; what it was to replace is there then."""
    data, old = os.urandom(SIZE), os.urandom(MIB)
    (tmp_path / "other").write_bytes(b"other")
    if what == "replaced":
        (tmp_path / "f").write_bytes(old)
    async with world(tmp_path, f"capacity={CAPACITY}&full={mode}") as w:
        await w.names()
        await fill(w, free * MIB)
        before = w.operations.copy()
        code = await answer(w, b"f", data, truncate=True)
        assert ("SendObject" in w.spent(before)) == (not code or mode in UNWARNED)
        assert code == (errno.ENOSPC if free < 8 else 0)
        expected = {"other": b"other"}
        if not code:
            expected["f"] = data
        elif what == "replaced":
            expected["f"] = old
        await check(w, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("free", range(9))
async def test_edits(tmp_path: Path, mode: str, free: int) -> None:
    """What was there before stays, byte by byte, and what is shown is what is there."""
    data, old = os.urandom(SIZE), os.urandom(MIB)
    (tmp_path / "f").write_bytes(old)
    async with world(tmp_path, f"capacity={CAPACITY}&full={mode}") as w:
        await w.names()
        await fill(w, free * MIB)
        before = w.operations.copy()
        code = await answer(w, b"f", data, offset=MIB)
        assert "SendPartialObject" in w.spent(before)
        assert code == (errno.ENOSPC if free < 8 else 0)
        left = (tmp_path / "f").read_bytes()
        assert left == (old + data)[: len(left)]
        assert len(left) >= MIB
        await check(w, {"f": left})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("free", [0, 3, 8])
async def test_truncating(tmp_path: Path, mode: str, free: int) -> None:
    """To a size that there is no room for: ENOSPC, and the old size."""
    (tmp_path / "f").write_bytes(b"old")
    async with world(tmp_path, f"capacity={CAPACITY}&full={mode}") as w:
        node = await w.fs.lookup(w.root, b"f")
        await fill(w, free * MIB)
        w.fs.device.room.forget(w.root.storage.id if w.root.storage else 0)
        code = 0
        try:
            await w.fs.truncate(node, SIZE)
        except MtpfsError as error:
            code = error.errno
        assert code == (errno.ENOSPC if free < 8 else 0)
        await check(w, {"f": b"old" if code else b"old".ljust(SIZE, b"\0")})
