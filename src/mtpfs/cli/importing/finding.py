"""Photos and videos on the phone: where apps put them, without what is hidden, and what belongs together as one group.

Looked at are the directories for pictures and those of messengers, on each storage. What begins with a dot is left
out: thumbnails, what is in the trash or not finished (`.trashed-…`, `.pending-…`, `.trash-storage`). So is a
directory with a `.nomedia` in it: its app wants it in no gallery.

Invariant: it costs what listing costs, and a file is in exactly one group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtpfs.cli.files import Run
from mtpfs.pictures.kinds import Kind, group_key, kind_of

if TYPE_CHECKING:
    from mtpfs.library import Entry

_TOPS = frozenset(
    [
        "dcim",
        "pictures",
        "movies",
        "whatsapp",
        "whatsapp business",
        "telegram",
        "viber",
        "signal",
        "line",
        "tencent",
    ]
)
"""Directories at the top of a storage, in small letters. Messengers had theirs there before Android 11."""
_NESTED = {"android": "media"}
"""Since then it is Android/media/PACKAGE."""
_NO_PICTURES = ("stickers", "wallpaper", "thumbnails", "thumbs")
"""How names of directories end in which messengers keep what nobody has taken."""
NO_MEDIA = ".nomedia"

Key = tuple[str, int, int | None]
"""By what an import knows a file again: the path, the size in bytes, the date in whole seconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file on the phone that is a photo or a video, or that belongs to one."""

    path: str
    name: str
    folder: str
    """The directory that it is in, without the storage: `DCIM/Camera`."""
    size: int
    modified: float | None
    kind: Kind

    @property
    def key(self) -> Key:
        return self.path, self.size, None if self.modified is None else math.floor(self.modified)


@dataclass(slots=True)
class Found:
    """What is on the phone."""

    groups: list[list[Item]] = field(default_factory=list)
    """Each in the order of its names; all in the order of their paths."""
    hidden: int = 0
    """Directories that were left out because of a `.nomedia`."""


def find(run: Run) -> Found:
    """Look for everything. What can't be listed is a failure, and the rest goes on. Raises ENODEV without the phone."""
    found = Found()
    for storage in run.phone.scandir("/", dates=False):
        for top in _tops(run, storage.path):
            pending = [top]
            while pending:
                with run.going_on():
                    pending += _look_into(run, pending.pop(), storage.path, found)
    return found


def _tops(run: Run, storage: str) -> list[str]:
    tops: list[str] = []
    with run.going_on():
        for entry in run.phone.scandir(storage, dates=False):
            name = entry.name.lower()
            if entry.is_dir and name in _TOPS:
                tops.append(entry.path)
            elif entry.is_dir and name in _NESTED:
                inside = run.phone.scandir(entry.path, dates=False)
                tops += [each.path for each in inside if each.is_dir and each.name.lower() == _NESTED[name]]
    return tops


def _look_into(run: Run, directory: str, storage: str, found: Found) -> list[str]:
    """Add what is in a directory; return the directories in it, the last first."""
    entries = run.phone.scandir(directory, dates=False)
    if any(entry.name == NO_MEDIA for entry in entries):
        found.hidden += 1
        return []
    groups: dict[str, list[Item]] = {}
    for entry in entries:
        kind = None if entry.is_dir else kind_of(entry.name)
        if kind is not None:
            item = _item(run, entry, directory[len(storage) + 1 :], kind)
            groups.setdefault(group_key(entry.name), []).append(item)
    found.groups += groups.values()
    return [
        entry.path
        for entry in reversed(entries)
        if entry.is_dir and not entry.name.startswith(".") and not entry.name.lower().endswith(_NO_PICTURES)
    ]


def _item(run: Run, entry: Entry, folder: str, kind: Kind) -> Item:
    modified = entry.modified
    if modified is None:  # some phones tell dates file by file: only those of pictures are asked for
        modified = run.phone.stat(entry.path).modified
    return Item(entry.path, entry.name, folder, entry.size, modified, kind)
