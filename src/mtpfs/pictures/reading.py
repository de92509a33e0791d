"""A file's bytes by position, read in blocks, and no more of them than a date can be worth.

Invariant: nothing but `UnreadableError` comes of what is in a file. (An `OSError` is the disk's, or the phone's.)
"""

from __future__ import annotations

import struct
from typing import Protocol

BLOCK = 64 << 10  # bytes that are read at once: the head of a photo with its EXIF
BLOCKS = 64
"""How many blocks are read of a file. Most dates are in the first or the second."""


class UnreadableError(Exception):
    """It ends too early, has impossible values, or goes on for too long."""


class Readable(Protocol):
    """An open file, here or on the phone."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...


class Bytes:
    """What is in a file."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._blocks: dict[int, bytes] = {}

    def at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset` on. Raises `UnreadableError` if they aren't there."""
        if offset < 0 or not 0 <= size <= BLOCK * BLOCKS or offset + size >= 1 << 62:
            raise UnreadableError
        first, last = offset // BLOCK, (offset + size - 1) // BLOCK
        data = b"".join(self._block(number) for number in range(first, last + 1))
        found = data[offset - first * BLOCK :][:size]
        if len(found) < size:
            raise UnreadableError
        return found

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            if len(self._blocks) >= BLOCKS:
                raise UnreadableError
            self._file.seek(number * BLOCK)
            self._blocks[number] = self._file.read(BLOCK)
        return self._blocks[number]

    def unpack(self, shape: str, offset: int) -> tuple[int, ...]:
        """Return the numbers at a position, as `struct` has them."""
        return struct.unpack(shape, self.at(offset, struct.calcsize(shape)))
