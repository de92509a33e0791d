"""Bringing a whole object into a spool, in the background and in order.

Strategy: in windows where the device can read ranges, so that others get their
turn between two of them; as one progressive GetObject where it can't. A reader
waits only until the bytes that it wants have arrived.

Invariant: the first `arrived` bytes of the spool are the object's.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable

import trio

from mtpfs.device import Device
from mtpfs.device.reading import can_read_ranges, read, read_whole
from mtpfs.errors import FsError, MtpfsError
from mtpfs.vfs.spool import Spool

log = logging.getLogger(__name__)

WINDOW = 4 << 20  # bytes per transaction


class Fetch:
    """One object on its way into `spool`. Start `run` in a nursery."""

    def __init__(self, device: Device, spool: Spool, size: int, handle: Callable[[], Awaitable[int]]) -> None:
        self.spool = spool.take()
        self.size = size
        self.arrived = 0
        self.error: MtpfsError | None = None
        self._device = device
        self._handle = handle
        self._progress = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._written = 0

    async def wait(self, end: int) -> None:
        """Wait until the bytes before `end` are there. Raises what stopped them; EIO for what isn't coming."""
        while self.arrived < end:
            if self.error is not None:
                raise self.error
            if end > self.size:
                raise FsError(errno.EIO, f"{end} bytes are wanted, {self.size} were announced")
            await self._progress.wait()

    async def run(self) -> None:
        try:
            with self._device.session.pinned(anew=True):
                await self._run()
        except MtpfsError as error:
            self._fail(error)
        except OSError as error:
            self._fail(FsError(error.errno or errno.EIO, str(error)))
        except Exception:
            log.exception("fetching an object of %d bytes", self.size)
            self._fail(MtpfsError("internal error"))
        self.spool.drop()  # not if this is cancelled: the thread that fills it goes on

    async def _run(self) -> None:
        handle = await self._handle()
        if can_read_ranges(self._device, self.size):
            while self.arrived < self.size:
                count = min(WINDOW, self.size - self.arrived)
                data = await read(self._device, handle, self.arrived, count, self.size, bulk=True)
                await self.spool.write(self.arrived, data)
                self._advance(self.arrived + len(data))
        elif self.size:
            await read_whole(self._device, handle, self.size, self._take)
            self._advance(self._written)
            if self.arrived < self.size:
                raise FsError(errno.EIO, f"{self.arrived} bytes came, {self.size} were announced")

    def _take(self, piece: memoryview) -> None:
        """Store a piece; runs on the worker thread."""
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
