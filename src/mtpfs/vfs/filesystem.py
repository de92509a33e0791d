"""The filesystem's operations as the kernel names them, but without FUSE.

This is all that `mtpfs.fuse` talks to. It puts the rooms together, and passes each question to the one that knows:
the tree (`tree`), the names (`namespace`), the open files (`files`), and what is sent later (`writeback`).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from mtpfs.device import Device, Handle, Rank, Storage, listing, metadata
from mtpfs.device import dates as device_dates
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.wire import Value
from mtpfs.vfs.claims import Claims
from mtpfs.vfs.contents import Shared
from mtpfs.vfs.events import Events, Notifier
from mtpfs.vfs.files import Files, Open
from mtpfs.vfs.namespace import Namespace
from mtpfs.vfs.node import Node
from mtpfs.vfs.outcome import Outcome
from mtpfs.vfs.remembered import RememberedDates
from mtpfs.vfs.rules import Rules
from mtpfs.vfs.spool import Spool
from mtpfs.vfs.stale import with_current_handles
from mtpfs.vfs.tree import Tree
from mtpfs.vfs.windows import LARGEST, Pool
from mtpfs.vfs.writeback import WriteBack

T = TypeVar("T")

STATFS_TTL = 2.0  # seconds that a storage's free space is believed


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What the filesystem asked the device for, and what it knew already. A snapshot."""

    listings_fetched: int
    listings_cached: int
    window_hits: int
    window_misses: int
    windows_fetched: int
    window_bytes: int
    nodes: int
    """Files and directories that have an inode number."""
    open_files: int
    undelivered: int
    """Files that no program has open, and whose contents the device hasn't got: held, late, or being sent."""
    unseen: int
    """Objects that the device lists and can't describe: no listing shows them."""


@dataclass(frozen=True, slots=True)
class Space:
    """A storage's space in bytes."""

    capacity: int
    free: int


class Filesystem:
    """One mounted phone. `nursery` runs what goes on after an operation was answered."""

    def __init__(
        self,
        device: Device,
        nursery: trio.Nursery,
        notifier: Notifier,
        dates: RememberedDates,
        *,
        ttl: float = 5.0,
        storage: str = "",
        read_only: bool = False,
        readahead: int = LARGEST,
    ) -> None:
        self.device = device
        claims = Claims()
        self.tree = Tree(
            device,
            claims,
            entry_gone=lambda parent, name: notifier.entry_gone(parent.ino, name),
            changed=lambda node: notifier.inode_changed(node.ino),
            heard=notifier.heard,
            ttl=ttl,
            storage=storage,
            read_only=read_only,
            dates=dates,
        )
        self._pool = Pool(nursery, readahead)
        self._files = Files(
            Shared(device, self.tree, self._pool, nursery),
            claims,
            changed=lambda node: notifier.inode_changed(node.ino),
            redated=lambda node: notifier.attributes_changed(node.ino),
        )
        self._rules = Rules(device, self.tree, read_only=read_only)
        self._names = Namespace(self.tree, claims, self._files, self._rules)
        self._late = WriteBack(self._files, device.session, nursery)
        self._dates = dates
        self._notifier = notifier
        self._read_only = read_only
        self._space: dict[int, tuple[float, Space]] = {}
        self.events = Events(device, self.tree, claims, notifier)

    def node(self, ino: int) -> Node:
        """Return the node of an inode number. Raises ESTALE for one that was forgotten."""
        node = self.tree.nodes.get(ino)
        if node is None:
            raise FsError(errno.ESTALE)
        return node

    def statistics(self) -> CacheStatistics:
        """Return what listings and read-ahead have saved so far."""
        tree, pool, files = self.tree, self._pool, self._files.all()
        return CacheStatistics(
            listings_fetched=tree.listings_fetched,
            listings_cached=tree.listings_cached,
            window_hits=pool.hits,
            window_misses=pool.misses,
            windows_fetched=pool.fetched,
            window_bytes=pool.used,
            nodes=len(tree.nodes),
            open_files=sum(file.opens > 0 for file in files),
            undelivered=sum(not file.opens for file in self._files.unsaved()),
            unseen=self.device.unseen,
        )

    @property
    def unsaved(self) -> int:
        """How many files there are of which the device lacks something."""
        return len(self._files.unsaved())

    @property
    def outcome(self) -> Outcome:
        """What became of contents that weren't on the device when the mount ended."""
        return self._files.outcome

    # --- looking ---------------------------------------------------------------------

    async def lookup(self, parent: Node, name: bytes) -> Node:
        """Return the entry `name` of a directory. Raises ENOENT."""
        node = await self.tree.child(parent, name)
        try:
            await self.refresh(node)
        except FsError as error:
            if error.errno != errno.ESTALE:
                raise
            return await self.tree.child(parent, name)  # another one has the name by now, or none
        return node

    async def refresh(self, node: Node) -> None:
        """Ask the device for a node's attributes where they aren't known.

        Raises ENODEV while it is away, ESTALE if the node turns out to have vanished: something else may have its name.
        """
        self._check_present(node)
        is_known = not (node.attributes_stale or node.date_elsewhere or self._may_have_changed(node))
        if is_known or node.unlinked or node.is_ahead:
            return
        try:
            handle = await self.tree.handle(node)
            entry = await listing.entry(self.device, handle)
            if not node.is_ahead and node.handle == handle:  # else it was given another object meanwhile
                self.tree.describe(node, entry)
        except ResponseError as error:
            if error.code != Response.InvalidObjectHandle or node.parent is None:
                raise
            await self.tree.ensure_listed(node.parent, fresh=True)
            if node.unlinked:
                raise FsError(errno.ESTALE) from error

    def _may_have_changed(self, node: Node) -> bool:
        """Tell whether an open file may have grown, say: without events only a look-up by name would tell."""
        return (
            node.holder is not None
            and not self.device.sends_events
            and node.parent is not None
            and not self.tree.is_current(node.parent)
        )

    async def entries(self, directory: Node) -> list[Node]:
        """Return what is in a directory, in the order of names."""
        await self.tree.ensure_listed(directory)
        return [node for _, node in sorted(directory.children.items())]

    async def space(self, node: Node) -> Space:
        """Return the space of the storage that a node is on; of all storages for the root."""
        if node.storage is not None:
            return await self._space_of(node.storage)
        await self.tree.ensure_listed(self.tree.root)
        spaces = [
            await self._space_of(child.storage)
            for child in self.tree.root.children.values()
            if child.storage is not None
        ]
        return Space(sum(space.capacity for space in spaces), sum(space.free for space in spaces))

    async def _space_of(self, storage: Storage) -> Space:
        now = trio.current_time()
        known = self._space.get(storage.id)
        if known is not None and now - known[0] < STATFS_TTL:
            return known[1]
        current = await self.device.storage(storage.id)
        space = Space(current.capacity, current.free)
        self._space[storage.id] = now, space
        return space

    # --- opening, reading, writing -------------------------------------------------------

    async def open(self, node: Node, *, write: bool, truncate: bool = False) -> Open:
        """Open a file; `truncate`: with no contents.

        Raises ESTALE for one that is gone; the kernel looks again then.
        """
        if node.is_folder:
            raise FsError(errno.EISDIR)
        self._check_present(node)
        if write or truncate:
            self._rules.check_writable(node)
        opened = await self._files.open(node, write=write, truncate=truncate)
        self._forget_space(node)
        return opened

    async def create(self, parent: Node, name: bytes, *, exclusive: bool = False, mode: int = 0o644) -> Open:
        """Create an empty file and open it. The device gets it when it is saved."""
        return await self._names.create(parent, name, exclusive=exclusive, mode=mode)

    async def read(self, opened: Open, offset: int, count: int) -> bytes | memoryview:
        """Return `count` bytes from `offset`, fewer only at the end of the file."""
        return await opened.file.read(offset, count)

    async def write(self, opened: Open, offset: int, data: bytes) -> int:
        """Write all of `data`; return how much that is."""
        await opened.file.write(offset, data)
        return len(data)

    async def flush(self, opened: Open) -> None:
        """Answer a close(2): see `Files.flush`."""
        await self._files.flush(opened)
        await self._dates.flush()  # what isn't flushed doesn't survive a kill
        self._forget_space(opened.file.node)

    async def sync(self, opened: Open) -> None:
        """Bring what was written to the device; raises what keeps it from arriving."""
        await self._files.sync(opened.file)
        self._forget_space(opened.file.node)

    async def release(self, opened: Open) -> None:
        """Close a descriptor."""
        await self._files.release(opened)
        await self._late.see_to(opened.file)

    async def conclude(self, opened: Open, *, is_new: bool, keep: bool = True) -> None:
        """Save and close a descriptor, for a caller that hears of a failure itself: nothing is kept for later.

        `is_new`: the caller has created the file. `keep` False: save nothing. Raises what keeps the contents from
        arriving. Then, and if cancelled, what the device hasn't got is dropped: a new file vanishes, another one has
        its old contents. To this end an upload ends inside its data phase. But a replacement that would cost the old
        contents then is finished first (on devices that can't rename).
        """
        file, is_made = opened.file, True
        try:
            if keep and opened.writes:
                with trio.CancelScope(shield=not self._files.can_stop(file)):
                    await self._files.sync(file)
        except BaseException as error:
            keep, is_made = False, not _refuses_an_object(error)
            raise
        finally:
            with trio.CancelScope(shield=True):
                if not keep:
                    await self._drop(opened, is_new=is_new, is_made=is_made)
                await self.release(opened)
                await self._dates.flush()
                self._forget_space(file.node)

    async def _drop(self, opened: Open, *, is_new: bool, is_made: bool) -> None:
        """Drop what the device hasn't got. `is_made` False: it has refused to make an object for it."""
        file, node = opened.file, opened.file.node
        if not opened.writes or file.writers > 1:
            return  # what is there is the other writer's, too
        file.stop_sending()
        # The thread that sends may still read the spool, which is about to be closed.
        with contextlib.suppress(MtpfsError):
            await self.device.session.run(lambda _engine: None)
        unsaved = file.is_ahead or file.failure is not None
        if is_new and unsaved and not node.unlinked and node.parent is not None:
            with contextlib.suppress(MtpfsError):  # the device may be away
                if is_made:
                    await self._names.unlink(node.parent, node.name)
                else:
                    await self._names.withdraw(node.parent, node)
        await self._files.discard(file)

    async def truncate(self, node: Node, size: int, opened: Open | None = None) -> None:
        """Set a file's size: with `opened`, as ftruncate does; without, the device has it when this returns."""
        if node.is_folder:
            raise FsError(errno.EISDIR)
        if opened is not None:
            await opened.file.truncate(size)
            return
        opened = await self.open(node, write=True)
        try:
            await opened.file.truncate(size)
            await self._files.sync(opened.file)
        finally:
            await self.release(opened)

    async def set_modified(self, node: Node, modified: float) -> None:
        """Give a file a date: with its contents if they aren't sent yet, on the device if that takes one, else here."""
        if node.is_folder and not self._read_only and (node.storage is None or node.is_storage):
            return  # no device has dates of these
        self._rules.check_writable(node)
        if node.is_folder:
            await self._set_folder_date(node, modified)
            return
        file = self._files.of(node)
        if file is not None and await file.set_modified(modified):
            return
        if await device_dates.set_modified(self.device, await self.tree.handle(node), modified):
            self.tree.note_date(node, float(int(modified)))
        else:
            node.attributes_stale |= (
                node.date_is_sent
            )  # what is remembered holds while the device tells one date
            await self.refresh(node)
            self.tree.remember_date(node, float(int(modified)))
            await self._dates.flush()  # what isn't flushed doesn't survive a kill

    async def _set_folder_date(self, node: Node, modified: float) -> None:
        """Remember a folder's date: no device takes one. Files closed in it before are sent first."""
        for file in self._files.all():
            if file.node.parent is node and not file.opens and file.is_being_sent:
                with contextlib.suppress(MtpfsError):  # the error is told by close, or in the log
                    await self._files.claim_and_save(file)
        node.attributes_stale = True
        await self.refresh(node)
        self.tree.remember_date(node, float(int(modified)))
        await self._dates.flush()

    async def take_contents(self, opened: Open, spool: Spool) -> None:
        """Have a file's contents be those of a spool, which is taken over. Sends nothing."""
        await opened.file.take_contents(spool)

    async def thumbnail(self, node: Node, rank: Rank = Rank.METADATA) -> bytes:
        """Return the device's thumbnail of a file; of a JPEG, with what tells which way it stands.

        Raises ENODATA where it has none, EOPNOTSUPP.
        """

        async def ask(device: Device, handle: Handle) -> bytes:
            found = await metadata.thumbnail(device, handle, rank)
            if not node.name.lower().endswith((b".jpg", b".jpeg")) or not node.size_known:
                return found
            return await metadata.upright(device, handle, node.size, found, rank)

        return await self._of_object(node, ask)

    async def properties(self, node: Node) -> dict[str, Value]:
        """Return what the device tells of an object, by the standard's names."""
        return await self._of_object(node, metadata.properties)

    async def _of_object(self, node: Node, ask: Callable[[Device, Handle], Awaitable[T]]) -> T:
        self._check_present(node)

        async def once() -> T:
            return await ask(self.device, await self.tree.handle(node))

        return await with_current_handles(
            self.device.session,
            once,
            is_stale=lambda error: error.code == Response.InvalidObjectHandle,
            subject=lambda: node.path,
        )

    # --- changing directories -------------------------------------------------------------

    async def mkdir(self, parent: Node, name: bytes) -> Node:
        """Create a directory."""
        return await self._names.mkdir(parent, name)

    async def rmdir(self, parent: Node, name: bytes) -> None:
        """Remove an empty directory."""
        await self._names.rmdir(parent, name)

    async def unlink(self, parent: Node, name: bytes) -> None:
        """Remove a file. Programs that have it open keep its contents."""
        file = await self._names.unlink(parent, name)
        if file is not None:
            await self._late.see_to(file)
        self._forget_space(parent)

    async def rename(
        self, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, *, replace: bool = True
    ) -> None:
        """Rename or move, in place of an existing file or empty directory if `replace`."""
        for file in await self._names.rename(old_parent, old_name, new_parent, new_name, replace=replace):
            await self._late.see_to(file)

    async def copy(self, node: Node, new_parent: Node, new_name: bytes) -> Node:
        """Have the device copy a file or a folder: see `Namespace.copy`."""
        self._check_present(node)
        copy = await self._names.copy(node, new_parent, new_name)
        self._forget_space(copy)
        return copy

    # --- the end -------------------------------------------------------------------------

    def stop(self) -> None:
        """Have long work that saves nothing end soon: the mount is about to."""
        self._files.stop()

    def hurry(self) -> None:
        """Have `finish` put what is left into the recovery directory instead of sending it."""
        self._late.hurry()

    async def finish(self) -> None:
        """Bring everything that isn't saved to the device: the mount ends."""
        await self._late.finish()
        await self._dates.flush()

    # --- rules ---------------------------------------------------------------------------

    def _forget_space(self, node: Node) -> None:
        """Ask the device for the space of a node's storage the next time."""
        if node.storage is not None:
            self._space.pop(node.storage.id, None)

    def _check_present(self, node: Node) -> None:
        """Raise ENODEV for what isn't open while the device is away: it can't be looked up."""
        if self.device.session.gone and node.holder is None and node.parent is not None:
            raise FsError(errno.ENODEV)


def _refuses_an_object(error: BaseException | None) -> bool:
    """Tell whether the device has refused to make an object, so that what has its name is another one."""
    while error is not None:
        if isinstance(error, ResponseError) and error.operation == Operation.SendObjectInfo:
            return True
        error = error.__cause__
    return False
