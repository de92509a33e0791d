"""fsspec's own suites on a virtual phone, and what they don't ask."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import fsspec.tests.abstract as suites
import pytest

from library.world import STORAGE
from mtpfs.fsspec import MtpFileSystem


class Fixtures(suites.AbstractFixtures):
    """A phone for fsspec's suites."""

    @pytest.fixture
    def fs(self, tmp_path: Path) -> Iterator[MtpFileSystem]:
        (tmp_path / "phone").mkdir()
        fs = MtpFileSystem(f"virtual:{tmp_path}/phone?ghost=0", auto_mkdir=True)
        yield fs
        fs.close()

    @pytest.fixture
    def fs_path(self) -> str:
        return STORAGE

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join


class TestCopy(suites.AbstractCopyTests, Fixtures):
    """copy()."""


class TestGet(suites.AbstractGetTests, Fixtures):
    """get()."""


class TestPut(suites.AbstractPutTests, Fixtures):
    """put()."""


class TestOpen(suites.AbstractOpenTests, Fixtures):
    """open()."""


class TestPipe(suites.AbstractPipeTests, Fixtures):
    """pipe()."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/a.txt").write_text("one\ntwo\n")
    os.utime(tmp_path / "phone/a.txt", (1_500_000_000, 1_500_000_000))
    return tmp_path / "phone"


def test_by_entry_point(directory: Path) -> None:
    """`mtp` is known without an import, as a filesystem and in URLs; text mode works."""
    source = f"virtual:{directory}?ghost=0"
    fs = fsspec.filesystem("mtp", source=source)
    try:
        with fsspec.open(f"mtp://{STORAGE}/a.txt", "r", source=source) as file:
            assert file.readlines() == ["one\n", "two\n"]
        assert fs.glob(f"{STORAGE}/*.txt") == [f"{STORAGE}/a.txt"]
        assert fs.info(f"mtp://{STORAGE}/a.txt")["mtime"] == fs.modified(f"{STORAGE}/a.txt").timestamp()
        assert fs.unstrip_protocol(f"{STORAGE}/a.txt") == f"mtp://{STORAGE}/a.txt"
        assert fs.ls(f"{STORAGE}/a.txt", detail=False) == [f"{STORAGE}/a.txt"]
    finally:
        fs.close()
    again = fsspec.filesystem("mtp", source=source)
    assert again is not fs
    assert again.exists(f"{STORAGE}/a.txt")
    again.close()


def test_dates_and_progress(directory: Path) -> None:
    """`get` and `put` keep dates, and tell how far they are."""
    callback = fsspec.callbacks.Callback()
    fs = MtpFileSystem(f"virtual:{directory}?ghost=0")
    try:
        fs.get_file(f"{STORAGE}/a.txt", str(directory.parent / "D/a.txt"), callback=callback)
        assert (callback.size, callback.value) == (8, 8)
        assert (directory.parent / "D/a.txt").stat().st_mtime == 1_500_000_000
        fs.put_file(str(directory.parent / "D/a.txt"), f"{STORAGE}/D/E/b.txt")
        assert fs.info(f"{STORAGE}/D/E/b.txt")["mtime"] == 1_500_000_000
        with pytest.raises(FileExistsError):
            fs.put_file(str(directory.parent / "D/a.txt"), f"{STORAGE}/a.txt", mode="create")
        fs.mv(f"{STORAGE}/a.txt", f"{STORAGE}/D/c.txt")
        assert fs.find(STORAGE) == [f"{STORAGE}/D/E/b.txt", f"{STORAGE}/D/c.txt"]
        fs.touch(f"{STORAGE}/D/c.txt", truncate=False)
        assert fs.cat(f"{STORAGE}/D/c.txt") == b"one\ntwo\n"
        fs.touch(f"{STORAGE}/D/c.txt")
        assert fs.cat(f"{STORAGE}/D/c.txt") == b""
        with pytest.raises(NotADirectoryError):
            fs.rmdir(f"{STORAGE}/D/c.txt")
        fs.rm(f"{STORAGE}/D", recursive=True)
        assert fs.ls(STORAGE) == []
        fs.mkdir(f"{STORAGE}/F/G")
        fs.rmdir(f"{STORAGE}/F/G")
        with pytest.raises(ValueError, match="mode 'ab'"):
            fs.open(f"{STORAGE}/x", "ab")
    finally:
        fs.close()


def test_block_that_fails(directory: Path) -> None:
    """What isn't whole isn't saved."""
    fs = MtpFileSystem(f"virtual:{directory}?ghost=0")

    def fail() -> None:
        with fs.open(f"{STORAGE}/a.txt", "wb") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    fs.close()
    assert (directory / "a.txt").read_text() == "one\ntwo\n"
