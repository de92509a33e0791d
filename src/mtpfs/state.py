"""Where state is kept that outlives a program: below $XDG_STATE_HOME, else below the user's home.

Three things are kept there: dates that programs set (`vfs.remembered`), what was imported (`cli.importing.memory`), and
what cameras on a network know the user by (`transport.guid`). Where one place can't be used, the next one is tried.

Spools and the recovery directory lie elsewhere (`spool_directory`): they take room, and are not for ever.

Invariant: no symbolic link is followed. Nothing is written to a directory or a file that belongs to another user.
"""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def spool_directory() -> str:
    """Return $TMPDIR, or /var/tmp: unlike /tmp, it is on disk everywhere and has room for videos."""
    chosen = os.environ.get("TMPDIR")
    if chosen:
        return chosen
    return "/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir()  # noqa: S108 - spools have no name


def directories() -> Iterator[Path]:
    """Yield where state may be kept, the best place first."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    if chosen.startswith("/"):  # others are to be ignored, says the XDG specification
        yield Path(chosen)
    try:
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a user of a container has no entry
        return
    # A home that isn't there isn't made, and / counts as no home.
    if home.is_absolute() and home != Path("/") and home.is_dir():
        yield home / ".local" / "state"


def open_directory(state: Path) -> int:
    """Open our directory there, made if it is missing. Only our user may look into it. Raises `OSError`."""
    directory = state / "mtpfs"
    for missing in reversed([path for path in (state, *state.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return private(descriptor, stat.S_ISDIR, 0o700, f"{directory} is another user's")


def private(descriptor: int, is_kind: Callable[[int], bool], mode: int, refusal: str) -> int:
    """Return a descriptor of what is ours, for us alone. Closes one of anything else, and raises `PermissionError`."""
    try:
        status = os.fstat(descriptor)
        if not is_kind(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(refusal)
        if stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
