"""Contents: windows by GetPartialObject64 or GetPartialObject, else the whole object.

Strategy: the caller asks for a range inside the known size (asking at or beyond
the end hangs some devices, so that is never done), and gets exactly that
range. A device that answers short is asked again for the rest. Without partial
reads, or beyond 4 GiB with only the 32-bit one, the object comes as one
progressive GetObject.

Invariant: `read` returns the bytes asked for or raises; it never invents an end
of file (a short read would be a silently truncated copy).
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from mtpfs.device.device import Device
from mtpfs.errors import FsError, ResponseError
from mtpfs.protocol.codes import Operation
from mtpfs.session import Engine, Handle

_LIMIT_32 = 0xFFFFFFFF


def can_read_ranges(device: Device, size: int) -> bool:
    """Tell whether ranges of an object of `size` bytes can be read without the whole."""
    return device.supports(Operation.GetPartialObject64) or (
        size <= _LIMIT_32 and device.supports(Operation.GetPartialObject)
    )


async def read(device: Device, handle: Handle, offset: int, count: int, size: int, *, bulk: bool) -> memoryview:
    """Return `count` bytes from `offset` of an object of `size` bytes.

    Raises `FsError(EIO)` when the device has less than it said,
    `FsError(EOPNOTSUPP)` when it can't read ranges after all.
    """
    pieces: list[memoryview] = []
    got = 0
    while got < count:
        piece = await _read_once(device, handle, offset + got, count - got, size, bulk=bulk)
        if not piece:
            raise FsError(errno.EIO, f"the device ends at {offset + got}, {size} bytes were announced")
        pieces.append(piece)
        got += len(piece)
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


async def _read_once(
    device: Device, handle: Handle, offset: int, count: int, size: int, *, bulk: bool
) -> memoryview:
    if device.quirks.eof_short_packet and offset + count == size and count > 1:
        # Whatever the packet size is, a reply of a whole number of 64-byte packets may fill its last one.
        count -= (count + 12) % 64 == 0
    while can_read_ranges(device, size):
        wide = device.supports(Operation.GetPartialObject64)
        operation = Operation.GetPartialObject64 if wide else Operation.GetPartialObject
        place = (offset & 0xFFFFFFFF, offset >> 32) if wide else (offset,)
        try:
            result = await device.call(
                operation, handle, *place, count, expected=count, limit=count, bulk=bulk
            )
        except ResponseError:
            if device.supports(operation):
                raise
        else:
            return result.data
    raise FsError(errno.EOPNOTSUPP, "no partial reads")


async def read_whole(device: Device, handle: Handle, size: int, sink: Callable[[memoryview], None]) -> None:
    """Fetch an object of `size` bytes; `sink` gets the pieces in order, on the worker thread.

    Holds the wire until it is done: the last resort.
    """

    def job(engine: Engine) -> None:
        engine.transact(
            Operation.GetObject, handle.number, size=size, limit=max(2 * size, 1 << 20), sink=sink
        )  # it may have grown

    await device.session.run(job, handle, bulk=True)
