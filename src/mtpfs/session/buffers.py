"""Receive buffers that are used again.

A fresh buffer of megabytes costs a page fault for every 4 KiB of it, while the link waits. That is a tenth of the
time of a window, and more on slow machines. So large buffers are kept, and given out again when nothing refers to
them any more. An array refuses to be resized as long as a memoryview of it, or of a part of it, exists. That refusal
is the test.

Invariant: a buffer that is given out has no other user.
"""

from __future__ import annotations

from array import array

KEPT = 9  # buffers: what fills the windows' memory, and some on their way in and out


class Buffers:
    """Buffers of one size in bytes. For one thread; the views may be dropped by any."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: list[array[int]] = []

    def take(self) -> array[int]:
        """Return a buffer with arbitrary contents. It may be made smaller, and is not used again then."""
        self._kept = [buffer for buffer in self._kept if len(buffer) == self.size]
        # The one that was used last comes first: some of it may still be in the processor's cache.
        for place in reversed(range(len(self._kept))):
            if _is_unseen(self._kept[place]):
                buffer = self._kept.pop(place)
                break
        else:
            buffer = array("B", (0,)) * self.size
        self._kept = [*self._kept[-KEPT + 1 :], buffer]
        return buffer


def _is_unseen(buffer: array[int]) -> bool:
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True
