"""The tree of nodes: inode numbers that stay, object handles that come and go.

A `Node` is what the kernel knows by its inode number. An object handle is only a property of a node. It is valid
in one session. In the next session it is looked up again, by listing the parent. A directory's listing is kept
until an event, a change of our own or its age ends it. A new listing is merged into the nodes that are there,
matched by name and kind. So inode numbers survive.

A listing and a change may overlap. The answer of the listing may then be older than the change. So the listing
leaves alone every name that was claimed (`mtpfs.vfs.claims`) at any time since its first transaction. It takes one
thing for such a name: a handle, if the one known is of an earlier session.

A storage that vanishes (a locked phone, a card that is taken out) is put aside with all that is known below it.
When it comes back, it is found by its name.

Locks: a listing holds its directory's `listing_lock`. That is a leaf: under it only the device is waited for. A
listing may be asked for with or without a claim, and with or without a file's lock.

Invariant: `children` of a listed directory are exactly its nodes that exist, by shown name. A node that left is
`unlinked` and in no directory.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Collection, Iterable

import trio

from mtpfs.device import STORAGE_AWAY, Device, Entry, Handle, Storage, listing
from mtpfs.device.listing import MAX_HANDLES
from mtpfs.errors import FsError, MtpfsError, ResponseError, SessionLostError
from mtpfs.redaction import hide_name
from mtpfs.vfs import names
from mtpfs.vfs.claims import Claims
from mtpfs.vfs.hidden import Hidden
from mtpfs.vfs.node import Listing, News, Node
from mtpfs.vfs.numbers import Numbers
from mtpfs.vfs.remembered import RememberedDates
from mtpfs.vfs.settling import Settler
from mtpfs.vfs.stale import with_current_handles
from mtpfs.vfs.temporaries import parse

log = logging.getLogger(__name__)

ROOT_INO = 1
RESERVED = frozenset({ROOT_INO})
EVENT_TTL = 300.0  # seconds a listing lives on a device that announces changes: events can be lost
COST_FACTOR = 10.0  # a listing lives at least this many times as long as it took to get
STORAGE_TTL = 3.0  # seconds between two looks for storages that appeared or vanished
MOST_NODES = 1 << 19  # at half a kilobyte to one each
KEPT_NODES = MOST_NODES - MOST_NODES // 4  # nodes that remain after some were forgotten
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR}
UNKNOWN_DATE = 0.0  # the same at every mount, so that backups don't take it for a change


class Tree:
    """All nodes of a mount. On the trio thread.

    What is called, and may not block: `entry_gone(parent, name)` if the kernel may know a name that has gone,
    `changed(node)` if it may know another size or date, `heard(news, node)` of what has come or gone without a request.
    """

    def __init__(
        self,
        device: Device,
        claims: Claims,
        *,
        entry_gone: Callable[[Node, bytes], None],
        changed: Callable[[Node], None],
        heard: Callable[[News, Node], None],
        ttl: float,
        storage: str = "",
        read_only: bool = False,
        dates: RememberedDates,
    ) -> None:
        self.device = device
        self._dates = dates
        device.on_unknown_handle(self._distrust)
        self.nodes: dict[int, Node] = {}
        self.by_handle: dict[Handle, Node] = {}
        self.hidden = Hidden()
        self._expired = 0  # how often; to go through all nodes each time would take long
        self._moves = 0
        """How often a node was moved to another directory."""
        self.listings_fetched = 0
        self.listings_cached = 0
        """Times that a directory was asked for, and the device wasn't."""
        self._claims = claims
        self._entry_gone = entry_gone
        self._changed = changed
        self._heard = heard
        self._numbers = Numbers(RESERVED)
        self._ttl = ttl
        self._wanted_storage = storage
        self._settler = Settler(device, claims, read_only=read_only)
        self._departed: dict[tuple[Node, bytes], Node] = {}
        """Files that were removed here while the kernel knows them, by the name that they had."""
        self._absent: dict[bytes, Node] = {}
        """Storages that have vanished, by shown name."""
        self.root = Node(ROOT_INO, None, b"", is_folder=True)
        self.root.note_change(time.time())
        self.nodes[ROOT_INO] = self.root

    # --- finding ---------------------------------------------------------------------

    async def child(self, directory: Node, name: bytes) -> Node:
        """Return the entry `name`. Raises ENOENT, ENOTDIR, and what listing raises."""
        await self.ensure_listed(directory)
        if (node := directory.children.get(name)) is None:
            raise FsError(errno.ENOENT)
        return node

    async def ensure_listed(self, directory: Node, *, fresh: bool = False) -> None:
        """Make `children` current; `fresh`: ask the device even if the cache would do.

        Raises ENOTDIR, ESTALE for a directory that has vanished, ENODEV, and what the session raises.
        """
        if not directory.is_folder:
            raise FsError(errno.ENOTDIR)
        directory.check_not_lost()
        if not fresh and self.is_current(directory):
            self.listings_cached += 1
            return
        try:
            await with_current_handles(
                self.device.session,
                lambda: self._list(directory, fresh=fresh),
                is_stale=lambda error: error.errno in _NOT_THERE,
                subject=lambda: directory.path,
            )
        except ResponseError as error:
            # The directory's own handle; but ENOENT would be a lie, and is the end of a directory to libc.
            if error.errno in _NOT_THERE:
                raise FsError(errno.ESTALE, f"{directory.path}: {error}") from error
            raise

    async def look(self, directory: Node) -> list[Entry]:
        """Ask the device what a directory holds now, and change nothing here: for a caller that holds a claim in it."""
        storage, folder = await self.place(directory)
        return await listing.children(self.device, storage.id, folder)

    async def find(self, directory: Node, object_name: str) -> Entry | None:
        """Ask the device for the object of that name; None: there is none."""
        return next((entry for entry in await self.look(directory) if entry.name == object_name), None)

    async def _list(self, directory: Node, *, fresh: bool) -> None:
        await self._dates.until_loaded()
        asked_at = trio.current_time()
        # Looked up before the lock is taken: that goes upwards, and lists other directories.
        place = None if self._holds_storages(directory) else await self.place(directory)
        try:
            async with directory.listing_lock:
                directory.check_not_lost()
                known = directory.listing
                done_meanwhile = known is not None and known.at > asked_at and self.believes(directory)
                if done_meanwhile or (not fresh and self.is_current(directory)):
                    self.listings_cached += 1
                    return
                if directory.unlinked:
                    raise FsError(errno.ENOENT)
                epoch = self._epoch
                if place is None:
                    await self._list_storages()
                    will_do = True
                else:
                    will_do = await self._list_objects(directory, *place)
                self.listings_fetched += 1
                now = trio.current_time()
                will_do &= now >= directory.distrusted_until
                directory.listing = Listing(now, now - asked_at, epoch) if will_do else None
                directory.was_listed = True
        except ResponseError as error:
            if error.code in STORAGE_AWAY and await self.is_absent(directory):
                raise FsError(errno.ENODEV, f"the storage of {directory.path} isn't there") from error
            raise

    async def is_absent(self, node: Node) -> bool:
        """Ask the device whether the storage that a node is on has vanished: an error may be due to that."""
        await self.refresh_storages()
        return node.storage is None

    async def reason(self, node: Node, error: MtpfsError) -> MtpfsError:
        """Return why something with `node` has failed: a phone that is being locked refuses with many different codes."""
        if isinstance(error, ResponseError):
            with contextlib.suppress(MtpfsError):  # then the reason stays unknown
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
                self.forget_handles(self.root)
                self._set_storage(self.root, None)

    async def place(self, directory: Node) -> tuple[Storage, Handle]:
        """Return (storage, folder) of a directory, the folder being number 0 for a storage's root.

        Raises EACCES for the root that only holds storages, ENODEV, ESTALE, and what listing raises.
        """
        if self._wanted_storage and not self._is_valid(self.root.handle):
            await self._choose_storage()
            self.root.handle = Handle(0, self.device.session.generation)
            self.root.distrust()
        if self._holds_storages(directory):
            raise FsError(errno.EACCES, "the root only holds storages")
        handle = await self.handle(directory)
        storage = directory.storage
        if storage is None:
            raise FsError(errno.ENODEV)
        return storage, handle

    async def handle(self, node: Node) -> Handle:
        """Return the node's handle in the current session, looking it up anew if it is of another one.

        Raises ESTALE when the object isn't there any more, ENODEV without its storage.
        """
        session = self.device.session
        while not self._is_valid(node.handle):
            generation = session.generation
            if node.parent is None:
                await self.place(node)
                break
            if not self.has_object(node):
                raise FsError(errno.ESTALE, f"{node.path} is gone")
            await self.ensure_listed(node.parent, fresh=not node.is_storage)
            if node.storage is None:
                break
            if not self._is_valid(node.handle) and generation == session.generation:
                raise FsError(errno.ESTALE, f"{node.path} is gone")
        if node.storage is None and self._wanted_storage and node.parent is not None:
            await self.place(self.root)  # is it there again?
        if node.storage is None or node.handle is None:
            raise FsError(errno.ENODEV, f"the storage of {node.path} isn't there")
        return node.handle

    def has_object(self, node: Node) -> bool:
        """Tell whether a node's object can be found by its name: it is in a directory, or hidden."""
        return not node.unlinked or self.hidden.holds(node)

    def _is_valid(self, handle: Handle | None) -> bool:
        return handle is not None and handle.generation == self.device.session.generation

    def _holds_storages(self, directory: Node) -> bool:
        return directory is self.root and not self._wanted_storage

    @property
    def _epoch(self) -> tuple[int, int]:
        return self.device.session.generation, self._expired

    def believes(self, directory: Node) -> bool:
        """Tell whether nothing but its age ends the trust in what is known of a directory."""
        return directory.listing is not None and directory.listing.epoch == self._epoch

    def is_current(self, directory: Node) -> bool:
        """Tell whether what is known of a directory is believed without asking the device."""
        known = directory.listing
        if self.device.session.gone or known is None or not self.believes(directory):
            return False
        age = trio.current_time() - known.at
        if self._holds_storages(directory):
            return bool(directory.children) and age < STORAGE_TTL  # a locked phone's emptiness is never kept
        return age < max(EVENT_TTL if self.device.sends_events else self._ttl, COST_FACTOR * known.cost)

    # --- merging ---------------------------------------------------------------------

    def merge(self, directory: Node, entries: Iterable[Entry], touched: Collection[str] = ()) -> None:
        """Make `directory` hold exactly `entries`, and what the device hasn't got yet; leave `touched` names alone."""
        before = directory.children
        after: dict[bytes, Node] = {
            name: node
            for name, node in before.items()
            if (touched and names.fold(node.object_name) in touched)
            or (node.handle is None and not node.is_storage)
        }
        left_alone = {
            node.object_name: node
            for node in after.values()
            if touched and names.fold(node.object_name) in touched
        }
        above = {node.handle for node in directory.ancestry()}
        numbers: dict[bytes, int] = {}
        prefix = directory.path_bytes
        # What is known first, then in the order of handles, so that of two objects with one name each keeps its own.
        for entry in sorted(entries, key=lambda one: (one.handle not in self.by_handle, one.handle.number)):
            if entry.handle in above:
                log.warning("%s holds itself or what it is in; that is skipped", directory.path)
                continue
            if touched and names.fold(entry.name) in touched:
                node = left_alone.get(entry.name)
                if node is not None and node.handle is not None and not self._is_valid(node.handle):
                    self._set_handle(node, entry.handle)
                continue
            if (waiting := after.get(names.shown_name(entry.name))) is not None and waiting.is_to_replace(
                entry
            ):
                self.describe(waiting, entry)
                continue
            name = names.free(entry.name, after, numbers)
            node = before.get(name)
            if node is None or node.is_folder != entry.is_folder or name in after:
                node = self._new(directory, name, is_folder=entry.is_folder, prefix=prefix)
            after[name] = node
            self.describe(node, entry)
        for name, node in before.items():
            if name not in after and node.is_ahead:
                # Gone on the device, but what is being written here will be sent as a new object.
                self._forget_handle(node)
                after[name] = node
        directory.replace_children(after)
        gone = [(name, node) for name, node in before.items() if after.get(name) is not node]
        for name, node in gone:
            self._let_go(node, directory, name)
            self._heard(News.VANISHED, node)
        if directory.was_listed and (gone or len(after) > len(before)):
            self.changed_outside(directory)
            for name, node in after.items():
                if before.get(name) is not node:
                    self._heard(News.APPEARED, node)

    def insert(self, directory: Node, entry: Entry) -> None:
        """Add one object that appeared in a listed directory."""
        if len(directory.children) >= MAX_HANDLES:
            directory.distrust()  # as many as a listing may have, and the next one will say so
            return
        plain = directory.children.get(names.shown_name(entry.name))
        if plain is not None and plain.is_to_replace(entry):
            self.describe(plain, entry)
            return
        name = names.free(entry.name, directory.children, {})
        node = self._new(directory, name, is_folder=entry.is_folder)
        directory.add(node)
        self.describe(node, entry)
        self.changed_outside(directory)
        self._heard(News.APPEARED, node)

    def describe(self, node: Node, entry: Entry) -> None:
        """Take over what the device says of an object."""
        changed = node.size != entry.size or (entry.modified is not None and node.told != entry.modified)
        if node.handle != entry.handle:
            # Another object of the same size and second is another one all the same.
            changed |= self._is_valid(node.handle)
            if not self._is_valid(node.handle):
                node.distrust()  # what it holds still has handles of an older session
                if node.is_folder and node.was_listed and entry.modified is None:
                    self._touch(node)  # something else may be in it by now
            self._set_handle(node, entry.handle)
        node.object_name, node.protected = entry.name, entry.protected
        node.attributes_stale = False
        if node.is_ahead:
            return  # what we hold is newer than what the device has
        node.size, node.size_known = entry.size, entry.size_known
        if not (entry.date_elsewhere and node.told is not None and not changed):
            node.date_elsewhere = entry.date_elsewhere
            self.note_date(node, entry.modified)
        if changed and node.holder is not None:
            node.holder.changed_outside()
        if changed and node.lookups:
            self._changed(node)

    def note_date(self, node: Node, told: float | None, *, is_sent: bool = False) -> None:
        """Take over the date that the device tells, and show it, or what a program has set since; `is_sent`: see Node."""
        node.told, node.date_is_sent = told, is_sent
        remembered = None
        # A date that isn't known yet is no reason to call the record void.
        if self._dates and not node.date_elsewhere:
            remembered = self._dates.get(node.place_on_device, node.size, told)
        shown = remembered or told or UNKNOWN_DATE
        if node.is_folder and remembered is None:
            # Never the same at two mounts where it isn't known: to programs the same date means that nothing has changed.
            shown = max(shown, node.modified) or time.time()
        node.modified = shown

    def remember_date(self, node: Node, date: float) -> None:
        """Show the date that a program has set, where the device can't take one."""
        # A directory without one isn't remembered: nothing would tell that something else is in it now.
        if node.told != date and not (node.is_folder and node.told is None):
            self._dates.set(node.place_on_device, node.size, node.told, date)
        elif self._dates:
            self._dates.void(node.place_on_device)  # of an earlier one
        node.modified = date

    def forget_date(self, node: Node) -> None:
        """Forget a date that a program has set: the contents are about to be others."""
        self._dates.remove(node.place_on_device)

    def adopt(self, directory: Node, name: bytes, object_name: str, *, is_folder: bool) -> Node:
        """Add a node that was created here; the device hasn't got it yet."""
        node = self._new(directory, name, is_folder=is_folder)
        node.object_name = object_name
        node.modified = time.time() // 1  # whole seconds, as the device will have it
        directory.add(node)
        self._touch(directory)
        self._succeed(node)
        return node

    def _succeed(self, node: Node) -> None:
        """Have a late open of the file that had this name before get this one."""
        assert node.parent is not None
        departed = self._departed.pop((node.parent, node.name), None)
        if departed is not None and departed is not node and not departed.is_folder and not node.is_folder:
            departed.successor = node

    def adopted(self, node: Node, handle: Handle) -> None:
        """Note that the device has an object of a node that was created here."""
        self._set_handle(node, handle)

    def listed_empty(self, directory: Node) -> None:
        """Note that a directory is known to be empty: it was just created."""
        directory.listing = Listing(trio.current_time(), 0.0, self._epoch)
        directory.was_listed = True

    def detach(self, node: Node, successor: Node | None = None) -> None:
        """Take a node out of its directory: it is gone from the device, or about to be."""
        if node.parent is not None:
            node.parent.remove(node)
            self._touch(node.parent)
        node.successor = successor
        if successor is None or successor.place_on_device != node.place_on_device:  # else it has a date there
            self._dates.remove(node.place_on_device)
        if node.parent is not None and node.lookups:
            self._departed[node.parent, node.name] = node
        self._mark_unlinked(node)

    def vanish(self, node: Node) -> None:
        """Take out a node that the kernel still knows: its contents never arrived on the device."""
        if node.unlinked:
            return
        self.detach(node)
        if node.parent is not None:
            self._entry_gone(node.parent, node.name)
            self._heard(News.VANISHED, node)

    def relocate(self, node: Node, directory: Node, name: bytes, object_name: str) -> None:
        """Follow a rename or move on the device."""
        before = node.place_on_device
        if node.parent is not None:
            node.parent.remove(node)
            self._touch(node.parent)
        if node.parent is not directory:
            self._moves += 1
            node.moved = self._moves
        node.parent, node.name, node.object_name = directory, name, object_name
        directory.add(node)
        self._touch(directory)
        self._set_storage(node, directory.storage)
        self._dates.move(before, node.place_on_device)
        self._succeed(node)

    @property
    def unshown(self) -> set[Handle]:
        """Objects that no directory shows and that can't be deleted."""
        return self._settler.unshown

    def forget(self, ino: int, count: int) -> None:
        """Answer the kernel's forget: it dropped `count` references."""
        if (node := self.nodes.get(ino)) is not None:
            node.lookups = max(0, node.lookups - count)
            self.reap(node)

    def reap(self, node: Node) -> None:
        """Drop a node that nothing can reach any more; its number may be another one's then."""
        if node.unlinked and not node.lookups and node.holder is None and self.nodes.get(node.ino) is node:
            del self.nodes[node.ino]
            self._numbers.release(node.ino)
            node.successor = None
            if node.parent is not None and self._departed.get((node.parent, node.name)) is node:
                del self._departed[node.parent, node.name]

    def _distrust(self, handle: Handle) -> None:
        """The device doesn't know a handle that it gave us: look for its object, and all above it, by name."""
        node = self.by_handle.get(handle) or self.hidden.find(handle)
        for member in node.ancestry() if node is not None else ():
            if member.handle is not None:
                self._void(member)
            member.distrust()

    def expire(self) -> None:
        """Trust no listing any more: the device has lost track, or this is a new session."""
        self._expired += 1

    async def _list_objects(self, directory: Node, storage: Storage, folder: Handle) -> bool:
        """Ask for a directory's objects; tell whether the answer may be kept for the next look."""
        with self._claims.watch(directory) as touched:
            # What the device's layer logs names objects by their handles.
            log.debug("%s is listed: folder %s of storage 0x%08X", directory.path, folder, storage.id)
            before = self._moves
            found = await listing.children(self.device, storage.id, folder)
            if directory.handle != folder:
                raise SessionLostError(f"{directory.path} is another object by now")  # it was copied, say
            entries = self.hidden.sift(
                entry for entry in found if not self._is_leaving(directory, entry, before, touched)
            )
            self._follow_put_aside(directory, entries)
            shown, is_settled = await self._settler.settle(directory, storage, folder, entries, touched)
            self.merge(directory, shown, touched)
        self._note_folding(storage, found)
        self._evict(directory)
        return is_settled

    def _note_folding(self, storage: Storage, entries: list[Entry]) -> None:
        """Two names that differ only in case are proof that the storage tells them apart."""
        if self.device.folds(storage.id):
            folded = {names.fold(entry.name) for entry in entries}
            if len(folded) < len({entry.name for entry in entries}):
                self.device.learned_folding(storage.id, folds=False)

    def _is_leaving(self, directory: Node, entry: Entry, moves: int, touched: set[str]) -> bool:
        """Tell whether we have moved this object out of the directory since it was asked for, or are about to.

        What the device says of it then, its name for example, may be true of the other place.
        """
        node = self.by_handle.get(entry.handle)
        if node is None or node.parent is not directory:
            return node is not None and node.moved > moves
        return entry.name != node.object_name and names.fold(node.object_name) in touched

    def _follow_put_aside(self, directory: Node, entries: list[Entry]) -> None:
        """Look up those that a change has given a temporary name for the moment: what is shown hasn't got them."""
        temporary = {entry.name: entry.handle for entry in entries if parse(entry.name) is not None}
        for node in directory.children.values() if temporary else ():
            handle = temporary.get(node.object_name)
            if handle is not None and not self._is_valid(node.handle):
                self._set_handle(node, handle)

    async def _choose_storage(self) -> None:
        storages = await self.device.storages()
        wanted = self._wanted_storage
        match = [s for s in storages if wanted in {s.description, s.volume, f"0x{s.id:08x}"}]
        if not match:
            hide_name(wanted)
            known = ", ".join(repr(s.description) for s in storages) or "none"
            raise FsError(errno.ENODEV, f"no storage {wanted!r}; there are: {known}")
        self._set_storage(self.root, match[0])

    async def _list_storages(self) -> None:
        storages = await self.device.storages()
        generation = self.device.session.generation
        before, after = self.root.children, dict[bytes, Node]()
        for storage in storages:
            name = names.free(storage.description or storage.volume or "Storage", after, {})
            node = before.get(name) or self._absent.pop(name, None)
            if node is None:
                node = self._new(self.root, name, is_folder=True)
                node.note_change(time.time())
            elif node.storage is None or node.storage.id != storage.id:
                self.forget_handles(node)
            if node.handle is None or node.handle.generation != generation:
                node.distrust()
                if node.handle is not None:
                    self._touch(node)  # it was away, and may hold something else by now
                node.handle = Handle(0, generation)
            self._set_storage(node, storage)
            after[name] = node
        self.root.replace_children(after)
        if before.keys() != after.keys():
            self.changed_outside(self.root)
            for name in after.keys() - before.keys() if self.root.was_listed else ():
                self._heard(News.APPEARED, after[name])
        for name, node in before.items():
            if after.get(name) is not node:
                self._absent[name] = node
                self.forget_handles(node)
                self._set_storage(node, None)
                self._entry_gone(self.root, name)
                self._heard(News.VANISHED, node)

    def _new(self, parent: Node, name: bytes, *, is_folder: bool, prefix: bytes | None = None) -> Node:
        path = b"%s/%s" % (parent.path_bytes if prefix is None else prefix, name)
        ino = self._numbers.take(path.decode("utf-8", "surrogateescape"))
        node = Node(ino, parent, name, is_folder=is_folder)
        self.nodes[ino] = node
        return node

    def _set_storage(self, node: Node, storage: Storage | None) -> None:
        if node.storage is not storage:
            for member in node.subtree():
                member.storage = storage

    def _set_handle(self, node: Node, handle: Handle) -> None:
        self._forget_handle(node)
        node.handle = handle
        self.by_handle[handle] = node

    def _void(self, node: Node) -> None:
        """Have a node's handle looked up again."""
        assert node.handle is not None
        if self.by_handle.get(node.handle) is node:
            del self.by_handle[node.handle]
        node.handle = Handle(node.handle.number, -1)

    def forget_handles(self, storage: Node) -> None:
        """Have the handles of everything on a storage looked up again: it comes back with other ones."""
        for member in storage.subtree():
            if member.handle is not None:
                self._void(member)
            member.distrust()

    def look_for(self, node: Node) -> None:
        """Have the next look tell whether a node is gone, or has another handle now."""
        if node.parent is not None and node.handle is not None:
            self._void(node)
            node.parent.distrust()
            self._entry_gone(node.parent, node.name)

    def drop(self, node: Node) -> None:
        """Take out a node that isn't in its directory any more, though it wasn't deleted here."""
        if node.parent is not None:
            self._let_go(node, node.parent, node.name)
            self._heard(News.VANISHED, node)
            self.changed_outside(node.parent)

    def changed_outside(self, directory: Node) -> None:
        """Note that something has appeared in a directory, or vanished from it, and not by us."""
        self._touch(directory)
        if directory.lookups or directory is self.root:
            self._changed(directory)

    def _touch(self, directory: Node) -> None:
        """Note that a directory holds something else than before. The kernel knows of our own changes."""
        directory.note_change(time.time())
        if self._dates:
            self._dates.void(directory.place_on_device)

    def _let_go(self, node: Node, directory: Node, name: bytes) -> None:
        directory.remove(node)
        for member in node.subtree():
            member.lost = True
        self._mark_unlinked(node)
        self._entry_gone(directory, name)

    def _forget_handle(self, node: Node) -> None:
        if node.handle is not None and self.by_handle.get(node.handle) is node:
            del self.by_handle[node.handle]
        node.handle = None

    def _mark_unlinked(self, node: Node) -> None:
        for member in list(node.subtree()):
            member.unlinked = True
            if member.handle is not None and self.by_handle.get(member.handle) is member:
                del self.by_handle[member.handle]  # but the node keeps it: open descriptors go on reading
            member.replace_children({})
            self.reap(member)

    # --- forgetting ------------------------------------------------------------------

    def _evict(self, keep: Node) -> None:
        """Forget directories' contents, those listed longest ago first, if there are too many nodes.

        A device can invent any number of objects. What is open, not sent yet, or leads to something that stays is
        kept. So is what `keep` holds. The kernel is told to forget the names, and drops its references. The next
        look lists the directory anew.
        """
        known = (
            sum(1 for node in self.nodes.values() if not node.unlinked) if len(self.nodes) > MOST_NODES else 0
        )
        if known <= MOST_NODES:
            return
        listed = [
            node for node in self.nodes.values() if node.children and not node.unlinked and node is not keep
        ]
        listed.sort(key=lambda node: node.listing.at if node.listing else 0.0)
        before = known
        for directory in listed:
            if known <= KEPT_NODES:
                break
            if directory.is_being_listed:
                continue
            children = directory.children
            directory.distrust()
            directory.was_listed = False
            directory.replace_children(
                {
                    name: child
                    for name, child in children.items()
                    if child is keep or self._is_needed(directory, child)
                }
            )
            known -= len(children) - len(directory.children)
            for name, child in children.items():
                if name not in directory.children:
                    self._let_go(child, directory, name)
        log.info("%d of %d nodes are forgotten", before - known, before)

    def _is_needed(self, directory: Node, node: Node) -> bool:
        return bool(
            node.holder
            or node.children
            or node.handle is None
            or node.is_being_listed
            or self._claims.is_claimed(directory, node.object_name)
        )
