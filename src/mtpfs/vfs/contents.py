"""Where the bytes of an open file are: the three ways of holding contents.

`OnDevice`: the device has the newest contents. They are read through the read-ahead windows. Where the device
can't read parts, they are read from a local copy that is being filled.

`Spooled`: new contents, all of them here. They become an object as a whole. So the old ones survive until then, a
date can go along, and the phone never shows half a file.

`Edited`: pieces changed in place, on a device that can do so.

`mtpfs.vfs.openfile` decides which one a file has, and when it changes. All of it runs under the file's lock,
except reading from the first two.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

import trio

from mtpfs.device import Device, Entry, Handle, Rank, listing
from mtpfs.device.reading import can_read_ranges, read
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.codes import Response
from mtpfs.vfs.edit import Edit
from mtpfs.vfs.node import Node
from mtpfs.vfs.part import Part
from mtpfs.vfs.spool import Spool
from mtpfs.vfs.stale import with_current_handles
from mtpfs.vfs.transfers import Fetch, new_spool
from mtpfs.vfs.tree import Tree
from mtpfs.vfs.windows import Pool, Windows

BULK = 256 << 10  # bytes from which a read stands back behind metadata


@dataclass(frozen=True, slots=True)
class Shared:
    """What all open files share."""

    device: Device
    tree: Tree
    pool: Pool
    nursery: trio.Nursery


class OnDevice:
    """The device's contents are the newest. `copy` is a spool with all of them, if there is one; it is taken over."""

    def __init__(self, shared: Shared, node: Node, copy: Spool | None = None) -> None:
        self._shared = shared
        self._node = node
        self._copy = copy
        self._fetch: Fetch | None = None
        self._windows = Windows(shared.pool, self._read_window, lambda: node.path)

    async def read(self, offset: int, count: int) -> bytes | memoryview:
        """Return `count` bytes from `offset`, fewer only at the end of the file."""
        node, device = self._node, self._shared.device
        if node.size_known:
            count = min(count, node.size - offset)
        if count <= 0:
            return b""
        if self._copy is None and can_read_ranges(device, offset + count):
            try:
                if node.size_known:
                    return await self._windows.read(offset, count, node.size)
                return await read_object(self._shared, node, offset, count)
            except FsError as error:
                # The device advertised partial reads and has none after all.
                if error.errno != errno.EOPNOTSUPP:
                    raise
        self._start_fetch()
        return await self._read_copy(offset, count)

    async def _read_copy(self, offset: int, count: int) -> bytes:
        copy, fetch = self._copy, self._fetch
        assert copy is not None
        with copy:
            if fetch is not None:
                try:
                    await fetch.wait(offset + count)
                except MtpfsError:
                    if self._fetch is fetch:
                        self._drop_copy()  # the next read tries again
                    raise
            return await copy.read(offset, count)

    async def _read_window(self, offset: int, count: int) -> memoryview:
        return await read_object(self._shared, self._node, offset, count)

    async def whole(self) -> Spool:
        """Bring all of it here, and hand it over: this object has nothing any more. Raises what fetching raises."""
        self._start_fetch()
        copy, fetch = self._copy, self._fetch
        assert copy is not None
        if fetch is not None:
            try:
                await fetch.wait_for_all()
            except MtpfsError:
                if self._fetch is fetch:
                    self._drop_copy()
                raise
        if self._copy is copy:
            self._copy = self._fetch = None
        else:
            copy.take()  # it was forgotten meanwhile, but is what was asked for
        self.forget()
        return copy

    def forget(self) -> None:
        """Forget what was read: there are other contents now."""
        self._windows.clear()
        self._drop_copy()

    def _start_fetch(self) -> None:
        if self._fetch is not None and self._fetch.error is not None:
            self._drop_copy()  # that was another time; the device may be back
        if self._copy is None:
            shared, node = self._shared, self._node
            self._copy = new_spool()
            size = node.size if node.size_known else None
            self._fetch = Fetch(
                shared.device, self._copy, size, lambda: shared.tree.handle(node), lambda: node.path
            )
            shared.nursery.start_soon(self._fetch.run)

    def _drop_copy(self) -> None:
        # A task that still reads it, or fills it, keeps it open until done.
        if self._fetch is not None:
            self._fetch.abandon()
        if self._copy is not None:
            self._copy.drop()
        self._copy = self._fetch = None

    def close(self) -> None:
        """Let go of what is cached, and stop a fetch that is under way."""
        self.forget()


class Spooled:
    """New contents, all here. Takes the spool over. `replaces` is the object that they are based on, if any."""

    def __init__(self, spool: Spool, replaces: Entry | None) -> None:
        self.spool = spool
        self.replaces = replaces

    async def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`, fewer at the end."""
        with self.spool as spool:
            return await spool.read(offset, count)

    async def write(self, offset: int, data: bytes) -> int:
        """Write; return the size. Raises OSError."""
        await self.spool.write(offset, data)
        return self.spool.size

    def truncate(self, size: int) -> None:
        """Set the size. Raises OSError."""
        self.spool.truncate(size)

    def close(self) -> None:
        """Let go of the spool."""
        self.spool.drop()


class Edited:
    """Pieces changed in place; `part`: not in the file's own object, but in one that is to replace it."""

    def __init__(self, shared: Shared, node: Node, edit: Edit, part: Part | None = None) -> None:
        self.edit = edit
        self.part = part
        self._shared = shared
        self._view = OnDevice(shared, node)
        """The object as it is read between two changes."""

    async def read(self, offset: int, count: int) -> memoryview | bytes:
        """Return `count` bytes from `offset`. Everything that was written before is sent first."""
        await self.edit.send_buffered()
        if self.edit.extended:
            handle = await self.edit.begin()
            await self.edit.end_edit()
            # uMTP-Responder looks at the file's size only when it is asked for it.
            await listing.entry(self._shared.device, handle)
            self.edit.extended = False
        if self.part is None:
            return await self._view.read(offset, count)
        count = min(count, self.edit.size - offset)
        if count <= 0:
            return b""
        handle = await self.edit.begin()
        return await read(
            self._shared.device,
            handle,
            offset,
            count,
            self.edit.size,
            rank=Rank.BULK if count >= BULK else Rank.METADATA,
        )

    async def write(self, offset: int, data: bytes) -> int:
        """Write; return the size. Raises what the device says."""
        self._view.forget()
        await self.edit.write(offset, data)
        return self.edit.end

    async def truncate(self, size: int) -> None:
        """Set the size in bytes. Raises what the device says."""
        self._view.forget()
        await self.edit.truncate(size)

    def close(self) -> None:
        """Forget what is buffered and cached. It doesn't end the edit on the device."""
        self.edit.drop()
        self._view.close()
        if self.part is not None:
            self.part.leave()


Contents = OnDevice | Spooled | Edited


async def read_object(shared: Shared, node: Node, offset: int, count: int) -> memoryview:
    """Return `count` bytes from `offset` of a file's object; fewer only at an end that isn't known.

    A handle that is out of date is looked up again.

    Raises ESTALE for a file that has vanished, EOPNOTSUPP where the device can't read parts.
    """
    device, tree = shared.device, shared.tree
    handle: Handle | None = None
    had_name = True

    async def once() -> memoryview:
        nonlocal handle, had_name
        had_name = tree.has_object(node)
        handle = await tree.handle(node)
        size = node.size if node.size_known else None
        return await read(
            device, handle, offset, count, size, rank=Rank.BULK if count >= BULK else Rank.METADATA
        )

    def is_stale(error: ResponseError) -> bool:
        # A rename may have made another object of it meanwhile.
        return had_name and (handle != node.handle or error.code == Response.InvalidObjectHandle)

    try:
        return await with_current_handles(device.session, once, is_stale=is_stale, subject=lambda: node.path)
    except ResponseError as error:
        if is_stale(error):
            raise FsError(errno.ESTALE, f"{node.path} is listed, but can't be read") from error
        raise
