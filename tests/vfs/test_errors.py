"""What the device answers reaches the program as the errno that it knows, wherever it comes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mtpfs.errors import RESPONSE_ERRNO, FsError, MtpfsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.capabilities import parse_virtual
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from mtpfs.virtual.responder import Responder
from vfs.severed import Quick, mounted
from vfs.world import World, world

TABLE = {
    Response.StoreFull: errno.ENOSPC,
    Response.StoreReadOnly: errno.EROFS,
    Response.ObjectTooLarge: errno.EFBIG,
    Response.AccessDenied: errno.EACCES,
    Response.ObjectWriteProtected: errno.EACCES,
    Response.StoreNotAvailable: errno.ENODEV,
    Response.InvalidDataset: errno.EINVAL,
    Response.GeneralError: errno.EIO,
    Response.IncompleteTransfer: errno.EIO,
    Response.Undefined: errno.EIO,
}
"""What changes are answered with, and what programs make of it."""


async def create(w: World) -> None:
    await w.put(b"new", b"contents")


async def replace(w: World) -> None:
    await w.put(b"f", b"contents")


async def edit(w: World) -> None:
    opened = await w.open(b"f")
    try:
        await w.fs.write(opened, 3, b"contents")
        await w.fs.flush(opened)
    finally:
        await w.fs.release(opened)


async def shorten(w: World) -> None:
    await w.fs.truncate(await w.fs.lookup(w.root, b"f"), 3)


async def sync(w: World) -> None:
    opened = await w.fs.create(w.root, b"new")
    try:
        await w.fs.write(opened, 0, b"contents")
        await w.fs.sync(opened)
    finally:
        await w.fs.release(opened)


async def make(w: World) -> None:
    await w.fs.mkdir(w.root, b"made")


async def remove(w: World) -> None:
    await w.fs.rmdir(w.root, b"d")


async def unlink(w: World) -> None:
    await w.fs.unlink(w.root, b"f")


async def rename(w: World) -> None:
    await w.fs.rename(w.root, b"f", w.root, b"g")


async def move(w: World) -> None:
    await w.fs.rename(w.root, b"f", await w.fs.lookup(w.root, b"d"), b"f")


CHANGES = [
    (create, Operation.SendObjectInfo),
    (create, Operation.SendObject),
    (replace, Operation.SendObjectInfo),
    (replace, Operation.SendObject),
    (replace, Operation.DeleteObject),
    (replace, Operation.SetObjectPropValue),
    (edit, Operation.BeginEditObject),
    (edit, Operation.SendPartialObject),
    (edit, Operation.EndEditObject),
    (shorten, Operation.TruncateObject),
    (sync, Operation.SendObject),
    (make, Operation.SendObjectInfo),
    (remove, Operation.DeleteObject),
    (unlink, Operation.DeleteObject),
    (rename, Operation.SetObjectPropValue),
    (move, Operation.MoveObject),
]


OVERCOME = {
    (replace, Operation.SetObjectPropValue): {"f": b"contents"},  # by another way of saving
    (replace, Operation.DeleteObject): {"f": b"contents"},  # the next listing deletes the old one
    (edit, Operation.BeginEditObject): {"f": b"oldcontents"},  # by sending all of it
    (edit, Operation.EndEditObject): {"f": b"oldcontents"},  # the size is right: the edit had ended silently
    (rename, Operation.SetObjectPropValue): {"g": b"old"},  # by sending it under its new name
}
"""Where a refusal may be no error, and what has to be there then."""
ENDED_SILENTLY = {Response.GeneralError, Response.AccessDenied}


@pytest.mark.parametrize(
    ("change", "operation"), CHANGES, ids=[f"{change.__name__}-{code.name}" for change, code in CHANGES]
)
async def test_refused_changes(tmp_path: Path, change: type, operation: Operation) -> None:
    """Each code, at each operation of each change, is an error with its errno, and the old contents stay.

    Or it is no error, and the new ones are there.
    """

    def phone() -> Quick:
        return Quick(Responder(*parse_virtual(f"{tmp_path}?no-events")))

    for code, expected in TABLE.items():
        for path in (tmp_path / "new", tmp_path / "g", tmp_path / "made"):
            assert not path.exists()
        (tmp_path / "f").write_bytes(b"old")
        (tmp_path / "d").mkdir(exist_ok=True)
        async with mounted(phone()) as w:
            w.transport.faults.add(Fault(Kind.REFUSE, operation, code=code, times=FOREVER))
            overcome = (change, operation) in OVERCOME and code != Response.StoreNotAvailable
            if operation is Operation.BeginEditObject:
                overcome = True
            elif operation is Operation.EndEditObject:
                overcome = code in ENDED_SILENTLY
            elif operation is Operation.DeleteObject:
                overcome = change is replace
            if overcome:
                await change(w)
            else:
                with pytest.raises(MtpfsError) as caught:
                    await change(w)
                assert errno.errorcode[caught.value.errno] == errno.errorcode[expected], code.name
        async with mounted(phone()) as w:
            names = sorted(await w.names())
        found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        assert names == sorted([b"d", *(os.fsencode(name) for name in found)])
        edited = operation is Operation.EndEditObject
        assert found == (OVERCOME[change, operation] if overcome or edited else {"f": b"old"}), code.name
        (tmp_path / "g").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.GONE, errno.ENODEV),
        (Kind.STALL, errno.EIO),
        (Kind.SILENCE, errno.ETIMEDOUT),  # EIO for programs: see `mtpfs.fuse.operations`
        (Kind.GARBAGE_HEADER, errno.EIO),
    ],
)
async def test_broken_links(tmp_path: Path, kind: Kind, expected: int) -> None:
    """A device that leaves, stalls, falls silent or babbles is an error, too."""
    (tmp_path / "f").write_bytes(b"old")
    async with world(tmp_path) as w:
        await w.names()
        w.transport.faults.add(Fault(kind, Operation.SendObjectInfo, times=FOREVER))
        with pytest.raises(MtpfsError) as caught:
            await create(w)
        assert errno.errorcode[caught.value.errno] == errno.errorcode[expected]


@pytest.mark.parametrize(
    "code", [code for code in Response if code != Response.OK], ids=lambda code: code.name
)
async def test_every_code_is_an_error(tmp_path: Path, code: Response) -> None:
    """No code that isn't OK passes for success, whatever it is."""
    async with world(tmp_path) as w:
        await w.names()
        times = FOREVER if code in {Response.DeviceBusy, Response.SessionNotOpen} else 1
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.SendObject, code=code, times=times))
        with pytest.raises(MtpfsError) as caught:
            await create(w)
        # These mean that there is no session any more, in which anything could be answered.
        lost = code in {Response.SessionNotOpen, Response.InvalidTransactionID}
        assert caught.value.errno == (errno.ENODEV if lost else RESPONSE_ERRNO.get(code, errno.EIO))
    assert not (tmp_path / "new").exists()


async def test_no_room_for_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the local spool is full, write says so."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    async with world(tmp_path, "no-edit") as w:
        opened = await w.fs.create(w.root, b"f")
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(FsError) as caught:
            await w.fs.write(opened, 0, b"x")
        monkeypatch.undo()
        assert caught.value.errno == errno.ENOSPC
        await w.fs.unlink(w.root, b"f")
        await w.fs.release(opened)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "size", [500, 1012, 64 * 100 - 12, 3 * 512 - 12, 131_072 - 12, 512 * 1000 - 12, 700_001]
)
async def test_samsung_end_of_file(tmp_path: Path, size: int) -> None:
    """Partial reads that reach the end and would fill their last packet are never made, and nobody sees a short read."""
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    async with world(tmp_path, "samsung") as w:
        asked: list[tuple[int, int]] = []
        take = w.transport.responder._start

        def watch(request: object) -> None:
            if request.operation == Operation.GetPartialObject:  # type: ignore[attr-defined]
                asked.append((request.p(2), request.p(3)))  # type: ignore[attr-defined]
            take(request)  # type: ignore[arg-type]

        w.transport.responder._start = watch  # type: ignore[method-assign]
        node = await w.fs.lookup(w.root, b"f")
        assert await w.get(node) == data
        opened = await w.fs.open(node, write=False)
        for offset in (0, size - 1, size - 53, max(0, size - 500)):
            assert bytes(await w.fs.read(opened, offset, 131_072)) == data[offset : offset + 131_072]
        await w.fs.release(opened)
        assert asked
        for offset, count in asked:
            assert offset + count < size or (count + 12) % 64 or count == 1
