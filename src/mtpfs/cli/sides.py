"""The two sides of a sync: a directory of this machine and one of the phone, which are asked the same questions.

A path is relative to the side's top: `Album/song.mp3`, `""` for the top itself.

A phone has neither links nor devices. So a link to a file counts as the file that it leads to, as with `rsync -L`. A
link to a directory isn't followed: it may lead out of the tree, or around in it. It is something that can't be moved,
and neither can a pipe. What can't be moved still has its name: nothing on the other side is removed because of it.

Unfinished files of mtpfs itself are nobody's, so they are kept apart.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from mtpfs.cli.mounted import HELD
from mtpfs.cli.phones import Phone, Progress
from mtpfs.cli.transfers import is_same_date

PIECE = 1 << 20  # bytes that are compared at once
_PART = re.compile(r"\.(.+)\.mtpfs-[0-9a-f]{16}\.part", re.DOTALL)
_LINK_TO_DIRECTORY = "a link to a directory isn't followed"


class Kind(Enum):
    """What has a name."""

    FILE = auto()
    DIRECTORY = auto()
    OTHER = auto()
    """Something that a sync can neither move nor replace; `Item.why` says it."""


@dataclass(frozen=True, slots=True)
class Item:
    """A name in a directory, and what is there."""

    name: str
    kind: Kind
    size: int = 0
    date: float | None = None
    """Seconds since the epoch; None: not known, or not known yet (see `Side.date`)."""
    why: str = ""

    @property
    def is_dir(self) -> bool:
        return self.kind is Kind.DIRECTORY


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a directory, in the order of names."""

    items: list[Item]
    unfinished: list[Item]
    """Files of mtpfs's own that aren't whole: see `becomes`."""


class Contents(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...


class Side(Protocol):
    """One of the two. All methods raise `OSError`."""

    top: str
    """Where it is, as it is shown."""

    def path(self, inside: str) -> str:
        """Return a path as it is shown, and as errors have it."""

    def listed(self, inside: str) -> Listing:
        """Return what is in a directory."""

    def date(self, inside: str, item: Item) -> float | None:
        """Return the date of an item, if need be by asking for it."""

    def opened(self, inside: str) -> contextlib.AbstractContextManager[Contents]: ...

    def check_removable(self, inside: str) -> None:
        """Raise EBUSY for a directory whose contents are another disk's, and don't go with what is above."""

    def remove(self, inside: str, item: Item) -> None:
        """Remove a file, a link or an empty directory."""

    def mkdir(self, inside: str) -> None:
        """Make a directory. One that is there already is none the worse."""

    def unseen(self) -> int:
        """Return how many things there are that no listing has shown."""

    def check_present(self) -> None:
        """Raise unless what was listed is still within reach: the phone isn't locked, no disk is unmounted."""


def becomes(name: str) -> str:
    """Return the name that an unfinished file is to get; "" for one that isn't mtpfs's."""
    if found := _PART.fullmatch(name):
        return found[1]
    return name.removeprefix(HELD) if name.startswith(HELD) else ""


def joined(inside: str, name: str) -> str:
    """Return the path of a name in a directory."""
    return f"{inside}/{name}" if inside else name


def _listing(items: list[Item]) -> Listing:
    unfinished = [item for item in items if item.kind is Kind.FILE and becomes(item.name)]
    if unfinished:
        items = [item for item in items if item.kind is not Kind.FILE or not becomes(item.name)]
    return Listing(items, unfinished)


class LocalSide:
    """A directory of this machine."""

    def __init__(self, top: str) -> None:
        self.top = top

    def path(self, inside: str) -> str:
        return os.path.join(self.top, inside) if inside else self.top  # noqa: PTH118 - 20,000 of them

    def listed(self, inside: str) -> Listing:
        with os.scandir(self.path(inside)) as found:
            items = [self._item(entry) for entry in found]
        return _listing(sorted(items, key=lambda item: os.fsencode(item.name)))

    @staticmethod
    def _item(entry: os.DirEntry[str]) -> Item:
        try:
            status = entry.stat()
        except OSError as error:
            is_lost = entry.is_symlink() and error.errno == errno.ENOENT
            why = "the link leads nowhere" if is_lost else error.strerror or str(error)
            return Item(entry.name, Kind.OTHER, why=why)
        if stat.S_ISREG(status.st_mode):
            return Item(entry.name, Kind.FILE, status.st_size, status.st_mtime)
        if not stat.S_ISDIR(status.st_mode):
            return Item(entry.name, Kind.OTHER, why="it isn't a file")
        if entry.is_symlink():
            return Item(entry.name, Kind.OTHER, why=_LINK_TO_DIRECTORY)
        return Item(entry.name, Kind.DIRECTORY)

    def date(self, inside: str, item: Item) -> float | None:
        del inside
        return item.date

    @contextlib.contextmanager
    def opened(self, inside: str) -> Iterator[Contents]:
        with Path(self.path(inside)).open("rb", buffering=0) as file:
            yield file

    def check_removable(self, inside: str) -> None:
        path = self.path(inside)
        if os.path.ismount(path):
            raise OSError(errno.EBUSY, "something is mounted there, so it stays", path)

    def remove(self, inside: str, item: Item) -> None:
        (os.rmdir if item.is_dir else os.unlink)(self.path(inside))

    def mkdir(self, inside: str) -> None:
        Path(self.path(inside)).mkdir(parents=not inside, exist_ok=True)

    def unseen(self) -> int:
        return 0

    def check_present(self) -> None:
        os.stat(self.top)  # noqa: PTH116 - a text


class PhoneSide:
    """A directory of the phone."""

    def __init__(self, phone: Phone, top: str) -> None:
        self.phone = phone
        self.top = top
        self._storages = set(top.split("/")[1:2]) - {""}
        """What must be there as long as this is at work."""

    def path(self, inside: str) -> str:
        return f"{self.top.rstrip('/')}/{inside}" if inside else self.top

    def listed(self, inside: str) -> Listing:
        # Some phones tell dates file by file: they are asked for only where there is something to be compared.
        found = self.phone.scandir(self.path(inside), dates=False)
        items = [
            Item(entry.name, Kind.DIRECTORY if entry.is_dir else Kind.FILE, entry.size, entry.modified)
            for entry in found
        ]
        if self.path(inside) == "/":
            self._storages |= {item.name for item in items}
        return _listing(items)

    def date(self, inside: str, item: Item) -> float | None:
        return item.date if item.date is not None else self.phone.stat(self.path(inside)).modified

    def opened(self, inside: str) -> contextlib.AbstractContextManager[Contents]:
        return self.phone.open(self.path(inside))

    def check_removable(self, inside: str) -> None:
        pass

    def remove(self, inside: str, item: Item) -> None:
        del item
        self.phone.remove(self.path(inside))

    def mkdir(self, inside: str) -> None:
        self.phone.mkdir(self.path(inside), parents=not inside, exist_ok=True)

    def unseen(self) -> int:
        return self.phone.unseen

    def check_present(self) -> None:
        if not self._storages <= {each.name for each in self.phone.storages()}:
            raise OSError(errno.ENODEV, "the phone doesn't show it any more: unlock it", self.top)


def copy(source: Side, target: Side, inside: str, replace: bool, progress: Progress) -> None:
    """Move a file to the other side, where it appears whole and with its date."""
    if isinstance(target, PhoneSide):
        path, date = source.path(inside), os.stat(source.path(inside)).st_mtime  # noqa: PTH116
        target.phone.upload(path, target.path(inside), replace=replace, progress=progress)
        _check_date(target, inside, date)
    elif isinstance(source, PhoneSide):
        source.phone.download(
            source.path(inside), target.path(inside), replace=replace, resume=True, progress=progress
        )


def _check_date(target: PhoneSide, inside: str, date: float) -> None:
    """Raise EIO if the phone doesn't show the date that was sent. That is known already, but after a disturbance.

    Where it gives files the date of their arrival, it has to tell that before the other one can be remembered.
    """
    shown = target.phone.stat(target.path(inside)).modified
    if date >= 1 and (shown is None or not is_same_date(date, shown)):
        text = "it is there, but the phone didn't tell its date: it will be sent again"
        raise OSError(errno.EIO, text, target.path(inside))


def have_same_contents(source: Side, target: Side, inside: str) -> bool:
    """Read both files, which are of one size, and tell whether they are the same."""
    with source.opened(inside) as one, target.opened(inside) as other:
        while True:
            data = _piece(one)
            if data != _piece(other):
                return False
            if not data:
                return True


def _piece(file: Contents) -> bytes:
    """Return the next bytes, fewer than `PIECE` only at the end."""
    found = file.read(PIECE)
    while len(found) < PIECE and (more := file.read(PIECE - len(found))):
        found += more
    return found
