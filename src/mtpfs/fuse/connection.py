"""The connection to the kernel: made, served, ended; and the notifications to the kernel.

pyfuse3 has one connection for each process, so these are functions. Notifications are sent by a task of their own,
one at a time, in a thread. The kernel answers some of them only when it has the lock of a directory or of a page, and
a request that waits for us may hold that lock. So nothing may wait for notifications but the end of the mount.

That has to: the thread keeps the connection open, and while it is open the kernel gives up no request. If we stopped
answering first, the thread and the program that has the lock would wait for each other for ever, and not even kill -9
would end the process. So requests are answered until the last notification has returned.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator

import pyfuse3
import trio

from mtpfs.errors import SetupError
from mtpfs.vfs import News, Node

log = logging.getLogger(__name__)


def connect(operations: pyfuse3.Operations, mountpoint: str, options: Iterable[str]) -> None:
    """Mount. `options` are libfuse's. Raises `SetupError` if the kernel or fusermount3 refuses."""
    said: list[str] = []
    logging.getLogger("pyfuse3").addFilter(_is_worth_telling)
    try:
        with _stderr_in(said):
            pyfuse3.init(operations, mountpoint, set(options))
    except RuntimeError as error:
        # "fuse_session_mount failed" is all that pyfuse3 knows; libfuse and fusermount3 have said why.
        reason = "; ".join(line.removeprefix("fusermount3: ").removeprefix("fuse: ") for line in said)
        raise SetupError(f"{mountpoint}: can't be mounted: {reason or error}") from error
    for line in said:
        log.warning("%s", line)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Tell whether a record of pyfuse3's is: an answer to what the kernel has given up, at an unmount say, isn't."""
    message = record.getMessage()
    if "fuse_reply_* failed" not in message or os.strerror(errno.ENOENT) not in message:
        return True
    log.debug("pyfuse3: %s", message)
    return False


@contextlib.contextmanager
def _stderr_in(lines: list[str]) -> Iterator[None]:
    """Collect what C code and child processes write to standard error meanwhile."""
    before = os.dup(2)
    written = os.memfd_create("stderr")
    try:
        os.dup2(written, 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.lseek(written, 0, os.SEEK_SET)
            with os.fdopen(os.dup(written), "rb") as file:
                lines += file.read().decode("utf-8", "replace").splitlines()
    finally:
        os.close(before)
        os.close(written)


async def answer_requests() -> None:
    """Answer the kernel until the filesystem is unmounted or `end` is called. All requests are answered then."""
    await pyfuse3.main()


def end() -> None:
    """Have `answer_requests` return. No notification may be under way: see above."""
    pyfuse3.terminate()


def disconnect() -> None:
    """Unmount, if that isn't done, and close the connection."""
    pyfuse3.close(unmount=True)


def escaped(text: str) -> str:
    """Return `text` as libfuse takes an option's value: ASCII, commas and backslashes escaped."""
    plain = text.encode("ascii", "replace").decode("ascii").replace("?", "_")
    return plain.replace("\\", "\\\\").replace(",", "\\,")


class KernelNotifier:
    """Tells the kernel what it should forget, from a task of its own: the calls may block.

    pyfuse3's own thread for that complains of what comes when the mount has just ended. What has become of a name is
    told by `heard`.
    """

    def __init__(self, nursery: trio.Nursery, heard: Callable[[News, Node], None]) -> None:
        self.heard = heard
        self.connected = True
        """False when the mount has ended: then the kernel can't be told."""
        self._send, self._receive = trio.open_memory_channel[Callable[[], None]](math.inf)
        self._idle = trio.Event()
        self._idle.set()
        nursery.start_soon(self._run)

    async def finish(self, patience: float = math.inf) -> None:
        """Tell no more, and wait for the call that is under way, `patience` seconds at most.

        While requests are answered it ends when they are.
        """
        self.connected = False
        with trio.move_on_after(patience) as scope:
            await self._idle.wait()
        if scope.cancelled_caught:
            log.warning("a notification to the kernel doesn't end, and is left behind")

    def entry_gone(self, parent_ino: int, name: bytes) -> None:
        self._tell(pyfuse3.invalidate_entry, parent_ino, name)

    def inode_changed(self, ino: int) -> None:
        self._tell(pyfuse3.invalidate_inode, ino)

    def attributes_changed(self, ino: int) -> None:
        self._tell(pyfuse3.invalidate_inode, ino, True)

    @staticmethod
    def forget_attributes(ino: int) -> None:
        """Do so at once."""
        try:
            pyfuse3.invalidate_inode(ino, True)
        except OSError as error:
            log.debug("inode %d: %s", ino, error)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        if self.connected:
            self._send.send_nowait(functools.partial(call, *arguments))

    async def _run(self) -> None:
        async for call in self._receive:
            if not self.connected:
                continue
            self._idle = trio.Event()
            try:
                # The kernel may wait for a lock whose holder waits for us. The end must not wait for that.
                await trio.to_thread.run_sync(call, abandon_on_cancel=True)
            except OSError as error:
                # ENOENT: the kernel doesn't know it, or has just forgotten it
                log.debug("%s: %s", call, error)
            finally:
                self._idle.set()
