"""Bytes that continue each other, gathered as they come: what an edit sends next.

Each request of the kernel brings bytes in an object of its own. They are kept as they are, and copied once, into
the buffer of the transfer that sends them. To join them here would copy every byte twice more. Only small ones are
joined, because a list of them would cost more than a copy.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from mtpfs.session import DataSource

SMALL = 64 << 10  # bytes, below which a piece is joined to another small one before it


class Pieces:
    """Some bytes in a row."""

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._size += len(data)
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, bytearray) and len(data) < SMALL:
            last += data
        elif data:
            self._pieces.append(bytearray(data) if len(data) < SMALL else data)

    def clear(self) -> None:
        """Forget all bytes."""
        self._pieces.clear()
        self._size = 0

    def joined(self) -> bytes:
        """Return all bytes as one object."""
        return b"".join(self._pieces)

    def source(self) -> DataSource:
        """Return them to be sent, from another thread. Nothing may be added until that is done."""
        pieces = list(self._pieces)
        ends = list(accumulate(map(len, pieces)))

        def fill(offset: int, room: memoryview) -> int:
            filled = 0
            for index in range(bisect_right(ends, offset), len(pieces)):
                start = offset + filled - (ends[index] - len(pieces[index]))
                part = memoryview(pieces[index])[start : start + len(room) - filled]
                room[filled : filled + len(part)] = part
                filled += len(part)
                if filled == len(room):
                    break
            return filled

        return DataSource(self._size, fill)
