"""Changing an object where it lies, by Android's edit operations.

Strategy: writes that continue each other are collected up to `COALESCE` bytes and
sent as one SendPartialObject; anything else flushes first. The device refuses
to write beyond the end, so a gap is closed by TruncateObject, which fills with
zeros. The edit is begun with the first write and ended by `finish`, which is
where the device publishes the result.

A device that has left the bus in between has forgotten the edit; what is buffered
then goes into a new one.

Invariant: after `finish` returned, everything written is on the device; an
error is raised by the call that met it, and the bytes concerned stay buffered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mtpfs.device import Device, writing

COALESCE = 4 << 20  # bytes per SendPartialObject; with 1 MiB a tenth of the rate is lost


class Edit:
    """An object that is being edited in place. Not for concurrent use."""

    def __init__(self, device: Device, handle: Callable[[], Awaitable[int]], size: int) -> None:
        self.handle = 0
        self.extended = False
        """A truncation has made the object larger; uMTP-Responder lets that be read only when the edit has ended."""
        self._device = device
        self._find = handle
        self._size = size
        self._generation = -1
        """The session in which the edit is open; -1: it isn't."""
        self._buffer = bytearray()
        self._offset = 0

    @property
    def _is_open(self) -> bool:
        return self._generation == self._device.session.generation

    @property
    def unsent(self) -> tuple[int, bytes]:
        """The offset of what is buffered, and the bytes."""
        return self._offset, bytes(self._buffer)

    async def begin(self) -> None:
        """Begin the edit unless it is; raises what the device says."""
        if not self._is_open:
            self.handle = await self._find()
            generation = self._device.session.generation
            await writing.begin_edit(self._device, self.handle)
            self._generation = generation

    async def write(self, offset: int, data: bytes) -> None:
        await self.begin()
        full = len(self._buffer) >= COALESCE  # it couldn't be sent
        if full or (self._buffer and offset != self._offset + len(self._buffer)):
            await self.send()
        if not self._buffer:
            self._offset = offset
        self._buffer += data
        if len(self._buffer) >= COALESCE:
            await self.send()

    async def truncate(self, size: int) -> None:
        await self.send()
        await self.begin()
        await self._truncate(size)

    async def send(self) -> None:
        """Send what is buffered."""
        if not self._buffer:
            return
        await self.begin()
        if self._offset > self._size:
            await self._truncate(self._offset)
        data = bytes(self._buffer)
        await writing.write(self._device, self.handle, self._offset, data)
        self._size = max(self._size, self._offset + len(data))
        self._buffer.clear()

    async def _truncate(self, size: int) -> None:
        await writing.truncate(self._device, self.handle, size)
        self.extended |= size > self._size
        self._size = size

    async def finish(self) -> None:
        """Send everything and end the edit."""
        await self.send()
        if self._is_open:
            await writing.end_edit(self._device, self.handle)
            self._generation = -1

    async def abandon(self) -> None:
        """End the edit without what is buffered: nobody will see the contents again."""
        self._buffer.clear()
        await self.finish()
