"""What programs expect of a directory. The tests take a path, and hold on an ordinary directory too."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(params=["disk", "", "no-edit", "no-partial", "samsung"], ids=lambda w: w or "android")
def root(request: pytest.FixtureRequest, tmp_path: Path, mount_phone: Callable[..., object]) -> Path:
    """A directory: an ordinary one, to check the tests themselves, and mounts of several phones."""
    if request.param == "disk":
        (tmp_path / "disk").mkdir()
        return tmp_path / "disk"
    path: Path = mount_phone(request.param).root  # type: ignore[attr-defined]
    return path


def test_create_and_read(root: Path) -> None:
    """What is written is read, while open and after."""
    with (root / "f").open("w+b") as file:
        file.write(b"hello")
        file.flush()
        file.seek(0)
        assert file.read() == b"hello"
    assert (root / "f").read_bytes() == b"hello"
    assert (root / "f").stat().st_size == 5


def test_exclusive_create(root: Path) -> None:
    """O_EXCL refuses an existing name."""
    (root / "f").touch()
    with pytest.raises(FileExistsError):
        os.open(root / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_append(root: Path) -> None:
    """O_APPEND writes at the end, wherever the offset is."""
    (root / "f").write_bytes(b"123")
    descriptor = os.open(root / "f", os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"45")
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"6")
    os.close(descriptor)
    assert (root / "f").read_bytes() == b"123456"


def test_hole(root: Path) -> None:
    """Bytes that were never written read as zeros."""
    with (root / "f").open("wb") as file:
        file.seek(100_000)
        file.write(b"end")
    assert (root / "f").read_bytes() == bytes(100_000) + b"end"


def test_write_beyond_the_end_of_an_existing_file(root: Path) -> None:
    """Writing behind a gap fills the gap with zeros."""
    (root / "f").write_bytes(b"begin")
    with (root / "f").open("r+b") as file:
        file.seek(10)
        file.write(b"end")
    assert (root / "f").read_bytes() == b"begin\0\0\0\0\0end"


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_truncate(root: Path, size: int) -> None:
    """Truncating by path and by descriptor, down and up."""
    data = bytes(range(1, 251)) * 10
    (root / "f").write_bytes(data)
    os.truncate(root / "f", size)
    assert (root / "f").read_bytes() == data[:size] + bytes(max(0, size - len(data)))
    with (root / "f").open("r+b") as file:
        file.truncate(7)
        file.seek(0)
        assert len(file.read()) == 7
    assert (root / "f").stat().st_size == 7


def test_truncating_open(root: Path) -> None:
    """O_TRUNC leaves nothing of the old contents."""
    (root / "f").write_bytes(b"old contents")
    (root / "f").write_bytes(b"new")
    assert (root / "f").read_bytes() == b"new"
    (root / "f").write_bytes(b"")
    assert (root / "f").stat().st_size == 0


def test_mixed_positional_io(root: Path) -> None:
    """pread sees what pwrite wrote, on one descriptor and on another."""
    (root / "f").write_bytes(bytes(10_000))
    with (root / "f").open("r+b", buffering=0) as file, (root / "f").open("rb", buffering=0) as other:
        os.pwrite(file.fileno(), b"abc", 5000)
        assert os.pread(file.fileno(), 5, 4999) == b"\0abc\0"
        os.pwrite(file.fileno(), b"z", 0)
        os.fsync(file.fileno())
        assert os.pread(other.fileno(), 3, 5000) == b"abc"
    assert (root / "f").read_bytes()[:1] == b"z"


def test_rename(root: Path) -> None:
    """Renaming in a directory, over a file, and into another directory."""
    (root / "a").write_text("a")
    (root / "a").rename(root / "b")
    assert not (root / "a").exists()
    (root / "c").write_text("c")
    inode = (root / "b").stat().st_ino
    (root / "b").rename(root / "c")
    assert (root / "c").read_text() == "a"
    assert (root / "c").stat().st_ino == inode
    (root / "d").mkdir()
    (root / "c").rename(root / "d/e")
    assert (root / "d/e").read_text() == "a"
    assert os.listdir(root) == ["d"]


def test_rename_directory(root: Path) -> None:
    """A directory takes its contents with it, replaces an empty one, and refuses others."""
    (root / "d").mkdir()
    (root / "d/f").write_text("f")
    (root / "empty").mkdir()
    (root / "full").mkdir()
    (root / "full/x").touch()
    (root / "d").rename(root / "empty")
    assert (root / "empty/f").read_text() == "f"
    with pytest.raises(OSError, match="not empty"):
        (root / "empty").rename(root / "full")
    with pytest.raises(OSError, match="Invalid argument"):
        (root / "full").rename(root / "full/inside")


def test_rename_of_an_open_file(root: Path) -> None:
    """What is written after a rename goes into the renamed file."""
    with (root / "a").open("wb") as file:
        file.write(b"one")
        file.flush()
        (root / "a").rename(root / "b")
        file.write(b"two")
    assert (root / "b").read_bytes() == b"onetwo"
    assert os.listdir(root) == ["b"]


def test_unlink_of_an_open_file(root: Path) -> None:
    """An open file can be read and written after it was unlinked, and is gone then."""
    (root / "f").write_bytes(b"contents")
    with (root / "f").open("r+b", buffering=0) as file:
        (root / "f").unlink()
        assert os.listdir(root) == []
        assert os.pread(file.fileno(), 8, 0) == b"contents"
        os.pwrite(file.fileno(), b"C", 0)
        assert os.pread(file.fileno(), 8, 0) == b"Contents"
    assert os.listdir(root) == []


def test_unlinking_and_creating_anew_while_open(root: Path) -> None:
    """An unlinked open file and a new one of its name have nothing to do with each other."""
    (root / "f").write_bytes(b"old")
    with (root / "f").open("rb") as file:
        (root / "f").unlink()
        (root / "f").write_bytes(b"new")
        assert file.read() == b"old"
    assert (root / "f").read_bytes() == b"new"


def test_directories(root: Path) -> None:
    """mkdir, rmdir, and the errors that they owe."""
    (root / "d").mkdir()
    with pytest.raises(FileExistsError):
        (root / "d").mkdir()
    (root / "d/f").touch()
    with pytest.raises(OSError, match="not empty"):
        (root / "d").rmdir()
    with pytest.raises(NotADirectoryError):
        (root / "d/f").rmdir()
    with pytest.raises(IsADirectoryError):
        (root / "d").open("wb")
    (root / "d/f").unlink()
    (root / "d").rmdir()
    with pytest.raises(FileNotFoundError):
        (root / "d").stat()


def test_listing_while_it_changes(root: Path) -> None:
    """Removing entries while a directory is read skips none of the others."""
    names = {f"file{number}" for number in range(300)}
    for name in names:
        (root / name).touch()
    seen = set()
    with os.scandir(root) as entries:
        for entry in entries:
            seen.add(entry.name)
            if entry.name == "file5":
                (root / "file7").unlink()
    assert names - {"file7"} <= seen


def test_parallel_writers(root: Path) -> None:
    """Several threads write several files at once."""

    def write(number: int) -> None:
        with (root / f"f{number}").open("wb") as file:
            for count in range(20):
                file.write(bytes([number]) * 5000 + bytes([count]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(6):
        expected = b"".join(bytes([number]) * 5000 + bytes([count]) for count in range(20))
        assert (root / f"f{number}").read_bytes() == expected


def test_memory_mapped_reading(root: Path) -> None:
    """A mapped file shows its contents."""
    data = os.urandom(300_000)
    (root / "f").write_bytes(data)
    with (root / "f").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[100_000:200_000] == data[100_000:200_000]


@pytest.mark.parametrize(
    "name",
    [
        "20180915_180351(0).jpg",
        "\N{CHEESE WEDGE} \N{SUNRISE OVER MOUNTAINS}",
        "n" * 254,
        "ä" * 120,
        'a:b?*"<>|\\',
        " x ",
        "-rf",
    ],
)
def test_names(root: Path, name: str) -> None:
    """Names that others stumble over are names."""
    (root / name).write_text(name)
    assert os.listdir(root) == [name]
    assert (root / name).read_text() == name
    (root / name).unlink()
    assert os.listdir(root) == []


def test_missing_and_impossible(root: Path) -> None:
    """What isn't there is ENOENT, a name that is too long is told so."""
    with pytest.raises(FileNotFoundError):
        (root / "nothing").read_bytes()
    with pytest.raises(FileNotFoundError):
        (root / "nothing").unlink()
    with pytest.raises(OSError, match="too long") as caught:
        (root / ("n" * 256)).touch()
    assert caught.value.errno == errno.ENAMETOOLONG
