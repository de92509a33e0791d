"""Gone and back: unplugging, plugging in again, locking and unlocking, seen from the filesystem."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mtpfs.errors import MtpfsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import Node, openfile, recovery, transfers, writeback
from mtpfs.vfs.edit import COALESCE
from mtpfs.vfs.recovery import recovery_directory
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from phones import ONE_STORAGE, name
from vfs.world import World, world


@pytest.fixture(autouse=True)
def _spool_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spools, and with them the recovery directory, in the test's own directory."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("TMPDIR", str(spool))


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    directory = tmp_path / "phone"
    (directory / "d/e").mkdir(parents=True)
    (directory / "f").write_bytes(b"old contents")
    (directory / "d/e/g").write_bytes(bytes(range(256)) * 4096)
    return directory


async def until_gone(w: World) -> None:
    with trio.fail_after(10):
        await w.fs.device.session.until_gone()


async def replug(w: World) -> None:
    w.transport.replug()
    with trio.fail_after(10):
        await w.fs.device.session.until_back()


async def unplug(w: World) -> None:
    w.transport.unplug()
    await until_gone(w)


async def settle(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.02)


def contents(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None  # it is being replaced


async def answers(code: int, call: Awaitable[object]) -> None:
    with pytest.raises(MtpfsError) as caught, trio.fail_after(1):
        await call
    assert caught.value.errno == code


async def everything(w: World) -> dict[str, int]:
    """Return the inode numbers of all there is."""
    found, pending = {}, [w.fs.tree.root]
    while pending:
        node = pending.pop()
        found[node.path] = node.ino
        if node.is_folder:
            pending += await w.fs.entries(node)
    return found


@pytest.mark.parametrize("words", ["", "no-events", "no-partial", "no-edit"])
async def test_everything_answers_enodev(phone: Path, words: str) -> None:
    """While the phone is away every call that needs it is answered at once; the root can still be looked at."""
    async with world(phone, words) as w:
        numbers = await everything(w)
        folder, file = await w.fs.lookup(w.root, b"d"), await w.fs.lookup(w.root, b"f")
        await unplug(w)
        await w.fs.refresh(w.fs.tree.root)
        for call in (
            lambda: w.fs.lookup(w.root, b"f"),
            lambda: w.fs.lookup(w.fs.tree.root, w.root.name),
            lambda: w.fs.entries(w.root),
            lambda: w.fs.entries(w.fs.tree.root),
            lambda: w.fs.refresh(file),
            lambda: w.fs.refresh(folder),
            lambda: w.fs.create(folder, b"new"),
            lambda: w.fs.mkdir(folder, b"new"),
            lambda: w.fs.unlink(w.root, b"f"),
            lambda: w.fs.rmdir(w.root, b"d"),
            lambda: w.fs.rename(w.root, b"f", folder, b"f"),
            lambda: w.fs.truncate(file, 3),
            lambda: w.fs.space(w.fs.tree.root),
            lambda: w.fs.open(file, write=False),
            lambda: w.fs.open(file, write=True, truncate=True),
        ):
            await answers(errno.ENODEV, call())
        await replug(w)
        assert await everything(w) == numbers
        assert await w.get(file) == b"old contents"
        assert (phone / "f").read_bytes() == b"old contents"


async def test_kernel_forgets_the_way(phone: Path) -> None:
    """When the phone leaves, the kernel's cached names are dropped, so that programs hear of it."""
    async with world(phone) as w:
        await unplug(w)
        await settle(lambda: w.root.name in w.kernel.gone)


@pytest.mark.parametrize("words", ONE_STORAGE, ids=name)
async def test_open_files_go_on(phone: Path, words: str) -> None:
    """A descriptor that was open for reading reads on after the phone is back, with other handles."""
    async with world(phone, words) as w:
        folder = await w.fs.lookup(await w.fs.lookup(w.root, b"d"), b"e")
        opened = await w.open(b"g", folder, write=False)
        assert await w.fs.read(opened, 0, 1000) == (bytes(range(256)) * 4)[:1000]
        await unplug(w)
        (phone / "a first one").touch()  # so that handles are others than before
        await replug(w)
        for at in (0, 500_000, 1_048_000):
            assert bytes(await w.fs.read(opened, at, 576)) == (phone / "d/e/g").read_bytes()[at : at + 576]
        await w.fs.release(opened)


async def test_gone_in_mid_read(phone: Path) -> None:
    """The read that was under way fails at once; the next one after the return is right."""
    async with world(phone) as w:
        folder = await w.fs.lookup(await w.fs.lookup(w.root, b"d"), b"e")
        opened = await w.open(b"g", folder, write=False)
        w.transport.faults.add(Fault(Kind.GONE_MID_DATA, Operation.GetPartialObject64, amount=5000))
        await answers(errno.ENODEV, w.fs.read(opened, 0, 131072))
        await answers(errno.ENODEV, w.fs.read(opened, 0, 131072))
        await replug(w)
        assert bytes(await w.fs.read(opened, 0, 131072)) == (phone / "d/e/g").read_bytes()[:131072]
        await w.fs.release(opened)


async def write(w: World, node: Node, data: bytes) -> None:
    """Replace a file's contents; the close fails for want of a device."""
    opened = await w.fs.open(node, write=True)
    await w.fs.truncate(node, 0, opened)
    await w.fs.write(opened, 0, data)
    await unplug(w)
    await w.fs.write(opened, len(data), b"!")  # the spool takes more
    await answers(errno.ENODEV, w.fs.flush(opened))
    await w.fs.release(opened)


@pytest.mark.parametrize("words", ["", "no-edit", "no-move&no-rename"])
async def test_closed_contents_arrive_later(phone: Path, words: str) -> None:
    """What was written and closed in vain is on the phone when that is back, replacing the old contents."""
    async with world(phone, words) as w:
        node = await w.fs.lookup(w.root, b"f")
        await write(w, node, b"new")
        assert (phone / "f").read_bytes() == b"old contents"
        assert w.fs.statistics().undelivered == 1
        await replug(w)
        await settle(lambda: contents(phone / "f") == b"new!")
        await settle(lambda: w.file(node) is None)
        assert (await w.fs.lookup(w.root, b"f")).ino == node.ino
        assert await w.get(node) == b"new!"
        assert sorted(os.listdir(phone)) == ["d", "f"]
        assert w.fs.statistics().undelivered == 0
        assert not recovery_directory().exists()


async def test_late_contents_are_counted_while_they_are_sent(
    phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the device has them, they are undelivered: who asks may be about to pull the cable."""
    counted: list[int] = []
    sending = transfers.send_object

    async def send(*args: Any, **kwargs: Any) -> Any:
        counted.append(w.fs.statistics().undelivered)
        return await sending(*args, **kwargs)

    async with world(phone) as w:
        await write(w, await w.fs.lookup(w.root, b"f"), b"new")
        monkeypatch.setattr("mtpfs.vfs.saving.send_object", send)
        await replug(w)
        await settle(lambda: contents(phone / "f") == b"new!")
    assert counted == [1]


async def test_new_file_arrives_later(phone: Path) -> None:
    async with world(phone) as w:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, b"contents")
        await unplug(w)
        await answers(errno.ENODEV, w.fs.flush(opened))
        await answers(errno.ENODEV, w.fs.sync(opened))
        await w.fs.release(opened)
        await replug(w)
        await settle((phone / "new").exists)
        await settle(lambda: w.file(opened.file.node) is None)
        assert (phone / "new").read_bytes() == b"contents"
        assert await w.get(await w.fs.lookup(w.root, b"new")) == b"contents"


async def test_confirmation_that_never_came(phone: Path) -> None:
    """An upload whose confirmation was lost with the phone is replaced, not doubled."""
    async with world(phone) as w:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, b"contents")
        (phone / "new").write_bytes(b"contents")  # as if it had arrived
        await unplug(w)
        await answers(errno.ENODEV, w.fs.flush(opened))
        await w.fs.release(opened)
        await replug(w)
        await settle(lambda: w.file(opened.file.node) is None)
        assert await w.names() == [b"d", b"f", b"new"]
        assert sorted(os.listdir(phone)) == ["d", "f", "new"]
        assert (phone / "new").read_bytes() == b"contents"


async def test_edit_goes_on(phone: Path) -> None:
    """Changes in place that were buffered when the phone left are in the file after its return."""
    async with world(phone) as w:
        opened = await w.open(b"f")
        await w.fs.write(opened, 0, b"OLD")
        await unplug(w)
        await answers(errno.ENODEV, w.fs.flush(opened))
        (phone / "a first one").touch()
        await replug(w)
        await w.fs.write(opened, 4, b"CON")
        await w.close(opened)
        assert (phone / "f").read_bytes() == b"OLD CONtents"


async def test_edit_arrives_later(phone: Path) -> None:
    """So they are if nobody has the file open any more."""
    async with world(phone) as w:
        opened = await w.open(b"f")
        node = opened.file.node
        await w.fs.write(opened, 0, b"OLD")
        await unplug(w)
        await answers(errno.ENODEV, w.fs.flush(opened))
        await w.fs.release(opened)
        await replug(w)
        await settle(lambda: w.file(node) is None)
        assert (phone / "f").read_bytes() == b"OLD contents"


async def test_edit_buffer_stays_small(phone: Path) -> None:
    """Writing on into a file whose device is away fails instead of filling the memory."""
    async with world(phone) as w:
        opened = await w.open(b"f")
        await w.fs.write(opened, 0, b"OLD")
        await unplug(w)
        failed = 0
        for number in range(COALESCE // 131072 + 35):
            try:
                await w.fs.write(opened, 3 + number * 131072, bytes(131072))
            except MtpfsError as error:
                failed += error.errno == errno.ENODEV
        assert failed >= 30
        await w.fs.release(opened)


async def test_recovery_directory(phone: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the mount ends before the phone is back, contents are in files that the log names."""
    async with world(phone) as w:
        await w.put(b"there already", b"x")
        node = await w.fs.lookup(w.root, b"f")
        await write(w, node, b"new")
    (saved,) = [path for path in recovery_directory().rglob("*") if path.is_file()]
    assert saved.name == "f"
    assert saved.read_bytes() == b"new!"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert recovery_directory().stat().st_mode & 0o777 == 0o700
    assert str(saved) in caplog.text
    assert (phone / "f").read_bytes() == b"old contents"
    assert saved.parent.name == "Internal shared storage"


async def test_recovery_never_overwrites(phone: Path) -> None:
    """A second file of the same name gets a number."""
    for contents in (b"first", b"second"):
        async with world(phone) as w:
            await write(w, await w.fs.lookup(w.root, b"f"), contents)
    found = {path.name: path.read_bytes() for path in recovery_directory().rglob("*") if path.is_file()}
    assert found == {"f": b"first!", "f~2": b"second!"}


async def test_edit_is_recovered(phone: Path) -> None:
    """Of a change in place, the bytes that the device hasn't got are saved, with their place."""
    async with world(phone) as w:
        opened = await w.open(b"f")
        await w.fs.write(opened, 4, b"CON")
        await unplug(w)
        await w.fs.release(opened)
    found = {path.name: path.read_bytes() for path in recovery_directory().rglob("*") if path.is_file()}
    assert found == {"f.at-4": b"CON"}


async def test_somebody_elses_recovery_directory(
    phone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link that somebody has put in its place isn't followed; the log names another place."""
    (tmp_path / "elsewhere").mkdir()
    (taken := recovery_directory()).symlink_to(tmp_path / "elsewhere")
    async with world(phone) as w:
        await write(w, await w.fs.lookup(w.root, b"f"), b"new")
    assert os.listdir(tmp_path / "elsewhere") == []
    assert recovery_directory() != taken
    (saved,) = [path for path in recovery_directory().rglob("*") if path.is_file()]
    assert saved.read_bytes() == b"new!"
    assert str(saved) in caplog.text


async def test_somebody_elses_recovery_directories(
    phone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it where somebody has taken all names; the log says that the contents are lost."""
    monkeypatch.setattr(recovery, "ATTEMPTS", 3)
    (tmp_path / "elsewhere").mkdir()
    for _ in range(2):
        recovery_directory().symlink_to(tmp_path / "elsewhere")
    async with world(phone) as w:
        await write(w, await w.fs.lookup(w.root, b"f"), b"new")
    assert os.listdir(tmp_path / "elsewhere") == []
    assert "nor put aside" in caplog.text


async def test_refused_after_the_return(phone: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Contents that the phone refuses when it is back go to the recovery directory."""
    async with world(phone) as w:
        node = await w.fs.lookup(w.root, b"f")
        await write(w, node, b"new")
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.SendObjectInfo, code=Response.StoreFull))
        await replug(w)
        await settle(lambda: w.file(node) is None)
        assert await w.get(await w.fs.lookup(w.root, b"f")) == b"old contents"
    (saved,) = [path for path in recovery_directory().rglob("*") if path.is_file()]
    assert saved.read_bytes() == b"new!"
    assert str(saved) in caplog.text


async def test_directory_that_is_gone_at_the_return(phone: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Contents whose directory was deleted while the phone was away go to the recovery directory."""
    async with world(phone) as w:
        directory = await w.fs.lookup(await w.fs.lookup(w.root, b"d"), b"e")
        node = await w.fs.lookup(directory, b"g")
        await write(w, node, b"new")
        shutil.rmtree(phone / "d")
        await replug(w)
        await settle(lambda: w.file(node) is None)
        assert await w.names() == [b"f"]
    (saved,) = [path for path in recovery_directory().rglob("*") if path.is_file()]
    assert saved.read_bytes() == b"new!"
    assert saved.name == "g"
    assert str(saved) in caplog.text


async def test_device_that_goes_on_failing(phone: Path, autojump_clock: MockClock) -> None:
    """A phone that is there and swallows every upload isn't tried for ever."""
    async with world(phone) as w:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, b"contents")
        w.transport.faults.add(Fault(Kind.SILENCE, Operation.SendObjectInfo, times=FOREVER))
        with pytest.raises(MtpfsError):
            await w.fs.flush(opened)
        await w.fs.release(opened)
        while w.file(opened.file.node) is not None:
            await trio.sleep(writeback.PAUSE)
        assert w.operations["SendObjectInfo"] <= writeback.TRIES + 2
        (saved,) = [path for path in recovery_directory().rglob("*") if path.is_file()]
        assert saved.read_bytes() == b"contents"
        w.transport.faults.clear()


async def test_unlinked_while_open(phone: Path) -> None:
    """A file that was unlinked while open is still readable after the return, shown nowhere, and goes in the end."""
    async with world(phone) as w:
        opened = await w.open(b"f", write=False)
        await w.fs.unlink(w.root, b"f")
        await unplug(w)
        await replug(w)
        assert await w.names() == [b"d"]
        assert await w.fs.read(opened, 0, 100) == b"old contents"
        await w.fs.release(opened)
        assert os.listdir(phone) == ["d"]


async def test_deleted_before_it_was_delivered(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that waits for its delivery ends with its file, even if the device leaves just then."""
    monkeypatch.setattr(writeback, "PAUSE", 0.5)
    async with world(phone) as w:
        opened = await w.open(b"f")
        node = opened.file.node
        await w.fs.write(opened, 4, b"CON")
        w.transport.faults.add(Fault(Kind.SILENCE, Operation.SendPartialObject, times=2))
        with pytest.raises(MtpfsError):
            await w.fs.flush(opened)
        await w.fs.release(opened)
        await settle(lambda: not w.transport.faults.pending)
        await w.fs.unlink(w.root, b"f")
        await unplug(w)
        await settle(lambda: w.file(node) is None)
        await replug(w)
        assert await w.names() == [b"d"]
    assert os.listdir(phone) == ["d"]


async def test_another_device(phone: Path) -> None:
    """A device with the same place on the bus but another identity isn't taken for the phone."""
    async with world(phone) as w:
        await unplug(w)
        w.transport.responder.capabilities = type(w.transport.responder.capabilities)(serial="other")
        w.transport.replug()
        with trio.move_on_after(2.5):
            await w.fs.device.session.until_back()
        assert w.fs.device.session.gone
        await answers(errno.ENODEV, w.fs.entries(w.root))


async def test_service_that_starts_anew(phone: Path) -> None:
    """A phone whose MTP service started anew without leaving the bus gets a new session, unseen by programs."""
    async with world(phone) as w:
        numbers = await everything(w)
        node = await w.fs.lookup(w.root, b"f")
        w.transport.replug()
        assert await w.get(node) == b"old contents"
        assert await everything(w) == numbers
        await w.put(b"new", b"contents")
        assert (phone / "new").read_bytes() == b"contents"


async def test_locked_and_unlocked(phone: Path) -> None:
    """Storages vanish and come back with the same inodes; open files say ENODEV meanwhile, and go on."""
    async with world(phone) as w:
        numbers = await everything(w)
        opened = await w.open(b"f", write=False)
        w.transport.set_locked(True)
        await settle(lambda: not w.fs.tree.root.children)
        assert w.root.name in w.kernel.gone
        assert await w.fs.entries(w.fs.tree.root) == []
        await answers(errno.ENODEV, w.fs.read(opened, 0, 10))
        await answers(errno.ENODEV, w.fs.entries(w.root))
        await answers(errno.ENODEV, w.fs.create(w.root, b"new"))
        w.transport.set_locked(False)
        await settle(lambda: bool(w.fs.tree.root.children))
        assert await everything(w) == numbers
        assert await w.fs.read(opened, 0, 100) == b"old contents"
        await w.fs.release(opened)


class LockingAt(FaultScript):
    """Locks the phone when it is given its first command of one kind."""

    def __init__(self, operation: Operation, lock: Callable[[], None]) -> None:
        super().__init__()
        self._operation: int | None = operation
        self._lock_phone = lock

    def take(self, operation: int) -> Fault | None:
        if operation == self._operation:
            self._operation = None
            self._lock_phone()
        return super().take(operation)


@pytest.mark.parametrize("words", ["", "no-events"])
@pytest.mark.parametrize(
    "operation",
    [
        Operation.SendObjectInfo,
        Operation.SendObject,
        Operation.DeleteObject,
        Operation.SetObjectPropValue,
    ],
)
async def test_locked_in_mid_upload(phone: Path, words: str, operation: Operation) -> None:
    """Whatever a phone answers that is locked at that moment: it is ENODEV, and all arrives when it is unlocked.

    But for the last step: the new contents have their name when the old ones are deleted.
    """
    async with world(phone, words) as w:
        node = await w.fs.lookup(w.root, b"f")
        w.transport.responder.faults = LockingAt(operation, lambda: w.transport.set_locked(True))
        if operation is Operation.DeleteObject:
            await w.put(b"f", b"new")
        else:
            await answers(errno.ENODEV, w.put(b"f", b"new"))
        w.transport.set_locked(False)
        await settle(lambda: w.file(node) is None)
        assert contents(phone / "f") == b"new"
        with trio.fail_after(10):
            while not (
                storages := await w.fs.entries(w.fs.tree.root)
            ):  # until the news of the unlocking is there
                await trio.sleep(0.01)
        assert [n.name for n in await w.fs.entries(storages[0])] == [b"d", b"f"]
        assert sorted(os.listdir(phone)) == ["d", "f"]
        assert not recovery_directory().exists()


@pytest.mark.parametrize("words", ["", "no-events"])
async def test_locked_in_mid_change(phone: Path, words: str) -> None:
    """Whatever else is refused because the phone is being locked is ENODEV, too, and works when it is unlocked."""
    changes: list[tuple[Operation, Callable[[World], Awaitable[object]]]] = [
        (Operation.SendObjectInfo, lambda w: w.fs.mkdir(w.root, b"new")),
        (Operation.DeleteObject, lambda w: w.fs.rmdir(w.root, b"new")),
        (Operation.SetObjectPropValue, lambda w: w.fs.rename(w.root, b"f", w.root, b"g")),
        (Operation.DeleteObject, lambda w: w.fs.unlink(w.root, b"g")),
    ]
    async with world(phone, words) as w:
        for operation, change in changes:
            w.transport.responder.faults = LockingAt(operation, lambda: w.transport.set_locked(True))
            await answers(errno.ENODEV, change(w))
            w.transport.set_locked(False)
            await w.fs.entries(w.fs.tree.root)
            await change(w)
        assert os.listdir(phone) == ["d"]


async def test_locked_without_events(phone: Path) -> None:
    """Without events, whoever looks finds out: emptiness is asked about again each time."""
    async with world(phone, "no-events&locked") as w:
        assert await w.fs.entries(w.fs.tree.root) == []
        w.transport.set_locked(False)
        (storage,) = await w.fs.entries(w.fs.tree.root)
        file = await w.fs.lookup(storage, b"f")
        w.transport.set_locked(True)
        await answers(errno.ENODEV, w.get(file))
        assert await w.fs.entries(w.fs.tree.root) == []
        w.transport.set_locked(False)
        assert await w.fs.entries(w.fs.tree.root) == [storage]
        assert await w.get(file) == b"old contents"


async def test_back_but_locked(phone: Path) -> None:
    """Contents that wait for the phone also wait until it is unlocked."""
    async with world(phone) as w:
        node = await w.fs.lookup(w.root, b"f")
        await write(w, node, b"new")
        w.transport.replug()
        w.transport.set_locked(True)
        with trio.fail_after(10):
            await w.fs.device.session.until_back()
        await trio.sleep(0.5)
        assert (phone / "f").read_bytes() == b"old contents"
        w.transport.set_locked(False)
        await settle(lambda: contents(phone / "f") == b"new!")


async def test_chosen_storage_is_locked(phone: Path) -> None:
    """So it goes for a mount of a single storage."""
    async with world(phone, storage="Internal shared storage") as w:
        numbers = await everything(w)
        node = await w.fs.lookup(w.fs.tree.root, b"f")
        w.transport.set_locked(True)
        await answers(errno.ENODEV, w.get(node))
        await answers(errno.ENODEV, w.fs.entries(w.fs.tree.root))
        w.transport.set_locked(False)
        assert await everything(w) == numbers
        assert await w.get(node) == b"old contents"
        await unplug(w)
        await answers(errno.ENODEV, w.get(node))
        await replug(w)
        assert await everything(w) == numbers
        assert await w.get(node) == b"old contents"


@pytest.mark.parametrize("change", ["unlink", "rename", "rmdir", "mkdir"])
async def test_change_that_waited_meanwhile(phone: Path, change: str) -> None:
    """What has waited for a claim while the phone was away is done, with the handles of now, and nothing else is hit."""
    (phone / "d").mkdir(exist_ok=True)
    (phone / "0").mkdir()
    async with world(phone) as w:
        node = await w.fs.lookup(w.root, b"f")
        directory = await w.fs.lookup(w.root, b"d")
        await w.fs.entries(directory)
        before = sorted(path.name for path in phone.iterdir())
        failures: list[int | None] = []

        async def run() -> None:
            try:
                if change == "unlink":
                    await w.fs.unlink(w.root, b"f")
                elif change == "rename":
                    await w.fs.rename(w.root, b"f", directory, b"g")
                elif change == "rmdir":
                    await w.fs.rmdir(w.root, b"0")
                else:
                    await w.fs.mkdir(directory, b"new")
            except MtpfsError as error:
                failures.append(error.errno)

        async with trio.open_nursery() as nursery, w.claims.claim(subtrees=[w.root]):
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            w.transport.unplug()
            for name in ("A", "B", "C"):
                (phone / name).write_bytes(b"somebody else's")
            await w.fs.device.session.until_gone()
            await replug(w)
        assert failures == []
        after = {"unlink": {"f"}, "rename": {"f"}, "rmdir": {"0"}, "mkdir": set()}[change]
        assert {path.name for path in phone.iterdir()} == {*before, "A", "B", "C"} - after
        for name in ("A", "B", "C"):
            assert (phone / name).read_bytes() == b"somebody else's"
        assert (phone / "d/new").is_dir() == (change == "mkdir")
        if change != "unlink":
            assert await w.get(node) == b"old contents"


async def test_failures_keep_no_spool(phone: Path) -> None:
    """A file that can't be saved leaves nothing open, even while nobody collects garbage."""

    def spools() -> int:
        found = 0
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # what the look itself has opened
                found += str(phone.parent / "spool") in str(entry.readlink())
        return found

    gc.disable()
    try:
        for words in ("", "no-edit", "no-partial"):
            async with world(phone, words) as w:
                opened = await w.fs.create(w.root, f"held {words}".encode())
                await w.fs.write(opened, 0, bytes(5000))
                assert spools() == 1  # this look would see one that is left
                await w.close(opened)
                for kind in (Kind.REFUSE, Kind.STALL, Kind.SILENCE):
                    for operation in (
                        Operation.SendObject,
                        Operation.GetObject,
                        Operation.GetPartialObject64,
                    ):
                        w.transport.faults.add(Fault(kind, operation))
                    for call in (w.put, w.put):
                        with contextlib.suppress(MtpfsError):
                            await call(b"f", os.urandom(5000))
                    with contextlib.suppress(MtpfsError):
                        await w.get(await w.fs.lookup(w.root, b"f"))
                    w.transport.faults.clear()
                await settle(lambda: spools() == 0)
    finally:
        gc.enable()


@pytest.mark.parametrize("change", ["replaced", "replaced by a part", "changed in place"])
async def test_phone_with_dates_of_its_own(phone: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A file that was put there in this mount is known again, though its date isn't the one that it was sent with."""
    monkeypatch.setattr(openfile, "SPOOL_LIMIT", 1 << 20)
    async with world(phone, "arrival-dates&no-events") as w:
        node = await w.put(b"new", b"as it was sent" * 10)
        os.utime(phone / "new", (1_500_000_000,) * 2)  # the phone's clock is years behind
        opened = await w.fs.open(node, write=True, truncate=change != "changed in place")
        written = os.urandom(2 << 20 if change == "replaced by a part" else 100)
        await w.fs.write(opened, 0, written)
        await unplug(w)
        await replug(w)
        await w.fs.write(opened, len(written), b"and the rest" * 10)
        await w.close(opened)
        assert (phone / "new").read_bytes() == written + b"and the rest" * 10
    assert not recovery_directory().exists()
