"""Contents: windows by GetPartialObject64 or GetPartialObject, else the whole object.

The caller asks for a range inside the known size, and gets exactly that range. (To ask at or beyond the end hangs
some devices, so that is never done.) A device that answers short is asked again for the rest. 32-bit partial reads
are good for the first 4 GiB of an object of any size. Without partial reads, or beyond that, the object comes as
one GetObject, piece by piece.

Tizen answers a wide read (64-bit offset) OK with no data, because it runs the handler of the narrow one
(32-bit). So such an answer has the read tried again as a narrow one. If that brings data, wide reads are withdrawn.
An operation that has worked isn't withdrawn for an empty answer: then the object has become shorter.

Invariant: `read` returns the bytes asked for or raises. It never invents an end of file, because a short read would
be a truncated copy without a word. Only where the size is unknown, the device tells the end.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from mtpfs.device.device import Device
from mtpfs.errors import FsError, ResponseError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.session import Engine, Handle, Rank

_LIMIT_32 = 0xFFFFFFFF
_LIMIT_UNKNOWN = 1 << 62  # bytes of an object whose size is unknown


def can_read_ranges(device: Device, end: int) -> bool:
    """Tell whether a range that ends at `end` (offset + count, bytes) can be read without the whole object."""
    return bool(_operations(device, end))


async def read(
    device: Device, handle: Handle, offset: int, count: int, size: int | None, *, rank: Rank
) -> memoryview:
    """Return `count` bytes from `offset` of an object of `size` bytes.

    `size` None: unknown; there are fewer bytes then at the object's end, and only there.
    Raises `FsError(EIO)` when the device has less than it said, `FsError(EOPNOTSUPP)` when it
    can't read ranges of this object after all: fetch the whole then. Else what the session raises.
    A caller that is cancelled stops waiting.
    """
    pieces: list[memoryview] = []
    got = 0
    while got < count:
        piece = await _read_once(device, handle, offset + got, count - got, size, rank=rank)
        if not piece:
            if size is None:
                break
            raise FsError(errno.EIO, f"the device ends at {offset + got}, {size} bytes were announced")
        pieces.append(piece)
        got += len(piece)
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _operations(device: Device, end: int) -> list[Operation]:
    """Return the operations that can read up to `end`, the best first."""
    narrow = end <= _LIMIT_32
    return [
        operation
        for operation, good in ((Operation.GetPartialObject64, True), (Operation.GetPartialObject, narrow))
        if good and device.supports(operation)
    ]


async def _read_once(
    device: Device, handle: Handle, offset: int, count: int, size: int | None, *, rank: Rank
) -> memoryview:
    """Read some of a range: nothing only where the object ends, as far as the device can be believed."""
    if device.quirks.eof_short_packet and offset + count == size and count > 1:
        # With any packet size, a reply of a whole number of 64-byte packets may fill its last one.
        count -= (count + 12) % 64 == 0
    empty: list[Operation] = []
    for operation in _operations(device, offset + count):
        wide = operation == Operation.GetPartialObject64
        place = (offset & 0xFFFFFFFF, offset >> 32) if wide else (offset,)
        try:
            result = await device.call(
                operation,
                handle,
                *place,
                count,
                expected=count,
                limit=count,
                rank=rank,
            )
        except ResponseError as error:
            if error.code == Response.OperationNotSupported:
                continue  # for this object at least
            if size is None and offset and error.code == Response.InvalidParameter:
                return memoryview(b"")  # what some answer beyond the end
            raise
        if result.data:
            for useless in empty:
                device.operations.withdraw(useless, "it answers OK with nothing, and the narrow one works")
            return result.data
        if device.operations.has_worked(operation):
            return result.data
        empty.append(operation)
    if size is not None and offset + count <= size:
        for useless in empty:
            device.operations.note_refusal(useless, handle)  # as good as a refusal
    raise FsError(errno.EOPNOTSUPP, "no partial reads")


async def read_whole(
    device: Device, handle: Handle, size: int | None, sink: Callable[[memoryview], None]
) -> int:
    """Fetch an object of `size` bytes (None: unknown) as one; return the number of bytes received.

    `sink` gets the pieces in order, on the worker thread. Holds the wire until it is done: the last
    resort. It may bring more or less than `size`; what the sink got then is what the device has.
    """
    received = 0

    def take(piece: memoryview) -> None:
        nonlocal received
        received += len(piece)
        sink(piece)

    def job(engine: Engine) -> None:
        limit = _LIMIT_UNKNOWN if size is None else max(2 * size, 1 << 20)  # it may have grown
        engine.transact(Operation.GetObject, handle.number, size=size, limit=limit, sink=take)

    await device.session.run(job, handle, rank=Rank.BULK)
    return received
