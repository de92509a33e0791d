"""Who holds a phone, and how to free it: read from a /proc made of files."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mtpfs.transport.holders import describe_holders, find_holders
from mtpfs.transport.phones import UsbPhone, claim_failure
from transport.usbip_backend import usb_error

NODE = "/dev/bus/usb/001/005"
PHONE = UsbPhone(1, 5, 1, 2, "Maker", "Phone", "S", 0, 0x81, 1, 0x82, 512)


def process(proc: Path, pid: int, name: str, *targets: str, command: str = "") -> None:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True)
    (directory / "comm").write_text(name + "\n")
    (directory / "cmdline").write_text(command or name)
    for number, target in enumerate(targets):
        (directory / "fd" / str(number)).symlink_to(target)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("gvfsd-mtp", "gio mount -u"),
        ("gvfs-mtp-volume", "gvfs-mtp-volume-monitor"),
        ("gvfs-gphoto2-vo", "gvfs-gphoto2-volume-monitor"),
        ("kiod6", "kquitapp6 kiod6"),
        ("kioworker", "kquitapp6 kiod6"),
        ("adb", "adb kill-server"),
        ("mtpfs", "mtpfs umount MOUNTPOINT"),
        ("whatever", "kill 4242"),
    ],
)
def test_advice(tmp_path: Path, name: str, advice: str) -> None:
    """The usual holders have their own way of letting go. Names are cut at 15 characters by the kernel."""
    assert len(name) <= 15
    process(tmp_path, 4242, name, "/dev/null", NODE)
    text = describe_holders(NODE, tmp_path)
    assert f"held by {name} (pid 4242)" in text
    assert advice in text


def test_only_holders_are_named(tmp_path: Path) -> None:
    """All of them, in order; nobody who has another node or none, and nothing that is no process."""
    process(tmp_path, 20, "adb", NODE)
    process(tmp_path, 3, "kiod5", NODE)
    process(tmp_path, 4, "other", "/dev/bus/usb/001/006")
    process(tmp_path, 5, "idle")
    (tmp_path / "meminfo").touch()
    (tmp_path / "77").mkdir()  # ended just now
    assert [(holder.pid, holder.name) for holder in find_holders(NODE, tmp_path)] == [
        (3, "kiod5"),
        (20, "adb"),
    ]


def test_a_script_is_known_by_its_command_line(tmp_path: Path) -> None:
    """Another mtpfs runs in an interpreter."""
    process(tmp_path, 9, "python3", NODE, command="/usr/bin/python3\0/usr/bin/mtpfs\0any\0/mnt")
    process(tmp_path, 10, "python3", NODE, command="/usr/bin/python3\0other.py")
    assert [holder.name for holder in find_holders(NODE, tmp_path)] == ["mtpfs", "python3"]


def test_nobody_to_be_seen(tmp_path: Path) -> None:
    """Another user's processes can't be looked into; then the usual suspects are named."""
    assert "usual suspects are gvfsd-mtp, kiod" in describe_holders(NODE, tmp_path)


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EACCES, errno.ENODEV, errno.EIO])
def test_failures_are_one_paragraph(code: int) -> None:
    """They name the phone and carry the errno."""
    failure = claim_failure(PHONE, usb_error(code))
    assert failure.errno == code
    assert "Maker Phone" in str(failure)
    assert "\n" not in str(failure)
