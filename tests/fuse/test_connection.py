"""The kernel's connection, without a kernel: what it is told, in which order, and what the end waits for."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pyfuse3
import pytest
import trio
import trio.testing

from mtpfs.errors import SetupError
from mtpfs.fuse.connection import KernelNotifier, connect, escaped

PATIENCE = 30.0  # seconds for what takes none


class Told:
    """What the kernel is told, by threads."""

    def __init__(self) -> None:
        self._calls = queue.SimpleQueue[tuple[object, ...]]()

    def note(self, *call: object) -> None:
        self._calls.put(call)

    async def next(self) -> tuple[object, ...]:
        return await trio.to_thread.run_sync(lambda: self._calls.get(timeout=PATIENCE))

    @property
    def no_more(self) -> bool:
        return self._calls.empty()


class Block:
    """A call that the kernel doesn't answer before it is told to."""

    def __init__(self) -> None:
        self._begun, self._let_go, self._over = (threading.Event() for _ in range(3))

    def __call__(self, *_: object) -> None:
        self._begun.set()
        self._let_go.wait(PATIENCE)
        self._over.set()

    async def begun(self) -> None:
        assert await trio.to_thread.run_sync(self._begun.wait, PATIENCE)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def let_go(self) -> None:
        self._let_go.set()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    calls = Told()
    monkeypatch.setattr(pyfuse3, "invalidate_entry", lambda *args: calls.note("entry", *args))
    monkeypatch.setattr(pyfuse3, "invalidate_inode", lambda *args: calls.note("inode", *args))
    return calls


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch, told: Told) -> Iterator[Block]:
    """Have the kernel not answer when it is told of an entry."""
    blocked = Block()
    monkeypatch.setattr(pyfuse3, "invalidate_entry", blocked)
    yield blocked
    blocked.let_go()


@asynccontextmanager
async def notifying() -> AsyncIterator[KernelNotifier]:
    async with trio.open_nursery() as nursery:
        yield KernelNotifier(nursery, lambda _news, _node: None)
        nursery.cancel_scope.cancel()


async def test_in_order(told: Told) -> None:
    """The kernel is told everything, in order; a file's attributes are dropped without its pages."""
    async with notifying() as notifier:
        notifier.entry_gone(1, b"name")
        notifier.inode_changed(2)
        notifier.attributes_changed(3)
        assert await told.next() == ("entry", 1, b"name")
        assert await told.next() == ("inode", 2)
        assert await told.next() == ("inode", 3, True)
    assert told.no_more


async def test_nothing_waits(block: Block, told: Told) -> None:
    """A call that the kernel doesn't answer keeps only the other calls waiting: they are made one at a time."""
    async with notifying() as notifier:
        notifier.entry_gone(1, b"a")
        notifier.inode_changed(2)
        await block.begun()
        await trio.testing.wait_all_tasks_blocked()
        assert told.no_more
        block.let_go()
        assert await told.next() == ("inode", 2)


async def test_the_last_call_is_waited_for(
    block: Block, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """While requests are answered it is waited for without a bound. Later it has its time, and then the log says so."""
    async with notifying() as notifier:
        notifier.entry_gone(1, b"a")
        await block.begun()
        with trio.move_on_after(1000) as scope:
            await notifier.finish()
        assert scope.cancelled_caught
        assert not caplog.records
        await notifier.finish(2.0)
        assert "doesn't end" in caplog.text
        block.let_go()
        await notifier.finish()


async def test_unknown_to_the_kernel(
    monkeypatch: pytest.MonkeyPatch, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """What the kernel has forgotten already is no error, and the next call is made."""

    def forgotten(*_: object) -> None:
        raise FileNotFoundError

    caplog.set_level(logging.INFO, "mtpfs")
    monkeypatch.setattr(pyfuse3, "invalidate_entry", forgotten)
    async with notifying() as notifier:
        notifier.entry_gone(1, b"a")
        notifier.inode_changed(2)
        assert await told.next() == ("inode", 2)
    monkeypatch.setattr(pyfuse3, "invalidate_inode", forgotten)
    KernelNotifier.forget_attributes(3)
    assert caplog.records == []


async def test_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another exception isn't swallowed: it ends the nursery, and so the mount, with its traceback."""

    def wrong(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(pyfuse3, "invalidate_entry", wrong)
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="a bug")):
        async with trio.open_nursery() as nursery:
            KernelNotifier(nursery, lambda _news, _node: None).entry_gone(1, b"a")


async def test_attributes_are_forgotten_at_once(told: Told) -> None:
    """That call takes no lock, and an open that follows it needs it done."""
    KernelNotifier.forget_attributes(7)
    assert not told.no_more
    assert await told.next() == ("inode", 7, True)


async def test_end_waits_for_the_call_under_way(block: Block, told: Told) -> None:
    """The connection may be closed when that call has returned. What is still to be told isn't told any more."""
    async with notifying() as notifier:
        notifier.entry_gone(1, b"a")
        notifier.inode_changed(2)
        await block.begun()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.finish, PATIENCE)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            block.let_go()
        assert block.is_over
        notifier.inode_changed(3)
        await trio.testing.wait_all_tasks_blocked()
    assert told.no_more


async def test_end_does_not_wait_long(block: Block, autojump_clock: trio.testing.MockClock) -> None:
    """A call that the kernel never answers holds up the end for as long as it is given, and is left behind."""
    async with notifying() as notifier:
        notifier.entry_gone(1, b"a")
        await block.begun()
        before = trio.current_time()
        await notifier.finish(2.0)
        assert trio.current_time() - before == pytest.approx(2.0)
    assert not block.is_over


async def test_end_of_what_told_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Without a call under way there is nothing to wait for."""
    async with notifying() as notifier:
        before = trio.current_time()
        await notifier.finish(2.0)
        assert trio.current_time() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pixel 7", "Pixel 7"),
        ("a,b", "a\\,b"),
        ("a\\b", "a\\\\b"),
        ("a\\,b", "a\\\\\\,b"),
        ("Größe 10%?", "Gr__e 10%_"),
    ],
)
def test_escaped(text: str, expected: str) -> None:
    """A name can't add an option of its own."""
    assert escaped(text) == expected


def test_why_it_cannot_be_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is what libfuse and fusermount3 have written on standard error, which is whole again then."""
    before = os.fstat(2)

    def refuse(_: object, mountpoint: str, options: set[str]) -> None:
        os.write(2, b"fusermount3: not allowed\nfuse: it failed\n")
        raise RuntimeError("fuse_session_mount failed")

    monkeypatch.setattr(pyfuse3, "init", refuse)
    with pytest.raises(SetupError, match=r"^/mnt: can't be mounted: not allowed; it failed$"):
        connect(pyfuse3.Operations(), "/mnt", ["ro"])
    assert os.path.samestat(os.fstat(2), before)

    def silent(*_: object) -> None:
        raise RuntimeError("fuse_session_mount failed")

    monkeypatch.setattr(pyfuse3, "init", silent)
    with pytest.raises(SetupError, match="fuse_session_mount failed"):
        connect(pyfuse3.Operations(), "/mnt", [])


def test_what_libfuse_says_of_a_mount(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written while it succeeds is logged; options arrive as they are."""
    seen: list[object] = []

    def accept(_: object, mountpoint: str, options: set[str]) -> None:
        os.write(2, b"fuse: an old option\n")
        seen.extend((mountpoint, options))

    monkeypatch.setattr(pyfuse3, "init", accept)
    with caplog.at_level(logging.WARNING, "mtpfs.fuse.connection"):
        connect(pyfuse3.Operations(), "/mnt", ["ro", "fsname=x"])
    assert seen == ["/mnt", {"ro", "fsname=x"}]
    assert [record.getMessage() for record in caplog.records] == ["fuse: an old option"]
