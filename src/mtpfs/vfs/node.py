"""What the kernel knows by an inode number: one file or directory.

A node is plain data. The tree (`mtpfs.vfs.tree`) keeps it true. The comment at each field says which module writes
it. All of it lives on the trio thread, so a field that is written between two awaits needs no lock. What must
not change while a task waits is guarded by a claim on the name (`mtpfs.vfs.claims`) or by the file's own lock
(`OpenFile.lock`).

A directory has two dates: the one that the device tells, and that of the last change seen here. The later one is
shown. Programs that look for changes go by that date, and a device may tell an old one, or none.

Invariant: a node that is `unlinked` is in no directory. `namesakes` finds what `children` holds.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import trio

from mtpfs.device import Entry, Handle, Storage
from mtpfs.device.names import fold
from mtpfs.errors import FsError
from mtpfs.redaction import hide_name


class Holder(Protocol):
    """What the tree has to know of a file's contents that are held here."""

    @property
    def is_ahead(self) -> bool:
        """Tell whether size and date here are newer than the device's."""

    def changed_outside(self) -> None:
        """Forget what was read: the object has changed on the device."""


class News(Enum):
    """What has become of a name without a request: what a window that shows its directory can't know."""

    APPEARED = auto()
    VANISHED = auto()
    ALTERED = auto()
    """Attributes or contents are others; or something in a directory is, and it isn't known what."""


@dataclass(frozen=True, slots=True)
class Listing:
    """When and how a directory was listed."""

    at: float
    """trio's clock, in seconds."""
    cost: float
    """Seconds that it took."""
    epoch: tuple[int, int]
    """The tree's when it was begun: in a later one it isn't believed."""


_NOTHING: frozenset[str] = frozenset()
_NO_CHILDREN: dict[bytes, Node] = {}
"""One for all files: an empty dictionary of their own would take a tenth of what a node takes. Never written to."""


class Node:
    """A file or directory that the kernel may know. Times in seconds since the epoch, sizes in bytes."""

    __slots__ = (
        "_folded",
        "_listing_lock",
        "_object_name",
        "attributes_stale",
        "children",
        "date_elsewhere",
        "date_is_sent",
        "distrusted_until",
        "handle",
        "holder",
        "ino",
        "is_folder",
        "listing",
        "lookups",
        "lost",
        "modified",
        "moved",
        "name",
        "parent",
        "protected",
        "shown_size",
        "size",
        "size_known",
        "storage",
        "successor",
        "superfluous",
        "told",
        "unlinked",
        "was_listed",
    )

    def __init__(self, ino: int, parent: Node | None, name: bytes, *, is_folder: bool) -> None:
        self.ino = ino
        self.parent = parent
        """Written by the tree, under claims on the old and the new name. So are `name` and `object_name`."""
        self.name = name
        self._object_name = ""
        self.is_folder = is_folder
        self.handle: Handle | None = None
        """None for the root that holds storages, and for files that the device hasn't got yet. Written by the tree."""
        self.storage: Storage | None = parent.storage if parent else None
        """Written by the tree, for whole subtrees."""
        self.size = 0
        """Written by the tree while the device's contents are the newest, by the holder while its are."""
        self.size_known = True
        self.shown_size = 0
        """The size that the kernel was told last. Written by the FUSE adapter."""
        self.modified = 0.0
        """As `size`; for a directory see `note_change`."""
        self.told: float | None = None
        """The date that the device tells; `modified` may be one that a program has set. Written by the tree."""
        self.date_is_sent = False
        """`told` is the date that the file was sent with. The device may have dropped it. Written by the tree."""
        self.date_elsewhere = False
        """Lists don't tell this date. ObjectInfo does. It is asked only when the date is needed."""
        self.attributes_stale = False
        """The device has announced a change, or a change here has failed: ask before telling."""
        self.children: dict[bytes, Node] = {} if is_folder else _NO_CHILDREN
        """By shown name. Written by the tree: by listings for names that are not claimed, else under the claim.

        Only by `add`, `remove` and `replace_children`."""
        self._folded: dict[str, list[Node]] | None = None
        """The children by what their names fold to; None: not asked for since the last listing."""
        self.listing: Listing | None = None
        self.was_listed = False
        """`children` is what a listing has shown, perhaps long ago: a new one that differs shows a change."""
        self.distrusted_until = 0.0
        """By trio's clock: before that no listing is believed. What was deleted may show again (see `distrust_for`)."""
        self.superfluous = _NOTHING
        """Temporary names of objects in it that aren't needed, and that the device hasn't deleted when it should."""
        self.moved = 0
        """Which move of the tree's it was that brought the node into its directory last; 0: none."""
        self.protected = False
        """The device says that it is read-only."""
        self._listing_lock: trio.Lock | None = None
        self.lookups = 0
        """References that the kernel holds. Written by the FUSE adapter and `Tree.forget`."""
        self.unlinked = False
        self.lost = False
        """Unlinked, but not by a change made here: it has vanished from the device, or from memory."""
        self.successor: Node | None = None
        """The file that has taken this one's name. A late open of this one gets that one."""
        self.holder: Holder | None = None
        """What is held of its contents while it is open, or not saved yet. Written by `Files`."""

    @property
    def object_name(self) -> str:
        """What the device calls it."""
        return self._object_name

    @object_name.setter
    def object_name(self, name: str) -> None:
        if name != self._object_name and self.parent is not None:
            self.parent.refile(self, name)
        self._object_name = name

    @property
    def listing_lock(self) -> trio.Lock:
        """Held while the directory is listed. A leaf: under it only the device is waited for.

        Made when it is first needed, to save memory.
        """
        if self._listing_lock is None:
            self._listing_lock = trio.Lock()
        return self._listing_lock

    @property
    def is_being_listed(self) -> bool:
        """Tell whether a listing of it is under way."""
        return self._listing_lock is not None and self._listing_lock.locked()

    @property
    def is_ahead(self) -> bool:
        """Tell whether size and date here are newer than the device's."""
        return self.holder is not None and self.holder.is_ahead

    @property
    def deleted(self) -> bool:
        """Unlinked by a change made here: only programs that have it open still need what it holds."""
        return self.unlinked and not self.lost

    @property
    def is_storage(self) -> bool:
        """Tell whether it stands for a storage: it is in the root, and the root is no storage itself."""
        return self.parent is not None and self.parent.parent is None and self.parent.storage is None

    def entry(self, handle: Handle) -> Entry:
        """Return what the device has of it, as far as is known, in the object `handle`."""
        told = None if self.date_is_sent else self.told
        return Entry(handle, self.object_name, self.is_folder, self.size, told, size_known=self.size_known)

    def is_to_replace(self, entry: Entry) -> bool:
        """Tell whether a file that isn't sent yet is to take an object's place: one that has appeared meanwhile.

        It may be our own, from an upload whose confirmation never came.
        """
        return (
            self.handle is None
            and not self.is_storage
            and not entry.is_folder
            and self.object_name == entry.name
        )

    @property
    def place_on_device(self) -> str:
        """Where the device has it, from its storage on: what remembered dates go by."""
        storage = self.storage
        return f"{(storage.description or storage.volume) if storage else ''}/{self.device_path}"

    @property
    def path(self) -> str:
        """Where the node is, for messages."""
        names = [node.name.decode("utf-8", "replace") for node in self.ancestry() if node.parent]
        for name in names:
            hide_name(name)
        return "/" + "/".join(reversed(names))

    @property
    def path_bytes(self) -> bytes:
        """Where the node is on the mount."""
        return b"/".join(reversed([node.name for node in self.ancestry()]))

    @property
    def device_path(self) -> str:
        """Where the device has it, below its storage."""
        return "/".join(reversed([node.object_name for node in self.ancestry() if node.object_name]))

    # --- what is in a directory ------------------------------------------------------

    def add(self, child: Node) -> None:
        """Put a node into this directory, under its name."""
        self.children[child.name] = child
        self._file(child, child.object_name)

    def remove(self, child: Node) -> None:
        """Take a node out, if it is in this directory."""
        if self.children.get(child.name) is child:
            del self.children[child.name]
            self._unfile(child)

    def replace_children(self, children: dict[bytes, Node]) -> None:
        """Have exactly these in this directory."""
        self.children = children
        self._folded = None

    def namesakes(self, object_name: str) -> list[Node]:
        """Return the children that a device which folds names takes for `object_name`.

        Only the first call after a listing looks at all children.
        """
        if self._folded is None:
            self._folded = {}
            for child in self.children.values():
                self._file(child, child.object_name)
        return list(self._folded.get(fold(object_name), ()))

    def refile(self, child: Node, object_name: str) -> None:
        """Note that a child is about to be called so by the device."""
        if self.children.get(child.name) is child:
            self._unfile(child)
            self._file(child, object_name)

    def _file(self, child: Node, object_name: str) -> None:
        if self._folded is not None:
            self._folded.setdefault(fold(object_name), []).append(child)

    def _unfile(self, child: Node) -> None:
        if self._folded is not None:
            key = fold(child.object_name)
            self._folded[key].remove(child)
            if not self._folded[key]:
                del self._folded[key]

    def note_change(self, now: float) -> None:
        """Give a directory the date of a change in it: later than the one it had, even if that is in the future."""
        self.modified = now if now > self.modified else math.floor(self.modified) + 1.0

    def latest(self) -> Node:
        """Return the file that has this one's name now: itself while it has the name, or has a holder."""
        node = self
        while node.unlinked and node.holder is None and node.successor is not None:
            node = node.successor
        return node

    def check_not_lost(self) -> None:
        """Raise ESTALE if it has vanished: a directory isn't just empty then, and a file's contents have no place."""
        if self.lost:
            raise FsError(errno.ESTALE, f"{self.path} has vanished from the device")

    def distrust(self) -> None:
        """Have the next look into the directory list it anew."""
        self.listing = None

    def delete_later(self, object_name: str) -> None:
        """Have the next listing delete an object that has a temporary name: what it was has been replaced."""
        self.superfluous |= {object_name}
        self.distrust()

    def distrust_for(self, seconds: float) -> None:
        """Have every look into the directory in the next `seconds` list it anew, and one look after that."""
        self.distrusted_until = trio.current_time() + seconds
        self.distrust()

    def ancestry(self) -> Iterator[Node]:
        """Yield the node, its parent, and so on to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def subtree(self) -> Iterator[Node]:
        """Yield the node and all that is known below it."""
        # Not recursive: a hostile device's tree may be deeper than Python's stack.
        pending = [self]
        while pending:
            node = pending.pop()
            pending += node.children.values()
            yield node
