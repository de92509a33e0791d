"""The mounts there are, and what they tell of themselves.

Strategy: the kernel's table says where mtpfs is mounted; a mount itself says the
rest, by the files in its root that no listing shows (`mtpfs.fuse.report`).
Mounts of other users can't be asked; of those only the table's words are known.

Invariant: a mount whose program has died is never asked anything that could wait.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from mtpfs.errors import SetupError
from mtpfs.redaction import hide_name, hide_serial

KIND = "fuse.mtpfs"


def mounts() -> list[tuple[str, str, str]]:
    """Return (mountpoint, type, source) of every mount that this process sees."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, source = after.split(" ")[:2]
        target, source = _unescaped(before.split(" ")[4]), _unescaped(source)
        if kind == KIND:  # a source, and a directory that was made for a device, have its serial number
            hide_serial(source.removeprefix("serial:") if source.startswith("serial:") else "")
            hide_name(os.path.basename(target))  # noqa: PTH119 - a string like any mountpoint
        found.append((target, kind, source))
    return found


def is_dead(mountpoint: str) -> bool:
    """Tell whether a FUSE filesystem's program has ended without unmounting."""
    try:
        os.statvfs(mountpoint)  # unlike stat, never answered from the kernel's cache
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def is_mounted(place: str) -> bool:
    """Tell whether a FUSE filesystem is mounted exactly there."""
    real = os.path.realpath(place)
    return any(target == real and kind.startswith("fuse") for target, kind, _ in mounts())


def report(mountpoint: str, name: str) -> dict[str, Any]:
    """Return what the mount tells in its file `name`. Raises `SetupError`."""
    if not is_mounted(mountpoint):
        raise SetupError(f"{mountpoint}: nothing is mounted here")
    try:
        found: dict[str, Any] = json.loads((Path(mountpoint) / name).read_text())
    except (OSError, ValueError) as error:
        raise SetupError(f"{mountpoint}: this mount doesn't tell ({error})") from error
    return found


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
