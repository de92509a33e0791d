"""Remembered dates: those that programs set and the device can't take.

A phone takes a date with the contents and at no other time. But GIO programs, `touch`, unzip and others set the
date after the file is closed, and rsync copies all again if the date isn't there at the next mount. So the mount
remembers the date, cut to whole seconds, and shows it in place of the device's own.

A record says which file it is about: its path, and the size and the device's own date at the time. If either
differs, the file was changed outside of this mount, and the record is void. A change through this mount may leave
both as they were, so the code that writes calls `remove`.

In memory the records are leaves of a tree of names. So a directory moves with all that is below it by one link. To
remove a file takes as many steps as its path has names, however many other records there are. `rm -r` of 10,000
files costs no more than 10,000 times that. A second dictionary has the records in order of age, because their
number is bounded.

On disk there is one log for each device: in $XDG_STATE_HOME/mtpfs, else below the home in the password database
(mount(8) leaves no HOME), else nowhere. Its lines are JSON and are only added, so a kill leaves all but the last one
whole. The next writer begins a new line. When most lines are out of date, a new log with the others takes its place
by a rename. A writer locks the log, and reads it again before it replaces it, so that two mounts of one device
don't destroy each other's records. Nothing is synced to disk: if the power fails, some dates are forgotten, at
worst all. A record that comes back from before finds another size or date, and is void.

Invariant: no error here is an error of the mount; without a log everything is remembered for as long as the mount
lasts. No symbolic link is followed. Nothing is written to a directory or a file that belongs to another user.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import trio

from mtpfs import state

log = logging.getLogger(__name__)

LIMIT = 1 << 16  # records of one device; each takes some 100 bytes on disk and 500 in memory
_SLACK = 1024  # lines that may be out of date before a log is worth writing anew
_LARGEST_LOG = 256 << 20  # bytes; what is larger isn't ours, or is damaged
_LONGEST_LINE = 1 << 20  # bytes; likewise
_PATIENCE = 5.0  # seconds for another mount to let go of the log; it takes milliseconds
_LOADING = 10.0  # seconds to read it: a home on a server that is away must not keep the phone from being used
_SECONDS = range(-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class _Record:
    size: int
    device_date: float | None
    date: int


class _Node:
    """A name below another. It is there as long as it, or a name below it, has a record."""

    __slots__ = ("below", "name", "parent", "record")

    def __init__(self, parent: _Node | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.below: dict[str, _Node] = {}
        self.record: _Record | None = None

    def path(self) -> str:
        names = []
        node = self
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return "/".join(reversed(names))


class _Tree:
    """The records. Methods that change it tell whether anything changed."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._root = _Node(None, "")
        self._ages: dict[_Node, None] = {}  # every node with a record, oldest first

    def __len__(self) -> int:
        return len(self._ages)

    def __iter__(self) -> Iterator[tuple[str, _Record]]:
        """Oldest first."""
        for node in self._ages:
            assert node.record is not None
            yield node.path(), node.record

    def get(self, path: str) -> _Record | None:
        node = self._find(path)
        return node.record if node else None

    def set(self, path: str, record: _Record) -> bool:
        node = self._root
        for name in path.split("/"):
            node = node.below.setdefault(name, _Node(node, name))
        if node.record == record:
            return False
        self._ages.pop(node, None)  # it is young again
        self._ages[node] = None
        node.record = record
        if len(self._ages) > self._limit:
            self._forget(next(iter(self._ages)))
        return True

    def void(self, path: str) -> bool:
        """Drop the record of just this path."""
        node = self._find(path)
        if node is None or node.record is None:
            return False
        self._forget(node)
        return True

    def remove(self, path: str) -> bool:
        """Drop the records of this path and of all below it."""
        node = self._take_out(path)
        if node is None:
            return False
        nodes = [node]
        while nodes:  # not by recursion: a damaged log may have very deep paths
            node = nodes.pop()
            self._ages.pop(node, None)
            nodes.extend(node.below.values())
        return True

    def move(self, old: str, new: str) -> bool:
        """Move all records at and below `old` to `new`. Those that `new` had are dropped."""
        if old == new:
            return False
        node = self._take_out(old)
        changed = self.remove(new)
        if node is None:
            return changed
        parent = self._root
        *directories, name = new.split("/")
        for directory in directories:
            parent = parent.below.setdefault(directory, _Node(parent, directory))
        node.parent, node.name = parent, name
        parent.below[name] = node
        return True

    def _find(self, path: str) -> _Node | None:
        node: _Node | None = self._root
        for name in path.split("/"):
            if node is None:
                break
            node = node.below.get(name)
        return node

    def _forget(self, node: _Node) -> None:
        node.record = None
        del self._ages[node]
        self._prune(node)

    def _take_out(self, path: str) -> _Node | None:
        node = self._find(path)
        if node is not None:
            assert node.parent is not None
            del node.parent.below[node.name]
            self._prune(node.parent)
        return node

    def _prune(self, node: _Node) -> None:
        while node.parent is not None and node.record is None and not node.below:
            del node.parent.below[node.name]
            node = node.parent


# The lines of a log. Each is a JSON list: what is done, and to what. Others are left out when it is
# read, so that an older mtpfs can use a newer one's log.


def _line(*fields: str | float | None) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _set_line(path: str, record: _Record) -> bytes:
    return _line("set", path, record.size, record.device_date, record.date)


def _apply(tree: _Tree, line: bytes) -> None:
    """Do what a line says. Raises `ValueError` if it says nothing that we know."""
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise ValueError("too deep") from error
    match fields:
        case ["set", str(path), int(size), float() | int() | None as device_date, int(date)] if (
            date in _SECONDS
        ):
            tree.set(path, _Record(size, device_date, date))
        case ["void", str(path)]:
            tree.void(path)
        case ["remove", str(path)]:
            tree.remove(path)
        case ["move", str(old), str(new)]:
            tree.move(old, new)
        case _:
            raise ValueError("unknown")


class _Log:
    """One device's log. Everything here may block; errors are `OSError`."""

    def __init__(self, directory: int, name: str, limit: int) -> None:
        """`directory` is an open descriptor, and the log's from now on."""
        self._directory = directory
        self._name = name
        self._limit = limit
        self._lines = 0  # that are known to be in it

    def close(self) -> None:
        os.close(self._directory)

    def read(self) -> _Tree:
        try:
            descriptor = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return _Tree(self._limit)
        try:
            tree = self._replay(descriptor)
        finally:
            os.close(descriptor)
        if self._is_stale(tree):
            try:
                with self._locked() as descriptor:
                    self._tidy(descriptor)
            except OSError as error:  # a log that can't be written is still worth reading
                log.debug("a log of dates can't be written anew: %s", error)
        return tree

    def append(self, lines: Iterable[bytes]) -> None:
        new = list(lines)
        with self._locked() as descriptor:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                new.insert(0, b"\n")  # a kill or a full disk has cut the last one
            _write(descriptor, b"".join(new))
            self._lines += len(new)
            if self._lines > 2 * self._limit + _SLACK:
                try:
                    self._tidy(descriptor)
                except OSError as error:  # what was to be saved is saved
                    log.debug("a log of dates can't be written anew: %s", error)
                    self._lines = 0  # try again after as many lines more

    def _is_stale(self, tree: _Tree) -> bool:
        return self._lines > 2 * len(tree) + _SLACK

    def _tidy(self, descriptor: int) -> None:
        """Write the log anew if most of it is out of date. It is locked."""
        tree = self._replay(descriptor)  # not our own records: another mount's lines may be among them
        if not self._is_stale(tree):
            return
        name = f"{self._name}.new"
        with contextlib.suppress(FileNotFoundError):  # one that a kill has left; the lock keeps others out
            os.unlink(name, dir_fd=self._directory)
        new = self._open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, name)
        try:
            _write(new, b"".join(_set_line(path, record) for path, record in tree))
        finally:
            os.close(new)
        os.rename(name, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        log.debug("the log of dates had %d lines, now it has %d", self._lines, len(tree))
        self._lines = len(tree)

    def _replay(self, descriptor: int) -> _Tree:
        tree = _Tree(self._limit)
        self._lines = 0
        if os.fstat(descriptor).st_size > _LARGEST_LOG:
            self._lines = _LARGEST_LOG  # more than enough for it to be written anew
            log.warning("a log of dates was too large, and is begun anew")
            return tree
        with open(os.dup(descriptor), "rb") as file:  # noqa: PTH123 - a descriptor isn't a path
            file.seek(0)
            while line := file.readline(_LONGEST_LINE):
                self._lines += 1
                try:
                    _apply(tree, line)
                except ValueError as error:  # JSON's and Unicode's are such
                    log.debug("line %d of a log of dates is left out: %s", self._lines, error)
        return tree

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the log and lock it. It is made if it is missing."""
        while True:
            descriptor = self._open(os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                _lock(descriptor)
                if self._is_the_log(descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _is_the_log(self, descriptor: int) -> bool:
        """Tell whether it still has its name: another mount may have written it anew while we waited."""
        try:
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(status, os.fstat(descriptor))

    def _open(self, flags: int, name: str | None = None) -> int:
        # O_NONBLOCK: a named pipe in its place is an error, and not an endless wait.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name or self._name, flags, 0o600, dir_fd=self._directory)
        return state.private(descriptor, stat.S_ISREG, 0o600, "the log of dates isn't a file of ours")


def _lock(descriptor: int) -> None:
    """Wait for the lock. Raises `BlockingIOError` after `_PATIENCE`: a stopped process must not stop us too."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(0.01)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_log(name: str, limit: int) -> tuple[_Log | None, _Tree]:
    for place in state.directories():
        try:
            directory = state.open_directory(place)
        except OSError as error:
            log.info("dates can't be remembered in %s: %s", place, error)
            continue
        found = _Log(directory, name, limit)
        try:
            return found, found.read()
        except OSError as error:
            log.info("dates can't be remembered in %s: %s", place, error)
            found.close()
    log.info("dates that programs set are remembered only until this mount ends")
    return None, _Tree(limit)


class RememberedDates:
    """The remembered dates of one device.

    A `path` is `storage/directory/name`, as the device has it. `open`, `load`, `until_loaded`, `flush` and
    `close` may wait. The other methods work in memory and at once, and must not be called before `until_loaded` has
    returned. Changes are on disk after `flush`, which costs one write for all of them. What isn't flushed takes memory
    and is lost by a kill, so flush once in a while.
    """

    def __init__(self, identity: str | None = None, *, limit: int = LIMIT) -> None:
        """Remember dates of the device called `identity`, once `load` has run. None: in memory only."""
        self._identity = identity
        self._limit = limit
        self._loaded = trio.Event()
        if identity is None:
            self._loaded.set()
        self._tree = _Tree(limit)
        self._log: _Log | None = None
        self._unsaved: list[bytes] = []
        self._saving = trio.Lock()  # guards _log and the order of lines in it
        self._warned = False

    @classmethod
    async def open(cls, identity: str, *, limit: int = LIMIT) -> Self:
        """Read what is remembered of a device, and wait for that."""
        dates = cls(identity, limit=limit)
        await dates.load()
        return dates

    async def load(self) -> None:
        """Read the log, in a thread. A mount doesn't wait for it, but listings do. Call it once, if there is an
        identity.

        After 10 s it gives up. Then dates are remembered in memory only.
        """
        assert self._identity is not None
        # The name tells nothing about the device or its owner.
        digest = hashlib.blake2b(
            self._identity.encode("utf-8", "surrogatepass"), digest_size=12, person=b"mtpfs dates"
        )
        try:
            with trio.move_on_after(_LOADING) as scope:
                self._log, self._tree = await trio.to_thread.run_sync(
                    _open_log, digest.hexdigest(), self._limit, abandon_on_cancel=True
                )
            if scope.cancelled_caught:
                log.warning("the log of dates can't be read within %g s; it isn't used", _LOADING)
        finally:
            self._loaded.set()

    async def until_loaded(self) -> None:
        """Wait until dates can be asked for."""
        await self._loaded.wait()

    def __len__(self) -> int:
        return len(self._tree)

    def get(self, path: str, size: int, device_date: float | None) -> float | None:
        """Return the date to show, or None for the device's own.

        `size` and `device_date` are the device's now. If they aren't those at the time the date was
        set, the record is dropped: so a date that isn't known yet must be asked for first. None is
        for a device that tells none.
        """
        record = self._tree.get(path)
        if record is None:
            return None
        if (record.size, record.device_date) != (size, device_date):
            self._tree.void(path)
            self._note(_line("void", path))
            return None
        return float(record.date)

    def set(self, path: str, size: int, device_date: float | None, date: float) -> None:
        """Remember `date`, cut to whole seconds, while the device tells this size and this date of its own."""
        record = _Record(size, device_date, math.floor(date))
        if self._tree.set(path, record):
            self._note(_set_line(path, record))

    def void(self, path: str) -> None:
        """Forget the date of a directory, and not what is below: something was added to it, or taken away."""
        if self._tree.void(path):
            self._note(_line("void", path))

    def move(self, old: str, new: str) -> None:
        """Follow a rename or a move of a file, or of a directory with all below. What `new` had is forgotten."""
        if self._tree.move(old, new):
            self._note(_line("move", old, new))

    def remove(self, path: str) -> None:
        """Forget a file, or a directory with all below: it is removed or written to."""
        if self._tree.remove(path):
            self._note(_line("remove", path))

    async def flush(self) -> None:
        """Bring all changes to the log. What can't be written is remembered until the mount ends."""
        async with self._saving:
            if self._log is None or not self._unsaved:
                return
            lines, self._unsaved = self._unsaved, []
            try:
                await trio.to_thread.run_sync(self._log.append, lines)
            except OSError as error:
                log.log(
                    logging.DEBUG if self._warned else logging.WARNING,
                    "dates that programs set can't be saved: %s",
                    error,
                )
                self._warned = True

    async def close(self) -> None:
        """Flush, and let go of the log, also when cancelled. What is set later stays in memory."""
        with trio.CancelScope(shield=True):  # one short write
            await self.flush()
            async with self._saving:
                if self._log is not None:
                    self._log.close()
                    self._log = None

    def _note(self, line: bytes) -> None:
        if self._log is not None:
            self._unsaved.append(line)
