"""Pieces of an edit that are on their way while the next ones are collected."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from mtpfs.errors import MtpfsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import Open
from mtpfs.vfs.edit import COALESCE
from mtpfs.vfs.recovery import recovery_directory
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from vfs.world import World, phone_with_file, world

REQUEST = 1 << 20  # bytes: the kernel's largest
DATA = os.urandom(3 * COALESCE)
BEFORE = 2000  # bytes: the file has grown, so the phone was asked for its room


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return phone_with_file(tmp_path, monkeypatch, bytes(1000))


@asynccontextmanager
async def busy_link(w: World) -> AsyncIterator[None]:
    """Keep the wire busy in this block: what is sent meanwhile waits."""
    is_busy, free = threading.Event(), threading.Event()

    def wait(_engine: object) -> None:
        is_busy.set()
        free.wait(60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(w.fs.device.session.run, wait)
        while not is_busy.is_set():
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield
        finally:
            free.set()


async def write(w: World, opened: Open, start: int, end: int) -> None:
    for offset in range(start, end, REQUEST):
        await w.fs.write(opened, offset, DATA[offset : offset + REQUEST])


async def begun(w: World) -> Open:
    """Return a file that is being edited: the next bytes of it need nothing but to be sent."""
    opened = await w.open(b"f")
    await w.fs.write(opened, 0, DATA[:BEFORE])
    await w.fs.sync(opened)
    await w.fs.write(opened, 0, DATA[:1])
    await w.fs.read(opened, 0, 1)  # for which it is sent
    return opened


async def test_collects_while_sending(phone: Path) -> None:
    """One piece is on its way while the next one is collected; before a third one the first has to arrive."""
    async with world(phone) as w:
        opened = await begun(w)
        async with trio.open_nursery() as nursery, busy_link(w):
            with trio.fail_after(10):
                await write(w, opened, 0, 2 * COALESCE - REQUEST)
            done = trio.Event()

            async def more() -> None:
                await write(w, opened, 2 * COALESCE - REQUEST, len(DATA))
                done.set()

            nursery.start_soon(more)
            await trio.testing.wait_all_tasks_blocked()
            assert not done.is_set()
            assert opened.file.node.size == 2 * COALESCE - REQUEST
        await w.close(opened)
        assert w.operations["BeginEditObject"] == 2
    assert (phone / "f").read_bytes() == DATA


async def test_room_and_size_meanwhile(phone: Path) -> None:
    """What is on its way counts for the file's size, and isn't counted twice for the room."""
    async with world(phone) as w:
        opened = await begun(w)
        await write(w, opened, 0, COALESCE + REQUEST)
        assert opened.file.node.size == COALESCE + REQUEST
        await w.fs.truncate(opened.file.node, 10, opened)
        await w.close(opened)
    assert (phone / "f").read_bytes() == DATA[:10]


async def grow(w: World, opened: Open) -> None:
    await write(w, opened, COALESCE, 2 * COALESCE)


async def look(w: World, opened: Open) -> None:
    await w.fs.read(opened, 0, 1)


async def cut(w: World, opened: Open) -> None:
    await w.fs.truncate(opened.file.node, COALESCE + 1, opened)


async def flush(w: World, opened: Open) -> None:
    await w.fs.flush(opened)


async def sync(w: World, opened: Open) -> None:
    await w.fs.sync(opened)


@pytest.mark.parametrize("call", [grow, look, cut, flush, sync])
async def test_refusal_is_told_by_the_next_call(
    phone: Path, call: Callable[[World, Open], Awaitable[None]]
) -> None:
    """Whatever a program does next, it hears that a piece was refused."""
    async with world(phone) as w:
        opened = await begun(w)
        w.transport.faults.add(
            Fault(Kind.REFUSE, Operation.SendPartialObject, code=Response.StoreFull, times=FOREVER)
        )
        await write(w, opened, 0, COALESCE)
        with pytest.raises(MtpfsError) as caught:
            await call(w, opened)
        assert caught.value.errno == errno.ENOSPC
        w.transport.faults.clear()
        await w.fs.release(opened)
        await w.put(b"f", b"another")
    assert (phone / "f").read_bytes() == b"another"


async def test_unwanted_on_its_way(phone: Path) -> None:
    """A piece that has to wait, and isn't wanted any more, never comes into the file."""
    async with world(phone) as w:
        opened = await begun(w)
        async with trio.open_nursery() as nursery, busy_link(w):
            await write(w, opened, 0, COALESCE)
            nursery.start_soon(w.fs.truncate, opened.file.node, 0, opened)
            await trio.testing.wait_all_tasks_blocked()
        before = dict(w.operations)
        await w.fs.write(opened, 0, b"new")
        await w.close(opened)
        assert "SendPartialObject" not in w.spent(before)
        assert w.operations["SendPartialObject"] == 2  # of `begun`
    assert (phone / "f").read_bytes() == b"new"


async def test_unplugged_on_its_way(phone: Path) -> None:
    """What was on its way when the phone left is sent when it is back, in order."""
    async with world(phone) as w:
        opened = await begun(w)
        async with busy_link(w):
            await write(w, opened, 0, COALESCE)
            w.transport.unplug()
        with pytest.raises(MtpfsError) as caught:
            await w.fs.sync(opened)
        assert caught.value.errno == errno.ENODEV
        w.transport.replug()
        await w.fs.device.session.until_back()
        await write(w, opened, COALESCE, len(DATA))
        await w.close(opened)
    assert (phone / "f").read_bytes() == DATA


async def test_all_of_it_is_recovered(phone: Path) -> None:
    """A mount that ends without its phone keeps each piece: the one that didn't arrive, and what came after it."""
    async with world(phone) as w:
        opened = await begun(w)
        async with busy_link(w):
            await write(w, opened, 0, COALESCE + REQUEST)
            w.transport.unplug()
        with pytest.raises(MtpfsError):
            await w.fs.flush(opened)
        await w.fs.release(opened)
    found = {path.name: path.read_bytes() for path in recovery_directory().rglob("*") if path.is_file()}
    assert found == {"f.at-0": DATA[:COALESCE], f"f.at-{COALESCE}": DATA[COALESCE : COALESCE + REQUEST]}
