"""A phone behind a mount: the operations of `mtpfs.sync.Phone`, by plain system calls on the mount's directory.

Paths are the phone's, with the storage first, also where the mount shows one storage only. Errors are about these
paths. What the mount does by itself isn't done again here: saving, dates, names. Only a file that is written needs
care: if the writer is killed, the kernel closes it, and the mount takes that for its end. So it is written under a
name that the mount holds (`mtpfs.vfs.held`), and gets its own name when it is complete. The device has seen nothing
of it until then.

Invariant: nothing is opened for writing, or emptied, under the name of a file that is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mtpfs.cli.mounts import report
from mtpfs.door.client import DoorClient
from mtpfs.redaction import hide_name
from mtpfs.settings import INFO_NAME, STATISTICS_NAME

if TYPE_CHECKING:
    from mtpfs.library import Entry, Storage
    from mtpfs.library.local import Parts

PIECE = 1 << 20  # bytes of one read(2)
HELD = ".mtpfs-put-"
"""What the name of an unfinished file begins with; see `mtpfs.vfs.held`."""
_TRIES = 3
_LONGEST = 254  # bytes that a name on a phone may have
_KEPT = 200  # bytes of a name that are kept beside a digest

Progress = Callable[[int, int], None]


class MountedPhone:
    """The phone that is mounted on a directory."""

    def __init__(self, mountpoint: str) -> None:
        """Raises `SetupError` if the mount doesn't answer."""
        facts = report(mountpoint, STATISTICS_NAME)
        self.name: str = facts["device"]
        self.mountpoint = mountpoint
        self._only: str = facts.get("storage", "")
        """The storage whose contents are the mount's root; "": all storages are in the root."""
        self._serial: str | None = None
        self._socket = str(facts["process"].get("socket", ""))
        self._client: DoorClient | None = None
        self._has_knocked = False
        self._closed_because = "it has no socket; root's mounts have none, nor those without XDG_RUNTIME_DIR"

    # --- paths -----------------------------------------------------------------------

    def _real(self, path: str) -> str:
        """Return where a path of the phone is on the mount. Raises ENOENT for a storage that the mount doesn't show."""
        parts = [part for part in path.split("/") if part]
        if self._only and parts:
            if parts[0] != self._only:
                raise FileNotFoundError(errno.ENOENT, "the mount doesn't show this storage", path)
            parts = parts[1:]
        elif self._only:
            raise OSError(errno.EACCES, "the top directory can't be changed", path)
        return "/".join([self.mountpoint, *parts])

    def path_of(self, inside: str) -> str:
        """Return what the phone calls something, by where it is below the mount's root."""
        return "/" + "/".join(part for part in (self._only, inside) if part)

    def place_of(self, path: str) -> str:
        """Return where a path of the phone is on this machine."""
        with self._about(path):
            return self._real(path)

    def shows(self, place: str | os.PathLike[str]) -> bool:
        """Tell whether a place of this machine, be it there or not yet, is on this mount: it is the phone's own."""
        device = Path(self.mountpoint).stat().st_dev
        real = Path(os.path.realpath(place))
        for path in (real, *real.parents):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return path.stat().st_dev == device
        return False

    def _inside(self, path: str) -> str:
        """Return where a path of the phone is below the mount's root."""
        return self._real(path).removeprefix(self.mountpoint) or "/"

    def _door(self) -> DoorClient | None:
        """Return a connection to the mount's process; None where it has no socket."""
        if not self._has_knocked:
            self._has_knocked = True
            try:
                if self._socket:
                    self._client = DoorClient(self._socket)
            except OSError as error:
                self._closed_because = error.strerror or str(error)
        return self._client

    def close(self) -> None:
        """Leave the mount's socket, if it was used."""
        if self._client is not None:
            self._client.close()

    @contextlib.contextmanager
    def _about(self, *paths: str) -> Iterator[None]:
        """Have errors be about the phone's paths. Those about files on this machine stay as they are."""
        try:
            yield
        except OSError as error:
            name = error.filename
            if isinstance(name, str) and name != paths[0] and not name.startswith(f"{self.mountpoint}/"):
                raise
            first, second = (*paths, None, None)[:2]
            raise OSError(
                error.errno or errno.EIO, error.strerror or str(error), first, None, second
            ) from error

    # --- looking ---------------------------------------------------------------------

    def storages(self) -> list[Storage]:
        from mtpfs.library.values import Storage  # noqa: PLC0415 - slow to load

        found: dict[str, Storage] = {}
        for facts in report(self.mountpoint, INFO_NAME)["storages"]:
            name = facts["description"] or facts["volume"] or "Storage"
            if self._only and name != self._only:
                continue
            path, number = f"/{name}", 2
            while path in found:
                path, number = f"/{name}~{number}", number + 1
            found[path] = Storage(
                path, path[1:], facts["capacity"], facts["free"], facts["removable"], facts["writable"]
            )
        return list(found.values())

    def stat(self, path: str, *, fresh: bool = False) -> Entry:
        del fresh  # the mount knows what has changed
        if path == "/":
            return self._entry("/", Path(self.mountpoint).stat())
        with self._about(path):
            return self._entry(path, Path(self._real(path)).lstat())

    def scandir(self, path: str = "/", *, dates: bool = True) -> list[Entry]:
        del dates  # the mount asks for what isn't known when it is asked
        if path == "/" and self._only:
            return [self.stat(f"/{self._only}")]
        with self._about(path):
            where = self.mountpoint if path == "/" else self._real(path)
            with os.scandir(where) as found:
                return sorted(
                    (
                        self._entry(f"{path.rstrip('/')}/{each.name}", each.stat(follow_symlinks=False))
                        for each in found
                    ),
                    key=lambda entry: os.fsencode(entry.name),
                )

    @staticmethod
    def _entry(path: str, status: os.stat_result) -> Entry:
        from mtpfs.library.values import Entry  # noqa: PLC0415 - slow to load

        is_dir = (status.st_mode & 0o170000) == 0o040000
        name = path.rpartition("/")[2]
        hide_name(name)
        return Entry(path, name, is_dir, 0 if is_dir else status.st_size, status.st_mtime or None)

    def thumbnail(self, path: str) -> bytes:
        """Return the phone's own thumbnail, by the mount's socket."""
        with self._about(path):
            place = self._inside(path)
            if (door := self._door()) is None:
                raise OSError(errno.EOPNOTSUPP, f"the mount can't be asked for it: {self._closed_because}")
            return door.thumbnail(place)

    @property
    def unseen(self) -> int:
        """How many objects no listing shows, because the phone couldn't describe them."""
        return int(report(self.mountpoint, STATISTICS_NAME)["cache"].get("unseen", 0))

    # --- contents --------------------------------------------------------------------

    def open(self, path: str, mode: str = "rb") -> MountedFile:
        """Open a file: `rb`, `wb`, `xb`."""
        with self._about(path):
            return MountedFile(self, path, mode)

    @cached_property
    def _parts(self) -> Parts:
        from mtpfs.library.local import Parts  # noqa: PLC0415 - slow to load

        return Parts()

    def download(
        self,
        path: str,
        local_path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        replace: bool = False,
        resume: bool = False,
        received: Callable[[bytes | memoryview], object] | None = None,
    ) -> None:
        from mtpfs.library import local  # noqa: PLC0415 - slow to load

        with self._about(path):
            source = os.open(self._real(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.fstat(source)
            size, date = before.st_size, before.st_mtime or None
            key = local.key(self.serial, path, size, date)
            part = self._parts.begin(local_path, key=key, resume=resume, replace=replace, received=received)
            try:
                if part.size > size:
                    part.empty()
                while (done := part.size) < size:
                    with self._about(path):
                        data = os.pread(source, PIECE, done)
                    if not data:
                        break
                    part.append(data)
                    if progress is not None:
                        progress(done + len(data), size)
                after = os.fstat(source)
                if (after.st_size, after.st_mtime) != (before.st_size, before.st_mtime):
                    part.empty()
                    raise OSError(errno.EIO, "it changed while it was fetched", path)
                part.finish(size, date, replace=replace)
            finally:
                self._parts.end(part)
        finally:
            os.close(source)

    @property
    def serial(self) -> str:
        """The phone's serial number, as MTP tells it."""
        if self._serial is None:
            self._serial = str(report(self.mountpoint, INFO_NAME)["serial"])
        return self._serial

    def upload(
        self,
        local_path: str | os.PathLike[str],
        path: str,
        *,
        progress: Progress | None = None,
        replace: bool = False,
    ) -> None:
        from mtpfs.library import local  # noqa: PLC0415 - slow to load

        sent = local.Sent(Path(local_path))
        try:
            with self.open(path, "wb" if replace else "xb") as file:
                done = 0
                while data := os.pread(sent.descriptor, PIECE, done):
                    file.write(data)
                    done += len(data)
                    if progress is not None and done < sent.size:
                        progress(done, sent.size)
                if sent.has_changed():
                    raise OSError(errno.EIO, "it changed while it was sent", os.fspath(local_path))
                file.set_modified(sent.modified)
            if progress is not None:
                progress(sent.size, sent.size)
        finally:
            sent.close()

    # --- changing --------------------------------------------------------------------

    def mkdir(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        with self._about(path):
            Path(self._real(path)).mkdir(parents=parents, exist_ok=exist_ok)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        with self._about(path):
            where = Path(self._real(path))
            if path.count("/") < 2:
                raise OSError(errno.EBUSY, "storages can't be removed", path)
            if not where.is_dir():
                where.unlink()
            elif recursive:
                shutil.rmtree(where)
            else:
                where.rmdir()

    def move(self, source: str, target: str, *, replace: bool = False) -> None:
        """Move; where the phone can't, copy and remove."""
        with self._about(source, target):
            self._check_free(target, replace=replace)
            try:
                os.rename(self._real(source), self._real(target))  # noqa: PTH104
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            else:
                return
        self.copy(source, target, replace=replace)
        self._check_whole(source, target)
        self.remove(source, recursive=True)

    def _check_whole(self, source: str, target: str) -> None:
        """Raise EIO unless a copy has all of it, by names and sizes."""
        from mtpfs.library.values import checked_copy  # noqa: PLC0415 - slow to load

        pending: list[tuple[Entry, Entry | None]] = [(self.stat(source), self.stat(target))]
        while pending:
            entry, copy = pending.pop()
            copy = checked_copy(entry, copy, target)
            if entry.is_dir:
                there = {each.name: each for each in self.scandir(copy.path)}
                pending += [(each, there.get(each.name)) for each in self.scandir(entry.path)]

    def copy(self, source: str, target: str, *, replace: bool = False) -> None:
        """Copy a file or a directory: on the phone itself where it can, else by reading and writing through the mount."""
        entry = self.stat(source)
        if f"{target}/".startswith(f"{source}/"):
            raise OSError(errno.EINVAL, "it can't be copied onto or into itself", source, None, target)
        if self._is_copied_there(source, target):
            return
        if entry.is_dir:
            self.mkdir(target)
            for child in self.scandir(source):
                self.copy(child.path, f"{target}/{child.name}")
            return
        with (
            self.open(source) as reading,
            self.open(target, "wb" if replace else "xb") as writing,
        ):
            while data := reading.read(PIECE):
                writing.write(data)
            if entry.modified is not None:
                writing.set_modified(entry.modified)

    def _is_copied_there(self, source: str, target: str) -> bool:
        """Have the phone copy to a name that is free; tell whether it has."""
        if os.path.lexists(self._real(target)):
            return False
        try:
            with self._about(source, target):
                door = self._door()
                if door is None:
                    return False
                door.copy(self._inside(source), self._inside(target))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return False
        return True

    def _check_free(self, path: str, *, replace: bool) -> None:
        if not replace and os.path.lexists(self._real(path)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


class MountedFile:
    """An open file on the mount. One that is written gets its name when its block ends well."""

    def __init__(self, phone: MountedPhone, path: str, mode: str) -> None:
        self._phone = phone
        self._path = path
        self._replaces = mode == "wb"
        self._where = phone._real(path)  # noqa: SLF001 - the two are one unit
        self._temporary = ""
        if mode == "rb":
            self._fd = os.open(self._where, os.O_RDONLY | os.O_CLOEXEC)
            return
        phone._check_free(path, replace=self._replaces)  # noqa: SLF001
        if os.path.isdir(self._where):  # noqa: PTH112 - a string like any mountpoint
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        directory, _, name = self._where.rpartition("/")
        self._temporary = f"{directory}/{_held_name(name)}"
        self._fd, self._lock = _begun(self._temporary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._phone._about(self._path):  # noqa: SLF001
            if not self._temporary:
                os.close(self._fd)
                return
            try:
                if kind is not None:
                    os.ftruncate(self._fd, 0)  # so that nothing is sent for nothing
                os.close(self._fd)
                if kind is None:
                    self._phone._check_free(self._path, replace=self._replaces)  # noqa: SLF001
                    os.rename(self._temporary, self._where)  # noqa: PTH104
                    self._temporary = ""
            finally:
                if self._temporary:
                    with contextlib.suppress(OSError):  # the phone is away, and the mount drops it
                        os.unlink(self._temporary)  # noqa: PTH108
                os.close(self._lock)

    def read(self, size: int = -1, /) -> bytes:
        with self._phone._about(self._path):  # noqa: SLF001
            if size >= 0:
                return os.read(self._fd, size)
            return b"".join(iter(lambda: os.read(self._fd, PIECE), b""))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return os.lseek(self._fd, offset, whence)

    def write(self, data: bytes, /) -> int:
        view = memoryview(data)
        with self._phone._about(self._path):  # noqa: SLF001
            while view:
                view = view[os.write(self._fd, view) :]
        return len(data)

    def set_modified(self, modified: float) -> None:
        """Give it a date, in seconds since the epoch."""
        with self._phone._about(self._path):  # noqa: SLF001
            nanoseconds = int(modified * 1_000_000_000)
            os.utime(self._fd, ns=(nanoseconds, nanoseconds))


def _held_name(name: str) -> str:
    """Return the name of a file until it is complete; where that would be too long, a digest stands for the rest."""
    data = os.fsencode(name)
    if len(HELD) + len(data) > _LONGEST:
        name = f"{data[:_KEPT].decode(errors='ignore')}-{hashlib.sha256(data).hexdigest()[:16]}"
    return HELD + name


def _begun(path: str) -> tuple[int, int]:
    """Create an unfinished file; return one descriptor to write, and one that is locked as long as it is unfinished.

    What was killed has no lock any more, and is removed. Raises EBUSY while another program is at it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(_TRIES):
        descriptor = lock = -1
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags, 0o600)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who has the lock of what has the name still is the only one that may remove it.
            if os.path.samestat(os.stat(path), os.fstat(lock)):  # noqa: PTH116 - a string like any mountpoint
                if descriptor >= 0:
                    found, descriptor, lock = (descriptor, lock), -1, -1
                    return found
                os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            pass  # another program was faster, and has removed what was killed
        except BlockingIOError:
            break
        finally:
            for each in (descriptor, lock):
                if each >= 0:
                    os.close(each)
    raise OSError(errno.EBUSY, "another program is writing it", path)
