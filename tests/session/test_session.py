"""The session against a phone that misbehaves on demand. Timeouts pass on the transport's own clock."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from mtpfs.errors import (
    MtpfsError,
    RemoteProtocolError,
    ResponseError,
    SetupError,
    TransportError,
    TransportGoneError,
    TransportTimeoutError,
)
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import Container, encode_header
from mtpfs.protocol.datasets import ObjectInfo
from mtpfs.protocol.wire import decode_integers, encode_integers
from mtpfs.session import DataSource, Engine, Rank, Session, open_session, queue
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from mtpfs.virtual.transfers import Transfer
from mtpfs.virtual.transport import VirtualTransport, virtual_phone

STORAGE = 0x00010001
ROOT = 0xFFFFFFFF
FULL_PACKETS = (500, 1012, 4084, 16372, 1048564)  # with the 12 bytes of the header a multiple of 512


@asynccontextmanager
async def session_on(
    directory: Path, *faults: Fault, max_packet: int = 512
) -> AsyncIterator[tuple[Session, VirtualTransport]]:
    transport = virtual_phone([directory], max_packet=max_packet, faults=FaultScript(*faults))
    async with open_session(transport) as session:
        yield session, transport


async def handles(session: Session) -> tuple[int, ...]:
    return decode_integers((await session.transact(Operation.GetObjectHandles, STORAGE, 0, ROOT)).data)


async def get(session: Session, handle: int, size: int) -> bytes:
    answer = await session.transact(Operation.GetObject, handle, expected=size, limit=size)
    return bytes(answer.data)


async def send(session: Session, name: str, data: bytes | DataSource) -> None:
    size = data.size if isinstance(data, DataSource) else len(data)
    info = ObjectInfo(storage_id=STORAGE, object_compressed_size=size, parent_object=ROOT, filename=name)

    def job(engine: Engine) -> None:
        engine.transact(Operation.SendObjectInfo, STORAGE, ROOT, data=info.encode())
        engine.transact(Operation.SendObject, data=data)

    await session.run(job)


@pytest.mark.parametrize("max_packet", [64, 512, 1024])
@pytest.mark.parametrize("size", [0, 1, 499, 501, 300_000, 5_000_000, *FULL_PACKETS])
async def test_data_goes_both_ways(tmp_path: Path, size: int, max_packet: int) -> None:
    """Every length arrives unchanged, above all those that end with a full packet."""
    data = os.urandom(size)
    async with session_on(tmp_path, max_packet=max_packet) as (session, _):
        await send(session, "f", data)
        assert (tmp_path / "f").read_bytes() == data
        (handle,) = await handles(session)
        assert await get(session, handle, size) == data


HARMLESS = [
    Kind.STALE_RESPONSE,
    Kind.SPLIT_HEADER,
    Kind.GLUED,
    Kind.MISSING_ZLP,
    Kind.EXTRA_ZLP,
    Kind.PAD_BYTE,
    Kind.ZERO_JUNK,
    Kind.UNKNOWN_LENGTH,
    Kind.WRONG_DATA_HEADER,
]


@pytest.mark.parametrize("size", [3, 500, 100_000, 1048564])
@pytest.mark.parametrize("kind", HARMLESS, ids=lambda kind: kind.name)
async def test_odd_framing_does_no_harm(tmp_path: Path, kind: Kind, size: int) -> None:
    """What real devices do to the framing changes no byte, and needs no recovery."""
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    async with session_on(tmp_path, Fault(kind, Operation.GetObject)) as (session, transport):
        (handle,) = await handles(session)
        assert await get(session, handle, size) == data
        assert transport.faults.struck
        assert await get(session, handle, size) == data
        assert session.statistics().recoveries == 0


HARMFUL = [
    Kind.STALL,
    Kind.STALL_MID_DATA,
    Kind.SILENCE,
    Kind.SILENT_SUCCESS,
    Kind.SILENCE_MID_DATA,
    Kind.TRUNCATED_DATA,
    Kind.GARBAGE_HEADER,
    Kind.LYING_LENGTH,
    Kind.WRONG_TRANSACTION,
]


@pytest.mark.parametrize("kind", HARMFUL, ids=lambda kind: kind.name)
async def test_failures_are_errors_and_heal(tmp_path: Path, kind: Kind) -> None:
    """A device that stalls, lies or falls silent costs an error within the timeout; the next call works."""
    data = os.urandom(100_000)
    (tmp_path / "f").write_bytes(data)
    fault = Fault(kind, Operation.GetObject, amount=5000)
    async with session_on(tmp_path, fault) as (session, transport):
        (handle,) = await handles(session)
        before = transport.monotonic()
        with pytest.raises((TransportError, RemoteProtocolError)):
            await get(session, handle, len(data))
        assert transport.faults.struck
        found = await handles(session)
        assert transport.monotonic() - before < 60
        assert await get(session, found[0], len(data)) == data
        assert session.statistics().recoveries >= 1


@pytest.mark.parametrize(
    "kind", [Kind.STALL_MID_DATA, Kind.SILENCE, Kind.REFUSE, Kind.FAIL, Kind.REFUSE_TWICE]
)
async def test_uploads_that_fail(tmp_path: Path, kind: Kind) -> None:
    """An upload that fails raises, and the next one succeeds."""
    fault = Fault(kind, Operation.SendObject, amount=5000)
    async with session_on(tmp_path, fault) as (session, _):
        with pytest.raises(MtpfsError):
            await send(session, "first", os.urandom(100_000))
        await send(session, "second", b"data")
        assert (tmp_path / "second").read_bytes() == b"data"


async def test_silence_ends_within_the_budget(tmp_path: Path) -> None:
    """A metadata transaction that isn't answered ends after its 10 seconds."""
    async with session_on(tmp_path, Fault(Kind.SILENCE, Operation.GetStorageInfo)) as (session, transport):
        before = transport.monotonic()
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetStorageInfo, STORAGE)
        assert 10 <= transport.monotonic() - before < 30


async def test_dead_device_answers_errors_at_once(tmp_path: Path) -> None:
    """When even a new session fails, callers get errors without waiting for another round."""
    async with session_on(tmp_path) as (session, transport):
        transport.faults.add(Fault(Kind.SILENCE, times=FOREVER))
        with pytest.raises(TransportTimeoutError):
            await session.transact(Operation.GetStorageIDs)
        before = transport.monotonic()
        with pytest.raises(TransportError):
            await session.transact(Operation.GetStorageIDs)  # waits while everything is tried
        assert transport.monotonic() - before < 40
        before = transport.monotonic()
        with pytest.raises(TransportError):
            await session.transact(Operation.GetStorageIDs)
        assert transport.monotonic() - before < 1
        transport.faults.clear()


@pytest.mark.parametrize("kind", [Kind.GONE, Kind.GONE_MID_DATA], ids=lambda kind: kind.name)
async def test_unplugged(tmp_path: Path, kind: Kind) -> None:
    """The running call and all later ones answer ENODEV at once."""
    (tmp_path / "f").write_bytes(bytes(100_000))
    async with session_on(tmp_path, Fault(kind, Operation.GetObject, amount=1000)) as (session, _):
        (handle,) = await handles(session)
        for _ in range(3):
            with pytest.raises(TransportGoneError) as caught:
                await get(session, handle, 100_000)
            assert caught.value.errno == errno.ENODEV
        assert session.gone


async def test_too_much_data_is_refused(tmp_path: Path) -> None:
    """An answer beyond its limit is an error, never memory, and the session goes on."""
    (tmp_path / "f").write_bytes(bytes(3_000_000))
    async with session_on(tmp_path) as (session, _):
        (handle,) = await handles(session)
        with pytest.raises(RemoteProtocolError):
            await session.transact(Operation.GetObject, handle, limit=1000)
        assert await handles(session) == (handle,)


async def test_error_without_data_phase(tmp_path: Path) -> None:
    """An error response in place of data is that error, with its errno."""
    async with session_on(tmp_path) as (session, _):
        with pytest.raises(ResponseError) as caught:
            await session.transact(Operation.GetObject, 0x4711)
        assert caught.value.code == Response.InvalidObjectHandle
        assert caught.value.errno == errno.ENOENT
        assert await handles(session) == ()


@pytest.mark.parametrize("with_response", [False, True])
@pytest.mark.parametrize("transaction", [1, 5000])
async def test_data_of_an_earlier_session(tmp_path: Path, transaction: int, with_response: bool) -> None:
    """An answer that comes so late that its number is as good as any is never taken for that to another question."""
    (tmp_path / "f").touch()
    async with session_on(tmp_path) as (session, transport):
        (handle,) = await handles(session)
        late = encode_integers(())  # "this folder is empty"
        code = Operation.GetObjectHandles
        header = encode_header(ContainerType.DATA, code, transaction, len(late))
        transport.responder._outbox.put(Transfer(header, late))
        if with_response:
            response = Container(ContainerType.RESPONSE, Response.OK, transaction, ())
            transport.responder._outbox.put(Transfer(response.encode()))
        assert await handles(session) == (handle,)
        assert await handles(session) == (handle,)


async def test_busy_device_is_asked_again(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """DeviceBusy is waited out."""
    async with session_on(tmp_path, Fault(Kind.BUSY, Operation.GetStorageIDs, times=3)) as (session, _):
        result = await session.transact(Operation.GetStorageIDs)
        assert decode_integers(result.data) == (STORAGE,)


async def test_session_left_open(tmp_path: Path) -> None:
    """A session that a crashed host left open is closed and opened anew."""
    transport = virtual_phone([tmp_path])
    engine = Engine(transport)
    engine.transact(Operation.OpenSession, 77)
    async with open_session(transport) as session:
        assert await handles(session) == ()


async def test_first_opening_is_ignored(tmp_path: Path) -> None:
    """A phone that ignores the first OpenSession is asked again."""
    async with session_on(tmp_path, Fault(Kind.SILENCE, Operation.OpenSession)) as (session, _):
        assert await handles(session) == ()


async def test_device_that_never_answers(tmp_path: Path) -> None:
    """A device that doesn't open a session is explained, within its timeout."""
    with pytest.raises(SetupError, match="File transfer"):
        async with session_on(tmp_path, Fault(Kind.SILENCE, times=FOREVER)):
            pytest.fail("it was opened")


async def test_data_source_that_comes_up_short(tmp_path: Path) -> None:
    """A source with less than it announced is an error; the next upload works."""
    async with session_on(tmp_path) as (session, _):
        with pytest.raises(MtpfsError):
            await send(session, "short", DataSource(100_000, lambda _offset, _room: 1))
        await send(session, "whole", b"whole")
        assert (tmp_path / "whole").read_bytes() == b"whole"


async def test_background_waits_for_quiet(tmp_path: Path) -> None:
    """What no program waits for isn't begun between two windows of a reader, however much of it there is."""
    order: list[str] = []
    async with session_on(tmp_path) as (session, _), trio.open_nursery() as nursery:

        async def background() -> None:
            await session.run(lambda _engine: order.append("background"), rank=Rank.BACKGROUND)

        await session.run(lambda _engine: None)
        for _ in range(3):
            nursery.start_soon(background)
        for number in range(10):
            await session.run(lambda _engine: order.append("window"), rank=Rank.BULK)
            if number % 3 == 0:
                await session.run(lambda _engine: order.append("question"))
    assert order[:14].count("background") == 0
    assert order[14:] == ["background"] * 3


async def test_background_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A background job that has waited for long has its turn, though others never stop coming."""
    monkeypatch.setattr(queue, "ENDURANCE", 0.05)
    monkeypatch.setattr(queue, "QUIET", 1000.0)
    async with session_on(tmp_path) as (session, _), trio.open_nursery() as nursery:
        done = trio.Event()

        async def background() -> None:
            await session.run(lambda _engine: None, rank=Rank.BACKGROUND)
            done.set()

        async def busy() -> None:
            while not done.is_set():
                await session.run(lambda _engine: None)

        nursery.start_soon(busy)
        nursery.start_soon(busy)
        nursery.start_soon(background)
        with trio.fail_after(20):
            await done.wait()


async def test_metadata_overtakes_bulk(tmp_path: Path) -> None:
    """Metadata that comes later goes before bulk work that waits; bulk isn't starved."""
    order: list[str] = []
    async with session_on(tmp_path) as (session, _), trio.open_nursery() as nursery:

        async def submit(name: str, bulk: bool) -> None:
            await session.run(lambda _engine: order.append(name), rank=Rank.BULK if bulk else Rank.METADATA)

        gate = threading.Event()
        nursery.start_soon(session.run, lambda _engine: gate.wait(10))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            nursery.start_soon(submit, f"bulk{number}", True)
        for number in range(40):
            nursery.start_soon(submit, f"meta{number}", False)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert len(order) == 43
    assert all(name.startswith("meta") for name in order[:10])
    assert any(name.startswith("bulk") for name in order[10:20])


async def test_cancelled_caller_leaves_the_wire_in_step(tmp_path: Path) -> None:
    """What has begun is finished though nobody waits; what hasn't never begins."""
    (tmp_path / "f").write_bytes(bytes(100_000))
    ran: list[str] = []
    begun, gate = threading.Event(), threading.Event()
    async with session_on(tmp_path) as (session, _):
        (handle,) = await handles(session)

        def job(engine: Engine) -> None:
            begun.set()
            gate.wait(10)
            engine.transact(Operation.GetObject, handle)
            ran.append("first")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, job)
            await trio.to_thread.run_sync(begun.wait, 10)
            nursery.start_soon(session.run, lambda _engine: ran.append("second"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        gate.set()
        assert await handles(session) == (handle,)
        assert ran == ["first"]
        assert session.statistics().recoveries == 0


async def test_uploads_are_never_parted(tmp_path: Path) -> None:
    """SendObjectInfo and SendObject stay together whatever else is asked for."""
    async with session_on(tmp_path) as (session, _), trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(send, session, f"f{number}", os.urandom(10_000))
            nursery.start_soon(handles, session)
    assert len(list(tmp_path.iterdir())) == 10


async def test_closing_answers_who_waits(tmp_path: Path) -> None:
    """After the session is closed, calls fail instead of waiting."""
    async with session_on(tmp_path) as (session, _):
        pass
    with pytest.raises(TransportGoneError):
        await session.transact(Operation.GetStorageIDs)


async def test_events_are_delivered(tmp_path: Path) -> None:
    """A file that appears on the phone is announced."""
    async with session_on(tmp_path) as (session, _):
        await handles(session)
        (tmp_path / "new").touch()
        with trio.fail_after(10):
            event = await session.events.receive()
        assert isinstance(event, Container)
        assert event.parameters


async def test_statistics_count(tmp_path: Path) -> None:
    """Transactions and bytes are counted by operation."""
    (tmp_path / "f").write_bytes(bytes(10_000))
    async with session_on(tmp_path) as (session, _):
        (handle,) = await handles(session)
        before = session.statistics()
        await get(session, handle, 10_000)
        after = session.statistics()
        assert after.transactions == before.transactions + 1
        assert after.operations["GetObject"] == 1
        assert after.bytes_in - before.bytes_in == 10_000 + 12 + 12


async def test_split_headers(tmp_path: Path) -> None:
    """For Windows Phone the header of uploaded data is a transfer of its own."""
    sent: list[int] = []
    transport = virtual_phone([tmp_path])
    write = transport.write

    def spy(data: bytes, timeout: float) -> int:
        sent.append(memoryview(data).nbytes)
        return write(data, timeout)

    transport.write = spy  # type: ignore[method-assign,assignment]
    async with open_session(transport) as session:
        session.split_headers()
        sent.clear()

        def job(engine: Engine) -> None:
            info = ObjectInfo(
                storage_id=STORAGE, object_compressed_size=1024, parent_object=ROOT, filename="f"
            )
            engine.split_headers = False  # the phone here takes datasets only in one piece
            engine.transact(Operation.SendObjectInfo, STORAGE, ROOT, data=info.encode())
            engine.split_headers = True
            engine.transact(Operation.SendObject, data=bytes(1024))

        await session.run(job)
    assert sent[-5:-1] == [12, 12, 1024, 0]  # command, header, payload, zero-length packet; then CloseSession
    assert (tmp_path / "f").stat().st_size == 1024
