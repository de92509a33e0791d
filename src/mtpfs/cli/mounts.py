"""The mounts there are, and what they tell of themselves.

The kernel's table says where mtpfs is mounted. A mount itself says the
rest, by the files in its root that no listing shows (`mtpfs.fuse.report`).
Mounts of other users can't be asked. Of those only the table's words are known.

Invariant: a mount whose program has died is never asked anything that could wait. Any other
is waited for some seconds at most.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mtpfs.errors import SetupError
from mtpfs.redaction import hide_name, hide_serial

T = TypeVar("T")

KIND = "fuse.mtpfs"
PATIENCE = 3.0  # seconds that a mount may take to answer


def mounts() -> list[tuple[str, str, str]]:
    """Return (mountpoint, type, source) of every mount that this process sees."""
    found = []
    table = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    # Names need be neither UTF-8 nor one line to splitlines().
    for line in table.removesuffix("\n").split("\n"):
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
        _patiently(lambda: os.statvfs(mountpoint))  # unlike stat, never answered from the kernel's cache
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def real_path(place: str) -> str:
    """Return the path without links, or, of a mount that doesn't answer, the absolute one."""
    try:
        return _patiently(lambda: os.path.realpath(place))
    except TimeoutError:
        return os.path.abspath(place)  # noqa: PTH100 - nothing more can be known


def is_mounted(place: str) -> bool:
    """Tell whether a FUSE filesystem is mounted exactly there."""
    real = real_path(place)
    return any(target == real and kind.startswith("fuse") for target, kind, _ in mounts())


def report(mountpoint: str, name: str) -> dict[str, Any]:
    """Return what the mount tells in its file `name`. Raises `SetupError`."""
    if not is_mounted(mountpoint):
        raise SetupError(f"{mountpoint}: nothing is mounted here")
    try:
        found: dict[str, Any] = json.loads(_patiently((Path(mountpoint) / name).read_text))
    except (OSError, ValueError) as error:
        raise SetupError(f"{mountpoint}: {_reason(error, mountpoint)}") from error
    return found


def names(mountpoint: str) -> list[str]:
    """Return what is in the top directory of a mount. Raises `SetupError`."""
    try:
        return _patiently(lambda: os.listdir(mountpoint))
    except OSError as error:
        raise SetupError(f"{mountpoint}: {_reason(error, mountpoint)}") from error


def _reason(error: OSError | ValueError, mountpoint: str) -> str:
    """Say why a mount doesn't tell."""
    if isinstance(error, ValueError) or error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "what is mounted here isn't mtpfs"
    if isinstance(error, TimeoutError):
        return f"the mount doesn't answer (in {PATIENCE:.0f} s)"
    if error.errno == errno.ENODEV:
        return "the phone is unplugged, or locked; it can be asked again when it is back"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "another user has mounted this, and no other user may look into it"
    if error.errno == errno.ENOTCONN:
        return f"a filesystem died here; `fusermount3 -u {mountpoint}` removes it"
    return f"the mount doesn't tell: {error.strerror}"


def _patiently(ask: Callable[[], T]) -> T:
    """Return what `ask` returns, or raise what it raises, but wait no longer than `PATIENCE` seconds.

    Raises `TimeoutError`: a program that is stopped, or busy, answers nothing. The thread that waits goes with us.
    """
    answers: list[T | Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001 - raised below
            answers.append(error)

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if not answers:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer in {PATIENCE:.0f} s")
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "043", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
