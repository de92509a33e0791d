"""Whole contents on their way: from an object into a spool, and from a source into an object.

What a device says of a transfer is a hint. Where it tells its room, that is looked at before
anything is sent. Where there is reason not to believe it (`mtpfs.device.room`), the size is
compared afterwards. An object that isn't whole doesn't stay.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from mtpfs.device import Device, Entry, Handle, Rank, writing
from mtpfs.device.reading import can_read_ranges, read, read_whole
from mtpfs.errors import FsError, MtpfsError, ResponseError, StoppedError
from mtpfs.protocol.codes import Response
from mtpfs.session import DataSource
from mtpfs.vfs.spool import Spool

log = logging.getLogger(__name__)

WINDOW = 4 << 20  # bytes per transaction


class Fetch:
    """One object on its way into `spool`, in order. Start `run` in a nursery.

    It comes in windows where the device can read ranges, so that others get their turn between two of
    them, else as one progressive GetObject. A reader waits only until the bytes that it wants have arrived.

    `size` is in bytes, None if it isn't known. `find` returns the object's handle in the current session.

    Invariant: the first `arrived` bytes of the spool are the object's.
    """

    def __init__(
        self,
        device: Device,
        spool: Spool,
        size: int | None,
        find: Callable[[], Awaitable[Handle]],
        subject: Callable[[], str],
    ) -> None:
        self.spool = spool.take()
        self.size = size
        """Bytes; None: as many as come."""
        self.arrived = 0
        self.error: MtpfsError | None = None
        self.done = False
        self._abandoned = False
        self._device = device
        self._find = find
        self._subject = subject
        """Names it in the log."""
        self._progress = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._written = 0

    def abandon(self) -> None:
        """Stop at the next piece, inside the data phase if need be; `error` is a `StoppedError` then.

        To be called from the trio thread. Doesn't wait.
        """
        self._abandoned = True

    async def wait(self, end: int) -> None:
        """Wait until the bytes before `end` (an offset) are there, or all of them if their number isn't known.

        Raises what stopped the fetch, and `FsError(EIO)` for bytes that aren't coming. A caller that is cancelled stops
        waiting; the fetch goes on.
        """
        while self.arrived < end and not (self.done and self.size is None):
            if self.error is not None:
                raise self.error
            if self.done or (self.size is not None and end > self.size):
                raise FsError(errno.EIO, f"{end} bytes are wanted, {self.size} were announced")
            await self._progress.wait()

    async def wait_for_all(self) -> None:
        """Wait until it is complete. Raises what stopped it. A cancelled caller stops waiting; the fetch goes on."""
        while not self.done:
            if self.error is not None:
                raise self.error
            await self._progress.wait()

    async def run(self) -> None:
        """Fetch all of it. Raises nothing: errors are raised in the tasks that wait for it.

        If it is cancelled, it keeps its hold on the spool, because a thread may still fill that.
        """
        try:
            await self._run()
        except MtpfsError as error:
            self._fail(error)
        except OSError as error:
            self._fail(FsError(error.errno or errno.EIO, str(error)))
        except Exception:
            log.exception("%s: fetching %s bytes", self._subject(), self.size)
            self._fail(MtpfsError("internal error"))
        self.spool.drop()  # not if this is cancelled: the thread that fills it goes on

    async def _run(self) -> None:
        try:
            await self._fetch(await self._find())
        except ResponseError as error:
            if error.code != Response.InvalidObjectHandle or self.arrived or self._written:
                raise
            await self._fetch(await self._find())  # it may have another handle now
        self.done = True
        self._wake()

    async def _fetch(self, handle: Handle) -> None:
        if self.size is not None and can_read_ranges(self._device, self.size):
            while self.arrived < self.size:
                if self._abandoned:
                    raise StoppedError("the rest isn't wanted any more")
                count = min(WINDOW, self.size - self.arrived)
                try:
                    data = await read(self._device, handle, self.arrived, count, self.size, rank=Rank.BULK)
                except FsError as error:
                    # Partial reads were only advertised.
                    if error.errno != errno.EOPNOTSUPP or self.arrived:
                        raise
                    break
                await self.spool.write(self.arrived, data)
                self._advance(self.arrived + len(data))
        if self.size is None or self.arrived < self.size:
            await read_whole(self._device, handle, self.size, self._take)
            self._advance(self._written)
            if self.size is not None and self.arrived < self.size:
                raise FsError(errno.EIO, f"{self.arrived} bytes came, {self.size} were announced")

    def _take(self, piece: memoryview) -> None:
        """Store a piece; runs on the worker thread."""
        if self._abandoned:
            raise StoppedError("the rest isn't wanted any more")
        self.spool.write_now(self._written, piece)
        self._written += len(piece)
        self._token.run_sync_soon(self._advance, self._written)

    def _advance(self, arrived: int) -> None:
        self.arrived = max(self.arrived, arrived)
        self._wake()

    def _fail(self, error: MtpfsError) -> None:
        self.error = error
        self._wake()

    def _wake(self) -> None:
        self._progress.set()
        self._progress = trio.Event()


@asynccontextmanager
async def fetched(device: Device, entry: Entry) -> AsyncIterator[Spool]:
    """Have an object's contents in a spool, inside the block.

    Raises `FsError`, ENOSPC of the local disk too, and what fetching raises. Cancellation stops the fetch.
    """
    spool = new_spool()
    size = entry.size if entry.size_known else None
    fetch = Fetch(device, spool, size, lambda: _found(entry.handle), lambda: entry.name)
    try:
        await fetch.run()
        if fetch.error is not None:
            raise fetch.error
    except BaseException:
        fetch.abandon()
        spool.drop()
        raise
    with spool:
        spool.drop()
        yield spool


def new_spool() -> Spool:
    """Return an empty spool. Raises FsError where `Spool` raises OSError."""
    try:
        return Spool()
    except OSError as error:
        raise FsError(error.errno or errno.EIO, f"no local spool: {error}") from error


async def send_object(
    device: Device, storage_id: int, folder: Handle, name: str, source: DataSource, modified: float | None
) -> Handle:
    """Create the object `name`, whole; return its handle. `name` must be free.

    `modified` is in seconds since the epoch, None for no date. Raises ENOSPC before anything is sent where
    the device is known to be too full, ENOSPC or EIO after the object turned out not to be whole and was
    deleted, and what the session raises. A caller that is cancelled stops waiting: the object may exist then.
    """
    await device.room.require(storage_id, source.size)
    try:
        handle = await writing.upload(device, storage_id, folder, name, source, modified)
    except MtpfsError as error:
        device.room.forget(storage_id)
        reason = await writing.refusal(device, storage_id, error, source.size)
        if reason is error:
            raise
        raise reason from error
    device.room.took(storage_id, source.size)
    await confirm(device, storage_id, handle, name, source.size)
    return handle


async def confirm(device: Device, storage_id: int, handle: Handle, name: str, size: int) -> None:
    """Compare the size of an object that was just written, where there is reason to.

    If it hasn't `size` bytes, it is deleted, and `FsError` is raised: ENOSPC if the room is short now, else EIO.
    Also raises what the session raises; nothing is deleted then.
    """
    if not await device.room.must_confirm(storage_id, size):
        return
    try:
        await writing.confirm_size(device, storage_id, handle, size)
    except FsError:
        with contextlib.suppress(MtpfsError):  # the error that matters is the first one
            await writing.delete(device, handle, name)
        device.room.forget(storage_id)
        raise


async def send_again(
    device: Device, storage_id: int, folder: Handle, entry: Entry, name: str, modified: float | None
) -> Handle:
    """Give an object's contents the name `name` where it can't be renamed: fetch it, and send it anew.

    Returns the new object's handle; the old object stays. Raises what `fetched` and `send_object` raise.
    """
    async with fetched(device, entry) as spool:
        return await send_object(device, storage_id, folder, name, spool.source(), modified)


async def _found(handle: Handle) -> Handle:
    return handle
