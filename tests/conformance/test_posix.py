"""What programs expect of a directory. The tests take a path, and hold on an ordinary directory too.

Where a device can't rename or move, EXDEV has to say so; everything else is the same everywhere.
Files are called as music is, because there are players that take nothing else.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from pathlib import Path

import pytest

from conformance.place import Place


def test_create_and_read(root: Path) -> None:
    """What is written is read, while open and after."""
    with (root / "f.mp3").open("w+b") as file:
        file.write(b"hello")
        file.flush()
        file.seek(0)
        assert file.read() == b"hello"
    assert (root / "f.mp3").read_bytes() == b"hello"
    assert (root / "f.mp3").stat().st_size == 5


def test_exclusive_create(root: Path) -> None:
    """O_EXCL refuses an existing name."""
    (root / "f.mp3").touch()
    with pytest.raises(FileExistsError):
        os.open(root / "f.mp3", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_append(root: Path) -> None:
    """O_APPEND writes at the end, wherever the offset is."""
    (root / "f.mp3").write_bytes(b"123")
    descriptor = os.open(root / "f.mp3", os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"45")
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, b"6")
    os.close(descriptor)
    assert (root / "f.mp3").read_bytes() == b"123456"


def test_hole(root: Path) -> None:
    """Bytes that were never written read as zeros."""
    with (root / "f.mp3").open("wb") as file:
        file.seek(100_000)
        file.write(b"end")
    assert (root / "f.mp3").read_bytes() == bytes(100_000) + b"end"


def test_write_beyond_the_end_of_an_existing_file(root: Path) -> None:
    """Writing behind a gap fills the gap with zeros."""
    (root / "f.mp3").write_bytes(b"begin")
    with (root / "f.mp3").open("r+b") as file:
        file.seek(10)
        file.write(b"end")
    assert (root / "f.mp3").read_bytes() == b"begin\0\0\0\0\0end"


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_truncate(root: Path, size: int) -> None:
    """Truncating by path and by descriptor, down and up."""
    data = bytes(range(1, 251)) * 10
    (root / "f.mp3").write_bytes(data)
    os.truncate(root / "f.mp3", size)
    assert (root / "f.mp3").read_bytes() == data[:size] + bytes(max(0, size - len(data)))
    with (root / "f.mp3").open("r+b") as file:
        file.truncate(7)
        file.seek(0)
        assert len(file.read()) == 7
    assert (root / "f.mp3").stat().st_size == 7


def test_truncating_open(root: Path) -> None:
    """O_TRUNC leaves nothing of the old contents."""
    (root / "f.mp3").write_bytes(b"old contents")
    (root / "f.mp3").write_bytes(b"new")
    assert (root / "f.mp3").read_bytes() == b"new"
    (root / "f.mp3").write_bytes(b"")
    assert (root / "f.mp3").stat().st_size == 0


def test_mixed_positional_io(root: Path) -> None:
    """pread sees what pwrite wrote, on one descriptor and on another."""
    (root / "f.mp3").write_bytes(bytes(10_000))
    with (root / "f.mp3").open("r+b", buffering=0) as file, (root / "f.mp3").open("rb", buffering=0) as other:
        os.pwrite(file.fileno(), b"abc", 5000)
        assert os.pread(file.fileno(), 5, 4999) == b"\0abc\0"
        os.pwrite(file.fileno(), b"z", 0)
        os.fsync(file.fileno())
        assert os.pread(other.fileno(), 3, 5000) == b"abc"
    assert (root / "f.mp3").read_bytes()[:1] == b"z"


def rename(place: Place, old: str, new: str) -> None:
    """Rename, or skip the test if the device can't and says so. Files it hasn't got yet can always be."""
    possible = place.renames and (place.moves or Path(old).parent == Path(new).parent)
    try:
        (place.path / old).rename(place.path / new)
    except OSError as error:
        if error.errno != errno.EXDEV or (place.backing and possible):
            raise
        assert (place.path / old).exists()
        pytest.skip("the device can't, and says EXDEV")


def test_rename(place: Place) -> None:
    """A renamed file has its new name only."""
    root = place.path
    (root / "a.mp3").write_text("a")
    inode = (root / "a.mp3").stat().st_ino
    rename(place, "a.mp3", "b.mp3")
    assert not (root / "a.mp3").exists()
    assert (root / "b.mp3").read_text() == "a"
    assert (root / "b.mp3").stat().st_ino == inode
    assert os.listdir(root) == ["b.mp3"]


def test_rename_over_a_file(place: Place) -> None:
    """The file in the way is replaced, and whoever has it open keeps it."""
    root = place.path
    (root / "a.mp3").write_text("new")
    (root / "b.mp3").write_text("old")
    with (root / "b.mp3").open() as old:
        rename(place, "a.mp3", "b.mp3")
        assert old.read() == "old"
    assert (root / "b.mp3").read_text() == "new"
    assert os.listdir(root) == ["b.mp3"]


def test_rename_into_another_directory(place: Place) -> None:
    """A file can be moved, with and without a new name, and over a file."""
    root = place.path
    (root / "d").mkdir()
    (root / "a.mp3").write_text("a")
    rename(place, "a.mp3", "d/a.mp3")
    (root / "b.mp3").write_text("b")
    rename(place, "b.mp3", "d/c.mp3")
    rename(place, "d/c.mp3", "d/a.mp3")
    assert (root / "d/a.mp3").read_text() == "b"
    rename(place, "d/a.mp3", "a.mp3")
    assert os.listdir(root / "d") == []
    assert sorted(os.listdir(root)) == ["a.mp3", "d"]


def test_rename_of_a_directory(place: Place) -> None:
    """A directory takes its contents with it, and replaces an empty one."""
    root = place.path
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f.mp3").write_text("f")
    (root / "empty").mkdir()
    rename(place, "d", "empty")
    assert (root / "empty/e/f.mp3").read_text() == "f"
    assert os.listdir(root) == ["empty"]


def test_impossible_renames(place: Place) -> None:
    """Over a directory that isn't empty, into itself, a file over a directory and the other way round."""
    root = place.path
    (root / "full").mkdir()
    (root / "full/x.mp3").touch()
    (root / "d").mkdir()
    (root / "f.mp3").touch()
    for old, new, errors in (
        ("d", "full", {errno.ENOTEMPTY, errno.EEXIST}),
        ("full", "full/inside", {errno.EINVAL}),
        ("f.mp3", "d", {errno.EISDIR}),
        ("d", "f.mp3", {errno.ENOTDIR}),
        ("nothing", "f.mp3", {errno.ENOENT}),
    ):
        with pytest.raises(OSError) as caught:
            (root / old).rename(root / new)
        assert caught.value.errno in (errors if place.renames else {*errors, errno.EXDEV}), (old, new)
    assert sorted(os.listdir(root)) == ["d", "f.mp3", "full"]


def test_rename_of_an_open_file(place: Place) -> None:
    """What is written after a rename goes into the renamed file."""
    root = place.path
    with (root / "a.mp3").open("wb") as file:
        file.write(b"one")
        file.flush()
        rename(place, "a.mp3", "b.mp3")
        file.write(b"two")
    assert (root / "b.mp3").read_bytes() == b"onetwo"
    assert os.listdir(root) == ["b.mp3"]


def test_rename_while_an_old_file_is_changed(place: Place) -> None:
    """A file that existed before can be renamed between two writes."""
    root = place.path
    (root / "a.mp3").write_bytes(b"0123456789")
    with (root / "a.mp3").open("r+b", buffering=0) as file:
        file.write(b"ab")
        rename(place, "a.mp3", "b.mp3")
        file.write(b"cd")
    assert (root / "b.mp3").read_bytes() == b"abcd456789"


def test_unlink_of_an_open_file(root: Path) -> None:
    """An open file can be read and written after it was unlinked, and is gone then."""
    (root / "f.mp3").write_bytes(b"contents")
    with (root / "f.mp3").open("r+b", buffering=0) as file:
        (root / "f.mp3").unlink()
        assert os.listdir(root) == []
        assert os.pread(file.fileno(), 8, 0) == b"contents"
        os.pwrite(file.fileno(), b"C", 0)
        assert os.pread(file.fileno(), 8, 0) == b"Contents"
    assert os.listdir(root) == []


def test_unlink_of_a_new_file(root: Path) -> None:
    """A temporary file is used the way C libraries do: created, unlinked, written, read."""
    with (root / "f.mp3").open("w+b", buffering=0) as file:
        (root / "f.mp3").unlink()
        file.write(b"scratch")
        assert os.pread(file.fileno(), 10, 0) == b"scratch"
    assert os.listdir(root) == []


def test_unlinking_and_creating_anew_while_open(root: Path) -> None:
    """An unlinked open file and a new one of its name have nothing to do with each other."""
    (root / "f.mp3").write_bytes(b"old")
    with (root / "f.mp3").open("rb") as file:
        (root / "f.mp3").unlink()
        (root / "f.mp3").write_bytes(b"new")
        assert file.read() == b"old"
    assert (root / "f.mp3").read_bytes() == b"new"


def test_directories(root: Path) -> None:
    """mkdir, rmdir, and the errors that they owe."""
    (root / "d").mkdir()
    with pytest.raises(FileExistsError):
        (root / "d").mkdir()
    (root / "d/f.mp3").touch()
    with pytest.raises(OSError, match="not empty"):
        (root / "d").rmdir()
    with pytest.raises(NotADirectoryError):
        (root / "d/f.mp3").rmdir()
    with pytest.raises(IsADirectoryError):
        (root / "d").open("wb")
    (root / "d/f.mp3").unlink()
    (root / "d").rmdir()
    with pytest.raises(FileNotFoundError):
        (root / "d").stat()


def test_listing_while_it_changes(root: Path) -> None:
    """Removing entries while a directory is read skips none of the others."""
    names = {f"file{number}.mp3" for number in range(300)}
    for name in names:
        (root / name).touch()
    seen = set()
    with os.scandir(root) as entries:
        for entry in entries:
            seen.add(entry.name)
            if entry.name == "file5.mp3":
                (root / "file7.mp3").unlink()
    assert names - {"file7.mp3"} <= seen


def test_creating_while_listing(root: Path) -> None:
    """New entries while a directory is read disturb none of the old ones, and appear in the next reading."""
    names = {f"file{number}.mp3" for number in range(100)}
    for name in names:
        (root / name).touch()
    seen: list[str] = []
    with os.scandir(root) as entries:
        for entry in entries:
            seen.append(entry.name)
            (root / f"new-{len(seen)}.mp3").touch() if len(seen) < 20 else None
    assert names <= set(seen)
    assert len(set(seen)) == len(seen)
    assert len(os.listdir(root)) == 119


def test_seeking_in_a_listing(root: Path) -> None:
    """A directory is read twice through one descriptor, with what has changed in between."""
    (root / "a.mp3").touch()
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.listdir(descriptor) == ["a.mp3"]
        (root / "b.mp3").touch()
        assert sorted(os.listdir(descriptor)) == ["a.mp3", "b.mp3"]
    finally:
        os.close(descriptor)


def test_deep_directories(root: Path) -> None:
    """Thirty directories in each other."""
    path = root.joinpath(*(f"level {number}" for number in range(30)))
    path.mkdir(parents=True)
    (path / "f.mp3").write_text("deep")
    assert (path / "f.mp3").read_text() == "deep"
    assert sum(1 for _ in root.rglob("*")) == 31


def test_parallel_writers(root: Path) -> None:
    """Several threads write several files at once."""

    def write(number: int) -> None:
        with (root / f"f{number}.mp3").open("wb") as file:
            for count in range(20):
                file.write(bytes([number]) * 5000 + bytes([count]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for number in range(6):
        expected = b"".join(bytes([number]) * 5000 + bytes([count]) for count in range(20))
        assert (root / f"f{number}.mp3").read_bytes() == expected


def test_parallel_writers_of_one_file(root: Path) -> None:
    """Several threads, each with a descriptor of its own, write different parts of one file."""
    (root / "f.mp3").write_bytes(bytes(60_000))

    def write(number: int) -> None:
        with (root / "f.mp3").open("r+b", buffering=0) as file:
            for position in range(10):
                os.pwrite(file.fileno(), bytes([number + 1]) * 1000, (position * 6 + number) * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert (root / "f.mp3").read_bytes() == b"".join(bytes([number + 1]) * 1000 for number in range(6)) * 10


def test_readers_beside_a_writer(root: Path) -> None:
    """While one appends, others read what is there already, and never anything else."""
    pattern = bytes(range(251)) * 400
    (root / "f.mp3").write_bytes(pattern[:1000])
    done = threading.Event()
    wrong: list[int] = []

    def read() -> None:
        with (root / "f.mp3").open("rb", buffering=0) as file:
            while not done.is_set():
                data = os.pread(file.fileno(), 5000, 0)
                if len(data) < 1000 or data != pattern[: len(data)]:
                    wrong.append(len(data))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    with (root / "f.mp3").open("ab", buffering=0) as file:
        for start in range(1000, len(pattern), 5000):
            file.write(pattern[start : start + 5000])
    done.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong
    assert (root / "f.mp3").read_bytes() == pattern


def test_two_appenders(root: Path) -> None:
    """Lines that two descriptors append by turns all arrive, in order."""
    (root / "log.mp3").touch()
    with (root / "log.mp3").open("ab", buffering=0) as one, (root / "log.mp3").open("ab", buffering=0) as two:
        for number in range(10):
            (one, two)[number % 2].write(b"line %d\n" % number)
    assert (root / "log.mp3").read_bytes() == b"".join(b"line %d\n" % number for number in range(10))


def test_memory_mapped_reading(root: Path) -> None:
    """A mapped file shows its contents."""
    data = os.urandom(300_000)
    (root / "f.mp3").write_bytes(data)
    with (root / "f.mp3").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[100_000:200_000] == data[100_000:200_000]


def test_memory_mapped_writing(place: Place, root: Path) -> None:
    """What is written through a mapping arrives, also when its descriptor was closed before."""
    (root / "f.mp3").write_bytes(bytes(300_000))
    with (root / "f.mp3").open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[100_000:100_004] = b"here"
    mapped.close()
    deadline = time.monotonic() + 20
    while ((place.backing or root) / "f.mp3").read_bytes()[100_000:100_004] != b"here":
        assert time.monotonic() < deadline  # the kernel hands it over when it lets go of the file
        time.sleep(0.02)
    assert (root / "f.mp3").read_bytes() == bytes(100_000) + b"here" + bytes(199_996)


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
        "new\nline",
        "e\N{COMBINING ACUTE ACCENT}",
        "~2",
        ".hidden",
    ],
)
def test_names(place: Place, name: str) -> None:
    """Names that others stumble over are names; or the device would store another one, and nothing is done."""
    name = name[: 254 - len(place.extension)] + place.extension
    path = place.path / name
    if place.stores_as(name) != name:
        with pytest.raises(OSError) as caught:
            path.write_text(name)
        assert caught.value.errno == errno.EINVAL
        assert os.listdir(place.path) == []
        return
    path.write_text(name)
    assert os.listdir(place.path) == [name]
    assert path.read_text() == name
    path.unlink()
    assert os.listdir(place.path) == []


def test_name_without_extension(place: Place) -> None:
    """A name is enough of a name; or the device wants to know the format, the file is refused, and nothing of it stays."""
    path = place.path / "Makefile"
    if not place.extension:
        path.write_text("all:")
        assert path.read_text() == "all:"
        return
    with pytest.raises(OSError) as caught:
        path.write_text("all:")
    assert caught.value.errno == errno.EINVAL
    assert os.listdir(place.path) == []


def test_missing_and_impossible(root: Path) -> None:
    """What isn't there is ENOENT, a name that is too long is told so."""
    with pytest.raises(FileNotFoundError):
        (root / "nothing").read_bytes()
    with pytest.raises(FileNotFoundError):
        (root / "nothing").unlink()
    with pytest.raises(OSError, match="too long") as caught:
        (root / ("n" * 256)).touch()
    assert caught.value.errno == errno.ENAMETOOLONG
