"""What may be changed, and what new names may be: decided before the device is asked.

Devices answer GeneralError to every mistake or, worse, do what they are told.
"""

from __future__ import annotations

import errno
import re

from mtpfs.device import Device
from mtpfs.device.folding import find_out_folding
from mtpfs.device.spelling import check_spelling, oddities
from mtpfs.errors import FsError
from mtpfs.vfs import names
from mtpfs.vfs.node import Node
from mtpfs.vfs.temporaries import check_not_reserved
from mtpfs.vfs.tree import Tree

_TRASH = re.compile(rb"\.Trash(-[0-9]+)?")
"""Where desktops keep what was deleted, in the root of each filesystem (freedesktop.org's Trash specification)."""


class Rules:
    """The rules of one mount. All raise `FsError`."""

    def __init__(self, device: Device, tree: Tree, *, read_only: bool) -> None:
        self._device = device
        self._tree = tree
        self._read_only = read_only

    def check_writable(self, node: Node) -> None:
        """Raise unless a file's contents or date may be changed: EROFS, EACCES, ENODEV."""
        storage = node.storage
        if storage is None and node.parent is not None:
            raise FsError(errno.ENODEV, "locked or ejected")
        if self._read_only or (storage is not None and not storage.writable):
            raise FsError(errno.EROFS)
        if storage is None or node.is_storage:
            raise FsError(errno.EACCES, "storages can't be changed")

    def check_deletable(self, node: Node) -> None:
        """Raise unless `node` may be removed: EROFS, EBUSY."""
        if self._read_only or (node.storage is not None and not node.storage.deletable):
            raise FsError(errno.EROFS)
        if node.storage is None or node.is_storage:
            raise FsError(errno.EBUSY, "storages can't be removed")

    def check_entry_change(self, node: Node) -> None:
        """Raise unless `node` may be renamed, moved or replaced."""
        self.check_deletable(node)
        self.check_writable(node)

    def new_name(self, parent: Node, name: bytes) -> str:
        """Return the device's name for a new entry.

        Raises EROFS, EACCES, ENODEV, what `names.device_name` raises, and EPERM for a trash: it would keep on the
        phone what was deleted to make room there. A desktop that can't make one offers to delete instead.
        """
        storage = parent.storage
        if parent.parent is None and _TRASH.fullmatch(name):
            raise FsError(errno.EPERM, "a phone gets no trash")
        if storage is None:
            if parent.parent is not None:
                raise FsError(errno.ENODEV, "locked or ejected")
            raise FsError(errno.EACCES, "the root only holds storages")
        if self._read_only or not storage.writable:
            raise FsError(errno.EROFS)
        text = names.device_name(name, removable=storage.removable)
        check_not_reserved(text)
        return text

    async def check_free(self, parent: Node, name: bytes, text: str) -> None:
        """Raise EEXIST unless a directory has room for a new name, ENOENT if it is gone."""
        if parent.unlinked:
            raise FsError(errno.ENOENT)
        if name in parent.children:
            raise FsError(errno.EEXIST)
        await self.check_stored_as(parent, text, None)

    async def check_stored_as(self, parent: Node, text: str, moving: Node | None) -> None:
        """Refuse a name that the device would store as another one (EINVAL), or takes for another one's (EEXIST).

        Using it might destroy another file. The first time that it matters the device is tried out.
        """
        storage = parent.storage
        if storage is None:
            return
        if oddities(text):
            _, folder = await self._tree.place(parent)
            await check_spelling(self._device, storage.id, folder, text)
        if not self._device.folds(storage.id):
            return
        for node in parent.namesakes(text):
            if node is moving or node.object_name == text:
                continue
            _, folder = await self._tree.place(parent)
            if await find_out_folding(self._device, storage.id, folder):
                raise FsError(errno.EEXIST, f"{node.object_name!r} is the same name to this device")
            return


def is_inside(directory: Node, node: Node) -> bool:
    """Tell whether `directory` is `node`, or lies in it."""
    return any(current is node for current in directory.ancestry())
