"""A disk that is full: what fits, and what the phone says of the rest.

Two operations bring a file's bytes, and both use this writer. It knows how much
the storage still takes, and writes that much. The mode decides what the host
hears:

    refuse   all data is taken, then GeneralError
    lie      all data is taken, then OK (uMTP-Responder doesn't look at write's result)
    early    GeneralError at once, while the host is still sending
    stall    both endpoints stall, and nothing is answered
    aosp     `early` when not even the first byte fits, `stall` when a chunk of 2 MiB
             fails that another one follows, `lie` when it is the last one

Invariant: what fits is written, nothing beyond it. The free bytes are counted
once for each data phase, so that a write costs no look at the whole tree.

Sources: AOSP's MtpFfsHandle::receiveFile, which looks at the result of a write
only when the next chunk has been read. AOSP's MtpServer, which writes the
payload of the first read itself. uMTP-Responder's mtp_op_sendobject.c.
"""

from __future__ import annotations

import os

from mtpfs.protocol.codes import Response
from mtpfs.virtual.phone import CutShort, Phone, Reply
from mtpfs.virtual.store import Storage

FIRST_READ = 16384 - 12
"""Payload bytes that AOSP receives together with the header."""
CHUNK = 2 << 20
"""Bytes that AOSP receives and writes at once."""


class Writer:
    """Takes a data phase into an open file from `start` on."""

    def __init__(self, phone: Phone, storage: Storage, descriptor: int, start: int) -> None:
        self.descriptor = descriptor
        self.received = 0
        self._phone = phone
        self._storage = storage
        self._start = start
        self._size = os.fstat(descriptor).st_size
        limited = phone.capabilities.capacity is not None
        self._left = phone.store.free(storage)[1] if limited else None
        self._failed_at: int | None = None

    @property
    def failed(self) -> bool:
        """Tell whether the response has to say that something didn't fit."""
        return self._failed_at is not None and self._phone.capabilities.full == "refuse"

    def write(self, data: memoryview) -> None:
        """Write what fits. Raises `CutShort` when the phone doesn't want the rest."""
        if self._failed_at is None:
            fitting = self._write(data)
            if fitting < len(data):
                self._failed_at = self.received + fitting
        self.received += len(data)
        if self._failed_at is not None:
            self._complain(self._failed_at)

    def skip(self, count: int) -> None:
        """Count bytes that the phone takes and throws away."""
        self.received += count

    def _write(self, data: memoryview) -> int:
        position = self._start + self.received
        growth = max(0, position + len(data) - max(self._size, position))
        fitting = len(data)
        if self._left is not None and growth > self._left:
            fitting -= growth - self._left
        try:
            write_all(self.descriptor, data[:fitting], position)
        except OSError:  # the directory's own disk is full
            fitting = 0
        grown = max(0, position + fitting - self._size)
        self._size += grown
        if self._left is not None:
            self._left -= grown
        self._phone.store.spend(self._storage, grown)
        return fitting

    def _complain(self, failed_at: int) -> None:
        mode = self._phone.capabilities.full
        if mode == "aosp":
            chunk = max(0, failed_at - FIRST_READ) // CHUNK
            if failed_at == 0:
                mode = "early"
            elif self.received > FIRST_READ + (chunk + 1) * CHUNK:
                mode = "stall"
        if mode == "early":
            raise CutShort(Reply(Response.GeneralError))
        if mode == "stall":
            raise CutShort(None)


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset` (bytes). Raises `OSError`."""
    while len(data):
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count
