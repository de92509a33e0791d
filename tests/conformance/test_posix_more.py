"""The finer print: descriptors, races for names, what stays open, what a write does to a date, copying in the kernel.

Like `test_posix`: each test takes a path, and holds on an ordinary directory too.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.place import Place
from conformance.test_posix import rename

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_NOREPLACE = -100, 1


def together(count: int, run: Callable[[int], None]) -> None:
    """Run a function in several threads that start at once."""
    barrier = threading.Barrier(count)

    def start(number: int) -> None:
        barrier.wait(30)
        run(number)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_one_creator(root: Path) -> None:
    """Of several who create one name exclusively, one succeeds."""
    won: list[int] = []

    def create(number: int) -> None:
        try:
            os.close(os.open(root / "f.mp3", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            won.append(number)
        except FileExistsError:
            pass

    together(6, create)
    assert len(won) == 1
    assert os.listdir(root) == ["f.mp3"]


def test_one_maker_of_a_directory(root: Path) -> None:
    """Of several who make one directory, one succeeds."""
    won: list[int] = []

    def make(number: int) -> None:
        try:
            (root / "d").mkdir()
            won.append(number)
        except FileExistsError:
            pass

    together(6, make)
    assert len(won) == 1


def test_creators_in_one_directory(root: Path) -> None:
    """Many files are created in one directory at once, and all are there, whole."""

    def create(number: int) -> None:
        for count in range(10):
            (root / f"{number}-{count}.mp3").write_text(f"{number} {count}")

    together(6, create)
    assert len(os.listdir(root)) == 60
    for number in range(6):
        assert (root / f"{number}-7.mp3").read_text() == f"{number} 7"


def test_one_of_many_renames_wins(place: Place) -> None:
    """Several files are renamed to one name at once: one of them is there, whole, and no other."""
    root = place.path
    for number in range(4):
        (root / f"f{number}.mp3").write_text(f"contents of {number}")
    refused: list[int] = []

    def over(number: int) -> None:
        try:
            (root / f"f{number}.mp3").rename(root / "target.mp3")
        except OSError as error:
            refused.append(error.errno or 0)

    together(4, over)
    if refused == [errno.EXDEV] * 4:
        pytest.skip("the device can't, and says EXDEV")
    assert not refused
    assert os.listdir(root) == ["target.mp3"]
    assert (root / "target.mp3").read_text() in {f"contents of {number}" for number in range(4)}


def test_access_modes(root: Path) -> None:
    """A descriptor does what it was opened for."""
    (root / "f.mp3").write_bytes(b"contents")
    reading, writing = os.open(root / "f.mp3", os.O_RDONLY), os.open(root / "f.mp3", os.O_WRONLY)
    try:
        for call in (lambda: os.write(reading, b"x"), lambda: os.read(writing, 1)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError) as caught:
            os.ftruncate(reading, 1)
        assert caught.value.errno in {errno.EINVAL, errno.EBADF}
    finally:
        os.close(reading)
        os.close(writing)
    assert (root / "f.mp3").read_bytes() == b"contents"


def test_duplicated_descriptors(root: Path) -> None:
    """The copies of a descriptor share one place, and closing one of them ends nothing."""
    file = os.open(root / "f.mp3", os.O_CREAT | os.O_RDWR)
    copy = os.dup(file)
    os.write(file, b"one")
    os.close(file)
    os.write(copy, b"two")
    os.lseek(copy, 0, os.SEEK_SET)
    assert os.read(copy, 100) == b"onetwo"
    os.close(copy)
    assert (root / "f.mp3").read_bytes() == b"onetwo"


def test_around_the_end(root: Path) -> None:
    """Reading at and behind the end gives nothing; SEEK_END is where it is."""
    (root / "f.mp3").write_bytes(b"0123456789")
    with (root / "f.mp3").open("r+b", buffering=0) as file:
        assert os.pread(file.fileno(), 10, 10) == b""
        assert os.pread(file.fileno(), 10, 1_000_000) == b""
        assert os.pread(file.fileno(), 100, 8) == b"89"
        assert os.lseek(file.fileno(), 0, os.SEEK_END) == 10
        file.write(b"ab")
        assert os.fstat(file.fileno()).st_size == 12
    assert (root / "f.mp3").read_bytes() == b"0123456789ab"


def test_appending_to_a_truncated_file(root: Path) -> None:
    """O_APPEND writes where the end is at that moment."""
    with (root / "f.mp3").open("ab", buffering=0) as file:
        file.write(b"0123456789")
        os.truncate(root / "f.mp3", 4)
        file.write(b"ab")
        os.truncate(root / "f.mp3", 8)
        file.write(b"cd")
    assert (root / "f.mp3").read_bytes() == b"0123ab\0\0cd"


def test_many_holes(root: Path) -> None:
    """Pieces written backwards, with gaps, leave zeros between them."""
    expected = bytearray(100_000)
    with (root / "f.mp3").open("wb", buffering=0) as file:
        for offset in range(90_000, 0, -10_000):
            os.pwrite(file.fileno(), b"piece", offset)
            expected[offset : offset + 5] = b"piece"
        os.ftruncate(file.fileno(), len(expected))
    assert (root / "f.mp3").read_bytes() == expected


def test_written_on_after_it_was_replaced(place: Place) -> None:
    """Whoever writes into a file that has been replaced writes into the old one."""
    root = place.path
    (root / "a.mp3").write_bytes(b"old")
    (root / "b.mp3").write_bytes(b"new")
    with (root / "a.mp3").open("r+b", buffering=0) as file:
        rename(place, "b.mp3", "a.mp3")
        file.write(b"OLD")
        assert os.pread(file.fileno(), 10, 0) == b"OLD"
    assert (root / "a.mp3").read_bytes() == b"new"
    assert os.listdir(root) == ["a.mp3"]


def test_rename_to_itself(root: Path) -> None:
    """Renaming a file to its own name changes nothing."""
    (root / "f.mp3").write_bytes(b"contents")
    (root / "f.mp3").rename(root / "f.mp3")
    assert (root / "f.mp3").read_bytes() == b"contents"


def test_rename_that_replaces_nothing(place: Place) -> None:
    """RENAME_NOREPLACE refuses an existing target, and renames otherwise."""
    root = place.path
    (root / "a.mp3").write_bytes(b"a")
    (root / "b.mp3").write_bytes(b"b")
    paths = [os.fsencode(root / name) for name in ("a.mp3", "b.mp3", "c.mp3")]
    if LIBC.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_NOREPLACE) == 0:
        pytest.fail("it replaced")
    assert ctypes.get_errno() in ({errno.EEXIST} if place.renames else {errno.EEXIST, errno.EXDEV})
    if LIBC.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[2], RENAME_NOREPLACE):
        assert ctypes.get_errno() == errno.EXDEV
        pytest.skip("the device can't, and says EXDEV")
    assert sorted(os.listdir(root)) == ["b.mp3", "c.mp3"]
    assert (root / "b.mp3").read_bytes() == b"b"


def test_kinds_of_entries(root: Path) -> None:
    """unlink is for files, rmdir for directories, and neither for what isn't there."""
    (root / "d").mkdir()
    (root / "f.mp3").touch()
    for call, path, expected in (
        (os.unlink, "d", {errno.EISDIR, errno.EPERM}),
        (os.rmdir, "f.mp3", {errno.ENOTDIR}),
        (os.rmdir, "nothing", {errno.ENOENT}),
        (os.listdir, "f.mp3", {errno.ENOTDIR}),
        (os.mkdir, "f.mp3/d", {errno.ENOTDIR}),
        (os.mkdir, "nothing/d", {errno.ENOENT}),
        (os.truncate, "d", {errno.EISDIR}),
    ):
        with pytest.raises(OSError) as caught:
            call(root / path, *((0,) if call is os.truncate else ()))
        assert caught.value.errno in expected, (call, path)
    assert sorted(os.listdir(root)) == ["d", "f.mp3"]


def test_date_of_a_change(place: Place) -> None:
    """A file that is written to is younger than it was, unless the device sees to it that it isn't; reading changes nothing."""
    root = place.path
    (root / "f.mp3").write_bytes(b"contents")
    before = (root / "f.mp3").stat().st_mtime
    (root / "f.mp3").read_bytes()
    assert (root / "f.mp3").stat().st_mtime == before
    time.sleep(2.1)  # dates are whole seconds, even ones on FAT
    with (root / "f.mp3").open("r+b") as file:
        file.write(b"C")
    after = (root / "f.mp3").stat().st_mtime
    assert after == before if place.keeps_date_in_edits else after > before


def test_directory_that_is_in_use(root: Path) -> None:
    """A directory can be removed while somebody has it open, and is empty for him then."""
    (root / "d").mkdir()
    descriptor = os.open(root / "d", os.O_RDONLY | os.O_DIRECTORY)
    try:
        (root / "d").rmdir()
        with contextlib.suppress(FileNotFoundError):
            assert os.listdir(descriptor) == []
        with pytest.raises(FileNotFoundError):
            os.open("f.mp3", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    assert os.listdir(root) == []


def test_clearing_a_directory_while_it_is_read(root: Path) -> None:
    """Every file is deleted as it is met, as rm -r does; nothing is skipped."""
    for number in range(300):
        (root / f"file{number}.mp3").touch()
    with os.scandir(root) as entries:
        for entry in entries:
            Path(entry.path).unlink()
    assert os.listdir(root) == []


def test_mapping_is_synced(place: Place) -> None:
    """msync brings a mapping's changes to the file, and read sees them at once."""
    path = place.path / "f.mp3"
    path.write_bytes(bytes(100_000))
    with path.open("r+b", buffering=0) as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[50_000:50_004] = b"here"
        mapped.flush()
        assert os.pread(file.fileno(), 4, 50_000) == b"here"
        os.fsync(file.fileno())
        if place.backing is not None:
            assert (place.backing / "f.mp3").read_bytes()[50_000:50_004] == b"here"
    assert path.read_bytes()[50_000:50_004] == b"here"


def test_copying_in_the_kernel(root: Path) -> None:
    """sendfile and copy_file_range copy what is there."""
    data = os.urandom(300_000)
    (root / "from.mp3").write_bytes(data)
    with (root / "from.mp3").open("rb") as source, (root / "sent.mp3").open("wb") as target:
        assert os.sendfile(target.fileno(), source.fileno(), 0, len(data)) > 0
    shutil.copyfile(root / "from.mp3", root / "copied.mp3")
    with (root / "from.mp3").open("rb") as source, (root / "ranged.mp3").open("wb") as target:
        left = len(data)
        while left:
            left -= os.copy_file_range(source.fileno(), target.fileno(), left)
    assert (root / "ranged.mp3").read_bytes() == (root / "copied.mp3").read_bytes() == data


def test_many_open_files(root: Path) -> None:
    """A hundred files are open at once, each with contents of its own."""
    files = [(root / f"{number}.mp3").open("w+b", buffering=0) for number in range(100)]
    for number, file in enumerate(files):
        file.write(b"%d" % number * 100)
    for number, file in enumerate(files):
        assert os.pread(file.fileno(), 1000, 0) == b"%d" % number * 100
        file.close()
    assert (root / "77.mp3").read_bytes() == b"77" * 100


def test_names_that_differ_in_case(root: Path) -> None:
    """They are two files, or the second one is refused, by the device's kind; never is one taken for the other."""
    (root / "name.mp3").write_text("small")
    try:
        (root / "NAME.mp3").write_text("capital")
    except FileExistsError:
        assert os.listdir(root) == ["name.mp3"]
    else:
        assert sorted(os.listdir(root)) == ["NAME.mp3", "name.mp3"]
    assert (root / "name.mp3").read_text() == "small"
