"""A session without threads: every job runs to its end on the trio task that wants it.

Strategy: the real `Session`, whose queue and worker thread are passed over. Before each job, and after
it, other tasks get their turn a number of times that the seed decides. All clocks are
the run's own, so one seed is one order of everything.

Invariant: nothing here waits for real time, and nothing runs on another thread.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import trio

import mtpfs.session.queue
import mtpfs.vfs.namespace
import mtpfs.vfs.openfile
import mtpfs.vfs.spool
import mtpfs.vfs.tree
import mtpfs.virtual.store
import mtpfs.virtual.transport
from mtpfs.errors import TransportGoneError
from mtpfs.protocol.containers import decode_event
from mtpfs.session import Session, resync
from mtpfs.session.engine import Engine, Result
from mtpfs.session.queue import Job
from mtpfs.virtual.transport import VirtualTransport

T = TypeVar("T")

MOST = 20_000  # transactions in one run: more are a circle
TAKES = 0.002  # seconds of the phone's time that a transaction takes


class Ticks:
    """Stands for the module `time` where mtpfs asks how long something took: trio's clock, and a bit for each look."""

    def __init__(self) -> None:
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return trio.current_time() + self._looks * 1e-6

    def time(self) -> float:
        return 1.7e9 + trio.current_time()

    def time_ns(self) -> int:
        return time.time_ns()  # only to be compared with the disk's


_CLOCKED = (
    mtpfs.session.queue,
    mtpfs.vfs.namespace,
    mtpfs.vfs.openfile,
    mtpfs.vfs.spool,
    mtpfs.vfs.tree,
    mtpfs.virtual.store,
    mtpfs.virtual.transport,
)


def leave_nothing_to_chance(patch: pytest.MonkeyPatch, chance: random.Random) -> None:
    """Have `chance` decide what trio, the names of temporary objects, threads and clocks would decide otherwise."""

    async def run_sync(function: Any, *arguments: Any, **options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    ticks = Ticks()
    patch.setattr("trio._core._run._r", chance)
    patch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    patch.setattr("trio.to_thread.run_sync", run_sync)
    patch.setattr("secrets.token_hex", lambda count: f"{chance.getrandbits(8 * count):0{2 * count}x}")
    for module in _CLOCKED:
        patch.setattr(module, "time", ticks)


class CutEngine(Engine):
    """An engine whose cable can be cut before one of the next transactions, inside a job."""

    cut_after = -1
    """Transactions until then; negative: it isn't cut."""
    most = MOST

    def transact(self, operation: int, *parameters: int, **options: Any) -> Result:
        if self.operations.total() > self.most:
            raise AssertionError(f"more than {self.most} transactions: a circle")
        if self.cut_after >= 0:
            if self.cut_after == 0 and isinstance(self.transport, VirtualTransport):
                self.transport.unplug()
            self.cut_after -= 1
        self.transport.sleep(TAKES)
        return super().transact(operation, *parameters, **options)


class StressSession(Session):
    """A session whose jobs run at once, after others have had their turn."""

    def __init__(self, transport: VirtualTransport, chance: random.Random) -> None:
        self.engine = CutEngine(transport)
        super().__init__(self.engine)
        self._transport = transport
        self._chance = chance
        resync.open_session(self.engine)
        self.info = resync.device_info(self.engine)

    async def _submit(self, job: Job[T]) -> T:
        for _ in range(self._chance.randint(0, 3)):
            await trio.lowlevel.checkpoint()
        try:
            self._link.check()
            if not self.engine.in_step:
                await self._revive()
            self._check_generation(job)
            return job.function(self.engine)
        except Exception as error:
            if not self.engine.in_step or isinstance(error, TransportGoneError):
                await self._after(error)
            raise
        finally:
            self.hear(always=False)
            for _ in range(self._chance.randint(0, 1)):
                await trio.lowlevel.checkpoint()

    async def _after(self, error: Exception) -> None:
        if not self.gone and not self.engine.in_step:
            await self._recover(error)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return function()

    def hear(self, *, always: bool = True) -> None:
        """Pass on what the phone announces, or (if not `always`) perhaps leave it for later."""
        if self.gone or (not always and self._chance.random() < 0.5):
            return
        while (event := self._transport.responder.next_event()) is not None:
            self.events.post(decode_event(event))

    async def listen(self) -> None:
        """Hear what was left for later, for ever."""
        while True:
            await trio.sleep(1)
            self.hear()

    # --- the hand on the cable -----------------------------------------------------------

    async def unplug(self) -> None:
        """Cut the cable in the middle of what comes next; if nothing does, now."""
        self.engine.cut_after = self._chance.randint(0, 5)
        for _ in range(self._chance.randint(0, 40)):
            await trio.lowlevel.checkpoint()
        self.engine.cut_after = -1
        self._transport.unplug()
        self._leave()

    async def replug(self) -> None:
        """Put the cable back, and open a session."""
        self._transport.replug()
        assert await self._is_back()
        self._came_back()
