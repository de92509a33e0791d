"""The contents of one file while anybody has it open.

Strategy: contents are in one of three places.

*On the device*: reads come through the read-ahead windows, or, from a device
without partial reads, out of a spool that is being filled.

*In a spool*: everything that is new, be it a new file or one that was truncated
to nothing, is collected locally and sent as a whole by `flush`; so the old
contents survive until then, the date can be kept, and nobody ever sees half a
file on the phone. Changes to a file on a device that can't edit are made in a
spool too. A new file that outgrows `SPOOL_LIMIT` on a device that can edit is
sent early and continued there.

*In an edit*: changes to existing contents where the device can edit in place.

`flush` brings all of it to the device and is what raises errors; it runs at
every close(2) and fsync(2), and again if it failed before.

Invariant: a byte that was written is in the spool, in the edit's buffer, or
confirmed by the device, until the last descriptor is closed; and after that too, if it is for
want of a device that `flush` has failed (`mtpfs.vfs.delivery`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from mtpfs.device import Device, Entry, listing
from mtpfs.device.reading import can_read_ranges
from mtpfs.errors import FsError, MtpfsError, ResponseError, SessionLostError, TransportError
from mtpfs.protocol.codes import Operation
from mtpfs.vfs.drafts import is_draft_name
from mtpfs.vfs.edit import Edit
from mtpfs.vfs.fetch import Fetch
from mtpfs.vfs.node import Node
from mtpfs.vfs.publish import learn_dates, publish
from mtpfs.vfs.reading import read_object
from mtpfs.vfs.rescue import rescue
from mtpfs.vfs.spool import Spool
from mtpfs.vfs.tree import Tree
from mtpfs.vfs.windows import Pool, Windows

log = logging.getLogger(__name__)

SPOOL_LIMIT = 256 << 20  # bytes of a new file that are kept back on a device that can edit


@dataclass(frozen=True, slots=True)
class Context:
    """What all open files share."""

    device: Device
    tree: Tree
    pool: Pool


class Content:
    """What is known of an open file's bytes. Made by the first open, ended by the last release."""

    def __init__(self, context: Context, node: Node) -> None:
        self.opens = 0
        self.dirty = False
        """The spool holds contents that the device hasn't got."""
        self._context = context
        self._node = node
        self._lock = trio.Lock()
        self._spool: Spool | None = None
        self._fetch: Fetch | None = None
        self._edit: Edit | None = None
        self._explicit_date: float | None = None
        self._failed = False
        """The last `flush` has failed: the device may have more of it than it confirmed."""
        self._device_failed = False
        """It has failed because the device was away, or didn't answer."""
        self._size_on_device = 0
        self._replaced: Entry | None = None
        """The object that the contents are to replace, if it isn't the node's own."""
        self._changes = 0
        """How many calls of write and truncate are at work or waiting."""
        self._windows = Windows(context.pool, self._read_device)

    @property
    def is_ahead(self) -> bool:
        """Tell whether size and date here are newer than the device's."""
        return self.dirty or self._edit is not None

    @property
    def is_unsaved(self) -> bool:
        """Tell whether there are contents that no `flush` has tried to bring to the device."""
        return self.is_ahead and not self._failed and not self._node.deleted

    @property
    def is_doubtful(self) -> bool:
        """Tell whether the device may have an object of it that it hasn't confirmed."""
        return self._failed and not self._node.handle and not self._node.unlinked

    @property
    def is_stranded(self) -> bool:
        """Tell whether there are contents that the device never answered to: neither taken nor refused."""
        return self._device_failed and self.is_ahead and not self._node.deleted

    def changed_outside(self) -> None:
        """Forget what was read: the object has changed on the device."""
        if self.dirty:
            self._windows.clear()
        else:
            self._forget_read()

    # --- reading ---------------------------------------------------------------------

    async def read(self, offset: int, count: int) -> bytes | memoryview:
        """Return `count` bytes from `offset`, fewer only at the end of the file."""
        if self._changes:
            # The kernel may keep what it gets for long: it must not be older than a write that came before.
            async with self._lock:
                pass
        size = self._node.size
        count = min(count, size - offset)
        if count <= 0:
            return b""
        if self._edit is not None:
            async with self._lock:
                if self._edit is not None:
                    await self._edit.send()
                if self._edit is not None and self._edit.extended:
                    await self._finish_edit()
        if (self._spool is None or self._fetch) and not can_read_ranges(self._context.device, size):
            self._start_fetch()
        if self._spool is not None:
            return await self._read_spool(offset, count)
        try:
            return await self._windows.read(offset, count, size)
        except FsError as error:
            # The device advertised partial reads and has none after all.
            if error.errno != errno.EOPNOTSUPP or can_read_ranges(self._context.device, size):
                raise
        return await self.read(offset, count)

    async def _read_spool(self, offset: int, count: int) -> bytes:
        spool, fetch = self._spool, self._fetch
        assert spool is not None
        with spool:
            if fetch is not None:
                try:
                    await fetch.wait(offset + count)
                except MtpfsError:
                    if self._fetch is fetch:
                        self._drop_spool()  # the next read tries again
                    raise
            return await spool.read(offset, count)

    async def _read_device(self, offset: int, count: int) -> memoryview:
        return await read_object(self._context.device, self._context.tree, self._node, offset, count)

    # --- changing --------------------------------------------------------------------

    def create(self) -> None:
        """Start as a new file: empty, and to be sent even if it stays so."""
        self._spool = Spool()
        self.dirty = True

    async def write(self, offset: int, data: bytes) -> None:
        """Write all of `data`. Raises what keeps it from being stored."""
        async with self._changing():
            if not self.dirty and await self._begin_edit():
                assert self._edit is not None
                await self._edit.write(offset, data)
                self._forget_read()
                self._changed(max(self._node.size, offset + len(data)))
                return
            spool = await self._writable_spool()
            try:
                await spool.write(offset, data)
            except OSError as error:
                if not await self._send_early():
                    raise FsError(error.errno or errno.EIO, "the local spool is full") from error
            else:
                self._changed(spool.size)
                keep = spool.size < SPOOL_LIMIT or is_draft_name(self._node.name)
                if keep or not await self._send_early():
                    return
                data = b""
        if data:
            await self.write(offset, data)

    async def truncate(self, size: int) -> None:
        async with self._changing():
            if not self.dirty and size and await self._begin_edit():
                assert self._edit is not None
                await self._edit.truncate(size)
                self._forget_read()
                self._changed(size)
                return
            if not size and not self.dirty:
                if self._edit is not None:
                    await self._finish_edit()
                # The old contents aren't needed here, and stay on the device until `flush`.
                self._drop_spool()
                self._spool = Spool()
                self._become_dirty()
            spool = await self._writable_spool()
            try:
                spool.truncate(size)
            except OSError as error:
                raise FsError(error.errno or errno.EIO, str(error)) from error
            self._changed(size)

    async def set_modified(self, modified: float) -> bool:
        """Give the file a date; tell whether the device will have it."""
        async with self._lock:
            if self._edit is not None:
                await self._finish_edit()
            if not self.dirty:
                return False
            self._explicit_date = self._node.modified = float(int(modified))
            return True

    def replaces(self, target: Node | None) -> None:
        """Have the next `flush` put the contents in the place of another file's."""
        self._replaced = None
        if target is not None:
            self._replaced = Entry(
                target.handle, target.object_name, is_folder=False, size=target.size, modified=None
            )

    async def flush(self) -> None:
        """Bring everything to the device; raises what goes wrong, and may be called again then."""
        async with self._lock:
            if self._node.deleted:
                return  # nobody can reach it any more, so there is nothing to keep
            if self.is_ahead:
                self._node.check_not_lost()
            try:
                await self._flush()
            except MtpfsError as error:
                self._failed = True
                reason = await self._context.tree.reason(self._node, error)
                # ENODEV: the device, or its storage.
                self._device_failed = isinstance(reason, TransportError) or reason.errno == errno.ENODEV
                if reason is error:
                    raise
                raise reason from error
            self._failed = self._device_failed = False

    async def _flush(self) -> None:
        session = self._context.device.session
        for last in (False, True):
            try:
                with session.pinned():
                    if self._edit is not None:
                        await self._finish_edit()
                    if self.dirty:
                        await self._send()
                return
            except SessionLostError:
                if last or session.gone:
                    raise
                self._failed = True

    def rescue(self, device: str) -> list[Path]:
        """Put what the device hasn't got into the recovery directory; return the files. Raises `OSError`."""
        path, found = self._node.path, []
        if self.dirty and self._spool is not None:
            found.append(rescue(self._spool, device, path))
        if self._edit is not None and (unsent := self._edit.unsent)[1]:
            piece = Spool()
            piece.write_now(0, unsent[1])
            found.append(rescue(piece, device, f"{path}.at-{unsent[0]}"))
        return found

    def give_up(self) -> None:
        """Drop what the device hasn't got: it has been put aside."""
        self.dirty = self._device_failed = False
        self._edit = None

    async def keep(self) -> None:
        """Bring all contents here: the object is about to be deleted while somebody has it open."""
        async with self._lock:
            if self._edit is not None:
                await self._finish_edit()
            await self._writable_spool()

    async def close(self) -> None:
        """End: the last descriptor is closed. Raises nothing: `flush` has reported what couldn't be saved."""
        async with self._lock:
            if self.opens:
                return  # opened again while this was waiting
            if self._edit is not None and self._node.unlinked:
                # Where it couldn't be put aside, it is deleted already; and nobody minds whether it ends.
                with contextlib.suppress(MtpfsError):
                    await self._edit.abandon()
            elif self._edit is not None:
                try:
                    await self._finish_edit()
                except MtpfsError as error:
                    log.error("%s: changes are lost: %s", self._node.path, error)
            if self.opens > 0:
                return
            if self.dirty and not self._node.deleted:
                log.error("%s: %d bytes could not be saved", self._node.path, self._node.size)
                self._node.attributes_stale = True
            self.dirty = False
            if not self._node.handle:
                self._context.tree.vanish(self._node)
            self._windows.clear()
            self._drop_spool()

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        self._changes += 1
        try:
            async with self._lock:
                yield
        finally:
            self._changes -= 1

    # --- inside the lock -------------------------------------------------------------

    async def _begin_edit(self) -> bool:
        """Open an edit if the device can; False: the change has to go through a spool."""
        device = self._context.device
        if self._edit is not None:
            return True
        if not device.can_edit or not self._node.handle:
            return False
        edit = Edit(device, lambda: self._context.tree.handle(self._node), self._node.size)
        try:
            await edit.begin()
        except ResponseError:
            if device.supports(Operation.BeginEditObject):
                raise
            return False
        self._drop_spool()
        self._edit = edit
        return True

    async def _finish_edit(self) -> None:
        edit, node = self._edit, self._node
        assert edit is not None
        await edit.finish()
        self._edit = None
        # Only the device knows the date that it gave the file.
        handle = await self._context.tree.handle(node)
        self._context.tree.describe(node, await listing.entry(self._context.device, handle))

    async def _writable_spool(self) -> Spool:
        if not self.dirty:
            self._start_fetch()
            if self._fetch is not None:
                try:
                    await self._fetch.wait(self._fetch.size)
                except MtpfsError:
                    self._drop_spool()  # the next change tries again
                    raise
                self._fetch = None
            self._become_dirty()
        assert self._spool is not None
        return self._spool

    def _become_dirty(self) -> None:
        self._size_on_device = self._node.size if self._node.handle else 0
        self.dirty = True

    async def _send_early(self) -> bool:
        """Send a new file before it is complete and go on in place; False where that can't be."""
        if self._node.handle or not self._context.device.can_edit or self._node.unlinked:
            return False
        await self._send()
        self._drop_spool()
        return True

    async def _send(self) -> None:
        context, node, spool = self._context, self._node, self._spool
        assert spool is not None
        assert node.parent is not None
        parent = node.parent
        storage, folder = await context.tree.place(parent)
        if self._failed or (node.handle and node.generation != context.device.session.generation):
            # Is there an object by now that is to be replaced, and which?
            await context.tree.ensure_listed(parent, fresh=True)
        async with parent.lock:
            if node.deleted:
                return  # while this was waiting
            node.check_not_lost()
            old, self._replaced = self._replaced, None
            if node.handle:
                old = Entry(
                    node.handle, node.object_name, is_folder=False, size=self._size_on_device, modified=None
                )
            try:
                handle = await publish(
                    context.device,
                    storage,
                    folder,
                    node.object_name,
                    spool.source(),
                    old=old,
                    modified=node.modified,
                )
            except MtpfsError:
                if old is not None:
                    parent.listed_at = None  # who knows how far it came
                raise
            self.dirty = False
            self._fetch = None
            context.tree.describe(
                node,
                Entry(handle, node.object_name, is_folder=False, size=spool.size, modified=node.modified),
            )
            try:
                node.modified = await self._kept_date(handle)
            except MtpfsError as error:
                # The contents are there, and that is what was asked for.
                log.info("%s: its date isn't known: %s", node.path, error)
                node.attributes_stale = True

    async def _kept_date(self, handle: int) -> float:
        """Return the date that the object now has on the device."""
        device, sent = self._context.device, self._node.modified
        explicit, self._explicit_date = self._explicit_date, None
        if explicit is not None and not device.keeps_dates:
            return await learn_dates(device, handle, explicit) or time.time() // 1
        return float(int(sent))

    def _changed(self, size: int) -> None:
        self._node.size = size
        self._node.modified = time.time() // 1  # whole seconds, as the device will have it
        self._explicit_date = None

    def _start_fetch(self) -> None:
        if self._fetch is not None and self._fetch.error is not None:
            self._drop_spool()  # that was another time; the device may be back
        if self._spool is None:
            context, node = self._context, self._node
            self._spool = Spool()
            self._fetch = Fetch(context.device, self._spool, node.size, lambda: context.tree.handle(node))
            context.pool.nursery.start_soon(self._fetch.run)

    def _forget_read(self) -> None:
        """Forget what came from the device: it has other contents now."""
        self._windows.clear()
        self._drop_spool()

    def _drop_spool(self) -> None:
        # Whoever still reads it, or fills it, keeps it open until done.
        if self._spool is not None:
            self._spool.drop()
        self._spool = self._fetch = None
