"""What the library tells: phones, storages, files and changes, as values that never change.

Paths are absolute, and text as Python has the paths of a mount: bytes that aren't UTF-8 are surrogates (os.fsdecode).
Sizes are in bytes, dates in seconds since the epoch.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

from mtpfs.vfs import Node


@dataclass(frozen=True, slots=True)
class DeviceOnBus:
    """A phone on the bus, as it describes itself there. It isn't opened for that. Texts may be empty."""

    source: str
    """The word with which `connect` chooses this one."""
    name: str
    manufacturer: str
    product: str
    serial: str
    vendor_id: int
    product_id: int
    bus: int
    address: int


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage that is present: the phone's own, or a card. A locked phone has none."""

    path: str
    """Such as `/Internal shared storage`."""
    name: str
    capacity: int
    """Bytes, as the phone tells them; so is `free`."""
    free: int
    removable: bool
    writable: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory."""

    path: str
    name: str
    is_dir: bool
    size: int
    """Bytes; 0 for a directory."""
    modified: float | None
    """Seconds since the epoch, as on the mount; None: not known."""


def checked_copy(entry: Entry, copy: Entry | None, target: str) -> Entry:
    """Return `copy`; raise EIO unless it has the kind and the size of what was copied to `target`.

    A phone may say OK, and have left something out. What is in a directory isn't looked at.
    """
    if copy is None or (copy.is_dir, copy.size) != (entry.is_dir, entry.size):
        text = "it isn't in the copy as it is here, so nothing is removed"
        raise OSError(errno.EIO, text, entry.path, None, target)
    return copy


class EventKind(StrEnum):
    """What has happened on the phone."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    """Size, date or contents are others; of a directory: something in it is, and it isn't known what."""
    STORAGE = "storage"
    """A storage has come or gone, or the phone itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change that the phone has announced, and that wasn't made through this connection."""

    kind: EventKind
    path: str


def path_of(node: Node) -> str:
    """Return where a node is."""
    return os.fsdecode(node.path_bytes) or "/"


def entry_of(node: Node) -> Entry:
    """Return what is known of a node."""
    known = not node.date_elsewhere and node.modified > 0
    return Entry(
        path_of(node),
        os.fsdecode(node.name),
        node.is_folder,
        0 if node.is_folder else node.size,
        node.modified if known else None,
    )
