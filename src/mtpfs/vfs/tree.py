"""The tree of nodes: inode numbers that stay, object handles that come and go.

Strategy: a `Node` is what the kernel knows by its inode number. An object
handle is only a property of a node: it is valid for one generation of the
session, and a new session has it looked up again, by listing the parent. A
directory's listing is kept until an event, an own change or its age ends it; a
new listing is merged into the nodes that are there, matched by name and kind,
so inode numbers survive.

A storage that vanishes (a locked phone, a card that is taken out) is put aside with all that is
known below it, and found again by its name.

Invariant: `children` of a listed directory are exactly its nodes that exist, by
shown name; a node that left is `unlinked` and in no directory; numbers are
never used twice.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import time
from collections.abc import Callable, Container, Iterable

import trio

from mtpfs.device import WITHDRAWN, Device, Entry, Storage
from mtpfs.device.listing import MAX_HANDLES
from mtpfs.device.listing import children as list_children
from mtpfs.errors import FsError, MtpfsError, ResponseError, SessionLostError
from mtpfs.vfs import names
from mtpfs.vfs.eviction import evict
from mtpfs.vfs.leftovers import Leftovers
from mtpfs.vfs.node import Node

log = logging.getLogger(__name__)

ROOT_INO = 1
EVENT_TTL = 300.0  # seconds a listing lives on a device that announces changes: events can be lost
COST_FACTOR = 10.0  # a listing lives at least this many times as long as it took to get
STORAGE_TTL = 3.0  # seconds between two looks for storages that appeared or vanished


class Tree:
    """All nodes of a mount."""

    def __init__(self, device: Device, *, ttl: float, storage: str = "", read_only: bool = False) -> None:
        self.device = device
        device.handle_unknown = self._distrust
        self.nodes: dict[int, Node] = {}
        self.by_handle: dict[int, Node] = {}
        self.detached: Callable[[Node, bytes], None] = lambda _node, _name: None
        """Called with (parent, name) when a name vanished that the kernel may still know."""
        self.changed: Callable[[Node], None] = lambda _node: None
        """Called when size, date or contents are others than the kernel may know."""
        self.hidden: dict[str, Node] = {}
        """Unlinked files that are open: the device still has them, under these names, but no directory shows them."""
        self.listings_fetched = 0
        self.listings_cached = 0
        """Times that a directory was asked for, and the device wasn't."""
        self._numbers = itertools.count(ROOT_INO)
        self._ttl = ttl
        self._wanted_storage = storage
        self._leftovers = Leftovers(device, read_only=read_only)
        self._mounted_at = time.time()
        self._absent: dict[bytes, Node] = {}
        """Storages that have vanished, by shown name."""
        self.root = self._new(None, b"", is_folder=True)

    # --- finding ---------------------------------------------------------------------

    async def child(self, directory: Node, name: bytes) -> Node:
        """Return the entry `name`. Raises ENOENT, ENOTDIR, and what listing raises."""
        await self.ensure_listed(directory)
        node = directory.children.get(name)
        if node is None:
            raise FsError(errno.ENOENT)
        return node

    async def ensure_listed(self, directory: Node, *, fresh: bool = False) -> None:
        """Make `children` current; `fresh`: ask the device even if the cache would do."""
        if not directory.is_folder:
            raise FsError(errno.ENOTDIR)
        directory.check_not_lost()
        if not fresh and self._is_current(directory):
            self.listings_cached += 1
            return
        for last in (False, True):
            try:
                with self.device.session.pinned(anew=True):
                    await self._list(directory, fresh=fresh)
                return
            except SessionLostError:
                if last:
                    raise
            except ResponseError as error:
                # The directory's own handle; but ENOENT would be a lie, and is the end of a directory to libc.
                if error.errno != errno.ENOENT:
                    raise
                if last:
                    raise FsError(errno.ESTALE, f"{directory.path}: {error}") from error
            log.debug("%s: listed again, in a new session or by a new handle", directory.path)

    async def _list(self, directory: Node, *, fresh: bool) -> None:
        asked_at = trio.current_time()
        # Handles are looked up before the lock is taken: lookups go upwards, and nothing
        # that holds one directory's lock may wait for another's (rename takes two, in order).
        place = None if self._holds_storages(directory) else await self.place(directory)
        try:
            async with directory.lock:
                directory.check_not_lost()
                listed = directory.listed_at
                done_meanwhile = listed is not None and listed > asked_at
                if done_meanwhile or (not fresh and self._is_current(directory)):
                    self.listings_cached += 1
                    return
                if directory.unlinked:
                    raise FsError(errno.ENOENT)
                if place is None:
                    await self._list_storages()
                    will_do = True
                else:
                    will_do = await self._list_objects(directory, *place)
                self.listings_fetched += 1
                now = trio.current_time()
                directory.listed_at = now if will_do else None
                directory.listing_cost = now - asked_at
        except ResponseError as error:
            if error.code in WITHDRAWN and await self.is_absent(directory):
                raise FsError(errno.ENODEV, f"the storage of {directory.path} isn't there") from error
            raise

    async def is_absent(self, node: Node) -> bool:
        """Ask the device whether the storage that a node is on has vanished: an error may be due to that."""
        await self.refresh_storages()
        return node.storage is None

    async def reason(self, node: Node, error: MtpfsError) -> MtpfsError:
        """Return why something with `node` has failed: a phone that is being locked refuses with all kinds of answers."""
        if isinstance(error, ResponseError):
            with contextlib.suppress(MtpfsError):  # then nobody can tell
                if await self.is_absent(node):
                    return FsError(errno.ENODEV, f"the storage of {node.path} isn't there")
        return error

    async def refresh_storages(self) -> None:
        """Ask the device which storages there are."""
        if not self._wanted_storage:
            await self.ensure_listed(self.root, fresh=True)
        elif self.root.storage is not None:
            there = {storage.id for storage in await self.device.storages()}
            if self.root.storage is not None and self.root.storage.id not in there:
                self._forget_handles(self.root)
                self._set_storage(self.root, None)

    async def place(self, directory: Node) -> tuple[Storage, int]:
        """Return (storage, handle) of a directory; the handle is 0 for a storage's root."""
        if self._wanted_storage and self.root.generation != self.device.session.generation:
            await self._choose_storage()
            self.root.generation = self.device.session.generation
            self.root.listed_at = None
        if self._holds_storages(directory):
            raise FsError(errno.EACCES, "the root only holds storages")
        handle = await self.handle(directory)
        storage = directory.storage
        if storage is None:
            raise FsError(errno.ENODEV)
        return storage, handle

    async def handle(self, node: Node) -> int:
        """Return the node's handle in the current session, looking it up anew after a reconnection.

        0 for a storage's root. Raises ESTALE when the object isn't there any more.
        """
        if node.parent is None:
            return node.handle
        session = self.device.session
        while node.generation != session.generation:
            generation = session.generation
            if node.unlinked and self.hidden.get(node.object_name) is not node:
                raise FsError(errno.ESTALE)
            await self.ensure_listed(node.parent, fresh=node.unlinked)
            if node.storage is None:
                break
            if node.generation != generation == session.generation:  # else there was a new session meanwhile
                raise FsError(errno.ESTALE, f"{node.path} is gone")
        if node.storage is None and self._wanted_storage:
            await self.place(self.root)  # is it there again?
        if node.storage is None:
            raise FsError(errno.ENODEV, f"the storage of {node.path} isn't there")
        return node.handle

    def _holds_storages(self, directory: Node) -> bool:
        return directory is self.root and not self._wanted_storage

    def _is_current(self, directory: Node) -> bool:
        session = self.device.session
        if session.gone or directory.listed_at is None or directory.generation != session.generation:
            return False
        age = trio.current_time() - directory.listed_at
        if self._holds_storages(directory):
            return bool(directory.children) and age < STORAGE_TTL  # a locked phone's emptiness is never kept
        ttl = EVENT_TTL if self.device.sends_events else self._ttl
        return age < max(ttl, COST_FACTOR * directory.listing_cost)

    # --- merging ---------------------------------------------------------------------

    def merge(self, directory: Node, entries: Iterable[Entry]) -> None:
        """Make `directory` hold exactly `entries`, and the files that aren't uploaded yet."""
        before = directory.children
        after: dict[bytes, Node] = {
            name: node for name, node in before.items() if not node.handle and not node.is_storage
        }
        above = {node.handle for node in directory.ancestry()}
        numbers: dict[bytes, int] = {}
        # In the order of handles, so that of two objects with one name each keeps its number.
        for entry in sorted(entries, key=lambda entry: entry.handle):
            if entry.handle in above:
                log.warning("%s holds itself or what it is in; that is skipped", directory.path)
                continue
            if (waiting := after.get(names.shown_name(entry.name))) is not None and _is_to_replace(
                waiting, entry
            ):
                self.describe(waiting, entry)
                continue
            name = _free_name(entry.name, after, numbers)
            node = before.get(name)
            if node is None or node.is_folder != entry.is_folder or name in after:
                node = self._new(directory, name, is_folder=entry.is_folder)
            after[name] = node
            self.describe(node, entry)
        for name, node in before.items():
            if name not in after and node.content is not None and node.content.is_ahead:
                # Gone on the device, but what is being written here will be sent as a new object.
                self._forget_handle(node)
                after[name] = node
        directory.children = after
        for name, node in before.items():
            if after.get(name) is not node:
                self.drop(node, directory, name)

    def insert(self, directory: Node, entry: Entry) -> None:
        """Add one object that appeared in a listed directory."""
        if len(directory.children) >= MAX_HANDLES:
            directory.listed_at = None  # as many as a listing may have, and the next one will say so
            return
        name = _free_name(entry.name, directory.children, {})
        node = self._new(directory, name, is_folder=entry.is_folder)
        directory.children[name] = node
        self.describe(node, entry)

    def describe(self, node: Node, entry: Entry) -> None:
        """Take over what the device says of an object."""
        changed = node.size != entry.size or (entry.modified is not None and node.modified != entry.modified)
        if node.handle != entry.handle:
            # Another object of the same size and second is another one all the same.
            changed |= bool(node.handle) and node.generation == self.device.session.generation
            self._forget_handle(node)
        if node.generation != self.device.session.generation:
            node.listed_at = None  # what it holds still has handles of an older session
        node.object_name = entry.name
        node.handle = entry.handle
        node.generation = self.device.session.generation
        node.attributes_stale = False
        self.by_handle[entry.handle] = node
        if node.content is not None and node.content.is_ahead:
            return  # what we hold is newer than what the device has
        node.size = entry.size
        node.modified = self._mounted_at if entry.modified is None else entry.modified
        if changed and node.content is not None:
            node.content.changed_outside()
        if changed and node.lookups:
            self.changed(node)

    def adopt(self, directory: Node, name: bytes, *, is_folder: bool) -> Node:
        """Add a node that was created here."""
        node = self._new(directory, name, is_folder=is_folder)
        node.modified = time.time() // 1  # whole seconds, as the device will have it
        directory.children[name] = node
        return node

    def detach(self, node: Node) -> None:
        """Take a node out of its directory: it is gone from the device, or about to be."""
        if node.parent is not None and node.parent.children.get(node.name) is node:
            del node.parent.children[node.name]
        self._mark_unlinked(node)

    def vanish(self, node: Node) -> None:
        """Take out a node that the kernel still believes in: its contents never arrived on the device."""
        self.detach(node)
        if node.parent is not None:
            self.detached(node.parent, node.name)

    def relocate(self, node: Node, directory: Node, name: bytes, object_name: str) -> None:
        """Follow a rename or move on the device."""
        if node.parent is not None and node.parent.children.get(node.name) is node:
            del node.parent.children[node.name]
        node.parent, node.name, node.object_name = directory, name, object_name
        directory.children[name] = node
        self._set_storage(node, directory.storage)

    def restore(self, node: Node) -> None:
        """Put a node back whose place `relocate` gave to another one."""
        assert node.parent is not None
        node.parent.children[node.name] = node

    def hide(self, node: Node, object_name: str) -> None:
        """Note that an open file that is about to be unlinked has this name on the device now."""
        node.object_name = object_name
        self.hidden[object_name] = node

    @property
    def unshown(self) -> set[int]:
        """Handles of objects that no directory shows and nobody can delete."""
        return self._leftovers.unshown

    def forget(self, ino: int, count: int) -> None:
        """Answer the kernel's forget: it dropped `count` references."""
        node = self.nodes.get(ino)
        if node is None:
            return
        node.lookups = max(0, node.lookups - count)
        self.reap(node)

    def reap(self, node: Node) -> None:
        """Drop a node that nothing can reach any more."""
        if node.unlinked and not node.lookups and node.content is None:
            self.nodes.pop(node.ino, None)

    def _distrust(self, handle: int) -> None:
        """The device doesn't know a handle that it gave us: look for its object, and all above it, by name."""
        node = self.by_handle.get(handle)
        for member in node.ancestry() if node is not None else ():
            member.generation = -1
            member.listed_at = None

    def expire(self) -> None:
        """Trust no listing any more: the device has lost track, or this is a new session."""
        for node in self.nodes.values():
            node.listed_at = None

    async def _list_objects(self, directory: Node, storage: Storage, handle: int) -> bool:
        """Ask for a directory's objects; tell whether the next one who looks there can do with that."""
        entries = self._without_hidden(await list_children(self.device, storage.id, handle))
        shown, is_settled = await self._leftovers.settle(storage, directory.device_path, entries)
        self.merge(directory, shown)
        if directory is self.root:
            directory.generation = self.device.session.generation
        evict(self, directory)
        return is_settled

    def _without_hidden(self, entries: list[Entry]) -> list[Entry]:
        shown = []
        for entry in entries:
            if (hidden := self.hidden.get(entry.name)) is None:
                shown.append(entry)
            else:
                hidden.handle, hidden.generation = entry.handle, self.device.session.generation
        return shown

    async def _choose_storage(self) -> None:
        storages = await self.device.storages()
        wanted = self._wanted_storage
        match = [s for s in storages if wanted in {s.description, s.volume, f"0x{s.id:08x}"}]
        if not match:
            known = ", ".join(repr(s.description) for s in storages) or "none"
            raise FsError(errno.ENODEV, f"no storage {wanted!r}; there are: {known}")
        self._set_storage(self.root, match[0])

    async def _list_storages(self) -> None:
        storages = await self.device.storages()
        self.root.generation = self.device.session.generation
        before, after = self.root.children, dict[bytes, Node]()
        for storage in storages:
            name = _free_name(storage.description or storage.volume or "Storage", after, {})
            node = before.get(name) or self._absent.pop(name, None)
            if node is None:
                node = self._new(self.root, name, is_folder=True)
            elif node.storage is None or node.storage.id != storage.id:
                self._forget_handles(node)
            if node.generation != self.root.generation:
                node.listed_at = None
                node.generation = self.root.generation
            node.modified = self._mounted_at
            self._set_storage(node, storage)
            after[name] = node
        self.root.children = after
        for name, node in before.items():
            if after.get(name) is not node:
                self._absent[name] = node
                self._forget_handles(node)
                self._set_storage(node, None)
                self.detached(self.root, name)

    def _new(self, parent: Node | None, name: bytes, *, is_folder: bool) -> Node:
        node = Node(next(self._numbers), parent, name, is_folder=is_folder)
        node.modified = self._mounted_at
        self.nodes[node.ino] = node
        return node

    def _set_storage(self, node: Node, storage: Storage | None) -> None:
        if node.storage is not storage:
            for member in node.subtree():
                member.storage = storage

    def _forget_handles(self, storage: Node) -> None:
        """Have everything on a storage looked up again: it comes back with other handles."""
        for member in storage.subtree():
            if self.by_handle.get(member.handle) is member:
                del self.by_handle[member.handle]
            member.generation = -1
            member.listed_at = None

    def drop(self, node: Node, directory: Node, name: bytes) -> None:
        """Let go of a node that was in `directory` and isn't any more, though nobody here has deleted it."""
        if directory.children.get(name) is node:
            del directory.children[name]
        for member in node.subtree():
            member.lost = True
        self._mark_unlinked(node)
        self.detached(directory, name)

    def _forget_handle(self, node: Node) -> None:
        if self.by_handle.get(node.handle) is node:
            del self.by_handle[node.handle]
        node.handle = 0

    def _mark_unlinked(self, node: Node) -> None:
        for member in list(node.subtree()):
            member.unlinked = True
            if self.by_handle.get(member.handle) is member:
                del self.by_handle[member.handle]  # but the node keeps it: open descriptors go on reading
            member.children = {}
            self.reap(member)


def _is_to_replace(node: Node, entry: Entry) -> bool:
    """Tell whether a file that isn't sent yet is to take an object's place: one that has appeared meanwhile.

    It may be our own, from an upload whose confirmation never came.
    """
    return not node.handle and not node.is_storage and not entry.is_folder and node.object_name == entry.name


def _free_name(object_name: str, taken: Container[bytes], numbers: dict[bytes, int]) -> bytes:
    """Return the shown name of an object, numbered if others have it already.

    `numbers` holds the next number by name, lest each of many who share one tries all of them.
    """
    plain = name = names.shown_name(object_name)
    for number in itertools.count(numbers.get(plain, 2)):
        if name not in taken:
            break
        name = names.numbered(plain, number)
        numbers[plain] = number + 1
    return name
