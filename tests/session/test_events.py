"""Gone and back as the session tells of it, and floods of events."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mtpfs.errors import ResponseError, TransportGoneError
from mtpfs.protocol.codes import ContainerType, Event, Operation, Response
from mtpfs.protocol.containers import Container
from mtpfs.session import Change, open_session
from mtpfs.session.events import BACKLOG, EventQueue
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from mtpfs.virtual.transport import virtual_phone


def event(number: int) -> Container:
    return Container(ContainerType.EVENT, Event.ObjectAdded, 0, (number,))


async def test_events_come_in_order() -> None:
    """Whoever waits gets them one by one."""
    news = EventQueue()
    for number in range(BACKLOG):
        news.post(event(number))
    assert [await news.receive() for _ in range(BACKLOG)] == [event(number) for number in range(BACKLOG)]


async def test_flood_is_one_word() -> None:
    """More events than anybody handles are forgotten, but not that there were some, nor who left."""
    news = EventQueue()
    news.post(Change.GONE)
    news.post(Change.BACK)
    for number in range(10 * BACKLOG):
        news.post(event(number))
    found = [await news.receive() for _ in range(3)]
    assert found == [Change.GONE, Change.BACK, Change.LOST]
    with trio.move_on_after(0):
        while True:
            found.append(await news.receive())
    assert len(found) < 3 + BACKLOG
    assert found.count(Change.LOST) <= 2


async def test_young_sessions_wait_less(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a read can't be broken off a short command doesn't end half a second late, and a mount isn't kept busy."""
    transport, waits = virtual_phone([tmp_path]), list[float]()

    def read(timeout: float) -> bytes:
        waits.append(timeout)
        return b""

    monkeypatch.setattr(transport, "read_event", read)
    async with open_session(transport):
        await wait_all_tasks_blocked()  # it has begun
        for age, wait in ((0, 0.05), (0.4, 0.1), (100, 0.5)):
            mock_clock.jump(age)
            deadline = time.monotonic() + 20
            while waits[-1:] != [pytest.approx(wait)]:
                assert time.monotonic() < deadline, waits[-1:]
                await trio.sleep(0)


async def test_gone_and_back(tmp_path: Path) -> None:
    """Both are told once; meanwhile calls are answered at once, those that were waiting too."""
    transport = virtual_phone([tmp_path])
    async with open_session(transport) as session:
        generation = session.generation
        errors = []

        async def ask() -> None:
            try:
                await session.transact(Operation.GetStorageIDs)
            except TransportGoneError as error:
                errors.append(error.errno)

        transport.faults.add(Fault(Kind.GONE, Operation.GetStorageIDs))
        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask)
            await session.until_gone()
        assert errors == [errno.ENODEV] * 20
        await ask()
        assert errors == [errno.ENODEV] * 21
        transport.replug()
        with trio.fail_after(10):
            await session.until_back()
        assert session.generation > generation
        await session.transact(Operation.GetStorageIDs)
        assert await session.events.receive() is Change.GONE
        assert await session.events.receive() is Change.BACK
        (tmp_path / "new").touch()


async def test_events_after_the_return(tmp_path: Path) -> None:
    """Events are read again from a device that came back."""
    transport = virtual_phone([tmp_path])
    async with open_session(transport) as session:
        transport.unplug()
        with trio.fail_after(10):
            assert await session.events.receive() is Change.GONE
            transport.replug()
            assert await session.events.receive() is Change.BACK
            await session.transact(Operation.GetObjectHandles, 0x00010001, 0, 0xFFFFFFFF)
            (tmp_path / "new").touch()
            told = await session.events.receive()
        assert isinstance(told, Container)
        assert told.code == Event.ObjectAdded


async def test_gone_again_while_coming_back(tmp_path: Path) -> None:
    """A device that leaves in the middle of its return is waited for again."""
    transport = virtual_phone([tmp_path])
    async with open_session(transport) as session:
        transport.unplug()
        with trio.fail_after(30):
            await session.until_gone()
            transport.faults.add(Fault(Kind.GONE, Operation.OpenSession))
            transport.replug()
            while transport.faults.pending:
                await trio.sleep(0.05)
            assert session.gone
            transport.replug()
            await session.until_back()
        await session.transact(Operation.GetStorageIDs)


async def test_silent_at_its_return(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A device that is back and doesn't answer stays gone for callers; the log tells it once."""
    transport = virtual_phone([tmp_path])
    async with open_session(transport) as session:
        transport.unplug()
        with trio.fail_after(30):
            await session.until_gone()
            transport.faults.add(Fault(Kind.SILENCE, times=FOREVER))
            transport.replug()
            await trio.sleep(2.5)
            with pytest.raises(TransportGoneError), trio.fail_after(1):
                await session.transact(Operation.GetStorageIDs)
            transport.faults.clear()
            await session.until_back()
        await session.transact(Operation.GetStorageIDs)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 3, warnings  # gone, silent, back


async def test_closing_while_it_is_away(tmp_path: Path) -> None:
    """A session whose device is away closes at once."""
    transport = virtual_phone([tmp_path])
    with trio.fail_after(5):
        async with open_session(transport) as session:
            transport.unplug()
            await session.until_gone()


@pytest.mark.parametrize("code", [Response.SessionNotOpen, Response.InvalidTransactionID])
async def test_lost_session_is_opened_again(tmp_path: Path, code: Response) -> None:
    """A device that forgot the session gets a new one, and the call is made again."""
    transport = virtual_phone(
        [tmp_path], faults=FaultScript(Fault(Kind.REFUSE, Operation.GetStorageIDs, code=code))
    )
    async with open_session(transport) as session:
        generation = session.generation
        await session.transact(Operation.GetStorageIDs)
        assert session.generation > generation
        assert session.statistics().operations["OpenSession"] == 2


async def test_lost_session_is_opened_once(tmp_path: Path) -> None:
    """If it is of no use, the caller hears what the device says."""
    fault = Fault(Kind.REFUSE, Operation.GetStorageIDs, code=Response.SessionNotOpen, times=FOREVER)
    async with open_session(virtual_phone([tmp_path], faults=FaultScript(fault))) as session:
        with pytest.raises(ResponseError):
            await session.transact(Operation.GetStorageIDs)
        assert session.statistics().operations["GetStorageIDs"] == 2
