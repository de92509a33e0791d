"""Fetching what is new, and giving it its name.

A file arrives in a hidden directory below the one that is given, on the same disk. There it is read when it was
taken. It gets its name when it is whole, has its date, and is safe on the disk. Only then is it remembered. So an
import that is broken off anywhere leaves whole files, and parts in the hidden directory, which the next import goes
on with.

The hidden directory belongs to one phone, and to one start of this machine: what lies there after a loss of power may
have holes, and is thrown away.

A group is fetched before it is named, because all of it goes to one directory, and gets one number if names are
taken. If some of it can't be fetched, the rest is imported, and what comes later follows.

Invariant: nothing is named that isn't whole; nothing is replaced; what has failed isn't remembered.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mtpfs.cli.bar import Bar
from mtpfs.cli.files import GONE, Run
from mtpfs.cli.importing.finding import Item
from mtpfs.cli.importing.memory import Memory, Record, identity
from mtpfs.cli.importing.plan import Planned, State
from mtpfs.cli.importing.shelf import HIDDEN, Shelf, hash_of, read_date
from mtpfs.cli.importing.telling import Status, Teller
from mtpfs.errors import MtpfsError
from mtpfs.pictures.kinds import numbered
from mtpfs.pictures.taken import Taken

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FULL = {errno.EDQUOT, errno.EROFS}
"""With these nothing more can be written here.

A file for which there is no room is another matter: smaller ones may fit.
"""


class _Received:
    """The bytes of a file, as they come."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._count = 0

    def add(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._count += len(data)

    def digest(self, size: int) -> str:
        """Return the hash of the file; "": some of it was here before."""
        return self._digest.hexdigest() if self._count == size else ""


@dataclass(slots=True)
class _Arrived:
    """A file that is here, and has no name yet."""

    item: Item
    path: Path
    digest: str
    taken: Taken

    def is_in(self, path: Path) -> bool:
        """Tell whether what has a name has the same contents."""
        try:
            if not path.is_file() or path.stat().st_size != self.path.stat().st_size:
                return False
            return hash_of(path) == (self.digest or hash_of(self.path))
        except FileNotFoundError:
            return False


class Bringer:
    """Brings groups over. Made by `bringer`."""

    def __init__(self, run: Run, shelf: Shelf, memory: Memory, teller: Teller, hidden: Path) -> None:
        self._run = run
        self._shelf = shelf
        self._memory = memory
        self._teller = teller
        self._hidden = hidden

    def bring(self, groups: list[list[Planned]]) -> bool:
        """Bring over what is new; tell whether everything was tried. Raises nothing that is about one file."""
        new = [planned.item for group in groups for planned in group if planned.state is State.NEW]
        bar = Bar(len(new), sum(item.size for item in new))
        self._run.before_line = bar.clear
        self._throw_away(new)
        try:
            for group in groups:
                wanted = [planned for planned in group if planned.state is State.NEW]
                if not self._bring(group, wanted, bar):
                    self._teller.break_off(sum(each.state is State.NEW for group in groups for each in group))
                    return False
        finally:
            bar.clear()
        return True

    def _bring(self, group: list[Planned], wanted: list[Planned], bar: Bar) -> bool:
        """Bring over what is new of a group; tell whether anything more makes sense."""
        arrived: list[_Arrived] = []
        is_over = False
        for planned in wanted:
            item = planned.item
            is_here = False
            bar.start(item.name, item.size)
            try:
                arrived.append(self._fetched(item, bar))
                is_here = True
            except (OSError, MtpfsError) as error:
                planned.state = State.FAILED
                self._teller.fail(item, error)
                is_over = error.errno in GONE | _FULL
            finally:
                bar.end(moved=is_here)
            if is_over:
                break
        if arrived:
            self._name(group, arrived)
        return not is_over

    # --- fetching --------------------------------------------------------------------

    def _hidden_name(self, item: Item) -> str:
        """Return the name under which a file arrives. It belongs to path, size and date."""
        return hashlib.sha256(repr(item.key).encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def _throw_away(self, wanted: list[Item]) -> None:
        """Remove what an earlier import has left and nobody wants any more."""
        names = {self._hidden_name(item) for item in wanted}
        for path in self._hidden.iterdir():
            if not any(name in path.name for name in names):
                path.unlink()

    def _fetched(self, item: Item, bar: Bar) -> _Arrived:
        """Fetch a file, and read when it was taken. Raises what keeps it from arriving."""
        name = self._hidden_name(item)
        path = self._hidden / name
        left = [each for each in self._hidden.iterdir() if name in each.name]
        if self._run.chosen.delete:
            # What was here before has not come under our eyes: it proves nothing.
            for each in left:
                each.unlink()
            left = []
        received = _Received()
        try:
            if path in left:  # it was whole, and only its name was missing
                for each in left:
                    if each != path:
                        each.unlink()
            if not path.exists():
                self._check_room(item, left)
                self._run.phone.download(
                    item.path,
                    path,
                    progress=bar.advance,
                    resume=not self._run.chosen.delete,
                    received=received.add,
                )
            size = path.stat().st_size
            if size != item.size:
                path.unlink()
                raise OSError(errno.EIO, f"{size} bytes came, and {item.size} were listed", item.path)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                self._make_room(name)
            raise self._about(error, item) from error
        return _Arrived(item, path, received.digest(size), read_date(path, item))

    def _check_room(self, item: Item, left: list[Path]) -> None:
        """Raise ENOSPC at once if a file can't fit. Some disks don't tell their room."""
        room = os.statvfs(self._hidden)
        free = room.f_bavail * room.f_frsize + sum(path.stat().st_size for path in left if path.exists())
        if room.f_blocks and free < item.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), item.path)

    def _make_room(self, name: str) -> None:
        """Remove a part that can't become whole, so that smaller files fit."""
        for path in self._hidden.iterdir():
            if name in path.name:
                with contextlib.suppress(OSError):  # what matters is told already
                    path.unlink()

    def _about(self, error: OSError, item: Item) -> OSError:
        """Return an error as one about the file on the phone: nobody knows the hidden one."""
        name = error.filename
        if name is not None and str(self._hidden) not in os.fsdecode(name):
            return error
        return OSError(error.errno or errno.EIO, error.strerror or str(error), item.path)

    # --- naming ----------------------------------------------------------------------

    def _name(self, group: list[Planned], arrived: list[_Arrived]) -> None:
        """Give files of one group their names, and remember them. What can't be named has failed."""
        waiting = list(arrived)
        try:
            directory, number = self._shelf.home(self._siblings(group)) or (
                self._shelf.place_of({each.item: each.taken for each in arrived}),
                1,
            )
            _make(directory)
            while waiting:
                while any(not self._fits(each, directory, number) for each in waiting):
                    number += 1
                try:
                    while waiting:
                        self._name_one(group, waiting[0], directory, number)
                        waiting.pop(0)
                except FileExistsError:  # another program was faster
                    number += 1
        except (OSError, MtpfsError) as error:
            for each in waiting:
                next(planned for planned in group if planned.item is each.item).state = State.FAILED
                self._teller.fail(each.item, _named(error, each.item))
                with contextlib.suppress(OSError):  # else it is in the way of nothing but room
                    each.path.unlink(missing_ok=True)

    def _siblings(self, group: list[Planned]) -> Iterator[tuple[str, Path]]:
        """Yield what is here of a group, by the names on the phone: also what isn't there any more."""
        for planned in group:
            if planned.target is not None:
                yield planned.item.name, planned.target
        for planned in group:
            for name, file in self._memory.siblings(planned.item.key):
                yield name, Path(file)

    @staticmethod
    def _fits(each: _Arrived, directory: Path, number: int) -> bool:
        target = directory / numbered(each.item.name, number)
        return not os.path.lexists(target) or each.is_in(target)

    def _name_one(self, group: list[Planned], each: _Arrived, directory: Path, number: int) -> None:
        target = directory / numbered(each.item.name, number)
        if os.path.lexists(target) and each.is_in(target):
            each.path.unlink()  # it is here: one copy is enough
        else:
            _name_if_free(each.path, target)
        _sync_directory(directory)
        planned = next(planned for planned in group if planned.item is each.item)
        planned.target, planned.state = target, State.BEFORE
        self._memory.add(each.item.key, Record(str(target), each.digest))
        self._teller.tell(each.item, Status.DONE, target, taken=each.taken)


@contextmanager
def bringer(run: Run, shelf: Shelf, memory: Memory, teller: Teller) -> Iterator[Bringer]:
    """Have what brings files over. What isn't needed any more of its hidden directory is removed at the end."""
    start = f"{HIDDEN}{identity(run.phone)}-"
    boot = hashlib.sha256(_BOOT.read_bytes() if _BOOT.exists() else b"").hexdigest()[:8]
    hidden = shelf.directory / f"{start}{boot}"
    for path in shelf.directory.iterdir():
        if path.name.startswith(start) and path != hidden:
            shutil.rmtree(path)
    hidden.mkdir(mode=0o700, exist_ok=True)
    try:
        yield Bringer(run, shelf, memory, teller, hidden)
    finally:
        with contextlib.suppress(OSError):  # there is something in it, for the next time
            hidden.rmdir()


def _name_if_free(path: Path, target: Path) -> None:
    """Give a file its name, also where that is on another disk. Raises EEXIST if there is something of that name."""
    from mtpfs.library.local import name_if_free  # noqa: PLC0415 - slow to load

    try:
        name_if_free(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    copy = target.with_name(f"{HIDDEN}{path.name}")
    copy.unlink(missing_ok=True)  # of one that was killed; it may have its name already
    try:
        shutil.copy2(path, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        name_if_free(copy, target)
    finally:
        copy.unlink(missing_ok=True)
    path.unlink()


def _named(error: OSError | MtpfsError, item: Item) -> OSError | MtpfsError:
    """Return an error with the name of the file that couldn't be named."""
    if isinstance(error, OSError) and error.filename is not None:
        return OSError(
            error.errno or errno.EIO, error.strerror or str(error), item.path, None, error.filename
        )
    return error


def _make(directory: Path) -> None:
    """Make a directory and those above it, so that they are there after a loss of power."""
    missing = [directory, *directory.parents]
    missing = missing[: next(number for number, path in enumerate(missing) if path.exists())]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_directory(path.parent)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))


def _sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise  # some disks can't be asked to
    finally:
        os.close(descriptor)
