"""What the kernel knows by an inode number: one file or directory.

Strategy: plain data, kept true by `mtpfs.vfs.tree`. An object handle is only one of a node's
properties, valid for one generation of the session.

Invariant: a node that is `unlinked` is in no directory.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from mtpfs.device import Storage
from mtpfs.errors import FsError

if TYPE_CHECKING:
    from mtpfs.vfs.content import Content


class Node:
    """A file or directory that the kernel may know. Times in seconds since the epoch, sizes in bytes."""

    __slots__ = (
        "_lock",
        "attributes_stale",
        "children",
        "content",
        "generation",
        "handle",
        "ino",
        "is_folder",
        "listed_at",
        "listing_cost",
        "lookups",
        "lost",
        "modified",
        "name",
        "object_name",
        "parent",
        "shown_size",
        "size",
        "storage",
        "unlinked",
    )

    def __init__(self, ino: int, parent: Node | None, name: bytes, *, is_folder: bool) -> None:
        self.ino = ino
        self.parent = parent
        self.name = name
        self.object_name = ""
        """What the device calls it."""
        self.is_folder = is_folder
        self.handle = 0
        """Object handle; 0 for the root, for storages, and for files not uploaded yet."""
        self.generation = -1
        self.storage: Storage | None = parent.storage if parent else None
        self.size = 0
        self.shown_size = 0
        """The size that the kernel was told last."""
        self.modified = 0.0
        self.attributes_stale = False
        self.children: dict[bytes, Node] = {}
        self.listed_at: float | None = None
        self.listing_cost = 0.0
        self._lock: trio.Lock | None = None
        self.lookups = 0
        self.unlinked = False
        self.lost = False
        """Unlinked, but not by anybody here: it has vanished from the device, or from memory."""
        self.content: Content | None = None

    @property
    def lock(self) -> trio.Lock:
        """Held while the directory is listed or its entries are changed. Made by need: it is larger than the node."""
        if self._lock is None:
            self._lock = trio.Lock()
        return self._lock

    @property
    def deleted(self) -> bool:
        """Unlinked by somebody here: what it holds is of interest only to who has it open."""
        return self.unlinked and not self.lost

    def check_not_lost(self) -> None:
        """Raise ESTALE if it has vanished: as a directory it isn't just empty, and what a file holds has no place."""
        if self.lost:
            raise FsError(errno.ESTALE, f"{self.path} has vanished from the device")

    @property
    def is_storage(self) -> bool:
        return self.parent is not None and self.parent.parent is None and self.parent.storage is None

    @property
    def path(self) -> str:
        """Where the node is, for messages."""
        names = [node.name.decode("utf-8", "replace") for node in self.ancestry() if node.parent]
        return "/" + "/".join(reversed(names))

    @property
    def device_path(self) -> str:
        """Where the device has it, below its storage."""
        return "/".join(reversed([node.object_name for node in self.ancestry() if node.object_name]))

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


@asynccontextmanager
async def locked(*directories: Node | None) -> AsyncIterator[None]:
    """Hold the locks of several directories; always taken in the order of numbers, so nobody waits in a circle."""
    async with AsyncExitStack() as locks:
        for node in sorted({node for node in directories if node is not None}, key=lambda node: node.ino):
            await locks.enter_async_context(node.lock)
        yield
