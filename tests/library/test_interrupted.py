"""Cancelling and unplugging in the middle: the phone stays in step, and nothing half is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from library.world import STORAGE, World, world
from mtpfs.protocol.codes import Operation
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from phones import DIFFERENT, WRITABLE_PERSONALITIES, name

SIZE = 9 << 20
FILE = f"{STORAGE}/f.mp3"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "phone/D").mkdir(parents=True)
    (tmp_path / "phone/f.mp3").write_bytes(os.urandom(SIZE))
    (tmp_path / "new.mp3").write_bytes(os.urandom(SIZE))
    return tmp_path / "phone"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("words", WRITABLE_PERSONALITIES, ids=name)
@pytest.mark.parametrize("target", ["f.mp3", "new.mp3"])
async def test_upload_cancelled_in_its_data_phase(directory: Path, words: str, target: str) -> None:
    """It ends at once, nothing of it stays, the old file is whole, and the phone goes on."""
    before = contents(directory)
    async with world(directory, words) as w:
        with trio.CancelScope() as scope:

            def progress(done: int, size: int) -> None:
                assert done < size
                scope.cancel()

            await w.phone.upload(
                directory.parent / "new.mp3", f"{STORAGE}/{target}", progress=progress, replace=True
            )
        assert scope.cancelled_caught
        assert contents(directory) == before
        assert await w.is_in_step()
        await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/{target}", replace=True)
    assert contents(directory)[target] == (directory.parent / "new.mp3").read_bytes()
    assert len(contents(directory)) == len({*before, target})


@pytest.mark.parametrize("words", DIFFERENT, ids=name)
async def test_upload_cancelled_anywhere(directory: Path, words: str) -> None:
    """Before each transaction of a replacement: the old contents or the new ones have the name, and nothing else is there."""
    old, new = (directory / "f.mp3").read_bytes(), (directory.parent / "new.mp3").read_bytes()
    if "storages" in words:
        pytest.skip("saving is the same there")
    for number in range(40):
        (directory / "f.mp3").write_bytes(old)
        async with world(directory, words) as w:
            await w.phone.scandir(STORAGE)
            with trio.CancelScope() as scope:
                w.cancel_at(number, scope)
                await w.phone.upload(directory.parent / "new.mp3", FILE, replace=True)
            assert await w.is_in_step()
            assert set(contents(directory)) == {"f.mp3"}
            assert contents(directory)["f.mp3"] in {old, new}
        if not scope.cancelled_caught:
            assert contents(directory)["f.mp3"] == new
            break
    else:
        raise AssertionError("it never came to its end")
    assert number > 2 or "no-rename" in words  # a replacement there is finished once it has begun


@pytest.mark.parametrize("words", DIFFERENT, ids=name)
@pytest.mark.parametrize("resume", [False, True])
async def test_download_cancelled(directory: Path, words: str, resume: bool) -> None:
    """The local file doesn't appear; with `resume` the next call goes on where it broke off, else from the start."""
    target = directory.parent / "got.mp3"
    async with world(directory, words) as w:
        root = (await w.phone.storages())[0].path
        if "storages" in words:
            await w.phone.upload(directory.parent / "new.mp3", f"{root}/f.mp3")
        path = f"{root}/f.mp3"
        counts: list[int] = []
        with trio.CancelScope() as scope:

            def progress(done: int, size: int) -> None:
                counts.append(done)
                if done > SIZE // 2:
                    scope.cancel()

            await w.phone.download(path, target, progress=progress, resume=resume)
        assert scope.cancelled_caught
        assert not target.exists()
        assert len(list(directory.parent.glob(".got.mp3.mtpfs-*.part"))) == resume
        again: list[int] = []
        await w.phone.download(path, target, resume=resume, progress=lambda done, size: again.append(done))
        assert (again[0] > counts[-1]) == resume
        async with await w.phone.open(path) as file:
            assert target.read_bytes() == await file.read()
        assert not list(directory.parent.glob(".got*"))


async def test_part_of_another_file(directory: Path) -> None:
    """A part is gone on with only if path, size and date are the same; one that is out of date is removed."""
    target = directory.parent / "got.mp3"
    async with world(directory) as w:
        with pytest.raises(KeyError):
            await w.phone.download(FILE, target, resume=True, progress=_fail)
        assert len(list(directory.parent.glob(".got*"))) == 1
    os.utime(directory / "f.mp3", (1_500_000_000, 1_500_000_000))
    counts: list[int] = []
    async with world(directory) as w:
        await w.phone.download(FILE, target, resume=True, progress=lambda done, size: counts.append(done))
    assert counts[0] == 4 << 20
    assert target.read_bytes() == (directory / "f.mp3").read_bytes()
    assert not list(directory.parent.glob(".got*"))


async def test_killed_between_two_names(directory: Path) -> None:
    """A part that has its file's name already is that file: it isn't written, or emptied, any more."""
    target = directory.parent / "got.mp3"
    async with world(directory) as w:
        with pytest.raises(KeyError):
            await w.phone.download(FILE, target, resume=True, progress=_fail)
        (part,) = directory.parent.glob(".got*")
        await w.phone.download(FILE, target)
        whole = target.read_bytes()
        os.link(target, part)
        with pytest.raises(KeyError):
            await w.phone.download(FILE, target, replace=True, progress=_fail)
        assert target.read_bytes() == whole


def _fail(done: int, size: int) -> None:
    raise KeyError


async def test_progress_that_fails(directory: Path) -> None:
    """What `progress` raises comes out of the call, and the transfer is broken off as by cancelling."""
    before = contents(directory)
    async with world(directory) as w:
        with pytest.raises(KeyError):
            await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/new.mp3", progress=_fail)
        assert await w.is_in_step()
    assert contents(directory) == before


@pytest.mark.parametrize("number", range(6))
async def test_listing_cancelled(directory: Path, number: int) -> None:
    """Broken off before each transaction, a listing is done anew by the next call."""
    for index in range(10):
        (directory / f"D/{index}").touch()
    async with world(directory) as w:
        with trio.CancelScope() as scope:
            w.cancel_at(number, scope)
            await w.phone.scandir(f"{STORAGE}/D")
        assert scope.cancelled_caught
        assert len(await w.phone.scandir(f"{STORAGE}/D")) == 10
        assert await w.is_in_step()


@pytest.mark.parametrize("number", range(8))
async def test_copy_cancelled(directory: Path, number: int) -> None:
    """Broken off anywhere, there is a whole copy or none."""
    async with world(directory) as w:
        await w.phone.scandir(STORAGE)
        with trio.CancelScope() as scope:
            w.cancel_at(number, scope)
            await w.phone.copy(FILE, f"{STORAGE}/D/f.mp3")
        assert await w.is_in_step()
        copy = directory / "D/f.mp3"
        assert not copy.exists() or copy.read_bytes() == (directory / "f.mp3").read_bytes()


async def gone_in(w: World, operation: Operation, amount: int = 0) -> None:
    kind = Kind.GONE_MID_DATA if amount else Kind.GONE
    w.transport.faults.add(Fault(kind, operation, amount=amount))


async def replug(w: World) -> None:
    """Put the cable back, and wait until the phone answers: the thread that reads events may hear late of the cable."""
    session = w.phone._fs.device.session
    with trio.fail_after(20):
        await session.until_gone()
        w.transport.replug()
        while True:
            await session.until_back()
            try:
                await w.phone.scandir(STORAGE)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
            else:
                return


@pytest.mark.parametrize("words", DIFFERENT[:4], ids=name)
async def test_unplugged_in_an_upload(directory: Path, words: str) -> None:
    """ENODEV with the path; the old file stays, nothing waits to be sent, and a replugged phone is used again."""
    old = (directory / "f.mp3").read_bytes()
    recovered = set(Path(os.environ["TMPDIR"]).glob("mtpfs-recovered*/**/*"))
    async with world(directory, words) as w:
        await w.phone.scandir(STORAGE)
        await gone_in(w, Operation.SendObject, SIZE // 2)
        with pytest.raises(OSError, match="No such device") as caught:
            await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/new.mp3")
        assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, f"{STORAGE}/new.mp3")
        with pytest.raises(OSError, match="No such device") as caught:
            await w.phone.stat(FILE)
        assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, FILE)
        await replug(w)
        async with await w.phone.open(FILE) as file:
            assert await file.read() == old
        await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/new.mp3", replace=True)
    assert contents(directory)["new.mp3"] == (directory.parent / "new.mp3").read_bytes()
    assert set(Path(os.environ["TMPDIR"]).glob("mtpfs-recovered*/**/*")) == recovered


async def test_unplugged_in_a_download(directory: Path) -> None:
    """The part stays; after the phone's return it is gone on with."""
    target = directory.parent / "got.mp3"
    async with world(directory) as w:
        w.transport.faults.add(Fault(Kind.GONE, Operation.GetPartialObject64, skip=1))
        with pytest.raises(OSError, match="No such device") as caught:
            await w.phone.download(FILE, target, resume=True)
        assert caught.value.filename == FILE
        await replug(w)
        counts: list[int] = []
        await w.phone.download(FILE, target, resume=True, progress=lambda done, size: counts.append(done))
    assert counts[0] > 4 << 20
    assert target.read_bytes() == (directory / "f.mp3").read_bytes()


async def test_error_while_sending(directory: Path) -> None:
    """A phone that refuses leaves the old file, and no contents for later."""
    old = contents(directory)
    async with world(directory) as w:
        w.transport.faults.add(Fault(Kind.FAIL, Operation.SendObject, code=0x200F, times=FOREVER))
        for path in (FILE, f"{STORAGE}/new.mp3"):
            with pytest.raises(OSError, match="denied") as caught:
                await w.phone.upload(directory.parent / "new.mp3", path, replace=True)
            assert (caught.value.errno, caught.value.filename) == (errno.EACCES, path)
        assert w.phone._fs.unsaved == 0
        assert [entry.name for entry in await w.phone.scandir(STORAGE)] == ["D", "f.mp3"]
    assert contents(directory) == old


async def test_refused_where_a_file_is_that_no_listing_shows(directory: Path) -> None:
    """A phone that couldn't describe a file refuses its name. The file isn't ours, and stays; so does the rest."""
    for index in range(3):
        (directory / f"D/{index}").write_bytes(b"old")
    before = contents(directory)
    async with world(directory) as w:
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.GetObjectInfo, skip=2))
        shown = {entry.name for entry in await w.phone.scandir(f"{STORAGE}/D")}
        (hidden,) = {"0", "1", "2"} - shown
        assert w.phone.unseen == 1
        with pytest.raises(OSError, match="Input/output"):
            await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/D/{hidden}", replace=True)
        assert contents(directory) == before
        assert {entry.name for entry in await w.phone.scandir(f"{STORAGE}/D")} == {"0", "1", "2"}
        assert w.phone.unseen == 0
        await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/D/{hidden}", replace=True)
    assert contents(directory)[hidden] == (directory.parent / "new.mp3").read_bytes()


async def test_refused_after_an_object_was_made(directory: Path) -> None:
    """A phone that makes an empty object and refuses then all the same: it is asked to delete it."""
    before = contents(directory)
    async with world(directory) as w:
        await w.phone.scandir(STORAGE)
        w.transport.faults.add(Fault(Kind.FAIL, Operation.SendObjectInfo, times=FOREVER))
        with pytest.raises(OSError, match="Input/output"):
            await w.phone.upload(directory.parent / "new.mp3", f"{STORAGE}/new.mp3")
        assert w.operations["DeleteObject"] == 1  # Android refuses that for a name that is only reserved
    assert contents(directory) == before


async def test_local_file_that_changes_replaces_nothing(directory: Path) -> None:
    """What was sent of it may be a mixture: the old file stays, and a new one doesn't appear."""
    source, before = directory.parent / "new.mp3", contents(directory)

    def progress(done: int, size: int) -> None:
        with source.open("r+b") as file:
            file.write(os.urandom(16))

    async with world(directory) as w:
        for name in ("new.mp3", "f.mp3"):
            with pytest.raises(OSError, match="it changed while it was sent"):
                await w.phone.upload(source, f"{STORAGE}/{name}", progress=progress, replace=True)
            assert contents(directory) == before
            assert await w.is_in_step()


async def test_local_file_that_changes(directory: Path) -> None:
    """A file that changes while it is sent is an error, and not a mixture without a word."""
    source = directory.parent / "new.mp3"

    def progress(done: int, size: int) -> None:
        if done < size:
            source.write_bytes(b"shorter")

    async with world(directory) as w:
        with pytest.raises(OSError) as caught:
            await w.phone.upload(source, f"{STORAGE}/new.mp3", progress=progress)
        assert caught.value.errno in {errno.EIO, errno.EINVAL}
        await w.phone.scandir(STORAGE)


async def test_block_that_is_cancelled(directory: Path) -> None:
    """The exception of a block comes out as it is, and cancellation ends the phone in order."""
    with pytest.raises(KeyError):
        async with world(directory):
            raise KeyError
    with trio.move_on_after(0.01) as scope:
        async with world(directory):
            await trio.sleep_forever()
    assert scope.cancelled_caught
