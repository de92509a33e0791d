"""Removing files and directories, in POSIX's terms on a device that deletes whatever it is told to.

Strategy: whether a directory is empty is asked of the device itself, because it deletes recursively.
A file that somebody has open gets a temporary name (`leftovers`) and is deleted with the last descriptor;
where the device can't rename, its contents are fetched first.

Invariant: a name is gone from the tree only when it is gone from the device.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from mtpfs.device import Storage, listing, writing
from mtpfs.errors import FsError, MtpfsError
from mtpfs.vfs import leftovers
from mtpfs.vfs.content import Content
from mtpfs.vfs.node import Node, locked

if TYPE_CHECKING:
    from mtpfs.vfs.filesystem import Filesystem

log = logging.getLogger(__name__)


async def rmdir(fs: Filesystem, parent: Node, name: bytes) -> None:
    """Carry out `Filesystem.rmdir`."""
    node = await fs.tree.child(parent, name)
    if not node.is_folder:
        raise FsError(errno.ENOTDIR)
    fs.check_deletable(node)
    storage, handle = await fs.tree.place(node)
    async with locked(parent, node):
        await check_empty(fs, node, storage, handle)
        await writing.delete(fs.device, handle)
        fs.tree.detach(node)


async def check_empty(fs: Filesystem, node: Node, storage: Storage, handle: int) -> None:
    """Raise ENOTEMPTY unless the device itself says that a folder is empty."""
    pending = any(not child.handle for child in node.children.values())
    there = await listing.child_handles(fs.device, storage.id, handle)
    if pending or not fs.tree.unshown.issuperset(there):
        node.listed_at = None
        raise FsError(errno.ENOTEMPTY)


async def unlink(fs: Filesystem, parent: Node, name: bytes) -> None:
    """Carry out `Filesystem.unlink`."""
    node = await fs.tree.child(parent, name)
    if node.is_folder:
        raise FsError(errno.EISDIR)
    fs.check_deletable(node)
    await fs.find_object(node)
    if node.handle:
        await fs.tree.handle(node)
        if node.content is not None and not fs.device.can_rename:
            await node.content.keep()
    async with parent.lock:
        if node.handle and node.content is not None and fs.device.can_rename:
            await hide(fs, node)
        elif node.handle:
            await writing.delete(fs.device, node.handle)
        fs.tree.detach(node)
        fs.forget_space(node)
    await let_go(fs, node)


async def hide(fs: Filesystem, node: Node) -> None:
    """Take an open file's name away; its object stays until the last descriptor is closed."""
    hidden = leftovers.temporary_name(leftovers.Kind.GONE, node.object_name)
    await writing.rename(fs.device, node.handle, hidden)
    fs.tree.hide(node, hidden)


async def let_go(fs: Filesystem, node: Node) -> None:
    """End what is left of a file that has lost its name, if nobody has it open any more.

    Not with its directory's lock: somebody who is sending it may be waiting for that.
    """
    if not node.handle:
        await fs.end(node)
    elif node.content is None and node.parent is not None and fs.tree.hidden.get(node.object_name) is node:
        await remove_hidden(fs, node, node.parent, None)  # it was closed while it was being hidden


async def remove_hidden(fs: Filesystem, node: Node, parent: Node, content: Content | None) -> None:
    """Delete the object of a hidden file, which nobody has open any more."""
    try:
        with fs.device.session.pinned(anew=True):
            await fs.tree.handle(node)
            # close(2) doesn't wait for this, but the rmdir of the directory that may follow has to.
            async with parent.lock:
                if content is not None:
                    await content.close()
                await writing.delete(fs.device, node.handle)
    except MtpfsError as error:
        if node.object_name in fs.tree.hidden:  # else it was removed by somebody else meanwhile
            log.warning("%s, which was deleted, stays as %s: %s", node.path, node.object_name, error)
        if content is not None:
            await content.close()
    finally:
        fs.tree.hidden.pop(node.object_name, None)
