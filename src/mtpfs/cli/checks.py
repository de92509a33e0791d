"""What can be known to fail before the device is touched, said in one line each.

Strategy: look at the mountpoint, at /dev/fuse and at /etc/fuse.conf in the order
in which a mount would trip over them.

Invariant: nothing is changed; a check that can't be made is left to the mount.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mtpfs.cli.mounts import KIND, is_dead, mounts, real_path
from mtpfs.errors import MachineError, SetupError

DEV_FUSE = Path("/dev/fuse")
FUSE_CONF = Path("/etc/fuse.conf")


def check_mountpoint(mountpoint: str) -> None:
    """Raise `SetupError` unless a filesystem can be mounted here."""
    if is_dead(mountpoint):
        raise SetupError(f"{mountpoint}: a filesystem died here; `fusermount3 -u {mountpoint}` removes it")
    # First: a mount that doesn't answer would keep the rest waiting.
    real = real_path(mountpoint)
    for target, kind, source in mounts():
        if kind == KIND and target == real:
            raise SetupError(f"{mountpoint}: {source} is mounted here already")
    try:
        is_directory = Path(mountpoint).is_dir()
    except OSError as error:
        raise SetupError(f"{mountpoint}: {error.strerror}") from error
    if not os.path.lexists(mountpoint):
        raise SetupError(f"{mountpoint}: no such directory; `mkdir` it first")
    if not is_directory:
        raise SetupError(f"{mountpoint}: not a directory")


def check_fuse(fuse_options: frozenset[str]) -> None:
    """Raise `MachineError` where FUSE itself is missing, `SetupError` where it doesn't allow what is asked."""
    if not DEV_FUSE.exists():
        raise MachineError(f"{DEV_FUSE} is missing: the kernel has no FUSE; `modprobe fuse` loads it")
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise MachineError("fusermount3 isn't installed: `apt install fuse3` brings it")
    others = {"allow_other", "allow_root"} & fuse_options
    if others and not _others_allowed():
        raise SetupError(f"option {min(others)} needs the line `user_allow_other` in {FUSE_CONF}")


def _others_allowed() -> bool:
    try:
        lines = FUSE_CONF.read_text().splitlines()
    except OSError:
        return True  # unreadable: fusermount3 will say
    return any(line.strip() == "user_allow_other" for line in lines)
