"""A cable that is cut, or a mount that is killed, at a chosen transfer; and what is there afterwards."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from mtpfs.device import Device
from mtpfs.errors import MtpfsError, TransportGoneError
from mtpfs.session import open_session
from mtpfs.transport import Buffer
from mtpfs.vfs import Filesystem, Node
from mtpfs.vfs.remembered import RememberedDates
from mtpfs.virtual.responder import Responder
from mtpfs.virtual.transport import VirtualTransport
from vfs.world import Kernel, World

Snapshot = dict[str, bytes | None]
"""Contents by path; None for directories."""
Change = Callable[[World], Awaitable[None]]


class Quick(VirtualTransport):
    """A transport whose session doesn't wait for an event at its end: there are thousands of them."""

    def read_event(self, timeout: float) -> bytes:
        return super().read_event(min(timeout, 0.002))


class Severed(Quick):
    """A transport that ends before, or in the middle of, its `last` write."""

    def __init__(self, responder: Responder) -> None:
        super().__init__(responder)
        self.sizes: list[int] = []
        """Bytes of each write while `watching`."""
        self.watching = False
        self._last = -1
        self._part = 0
        self._dead = False

    def plan(self, last: int, part: int) -> None:
        """End at write number `last` while `watching`, when `part` bytes of it are through."""
        self._last, self._part = last, part

    def write(self, data: Buffer, timeout: float) -> int:
        self._check_alive()
        if self.watching:
            number = len(self.sizes)
            view = memoryview(data).cast("B")
            self.sizes.append(len(view))
            if number == self._last:
                self._dead = True
                if self._part:
                    super().write(view[: self._part], timeout)
                raise TransportGoneError("severed")
        return super().write(data, timeout)

    def read(self, buffer: array[int], timeout: float) -> int:
        self._check_alive()
        return super().read(buffer, timeout)

    def read_event(self, timeout: float) -> bytes:
        self._check_alive()
        return super().read_event(timeout)

    def close(self) -> None:
        """Do nothing: whoever is killed closes nothing, and the phone goes on."""

    def _check_alive(self) -> None:
        if self._dead:
            raise TransportGoneError("severed")


@asynccontextmanager
async def mounted(transport: VirtualTransport) -> AsyncIterator[World]:
    """Open a filesystem that ends without saving anything, as if it were killed."""
    async with open_session(transport) as session, trio.open_nursery() as nursery:
        fs = Filesystem(Device(session), nursery, Kernel(), RememberedDates())
        storage = (await fs.entries(fs.tree.root))[0]
        yield World(fs, storage, transport.responder.directories[0], transport, Kernel())
        nursery.cancel_scope.cancel()


async def attempt(change: Change, transport: VirtualTransport) -> MtpfsError | None:
    """Make a change on a freshly mounted and listed phone; return what went wrong."""
    async with mounted(transport) as w:
        await shown(w)
        if isinstance(transport, Severed):
            transport.watching = True
        try:
            await change(w)
        except MtpfsError as error:
            return error
        finally:
            if isinstance(transport, Severed):
                transport.watching = False
    return None


async def shown(w: World) -> Snapshot:
    """Return everything that a mount shows."""
    found: Snapshot = {}

    async def walk(directory: Node, prefix: str) -> None:
        for node in await w.fs.entries(directory):
            path = prefix + node.name.decode()
            if node.is_folder:
                found[path] = None
                await walk(node, f"{path}/")
            else:
                try:
                    found[path] = await w.get(node)
                except MtpfsError:
                    if (w.phone / path).exists():
                        raise
                    found[path] = b""  # an upload that was announced and never came: Android shows it

    await walk(w.root, "")
    return found


def stored(phone: Path) -> Snapshot:
    """Return everything that the phone has. A mount may be at work on it, in the background."""
    while True:
        try:
            return {
                str(path.relative_to(phone)): None if path.is_dir() else path.read_bytes()
                for path in phone.rglob("*")
            }
        except FileNotFoundError:
            continue  # it has just been replaced
