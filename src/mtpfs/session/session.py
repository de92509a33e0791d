"""The async session: trio code's only way to the device.

Strategy: callers hand in *jobs*, plain functions over the engine that run
start to end on one worker thread. It takes them from a queue with two classes,
metadata before bulk, so that an `ls` waits for at most one window of a copy, and
goes on from job to job by itself, for a hop between threads costs as much as a
small transaction and the wire would idle meanwhile. A caller that is cancelled stops waiting; a job that
has begun is always finished, because a transaction that is abandoned on the
wire wedges phones. After a failure the runner task climbs the recovery ladder
before the next job is taken. Events are read all the time by a second thread.

Invariant: exactly one job is on the wire at a time, and every job that was
handed in is answered, with a value or an error, in finite time.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import trio

from mtpfs.errors import (
    MtpfsError,
    ProtocolError,
    RemoteProtocolError,
    ResponseError,
    SetupError,
    TransportError,
    TransportGoneError,
    name_of,
)
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.containers import Container, decode_event
from mtpfs.protocol.datasets import DeviceInfo
from mtpfs.session import recovery
from mtpfs.session.budgets import Budgets
from mtpfs.session.engine import DEFAULT_LIMIT, DataSource, Engine, Result
from mtpfs.session.statistics import Statistics, Waits
from mtpfs.transport import Transport

log = logging.getLogger(__name__)

T = TypeVar("T")

EVENT_WAIT = 0.5  # seconds per interrupt read; also how long closing may have to wait for it
EVENT_BACKLOG = 1024  # events kept for a slow consumer; one more means "rescan everything"
BUSY_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between tries while the device answers DeviceBusy
LINGER = 0.002  # seconds that the worker thread waits for another job before it goes back to sleep
BATCH = 0.05  # seconds for which small transactions of one caller may follow each other: half a window
ANTICIPATION = 0.008  # seconds that a bulk job stands back after a metadata job, in case there is more to ask
BULK_SHARE = 16  # metadata jobs that may overtake a waiting bulk job before it is its turn
RETRY_PAUSE = 5.0  # seconds between two attempts to revive a device that fails altogether


@dataclass(order=True)
class _Job(Generic[T]):
    rank: int
    number: int
    function: Callable[[Engine], T] = field(compare=False)
    done: trio.Event = field(compare=False, default_factory=trio.Event)
    value: T | None = field(compare=False, default=None)
    error: Exception | None = field(compare=False, default=None)
    cancelled: bool = field(compare=False, default=False)
    queued_at: float = field(compare=False, default_factory=time.monotonic)


class Session:
    """An open MTP session. Made by `open_session`."""

    def __init__(self, engine: Engine) -> None:
        self.info = DeviceInfo()
        self.generation = 0
        """Grows with every new session on the device: object handles of older ones are void."""
        self.gone = False
        """The device left the bus."""
        self._engine = engine
        self._queue: list[_Job[Any]] = []
        self._queued = threading.Condition()
        """Guards the queue, which both threads use; notified when a job comes."""
        self._work = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._numbers = itertools.count()
        self._overtaken = 0
        self._metadata_done = 0.0
        self._dead_until = 0.0
        self._recoveries = 0
        self._waits = (Waits(), Waits())  # by rank: metadata, bulk
        self._closed = False
        self._limiter = trio.CapacityLimiter(1)
        self._events_in, self.events = trio.open_memory_channel[Container | None](EVENT_BACKLOG)

    # --- for callers ---------------------------------------------------------------

    @property
    def transport_name(self) -> str:
        return self._engine.transport.name

    def split_headers(self) -> None:
        """Send data headers in transfers of their own from now on (see `Engine`)."""
        self._engine.split_headers = True

    async def transact(
        self,
        operation: int,
        *parameters: int,
        data: bytes | DataSource | None = None,
        expected: int = 0,
        limit: int = DEFAULT_LIMIT,
        bulk: bool = False,
    ) -> Result:
        """Run one transaction; see `Engine.transact`. DeviceBusy is retried for some seconds.

        Raises `ResponseError`, `TransportError`, `ProtocolError`.
        """

        def job(engine: Engine) -> Result:
            return engine.transact(operation, *parameters, data=data, expected=expected, limit=limit)

        for pause in BUSY_PAUSES:
            try:
                return await self.run(job, bulk=bulk)
            except ResponseError as error:
                if error.code != Response.DeviceBusy or isinstance(data, DataSource):
                    raise
            await trio.sleep(pause)
        return await self.run(job, bulk=bulk)

    async def transact_each(self, operation: int, parameters: Sequence[int]) -> list[Result | ResponseError]:
        """Run one transaction for each parameter, back to back; return their results or errors in order.

        Others get their turn every `BATCH` seconds. Raises `TransportError`, `ProtocolError`.
        """
        found: list[Result | ResponseError] = []

        def job(engine: Engine) -> None:
            started = engine.transport.monotonic()
            while len(found) < len(parameters) and engine.transport.monotonic() - started < BATCH:
                try:
                    found.append(engine.transact(operation, parameters[len(found)]))
                except ResponseError as error:
                    found.append(error)

        while len(found) < len(parameters):
            await self.run(job)
        return found

    async def run(self, function: Callable[[Engine], T], *, bulk: bool = False) -> T:
        """Run `function` on the worker thread, with the wire to itself; return what it returns.

        Several transactions that must not be parted (SendObjectInfo and
        SendObject) go into one function. It must not be interrupted, so it has
        to be short: windows, not whole files, wherever the device can.
        """
        if self._closed:
            raise TransportGoneError("the session is closed")
        job: _Job[T] = _Job(int(bulk), next(self._numbers), function)
        with self._queued:
            heapq.heappush(self._queue, job)
            self._queued.notify()
        self._work.set()
        try:
            await job.done.wait()
        except trio.Cancelled:
            job.cancelled = True  # never begun: never will be
            raise
        if job.error is not None:
            raise job.error
        return job.value  # type: ignore[return-value] # None is a T here: the job is done

    def statistics(self) -> Statistics:
        engine = self._engine
        return Statistics(
            transactions=engine.operations.total(),
            operations={name_of(Operation, code): count for code, count in engine.operations.items()},
            bytes_in=engine.bytes_in,
            bytes_out=engine.bytes_out,
            queued=len(self._queue),
            metadata_waits=self._waits[0].snapshot(),
            bulk_waits=self._waits[1].snapshot(),
            recoveries=self._recoveries,
        )

    # --- the tasks -----------------------------------------------------------------

    async def _run_jobs(self) -> None:
        while True:
            while not self._queue:
                self._work = trio.Event()
                await self._work.wait()
            # Shielded: what is on the wire is finished, whoever may have lost interest.
            with trio.CancelScope(shield=True):
                if self._engine.in_step or await self._is_revived():
                    failure = await self._in_thread(self._work_off)
                    if failure is not None:
                        await self._recover(failure)
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _is_revived(self) -> bool:
        """Try to get the engine back in step; the next job gets the error if that fails."""
        try:
            await self._revive()
        except MtpfsError as error:
            job = self._take(0)
            if job is not None:
                job.error = error
                job.done.set()
            return False
        return True

    def _work_off(self) -> Exception | None:
        """Run jobs, on the worker thread, until none comes or one fails out of step: return its error."""
        while (job := self._take(LINGER)) is not None:
            try:
                job.value = job.function(self._engine)
            except Exception as error:  # noqa: BLE001 - every error belongs to the one who waits for the job
                job.error = error
            self._token.run_sync_soon(job.done.set)
            if not job.rank:
                self._metadata_done = time.monotonic()
            if job.error is not None and not self._engine.in_step:
                return job.error
        return None

    def _take(self, patience: float) -> _Job[Any] | None:
        """Take the next job from the queue, from whatever thread; None if none comes in `patience` seconds."""
        with self._queued:
            while True:
                if not self._queued.wait_for(lambda: self._queue, patience):
                    return None
                first = self._queue[0]
                if first.rank and first.queued_at < self._metadata_done and self._overtaken < BULK_SHARE:
                    # It competes with somebody who has just had an answer, and is likely to ask on:
                    # an `ls` needs several.
                    expected = self._metadata_done + ANTICIPATION - time.monotonic()
                    self._queued.wait_for(
                        lambda: not (self._queue and self._queue[0].rank), max(0.0, expected)
                    )
                if not self._queue:
                    continue  # the session is being closed
                job = self._next()
                if not job.cancelled:
                    self._waits[job.rank].add(time.monotonic() - job.queued_at)
                    return job

    def _next(self) -> _Job[Any]:
        bulk_waiting = [job for job in self._queue if job.rank] if self._overtaken >= BULK_SHARE else []
        if bulk_waiting:
            self._overtaken = 0
            job = min(bulk_waiting)
            self._queue.remove(job)
            heapq.heapify(self._queue)
            return job
        job = heapq.heappop(self._queue)
        self._overtaken = 0 if job.rank else self._overtaken + 1
        return job

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)

    async def _recover(self, error: BaseException) -> None:
        """Climb the ladder until the device answers again."""
        if isinstance(error, TransportGoneError):
            self._leave()
            return
        self._recoveries += 1
        log.warning("%s: %s; recovering", self.transport_name, error)
        for rung in (self._resynchronise, self._reopen_session, self._reopen_interface):
            try:
                await self._in_thread(rung)
                return
            except TransportGoneError:
                self._leave()
                return
            except MtpfsError as failure:
                log.warning("%s: %s", self.transport_name, failure)
                self._engine.in_step = False
        self._dead_until = trio.current_time() + RETRY_PAUSE

    async def _revive(self) -> None:
        if self.gone:
            raise TransportGoneError("the device was unplugged")
        if trio.current_time() < self._dead_until:
            raise TransportError("the device doesn't answer")
        try:
            await self._in_thread(self._reopen_interface)
        except TransportGoneError:
            self._leave()
            raise
        except MtpfsError:
            self._engine.in_step = False
            self._dead_until = trio.current_time() + RETRY_PAUSE
            raise

    def _resynchronise(self) -> None:
        recovery.resynchronise(self._engine)
        # Proof that the two sides are in step again; GetDeviceInfo is legal in any state.
        self._engine.transact(Operation.GetDeviceInfo, budget=recovery.BUDGET)

    def _reopen_session(self) -> None:
        recovery.reopen_session(self._engine)
        self.generation += 1

    def _reopen_interface(self) -> None:
        recovery.reopen_interface(self._engine)
        self.generation += 1

    def _leave(self) -> None:
        if not self.gone and not self._closed:
            log.error("%s: the device is gone", self.transport_name)
        self.gone = True
        self._engine.in_step = False
        self._post(None)

    async def _open(self) -> None:
        failure = None
        async with trio.open_nursery() as nursery:
            # A responder may still be handing over an event to a host that was killed, deaf until
            # somebody takes it: uMTP-Responder doesn't answer OpenSession before.
            nursery.start_soon(self._read_events)
            nursery.start_soon(self._hurry_when_cancelled)
            try:
                await trio.to_thread.run_sync(recovery.open_session, self._engine)
                result = await trio.to_thread.run_sync(lambda: self._engine.transact(Operation.GetDeviceInfo))
                self.info = DeviceInfo.decode(result.data)
            except MtpfsError as error:
                failure = error
            nursery.cancel_scope.cancel()
        self._engine.closing = False
        if failure:
            raise failure

    async def _hurry_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._engine.closing = True

    async def _read_events(self) -> None:
        limiter = trio.CapacityLimiter(1)
        while not (self.gone or self._closed):
            try:
                data = await trio.to_thread.run_sync(
                    self._engine.transport.read_event, EVENT_WAIT, limiter=limiter
                )
                if data:
                    self._post(decode_event(data))
            except TransportGoneError:
                self._leave()
            except (TransportError, RemoteProtocolError) as error:
                log.debug("event pipe: %s", error)
                await trio.sleep(EVENT_WAIT)

    def _post(self, event: Container | None) -> None:
        try:
            self._events_in.send_nowait(event)
        except trio.WouldBlock:
            log.warning("events come faster than they are handled; some are dropped")

    async def _close(self) -> None:
        self._closed = True
        self._engine.closing = True
        while (job := self._take(0)) is not None:
            job.error = TransportGoneError("the session was closed")
            job.done.set()
        self._engine.closing = True
        async with self._limiter:  # what is on the wire ends within a slice now
            self._engine.closing = False
        if self._engine.in_step:
            try:
                await self._in_thread(lambda: self._engine.transact(Operation.CloseSession))
            except (ResponseError, TransportError, ProtocolError) as error:
                log.debug("CloseSession: %s", error)
        await trio.to_thread.run_sync(self._engine.transport.close)


@asynccontextmanager
async def open_session(transport: Transport, budgets: Budgets | None = None) -> AsyncIterator[Session]:
    """Open an MTP session on `transport`, which is closed with it.

    Raises `SetupError` when the device doesn't answer; inside the block, losing the device raises
    nothing: calls answer ENODEV.
    """
    engine = Engine(transport, budgets)
    session = Session(engine)
    try:
        await session._open()  # noqa: SLF001 - the two are one unit
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(transport.close)
        if not isinstance(error, MtpfsError):
            raise
        raise SetupError(
            f"{transport.name} doesn't answer as an MTP device ({error}). Unlock the phone and choose "
            '"File transfer" in its USB notification; if that is so already, plug it in again.'
        ) from error
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session._run_jobs)  # noqa: SLF001
        nursery.start_soon(session._read_events)  # noqa: SLF001
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await session._close()  # noqa: SLF001
