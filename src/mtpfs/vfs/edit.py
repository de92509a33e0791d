"""Changing an object in place, by Android's edit operations.

Writes that continue each other are collected up to `COALESCE` bytes and sent as one SendPartialObject. That is done
by a task of its own, so that the next ones are collected while the link is busy: of a fast link a third would be lost
else. One piece is on its way at a time. Before anything but the next writes in a row, all is sent. The device refuses
to write beyond the end, so a gap is closed by TruncateObject, which fills with zeros. Filling may take long, so it is
done in steps, and can be stopped between them.

A device that has left the bus in between has forgotten the edit. What is buffered then goes into a new one, but
only if the object still is what this edit has made of it.

Some devices have room for one edit only, and end the other one silently (Sailfish). The next piece is refused then.
The edit is begun again, and the piece is sent once more.

Invariant: after `finish` returned, everything written is on the device. An error is raised by the call that met it,
or by the next one if a piece was on its way. The bytes concerned stay here, and are sent again by the call after that.
While a piece is on its way, its task alone asks the device for anything; all others wait for it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

import trio

from mtpfs.device import Device, Handle, dates, listing, writing
from mtpfs.errors import FsError, MtpfsError, ResponseError, TransportError
from mtpfs.protocol.codes import Response
from mtpfs.vfs.pieces import Pieces
from mtpfs.vfs.stale import with_current_handles

log = logging.getLogger(__name__)

COALESCE = 4 << 20  # bytes per SendPartialObject; with 1 MiB a tenth of the rate is lost
FILLED = 64 << 20  # bytes of zeros that the device is told to write at once
_ENDED_SILENTLY = {Response.InvalidObjectHandle, Response.GeneralError, Response.AccessDenied}
"""What SendPartialObject, TruncateObject and EndEditObject answer without an edit."""


class ConflictError(FsError):
    """The object on the device isn't the one that was opened here: it was changed outside of this mount."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)


@dataclass(slots=True, eq=False)
class _Flight:
    """A piece that is on its way to the device."""

    offset: int
    pieces: Pieces
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    error: MtpfsError | None = None
    """What has kept it from arriving, until that is told."""

    @property
    def end(self) -> int:
        return self.offset + len(self.pieces)


class Edit:
    """An object that is being edited in place. Used under the file's lock.

    In `nursery` pieces are sent. `find` returns the object's handle in the current session. `size` is in bytes,
    `modified` in seconds since the epoch: what the device tells now. `stopped` tells that the mount is ending.

    A caller that is cancelled stops waiting. What is on the wire is finished; what is buffered stays.
    """

    def __init__(
        self,
        device: Device,
        nursery: trio.Nursery,
        storage_id: int,
        find: Callable[[], Awaitable[Handle]],
        size: int,
        modified: float | None,
        stopped: Callable[[], bool],
    ) -> None:
        self.extended = False
        """A truncation has made the object larger; uMTP-Responder lets that be read only when the edit has ended."""
        self.sent = 0
        """Bytes that were sent or filled."""
        self.size = size
        """Bytes of the object on the device, as far as this edit has come."""
        self._device = device
        self._nursery = nursery
        self._storage_id = storage_id
        self._find = find
        self._modified: float | None = modified
        """The object's date before anything was sent; None: not known any more."""
        self._stopped = stopped
        self._open: Handle | None = None
        """The object in the session in which the edit is open; None: it isn't."""
        self._generation: int | None = None
        """The session in which the edit was begun last."""
        self._buffer = Pieces()
        self._offset = 0
        self._flight: _Flight | None = None
        """What is on its way, or has not arrived."""
        self._dropped: _Flight | None = None
        """What was on its way when it wasn't wanted any more."""

    @property
    def unsent(self) -> list[tuple[int, bytes]]:
        """What the device hasn't confirmed: pieces with their offsets."""
        found = [] if self._flight is None else [(self._flight.offset, self._flight.pieces.joined())]
        return [*found, (self._offset, self._buffer.joined())] if self._buffer else found

    @property
    def end(self) -> int:
        """Size of the file with what isn't sent."""
        in_flight = 0 if self._flight is None else self._flight.end
        return max(self.size, in_flight, self._offset + len(self._buffer) if self._buffer else 0)

    async def begin(self) -> Handle:
        """Begin the edit unless it is open; return the object's handle.

        Raises `ConflictError` if the object isn't any more what this edit has made of it, `ResponseError`
        if it can't be edited, and what the session raises.
        """
        if self._is_open():
            assert self._open is not None
            return self._open
        async with self._device.edit_slot:
            return await self._begin()

    def _is_open(self) -> bool:
        return self._open is not None and self._open.generation == self._device.session.generation

    async def _begin(self) -> Handle:
        """Begin the edit; under `Device.edit_slot`, so that no other edit begins before its first call."""

        async def once() -> Handle:
            handle = await self._find()
            if self._generation not in {None, handle.generation}:
                await self._check_unchanged(handle)
            await writing.begin_edit(self._device, handle)
            return handle

        self._open = handle = await with_current_handles(
            self._device.session,
            once,
            is_stale=lambda error: error.code == Response.InvalidObjectHandle,
            subject=lambda: "an edit",
        )
        self._generation = handle.generation
        return handle

    async def write(self, offset: int, data: bytes) -> None:
        """Add bytes; send them when there are enough, or when they don't continue the last ones.

        Raises ENOSPC before anything is sent if they are known not to fit, and what `send_buffered` raises.
        """
        if self._flight is None:
            await self.begin()
        if (end := offset + len(data)) > self.end:
            # With what is buffered, which isn't counted as taken yet.
            await self._device.room.require(self._storage_id, end - self.size)
        full = len(self._buffer) >= COALESCE  # it couldn't be sent
        if full or (self._buffer and offset != self._offset + len(self._buffer)):
            await self.send_buffered()
        if not self._buffer:
            self._offset = offset
        self._buffer.add(data)
        if len(self._buffer) >= COALESCE:
            await self._land()
            flight = self._flight = _Flight(self._offset, self._buffer)
            self._buffer = Pieces()
            self._nursery.start_soon(self._fly, flight)

    async def truncate(self, size: int) -> None:
        """Set the size in bytes; what is buffered is sent first, and growth reads as zeros.

        Raises ENOSPC before anything is done, EINTR when it was stopped between two steps, and what
        `send_buffered` raises.
        """
        await self._device.room.require(self._storage_id, size - self.end)
        await self.send_buffered()
        await self._truncate(size)

    async def send_buffered(self) -> None:
        """Send what is buffered. If that fails it stays buffered.

        Raises ENOSPC if the room is short, `ConflictError`, `ResponseError`, and what the session raises.
        """
        await self._land()
        if self._buffer:
            await self._send(self._offset, self._buffer)
            self._buffer.clear()

    async def _land(self) -> None:
        """Wait until what is on its way has arrived. Raises what keeps it; the next call sends it again."""
        flight = self._flight
        if flight is None:
            return
        await flight.done.wait()
        if flight.error is not None:
            error, flight.error = flight.error, None
            raise error
        if self._flight is flight:
            await self._send(flight.offset, flight.pieces)
            self._flight = None

    async def _fly(self, flight: _Flight) -> None:
        try:
            with flight.scope:
                await self._send(flight.offset, flight.pieces)
                if self._flight is flight:
                    self._flight = None
        except MtpfsError as error:
            flight.error = error
        except Exception:
            # A bug must cost only this file an EIO, and not end the mount.
            log.exception("a piece of %d bytes at %d", len(flight.pieces), flight.offset)
            flight.error = MtpfsError("internal error")
        finally:
            flight.done.set()

    async def _send(self, offset: int, pieces: Pieces) -> None:
        await self.begin()
        if offset > self.size:
            await self._truncate(offset)
        source = pieces.source()
        await self._repeated(lambda handle: writing.write(self._device, handle, offset, source), source.size)
        end = offset + source.size
        self._note(max(self.size, end), end - self.size, source.size)

    async def _truncate(self, size: int) -> None:
        while True:
            step = min(size, self.size + FILLED)
            await self._repeated(partial(self._truncate_once, step), step - self.size)
            self.extended |= step > self.size
            self._note(step, step - self.size, max(0, step - self.size))
            if step == size:
                return
            if self._stopped():
                raise FsError(errno.EINTR, "stopped: the mount ends")

    async def _truncate_once(self, size: int, handle: Handle) -> None:
        await writing.truncate(self._device, handle, size)

    def _note(self, size: int, grown: int, sent: int) -> None:
        self._device.room.took(self._storage_id, grown)
        self.size, self._modified = size, None
        self.sent += sent

    async def _repeated(self, call: Callable[[Handle], Awaitable[None]], count: int) -> None:
        """Make a call inside the edit; begin it again, once, if the device has ended it silently."""
        try:
            await call(await self.begin())
        except ResponseError as error:
            if error.code not in _ENDED_SILENTLY or await self._device.room.is_short(self._storage_id, count):
                await self._refuse(error, count)
            self._open = None
            try:
                async with self._device.edit_slot:
                    await call(await self._begin())
            except MtpfsError as again:
                await self._refuse(again, count)
        except TransportError as error:
            await self._refuse(error, count)

    async def _refuse(self, error: MtpfsError, count: int) -> NoReturn:
        """Raise what a failure means: ENOSPC if the room is short now."""
        self._device.room.forget(self._storage_id)
        reason = await writing.refusal(self._device, self._storage_id, error, max(count, 1))
        if reason is error:
            raise error
        raise reason from error

    async def _check_unchanged(self, handle: Handle) -> None:
        """Raise unless the object still is what this edit has made of it in an earlier session."""
        there = await listing.entry(self._device, handle)
        known = replace(there, size=self.size, modified=self._modified)
        if not dates.looks_like(there, known):
            raise ConflictError("the file was changed on the device while it was away")

    async def finish(self) -> None:
        """Send everything and end the edit. Raises what `send_buffered` and `end_edit` raise."""
        await self.send_buffered()
        await self.end_edit()

    async def end_edit(self) -> None:
        """End the edit, without what is buffered. Nothing if it isn't open, or was in an earlier session.

        Raises `ResponseError` unless the device had ended it already, and what the session raises.
        """
        if self._dropped is not None:
            await self._dropped.done.wait()
            self._dropped = None
        handle, self._open = self._open, None
        if handle is None or handle.generation != self._device.session.generation:
            return
        try:
            await writing.end_edit(self._device, handle)
        except ResponseError as error:
            if error.code not in _ENDED_SILENTLY:
                raise

    def drop(self) -> None:
        """Forget what isn't sent. What is on the wire is finished."""
        self._buffer.clear()
        if self._flight is not None:
            self._flight.scope.cancel()
            self._dropped, self._flight = self._flight, None
