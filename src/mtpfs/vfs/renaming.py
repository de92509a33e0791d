"""Renaming and moving, in POSIX's terms on a device that knows neither replacing nor both at once.

Strategy: inside a directory the property ObjectFileName is set; across
directories MoveObject is used, and if the name changes too, it travels under a
temporary one. An existing target is put aside under a temporary name first and
deleted last. When something fails in between, nobody knows how far it came (a
device may do what it refuses); so nothing is undone blindly, but the directories
are listed anew, which restores or completes what is halfway (`leftovers`). Where
the device can't, EXDEV makes mv(1) copy.

Invariant: after a failure both files have their old names or both their new
ones, as far as the device still obeys; no contents are ever deleted before the
rename has succeeded.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from typing import TYPE_CHECKING

from mtpfs.device import writing
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import leftovers, removing
from mtpfs.vfs.node import Node, locked

if TYPE_CHECKING:
    from mtpfs.vfs.filesystem import Filesystem

log = logging.getLogger(__name__)


async def rename(
    fs: Filesystem, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, *, replace: bool
) -> None:
    """Carry out `Filesystem.rename`."""
    node = await fs.tree.child(old_parent, old_name)
    await fs.tree.ensure_listed(new_parent)
    fs.check_entry_change(node)
    text = fs.checked_name(new_parent, new_name)
    await fs.find_object(node)
    if (replaced := new_parent.children.get(new_name)) is not None:
        await fs.find_object(replaced)
    if node.is_folder and _is_inside(new_parent, node):
        raise FsError(errno.EINVAL, "a directory can't be moved into itself")
    if not node.handle and node.content is not None:
        if await _send_renamed(fs, node, new_parent, new_name, text, replace=replace):
            return
        await fs.sync(node)  # gives it an object that can be renamed
    await _check_place(fs, old_parent, new_parent)
    if new_name in new_parent.children and node.content is not None:
        await node.content.flush()  # so that no file ever gives way to one that is still being written
    try:
        target = await _rename_object(
            fs, node, old_parent, old_name, new_parent, new_name, text, replace=replace
        )
    except FsError:
        raise
    except MtpfsError as error:
        for directory in {old_parent, new_parent}:
            directory.listed_at = None
            with contextlib.suppress(MtpfsError):  # then the next one who looks there does it
                await fs.tree.ensure_listed(directory)
        if isinstance(error, ResponseError) and error.code == Response.OperationNotSupported:
            raise FsError(errno.EXDEV, "the device can't after all") from error
        raise
    await fs.end(node)
    if target is not None:
        await removing.let_go(fs, target)


async def _rename_object(
    fs: Filesystem,
    node: Node,
    old_parent: Node,
    old_name: bytes,
    new_parent: Node,
    new_name: bytes,
    text: str,
    *,
    replace: bool,
) -> Node | None:
    """Return the file or directory that had the name before."""
    storage, folder = await fs.tree.place(new_parent)
    await fs.tree.handle(node)
    async with locked(old_parent, new_parent, new_parent.children.get(new_name)):
        if old_parent.children.get(old_name) is not node:
            raise FsError(errno.ENOENT)
        target = new_parent.children.get(new_name)
        if target is node:
            return None
        fs.check_case(new_parent, text, node)
        if target is not None:
            await _check_target(fs, node, target, replace=replace)
        if target is not None and target.handle:
            size = 0 if node.is_folder else node.size
            aside = leftovers.temporary_name(leftovers.Kind.OLD, target.object_name, size)
            await writing.rename(fs.device, target.handle, aside)
        if old_parent is new_parent:
            await writing.rename(fs.device, node.handle, text)
        else:
            await _move(fs, node, old_parent, new_parent, storage.id, folder, text)
        if target is not None:
            await _remove_replaced(fs, new_parent, target)
        fs.tree.relocate(node, new_parent, new_name, text)
        return target


async def _send_renamed(
    fs: Filesystem, node: Node, new_parent: Node, new_name: bytes, text: str, *, replace: bool
) -> bool:
    """Send a file that the device hasn't got yet under its new name; False where that can't be.

    It needs nothing of the device but to be sent, so it works also where nothing can be renamed.
    """
    old_parent, old_name, old_text = node.parent, node.name, node.object_name
    assert old_parent is not None
    async with new_parent.lock:
        if node.parent is not old_parent or node.name != old_name or node.unlinked:
            raise FsError(errno.ENOENT)
        target = new_parent.children.get(new_name)
        if target is node:
            return True
        if target is not None:
            await _check_target(fs, node, target, replace=replace)
            if target.content is not None:
                return False  # whoever has it open keeps its contents only if it is put aside
        fs.check_case(new_parent, text, node)
        fs.tree.relocate(node, new_parent, new_name, text)
        if target is not None and node.content is not None:
            node.content.replaces(target)
    try:
        await fs.sync(node)
    except BaseException:
        fs.tree.relocate(node, old_parent, old_name, old_text)
        if target is not None:
            fs.tree.restore(target)
        if node.content is not None:
            node.content.replaces(None)
        raise
    if target is not None:
        fs.tree.detach(target)
    await fs.end(node)
    return True


async def _check_place(fs: Filesystem, old_parent: Node, new_parent: Node) -> None:
    if not fs.device.can_rename:
        raise FsError(errno.EXDEV, "the device can't rename")
    if old_parent is not new_parent:
        if not fs.device.supports(Operation.MoveObject):
            raise FsError(errno.EXDEV, "the device can't move")
        if old_parent.storage != new_parent.storage:
            # The device would copy in one long transaction that blocks everything else.
            raise FsError(errno.EXDEV)


async def _check_target(fs: Filesystem, node: Node, target: Node, *, replace: bool) -> None:
    if not replace:
        raise FsError(errno.EEXIST)
    fs.check_entry_change(target)
    if target.is_folder:
        if not node.is_folder:
            raise FsError(errno.EISDIR)
        if target.storage is not None:
            await removing.check_empty(fs, target, target.storage, target.handle)
    elif node.is_folder:
        raise FsError(errno.ENOTDIR)


async def _remove_replaced(fs: Filesystem, parent: Node, target: Node) -> None:
    """Delete a file that was put aside, or have it deleted when nobody has it open any more."""
    try:
        if target.handle and target.content is not None:
            await removing.hide(fs, target)
        elif target.handle:
            await writing.delete(fs.device, target.handle)
    except MtpfsError as error:
        log.warning("%s is replaced, but what it was stays on the device: %s", target.path, error)
        parent.listed_at = None  # the next listing tries again
    fs.tree.detach(target)


async def _move(
    fs: Filesystem, node: Node, old_parent: Node, new_parent: Node, storage_id: int, folder: int, text: str
) -> None:
    old_text = node.object_name
    if text == old_text:
        await writing.move(fs.device, node.handle, storage_id, folder)
        return
    on_its_way = leftovers.moving_name(old_text, text, new_parent.device_path)
    await writing.rename(fs.device, node.handle, on_its_way)
    await writing.move(fs.device, node.handle, storage_id, folder)
    try:
        await writing.rename(fs.device, node.handle, text)
    except ResponseError:
        # Perhaps the device doesn't take the name: no listing could complete that.
        await writing.move(fs.device, node.handle, storage_id, old_parent.handle)
        await writing.rename(fs.device, node.handle, old_text)
        raise


def _is_inside(directory: Node, node: Node) -> bool:
    current: Node | None = directory
    while current is not None:
        if current is node:
            return True
        current = current.parent
    return False
