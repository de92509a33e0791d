"""QEMU's usb-mtp, a responder with 32-bit partial reads, no property lists and no renaming."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm.phones import MTPFS, devices, run, wait_until

PHONE = Path("/mnt/phone")


@pytest.fixture(scope="module")
def root(mountpoint: Path) -> Iterator[Path]:
    """The storage's directory on a mount of QEMU's phone."""
    run(*MTPFS, "usb:46f4:0004", mountpoint)
    (storage,) = mountpoint.iterdir()
    yield storage
    run("fusermount3", "-u", mountpoint)
    wait_until(lambda: not os.path.ismount(mountpoint), "the unmount")


def test_is_listed() -> None:
    """`mtpfs list` finds the phone without opening it."""
    assert any((d["vendor_id"], d["product_id"]) == ("46f4", "0004") for d in devices())


def test_is_shown_by_findmnt(root: Path) -> None:
    """The mount has the type fuse.mtpfs."""
    assert str(root.parent) in run("findmnt", "-t", "fuse.mtpfs", "-n", "-o", "TARGET").stdout


def test_large_file_is_read_exactly(root: Path) -> None:
    """64 MiB come over the cable byte by byte as they are."""
    run("cmp", root / "large.bin", PHONE / "large.bin", timeout=600)


def test_many_files_are_listed(root: Path) -> None:
    """500 files have their names and sizes."""
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(root / "files")}
    assert sizes == {f"file {count}.txt": count for count in range(1, 501)}


def test_small_files_are_read(root: Path) -> None:
    """Contents of small files, too, are what the phone has."""
    for count in (1, 52, 500):
        assert (root / f"files/file {count}.txt").read_bytes() == (
            PHONE / f"files/file {count}.txt"
        ).read_bytes()


def test_space_is_known(root: Path) -> None:
    """df shows the size of the phone's storage."""
    space = os.statvfs(root)
    assert space.f_blocks > 0
    assert space.f_bavail <= space.f_blocks


def test_a_small_file_can_be_written(root: Path) -> None:
    """A new file arrives (at a size whose last packet QEMU accepts), and can be deleted again."""
    (root / "new.txt").write_bytes(b"n" * 100)
    assert (root / "new.txt").read_bytes() == b"n" * 100
    (root / "new.txt").unlink()
    assert not (root / "new.txt").exists()
