"""What a session has to tell without being asked: the device's events, and that the device left or came back.

It is a bounded queue for one consumer. Events are hints. When more of them come than are handled, they are forgotten,
and one `LOST` says that everything may have changed. What the session says of itself is never forgotten.

Invariant: a device that floods the host with events costs `BACKLOG` of them, no more.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import Enum, auto

import trio

from mtpfs.protocol.containers import Container

log = logging.getLogger(__name__)

BACKLOG = 1024  # events kept for a slow consumer


class Change(Enum):
    """What happened to the session."""

    GONE = auto()
    """The device left the bus."""
    BACK = auto()
    """It is there again, with a new session: object handles are others now."""
    LOST = auto()
    """Events were forgotten."""


class EventQueue:
    """The queue. On the trio thread."""

    def __init__(self) -> None:
        self._waiting: deque[Container | Change] = deque()
        self._arrival = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def post(self, item: Container | Change) -> None:
        """Add an event. Never waits: see the module's docstring for what is forgotten."""
        if len(self._waiting) >= BACKLOG and isinstance(item, Container):
            if Change.LOST not in self._waiting:
                log.warning("events come faster than they are handled; some are dropped")
            kept = [news for news in self._waiting if isinstance(news, Change) and news is not Change.LOST]
            self._waiting = deque([*kept, Change.LOST])
        else:
            self._waiting.append(item)
        self._arrival.set()

    async def receive(self) -> Container | Change:
        """Wait for the next item and take it out."""
        while not self._waiting:
            self._arrival = trio.Event()
            await self._arrival.wait()
        return self._waiting.popleft()
