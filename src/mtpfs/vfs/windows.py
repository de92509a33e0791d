"""The read-ahead cache: windows of files, fetched in ever larger pieces while reading is sequential.

The kernel asks in requests of at most 128 KiB, two at a time. They are up to 1 MiB where its read-ahead is larger, as
with the udev rule. MTP needs transfers of megabytes to be fast. A window starts with the size that is asked for. A
request that continues a window gets one of `GROWTH` times its size, up to the pool's limit. When a reader enters the
last window of a run, the next one is fetched at once, so that link and reader work at the same time. Random reads
never continue a window. So they fetch what they ask for and no more. The state of a sequential run is in its
windows, so any number of readers can run through one file.

Some programs read the head of each file and no more: `file`, thumbnailers, players that look for tags. To fetch the
rest would make them slow by what nobody wants. Others copy file after file, and small windows would make those slow.
What comes next can be told by what came before. So the pool learns from each file when it is closed, or read in
another place. After one of which too much was fetched, a run is fetched only half as far again as it was asked for,
and in small windows, until it is `EARNEST`. After one that was read to its end, that is over.

What a sequential reader has passed is dropped. The kernel has it in its own cache, and the same few buffers can be
filled again and again.

All files share one amount of memory. What was used longest ago goes first.

Invariant: a byte returned was fetched after the last `clear` of its file, and no range is fetched twice at the same
time.
"""

from __future__ import annotations

import logging
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from mtpfs.errors import MtpfsError

log = logging.getLogger(__name__)

LARGEST = 4 << 20  # bytes per window, unless told otherwise: 0.9 of the raw link's rate
MEMORY = 6  # windows of the largest size that are kept, all files together
REQUEST = 1 << 20  # bytes; the kernel's largest request, which a window always holds
BEHIND = 2 * REQUEST  # bytes behind a sequential reader that may still be asked for
GROWTH = 4  # times; each size on the way up costs buffers of its own and a transaction
EARNEST = 4 << 20  # bytes, more than the heads that programs look at: who asks for so much reads on
TELLING = (
    2 * REQUEST
)  # bytes; a smaller file that is read to its end tells nothing, for the kernel asks for that much

Fetch = Callable[[int, int], Awaitable[memoryview]]
"""(offset, count) → exactly `count` bytes."""


class Window:
    """A piece of a file: on its way (`data` None) or here."""

    __slots__ = ("count", "data", "done", "error", "offset", "owner", "start")

    def __init__(self, owner: Windows, offset: int, count: int, start: int) -> None:
        self.owner = owner
        self.offset = offset
        self.count = count
        self.start = start
        """Where the run began that led here."""
        self.data: memoryview | None = None
        self.error: MtpfsError | None = None
        self.done = trio.Event()

    @property
    def end(self) -> int:
        """Offset of the first byte behind it."""
        return self.offset + self.count


class Pool:
    """The memory that windows may take, and the nursery in which they are fetched."""

    def __init__(self, nursery: trio.Nursery, largest: int = LARGEST) -> None:
        self.nursery = nursery
        self.largest = largest
        """Bytes that a window may have without being asked for; 0: nothing is read ahead."""
        self.hits = 0
        self.misses = 0
        self.fetched = 0
        self.used = 0
        """Bytes of windows that are here."""
        self.memory = MEMORY * largest
        self.trusting = True
        """Readers are taken to read on: the last file that could tell was read to its end."""
        self._windows: OrderedDict[Window, None] = OrderedDict()

    def learn(self, *, size: int, asked: int, fetched: int) -> None:
        """Note how a file of `size` bytes was read: what was asked for and what was fetched, in bytes."""
        if fetched > _half_again(asked):
            self.trusting = False
        elif asked >= size >= TELLING:
            self.trusting = True

    def add(self, window: Window) -> None:
        """Count a window that has come, and drop those that were used longest ago while all are too large."""
        self._windows[window] = None
        self.used += window.count
        while self.used > self.memory and len(self._windows) > 1:
            oldest = next(iter(self._windows))
            oldest.owner.drop(oldest)

    def touch(self, window: Window) -> None:
        """Note that a window was used just now."""
        if window in self._windows:
            self._windows.move_to_end(window)

    def remove(self, window: Window) -> None:
        """Count a window no more; nothing if it isn't counted."""
        if window in self._windows:
            del self._windows[window]
            self.used -= window.count


class Windows:
    """The windows of one file. `fetch` gets the bytes; `subject` names the file in the log."""

    def __init__(self, pool: Pool, fetch: Fetch, subject: Callable[[], str]) -> None:
        self._pool = pool
        self._subject = subject
        self._fetch = fetch
        self._by_offset: dict[int, Window] = {}
        self._offsets: list[int] = []
        self._size = self._asked = self._fetched = 0  # bytes since the last `clear`

    async def read(self, offset: int, count: int, size: int) -> bytes | memoryview:
        """Return `count` bytes from `offset`, which lie inside the file's `size` (all in bytes).

        Raises what `fetch` raises. If the caller is cancelled, a window that it was loading itself is
        dropped. Others that wait for that window fetch it anew.
        """
        pieces: list[memoryview] = []
        position, end = offset, offset + count
        self._size = size
        while position < end:
            window = self._covering(position)
            if window is None:
                self._pool.misses += 1
                window = self._place(position, end - position, size)
                await self._load(window)  # here, because a task of its own costs as much as a lookup
            else:
                self._pool.hits += 1
                self._read_ahead(window, end, size)
                await window.done.wait()
            if window.error is not None:
                raise window.error
            if window.data is None:
                continue  # cleared while we waited: the contents are others now; or its reader was cancelled
            self._pool.touch(window)
            piece = window.data[position - window.offset : end - window.offset]
            pieces.append(piece)
            position += len(piece)
        self._asked += count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def clear(self) -> None:
        """Forget everything: the contents have changed. What is on its way is thrown away when it comes."""
        for window in list(self._by_offset.values()):
            self.drop(window)
            window.data = None
        self._learn()
        self._size = self._asked = self._fetched = 0

    def drop(self, window: Window) -> None:
        """Forget one window. Tasks that wait for it still get it."""
        if self._by_offset.get(window.offset) is window:
            del self._by_offset[window.offset]
            self._offsets.remove(window.offset)
        self._pool.remove(window)

    def _learn(self) -> None:
        self._pool.learn(size=self._size, asked=self._asked, fetched=self._fetched)

    def _covering(self, position: int) -> Window | None:
        index = bisect_right(self._offsets, position) - 1
        if index < 0:
            return None
        window = self._by_offset[self._offsets[index]]
        return window if position < window.end else None

    def _place(self, offset: int, wanted: int, size: int) -> Window:
        """Make the window that begins at `offset`; it has to be loaded by the caller."""
        before = self._covering(offset - 1) if offset else None
        if before is None:
            self._learn()
            return self._make(offset, wanted, offset, size)
        return self._make(offset, max(wanted, self._next(before, offset + wanted)), before.start, size)

    def _read_ahead(self, window: Window, asked: int, size: int) -> None:
        """Drop what the reader of the window has passed, and fetch what follows, which it is likely to come to."""
        if window.offset == window.start:
            return  # it isn't sequential yet
        # The kernel asks for a few pieces at a time, and not in order.
        passed = self._covering(window.offset - 1)
        if passed is not None and asked >= min(window.end, window.offset + BEHIND):
            self.drop(passed)
        if window.end == size or self._covering(window.end) is not None:
            return
        count = self._next(window, asked)
        # A smaller one than this would cost more than the reader has to wait without it.
        if count >= min(window.count, self._pool.largest, size - window.end) > 0:
            self._pool.nursery.start_soon(self._load, self._make(window.end, count, window.start, size))

    def _next(self, before: Window, asked: int) -> int:
        """Return how many bytes behind `before` are worth fetching for a reader that has asked for all before `asked`."""
        count = min(GROWTH * before.count, self._pool.largest)
        if self._pool.trusting or asked - before.start >= EARNEST:
            return count
        return min(count, REQUEST, before.start + _half_again(asked - before.start) - before.end)

    def _make(self, offset: int, count: int, start: int, size: int) -> Window:
        index = bisect_right(self._offsets, offset)
        limit = self._offsets[index] if index < len(self._offsets) else size
        window = Window(self, offset, min(count, limit - offset, max(self._pool.largest, REQUEST)), start)
        self._by_offset[offset] = window
        insort(self._offsets, offset)
        self._pool.fetched += 1
        self._fetched += window.count
        return window

    async def _load(self, window: Window) -> None:
        try:
            data = await self._fetch(window.offset, window.count)
        except trio.Cancelled:
            self.drop(window)
            raise
        except MtpfsError as error:
            log.debug("%s: %d bytes at %d: %s", self._subject(), window.count, window.offset, error)
            window.error = error
            self.drop(window)
        except Exception:
            # A bug must cost only its reader an EIO, and not end the mount.
            log.exception("%s: %d bytes at %d", self._subject(), window.count, window.offset)
            window.error = MtpfsError("internal error")
            self.drop(window)
        else:
            if self._by_offset.get(window.offset) is window:  # not cleared meanwhile
                window.data = data
                self._pool.add(window)
        finally:
            window.done.set()


def _half_again(count: int) -> int:
    return count + count // 2
