"""Every operation of the library by path, on phones of several kinds."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

import mtpfs
from library.world import STORAGE, world
from mtpfs.protocol.codes import Operation
from mtpfs.virtual import changes
from mtpfs.virtual.capabilities import parse_options
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from phones import CAMERA, DIFFERENT, ONE_STORAGE, WRITABLE_PERSONALITIES, name

DATE = 1_500_000_000.0


def local_file(path: Path, data: bytes, date: float = DATE) -> Path:
    path.write_bytes(data)
    os.utime(path, (date, date))
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What the phone serves."""
    (tmp_path / "phone/DCIM/Camera").mkdir(parents=True)
    local_file(tmp_path / "phone/DCIM/Camera/a.jpg", b"picture" * 1000)
    return tmp_path / "phone"


@pytest.mark.parametrize("words", ONE_STORAGE, ids=name)
@pytest.mark.parametrize("size", [0, 1, 4 << 20, (9 << 20) + 17])
async def test_up_and_down(tmp_path: Path, directory: Path, words: str, size: int) -> None:
    """What is sent is on the phone, with its date where the phone keeps dates, and comes back the same."""
    source = local_file(tmp_path / "out.mp3", os.urandom(size))
    told: list[tuple[int, int]] = []
    async with world(directory, words) as w:
        path = f"{STORAGE}/a.mp3"
        await w.phone.upload(source, path, progress=lambda *counts: told.append(counts))
        assert (directory / "a.mp3").read_bytes() == source.read_bytes()
        entry = await w.phone.stat(path)
        assert (entry.path, entry.name, entry.is_dir, entry.size) == (path, "a.mp3", False, size)
        assert entry.modified == DATE
        back = tmp_path / "back.mp3"
        told_of_both = told[:]
        await w.phone.download(path, back, progress=lambda *counts: told_of_both.append(counts))
        assert back.read_bytes() == source.read_bytes()
        assert back.stat().st_mtime == DATE
    assert sorted(os.listdir(tmp_path)) == ["back.mp3", "out.mp3", "phone"]
    if size:
        assert told[-1] == told_of_both[-1] == (size, size)


async def test_small_files_cost_one_transaction_each(tmp_path: Path, directory: Path) -> None:
    """A file that is fetched costs one transaction, one that is sent two."""
    async with world(directory) as w:
        await w.phone.scandir(f"{STORAGE}/DCIM/Camera")
        before = w.operations
        await w.phone.download(f"{STORAGE}/DCIM/Camera/a.jpg", tmp_path / "a")
        fetched = w.operations
        assert {o: n - before.get(o, 0) for o, n in fetched.items() if n > before.get(o, 0)} == {
            "GetPartialObject64": 1
        }


@pytest.mark.parametrize("words", DIFFERENT, ids=name)
async def test_replacing(tmp_path: Path, directory: Path, words: str) -> None:
    """Nothing is replaced by accident; what is replaced leaves nothing beside it."""
    new = local_file(tmp_path / "new.jpg", b"new")
    storage = next(iter(directory.iterdir())) if "storages" in words else directory
    async with world(directory, words) as w:
        root = (await w.phone.storages())[0].path
        path = f"{root}/f.jpg"
        await w.phone.upload(local_file(tmp_path / "old.jpg", b"old"), path)
        for attempt in (w.phone.upload(new, path), w.phone.copy(path, path), w.phone.mkdir(path)):
            with pytest.raises(OSError) as caught:
                await attempt
            assert caught.value.errno in {errno.EEXIST, errno.EINVAL}
            assert caught.value.filename == path
        await w.phone.upload(new, path, replace=True)
        assert [entry.name for entry in await w.phone.scandir(root) if "f.jpg" in entry.name] == ["f.jpg"]
        async with await w.phone.open(path) as file:
            assert await file.read() == b"new"
    assert storage.exists()


@pytest.mark.parametrize("words", WRITABLE_PERSONALITIES, ids=name)
async def test_names(directory: Path, words: str) -> None:
    """Directories, renaming, moving, copying and removing do what they say, and leave nothing beside."""
    async with world(directory, words) as w:
        phone = w.phone
        await phone.mkdir(f"{STORAGE}/A/B", parents=True)
        await phone.mkdir(f"{STORAGE}/A", exist_ok=True)
        await phone.copy(f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/A/a.jpg")
        await phone.copy(f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/A/b.jpg")
        await phone.rename(f"{STORAGE}/A/b.jpg", f"{STORAGE}/A/c.jpg")
        await phone.move(f"{STORAGE}/A/c.jpg", f"{STORAGE}/A/B/d.jpg")
        await phone.copy(f"{STORAGE}/A", f"{STORAGE}/E")
        found = [entry.path async for entry in phone.walk(f"{STORAGE}/E")]
        assert sorted(found) == [f"{STORAGE}/E/{path}" for path in ("B", "B/d.jpg", "a.jpg")]
        assert (directory / "E/B/d.jpg").read_bytes() == b"picture" * 1000
        await phone.remove(f"{STORAGE}/A", recursive=True)
        await phone.remove(f"{STORAGE}/E/a.jpg")
        with pytest.raises(OSError, match="not empty") as caught:
            await phone.remove(f"{STORAGE}/E")
        assert caught.value.errno == errno.ENOTEMPTY
    left = sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
    assert left == ["DCIM", "DCIM/Camera", "DCIM/Camera/a.jpg", "E", "E/B", "E/B/d.jpg"]


async def test_copy_is_the_phones_own_work(directory: Path) -> None:
    """A copy sends no contents, under the same name and under another one."""
    async with world(directory) as w:
        await w.phone.copy(f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/a.jpg")
        await w.phone.copy(f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/DCIM/b.jpg")
        await w.phone.copy(f"{STORAGE}/DCIM", f"{STORAGE}/copy")
        assert (
            w.operations["CopyObject"] == 4
        )  # DCIM beside itself goes piece by piece: its name is taken there
        assert {"SendObject", "GetPartialObject64"}.isdisjoint(w.operations)
        assert (directory / "copy/Camera/a.jpg").read_bytes() == b"picture" * 1000
        async with await w.phone.open(f"{STORAGE}/copy/b.jpg") as file:
            assert len(await file.read()) == 7000


async def test_copy_that_the_phone_refuses(directory: Path) -> None:
    """Where the phone has promised too much, the contents are sent."""
    async with world(directory) as w:
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.CopyObject, code=0x2005, times=FOREVER))
        await w.phone.copy(f"{STORAGE}/DCIM", f"{STORAGE}/copy")
    assert (directory / "copy/Camera/a.jpg").read_bytes() == b"picture" * 1000


async def test_between_storages(tmp_path: Path) -> None:
    """`rename` says EXDEV, `move` copies and removes, whole directories too."""
    async with world(tmp_path, "storages=2") as w:
        first, second = (storage.path for storage in await w.phone.storages())
        await w.phone.mkdir(f"{first}/D")
        async with await w.phone.open(f"{first}/D/f", "wb") as file:
            await file.write(b"contents")
        with pytest.raises(OSError, match="cross-device") as caught:
            await w.phone.rename(f"{first}/D", f"{second}/D")
        assert caught.value.errno == errno.EXDEV
        assert (caught.value.filename, caught.value.filename2) == (f"{first}/D", f"{second}/D")
        await w.phone.move(f"{first}/D", f"{second}/D")
        assert [entry.path async for entry in w.phone.walk()] == [
            first,
            second,
            f"{second}/D",
            f"{second}/D/f",
        ]


async def test_a_move_whose_copy_isnt_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone that says OK to the copy of a directory, and has left something out: the only one isn't removed."""
    real = changes._copy

    def partly(source: str, target: str, *, folder: bool) -> None:
        real(source, target, folder=folder)
        (Path(target) / "in/f").unlink()

    monkeypatch.setattr(changes, "_copy", partly)
    async with world(tmp_path, "storages=2") as w:
        first, second = (storage.path for storage in await w.phone.storages())
        await w.phone.mkdir(f"{first}/D/in", parents=True)
        async with await w.phone.open(f"{first}/D/in/f", "wb") as file:
            await file.write(b"contents")
        with pytest.raises(OSError, match="nothing is removed") as caught:
            await w.phone.move(f"{first}/D", f"{second}/D")
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, f"{first}/D/in/f")
        assert await w.phone.stat(f"{first}/D/in/f")


@pytest.mark.parametrize("words", DIFFERENT, ids=name)
async def test_file(directory: Path, words: str) -> None:
    """Reading, seeking, writing over, and truncating; on phones that can't edit as well."""
    async with world(directory, words) as w:
        path = f"{(await w.phone.storages())[0].path}/f.txt"
        async with await w.phone.open(path, "xb") as file:
            assert await file.write(b"0123456789") == 10
            assert file.tell() == file.size == 10
            await file.set_modified(DATE)
        assert (await w.phone.stat(path)).modified == DATE
        async with await w.phone.open(path, "r+b") as file:
            assert file.seek(-3, os.SEEK_END) == 7
            assert await file.read(2) == b"78"
            assert file.seek(1) == 1
            await file.write(b"xy")
            assert await file.truncate(6) == 6
        async with await w.phone.open(path) as file:
            assert await file.read() == b"0xy345"
            assert await file.read() == b""
            file.seek(100)
            assert await file.read(5) == b""
        assert file.closed


async def test_misused_file(directory: Path) -> None:
    """What a file can't do is EBADF, and not silence."""
    path = f"{STORAGE}/DCIM/Camera/a.jpg"
    async with world(directory) as w:
        async with await w.phone.open(path) as file:
            with pytest.raises(OSError, match="reading only") as caught:
                await file.write(b"x")
            with pytest.raises(OSError, match="Invalid argument"):
                file.seek(-1)
        with pytest.raises(OSError, match="closed"):
            await file.read()
        assert (caught.value.errno, caught.value.filename) == (errno.EBADF, path)
        with pytest.raises(ValueError, match="mode 'r'"):
            await w.phone.open(path, "r")


async def fail_in_the_middle(phone: mtpfs.Phone, path: str) -> None:
    async with await phone.open(path, "wb") as file:
        await file.write(b"half")
        raise KeyError


async def test_block_that_fails_saves_nothing(directory: Path) -> None:
    """A new file vanishes, an old one has its old contents, one that isn't closed isn't saved."""
    path, new = f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/new"
    async with world(directory) as w:
        for each in (path, new):
            with pytest.raises(KeyError):
                await fail_in_the_middle(w.phone, each)
        assert [entry.name for entry in await w.phone.scandir(STORAGE)] == ["DCIM"]
        async with await w.phone.open(path) as file:
            assert await file.read() == b"picture" * 1000
        await (await w.phone.open(new, "wb")).write(b"never closed")
    assert (directory / "DCIM/Camera/a.jpg").read_bytes() == b"picture" * 1000
    assert os.listdir(directory) == ["DCIM"]


@pytest.mark.parametrize(
    ("call", "code", "kind"),
    [
        (lambda phone, path: phone.stat(path), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.scandir(path), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.open(path), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.remove(path), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.remove(path, recursive=True), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.mkdir(f"{path}/D"), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.upload("/dev/null", path), errno.EINVAL, OSError),
        (lambda phone, path: phone.thumbnail(path), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.properties(path), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.download(path, "/tmp/never"), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.rename(path, f"{path}2"), errno.ENOENT, FileNotFoundError),
        (lambda phone, path: phone.copy(path, f"{path}2"), errno.ENOENT, FileNotFoundError),
    ],
)
async def test_what_isnt_there(directory: Path, call: object, code: int, kind: type[OSError]) -> None:
    """Each call says ENOENT, of the right class, with the path that it was given."""
    assert callable(call)
    path = f"{STORAGE}/nowhere"
    async with world(directory) as w:
        with pytest.raises(kind) as caught:
            await call(w.phone, path)
        assert caught.value.errno == code
        assert str(caught.value.filename).startswith(path) or caught.value.filename == "/dev/null"


async def test_other_errors(tmp_path: Path, directory: Path) -> None:
    """ENOTDIR, EISDIR, EINVAL, EBUSY, EACCES, as on the mount."""
    file, folder = f"{STORAGE}/DCIM/Camera/a.jpg", f"{STORAGE}/DCIM"
    source = local_file(tmp_path / "f", b"f")
    async with world(directory) as w:
        phone = w.phone
        for attempt, code in (
            (phone.stat(f"{file}/x"), errno.ENOTDIR),
            (phone.scandir(file), errno.ENOTDIR),
            (phone.open(folder), errno.EISDIR),
            (phone.upload(source, folder), errno.EISDIR),
            (phone.upload(tmp_path, f"{STORAGE}/x"), errno.EISDIR),
            (phone.download(file, tmp_path), errno.EISDIR),
            (phone.download(file, source), errno.EEXIST),
            (phone.copy(folder, f"{folder}/x"), errno.EINVAL),
            (phone.rename(folder, f"{folder}/x"), errno.EINVAL),
            (phone.remove(STORAGE), errno.EBUSY),
            (phone.remove("/"), errno.EBUSY),
            (phone.mkdir("/new"), errno.EACCES),
            (phone.stat("relative"), errno.EINVAL),
            (phone.stat("/a\0b"), errno.EINVAL),
            (phone.thumbnail(folder), errno.EISDIR),
            (phone.thumbnail(file), errno.ENODATA),
            (phone.properties("/"), errno.EINVAL),
        ):
            with pytest.raises(OSError) as caught:
                await attempt
            assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]
            assert caught.value.filename


async def test_only_files_are_replaced(tmp_path: Path, directory: Path) -> None:
    """A pipe (or a device) stays what it is, and a link leads to the new file as it led to the old one."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("aim")
    local_file(tmp_path / "aim", b"old")
    async with world(directory) as w:
        path = f"{STORAGE}/DCIM/Camera/a.jpg"
        with pytest.raises(OSError, match="isn't a file") as caught:
            await w.phone.download(path, tmp_path / "pipe", replace=True)
        assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(tmp_path / "pipe"))
        await w.phone.download(path, tmp_path / "link", replace=True)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "aim").read_bytes() == b"picture" * 1000
    assert sorted(os.listdir(tmp_path)) == ["aim", "link", "phone", "pipe"]


async def test_read_only(directory: Path, tmp_path: Path) -> None:
    """A camera, and a connection that was asked for so, refuse every change."""
    source = local_file(tmp_path / "f", b"f")
    async with world(directory, CAMERA) as w:
        with pytest.raises(OSError, match="Read-only") as caught:
            await w.phone.upload(source, f"{(await w.phone.storages())[0].path}/f")
        assert caught.value.errno == errno.EROFS
    async with mtpfs.connect(f"virtual:{directory}", read_only=True) as phone:
        with pytest.raises(OSError, match="Read-only"):
            await phone.remove(f"{STORAGE}/DCIM/Camera/a.jpg")
    assert (directory / "DCIM/Camera/a.jpg").exists()


@pytest.mark.parametrize("words", [*WRITABLE_PERSONALITIES, CAMERA], ids=name)
async def test_properties(directory: Path, words: str) -> None:
    """A phone with properties tells them by the standard's names; a camera has its ObjectInfo."""
    async with world(directory, words) as w:
        root = (await w.phone.storages())[0].path
        found = await w.phone.properties(f"{root}/DCIM/Camera/a.jpg")
    if Operation.GetObjectPropsSupported in parse_options(words).operations:
        assert (found["ObjectFileName"], found["ObjectSize"]) == ("a.jpg", 7000)
    else:
        assert (found["Filename"], found["ObjectCompressedSize"]) == ("a.jpg", 7000)


async def test_storages(tmp_path: Path) -> None:
    """Each storage has a path and its room."""
    async with world(tmp_path, "storages=2&capacity=1000000") as w:
        found = await w.phone.storages()
        assert [storage.path for storage in found] == [f"/{storage.name}" for storage in found]
        assert all(storage.writable and 0 < storage.free <= storage.capacity for storage in found)


async def test_full(tmp_path: Path, directory: Path) -> None:
    """What doesn't fit is ENOSPC, and leaves nothing."""
    async with world(directory, "capacity=100000") as w:
        with pytest.raises(OSError, match="No space") as caught:
            await w.phone.upload(local_file(tmp_path / "f", b"x" * 200_000), f"{STORAGE}/f")
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, f"{STORAGE}/f")
    assert os.listdir(directory) == ["DCIM"]


async def test_events(directory: Path) -> None:
    """What appears, changes and vanishes on the phone is told, with its path; what we do ourselves isn't."""
    async with world(directory) as w:
        await w.phone.scandir(STORAGE)
        with w.phone.events() as events, trio.fail_after(20):
            async with await w.phone.open(f"{STORAGE}/own", "wb") as file:
                await file.write(b"x")
            (directory / "new").touch()
            assert await events.receive() == mtpfs.Event(mtpfs.EventKind.ADDED, f"{STORAGE}/new")
            (directory / "new").unlink()
            assert await events.receive() == mtpfs.Event(mtpfs.EventKind.REMOVED, f"{STORAGE}/new")
            w.transport.set_locked(True)
            assert (await events.receive()).kind is mtpfs.EventKind.STORAGE


async def test_a_name_that_is_no_text(directory: Path) -> None:
    """A name is as on the mount: what isn't UTF-8 is a surrogate, and can be asked for again."""
    async with world(directory) as w:
        name_ = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{CAMERA}"
        await w.phone.mkdir(f"{STORAGE}/{name_}")
        assert (await w.phone.stat(f"{STORAGE}/./DCIM/../{name_}/")).name == name_


async def test_fresh(tmp_path: Path) -> None:
    """With `fresh` the phone is asked, also if nothing has told of a change; a directory may be asked about, too."""
    (tmp_path / "D").mkdir()
    (tmp_path / "f").write_bytes(b"old")
    async with world(tmp_path, "no-events") as w:
        assert (await w.phone.stat(f"{STORAGE}/f")).size == 3
        (tmp_path / "f").write_bytes(b"newer")
        assert (await w.phone.stat(f"{STORAGE}/f")).size == 3
        before = sum(w.operations.values())
        assert (await w.phone.stat(f"{STORAGE}/f", fresh=True)).size == 5
        assert sum(w.operations.values()) == before + 1
        for path in ("/", STORAGE, f"{STORAGE}/D"):
            assert (await w.phone.stat(path, fresh=True)).is_dir


@pytest.mark.parametrize("size", [0, 1000, 9 << 20])
async def test_received(tmp_path: Path, size: int) -> None:
    """`received` is given all bytes in order; of a download that goes on, those that come now."""
    data = os.urandom(size)
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/f").write_bytes(data)
    target, found = tmp_path / "f", bytearray()
    async with world(tmp_path / "phone") as w:
        await w.phone.download(f"{STORAGE}/f", target, received=found.extend)
        assert found == data
        if size < 8 << 20:
            return
        found.clear()

        def stop(done: int, size: int) -> None:
            if done > 5 << 20:
                raise KeyError

        with pytest.raises(KeyError):
            await w.phone.download(f"{STORAGE}/f", target, replace=True, resume=True, progress=stop)
        before = len(found)
        await w.phone.download(f"{STORAGE}/f", target, replace=True, resume=True, received=found.extend)
        assert before == 0
        assert data.endswith(found)
        assert 0 < len(found) < 4 << 20
