"""Outgoing bulk transfers, as the host's USB controller sees them.

A transfer is a list of pieces: bytes, or a range of a file that is
read when its turn comes. It ends with a short packet. A host reads
into a buffer of its own size. `Outbox.fill` does the work of its controller: a
read ends with the buffer, with a short packet or with a zero-length packet,
and never in any other way.

Invariant: a file's bytes go from the page cache into the caller's buffer in
one copy, and no transfer is ever held in memory whole.
"""

from __future__ import annotations

import os
from collections import deque

from mtpfs.protocol.containers import needs_zero_length_packet


class ShrunkError(Exception):
    """A file became shorter while it was being sent; AOSP stalls the endpoints then."""


class FileRange:
    """`length` bytes of an open file from `offset` on. Closes the file when used up."""

    __slots__ = ("descriptor", "left", "offset")

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.left = length
        if not length:
            self.close()

    def __len__(self) -> int:
        return self.left

    def read_into(self, view: memoryview) -> int:
        """Fill `view` from the file, as far as there are bytes left; return their count.

        Raises `ShrunkError` if the file has become too short.
        """
        target = view[: self.left]
        done = 0
        while done < len(target):
            count = os.preadv(self.descriptor, [target[done:]], self.offset)
            if not count:
                self.close()
                raise ShrunkError
            done += count
            self.offset += count
            self.left -= count
        if not self.left:
            self.close()
        return done

    def close(self) -> None:
        """Close the file. May be called again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


Piece = bytes | memoryview | FileRange


class Transfer:
    """One bulk transfer. `zero_length_packet`: whether an exact multiple of packets is ended by one."""

    __slots__ = ("left", "pieces", "total", "zero_length_packet")

    def __init__(self, *pieces: Piece, zero_length_packet: bool = True) -> None:
        self.pieces: deque[Piece] = deque(piece for piece in pieces if len(piece))
        self.total = sum(len(piece) for piece in self.pieces)
        self.left = self.total
        self.zero_length_packet = zero_length_packet

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with the next bytes; return their count. Raises `ShrunkError`."""
        done = 0
        while self.pieces and done < len(view):
            piece = self.pieces[0]
            if isinstance(piece, FileRange):
                done += piece.read_into(view[done:])
                if not len(piece):
                    self.pieces.popleft()
                continue
            count = min(len(piece), len(view) - done)
            view[done : done + count] = piece[:count]
            done += count
            if count == len(piece):
                self.pieces.popleft()
            else:
                self.pieces[0] = memoryview(piece)[count:]
        self.left -= done
        return done

    def close(self) -> None:
        """Close the files of the pieces, and forget what was left."""
        for piece in self.pieces:
            if isinstance(piece, FileRange):
                piece.close()
        self.pieces.clear()


class Outbox:
    """The transfers that wait for the initiator to read them."""

    def __init__(self, max_packet: int) -> None:
        self.max_packet = max_packet
        self._transfers: deque[Transfer] = deque()

    def __bool__(self) -> bool:
        return bool(self._transfers)

    def put(self, transfer: Transfer) -> None:
        """Add a transfer behind the others."""
        self._transfers.append(transfer)

    def clear(self) -> None:
        """Forget all transfers, and close their files."""
        for transfer in self._transfers:
            transfer.close()
        self._transfers.clear()

    def fill(self, view: memoryview) -> int | None:
        """Serve one read: return the bytes received, 0 for a zero-length packet, None when nothing waits.

        Raises `ShrunkError`.
        """
        if not self._transfers:
            return None
        done = 0
        while self._transfers:
            transfer = self._transfers[0]
            done += transfer.read_into(view[done:])
            if transfer.left:
                break  # the buffer is full
            full = done == len(view)
            if transfer.total and not needs_zero_length_packet(transfer.total, self.max_packet):
                self._transfers.popleft()
                break  # the last packet was short
            if transfer.total and not transfer.zero_length_packet:
                self._transfers.popleft()
                if full:
                    break
                continue  # nothing marks the end here: the next transfer's packets follow in the same read
            if full and transfer.total:
                transfer.total = 0  # all but the zero-length packet, which the next read gets
                break
            self._transfers.popleft()
            break  # ended by the zero-length packet
        return done
