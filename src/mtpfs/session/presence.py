"""Whether the device is on the bus, for those who wait for either.

Strategy: whoever finds it gone says so; from then on one task looks for it, once a
second, until it is back and has opened a session. Why it can't be used though it is there
is logged once, however often that is tried.

Invariant: `gone` is true from the moment when anybody noticed until a session is open again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from mtpfs.errors import MtpfsError, TransportGoneError

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks for a device that was unplugged


class Presence:
    """A device's coming and going."""

    def __init__(self) -> None:
        self.gone = False
        self.returns = 0
        self._left = trio.Event()
        self._back = trio.Event()

    def check(self) -> None:
        """Raise `TransportGoneError` while it is gone."""
        if self.gone:
            raise TransportGoneError("the device was unplugged")

    def leave(self) -> None:
        """Note that it is gone."""
        self.gone = True
        self._back = trio.Event()
        self._left.set()

    async def until_gone(self) -> None:
        await self._left.wait()

    async def until_back(self) -> None:
        while self.gone:
            await self._back.wait()

    async def watch(self, reconnect: Callable[[], Awaitable[bool]], came_back: Callable[[], None]) -> None:
        """Call `reconnect` until it returns True whenever the device is gone, and `came_back` after that. Runs for ever."""
        while True:
            await self._left.wait()
            complaint = ""
            while True:
                try:
                    if await reconnect():
                        break
                except TransportGoneError as error:
                    log.debug("gone again: %s", error)
                except MtpfsError as error:
                    if str(error) != complaint:
                        complaint = str(error)
                        log.warning("%s", error)
                await trio.sleep(PAUSE)
            self._left = trio.Event()
            self.returns += 1
            self.gone = False
            came_back()
            self._back.set()
