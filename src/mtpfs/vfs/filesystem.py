"""The filesystem's operations, as the kernel thinks of them but without FUSE.

Strategy: each operation looks up what it needs in the tree, does the one thing
on the device, and has the tree follow. Rules that MTP doesn't know (ENOTEMPTY,
EEXIST, renaming over an existing file, unlinking an open one) are made here,
because devices answer GeneralError to everything or, worse, obey.

Invariant: the tree follows the device only after the device has confirmed, and
a name that the tree shows can be opened.
"""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import trio

from mtpfs.device import Device, Entry, Storage, listing, writing
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Response
from mtpfs.vfs import delivery, drafts, leftovers, names, removing, renaming
from mtpfs.vfs.content import Content, Context
from mtpfs.vfs.node import Node
from mtpfs.vfs.tree import Tree
from mtpfs.vfs.windows import LARGEST, Pool

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

STATFS_TTL = 2.0  # seconds that a storage's free space is believed


class Notifier(Protocol):
    """How the kernel is told that it knows something wrong. Called on the trio thread, must not block."""

    def entry_gone(self, parent_ino: int, name: bytes) -> None:
        """Report that the name isn't there any more."""

    def inode_changed(self, ino: int) -> None:
        """Report that attributes and contents are others now."""

    def attributes_changed(self, ino: int) -> None:
        """Report that only attributes are others now."""


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
    """Files whose contents wait for the device to come back."""


@dataclass(frozen=True, slots=True)
class Space:
    """A storage's space in bytes."""

    capacity: int
    free: int


def in_one_session(
    method: Callable[Concatenate[Filesystem, P], Awaitable[T]],
) -> Callable[Concatenate[Filesystem, P], Awaitable[T]]:
    """Let a change fail (ENODEV) rather than go on in a new session with the old one's object handles.

    After a failure only the device knows what it has done, so what was listed before isn't believed.
    """

    @functools.wraps(method)
    async def pinned(self: Filesystem, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with self.device.session.pinned():
                return await method(self, *args, **kwargs)
        except FsError:
            raise
        except MtpfsError as error:
            directories = [node for node in args if isinstance(node, Node)]
            for node in directories:
                node.listed_at = None
            reason = await self.tree.reason(directories[0], error)
            if reason is error:
                raise
            raise reason from error

    return pinned


class Filesystem:
    """One mounted phone."""

    def __init__(
        self,
        device: Device,
        nursery: trio.Nursery,
        notifier: Notifier,
        *,
        ttl: float = 5.0,
        storage: str = "",
        read_only: bool = False,
        readahead: int = LARGEST,
    ) -> None:
        self.device = device
        self.tree = Tree(device, ttl=ttl, storage=storage, read_only=read_only)
        self.tree.detached = lambda parent, name: notifier.entry_gone(parent.ino, name)
        self.tree.changed = lambda node: notifier.inode_changed(node.ino)
        self.notifier = notifier
        self._read_only = read_only
        self._pool = Pool(nursery, readahead)
        self._nursery = nursery
        self._context = Context(device, self.tree, self._pool)
        self._space: dict[int, tuple[float, Space]] = {}

    def node(self, ino: int) -> Node:
        """Return the node of an inode number. Raises ESTALE for one that was forgotten."""
        node = self.tree.nodes.get(ino)
        if node is None:
            raise FsError(errno.ESTALE)
        return node

    def statistics(self) -> CacheStatistics:
        tree, pool = self.tree, self._pool
        contents = [node.content for node in tree.nodes.values() if node.content is not None]
        return CacheStatistics(
            listings_fetched=tree.listings_fetched,
            listings_cached=tree.listings_cached,
            window_hits=pool.hits,
            window_misses=pool.misses,
            windows_fetched=pool.fetched,
            window_bytes=pool.used,
            nodes=len(tree.nodes),
            open_files=sum(content.opens > 0 for content in contents),
            undelivered=sum(content.is_stranded for content in contents),
        )

    # --- looking ---------------------------------------------------------------------

    async def lookup(self, parent: Node, name: bytes) -> Node:
        """Return the entry `name` of a directory. Raises ENOENT."""
        node = await self.tree.child(parent, name)
        await self.refresh(node)
        return node

    async def refresh(self, node: Node) -> None:
        """Ask the device for a node's attributes if it announced that they changed. Raises ENODEV while it is away."""
        self._check_present(node)
        if not node.attributes_stale or node.unlinked:
            return
        try:
            handle = await self.tree.handle(node)
            self.tree.describe(node, await listing.entry(self.device, handle))
        except ResponseError as error:
            if error.code != Response.InvalidObjectHandle or node.parent is None:
                raise
            await self.tree.ensure_listed(node.parent, fresh=True)
            if node.unlinked:
                raise FsError(errno.ENOENT) from error

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

    def open(self, node: Node, *, write: bool) -> None:
        """Count one more descriptor on a file. Raises ESTALE for one that is gone: the kernel looks again then."""
        if node.is_folder:
            raise FsError(errno.EISDIR)
        if node.lost or (node.unlinked and node.content is None):
            raise FsError(errno.ESTALE)
        self._check_present(node)
        if write:
            self._check_writable(node)
        if node.content is None:
            node.content = Content(self._context, node)
        node.content.opens += 1

    async def create(self, parent: Node, name: bytes) -> Node:
        """Create an empty file and open it. It is sent to the device by `flush`."""
        text = await self._new_name(parent, name)
        await self.tree.place(parent)
        async with parent.lock:
            self._check_free(parent, name, text)
            node = self.tree.adopt(parent, name, is_folder=False)
            node.object_name = text
            node.content = content = Content(self._context, node)
            content.opens = 1
            try:
                content.create()
            except OSError as error:
                self.tree.detach(node)
                node.content = None
                raise FsError(error.errno or errno.EIO, "no local spool") from error
        return node

    async def read(self, node: Node, offset: int, count: int) -> bytes | memoryview:
        return await self._content(node).read(offset, count)

    async def write(self, node: Node, offset: int, data: bytes) -> int:
        await self._content(node).write(offset, data)
        return len(data)

    async def flush(self, node: Node) -> None:
        """Bring a file that is being closed to the device, unless it waits for its name."""
        if not await drafts.waits(self.device, node):
            await self.sync(node)

    async def sync(self, node: Node) -> None:
        """Bring what was written to the device; raises what keeps it from arriving."""
        before = node.size, node.modified
        await self._content(node).flush()
        if (node.size, node.modified) != before:
            self.notifier.attributes_changed(node.ino)  # the device has its own idea of the date
        self.forget_space(node)

    async def release(self, node: Node) -> None:
        """Count one descriptor less."""
        content = self._content(node)
        content.opens -= 1
        if not content.opens and content.is_unsaved:
            # Mapped pages may be written after the last close(2), and are not followed by another flush.
            try:
                await self.flush(node)
            except MtpfsError as error:
                log.error("%s: %s", node.path, error)
        if content.opens or node.content is not content:
            return
        if content.is_stranded:
            self._nursery.start_soon(delivery.deliver, self, node)
        elif await drafts.waits(self.device, node):
            self._nursery.start_soon(drafts.send_later, self, node)
        else:
            await self.end(node)

    async def end(self, node: Node) -> None:
        """Let go of the contents of a file that nobody has open."""
        content = node.content
        if content is None or content.opens or content.is_stranded:
            return
        if node.unlinked and node.parent is not None and self.tree.hidden.get(node.object_name) is node:
            await removing.remove_hidden(self, node, node.parent, content)
        else:
            await content.close()
        if node.content is None or node.content.opens:
            return  # opened again while the last changes were on their way
        node.content = None
        if node.attributes_stale and not node.unlinked:
            self.notifier.inode_changed(node.ino)  # what was written isn't there, nor as long as it was
        self.tree.reap(node)

    async def truncate(self, node: Node, size: int) -> None:
        """Set a file's size; on a file that isn't open, the device has it when this returns."""
        if node.is_folder:
            raise FsError(errno.EISDIR)
        self.open(node, write=True)
        try:
            content = self._content(node)
            await content.truncate(size)
            if content.opens == 1:
                await content.flush()
        finally:
            await self.release(node)

    async def set_modified(self, node: Node, modified: float) -> None:
        """Give a file a date, where the device takes one; nothing is pretended where it doesn't."""
        if node.is_folder and not self._read_only:
            return  # no device has dates of folders
        self._check_writable(node)
        if node.content is not None and await node.content.set_modified(modified):
            return
        if await writing.set_modified(self.device, await self.tree.handle(node), modified):
            node.modified = float(int(modified))

    # --- changing directories -------------------------------------------------------------

    @in_one_session
    async def mkdir(self, parent: Node, name: bytes) -> Node:
        text = await self._new_name(parent, name)
        storage, handle = await self.tree.place(parent)
        async with parent.lock:
            self._check_free(parent, name, text)
            created = await writing.make_folder(self.device, storage.id, handle, text)
            if names.may_be_altered(text):
                stored = (await listing.entry(self.device, created)).name
                if stored != text:
                    await writing.delete(self.device, created)
                    raise FsError(errno.EINVAL, f"the device stores {text!r} as {stored!r}")
            node = self.tree.adopt(parent, name, is_folder=True)
            self.tree.describe(node, Entry(created, text, is_folder=True, size=0, modified=time.time() // 1))
            node.listed_at = trio.current_time()  # known to be empty
        return node

    @in_one_session
    async def rmdir(self, parent: Node, name: bytes) -> None:
        """Remove an empty directory."""
        await removing.rmdir(self, parent, name)

    @in_one_session
    async def unlink(self, parent: Node, name: bytes) -> None:
        """Remove a file; whoever has it open keeps its contents."""
        await removing.unlink(self, parent, name)

    @in_one_session
    async def rename(
        self, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, *, replace: bool = True
    ) -> None:
        """Rename or move, in place of an existing file or empty directory if `replace`."""
        await renaming.rename(self, old_parent, old_name, new_parent, new_name, replace=replace)

    async def finish(self) -> None:
        """Bring everything that is still open to the device: the mount ends."""
        for node in list(self.tree.nodes.values()):
            if node.content is not None:
                try:
                    await node.content.flush()
                except MtpfsError as error:
                    delivery.save(self, node, error)
                node.content.opens = 0
                await self.end(node)

    # --- rules ---------------------------------------------------------------------------

    async def find_object(self, node: Node) -> None:
        """Look for what the device may have of a file whose upload has failed, before its name is changed."""
        if node.content is not None and node.content.is_doubtful and node.parent is not None:
            await self.tree.ensure_listed(node.parent, fresh=True)

    def forget_space(self, node: Node) -> None:
        """Ask the device for the space of a node's storage the next time."""
        if node.storage is not None:
            self._space.pop(node.storage.id, None)

    def _content(self, node: Node) -> Content:
        if node.content is None:
            raise FsError(errno.EBADF)
        return node.content

    def _check_present(self, node: Node) -> None:
        """Raise ENODEV for what nobody has open and nobody can look up: the device is away."""
        if self.device.session.gone and node.content is None and node.parent is not None:
            raise FsError(errno.ENODEV)

    def _check_writable(self, node: Node) -> None:
        storage = node.storage
        if storage is None and node.parent is not None:
            raise FsError(errno.ENODEV, "locked or ejected")
        if self._read_only or (storage is not None and not storage.writable):
            raise FsError(errno.EROFS)
        if storage is None or node.is_storage:
            raise FsError(errno.EACCES, "storages can't be changed")

    def check_deletable(self, node: Node) -> None:
        """Raise unless `node` may be removed."""
        if self._read_only or (node.storage is not None and not node.storage.deletable):
            raise FsError(errno.EROFS)
        if node.storage is None or node.is_storage:
            raise FsError(errno.EBUSY, "storages can't be removed")

    def check_entry_change(self, node: Node) -> None:
        """Raise unless `node` may be renamed, moved or replaced."""
        self.check_deletable(node)
        self._check_writable(node)

    async def _new_name(self, parent: Node, name: bytes) -> str:
        """Return the device's name for a new entry, or raise why there can't be one."""
        await self.tree.ensure_listed(parent)
        return self.checked_name(parent, name)

    def checked_name(self, parent: Node, name: bytes) -> str:
        storage = parent.storage
        if storage is None:
            if parent.parent is not None:
                raise FsError(errno.ENODEV, "locked or ejected")
            raise FsError(errno.EACCES, "the root only holds storages")
        if self._read_only or not storage.writable:
            raise FsError(errno.EROFS)
        text = names.device_name(name, removable=storage.removable)
        leftovers.check_not_reserved(text)
        return text

    def _check_free(self, parent: Node, name: bytes, text: str) -> None:
        if parent.unlinked:
            raise FsError(errno.ENOENT)
        if name in parent.children:
            raise FsError(errno.EEXIST)
        self.check_case(parent, text, None)

    def check_case(self, parent: Node, text: str, moving: Node | None) -> None:
        """Refuse a name that differs from an existing one only in case where that would destroy the other."""
        if not self.device.quirks.case_insensitive:
            return
        folded = names.fold(text)
        for node in parent.children.values():
            if node is not moving and names.fold(node.object_name) == folded and node.object_name != text:
                raise FsError(errno.EEXIST, f"{node.object_name!r} is the same name to this device")
