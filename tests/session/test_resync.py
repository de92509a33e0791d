"""The recovery ladder: each rung is enough for what it is for, none is left out, and all of it ends in time."""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from mtpfs.errors import (
    MtpfsError,
    RemoteProtocolError,
    SessionLostError,
    SetupError,
    TransportError,
    TransportStallError,
    TransportTimeoutError,
    name_of,
)
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import Container, encode_header
from mtpfs.protocol.datasets import ObjectInfo
from mtpfs.protocol.wire import decode_integers
from mtpfs.session import DataSource, Engine, Handle, Rank, Session, open_session, resync
from mtpfs.transport import Buffer
from mtpfs.virtual.capabilities import parse_options
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from mtpfs.virtual.responder import Responder
from mtpfs.virtual.transport import VirtualTransport
from session.test_session import send

METADATA, LISTING = 10.0, 60.0  # seconds: timeouts of the operations that are used here
LADDER = 40.0  # seconds that all rungs may take together: three sessions with five seconds for each answer
INFO = Operation.GetDeviceInfo


class WatchedTransport(VirtualTransport):
    """Keeps a record of what is done to the device, and can misbehave where faults can't: in control requests."""

    def __init__(self, directory: Path, *faults: Fault, kind: str = "") -> None:
        super().__init__(Responder([directory], parse_options(kind), faults=FaultScript(*faults)))
        self.record: list[str] = []
        self.cancelled: list[int] = []
        self.status: int | None = None
        self.busy = 0  # times that it says so first
        self.has_requests = True
        self.babbles = False
        self.deaf_until_reopened = False

    def write(self, data: Buffer, timeout: float) -> int:
        if self.deaf_until_reopened:
            self.sleep(timeout)
            raise TransportTimeoutError("deaf")
        view = memoryview(data).cast("B")
        if len(view) >= 12:
            _, kind, code, _ = struct.unpack_from("<IHHI", view)
            if kind == ContainerType.COMMAND:
                self.record.append(name_of(Operation, code))
        return super().write(data, timeout)

    def read(self, buffer: array[int], timeout: float) -> int:
        if self.babbles:
            self.sleep(0.01)
            return len(buffer)
        if self.deaf_until_reopened:
            self.sleep(timeout)
            raise TransportTimeoutError("deaf")
        return super().read(buffer, timeout)

    def clear_halt(self) -> None:
        self.record.append("clear halt")
        if not self.has_requests:
            raise TransportStallError("no such request")
        super().clear_halt()

    def cancel(self, transaction_id: int) -> None:
        self.record.append("cancel")
        self.cancelled.append(transaction_id)
        if not self.has_requests:
            raise TransportStallError("no such request")
        super().cancel(transaction_id)

    def device_status(self) -> int:
        self.record.append("status")
        if not self.has_requests:
            raise TransportStallError("no such request")
        self.busy -= 1
        return Response.DeviceBusy if self.busy >= 0 else self.status or super().device_status()

    def reopen(self) -> None:
        self.record.append("reopen")
        self.deaf_until_reopened = False
        super().reopen()


@asynccontextmanager
async def watched(directory: Path, *faults: Fault) -> AsyncIterator[tuple[Session, WatchedTransport]]:
    """An open session whose transport's record is empty."""
    transport = WatchedTransport(directory)
    async with open_session(transport) as session:
        transport.record.clear()
        for fault in faults:
            transport.faults.add(fault)
        yield session, transport


async def handles(session: Session) -> tuple[int, ...]:
    result = await session.transact(Operation.GetObjectHandles, 0x10001, 0, 0xFFFFFFFF)
    return decode_integers(result.data)


def ladder(transport: WatchedTransport, operation: Operation) -> list[str]:
    """Return what was done between the failing operation and the first listing after it."""
    start = transport.record.index(operation.name) + 1
    return transport.record[start : transport.record.index("GetObjectHandles", start)]


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        (Fault(Kind.STALL, Operation.GetObject), ["clear halt", "GetDeviceInfo"]),
        (Fault(Kind.SILENCE, Operation.GetObject), ["clear halt", "GetDeviceInfo"]),
        (Fault(Kind.SILENT_SUCCESS, Operation.GetObject), ["clear halt", "GetDeviceInfo"]),
        (
            Fault(Kind.STALL_MID_DATA, Operation.GetObject, amount=200_000),
            ["clear halt", "GetDeviceInfo"],
        ),
        (
            Fault(Kind.SILENCE_MID_DATA, Operation.GetObject, amount=200_000),
            ["cancel", "status", "clear halt", "GetDeviceInfo"],
        ),
    ],
    ids=lambda value: value.kind.name if isinstance(value, Fault) else "",
)
async def test_first_rung_is_enough(tmp_path: Path, fault: Fault, steps: list[str]) -> None:
    """A transaction that broke off costs neither session nor interface.

    Cancel is for a data phase only, and what has stalled is in none.
    """
    (tmp_path / "f").write_bytes(bytes(300_000))
    async with watched(tmp_path) as (session, transport):
        (handle,) = await handles(session)
        transport.record.clear()
        transport.faults.add(fault)
        with pytest.raises((TransportError, RemoteProtocolError)):
            await session.transact(Operation.GetObject, handle)
        assert await handles(session) == (handle,)
        assert ladder(transport, Operation.GetObject) == steps
        assert session.generation == 0
        assert session.statistics().recoveries == 1
        assert len((await session.transact(Operation.GetObject, handle)).data) == 300_000


async def test_cancel_names_the_transaction(tmp_path: Path) -> None:
    """What is cancelled is the transaction whose data is on its way, and no other."""
    (tmp_path / "f").write_bytes(bytes(300_000))
    async with watched(tmp_path) as (session, transport):
        (handle,) = await handles(session)
        number = session.statistics().transactions  # OpenSession is transaction 0
        transport.faults.add(Fault(Kind.SILENCE_MID_DATA, Operation.GetObject, amount=200_000))
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetObject, handle)
        await handles(session)
        assert transport.cancelled == [number]


async def test_second_rung_is_enough(tmp_path: Path) -> None:
    """A device that doesn't answer after that gets a new session on the same interface."""
    faults = Fault(Kind.SILENCE, Operation.GetStorageInfo), Fault(Kind.SILENCE, INFO)
    async with watched(tmp_path, *faults) as (session, transport):
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetStorageInfo, 0x10001)
        assert await handles(session) == ()
        assert ladder(transport, Operation.GetStorageInfo) == [
            "clear halt",
            "GetDeviceInfo",
            "CloseSession",
            "OpenSession",
        ]
        assert session.generation == 1
        assert session.statistics().recoveries == 1


@pytest.mark.parametrize("stuck", [Operation.OpenSession, Operation.CloseSession])
async def test_second_rung_gets_over_one_more_silence(tmp_path: Path, stuck: Operation) -> None:
    """CloseSession that isn't answered is no reason not to open; OpenSession that isn't leads to the next rung."""
    faults = (
        Fault(Kind.SILENCE, Operation.GetStorageInfo),
        Fault(Kind.SILENCE, INFO),
        Fault(Kind.SILENCE, stuck),
    )
    async with watched(tmp_path, *faults) as (session, transport):
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetStorageInfo, 0x10001)
        assert await handles(session) == ()
        assert ("reopen" in transport.record) is (stuck is Operation.OpenSession)
        assert session.generation == 1
        assert not transport.faults.pending


async def test_third_rung_is_enough(tmp_path: Path) -> None:
    """A device that is deaf until the interface is claimed anew; all rungs come, in order, once each."""
    async with watched(tmp_path) as (session, transport):
        transport.faults.add(Fault(Kind.SILENCE, Operation.GetStorageInfo))
        before = transport.monotonic()
        transport.deaf_until_reopened = True
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetStorageInfo, 0x10001)
        assert await handles(session) == ()
        assert transport.monotonic() - before < METADATA + LADDER
        kept = [step for step in transport.record if step != "clear halt"]
        # It hasn't heard of the end of the old session
        assert kept[:5] == ["reopen", "OpenSession", "CloseSession", "OpenSession", "GetObjectHandles"]
        assert session.generation == 1
        assert session.statistics().recoveries == 1


async def test_session_that_is_open_already(tmp_path: Path) -> None:
    """A device that loses the answer to OpenSession says that the session is open; that is got over."""
    faults = (
        Fault(Kind.SILENCE, Operation.GetStorageInfo),
        Fault(Kind.SILENCE, INFO),
        Fault(Kind.SILENT_SUCCESS, Operation.OpenSession),
    )
    async with watched(tmp_path, *faults) as (session, transport):
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetStorageInfo, 0x10001)
        assert await handles(session) == ()
        assert not transport.faults.pending


async def test_late_answers_to_opening(tmp_path: Path) -> None:
    """A busy phone's answers come one attempt late: the last one isn't taken for the answer to CloseSession."""
    faults = (
        Fault(Kind.LATE, Operation.OpenSession, amount=5100),
        Fault(Kind.LATE, Operation.OpenSession, amount=7000),
    )
    transport = WatchedTransport(tmp_path, *faults)
    async with open_session(transport) as session:
        assert await handles(session) == ()
        assert not transport.faults.pending


def left_in_an_upload(directory: Path, kind: str) -> WatchedTransport:
    """Return a phone that had half of a file when its host was killed."""
    transport = WatchedTransport(directory, kind=kind)
    engine = Engine(transport)
    engine.transact(Operation.OpenSession, 1)
    info = ObjectInfo(filename="film", object_compressed_size=1 << 20).encode()
    engine.transact(Operation.SendObjectInfo, 0x10001, 0xFFFFFFFF, data=info)
    transport.write(Container(ContainerType.COMMAND, Operation.SendObject, 2).encode(), 1)
    header = encode_header(ContainerType.DATA, Operation.SendObject, 2, 1 << 20)
    transport.write(header + bytes((512 << 10) - len(header)), 1)
    transport.record.clear()
    return transport


@pytest.mark.parametrize(("kind", "cancels"), [("as=android14", 0), ("as=sailfish", 1)])
async def test_host_that_was_killed_while_it_sent_a_file(tmp_path: Path, kind: str, cancels: int) -> None:
    """The next host gets its session, soon, and the Cancel only comes where nothing else helps."""
    transport = left_in_an_upload(tmp_path, kind)
    start = transport.monotonic()
    async with open_session(transport) as session:
        assert transport.monotonic() - start < (9 if cancels else 3)
        assert transport.record.count("cancel") == cancels
        await handles(session)
        await send(session, "song", b"all of it")
    assert (tmp_path / "song").read_bytes() == b"all of it"
    assert not (tmp_path / "film").exists()


@pytest.mark.parametrize(("busy", "cancels"), [(0, 0), (1, 0), (2, 1)])
async def test_cancel_of_a_busy_device(tmp_path: Path, busy: int, cancels: int) -> None:
    """A device that is silent twice gets a Cancel only if it insists that it is busy: Tizen always says so once."""
    transport = WatchedTransport(tmp_path, Fault(Kind.SILENCE, Operation.OpenSession, times=2))
    transport.busy = busy
    async with open_session(transport) as session:
        assert transport.record.count("cancel") == cancels
        assert await handles(session) == ()


@pytest.mark.parametrize("takes_commands", [True, False])
async def test_silent_device_gets_one_cancel(tmp_path: Path, *, takes_commands: bool) -> None:
    """A device that answers nothing is given up in time. One that takes nothing either isn't told to cancel."""
    transport = WatchedTransport(tmp_path, Fault(Kind.SILENCE, times=FOREVER))
    transport.deaf_until_reopened = not takes_commands
    start = transport.monotonic()
    with pytest.raises(SetupError, match="doesn't answer"):
        async with open_session(transport):
            pytest.fail("it did answer")
    assert transport.record.count("cancel") == takes_commands
    assert transport.monotonic() - start < 45


async def test_device_that_comes_back_by_itself(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A device that no rung revives is left alone for some seconds, and then tried again."""
    async with watched(tmp_path) as (session, transport):
        transport.faults.add(Fault(Kind.SILENCE, times=FOREVER))
        for _ in range(3):
            with pytest.raises(TransportError):
                await session.transact(Operation.GetStorageIDs)
        transport.faults.clear()
        for _ in range(5):
            with suppress(TransportError):
                assert await handles(session) == ()
                break
            await trio.sleep(3)
        else:
            pytest.fail("it wasn't revived")
        assert session.generation >= 1


@pytest.mark.parametrize("trouble", ["babbles", "is busy", "has no control requests", "is silent"])
async def test_every_rung_is_bounded(tmp_path: Path, trouble: str) -> None:
    """Whatever the device does instead of recovering, each rung ends, with an error or without, in its time."""
    (tmp_path / "f").write_bytes(bytes(100_000))
    async with watched(tmp_path) as (session, transport):
        (handle,) = await handles(session)
        transport.faults.add(Fault(Kind.SILENCE_MID_DATA, Operation.GetObject, amount=5000))

        durations: list[float] = []

        def climb(engine: Engine) -> None:
            with suppress(TransportError):
                engine.transact(Operation.GetObject, handle)
            transport.babbles = trouble == "babbles"
            transport.status = Response.DeviceBusy if trouble == "is busy" else None
            transport.has_requests = trouble != "has no control requests"
            if trouble == "is silent":
                transport.faults.add(Fault(Kind.SILENCE, times=FOREVER))
            rungs: list[Callable[[Engine], None]] = [
                resync.resynchronise,
                resync.reopen_session,
                resync.reopen_interface,
            ]
            for rung in rungs:
                start = transport.monotonic()
                with suppress(MtpfsError):
                    rung(engine)
                durations.append(transport.monotonic() - start)
            transport.babbles = False
            transport.faults.clear()
            transport.has_requests = True
            engine.fall_out_of_step()
            raise TransportError("now for the session's own attempt")

        with pytest.raises(TransportError):
            await session.run(climb)
        first, second, third = durations
        assert first < 2 * resync.DRAIN_LIMIT + resync.STATUS_LIMIT + 1
        assert second < 3 * resync.TIMEOUT + 2 * resync.DRAIN_LIMIT + resync.STATUS_LIMIT
        assert (
            third < 1 + 3 * resync.TIMEOUT + 2 * resync.DRAIN_LIMIT + resync.OPEN_PAUSE + resync.STATUS_LIMIT
        )
        assert len(await handles(session)) == 1


@pytest.mark.parametrize("kind", [Kind.SILENCE, Kind.STALL, Kind.GARBAGE_HEADER, Kind.WRONG_TRANSACTION])
async def test_everybody_is_answered(tmp_path: Path, kind: Kind) -> None:
    """Of twenty callers at a device that is broken for good, the last waits little longer than the first."""
    answers: list[float] = []
    async with watched(tmp_path) as (session, transport):
        transport.faults.add(Fault(kind, times=FOREVER, amount=7))
        before = transport.monotonic()

        async def call() -> None:
            with pytest.raises(MtpfsError):
                await session.transact(Operation.GetStorageIDs)
            answers.append(transport.monotonic() - before)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call)
        transport.faults.clear()
    assert len(answers) == 20
    assert max(answers) < METADATA + 2 * LADDER


async def test_one_failure_fails_one_caller(tmp_path: Path) -> None:
    """Those who wait while the device is revived are served then, and don't hear of it."""
    results: list[tuple[int, ...] | Exception] = []
    (tmp_path / "f").touch()
    async with watched(tmp_path, Fault(Kind.SILENCE, Operation.GetObjectHandles)) as (session, transport):

        async def call() -> None:
            try:
                results.append(await handles(session))
            except TransportError as error:
                results.append(error)

        before = transport.monotonic()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(call)
        assert transport.monotonic() - before < LISTING + LADDER
    assert sorted(isinstance(result, Exception) for result in results) == [False] * 19 + [True]


async def test_cancelled_caller_of_a_silent_device(tmp_path: Path) -> None:
    """Who is cancelled goes at once; the device's thread is free after the timeout, for the next one."""
    begun, gate = threading.Event(), threading.Event()
    async with watched(tmp_path) as (session, transport):
        before = transport.monotonic()

        def job(engine: Engine) -> None:
            begun.set()
            gate.wait(10)
            transport.faults.add(Fault(Kind.SILENCE))
            engine.transact(Operation.GetStorageIDs)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, job)
            await trio.to_thread.run_sync(begun.wait, 10)
            with trio.fail_after(1):
                nursery.cancel_scope.cancel()
                await trio.lowlevel.cancel_shielded_checkpoint()
        gate.set()
        assert await handles(session) == ()
        assert METADATA <= transport.monotonic() - before < METADATA + LADDER
        assert session.statistics().recoveries == 1


async def test_many_cancelled_callers_leave_nothing(tmp_path: Path) -> None:
    """A hundred callers that give up cost no transaction, and no place in the queue."""
    begun, gate = threading.Event(), threading.Event()

    def hold(_: Engine) -> None:
        begun.set()
        gate.wait(10)

    async with watched(tmp_path) as (session, transport):
        async with trio.open_nursery() as holder:
            holder.start_soon(session.run, hold)
            await trio.to_thread.run_sync(begun.wait, 10)
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(
                        lambda rank: session.transact(Operation.GetStorageIDs, rank=rank), Rank(number % 3)
                    )
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            gate.set()
        assert await handles(session) == ()
        assert transport.record == ["GetObjectHandles"]
        with trio.fail_after(10):
            while session.statistics().queued:
                await trio.sleep(0.01)


async def test_cancelled_upload_arrives_whole(tmp_path: Path) -> None:
    """An upload that has begun is finished though nobody waits for it any more."""
    begun, gate = threading.Event(), threading.Event()
    data = bytes(range(256)) * 1000

    def fill(offset: int, room: memoryview) -> int:
        begun.set()
        gate.wait(10)
        piece = data[offset : offset + len(room)]
        room[: len(piece)] = piece
        return len(piece)

    async with watched(tmp_path) as (session, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, session, "f", DataSource(len(data), fill))
            await trio.to_thread.run_sync(begun.wait, 10)
            nursery.cancel_scope.cancel()
            gate.set()
        assert len(await handles(session)) == 1
        assert (tmp_path / "f").read_bytes() == data
        assert session.statistics().recoveries == 0


async def test_closing_in_the_middle_of_silence(tmp_path: Path) -> None:
    """A session ends within a slice or two, whatever the device owes it."""
    begun = threading.Event()
    async with watched(tmp_path) as (session, transport):
        transport.faults.add(Fault(Kind.SILENCE, times=FOREVER))

        def job(engine: Engine) -> None:
            begun.set()
            engine.transact(Operation.GetObjectHandles, 0x10001, 0, 0xFFFFFFFF)

        async def call() -> None:
            with pytest.raises(TransportError):
                await session.run(job)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.to_thread.run_sync(begun.wait, 10)
        before = transport.monotonic()
    assert transport.monotonic() - before < LADDER


async def test_old_handles_never_get_into_a_new_session(tmp_path: Path) -> None:
    """What was waiting, or goes on, with handles of an earlier session is refused; what has none is done."""
    (tmp_path / "f").write_bytes(b"contents")
    begun, gate = threading.Event(), threading.Event()
    outcomes: dict[str, MtpfsError | None] = {}

    def lose(engine: Engine) -> None:
        begun.set()
        gate.wait(10)
        transport.faults.add(
            Fault(Kind.SILENCE, times=2)
        )  # GetDeviceInfo, too: so there will be a new session
        engine.transact(Operation.GetStorageInfo, 0x10001)

    async with watched(tmp_path) as (session, transport):
        (number,) = await handles(session)
        handle = Handle(number, session.generation)

        async def record(name: str, call: Awaitable[object]) -> None:
            outcomes[name] = None
            try:
                await call
            except MtpfsError as error:
                outcomes[name] = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(record, "lose", session.run(lose))
            await trio.to_thread.run_sync(begun.wait, 10)
            nursery.start_soon(record, "delete", session.transact(Operation.DeleteObject, handle))
            nursery.start_soon(record, "storages", session.transact(Operation.GetStorageIDs))
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert isinstance(outcomes.pop("lose"), TransportTimeoutError)
        assert session.generation == 1
        assert isinstance(outcomes.pop("delete"), SessionLostError)
        assert set(outcomes.values()) == {None}
        with pytest.raises(SessionLostError):
            await session.transact(Operation.DeleteObject, handle)
        assert (tmp_path / "f").exists()
        await session.transact(Operation.GetObject, Handle(number, session.generation))
        assert await handles(session) == (number,)
