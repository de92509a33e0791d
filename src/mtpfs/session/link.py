"""Whether a session can be used: one value, one table of what may follow what, one owner, the trio thread.

A device that leaves the bus is waited for. The code that finds it gone calls `leave`. From then on one task looks for
the device, once a second, until it is there again and has opened a session. If it is there but can't be used, the
reason is logged once, however often that is tried. A device that is there but doesn't answer after all means of
resync is left alone for some seconds. Its callers get their errors at once meanwhile.

Where the wire itself stands is another value with another owner: `mtpfs.session.engine.Phase`.

Invariant: the device counts as gone from the moment when that was noticed until a session is open again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto

import trio

from mtpfs.errors import MtpfsError, TransportError, TransportGoneError

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks for a device that was unplugged
REST = 5.0  # seconds for which a device that can't be revived is left alone


class State(Enum):
    """What can be done with the session."""

    OPEN = auto()
    """Jobs are done."""
    RESTING = auto()
    """The device doesn't answer, and was tried a moment ago."""
    GONE = auto()
    """The device isn't on the bus, or has no session since it came back."""
    CLOSED = auto()
    """We have ended the session."""


_NEXT = {
    State.OPEN: {State.RESTING, State.GONE, State.CLOSED},
    State.RESTING: {State.OPEN, State.RESTING, State.GONE, State.CLOSED},
    State.GONE: {State.OPEN, State.CLOSED},
    State.CLOSED: set[State](),
}


class Link:
    """The state of a session, and the tasks that wait for another state."""

    def __init__(self) -> None:
        self.returns = 0
        """How often the device was gone and came back."""
        self._state = State.OPEN
        self._rested_at = 0.0
        self._left = trio.Event()
        self._back = trio.Event()

    @property
    def gone(self) -> bool:
        """Tell whether the device has left the bus, and has no session yet."""
        return self._state is State.GONE

    @property
    def closed(self) -> bool:
        """Tell whether the session was closed."""
        return self._state is State.CLOSED

    def check(self) -> None:
        """Raise `TransportGoneError` if the device is gone or the session closed. May be called from any thread."""
        if self.gone:
            raise TransportGoneError("the device was unplugged")
        if self.closed:
            raise TransportGoneError("the session is closed")

    def check_rested(self) -> None:
        """Raise `TransportError` for a device that was tried, without success, a moment ago."""
        if self._state is State.RESTING and trio.current_time() < self._rested_at:
            raise TransportError("the device doesn't answer")

    def answers(self) -> None:
        """Note that the device answers again."""
        if self._state is State.RESTING:  # else it has left meanwhile, or the session was closed
            self._enter(State.OPEN)

    def rest(self) -> None:
        """Note that the device doesn't answer after all means of resync."""
        if self._state in {State.OPEN, State.RESTING}:
            self._enter(State.RESTING)
            self._rested_at = trio.current_time() + REST

    def leave(self) -> bool:
        """Note that the device is gone; tell whether that is new."""
        if self._state in {State.GONE, State.CLOSED}:
            return False
        self._enter(State.GONE)
        self._back = trio.Event()
        self._left.set()
        return True

    def come_back(self) -> None:
        """Note that the device is there again, with a new session."""
        self._left = trio.Event()
        self.returns += 1
        self._enter(State.OPEN)
        self._back.set()

    def close(self) -> None:
        """Note that the session is over."""
        self._enter(State.CLOSED)

    async def until_gone(self) -> None:
        """Wait until the device has left."""
        await self._left.wait()

    async def until_back(self) -> None:
        """Wait until the device has a session again; return at once if it has one."""
        while self.gone:
            await self._back.wait()

    async def watch(self, reconnect: Callable[[], Awaitable[bool]], came_back: Callable[[], None]) -> None:
        """Whenever the device is gone, call `reconnect` until it returns True, then `came_back`. Until it is closed.

        `came_back` is to call `come_back`, among other things.
        """
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
            if self.closed:
                return  # meanwhile: a thread isn't cancelled
            came_back()

    def _enter(self, state: State) -> None:
        if state not in _NEXT[self._state]:
            raise AssertionError(f"{self._state} is not followed by {state}")
        self._state = state
