"""An open file where something comes between: a cancelled save, no room here, the end of the mount, a conflict."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from mtpfs.errors import FsError, MtpfsError
from mtpfs.protocol.codes import Operation
from mtpfs.vfs import edit, openfile
from mtpfs.vfs.openfile import Condition
from mtpfs.vfs.recovery import recovery_directory
from vfs.test_replug import replug, unplug
from vfs.world import World, phone_with_file, world

PATIENCE = 30.0  # seconds for what takes none
OLD, NEW = b"old contents", b"new contents, which are longer"


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return phone_with_file(tmp_path, monkeypatch, OLD)


def stored(phone: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in phone.iterdir()}


@pytest.mark.parametrize(
    "operation", [Operation.SendObject, Operation.SetObjectPropValue, Operation.DeleteObject]
)
@pytest.mark.parametrize("words", ["", "no-rename&no-edit"])
async def test_cancelled_save(
    phone: Path, monkeypatch: pytest.MonkeyPatch, words: str, operation: Operation
) -> None:
    """A save that nothing waits for any more may have come to any point: the next one asks the device how far it is."""
    async with world(phone, words) as w:
        if operation is Operation.SetObjectPropValue and not w.fs.device.can_rename:
            return
        opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)
        await w.fs.write(opened, 0, NEW)
        begun, let_go = threading.Event(), threading.Event()
        take = w.transport.responder._start

        def late(request: Any) -> None:
            if request.operation == operation:
                begun.set()
                assert let_go.wait(PATIENCE)
            take(request)

        monkeypatch.setattr(w.transport.responder, "_start", late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.fs.sync, opened)
            assert await trio.to_thread.run_sync(begun.wait, PATIENCE)
            nursery.cancel_scope.cancel()
        let_go.set()
        assert opened.file.condition is Condition.DIRTY
        assert opened.file.is_doubtful == (opened.file.node.handle is None)
        await w.close(opened)
        assert stored(phone) == {"f": NEW}
        assert await w.get(opened.file.node) == NEW
        assert await w.names() == [b"f"]


async def test_no_room_for_zeros_here(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the local disk refuses is an error of truncate, and changes nothing."""

    def full(*_: object) -> None:
        raise OSError(errno.EDQUOT, "full")

    async with world(phone, "no-edit") as w:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, NEW)
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", full)
            for size in (0, 3, 1000):
                with pytest.raises(FsError) as caught:
                    await w.fs.truncate(opened.file.node, size)
                assert caught.value.errno == errno.EDQUOT
            assert opened.file.node.size == len(NEW)
        await w.close(opened)
    assert stored(phone) == {"f": OLD, "new": NEW}


async def test_large_size_at_once(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A size beyond the spool's limit is given on the device, without the zeros being sent."""
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1000)
    async with world(phone) as w:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, NEW)
        await w.fs.truncate(opened.file.node, 5000)
        assert w.operations["TruncateObject"] == 1
        await w.close(opened)
        assert "SendPartialObject" not in w.operations
    assert stored(phone)["new"] == NEW.ljust(5000, b"\0")


async def test_large_size_of_what_is_uncertain(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it isn't certain what is to be replaced, nothing is sent early: the zeros are sent with the rest."""
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1000)
    async with world(phone) as w:
        opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)
        await unplug(w)
        await replug(w)
        await w.fs.truncate(opened.file.node, 5000)
        await w.close(opened)
        assert "TruncateObject" not in w.operations
    assert stored(phone) == {"f": bytes(5000)}


async def test_filling_stops_with_the_mount(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros that the device is told to write are written step by step; between two of them the mount's end is noticed."""
    monkeypatch.setattr(edit, "FILLED", 1000)
    async with world(phone) as w:
        opened = await w.open(b"f")
        await w.fs.truncate(opened.file.node, 2500)
        assert w.operations["TruncateObject"] == 3
        w.fs.stop()
        await w.fs.truncate(opened.file.node, 3000)  # one step isn't interrupted
        with pytest.raises(FsError) as caught:
            await w.fs.truncate(opened.file.node, 9000)
        assert caught.value.errno == errno.EINTR
        await w.fs.release(opened)
    assert stored(phone) == {"f": OLD.ljust(4000, b"\0")}


async def conflict(w: World, phone: Path) -> openfile.OpenFile:
    """Have new contents that can't replace what is there now."""
    opened = await w.fs.open(await w.fs.lookup(w.root, b"f"), write=True, truncate=True)
    await w.fs.write(opened, 0, NEW)
    await unplug(w)
    (phone / "f").write_bytes(b"the phone's own")
    await replug(w)
    w.kernel.changed.clear()
    with pytest.raises(MtpfsError):
        await w.fs.flush(opened)
    return opened.file


async def test_contents_that_are_given_up(phone: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are in the recovery directory, and the file is what the device has: size, contents, and for the kernel."""
    async with world(phone) as w:
        file = await conflict(w, phone)
        node = file.node
        (kept,) = (path for path in recovery_directory().rglob("*") if path.is_file())
        assert kept.read_bytes() == NEW
        assert file.condition is Condition.CLEAN
        assert not file.is_doubtful
        assert node.attributes_stale
        assert node.ino in w.kernel.changed
        await w.fs.refresh(node)
        assert node.size == len(b"the phone's own")
        assert await w.get(node) == b"the phone's own"
        # What is written from now on is a change of that.
        opened = await w.open(b"f")
        await w.fs.write(opened, 0, b"THE")
        await w.close(opened)
    assert stored(phone) == {"f": b"THE phone's own"}
    assert str(kept) in caplog.text
