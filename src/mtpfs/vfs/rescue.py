"""The recovery directory: where contents go that the device never took.

Strategy: below the spool's own directory, so that a spool becomes a file there by
being given a name, without a copy, however large it is. Names are those on the
mount, below one directory for each device, so that a plain `cp -r` puts them back.

Invariant: nothing that is there already is overwritten, and nobody but its owner
can look into it; a directory that somebody else has put in its place isn't used.
"""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

from mtpfs.vfs.names import numbered
from mtpfs.vfs.spool import Spool, spool_directory

LONGEST = 200  # bytes of a name; disks take 255, and a number may have to be added


def recovery_directory() -> Path:
    """Return the directory's path, whether it exists or not."""
    return Path(spool_directory()) / f"mtpfs-recovered-{os.getuid()}"


def rescue(spool: Spool, device: str, path: str) -> Path:
    """Put a spool's contents below the recovery directory; return the file's path. Raises `OSError`.

    `path` is the file's on the mount, from its root.
    """
    top = recovery_directory()
    _make_private(top)
    *folders, name = [_safe(part) for part in [device, *path.split("/")] if part]
    directory = top.joinpath(*(os.fsdecode(folder) for folder in folders))
    directory.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        target = directory / os.fsdecode(numbered(name, number) if number > 1 else name)
        try:
            spool.keep(target)
        except FileExistsError:
            continue
        return target
    raise AssertionError("unreachable")


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not directory.is_dir() or directory.is_symlink() or status.st_uid != os.getuid():
        raise OSError(errno.EPERM, f"{directory} is somebody else's")
    directory.chmod(0o700)


def _safe(part: str) -> bytes:
    name = part.encode("utf-8", "surrogateescape").replace(b"/", b"_").replace(b"\0", b"_")
    return {b".": b"_", b"..": b"__"}.get(name, name)[:LONGEST]
