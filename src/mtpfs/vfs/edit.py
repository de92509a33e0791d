"""Changing an object where it lies, by Android's edit operations.

Strategy: writes that continue each other are collected up to `COALESCE` bytes and
sent as one SendPartialObject; anything else flushes first. The device refuses
to write beyond the end, so a gap is closed by TruncateObject, which fills with
zeros. The edit is begun with the first write and ended by `finish`, which is
where the device publishes the result.

Invariant: after `finish` returned, everything written is on the device; an
error is raised by the call that met it, and the bytes concerned stay buffered.
"""

from __future__ import annotations

from mtpfs.device import Device, writing

COALESCE = 4 << 20  # bytes per SendPartialObject; one of 1 MiB would cost a tenth of the link's rate


class Edit:
    """An object that is being edited in place. Not for concurrent use."""

    def __init__(self, device: Device, handle: int, size: int) -> None:
        self.handle = handle
        self.extended = False
        """A truncation has made the object larger; uMTP-Responder lets that be read only when the edit has ended."""
        self._device = device
        self._size = size
        self._open = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._offset = 0

    async def begin(self) -> None:
        """Begin the edit unless it is; raises what the device says."""
        if not self._open:
            await writing.begin_edit(self._device, self.handle)
            self._open = True

    async def write(self, offset: int, data: bytes) -> None:
        await self.begin()
        if offset != self._offset + self._buffered:
            await self.send()
        if not self._buffered:
            self._offset = offset
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered >= COALESCE:
            await self.send()

    async def truncate(self, size: int) -> None:
        await self.send()
        await self.begin()
        await self._truncate(size)

    async def send(self) -> None:
        """Send what is buffered."""
        if not self._buffered:
            return
        await self.begin()
        if self._offset > self._size:
            await self._truncate(self._offset)
        # Small writes are joined only once; a piece that is alone isn't copied at all.
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = [data]
        await writing.write(self._device, self.handle, self._offset, data)
        self._size = max(self._size, self._offset + len(data))
        self._forget()

    async def _truncate(self, size: int) -> None:
        await writing.truncate(self._device, self.handle, size)
        self.extended |= size > self._size
        self._size = size

    async def finish(self) -> None:
        """Send everything and end the edit."""
        await self.send()
        if self._open:
            await writing.end_edit(self._device, self.handle)
            self._open = False

    async def abandon(self) -> None:
        """End the edit without what is buffered: nobody will see the contents again."""
        self._forget()
        await self.finish()

    def _forget(self) -> None:
        self._pieces, self._buffered = [], 0
