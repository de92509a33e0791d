"""The recovery directory, for contents that the device never took, or is about to lose.

It lies beside the spools. So a spool becomes a file there when it gets a name, without a copy, however large it is.
Names are those on the mount, below one directory for each device, so that a plain `cp -r` puts them back.

Invariant: nothing that is there already is overwritten, and only its owner can look into it. Where another user has
made a directory of that name, another name is taken.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from pathlib import Path

from mtpfs.redaction import hide_name
from mtpfs.state import spool_directory
from mtpfs.vfs.names import numbered
from mtpfs.vfs.spool import Spool

LONGEST = 200  # bytes of a name; disks take 255, and a number may have to be added
ATTEMPTS = 100  # directories of others that are passed over


def recovery_directory() -> Path:
    """Return the directory's path, whether it exists or not."""
    plain = Path(spool_directory()) / f"mtpfs-recovered-{os.getuid()}"
    for number in range(1, ATTEMPTS):
        path = plain if number == 1 else plain.with_name(f"{plain.name}-{number}")
        try:
            status = path.lstat()
        except OSError:
            return path
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            return path
    return plain


def keep(spool: Spool, device: str, path: str) -> Path:
    """Put a spool's contents below the recovery directory; return the file's path. Raises `OSError`.

    `path` is the file's on the mount, from its root.
    """
    top = recovery_directory()
    top.mkdir(mode=0o700, exist_ok=True)
    status = top.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "another user has made it", str(top))
    top.chmod(0o700)
    *folders, name = [_safe(part) for part in [device, *path.split("/")] if part]
    for folder in folders[1:]:
        hide_name(folder)
    directory = top.joinpath(*(os.fsdecode(folder) for folder in folders))
    directory.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        target = directory / os.fsdecode(numbered(name, number) if number > 1 else name)
        try:
            spool.give_name(target)
        except FileExistsError:
            continue
        hide_name(target.name)  # it may have been given a number
        return target
    raise AssertionError("unreachable")


def discard(path: Path) -> None:
    """Remove a file that `keep` made, and the directories that are empty then: the device has its contents."""
    path.unlink(missing_ok=True)
    top = recovery_directory()
    with contextlib.suppress(OSError):  # not empty, or in use again
        for directory in path.parents:
            if directory == top.parent:
                break
            directory.rmdir()


def _safe(part: str) -> bytes:
    name = part.encode("utf-8", "surrogateescape").replace(b"/", b"_").replace(b"\0", b"_")
    return {b".": b"_", b"..": b"__"}.get(name, name)[:LONGEST]
