"""What the session tells, applied to the tree: exactly what changed, nothing else.

Strategy: an event names an object; an added one is described by one
GetObjectInfo and put where its parent is listed, a removed one is taken out, a
changed one has its attributes asked for when somebody wants them. Echoes of our
own changes are recognised by the handle being known, or hidden, already. Events
are hints: an unknown handle changes nothing, and "something happened" ends the
trust in all listings. Storages are looked at again at once, because whoever looks into an
empty root waits for them; and when the device leaves, the kernel forgets the way into it, so
that everybody who comes asks, and hears that it is away.

Invariant: an event never makes the tree list a directory of objects.
"""

from __future__ import annotations

import logging

from mtpfs.device.listing import entry_of, object_info
from mtpfs.errors import MtpfsError, TransportGoneError
from mtpfs.protocol.codes import Event
from mtpfs.protocol.containers import Container, parameter
from mtpfs.session import Change
from mtpfs.vfs.filesystem import Filesystem
from mtpfs.vfs.leftovers import parse
from mtpfs.vfs.node import Node

log = logging.getLogger(__name__)

_STORES = {Event.StoreAdded, Event.StoreRemoved}
_LOST_TRACK = {Event.UnreportedStatus, Event.DeviceInfoChanged, Event.DeviceReset}


async def follow(fs: Filesystem) -> None:
    """Apply what comes, for ever."""
    news = fs.device.session.news
    while True:
        item = await news.receive()
        try:
            if isinstance(item, Container):
                await _apply(fs, item)
            elif item is Change.GONE:
                for name in fs.tree.root.children:
                    fs.notifier.entry_gone(fs.tree.root.ino, name)
            else:
                fs.tree.expire()
        except TransportGoneError:
            log.debug("gone while handling an event")
        except MtpfsError as error:
            log.info("%s: %s", item, error)
        except Exception:  # a bug must cost no more than what the event was about
            log.exception("%s", item)


async def _apply(fs: Filesystem, event: Container) -> None:
    handle = parameter(event.parameters, 0)
    log.debug("event 0x%04X, 0x%X", event.code, handle)
    if event.code == Event.ObjectAdded:
        await _added(fs, handle)
    elif event.code == Event.ObjectRemoved:
        node = fs.tree.by_handle.get(handle)
        if node is not None and node.parent is not None and not _is_ahead(node):
            fs.tree.drop(node, node.parent, node.name)
    elif event.code in {Event.ObjectInfoChanged, Event.ObjectPropChanged}:
        node = fs.tree.by_handle.get(handle)
        if node is not None and not _is_ahead(node):
            node.attributes_stale = True
            fs.notifier.inode_changed(node.ino)
    elif event.code in _STORES:
        await fs.tree.refresh_storages()
    elif event.code == Event.StorageInfoChanged:
        fs.tree.root.listed_at = None
    elif event.code in _LOST_TRACK:
        if event.code == Event.DeviceReset:
            fs.device.session.generation += 1  # no object need have the handle that it had
        fs.tree.expire()


async def _added(fs: Filesystem, handle: int) -> None:
    tree = fs.tree
    if handle in tree.by_handle:
        return
    info = await object_info(fs.device, handle)
    directory = (
        tree.by_handle.get(info.parent_object) if info.parent_object else _storage(fs, info.storage_id)
    )
    if directory is None or not directory.is_folder or directory.listed_at is None:
        return  # nobody has looked there yet
    described = await entry_of(fs.device, handle, info)
    if parse(described.name) is not None:
        return  # in the middle of a change of ours; or the next listing settles it
    async with directory.lock:
        if handle in tree.by_handle or directory.listed_at is None:
            return
        log.debug("%s: new object %r", directory.path, described.name)
        tree.insert(directory, described)


def _storage(fs: Filesystem, storage_id: int) -> Node | None:
    root = fs.tree.root
    if root.storage is not None:
        return root if root.storage.id == storage_id else None
    return next((n for n in root.children.values() if n.storage and n.storage.id == storage_id), None)


def _is_ahead(node: Node) -> bool:
    return node.content is not None and node.content.is_ahead
