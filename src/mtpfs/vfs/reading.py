"""Reading a part of a file's object, whatever its handle may be by now.

Strategy: a handle is good for one session; in another one it is looked up by name, once.
A device that numbers its objects anew within a session, or doesn't know one for a moment, gets the same chance.

Invariant: what is returned comes from the object that bears the file's name, never from another
one that has got its number.
"""

from __future__ import annotations

import errno

from mtpfs.device import Device
from mtpfs.device.reading import read
from mtpfs.errors import FsError, ResponseError, SessionLostError
from mtpfs.protocol.codes import Response
from mtpfs.vfs.node import Node
from mtpfs.vfs.tree import Tree

BULK = 256 << 10  # bytes from which a read stands back behind metadata


async def read_object(device: Device, tree: Tree, node: Node, offset: int, count: int) -> memoryview:
    """Return `count` bytes from `offset`, fewer only at the end. Raises ESTALE for a file that has vanished."""
    session = device.session
    with session.pinned(anew=True):
        try:
            return await _read(device, tree, node, offset, count)
        except SessionLostError:
            if session.gone:
                raise
    with session.pinned(anew=True):
        return await _read(device, tree, node, offset, count)


async def _read(device: Device, tree: Tree, node: Node, offset: int, count: int) -> memoryview:
    for last in (False, True):
        handle, has_name = await tree.handle(node), not node.unlinked
        try:
            return await read(device, handle, offset, count, node.size, bulk=count >= BULK)
        except ResponseError as error:
            if error.code != Response.InvalidObjectHandle or node.parent is None or not has_name:
                raise
            if last:
                raise FsError(errno.ESTALE, f"{node.path} is listed, but can't be read") from error
        # Some devices number their objects anew, or are locked and unlocked: look once more by name.
        await tree.ensure_listed(node.parent, fresh=True)
        if node.unlinked:
            break
    raise FsError(errno.ESTALE, f"{node.path} is gone")
