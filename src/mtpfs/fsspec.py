"""A phone for fsspec: `fsspec.filesystem("mtp", source="any")`, and URLs `mtp:///Internal shared storage/DCIM/a.jpg`.

It is a thin face of `mtpfs.sync`. The phone is opened when the filesystem is made, and stays open until `close`, or
until the program ends: fsspec keeps its filesystems, and gives out the same one for the same words. So no other
program can use the phone meanwhile.

What fsspec replaces without being asked (`pipe`, `put`, `copy`), it replaces here, too: that is its way. As everywhere
the old contents stay until the new ones are complete. There is nothing to be cached: the tree knows what is known.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import weakref
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path

from mtpfs import sync

_MODES = {"rb", "wb", "xb", "r+b"}


class MtpFile(io.BufferedIOBase):
    """An open file as fsspec wants it. If its `with` block fails, nothing is saved."""

    def __init__(self, file: sync.File) -> None:
        super().__init__()
        self._file = file
        self.mode = file.mode
        self.path = file.name
        self.size = file.size

    def readable(self) -> bool:
        return self.mode in {"rb", "r+b"}

    def writable(self) -> bool:
        return self.mode != "rb"

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._file.read(io.DEFAULT_BUFFER_SIZE if size < 0 else size)

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, data: Any, /) -> int:
        return self._file.write(memoryview(data).cast("B"))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        return self._file.truncate(size)

    def close(self) -> None:
        if not self.closed:
            try:
                self._file.close()
            finally:
                super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.__exit__(kind, error, trace)
        self.close()


class MtpFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """A phone. Paths are absolute, with the storage first. Errors are those of `mtpfs.Phone`."""

    protocol = "mtp"
    root_marker = "/"
    use_listings_cache = False

    def __init__(
        self,
        source: str = "any",
        *,
        read_only: bool = False,
        auto_mkdir: bool = False,
        **storage_options: Any,
    ) -> None:
        """Open the phone: see `mtpfs.connect` for `source`, `read_only` and what is raised.

        `auto_mkdir`: make the directories above a file that is opened for writing, as fsspec's local filesystem does.
        """
        super().__init__(source=source, read_only=read_only, auto_mkdir=auto_mkdir, **storage_options)
        self._auto_mkdir = auto_mkdir
        stack = contextlib.ExitStack()
        self._phone = stack.enter_context(sync.connect(source, read_only=read_only))
        self._close = weakref.finalize(self, stack.close)

    def close(self) -> None:
        """Let go of the phone. fsspec makes a new filesystem the next time."""
        self._close()
        self.clear_instance_cache()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = stringify_path(path).removeprefix("mtp://")
        return "/" + text.strip("/")

    def unstrip_protocol(self, name: str) -> str:
        return f"mtp://{self._strip_protocol(name)}"

    # --- looking ---

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return _facts(self._phone.stat(self._strip_protocol(path)))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        entry = self._phone.stat(path)
        found = [_facts(each) for each in (self._phone.scandir(path) if entry.is_dir else [entry])]
        return found if detail else [facts["name"] for facts in found]

    def modified(self, path: str) -> datetime:
        """Return the date of a file. Raises ENODATA where it isn't known."""
        path = self._strip_protocol(path)
        entry = self._phone.stat(path)
        if entry.modified is None:
            raise OSError(errno.ENODATA, "its date isn't known", path)
        return datetime.fromtimestamp(entry.modified, UTC)

    # --- contents ---

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> MtpFile:
        if mode not in _MODES:
            raise ValueError(f"mode {mode!r} isn't one of {', '.join(sorted(_MODES))}")
        if not kwargs.get("autocommit", True):
            raise NotImplementedError("a phone knows no transactions")
        path = self._strip_protocol(path)
        if self._auto_mkdir and mode in {"wb", "xb"}:
            self.makedirs(self._parent(path), exist_ok=True)
        return MtpFile(self._phone.open(path, mode))

    def get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: Any = None,
        **kwargs: Any,
    ) -> None:
        """Fetch a file with its date, or make a directory; see `mtpfs.Phone.download`."""
        if outfile is not None or not isinstance(lpath, str | os.PathLike):
            super().get_file(rpath, lpath, callback=callback, outfile=outfile, **kwargs)
            return
        path = self._strip_protocol(rpath)
        if self._phone.stat(path).is_dir:
            os.makedirs(lpath, exist_ok=True)  # noqa: PTH103 - fsspec hands over strings
            return
        if parent := os.path.dirname(lpath):  # noqa: PTH120
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103
        self._phone.download(
            path, cast("str | os.PathLike[str]", lpath), replace=True, progress=_progress(callback)
        )

    def put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **kwargs: Any,
    ) -> None:
        """Send a file with its date, or make a directory; see `mtpfs.Phone.upload`."""
        path = self._strip_protocol(rpath)
        if os.path.isdir(lpath):  # noqa: PTH112
            self.makedirs(path, exist_ok=True)
            return
        self.makedirs(self._parent(path), exist_ok=True)
        self._phone.upload(lpath, path, replace=mode != "create", progress=_progress(callback))

    # --- changing ---

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        self._phone.mkdir(self._strip_protocol(path), parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._phone.mkdir(self._strip_protocol(path), parents=True, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        path = self._strip_protocol(path)
        if not self._phone.stat(path).is_dir:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        self._phone.remove(path)

    def _rm(self, path: str) -> None:
        self._phone.remove(self._strip_protocol(path))

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file, on the phone itself where it can, or make a directory."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self._phone.stat(source).is_dir:
            self.makedirs(target, exist_ok=True)
            return
        self.makedirs(self._parent(target), exist_ok=True)
        self._phone.copy(source, target, replace=True)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Create an empty file; with `truncate` empty one that is there. A date alone can't be set."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"")


def _facts(entry: sync.Entry) -> dict[str, Any]:
    return {
        "name": entry.path,
        "size": entry.size,
        "type": "directory" if entry.is_dir else "file",
        "mtime": entry.modified,
    }


def _progress(callback: Callback) -> Any:
    def tell(done: int, size: int) -> None:
        callback.set_size(size)
        callback.absolute_update(done)

    return tell
