"""An open file on the phone, as programs use it.

It is one descriptor of the vfs with a position. Reads go through the read-ahead windows, writes into the spool or the
edit, as on the mount. The end differs: a program that closes hears of the error itself. So nothing is kept for later,
and a block that fails saves nothing (`Filesystem.conclude`).

Invariant: the descriptor is closed exactly once, however the end comes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mtpfs.library.errors import about
from mtpfs.vfs import Filesystem, Open

PIECE = 1 << 20  # bytes of one request to the windows, which are read ahead while it is handled


class File:
    """An open file. Made by `Phone.open`; `async with` closes it. For one task at a time.

    All methods raise `OSError` with the file's path. A read that is cancelled can be done again. A write that is
    cancelled may have been done.
    """

    def __init__(
        self,
        fs: Filesystem,
        opened: Open,
        path: str,
        mode: str,
        *,
        is_new: bool,
        ended: Callable[[File], None],
    ) -> None:
        self.name = path
        """The path that it was opened by."""
        self.mode = mode
        self._fs = fs
        self._opened: Open | None = opened
        self._is_new = is_new
        self._ended = ended
        self._position = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.aclose()
        else:
            await self._end(keep=False)

    @property
    def closed(self) -> bool:
        """Whether it can't be used any more."""
        return self._opened is None

    @property
    def size(self) -> int:
        """Bytes, as far as is known here; what was written counts."""
        return self._descriptor().file.node.size

    def _descriptor(self, *, writes: bool = False) -> Open:
        if self._opened is None:
            raise OSError(errno.EBADF, "the file is closed", self.name)
        if writes and not self._opened.writes:
            raise OSError(errno.EBADF, "the file is open for reading only", self.name)
        return self._opened

    async def read(self, size: int = -1) -> bytes:
        """Return `size` bytes from the position on, fewer only at the end of the file; -1: all that is left."""
        opened = self._descriptor()
        if self.mode in {"wb", "xb"}:
            raise OSError(errno.EBADF, "the file is open for writing only", self.name)
        pieces: list[bytes | memoryview] = []
        left = size
        while left:
            count = PIECE if left < 0 else min(left, PIECE)
            with about(self.name):
                piece = await self._fs.read(opened, self._position, count)
            pieces.append(piece)
            self._position += len(piece)
            left -= len(piece) if left > 0 else 0
            if len(piece) < count:
                break
        return b"".join(pieces)

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of `data` at the position; return how many bytes that is.

        The phone has it when the file is closed, or after `sync`. Raises ENOSPC, and what the phone refuses.
        """
        opened = self._descriptor(writes=True)
        written = bytes(data)
        with about(self.name):
            await self._fs.write(opened, self._position, written)
        self._position += len(written)
        return len(written)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, and return it. Raises EINVAL for one before the start."""
        base = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: self.size if whence == os.SEEK_END else 0,
        }.get(whence)
        if base is None or base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position, in bytes from the start."""
        return self._position

    async def truncate(self, size: int | None = None) -> int:
        """Set the size in bytes (None: up to the position), and return it. The position stays."""
        opened = self._descriptor(writes=True)
        wanted = self._position if size is None else size
        with about(self.name):
            await self._fs.truncate(opened.file.node, wanted, opened)
        return wanted

    async def set_modified(self, modified: float) -> None:
        """Give the file a date (seconds since the epoch): with its contents, if they aren't sent yet."""
        opened = self._descriptor(writes=True)
        with about(self.name):
            await self._fs.set_modified(opened.file.node, modified)

    async def sync(self) -> None:
        """Bring what was written to the phone. Raises what keeps it from arriving; it can be tried again then."""
        opened = self._descriptor(writes=True)
        with about(self.name):
            await self._fs.sync(opened)

    async def aclose(self) -> None:
        """Bring what was written to the phone, and close. A second call does nothing.

        Raises what keeps it from arriving. Then, and if it is cancelled, the phone has what it had before: a new file
        is gone, another one has its old contents. (What was changed in place, with `r+b`, may be changed in part.)
        """
        await self._end(keep=True)

    async def _end(self, *, keep: bool) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        try:
            with about(self.name):
                await self._fs.conclude(opened, is_new=self._is_new, keep=keep)
        finally:
            self._ended(self)
