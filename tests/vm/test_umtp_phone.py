"""uMTP-Responder over dummy_hcd: real USB at high speed, with Android's edit operations, written to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm.phones import MTPFS, UmtpPhone, devices, run, wait_until
from vm.program import mtpfs_says

ZLP_SIZES = (0, 1, 500, 501, 1012, 4084, 16372, 1048564, 1048576)


@pytest.fixture(scope="module")
def phone(umtp_phones: list[UmtpPhone]) -> UmtpPhone:
    return umtp_phones[0]


@pytest.fixture(scope="module")
def root(phone: UmtpPhone, mountpoint: Path) -> Iterator[Path]:
    """The storage's directory on a mount of the first phone."""
    run(*MTPFS, phone.source, mountpoint)
    (storage,) = mountpoint.iterdir()
    yield storage
    run("fusermount3", "-u", mountpoint)
    wait_until(lambda: not os.path.ismount(mountpoint), "the unmount")


def test_both_phones_are_listed(umtp_phones: list[UmtpPhone]) -> None:
    """`mtpfs list --json` tells the phones apart by serial number."""
    assert {phone.serial for phone in umtp_phones} <= {device["serial"] for device in devices()}


def test_second_phone_by_serial(umtp_phones: list[UmtpPhone], root: Path, tmp_path: Path) -> None:
    """Two phones can be mounted at once, each by its serial number."""
    marker = umtp_phones[1].directory / "only here.txt"
    marker.write_text("second")
    run(*MTPFS, umtp_phones[1].source, tmp_path)
    try:
        assert (tmp_path / "Internal/only here.txt").read_text() == "second"
        assert not (root / "only here.txt").exists()
    finally:
        run("fusermount3", "-u", tmp_path)


def test_any_is_not_a_guess(umtp_phones: list[UmtpPhone], tmp_path: Path) -> None:
    """With several devices, `any` names them instead of choosing."""
    status, _, errors = mtpfs_says(tmp_path)
    assert status == 1
    assert umtp_phones[1].source in errors


def test_busy_phone_is_explained(phone: UmtpPhone, root: Path, tmp_path: Path) -> None:
    """A second mount of the same phone says which process holds it."""
    status, _, errors = mtpfs_says(phone.source, tmp_path)
    assert status == 1
    assert "in use" in errors
    assert "mtpfs (pid " in errors


def test_is_shown_by_findmnt(phone: UmtpPhone, root: Path) -> None:
    """The mount has the type fuse.mtpfs, and the source it was asked for."""
    shown = run("findmnt", "-t", "fuse.mtpfs", "-n", "-o", "TARGET,SOURCE").stdout
    assert str(root.parent) in shown
    assert phone.source in shown


def test_large_file_is_read_exactly(phone: UmtpPhone, root: Path) -> None:
    """64 MiB come over the cable byte by byte as they are."""
    run("cmp", root / "large.bin", phone.directory / "large.bin", timeout=600)


def test_many_files_are_listed(root: Path) -> None:
    """500 files have their names and sizes."""
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(root / "files")}
    assert sizes == {f"file {count}.txt": count for count in range(1, 501)}


def test_space_is_known(phone: UmtpPhone, root: Path) -> None:
    """df shows the size of the phone's storage."""
    assert abs(os.statvfs(root).f_blocks * 4096 - shutil_total(phone.directory)) < 1 << 20


def shutil_total(directory: Path) -> int:
    space = os.statvfs(directory)
    return space.f_blocks * space.f_frsize


def test_copy_in(phone: UmtpPhone, root: Path, tmp_path: Path) -> None:
    """20 MiB that are copied in are on the phone when cp returns."""
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(20 << 20))
    run("cp", source, root / "copied.bin")
    run("cmp", source, phone.directory / "copied.bin")
    run("cmp", source, root / "copied.bin")


@pytest.mark.parametrize("size", ZLP_SIZES)
def test_sizes_around_packets(phone: UmtpPhone, root: Path, tmp_path: Path, size: int) -> None:
    """Sizes that fill the last packet, or just don't, go both ways."""
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    run("cp", tmp_path / "source", root / f"size{size}")
    if not size:
        wait_until((phone.directory / "size0").exists, "an empty file's arrival, which isn't waited for")
    assert (phone.directory / f"size{size}").read_bytes() == data
    (phone.directory / f"other{size}").write_bytes(data)
    wait_until((root / f"other{size}").exists, "the new file's appearance")
    assert (root / f"other{size}").read_bytes() == data


def test_overwrite(phone: UmtpPhone, root: Path) -> None:
    """New contents replace old ones entirely."""
    (root / "text").write_text("the first contents, which are longer")
    (root / "text").write_text("second")
    assert (phone.directory / "text").read_text() == "second"


def test_append(phone: UmtpPhone, root: Path) -> None:
    """Appending leaves what is there."""
    (root / "log").write_text("one\n")
    with (root / "log").open("a") as log:
        log.write("two\n")
    assert (phone.directory / "log").read_text() == "one\ntwo\n"


def test_change_in_the_middle(phone: UmtpPhone, root: Path) -> None:
    """A byte in the middle is changed, and a truncation up leaves zeros."""
    (root / "middle").write_bytes(b"aaaaaaaa")
    with (root / "middle").open("r+b") as file:
        file.seek(3)
        file.write(b"B")
    assert (phone.directory / "middle").read_bytes() == b"aaaBaaaa"
    os.truncate(root / "middle", 12)
    assert (phone.directory / "middle").read_bytes() == b"aaaBaaaa\0\0\0\0"
    os.truncate(root / "middle", 2)
    assert (phone.directory / "middle").read_bytes() == b"aa"


def test_rename(phone: UmtpPhone, root: Path) -> None:
    """Renaming in a directory, to a free name and over an existing file."""
    (root / "old").write_text("moved")
    (root / "old").rename(root / "new")
    assert (phone.directory / "new").read_text() == "moved"
    assert not (phone.directory / "old").exists()
    (root / "target").write_text("in the way")
    (root / "new").rename(root / "target")
    assert (phone.directory / "target").read_text() == "moved"
    assert not list(phone.directory.glob(".mtpfs*"))


def test_directories(phone: UmtpPhone, root: Path) -> None:
    """mkdir, mv into it (by copying: the device can't move), rmdir."""
    (root / "made").mkdir()
    (root / "thing").write_text("thing")
    run("mv", root / "thing", root / "made/thing")
    assert (phone.directory / "made/thing").read_text() == "thing"
    with pytest.raises(OSError, match="not empty"):
        (root / "made").rmdir()
    (root / "made/thing").unlink()
    (root / "made").rmdir()
    assert not (phone.directory / "made").exists()


def test_names(phone: UmtpPhone, root: Path) -> None:
    """Brackets, umlauts and long names are names like others."""
    for name in ("20180915_180351(0).jpg", "n" * 254, "Köln & Zürich.txt"):
        (root / name).write_text(name)
        assert (phone.directory / name).read_text() == name
        assert root / name in root.iterdir()


def test_emoji(root: Path) -> None:
    """Names beyond the BMP work (on its own disk the responder spells them in its own way)."""
    name = "\N{SUNRISE OVER MOUNTAINS}.txt"
    (root / name).write_text(name)
    assert root / name in root.iterdir()
    assert (root / name).read_text() == name


def test_name_that_a_device_may_alter(phone: UmtpPhone, root: Path) -> None:
    """A name is stored as it is, or refused with nothing left behind; never silently changed."""
    before = set(phone.directory.iterdir())
    refused = None
    try:
        (root / "a:b").write_text("x")
    except OSError as error:
        refused = error.errno
    assert refused in {None, errno.EINVAL}
    created = set(phone.directory.iterdir()) - before
    assert created == (set() if refused else {phone.directory / "a:b"})


def test_rsync(phone: UmtpPhone, root: Path, tmp_path: Path) -> None:
    """rsync -r copies a tree in."""
    for number in range(10):
        (tmp_path / f"tree/{number}").mkdir(parents=True)
        (tmp_path / f"tree/{number}/file").write_text(str(number))
    run("rsync", "-r", f"{tmp_path}/tree", root)
    run("diff", "-r", tmp_path / "tree", phone.directory / "tree")
