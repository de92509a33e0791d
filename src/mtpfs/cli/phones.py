"""The phone that a file command works on: over the cable, or through the mount that holds it.

`Phone` is what commands need of either. `mtpfs.sync.Phone` has all of it. A phone that is mounted can't be opened a
second time, so its mount's directory stands for it (`mtpfs.cli.mounted`).

Invariant: no phone is opened before a mount of it was looked for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from mtpfs.cli.list import mounted_places, rows
from mtpfs.cli.mounted import MountedPhone
from mtpfs.cli.mounts import KIND, is_dead, mounts, report
from mtpfs.errors import SetupError, UsageError
from mtpfs.settings import STATISTICS_NAME
from mtpfs.transport.source import Source, parse_source

if TYPE_CHECKING:
    from mtpfs.library import Entry, Storage

Progress = Callable[[int, int], None]


class File(Protocol):
    """An open file. If its block fails, what was written is dropped."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def write(self, data: bytes, /) -> int: ...


class Phone(Protocol):
    """A phone by paths, as `mtpfs.sync.Phone` has it. All raise `OSError`."""

    @property
    def name(self) -> str: ...

    @property
    def unseen(self) -> int: ...

    def storages(self) -> Sequence[Storage]: ...

    @property
    def serial(self) -> str: ...

    def stat(self, path: str, *, fresh: bool = False) -> Entry: ...

    def scandir(self, path: str = "/", *, dates: bool = True) -> list[Entry]: ...

    def thumbnail(self, path: str) -> bytes: ...

    def open(self, path: str, mode: str = "rb") -> File: ...

    def download(
        self,
        path: str,
        local_path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        replace: bool = False,
        resume: bool = False,
        received: Callable[[bytes | memoryview], object] | None = None,
    ) -> None: ...

    def upload(
        self,
        local_path: str | os.PathLike[str],
        path: str,
        *,
        progress: Progress | None = None,
        replace: bool = False,
    ) -> None: ...

    def mkdir(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None: ...

    def remove(self, path: str, *, recursive: bool = False) -> None: ...

    def move(self, source: str, target: str, *, replace: bool = False) -> None: ...

    def copy(self, source: str, target: str, *, replace: bool = False) -> None: ...


@contextlib.contextmanager
def opened(text: str) -> Iterator[Phone]:
    """Have the phone that a source means. Raises `OSError`, `SetupError`."""
    source = parse_source(text).absolute()
    if mountpoint := _mountpoint(source):
        with contextlib.closing(MountedPhone(mountpoint)) as mounted:
            yield mounted
        return
    from mtpfs import sync  # noqa: PLC0415 - slow to load

    with sync.connect(text) as phone:
        yield phone


def _mountpoint(source: Source) -> str:
    """Return where a phone is mounted; "": nowhere. Raises `SetupError` unless exactly one phone fits."""
    if source.kind == "virtual":
        return _mountpoint_of_virtual(source.argument.partition("?")[0])
    if source.kind == "ip":
        return mounted_places().get(source.text, "")
    from mtpfs.transport.phones import choose  # noqa: PLC0415
    from mtpfs.transport.usb import find_phones  # noqa: PLC0415 - pyusb is slow to load and may be missing

    (row,) = rows([choose(find_phones(), source)])
    return row.mounted_at


def _mountpoint_of_virtual(directory: str) -> str:
    """Return where a virtual phone is mounted that serves a directory, or one below it for each storage."""
    for target, kind, _ in mounts():
        if kind != KIND or is_dead(target):
            continue
        with contextlib.suppress(SetupError):  # another user's
            place = str(report(target, STATISTICS_NAME)["transport"]).removeprefix("virtual:")
            if place == directory or os.path.dirname(place) == directory:  # noqa: PTH120 - text, as mounts have it
                return target
    return ""


def is_own(phone: Phone, place: str | os.PathLike[str]) -> bool:
    """Tell whether a place of this machine is the phone's: what is put there is on the phone, and nowhere else."""
    return isinstance(phone, MountedPhone) and phone.shows(place)


def check_elsewhere(phone: Phone, place: str | os.PathLike[str]) -> None:
    """Raise `UsageError` for a place of this machine that is the phone's."""
    if is_own(phone, place):
        raise UsageError(f"{os.fspath(place)} is on the phone itself: name a directory of this machine")


def walk(phone: Phone, path: str, *, dates: bool = True) -> Iterator[Entry]:
    """Yield everything below a directory, each directory before what is in it. Raises `OSError`."""
    pending = [path]
    while pending:
        found = phone.scandir(pending.pop(), dates=dates)
        yield from found
        pending += [entry.path for entry in reversed(found) if entry.is_dir]
