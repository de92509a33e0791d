"""What can be known to fail before the device is touched, said in one line each.

Strategy: look at the mountpoint, at /dev/fuse and at /etc/fuse.conf in the order
in which a mount would trip over them.

Invariant: nothing is changed; a check that can't be made is left to the mount.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mtpfs.errors import SetupError

DEV_FUSE = Path("/dev/fuse")
FUSE_CONF = Path("/etc/fuse.conf")


def check_mountpoint(mountpoint: str) -> None:
    """Raise `SetupError` unless a filesystem can be mounted here."""
    if is_dead(mountpoint):
        raise SetupError(f"{mountpoint}: a filesystem died here; `fusermount3 -u {mountpoint}` removes it")
    try:
        is_directory = Path(mountpoint).is_dir()
    except OSError as error:
        raise SetupError(f"{mountpoint}: {error.strerror}") from error
    if not os.path.lexists(mountpoint):
        raise SetupError(f"{mountpoint}: no such directory; `mkdir` it first")
    if not is_directory:
        raise SetupError(f"{mountpoint}: not a directory")
    for target, kind, source in mounts():
        if kind == "fuse.mtpfs" and target == os.path.realpath(mountpoint):
            raise SetupError(f"{mountpoint}: {source} is mounted here already")


def is_dead(mountpoint: str) -> bool:
    """Tell whether a FUSE filesystem's program has ended without unmounting."""
    try:
        os.statvfs(mountpoint)  # unlike stat, never answered from the kernel's cache
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def check_fuse(fuse_options: frozenset[str]) -> None:
    """Raise `SetupError` where FUSE itself is missing or doesn't allow what is asked."""
    if not DEV_FUSE.exists():
        raise SetupError(f"{DEV_FUSE} is missing: the kernel has no FUSE; `modprobe fuse` loads it")
    if os.geteuid() == 0:
        return
    if shutil.which("fusermount3") is None:
        raise SetupError("fusermount3 isn't installed: `apt install fuse3` brings it")
    others = {"allow_other", "allow_root"} & fuse_options
    if others and not _others_allowed():
        raise SetupError(f"option {min(others)} needs the line `user_allow_other` in {FUSE_CONF}")


def mounts() -> list[tuple[str, str, str]]:
    """Return (mountpoint, type, source) of every mount that this process sees."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, source = after.split(" ")[:2]
        found.append((_unescaped(before.split(" ")[4]), kind, _unescaped(source)))
    return found


def _others_allowed() -> bool:
    try:
        lines = FUSE_CONF.read_text().splitlines()
    except OSError:
        return True  # unreadable: fusermount3 will say
    return any(line.strip() == "user_allow_other" for line in lines)


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
