"""What goes wrong with a real phone on a real cable: killed hosts, locks, missing permissions, pulled plugs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtpfs.vfs.temporaries import parse
from vm.phones import MTPFS, Mount, UmtpPhone, run, wait_until

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def phone(umtp_phones: list[UmtpPhone]) -> UmtpPhone:
    return umtp_phones[1]


@pytest.fixture
def mount(phone: UmtpPhone, mountpoint: Path) -> Iterator[Mount]:
    """A fresh mount of the second phone; the test ends it."""
    mounted = Mount(phone.source, mountpoint)
    yield mounted
    if mounted.process.poll() is None:
        mounted.kill()


def start_reading(mount: Mount) -> subprocess.Popen[bytes]:
    """Read the large file in a process of its own; return when it is under way."""
    reader = subprocess.Popen(
        ["cat", mount.mountpoint / "Internal/large.bin"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    counters = Path(f"/proc/{reader.pid}/io")
    wait_until(lambda: int(counters.read_text().split()[1]) > 2 << 20, "the reading")
    return reader


def test_listing_overtakes_reading(mount: Mount) -> None:
    """A directory is listed while a large file is read, not after it."""
    reader = start_reading(mount)
    run("ls", "-l", mount.mountpoint / "Internal")
    assert reader.poll() is None
    assert reader.wait(300) == 0
    mount.unmount()


def test_host_that_died_reading(phone: UmtpPhone, mount: Mount) -> None:
    """A mount that is killed in the middle of a read doesn't keep the next one from working."""
    reader = start_reading(mount)
    mount.kill()
    assert reader.wait(300) != 0
    again = Mount(phone.source, mount.mountpoint)
    run("cmp", mount.mountpoint / "Internal/large.bin", phone.directory / "large.bin")
    again.unmount()


def test_host_that_died_writing(phone: UmtpPhone, mount: Mount, tmp_path: Path) -> None:
    """Nor does one that is killed in the middle of an upload, which the phone is still waiting for."""
    size = 20 << 20
    (tmp_path / "source").write_bytes(os.urandom(size))
    before = set(phone.directory.iterdir())

    def arrived() -> int:
        return sum(path.stat().st_size for path in set(phone.directory.iterdir()) - before)

    writer = subprocess.Popen(
        ["cp", tmp_path / "source", mount.mountpoint / "Internal/cut off"], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: arrived() > 0, "the upload")
    mount.kill()
    assert arrived() < size
    assert writer.wait(300) != 0
    again = Mount(phone.source, mount.mountpoint)
    (mount.mountpoint / "Internal/whole").write_bytes(b"whole")
    assert (phone.directory / "whole").read_bytes() == b"whole"
    again.unmount()


def test_host_that_died_replacing(phone: UmtpPhone, mount: Mount, tmp_path: Path) -> None:
    """One that is killed while it replaces a file leaves the old one, and the next mount clears what it left."""
    size = 20 << 20
    (tmp_path / "source").write_bytes(os.urandom(size))
    (phone.directory / "replaced").write_bytes(b"old")
    wait_until((mount.mountpoint / "Internal/replaced").exists, "the appearance of a new file")

    def temporaries() -> list[Path]:
        return [path for path in phone.directory.iterdir() if parse(path.name) is not None]

    writer = subprocess.Popen(
        ["cp", tmp_path / "source", mount.mountpoint / "Internal/replaced"], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: any(path.stat().st_size for path in temporaries()), "the upload")
    mount.kill()
    assert writer.wait(300) != 0
    again = Mount(phone.source, mount.mountpoint)
    os.listdir(mount.mountpoint / "Internal")
    assert (mount.mountpoint / "Internal/replaced").read_bytes() == b"old"
    assert temporaries() == []
    again.unmount()


def test_host_that_died_editing(phone: UmtpPhone, mount: Mount) -> None:
    """An edit that was left open by a killed mount doesn't keep the next one from editing."""
    (phone.directory / "edited").write_bytes(b"0123456789" * 100)
    path = mount.mountpoint / "Internal/edited"
    wait_until(path.exists, "the appearance of a new file")
    file = os.open(path, os.O_RDWR)
    os.pwrite(file, b"ab", 100)
    assert os.pread(file, 4, 99) == b"9ab2"  # which has the change sent: the edit is open on the phone
    mount.process.kill()  # first that, or closing would end the edit; only then can it be unmounted
    mount.process.communicate(timeout=30)
    with contextlib.suppress(OSError):
        os.close(file)
    run("fusermount3", "-u", mount.mountpoint)
    again = Mount(phone.source, mount.mountpoint)
    with path.open("r+b") as changed:
        changed.seek(500)
        changed.write(b"cd")
    expected = bytearray(b"0123456789" * 100)
    expected[100:102], expected[500:502] = b"ab", b"cd"
    assert path.read_bytes() == expected
    assert (phone.directory / "edited").read_bytes() == expected
    again.unmount()


def test_locked_phone(phone: UmtpPhone, mount: Mount) -> None:
    """A locked phone is an empty mount; its storage is back as soon as it is unlocked."""
    assert os.listdir(mount.mountpoint) == ["Internal"]
    phone.lock()
    wait_until(lambda: os.listdir(mount.mountpoint) == [], "the storage's departure")
    phone.unlock()
    wait_until(lambda: os.listdir(mount.mountpoint) == ["Internal"], "the storage's return")
    assert (mount.mountpoint / "Internal/files/file 7.txt").read_bytes() == b"x" * 7
    mount.unmount()


def test_ordinary_user(phone: UmtpPhone) -> None:
    """Who may not open the phone is told so; who may, mounts it without being root, for himself alone."""
    if run(*NOBODY, sys.executable, "-c", "import mtpfs", check=False).returncode:
        pytest.skip("mtpfs lies in a directory that other users can't enter")
    mountpoint = Path("/run/mount of nobody")
    mountpoint.mkdir()
    os.chown(mountpoint, 65534, 65534)
    phone.node.chmod(0o600)
    refused = run(*NOBODY, *MTPFS, phone.source, mountpoint, check=False)
    assert refused.returncode == 1
    assert "no permission" in refused.stderr
    phone.node.chmod(0o666)
    run(*NOBODY, *MTPFS, phone.source, mountpoint)
    assert run(*NOBODY, "ls", mountpoint).stdout == "Internal\n"
    with pytest.raises(PermissionError):
        os.listdir(mountpoint)
    run(*NOBODY, "fusermount3", "-u", mountpoint)


def test_unplugged_phone(phone: UmtpPhone, mount: Mount) -> None:
    """Pulling the plug fails what is going on, at once; plugged in again, the phone can be mounted again."""
    reader = start_reading(mount)
    phone.unplug()
    assert reader.wait(30) != 0
    with pytest.raises(OSError, match="No such device"):
        (mount.mountpoint / "Internal/files/file 7.txt").read_bytes()
    mount.unmount()
    phone.plug_in()
    again = Mount(phone.source, mount.mountpoint)
    assert (mount.mountpoint / "Internal/files/file 7.txt").read_bytes() == b"x" * 7
    again.unmount()
