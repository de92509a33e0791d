"""Which programs hold a USB device: the difference between "busy" and an answer.

A program that has claimed an interface has the device's node open, so the open files in /proc tell. Processes of
other users can't be looked into without privileges. Then those that usually do it are named.

Invariant: looking never disturbs the device or the holder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_ADVICE = {
    "gvfsd-mtp": "run `gio mount -u mtp://…` or eject the phone in the file manager",
    "gvfsd-gphoto2": "eject the camera in the file manager",
    "gvfs-mtp-volume": "run `systemctl --user stop gvfs-mtp-volume-monitor`",
    "gvfs-gphoto2-vo": "run `systemctl --user stop gvfs-gphoto2-volume-monitor`",
    "kiod5": "run `kquitapp5 kiod5`",
    "kiod6": "run `kquitapp6 kiod6`",
    "kioslave5": "close the file manager, or run `kquitapp5 kiod5`",
    "kioworker": "close the file manager, or run `kquitapp6 kiod6`",
    "adb": "run `adb kill-server`",
    "mtpfs": "it is mounted already: `mtpfs list` shows where, `mtpfs umount MOUNTPOINT` unmounts it",
    "simple-mtpfs": "unmount it with `fusermount -u`",
    "jmtpfs": "unmount it with `fusermount -u`",
    "go-mtpfs": "unmount it with `fusermount -u`",
    "aft-mtp-mount": "unmount it with `fusermount -u`",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the device's node open."""

    pid: int
    name: str

    @property
    def advice(self) -> str:
        return _ADVICE.get(self.name, f"close it, or run `kill {self.pid}`")

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def find_holders(node: str, proc: Path = Path("/proc")) -> list[Holder]:
    """Return the other processes that have `node` (/dev/bus/usb/BBB/DDD) open, as far as we may see."""
    holders = []
    for process in proc.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if any(_target(descriptor) == node for descriptor in (process / "fd").iterdir()):
                holders.append(Holder(int(process.name), _name(process)))
        except OSError:
            continue  # it ended, or belongs to another user
    return sorted(holders, key=lambda holder: holder.pid)


def describe_holders(node: str, proc: Path = Path("/proc")) -> str:
    """Return the sentence that tells which programs hold `node`, and how to free it."""
    holders = find_holders(node, proc)
    if not holders:
        return (
            "It is held by another user's program or by one that let go just now; "
            "usual suspects are gvfsd-mtp, kiod and another MTP mount."
        )
    return "It is held by " + "; ".join(f"{holder}: {holder.advice}" for holder in holders) + "."


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def _name(process: Path) -> str:
    name = (process / "comm").read_text().strip()
    if name.startswith("python") and b"mtpfs" in (process / "cmdline").read_bytes():
        return "mtpfs"  # a script's process is named after its interpreter
    return name
