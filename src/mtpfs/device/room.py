"""How much room there is on a device: asked seldom, counted down, and never quite believed.

GetStorageInfo is asked once per storage, and what is written is subtracted. It is asked again after
`FRESH` seconds, below `LOW` bytes after `FRESH_WHEN_LOW`, and always before anything is refused. 0, all
ones, or more than the capacity means unknown: nothing is refused beforehand then, and everything is
compared afterwards. A storage that told of room before and says 0 now is believed: it is full.

Invariant: nothing is refused that the device, asked at that moment, has room for.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from mtpfs.device.objects import Storage
from mtpfs.errors import FsError, ProtocolError, ResponseError

log = logging.getLogger(__name__)

LOW = 256 << 20  # bytes of free room below which nothing is taken on trust
FRESH = 10.0  # seconds for which a device's answer is counted down instead of asked for again
FRESH_WHEN_LOW = 1.0  # likewise, where room is low: a program that appends writes many times a second
CONFIRMED = (
    1 << 20
)  # bytes from which on a change is compared on every device: one transaction is little then


@dataclass(slots=True)
class _Known:
    free: int | None
    asked_at: float


class Room:
    """The free room of a device's storages. `ask` describes one storage. All counts are bytes.

    `require`, `is_short` and `must_confirm` may cost a transaction. They raise `TransportError`;
    a device that can't describe a storage has unknown room, and that is no error. A caller that is
    cancelled meanwhile has changed nothing.
    """

    def __init__(self, ask: Callable[[int], Awaitable[Storage]]) -> None:
        self._ask = ask
        self._known: dict[int, _Known] = {}
        self._telling: set[int] = set()  # storages that have told of room at least once
        self.caught: int = 0
        """How often the device said OK and had less than it was sent."""

    async def require(self, storage_id: int, growth: int) -> None:
        """Return if `growth` more bytes fit, or if that isn't known.

        Raises `FsError(ENOSPC)` if they are known not to fit. Nothing for `growth` <= 0.
        """
        if growth <= 0:
            return
        before = self._known.get(storage_id)
        free = await self._free(storage_id)
        if free is not None and growth > free and self._known.get(storage_id) is before:
            free = await self._asked(storage_id)  # what was counted down may have been freed
        if free is not None and growth > free:
            raise FsError(errno.ENOSPC, f"{growth} bytes don't fit, {free} are free")

    def took(self, storage_id: int, count: int) -> None:
        """Count down what is known by `count` bytes, or up if it is negative. Costs nothing."""
        known = self._known.get(storage_id)
        if known is not None and known.free is not None:
            known.free = max(0, known.free - count)

    def forget(self, storage_id: int) -> None:
        """Ask anew next time: something else than this host has changed the storage."""
        self._known.pop(storage_id, None)

    async def is_short(self, storage_id: int, count: int) -> bool:
        """Ask the device now whether it has fewer than `count` bytes free. False if that isn't known."""
        free = await self._asked(storage_id)
        return free is not None and free < count

    async def must_confirm(self, storage_id: int, count: int) -> bool:
        """Tell whether a change that wrote `count` bytes has to be compared afterwards.

        It has to be from 1 MiB on, where less than 256 MiB are free, where the room is unknown, and
        after the device was caught.
        """
        if count >= CONFIRMED or self.caught:
            return True
        known = self._known.get(storage_id)
        if known is not None and known.free is not None and known.free < LOW:
            return True
        free = await self._free(storage_id)
        return free is None or free < LOW

    def note_caught(self) -> None:
        """Note that the device answered OK and did less: everything is compared from now on."""
        self.caught += 1

    @property
    def unknown(self) -> list[int]:
        """The storages that were asked and don't tell their room."""
        return [storage_id for storage_id, known in self._known.items() if known.free is None]

    async def _free(self, storage_id: int) -> int | None:
        known = self._known.get(storage_id)
        if known is None:
            return await self._asked(storage_id)
        is_low = known.free is not None and known.free < LOW
        if trio.current_time() - known.asked_at >= (FRESH_WHEN_LOW if is_low else FRESH):
            return await self._asked(storage_id)
        return known.free

    async def _asked(self, storage_id: int) -> int | None:
        try:
            storage = await self._ask(storage_id)
        except (ResponseError, ProtocolError) as error:
            log.debug("the room of storage 0x%08X is unknown: %s", storage_id, error)
            free = None
        else:
            if storage.free_known:
                self._telling.add(storage_id)
            full = storage.free == 0 and storage_id in self._telling
            free = storage.free if storage.free_known or full else None
        self._known[storage_id] = _Known(free, trio.current_time())
        return free
