"""The local side of transfers: a part that becomes a file, and a file that is sent.

A download is written to a part beside its target, whose name says what it is a part of: a digest of the phone, the
path, the size and the date. A later download of the same goes on where it ends, after a pulled cable and after a kill.
A part of anything else that was to get this name is out of date, and removed. Each directory is looked through for
them once, or a file would cost more the more there are. The part is locked while it is
written, so that two programs don't write one file. It gets its name when it is complete and has its date.

Invariant: nothing but a file is ever replaced. Under the target's name there is never a part. A part is written from
its start to its end, so its size says how much of it is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

Data = bytes | memoryview

_LONGEST = 180  # bytes of the name that a part's name repeats; disks take 255
_DIGITS = 16
_END = ".part"
_TRIES = 5


def key(serial: str, path: str, size: int | None, modified: float | None) -> str:
    """Return what a part of a file is known by: the phone, the path, the size in bytes, the date."""
    return "\0".join((serial, path, str(size), str(modified)))


def target_of(path: str | os.PathLike[str], replace: bool) -> Path:
    """Return the file that is to be made or replaced, without links on the way: a link stays, and leads to it.

    Raises EISDIR for a directory, EINVAL for a device or a pipe, which a file must never take the place of, and EEXIST
    for a file that isn't to be replaced: before anything is fetched.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it isn't a file", str(path))
    if not replace:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return target


def name_if_free(path: Path, target: Path) -> None:
    """Give a file another name on the same disk. Raises EEXIST if there is something of that name."""
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        # FAT has no links.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        path.rename(target)
    else:
        path.unlink(missing_ok=True)


class Part:
    """A file on its way here. Blocks; for one thread at a time. Raises `OSError`."""

    def __init__(
        self, target: Path, *, key: str, resume: bool, received: Callable[[Data], object] | None = None
    ) -> None:
        """Begin, or with `resume` go on with what is there of the same `key`. `received` is given what is appended.

        Raises EBUSY if another program is at it.
        """
        self.target = target
        self._received = received
        self._resumable = resume
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
        self.path = target.with_name(f"{_start(target.name)}{digest}{_END}")
        self._fd = next((fd for _ in range(_TRIES) if (fd := self._opened()) >= 0), -1)
        if self._fd < 0:
            raise self._busy()
        try:
            if not resume:
                os.ftruncate(self._fd, 0)
        except BaseException:
            os.close(self._fd)
            raise

    def _opened(self) -> int:
        """Return a locked descriptor; -1 if what it would be about is no part any more by now."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        is_part = False
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._busy() from error
            # Another program may have finished it, or dropped it, before the lock was ours.
            with contextlib.suppress(FileNotFoundError):
                is_part = os.path.samestat(self.path.lstat(), os.fstat(fd))
            if is_part and os.fstat(fd).st_nlink > 1:
                # A kill has come between the file's two names: it is whole, and not to be written any more.
                is_part = False
                self.path.unlink(missing_ok=True)
            if is_part:
                self._be_as_private(fd)
        finally:
            if not is_part:
                os.close(fd)
        return fd if is_part else -1

    def _busy(self) -> OSError:
        return OSError(errno.EBUSY, "another program is fetching it", str(self.target))

    def _be_as_private(self, fd: int) -> None:
        """Give the part the permissions of what it is to replace: nobody else is to read what was private."""
        with contextlib.suppress(OSError):  # there is nothing, or the disk knows no permissions
            os.fchmod(fd, (self.target.stat().st_mode & 0o777) | 0o600)

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return os.fstat(self._fd).st_size

    def empty(self) -> None:
        """Begin anew."""
        os.ftruncate(self._fd, 0)

    def append(self, data: Data) -> None:
        """Write all of `data` at the end."""
        if self._received is not None:
            self._received(data)
        offset, view = self.size, memoryview(data)
        while view:
            try:
                count = os.pwrite(self._fd, view, offset)
            except OSError as error:  # it names no file
                raise OSError(error.errno or errno.EIO, error.strerror, str(self.target)) from error
            view, offset = view[count:], offset + count

    def finish(self, size: int | None, modified: float | None, *, replace: bool) -> None:
        """Give it its date and its name.

        Raises EIO unless it has `size` bytes (None: any), EEXIST without `replace`.
        """
        if size is not None and self.size != size:
            here = self.size
            self.empty()
            raise OSError(errno.EIO, f"{here} bytes came, {size} were announced", str(self.target))
        if modified is not None:
            nanoseconds = int(modified * 1_000_000_000)
            os.utime(self._fd, ns=(nanoseconds, nanoseconds))
        if replace:
            target_of(self.target, replace=True)  # it may have become another thing since
            self.path.replace(self.target)
        else:
            name_if_free(self.path, self.target)
        os.close(self._fd)
        self._fd = -1

    def close(self) -> bool:
        """End. What isn't finished stays for the next time if there is something in it, and if it was begun so.

        Returns whether it stays.
        """
        if self._fd < 0:
            return False
        stays = self._resumable and self.size > 0
        if not stays:
            with contextlib.suppress(OSError):  # it is in nobody's way
                self.path.unlink()
        os.close(self._fd)
        self._fd = -1
        return stays


class Parts:
    """The parts that lie beside their targets. Blocks; for any number of threads. Raises `OSError`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[Path, dict[str, set[str]]] = {}
        """Names of parts that nobody is at, by directory and by their beginning, which tells the target."""

    def begin(
        self,
        local_path: str | os.PathLike[str],
        *,
        key: str,
        resume: bool,
        replace: bool,
        received: Callable[[Data], object] | None = None,
    ) -> Part:
        """Begin a part, or go on with it; those of other contents that were to get the name go.

        Raises what `target_of` and `Part` raise.
        """
        part = Part(target_of(local_path, replace), key=key, resume=resume, received=received)
        try:
            for name in self._outdated(part):
                part.path.with_name(name).unlink(missing_ok=True)
        except BaseException:
            part.close()
            raise
        return part

    def end(self, part: Part) -> None:
        """Close a part, which may not be finished."""
        if part.close():
            with self._lock:
                self._note(self._left[part.path.parent], part.path.name)

    def _outdated(self, part: Part) -> set[str]:
        directory = part.path.parent
        with self._lock:
            if directory not in self._left:
                with os.scandir(directory) as found:
                    names = [entry.name for entry in found if entry.name.endswith(_END)]
                self._left[directory] = {}
                for name in names:
                    self._note(self._left[directory], name)
            return self._left[directory].pop(_start(part.target.name), set()) - {part.path.name}

    @staticmethod
    def _note(left: dict[str, set[str]], name: str) -> None:
        left.setdefault(name[: -len(_END) - _DIGITS], set()).add(name)


def _start(name: str) -> str:
    """Return how the names of all parts of a file begin."""
    return f".{os.fsdecode(os.fsencode(name)[:_LONGEST])}.mtpfs-"


class Sent:
    """A file that is being sent. Blocks. Raises `OSError`; EINVAL, EISDIR for what isn't a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(self.descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it isn't a file", str(path))
        except BaseException:
            os.close(self.descriptor)
            raise
        self.size = status.st_size
        self.modified = status.st_mtime
        self._before = self._stamp(status)

    @staticmethod
    def _stamp(status: os.stat_result) -> tuple[int, int]:
        return status.st_size, status.st_mtime_ns

    def has_changed(self) -> bool:
        """Tell whether it is another one than when it was opened."""
        return self._stamp(os.fstat(self.descriptor)) != self._before

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)
