"""What a device may do while data is being sent to it: answer early, stall, fall silent, take nothing.

Whatever it is, the caller has the answer within seconds, and the two sides are in step for the next one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from mtpfs.errors import (
    LocalProtocolError,
    ResponseError,
    StoppedError,
    TransportStallError,
    TransportTimeoutError,
)
from mtpfs.protocol.codes import ContainerType, Operation, Response
from mtpfs.protocol.containers import Container
from mtpfs.session import DataSource, Session, open_session
from mtpfs.session.engine import LARGE_TRANSFER
from mtpfs.transport import Buffer
from mtpfs.virtual.capabilities import parse_virtual
from mtpfs.virtual.faults import Fault, FaultScript, Kind
from mtpfs.virtual.responder import Responder
from mtpfs.virtual.transfers import Transfer
from session.test_resync import WatchedTransport, handles, watched
from session.test_session import send

SIZE = 3 * LARGE_TRANSFER
SECONDS = 10.0  # within which a device that answers, or has stalled, has to be understood


@asynccontextmanager
async def full_phone(directory: Path, words: str) -> AsyncIterator[tuple[Session, WatchedTransport]]:
    directories, capabilities = parse_virtual(f"virtual:{directory}?capacity=1000000&ghost=0&{words}")
    transport = WatchedTransport(directory)
    transport._responder = Responder(directories, capabilities, faults=FaultScript())
    transport._responder.use_clock(transport.monotonic)
    async with open_session(transport) as session:
        transport.record.clear()
        yield session, transport


@pytest.mark.parametrize("words", ["full=early", "full=early&strict"])
async def test_early_response(tmp_path: Path, words: str) -> None:
    """The answer of a phone that is full ends the sending at once; no Cancel, no new session."""
    async with full_phone(tmp_path, words) as (session, transport):
        before, sent = transport.monotonic(), session.statistics().bytes_out
        with pytest.raises(ResponseError) as caught:
            await send(session, "f", DataSource(SIZE, lambda _offset, room: len(room)))
        assert caught.value.code == Response.GeneralError
        assert await handles(session) == ()
        assert transport.monotonic() - before < SECONDS
        assert session.statistics().bytes_out - sent < SIZE // 2
        assert session.generation == 0
        assert "cancel" not in transport.record
        assert "CloseSession" not in transport.record


async def test_stall(tmp_path: Path) -> None:
    """A phone that is full and stalls is in no data phase: no Cancel, no new session."""
    async with full_phone(tmp_path, "full=stall") as (session, transport):
        before = transport.monotonic()
        with pytest.raises(TransportStallError):
            await send(session, "f", DataSource(SIZE, lambda _offset, room: len(room)))
        assert await handles(session) == ()
        assert transport.monotonic() - before < SECONDS
        assert session.generation == 0
        assert "cancel" not in transport.record


class ReluctantTransport(WatchedTransport):
    """A phone that refuses an upload and takes nothing until its refusal has been read (uMTP-Responder)."""

    def write(self, data: Buffer, timeout: float) -> int:
        if self.responder._outbox:
            self.sleep(timeout)
            raise TransportTimeoutError("it waits for its answer to be read")
        return super().write(data, timeout)


async def test_refusal_before_the_data(tmp_path: Path) -> None:
    """A phone that has taken nothing of the data is in step: nothing has to be recovered."""
    transport = ReluctantTransport(tmp_path)
    async with open_session(transport) as session:
        transport.faults.add(Fault(Kind.REFUSE, Operation.SendObject, code=Response.StoreFull))
        before = transport.monotonic()
        with pytest.raises(ResponseError) as caught:
            await send(session, "f", bytes(1000))
        assert caught.value.code == Response.StoreFull
        await handles(session)
        assert transport.monotonic() - before < SECONDS
        assert session.statistics().recoveries == 0


async def test_silence_in_the_data_phase(tmp_path: Path) -> None:
    """A phone that takes no more and says nothing is given up after the timeout, and told by a Cancel."""
    async with watched(tmp_path) as (session, transport):
        taken = 0
        write = transport.write

        def stuck(data: Buffer, timeout: float) -> int:
            nonlocal taken
            if taken and not transport.cancelled:
                transport.sleep(timeout)
                raise TransportTimeoutError("stuck")
            count = write(data, timeout)
            taken += count > 1000
            return count

        transport.write = stuck  # type: ignore[method-assign]
        before = transport.monotonic()
        with pytest.raises(TransportTimeoutError):
            await send(session, "f", DataSource(SIZE, lambda _offset, room: len(room)))
        assert transport.monotonic() - before < 30 + SECONDS
        await handles(session)
        assert transport.record.count("cancel") == 1
        assert session.generation == 0


async def test_stopped_by_us(tmp_path: Path) -> None:
    """Who wants the rest no more ends the sending inside its data phase, by a Cancel."""
    stopped = threading.Event()

    def fill(offset: int, room: memoryview) -> int:
        stopped.set()
        return len(room)

    async with watched(tmp_path) as (session, transport):
        with pytest.raises(StoppedError):
            await send(session, "f", DataSource(SIZE, fill, stopped.is_set))
        await handles(session)
        assert transport.record.count("cancel") == 1
        assert session.statistics().recoveries == 0


async def test_source_that_fails(tmp_path: Path) -> None:
    """The data phase of a source that comes up short is ended by a Cancel."""
    async with watched(tmp_path) as (session, transport):
        with pytest.raises(LocalProtocolError):
            await send(session, "f", DataSource(SIZE, lambda offset, room: len(room) if not offset else 1))
        await handles(session)
        assert transport.record.count("cancel") == 1
        assert session.generation == 0


async def test_stray_answer_while_sending(tmp_path: Path) -> None:
    """An answer to something earlier doesn't end the sending."""
    async with watched(tmp_path) as (session, transport):
        transport.faults.add(Fault(Kind.SILENT_SUCCESS, Operation.SendObject))
        before = transport.monotonic()
        late = threading.Event()

        def fill(offset: int, room: memoryview) -> int:
            if offset and not late.is_set():
                late.set()
                stale = Container(ContainerType.RESPONSE, Response.OK, 1)
                transport.responder._outbox.put(Transfer(stale.encode()))
            return len(room)

        with pytest.raises(TransportTimeoutError):
            await send(session, "f", DataSource(SIZE, fill))
        assert transport.monotonic() - before >= session._engine.timeouts.upload
        assert (tmp_path / "f").stat().st_size == SIZE


async def test_log_of_the_wire(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each transaction is one line: operation, parameters, bytes each way, answer, time."""
    caplog.set_level(logging.DEBUG, "mtpfs.wire")
    async with watched(tmp_path) as (session, transport):
        caplog.clear()
        await send(session, "f", bytes(1000))
        with pytest.raises(ResponseError):
            await session.transact(Operation.GetObject, 0x4711)
        transport.faults.add(Fault(Kind.STALL, Operation.GetStorageIDs))
        with pytest.raises(TransportStallError):
            await session.transact(Operation.GetStorageIDs)
        await trio.sleep(0)
        lines = [record.message.split(": ", 1)[1] for record in caplog.records if record.name == "mtpfs.wire"]
    assert lines[0].startswith("SendObjectInfo(0x10001, 0xFFFFFFFF) ")
    assert lines[1].startswith("SendObject() 1024 bytes out, 12 in, OK, ")
    assert lines[1].endswith(" ms")
    assert lines[2].startswith("GetObject(0x4711) 16 bytes out, 12 in, InvalidObjectHandle, ")
    assert lines[3].startswith("GetStorageIDs() 12 bytes out, 0 in, broken off, ")
