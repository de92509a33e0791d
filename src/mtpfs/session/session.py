"""The async session: trio code's only way to the device.

Callers hand in *jobs*, plain functions over the engine that run start to end on one worker thread. That thread takes
them from a queue (`mtpfs.session.queue`), and goes on from job to job by itself. A hop between threads costs as much
as a small transaction, and the wire would idle meanwhile. A caller that is cancelled stops waiting. A job that has
begun is always finished, because a transaction that is abandoned on the wire wedges phones. After a failure the
runner task gets the device back in step (`mtpfs.session.resync`) before the next job is taken. Events are read all
the time by a second thread.

A device that leaves the bus is waited for. Until it is back, every call is answered ENODEV at once. Then it gets a
new session, and a new generation of object handles.

Invariant: exactly one job is on the wire at a time, and every job that was handed in is answered, with a value or an
error, in finite time.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from mtpfs.errors import (
    MtpfsError,
    ProtocolError,
    RemoteProtocolError,
    ResponseError,
    SessionLostError,
    SetupError,
    StoppedError,
    TransportError,
    TransportGoneError,
    name_of,
)
from mtpfs.protocol.codes import Operation, Response
from mtpfs.protocol.containers import decode_event
from mtpfs.protocol.datasets import DeviceInfo
from mtpfs.session import resync
from mtpfs.session.engine import DEFAULT_LIMIT, DataSource, Engine, Result
from mtpfs.session.events import Change, EventQueue
from mtpfs.session.handles import Handle
from mtpfs.session.link import Link
from mtpfs.session.queue import Job, JobQueue, Rank
from mtpfs.session.statistics import Statistics
from mtpfs.session.timeouts import Timeouts
from mtpfs.transport import Transport

log = logging.getLogger(__name__)

T = TypeVar("T")

EVENT_WAIT = 0.5  # seconds per interrupt read at most; also how long closing may have to wait for it
OPENING_WAIT = 0.05  # the same while the session is being opened, and at first: a command is over in 0.2 s
BUSY_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between tries while the device answers DeviceBusy
LINGER = 0.02  # seconds that the worker thread waits for another job; getting it to work again costs as much as a job
BATCH = 0.05  # seconds for which small transactions of one caller may follow each other: half a window
_SESSION_LOST = {Response.SessionNotOpen, Response.InvalidTransactionID}
"""What a device answers that has started its MTP service anew without leaving the bus."""


class Session:
    """An open MTP session. Made by `open_session`."""

    def __init__(self, engine: Engine) -> None:
        self.info = DeviceInfo()
        self._engine = engine
        self.events = EventQueue()
        """What the device announces, and that it is gone or back; for one consumer."""
        self._queue = JobQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._recoveries = 0
        self._link = Link()
        self._limiter = trio.CapacityLimiter(1)

    # --- for callers ---------------------------------------------------------------

    @property
    def transport_name(self) -> str:
        """Where the device is, for messages."""
        return self._engine.transport.name

    @property
    def generation(self) -> int:
        """A number that grows with each session, and with `renumbered`: object handles of older ones are void."""
        return self._engine.generation

    def renumbered(self) -> None:
        """Note that the device has given its objects other handles, without a new session."""
        self._engine.renumbered()

    @property
    def gone(self) -> bool:
        """The device left the bus, and isn't back yet."""
        return self._link.gone

    def split_headers(self) -> None:
        """Send data headers in transfers of their own from now on (see `Engine`)."""
        self._engine.split_headers = True

    def misses_data(self) -> None:
        """From now on remind the device of data that it has taken and doesn't answer (see `Engine`)."""
        self._engine.misses_data = True

    async def transact(
        self,
        operation: int,
        *parameters: int | Handle,
        data: bytes | DataSource | None = None,
        expected: int = 0,
        limit: int = DEFAULT_LIMIT,
        rank: Rank = Rank.METADATA,
    ) -> Result:
        """Run one transaction; see `Engine.transact`. DeviceBusy is retried for some seconds.

        Raises `SessionLostError`, with nothing sent, if a `Handle` among the parameters is of another
        session; `ResponseError`, `TransportError`, `ProtocolError`. A caller that is cancelled stops
        waiting; a transaction that has begun is finished all the same.
        """
        numbers = [value.number if isinstance(value, Handle) else value for value in parameters]
        generation = _common_generation(value for value in parameters if isinstance(value, Handle))

        def job(engine: Engine) -> Result:
            return engine.transact(operation, *numbers, data=data, expected=expected, limit=limit)

        for pause in BUSY_PAUSES:
            try:
                return await self._submit(Job(rank, job, generation))
            except ResponseError as error:
                if error.code != Response.DeviceBusy:
                    raise
            await trio.sleep(pause)
        return await self._submit(Job(rank, job, generation))

    async def transact_each(self, operation: int, handles: Sequence[Handle]) -> list[Result | ResponseError]:
        """Run one transaction for each handle, back to back; return their results or errors in order.

        Other jobs get their turn every `BATCH` seconds. Raises `SessionLostError`, `TransportError`, `ProtocolError`.
        A caller that is cancelled stops waiting.
        """
        found: list[Result | ResponseError] = []
        generation = _common_generation(handles)

        def job(engine: Engine) -> None:
            started = engine.transport.monotonic()
            while len(found) < len(handles) and engine.transport.monotonic() - started < BATCH:
                try:
                    found.append(engine.transact(operation, handles[len(found)].number))
                except ResponseError as error:
                    found.append(error)

        while len(found) < len(handles):
            await self._submit(Job(Rank.METADATA, job, generation))
        return found

    async def run(self, function: Callable[[Engine], T], *handles: Handle, rank: Rank = Rank.METADATA) -> T:
        """Run `function` on the worker thread, with the wire to itself; return what it returns.

        Several transactions that must not be parted (SendObjectInfo and
        SendObject) go into one function. It can't be interrupted, so it has
        to be short: windows, not whole files, where the device can do that.
        `handles` are those that it uses. Raises `SessionLostError`, without calling it, if
        they are of another session, and what it raises. A caller that is cancelled stops waiting: a function
        that hasn't begun is dropped, another one is finished.
        """
        return await self._submit(Job(rank, function, _common_generation(handles)))

    async def _submit(self, job: Job[T]) -> T:
        if self._link.closed:
            raise TransportGoneError("the session is closed")
        self._queue.put(job)
        try:
            await job.done.wait()
        except trio.Cancelled:
            job.cancelled = True  # never begun: never will be
            raise
        if job.error is not None:
            raise job.error
        return job.value  # type: ignore[return-value] # None is a T here: the job is done

    async def until_gone(self) -> None:
        """Wait until the device isn't there."""
        await self._link.until_gone()

    async def until_back(self) -> None:
        """Wait until the device is there."""
        await self._link.until_back()

    def statistics(self) -> Statistics:
        """Return what the session has done so far."""
        engine = self._engine
        return Statistics(
            transactions=engine.operations.total(),
            operations={name_of(Operation, code): count for code, count in engine.operations.items()},
            bytes_in=engine.bytes_in,
            bytes_out=engine.bytes_out,
            queued=len(self._queue),
            metadata_waits=self._queue.waits[0].snapshot(),
            bulk_waits=self._queue.waits[1].snapshot(),
            recoveries=self._recoveries,
            returns=self._link.returns,
        )

    # --- the tasks -----------------------------------------------------------------

    async def _run_jobs(self) -> None:
        while True:
            await self._queue.wait()
            # Shielded: what is on the wire is finished, even if its caller was cancelled.
            with trio.CancelScope(shield=True):
                if (self._engine.in_step and not self.gone) or await self._is_revived():
                    failure = await self._in_thread(self._work_off)
                    if failure is not None:
                        await self._recover(failure)
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _is_revived(self) -> bool:
        """Try to get the engine back in step; the next job gets the error if that fails."""
        try:
            await self._revive()
        except MtpfsError as error:
            job = self._queue.take(0)
            if job is not None:
                job.error = error
                job.done.set()
            return False
        return True

    def _work_off(self) -> Exception | None:
        """Run jobs, on the worker thread, until none comes or one puts the device out of step: return its error."""
        while (job := self._queue.take(LINGER)) is not None:
            session_lost = False
            try:
                self._link.check()
                self._check_generation(job)
                job.value = job.function(self._engine)
            except ResponseError as error:
                session_lost = error.code in _SESSION_LOST and not job.repeated
                if session_lost and job.generation is None:
                    # Nothing was done. In a new session the answer will be another one.
                    job.repeated = True
                    self._queue.put_back(job)
                    return error
                job.error = error
            except Exception as error:  # noqa: BLE001 - every error belongs to the caller that waits for the job
                job.error = error
            reason = job.error
            if session_lost:
                job.error = SessionLostError("the device has forgotten the session")
            self._token.run_sync_soon(job.done.set)
            self._queue.finished(job)
            if session_lost or (reason is not None and not self._engine.in_step):
                return reason
        return None

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)

    async def _recover(self, error: BaseException) -> None:
        """Climb the ladder until the device answers again."""
        if isinstance(error, TransportGoneError):
            self._leave()
            return
        if isinstance(error, StoppedError) or (isinstance(error, ResponseError) and not self._engine.in_step):
            # Stopped by us, or by an answer that came early. That is no fault.
            log.debug("%s: %s", self.transport_name, error)
        else:
            self._recoveries += 1
            log.warning("%s: %s; recovering", self.transport_name, error)
        rungs = [self._resynchronise, self._reopen_session, self._reopen_interface]
        if self._engine.in_step:
            del rungs[0]  # it is only the session that is missing
            self._engine.fall_out_of_step()
        for rung in rungs:
            try:
                await self._in_thread(rung)
                return
            except TransportGoneError:
                self._leave()
                return
            except MtpfsError as failure:
                log.warning("%s: %s", self.transport_name, failure)
                self._engine.fall_out_of_step()
        self._link.rest()

    def _check_generation(self, job: Job[Any]) -> None:
        if job.generation not in {None, self.generation}:
            raise SessionLostError("there is a new session, in which object handles are others")

    async def _revive(self) -> None:
        self._link.check()
        self._link.check_rested()
        try:
            await self._in_thread(self._reopen_interface)
        except TransportGoneError:
            self._leave()
            raise
        except MtpfsError:
            self._engine.fall_out_of_step()
            self._link.rest()
            raise
        self._link.answers()

    def _resynchronise(self) -> None:
        resync.resynchronise(self._engine)
        resync.device_info(self._engine, resync.TIMEOUT)  # proof that the two sides are in step

    def _reopen_session(self) -> None:
        resync.reopen_session(self._engine)
        self._engine.renumbered()

    def _reopen_interface(self) -> None:
        resync.reopen_interface(self._engine)
        self._engine.renumbered()

    # --- gone and back ---------------------------------------------------------------

    def _leave(self) -> None:
        if self._link.leave():
            log.warning("%s: the device is gone", self.transport_name)
            self.events.post(Change.GONE)

    async def _await_returns(self) -> None:
        await self._link.watch(self._is_back, self._came_back)

    async def _is_back(self) -> bool:
        try:
            info = await self._in_thread(lambda: resync.reconnect(self._engine, self.info))
        except MtpfsError:
            self._engine.fall_out_of_step()
            raise
        if info is not None:
            self.info = info
        return info is not None

    def _came_back(self) -> None:
        self._engine.renumbered()
        self._link.come_back()
        log.warning("%s: the device is back", self.transport_name)
        self.events.post(Change.BACK)

    async def _open(self) -> None:
        failure = None
        async with trio.open_nursery() as nursery:
            # A responder may still be handing over an event to a host that was killed, and deaf until
            # it is taken: uMTP-Responder doesn't answer OpenSession before.
            nursery.start_soon(self._read_events, OPENING_WAIT)
            nursery.start_soon(self._hurry_when_cancelled)
            try:
                await trio.to_thread.run_sync(resync.open_first_session, self._engine)
                self.info = await trio.to_thread.run_sync(resync.device_info, self._engine)
            except MtpfsError as error:
                failure = error
            nursery.cancel_scope.cancel()
        self._engine.take_time()
        if failure:
            raise failure

    async def _hurry_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._engine.hurry()

    async def _read_events(self, longest: float) -> None:
        """Read events.

        Each read waits for a quarter of the time since the first one, so that nobody's end is much later.
        """
        limiter, start = trio.CapacityLimiter(1), trio.current_time()
        while not self._link.closed:
            if self.gone:
                await self._link.until_back()
            wait = min(longest, max(OPENING_WAIT, (trio.current_time() - start) / 4))
            try:
                data = await trio.to_thread.run_sync(self._engine.transport.read_event, wait, limiter=limiter)
                if data:
                    self.events.post(decode_event(data))
            except TransportGoneError:
                self._leave()
            except (TransportError, RemoteProtocolError) as error:
                log.debug("event pipe: %s", error)
                await trio.sleep(EVENT_WAIT)

    async def _close(self) -> None:
        was_gone = self.gone
        self._link.close()
        self._engine.hurry()
        for job in self._queue.close():
            job.error = TransportGoneError("the session was closed")
            job.done.set()
        async with self._limiter:  # what is on the wire ends within a slice now
            self._engine.take_time()
        if self._engine.in_step and not was_gone:
            try:
                await self._in_thread(lambda: self._engine.transact(Operation.CloseSession))
            except (ResponseError, TransportError, ProtocolError) as error:
                log.debug("CloseSession: %s", error)
        await trio.to_thread.run_sync(self._engine.transport.close)


def _common_generation(handles: Iterable[Handle]) -> int | None:
    """Return the generation of all `handles`; -1, which no session has, if they differ; None if there are none."""
    generations = {handle.generation for handle in handles}
    return None if not generations else generations.pop() if len(generations) == 1 else -1


@asynccontextmanager
async def open_session(transport: Transport, timeouts: Timeouts | None = None) -> AsyncIterator[Session]:
    """Open an MTP session on `transport`, which is closed with it.

    Raises `SetupError` when the device doesn't answer; inside the block, losing the device raises
    nothing: calls answer ENODEV until it is back.
    """
    engine = Engine(transport, timeouts)
    session = Session(engine)
    try:
        await session._open()  # noqa: SLF001 - the two are one unit
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(transport.close)
        if not isinstance(error, MtpfsError):
            raise
        raise SetupError(
            f"{transport.name} doesn't answer as an MTP device ({error}). {transport.advice}"
        ) from error
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session._run_jobs)  # noqa: SLF001
        nursery.start_soon(session._read_events, EVENT_WAIT)  # noqa: SLF001
        nursery.start_soon(session._await_returns)  # noqa: SLF001
        try:
            yield session
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await session._close()  # noqa: SLF001
