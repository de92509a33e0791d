"""What the session tells, applied to the tree: exactly what changed, nothing else.

An event names an object. An added one is described by one GetObjectInfo, and put where its parent is listed. A
removed one is taken out. But if its name was vacated here a moment ago, what had the name before may be meant. Then
it is looked for. Of a changed one the attributes are asked for when they are next needed. Echoes of our own changes
are recognised because their handle is known, or hidden, already.

Events are hints. An unknown handle changes nothing, and "something happened" ends the trust in all listings. So do
additions while more than `MANY` events wait: to describe each would cost more than to list anew. Storages are looked
at again at once, because a user who looks into an empty root waits for them. When the device leaves, the kernel
forgets the way into it. So each program that comes asks again, and hears that the device is away.

Invariant: an event never makes the tree list a directory of objects, and never changes a name that is claimed.
"""

from __future__ import annotations

import logging
from typing import Protocol

from mtpfs.device import Device, Handle
from mtpfs.device.listing import entry_of, object_info
from mtpfs.device.names import is_probe
from mtpfs.errors import MtpfsError, TransportGoneError
from mtpfs.protocol.codes import Event
from mtpfs.protocol.containers import Container, parameter
from mtpfs.session import Change
from mtpfs.vfs.claims import Claims
from mtpfs.vfs.node import News, Node
from mtpfs.vfs.temporaries import parse
from mtpfs.vfs.tree import Tree

log = logging.getLogger(__name__)

MANY = 64  # events that wait, from which additions cost the listings instead of a transaction each
_STORES = {Event.StoreAdded, Event.StoreRemoved}
_LOST_TRACK = {Event.UnreportedStatus, Event.DeviceInfoChanged, Event.DeviceReset}


class Notifier(Protocol):
    """How the kernel is told that it knows something wrong. Called on the trio thread, must not block."""

    def entry_gone(self, parent_ino: int, name: bytes) -> None:
        """Report that the name isn't there any more."""

    def inode_changed(self, ino: int) -> None:
        """Report that attributes and contents are others now."""

    def attributes_changed(self, ino: int) -> None:
        """Report that only attributes are others now."""

    def heard(self, news: News, node: Node) -> None:
        """Report what programs that watch a directory want to know. It is in `node.parent`, or was."""


class Events:
    """Follows what one session tells."""

    def __init__(self, device: Device, tree: Tree, claims: Claims, notifier: Notifier) -> None:
        self._device = device
        self._tree = tree
        self._claims = claims
        self._notifier = notifier

    async def follow(self) -> None:
        """Apply what comes, for ever."""
        queue = self._device.session.events
        while True:
            item = await queue.receive()
            try:
                if isinstance(item, Container):
                    await self._apply(item, backlog=len(queue))
                elif item is Change.GONE:
                    for name in self._tree.root.children:
                        self._notifier.entry_gone(self._tree.root.ino, name)
                else:
                    self._tree.expire()
            except TransportGoneError:
                log.debug("gone while handling an event")
            except MtpfsError as error:
                log.info("%s: %s", self._subject(item), error)
            except Exception:  # a bug must cost no more than what the event was about
                log.exception("%s", self._subject(item))

    def _subject(self, item: Container | Change) -> str:
        """Return the item, with the path of what it is about, for messages."""
        if isinstance(item, Change):
            return str(item)
        node = self._tree.by_handle.get(
            Handle(parameter(item.parameters, 0), self._device.session.generation)
        )
        return f"{item} about {node.path}" if node else str(item)

    async def _apply(self, event: Container, *, backlog: int) -> None:
        tree = self._tree
        handle = Handle(parameter(event.parameters, 0), self._device.session.generation)
        log.debug("event 0x%04X, %s", event.code, handle)
        if event.code == Event.ObjectAdded:
            if backlog > MANY:
                tree.expire()
            else:
                await self._added(handle)
        elif event.code == Event.ObjectRemoved:
            node = tree.by_handle.get(handle)
            if (
                node is not None
                and node.parent is not None
                and not node.is_ahead
                and not self._is_claimed(node)
            ):
                if self._device.recent.may_be_meant(handle, node.object_name):
                    tree.look_for(node)
                else:
                    tree.drop(node)
        elif event.code in {Event.ObjectInfoChanged, Event.ObjectPropChanged}:
            node = tree.by_handle.get(handle)
            if node is not None and not node.is_ahead:
                node.attributes_stale = True
                self._notifier.inode_changed(node.ino)
                if not self._device.recent.was_written(handle):
                    if node.holder is not None:
                        node.holder.changed_outside()  # size and second may be what they were
                    self._notifier.heard(News.ALTERED, node)
        elif event.code in _STORES:
            await tree.refresh_storages()
        elif event.code == Event.StorageInfoChanged:
            tree.root.distrust()
        elif event.code in _LOST_TRACK:
            if event.code == Event.DeviceReset:
                self._device.session.renumbered()  # no object need have the handle that it had
            tree.expire()

    def _is_claimed(self, node: Node) -> bool:
        return node.parent is not None and self._claims.is_claimed(node.parent, node.object_name)

    async def _added(self, handle: Handle) -> None:
        tree = self._tree
        if handle in tree.by_handle:
            return
        info = await object_info(self._device, handle)
        directory = self._directory(Handle(info.parent_object, handle.generation), info.storage_id)
        if directory is None or not directory.is_folder or not directory.was_listed:
            return  # it was never listed
        described = await entry_of(self._device, handle, info)
        if parse(described.name) is not None or is_probe(described.name):
            return  # in the middle of a change of ours; or the next listing settles it
        async with directory.listing_lock:
            with self._claims.claim_now((directory, described.name)) as claim:
                if handle in tree.by_handle:
                    return
                if claim is None:
                    directory.distrust()  # it is being changed here; the next look will see
                    return
                if not tree.believes(directory):
                    tree.changed_outside(directory)  # programs that go by its date have to know, too
                    self._notifier.heard(News.ALTERED, directory)
                    return
                if any(
                    each.handle is not None and each.object_name == described.name
                    for each in directory.namesakes(described.name)
                ):
                    directory.distrust()  # it has another handle now, or there are two: a listing tells
                    return
                log.debug("%s: new object %r", directory.path, described.name)
                tree.insert(directory, described)

    def _directory(self, parent: Handle, storage_id: int) -> Node | None:
        if not parent.is_root:
            return self._tree.by_handle.get(parent)
        root = self._tree.root
        if root.storage is not None:
            return root if root.storage.id == storage_id else None
        return next((n for n in root.children.values() if n.storage and n.storage.id == storage_id), None)
