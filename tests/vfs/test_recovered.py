"""What the device doesn't take is in the recovery directory, whole; what is on the device stays until it is there."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import trio
import trio.testing

from mtpfs.errors import FsError, MtpfsError, TransportGoneError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.datasets import SIZE_UNKNOWN
from mtpfs.vfs import recovery
from mtpfs.vfs.recovery import recovery_directory
from mtpfs.vfs.spool import Spool
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from vfs.world import world

DATA = bytes(range(256)) * 40
DRAFT = b".photo.jpg.Ab12Cd"


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the phone's directory; the recovery directory is the test's own."""
    for name in ("phone", "spool"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    return tmp_path / "phone"


def recovered() -> dict[str, bytes]:
    """Return what is in the recovery directory, by name."""
    return {path.name: path.read_bytes() for path in recovery_directory().rglob("*") if path.is_file()}


def no_links(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOENT, "no /proc")


def test_copied_where_it_cannot_be_linked(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc the contents are copied, whole and for nobody else; a name that is taken stays as it is."""
    monkeypatch.setattr(os, "link", no_links)
    for data in (DATA, b"others", b""):
        spool = Spool()
        spool.write_now(0, data)
        recovery.keep(spool, "phone", "/d/f.txt")
        spool.drop()
    found = {path: path.read_bytes() for path in recovery_directory().rglob("*") if path.is_file()}
    assert sorted(found.values()) == [b"", DATA, b"others"]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_no_part_of_a_copy_stays(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk fills up while contents are copied, no part of them is taken for the whole."""
    parts = iter([5000])

    def fills_up(target: int, source: int, offset: int, count: int) -> int:
        if (room := next(parts, None)) is None:
            raise OSError(errno.ENOSPC, "full")
        return os.pwrite(target, os.pread(source, room, offset), offset)

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "sendfile", fills_up)
    spool = Spool()
    spool.write_now(0, DATA)
    with pytest.raises(OSError, match="full"):
        recovery.keep(spool, "phone", "/d/f.txt")
    spool.drop()
    assert recovered() == {}


@pytest.mark.parametrize("kept", [0, 1])
async def test_nothing_goes_before_it_is_kept(
    phone: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """Where old contents have to go first, they don't while the new or the old ones can't be kept here."""
    (phone / "f").write_bytes(b"old contents")
    calls = iter([recovery.keep] * kept)

    def full(spool: Spool, device: str, path: str) -> Path:
        keep = next(calls, None)
        if keep is None:
            raise OSError(errno.ENOSPC, "full")
        return keep(spool, device, path)

    async with world(phone, "no-rename") as w:
        monkeypatch.setattr(recovery, "keep", full)
        with pytest.raises(FsError) as caught:
            await w.put(b"f", b"new contents")
        assert errno.errorcode[caught.value.errno] == "ENOSPC"
        assert (phone / "f").read_bytes() == b"old contents"
        assert recovered() == {}
        monkeypatch.undo()
    assert os.listdir(phone) == ["f"]
    assert (phone / "f").read_bytes() == b"old contents"


async def test_nothing_is_kept_that_is_not_replaced(phone: Path) -> None:
    """Where the device refuses to delete the old contents, they stay, and so does nothing else."""
    (phone / "f").write_bytes(b"old contents")
    async with world(phone, "no-rename") as w:
        w.transport.faults.add(
            Fault(Kind.REFUSE, Operation.DeleteObject, code=Response.AccessDenied, times=FOREVER)
        )
        with pytest.raises(MtpfsError):
            await w.put(b"f", b"new contents")
        assert "SendObjectInfo" not in w.operations  # on some phones there would be two of that name
        w.transport.faults.clear()
    assert (phone / "f").read_bytes() == b"old contents"
    assert recovered() == {}


async def test_old_contents_of_unknown_size(phone: Path) -> None:
    """Old contents of which the device can't say how many there are come back whole, if the new ones are refused."""
    (phone / "f").write_bytes(b"old contents")
    async with world(phone, "no-rename&no-proplist") as w:
        no_size = Fault(Kind.REFUSE, Operation.GetObjectPropValue, code=Response.ObjectPropNotSupported)
        w.transport.faults.add(replace(no_size, times=FOREVER))
        w.transport.faults.add(
            Fault(Kind.LYING_SIZE, Operation.GetObjectInfo, amount=SIZE_UNKNOWN - len("old contents"))
        )
        assert not (await w.fs.lookup(w.root, b"f")).size_known
        w.transport.faults.add(
            Fault(Kind.REFUSE, Operation.SendObjectInfo, code=Response.ObjectWriteProtected)
        )
        with pytest.raises(MtpfsError) as caught:
            await w.put(b"f", b"new contents")
        assert caught.value.errno == errno.EACCES
        assert (phone / "f").read_bytes() == b"old contents"
    assert recovered() == {}


async def test_held_file_that_is_refused(
    phone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its close said that all is well: what the device refuses later is kept, and the log says where."""
    monkeypatch.setattr("mtpfs.vfs.writeback.PATIENCE", 0.0)
    async with world(phone) as w:
        w.transport.faults.add(
            Fault(Kind.REFUSE, Operation.SendObjectInfo, code=Response.StoreFull, times=FOREVER)
        )
        await w.put(DRAFT, DATA, by_mkstemp=True)
        with trio.fail_after(20):
            while not recovered():
                await trio.sleep(0.01)
        w.transport.faults.clear()
    assert recovered() == {DRAFT.decode(): DATA}
    assert "could not be saved" in caplog.text
    assert os.listdir(phone) == []


async def test_unmounted_in_a_hurry(phone: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What has to wait when the mount must end at once is kept here instead."""
    async with world(phone) as w:
        await w.put(DRAFT, DATA, by_mkstemp=True)
        with trio.fail_after(20):
            async with w.claims.claim(subtrees=[w.root]), trio.open_nursery() as nursery:
                nursery.start_soon(w.fs.finish)
                await trio.testing.wait_all_tasks_blocked()
                assert recovered() == {}
                w.fs.hurry()
    assert recovered() == {DRAFT.decode(): DATA}
    assert "had to end at once" in caplog.text
    assert os.listdir(phone) == []


async def test_device_that_is_there_and_fails(
    phone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for a device's return is tried a few times; if it goes on failing, the contents are kept here."""
    monkeypatch.setattr("mtpfs.vfs.writeback.PAUSE", 0.0)
    async with world(phone) as w:
        opened = await w.fs.create(w.root, b"f")
        await w.fs.write(opened, 0, DATA)
        w.transport.unplug()
        await w.fs.device.session.until_gone()
        with pytest.raises(TransportGoneError):
            await w.close(opened)
        w.transport.faults.add(Fault(Kind.STALL, Operation.SendObject, times=FOREVER))
        w.transport.faults.add(Fault(Kind.STALL, Operation.SendObjectInfo, times=FOREVER))
        w.transport.replug()
        with trio.fail_after(20):
            while not recovered():
                await trio.sleep(0.01)
        w.transport.faults.clear()
    assert recovered() == {"f": DATA}
    assert caplog.text.count("its contents are in") == 1
