"""Dates: kept where the device can, and never pretended. What `stat` says stays the same after a remount.

Each way of setting a date is tried on every kind of phone; then stat is asked, on the same mount and on a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import phones
from mount.conftest import run, virtual_mount
from mtpfs.virtual.capabilities import parse_options

DATE = 1_400_000_000
ORIGINAL = b"original"


def source(tmp_path: Path) -> Path:
    """Make a file of that date."""
    path = tmp_path / "source" / "f"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"new contents")
    os.utime(path, (DATE, DATE))
    return path


def cp(tmp_path: Path, target: Path) -> None:
    run("cp", "-p", source(tmp_path), target)


def rsync(tmp_path: Path, target: Path) -> None:
    run("rsync", "-t", source(tmp_path), target)


def rsync_inplace(tmp_path: Path, target: Path) -> None:
    run("rsync", "-at", "--inplace", source(tmp_path), target)


def rsync_archive(tmp_path: Path, target: Path) -> None:
    run("rsync", "-a", f"{source(tmp_path).parent}/", target.parent)


def tar(tmp_path: Path, target: Path) -> None:
    run("tar", "-C", source(tmp_path).parent, "-cf", tmp_path / "t.tar", "f")
    run("tar", "-C", target.parent, "-xf", tmp_path / "t.tar")


def descriptor(tmp_path: Path, target: Path) -> None:
    file = os.open(target, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.write(file, b"new contents")
    os.utime(file, (DATE, DATE))
    os.close(file)


def descriptor_synced(tmp_path: Path, target: Path) -> None:
    """Set the date when the contents have been sent already."""
    file = os.open(target, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.write(file, b"new contents")
    os.fsync(file)
    os.utime(file, (DATE, DATE))
    os.close(file)


def touch_reference(tmp_path: Path, target: Path) -> None:
    run("touch", "-r", source(tmp_path), target)


def touch_now(tmp_path: Path, target: Path) -> None:
    run("touch", target)


def write_without_date(tmp_path: Path, target: Path) -> None:
    target.write_bytes(b"new contents")


def append(tmp_path: Path, target: Path) -> None:
    with target.open("ab") as file:
        file.write(b"more")


def move_in(tmp_path: Path, target: Path) -> None:
    run("mv", source(tmp_path), target)


def rename_after_date(tmp_path: Path, target: Path) -> None:
    """Write, close, set the date, rename: what copying programs with a temporary name do."""
    draft = target.with_name(".f.Ab12Cd")
    draft.write_bytes(b"new contents")
    os.utime(draft, (DATE, DATE))
    draft.rename(target)


def rename_held(tmp_path: Path, target: Path) -> None:
    """The same by mkstemp(3), as rsync does: the contents wait for their name, and take the date along."""
    draft = target.with_name(".f.Ab12Cd")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(file, b"new contents")
    os.close(file)
    os.utime(draft, (DATE, DATE))
    draft.rename(target)


KEEPS = [cp, rsync, tar, descriptor, move_in, rsync_archive, rename_held]
"""Those that set the date before the contents are sent: the phone has it."""
REMEMBERED = [rsync_inplace, descriptor_synced, touch_reference, rename_after_date]
"""Those that set it afterwards: the mount shows it, and the next mount too."""
LATER = [touch_now, write_without_date, append]
"""Those that set none, or the present."""


@pytest.mark.parametrize(
    "words", [words for words in phones.ANY_FILE if "storages" not in words], ids=phones.name
)
def test_no_lies(tmp_path: Path, words: str) -> None:
    """The date that a program sets is what stat says, at once and after a remount; what isn't set is the phone's."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    said: dict[str, float] = {}
    ways: list[Callable[[Path, Path], None]] = [*KEEPS, *REMEMBERED, *LATER]
    places = {f"{way.__name__} {state}": (way, state) for way in ways for state in ("new", "existing")}
    for place, (_, state) in places.items():
        (phone / place).mkdir()
        if state == "existing":
            (phone / place / "f").write_bytes(ORIGINAL)
            os.utime(phone / place / "f", (1_300_000_000, 1_300_000_000))
    with virtual_mount(phone, mountpoint, words) as mounted:
        for place, (way, _) in places.items():
            way(tmp_path, mounted.root / place / "f")
            said[place] = (mounted.root / place / "f").stat().st_mtime
            if way not in LATER:
                assert said[place] == DATE, place
            assert not [name for name in os.listdir(mounted.root / place) if name != "f"]
    with virtual_mount(phone, mountpoint, words) as mounted:
        for place, (way, _) in places.items():
            found = (mounted.root / place / "f").stat().st_mtime
            if way not in LATER:
                assert found == DATE, place
            if way in KEEPS and not parse_options(words).arrival_dates:
                assert int((phone / place / "f").stat().st_mtime) == DATE, place
            assert abs(found - said[place]) <= 1, place


def test_void_when_it_changes(tmp_path: Path) -> None:
    """A date that was set is forgotten when the file is changed, here or on the phone."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    for name in ("here", "there"):
        (phone / name).write_bytes(ORIGINAL)
    with virtual_mount(phone, mountpoint) as mounted:
        for name in ("here", "there"):
            os.utime(mounted.root / name, (DATE, DATE))
            assert (mounted.root / name).stat().st_mtime == DATE
        with (mounted.root / "here").open("r+b") as file:
            file.write(b"x")
        assert (mounted.root / "here").stat().st_mtime == int((phone / "here").stat().st_mtime)
    os.utime(phone / "there", (1_300_000_000, 1_300_000_000))
    with virtual_mount(phone, mountpoint) as mounted:
        assert (mounted.root / "here").stat().st_mtime == int((phone / "here").stat().st_mtime)
        assert (mounted.root / "there").stat().st_mtime == 1_300_000_000


def test_dates_that_the_kernel_has_cached(tmp_path: Path) -> None:
    """A date is shown as soon as it is set, whatever the kernel has cached, and isn't lost by closing."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    (phone / "f").write_bytes(ORIGINAL)
    os.utime(phone / "f", (1_300_000_000, 1_300_000_000))
    with virtual_mount(phone, mountpoint, "", "-o", "ttl=1000") as mounted:
        assert (mounted.root / "f").stat().st_mtime == 1_300_000_000
        os.utime(mounted.root / "f", (DATE, DATE))
        assert (mounted.root / "f").stat().st_mtime == DATE
        file = os.open(mounted.root / "f", os.O_RDWR)
        assert os.fstat(file).st_mtime == DATE
        os.write(file, b"x")  # an edit in place: the phone gives it a date of its own
        assert os.fstat(file).st_mtime != DATE
        os.utime(file, (DATE + 1, DATE + 1))
        assert os.fstat(file).st_mtime == DATE + 1
        os.close(file)
        assert (mounted.root / "f").stat().st_mtime == DATE + 1
        assert (phone / "f").read_bytes() == b"xriginal"


def test_dates_that_lists_dont_tell(tmp_path: Path) -> None:
    """On a phone whose lists tell no dates, a date that was set outlives a remount too."""
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    for number in range(8):
        (phone / f"f{number}").write_bytes(ORIGINAL)
        os.utime(phone / f"f{number}", (1_300_000_000, 1_300_000_000))
    with virtual_mount(phone, mountpoint, "as=android8") as mounted:
        assert (mounted.root / "f0").stat().st_mtime == 1_300_000_000
        os.utime(mounted.root / "f1", (DATE, DATE))
        assert (mounted.root / "f1").stat().st_mtime == DATE
    with virtual_mount(phone, mountpoint, "as=android8") as mounted:
        os.listdir(mounted.root)
        assert (mounted.root / "f0").stat().st_mtime == 1_300_000_000
        assert (mounted.root / "f1").stat().st_mtime == DATE
