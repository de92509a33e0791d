"""A local temporary copy of a file's contents.

It is an anonymous file (O_TMPFILE, mode 0600) in a directory on disk. So a crash leaves nothing behind, and no other
user can read it. Size and contents are the file's own. Nothing is cached here.

A reader or a fetch may be at work on a spool that has been replaced meanwhile. If it were closed under them, the
number of its descriptor might already belong to another spool. So users are counted, and the last one closes it. The
garbage collector alone isn't enough: the traceback of an error that is kept would keep the spool, and its room on
the disk.

Sending is no such use. Whoever waits for it may be cancelled, and the thread that sends goes on alone. So the last
user may close the spool under it: sending ends then, inside the data phase.

A program that sends a file of its own lends it instead (`lent`): then nothing is copied here. What is lent is
only read, and never linked anywhere.

A write that only copies into the page cache is done at once, because the hop to another thread costs as much. After
a write that had to wait for the disk, later ones wait in a thread. So at most one of them stops the rest of the
mount.

Invariant: `size` is the file's size, always.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Self

import trio

from mtpfs.errors import StoppedError
from mtpfs.session import DataSource
from mtpfs.state import spool_directory
from mtpfs.transport import Buffer

_COPY_THRESHOLD = 64 << 10  # bytes: a thread hop costs more than copying less than this from the page cache
_REQUEST = 1 << 20  # bytes: the kernel's largest request
_BLOCKING = (
    0.02  # seconds; copying a request takes less than a millisecond, waiting for a disk more than this
)


def _nameless_file() -> int:
    directory = spool_directory()
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            raise
    descriptor, path = tempfile.mkstemp(prefix="mtpfs-", dir=directory)
    Path(path).unlink()
    return descriptor


class Spool:
    """An open temporary file. Errors are `OSError` (ENOSPC above all)."""

    def __init__(self, lent: int | None = None, has_changed: Callable[[], bool] = lambda: False) -> None:
        """`lent`: the descriptor of a file that is read where it lies; it may be closed afterwards.

        `has_changed` tells whether it is another one by now. Then what was read may be a mixture.
        """
        self.is_lent = lent is not None
        self._fd = _nameless_file() if lent is None else os.dup(lent)
        self.has_changed = has_changed
        self.size = 0 if lent is None else os.fstat(lent).st_size
        self.on_read: Callable[[int], None] | None = None
        """Told how far `source` has been read, in bytes, on the thread that sends."""
        self.unwanted = False
        """The contents aren't wanted any more: sending them ends, inside the data phase."""
        self._blocks = False
        """Writing has taken long: the disk is behind."""
        self._users = 1
        self._close = weakref.finalize(self, os.close, self._fd)
        self._sending = threading.Lock()
        """Held for the copying of one piece, by the thread that sends, and for the closing."""

    def take(self) -> Self:
        """Begin another use, which `drop` ends."""
        self._users += 1
        return self

    def __enter__(self) -> Self:
        return self.take()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        # A cancelled task leaves a thread behind that may still be at work here.
        if kind is None or issubclass(kind, Exception):
            self.drop()

    def drop(self) -> None:
        """End one use: that of the maker, or one begun by `take`."""
        self._users -= 1
        if not self._users:
            with self._sending:
                self._close()

    async def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes; fewer only at the end."""
        if count <= _COPY_THRESHOLD:
            return os.pread(self._fd, count, offset)
        return await trio.to_thread.run_sync(os.pread, self._fd, count, offset)

    async def write(self, offset: int, data: Buffer) -> None:
        """Write everything; on this thread as long as that only means copying."""
        if len(data) <= _COPY_THRESHOLD or (len(data) <= _REQUEST and not self._blocks):
            started = time.monotonic()
            self.write_now(offset, data)
            self._blocks |= time.monotonic() - started > _BLOCKING
        else:
            await trio.to_thread.run_sync(self.write_now, offset, data)

    def write_now(self, offset: int, data: Buffer) -> None:
        """Write everything. May be called from any thread."""
        view = memoryview(data).cast("B")
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count
            self.size = max(self.size, offset)

    def truncate(self, size: int) -> None:
        """Set the size in bytes. Raises `OSError`."""
        os.ftruncate(self._fd, size)
        self.size = size

    def give_name(self, path: Path) -> None:
        """Give the contents a name, as a file of their own. Raises `FileExistsError`, `OSError`."""
        if self.is_lent:
            self._copy_to(path)  # a link would be the program's own file
            return
        try:
            descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.link(f"{self._fd}", path, src_dir_fd=descriptors, follow_symlinks=True)
            finally:
                os.close(descriptors)
        except FileExistsError:
            raise
        except OSError:
            # No /proc, or a filesystem without nameless files.
            self._copy_to(path)

    def _copy_to(self, path: Path) -> None:
        copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            offset = 0
            while count := os.sendfile(copy, self._fd, offset, 1 << 30):
                offset += count
        except OSError:
            path.unlink()  # a part would be taken for the whole
            raise
        finally:
            os.close(copy)

    def source(self) -> DataSource:
        """Return the whole contents, to be read from another thread while nothing is written.

        Its `fill` raises `StoppedError` once the spool is closed: the descriptor's number may be another file's.
        """

        def fill(offset: int, room: memoryview) -> int:
            filled = 0
            with self._sending:
                if not self._close.alive:
                    raise StoppedError("the contents were given up while they were sent")
                while filled < len(room) and (count := os.preadv(self._fd, [room[filled:]], offset + filled)):
                    filled += count
            if self.on_read is not None:
                self.on_read(offset + filled)
            return filled

        return DataSource(self.size, fill, lambda: self.unwanted)
