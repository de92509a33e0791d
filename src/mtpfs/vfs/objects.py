"""One change of one object, by its handle, or by its name where the device has given it another handle.

uMTP-Responder hears late of its own renames. The object that it takes for a vanished one is found again under
another handle. So a device that doesn't know a handle is asked what has the name. `with_current_handles`
can't do that: it lists a directory anew, and a listing leaves out what is claimed.

Invariant: nothing is changed but what has the handle, or the claimed name.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable

from mtpfs.device import Entry, Handle, listing, writing
from mtpfs.errors import FsError, ResponseError
from mtpfs.protocol.codes import Response
from mtpfs.vfs.node import Node
from mtpfs.vfs.tree import Tree

log = logging.getLogger(__name__)

Change = Callable[[Handle], Awaitable[None]]
Find = Callable[[], Awaitable[Handle | None]]


async def changed(handle: Handle, change: Change, find: Find) -> Handle:
    """Do `change` with an object whose name is claimed; return the handle that it has.

    If the device doesn't know `handle`, `find` tells which one has the name. Raises what both raise; `ResponseError`
    where none has it.
    """
    for last in (False, False, True):
        try:
            await change(handle)
        except ResponseError as error:
            if last or error.code != Response.InvalidObjectHandle:
                raise
            found = await find()
            if found is None:
                raise
            log.debug("%s; it is object %s now", error, found)
            handle = found
        else:
            return handle
    raise AssertionError("the last try returns or raises")


async def delete(tree: Tree, directory: Node, node: Node) -> None:
    """Delete a node's object. The caller has claimed its name, and has the tree follow."""
    await _change(tree, directory, node, lambda h: writing.delete(tree.device, h, node.object_name))


async def rename(tree: Tree, directory: Node, node: Node, name: str) -> None:
    """Give a node's object another name in its folder. The caller has claimed both, and has the tree follow."""
    await _change(tree, directory, node, lambda h: writing.rename(tree.device, h, node.object_name, name))


async def _change(tree: Tree, directory: Node, node: Node, change: Change) -> None:
    async def find() -> Handle | None:
        def is_it(entry: Entry) -> bool:
            # A folder of that name may have taken the file's place on the device, with all that is in it.
            return (entry.name, entry.is_folder) == (node.object_name, node.is_folder)

        storage, folder = await tree.place(directory)
        return await listing.find(tree.device, storage.id, folder, is_it, tree.by_handle.keys())

    try:
        handle = await tree.handle(node)
    except FsError as error:
        # A listing leaves out what is claimed.
        if error.errno != errno.ESTALE or (known := await find()) is None:
            raise
        handle = known
        tree.adopted(node, handle)
    found = await changed(handle, change, find)
    if found != handle:
        tree.adopted(node, found)
