"""Reading and deleting what was on the phone before: the part of POSIX that a camera has, too.

Like `test_posix`: each test holds on an ordinary directory. Where nothing can be changed, EROFS has to say so.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.place import Place

_RANDOM = random.Random(1)
LARGE = "DCIM/Camera/large.jpg"
CONTENTS: dict[str, bytes | None] = {
    "DCIM": None,
    "DCIM/Camera": None,
    LARGE: _RANDOM.randbytes(700_001),
    "DCIM/empty": None,
    "Ünïcode \N{SUNRISE OVER MOUNTAINS}": None,
    "Ünïcode \N{SUNRISE OVER MOUNTAINS}/20180915_180351(0).jpg": b"picture",
    **{f"size {size}.mp3": _RANDOM.randbytes(size) for size in (0, 1, 511, 512, 513, 4096, 65536, 70_001)},
}


def contents(root: Path) -> dict[str, bytes | None]:
    """Return everything below a directory."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")
    }


def test_everything_is_there(tree: Path) -> None:
    """Names, sizes, kinds and contents are those that the phone has."""
    assert contents(tree) == CONTENTS
    with os.scandir(tree) as entries:
        for entry in entries:
            data = CONTENTS[entry.name]
            assert entry.is_dir() == (data is None)
            assert data is None or entry.stat().st_size == len(data)


def test_dates(tree: Path, base: Place) -> None:
    """A file has the date that it has on the phone, in whole seconds."""
    if base.backing is None:
        pytest.skip("the phone's own disk can't be seen")
    for path, data in CONTENTS.items():
        if data is not None:
            there = base.backing / tree.name / path
            assert (tree / path).stat().st_mtime // 1 == there.stat().st_mtime // 1


def test_positions(tree: Path) -> None:
    """Two descriptors read forwards, backwards and anywhere, at and behind the end."""
    data = CONTENTS[LARGE]
    assert data is not None
    chance = random.Random(2)
    with (tree / LARGE).open("rb", buffering=0) as one, (tree / LARGE).open("rb", buffering=0) as two:
        for _ in range(60):
            offset, count = chance.randint(0, len(data) + 10), chance.randint(1, 200_000)
            assert (
                os.pread(chance.choice((one, two)).fileno(), count, offset) == data[offset : offset + count]
            )
        assert os.lseek(one.fileno(), -5, os.SEEK_END) == len(data) - 5
        assert one.read(100) == data[-5:]
        assert one.read(100) == b""


def test_mapping(tree: Path) -> None:
    """A mapped file shows its contents."""
    data = CONTENTS[LARGE]
    assert data is not None
    with (tree / LARGE).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[300_000:400_000] == data[300_000:400_000]
        assert mapped[:10] == data[:10]


def test_parallel_readers(tree: Path) -> None:
    """Several threads read all files at once."""
    wrong: list[str] = []

    def read(number: int) -> None:
        paths = [path for path, data in CONTENTS.items() if data is not None]
        random.Random(number).shuffle(paths)
        wrong.extend(path for path in paths if (tree / path).read_bytes() != CONTENTS[path])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong


def test_copying_out(tree: Path, tmp_path: Path) -> None:
    """A tree is copied, and a file by the kernel."""
    shutil.copytree(tree, tmp_path / "copy")
    assert contents(tmp_path / "copy") == CONTENTS
    with (tree / LARGE).open("rb") as source, (tmp_path / "sent").open("wb") as target:
        while os.sendfile(target.fileno(), source.fileno(), None, 1 << 20):
            pass
    assert (tmp_path / "sent").read_bytes() == CONTENTS[LARGE]


def test_wrong_paths(tree: Path) -> None:
    """What isn't there is ENOENT, a file is no directory, a directory no file."""
    for call, path, expected in (
        (os.stat, "nothing", errno.ENOENT),
        (os.listdir, "nothing", errno.ENOENT),
        (os.unlink, "nothing", errno.ENOENT),
        (os.listdir, LARGE, errno.ENOTDIR),
        (os.stat, f"{LARGE}/x", errno.ENOTDIR),
        (os.rmdir, LARGE, errno.ENOTDIR),
        (os.unlink, "DCIM", errno.EISDIR),
    ):
        with pytest.raises(OSError) as caught:
            call(tree / path)
        assert caught.value.errno == expected, (call, path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda tree: (tree / "new.mp3").touch(),
    "mkdir": lambda tree: (tree / "new").mkdir(),
    "open for writing": lambda tree: (tree / LARGE).open("r+b").close(),
    "open with O_TRUNC": lambda tree: (tree / LARGE).open("wb").close(),
    "truncate": lambda tree: os.truncate(tree / LARGE, 5),
    "rename": lambda tree: (tree / LARGE).rename(tree / "DCIM/Camera/new.jpg"),
    "move": lambda tree: (tree / LARGE).rename(tree / "large.jpg"),
    "rename over": lambda tree: (tree / "size 1.mp3").rename(tree / "size 512.mp3"),
    "rename a folder": lambda tree: (tree / "DCIM").rename(tree / "new"),
    "set the date": lambda tree: os.utime(tree / LARGE, (1_400_000_000, 1_400_000_000)),
}
"""Ways to change something, by name."""


def test_changes(tree: Path, base: Place) -> None:
    """Where nothing can be changed, it is EROFS, and nothing is changed."""
    if base.writes:
        pytest.skip("everything can be changed, which the other tests are about")
    for what, change in CHANGES.items():
        with pytest.raises(OSError) as caught:
            change(tree)
        assert caught.value.errno == errno.EROFS, what
    assert contents(tree) == CONTENTS


def test_deleting(tree: Path, base: Place) -> None:
    """A file, an empty directory and a tree are deleted, a full directory isn't; all is refused where nothing can be."""
    if not base.deletes:
        for remove, path in ((os.unlink, LARGE), (os.rmdir, "DCIM/empty")):
            with pytest.raises(OSError) as caught:
                remove(tree / path)
            assert caught.value.errno == errno.EROFS
        assert contents(tree) == CONTENTS
        return
    with pytest.raises(OSError, match="not empty"):
        (tree / "DCIM").rmdir()
    (tree / "DCIM/empty").rmdir()
    (tree / LARGE).unlink()
    left = {path: data for path, data in CONTENTS.items() if path not in {"DCIM/empty", LARGE}}
    assert contents(tree) == left
    if base.backing is not None:
        assert contents(base.backing / tree.name) == left
    shutil.rmtree(tree)
    assert tree.name not in os.listdir(base.path)
    if base.backing is not None:
        assert not (base.backing / tree.name).exists()


def test_deleting_what_is_open(tree: Path, base: Place) -> None:
    """Whoever has a file open that is deleted keeps it."""
    if not base.deletes:
        pytest.skip("nothing can be deleted")
    with (tree / LARGE).open("rb", buffering=0) as file:
        head = file.read(1000)
        (tree / LARGE).unlink()
        assert os.listdir(tree / "DCIM/Camera") == []
        assert head + file.read() == CONTENTS[LARGE]
    assert os.listdir(tree / "DCIM/Camera") == []


def test_deleting_what_is_protected(tree: Path, base: Place) -> None:
    """What the device says that it deletes, and doesn't, is shown again some seconds later."""
    if base.backing is None:
        pytest.skip("the phone's own disk can't be reached")
    picture, there = tree / LARGE, base.backing / tree.name / LARGE
    there.chmod(0o444)
    if not base.deletes:
        with pytest.raises(OSError) as caught:
            picture.unlink()
        assert caught.value.errno == errno.EROFS
    else:
        picture.unlink()
        assert there.exists() == base.pretends_to_delete
    if there.exists():
        deadline = time.monotonic() + 20
        while picture.name not in os.listdir(picture.parent):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert picture.read_bytes() == CONTENTS[LARGE]
