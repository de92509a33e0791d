"""Programs that watch a directory: the child that tells them, and what it is answered. Without a kernel."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio

from fuse.test_operations import attributes, failure, fields
from mtpfs.fuse import echo as module
from mtpfs.fuse import hand
from mtpfs.fuse.echo import MOST, Echo, EchoOperations, Step
from mtpfs.settings import Settings
from mtpfs.vfs import News, Node
from vfs.world import World, world

CHILD, PROGRAM, FOREIGN = (SimpleNamespace(pid=pid) for pid in (4242, 4243, 0))


@asynccontextmanager
async def adapted(phone: Path) -> AsyncIterator[tuple[Any, World, Echo]]:
    async with world(phone) as w:
        await w.names()
        echo = Echo("/nowhere")
        echo.process_id = CHILD.pid
        yield EchoOperations(w.fs, Settings(), {}, echo), w, echo


@contextmanager
def at(echo: Echo, news: News, node: Node) -> Iterator[None]:
    """Have the child be at a step."""
    assert node.parent is not None
    echo.step, echo.has_stand_in = Step(news, node.parent, node.name, node), False
    yield
    echo.step = None


async def test_appeared(tmp_path: Path) -> None:
    """The child finds no such name, makes it, and gets the node that there is; nothing is sent."""
    (tmp_path / "f").write_bytes(b"contents")
    (tmp_path / "d").mkdir()
    async with adapted(tmp_path) as (ops, w, echo):
        before = w.transactions
        makes: tuple[tuple[bytes, Callable[[], Awaitable[pyfuse3.EntryAttributes]]], ...] = (
            (b"f", lambda: ops.mknod(w.root.ino, b"f", 0o600, 0, CHILD)),
            (b"d", lambda: ops.mkdir(w.root.ino, b"d", 0o700, CHILD)),
        )
        for name, make in makes:
            node = w.root.children[name]
            with at(echo, News.APPEARED, node):
                assert await failure(ops.lookup, w.root.ino, name, CHILD) == errno.ENOENT
                assert (await ops.lookup(w.root.ino, name, PROGRAM)).st_ino == node.ino
                counted = node.lookups
                made = await make()
            assert (made.st_ino, made.st_size, node.lookups) == (node.ino, node.size, counted + 1)
            assert min(made.attr_timeout, made.entry_timeout) > 0
            node.attributes_stale = True
            assert (await ops.getattr(node.ino, CHILD)).attr_timeout == 0
        assert w.transactions == before


async def test_vanished(tmp_path: Path) -> None:
    """The child finds what isn't there any more, and deletes it; nobody else finds it, and nothing is sent."""
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    async with adapted(tmp_path) as (ops, w, echo):
        before = w.transactions
        numbers = set()
        for name, remove in ((b"f", ops.unlink), (b"d", ops.rmdir)):
            node = w.root.children[name]
            w.fs.tree.drop(node)
            with at(echo, News.VANISHED, node):
                assert await failure(remove, w.root.ino, name, CHILD) == errno.ESTALE
                stand_in = await ops.lookup(w.root.ino, name, CHILD)
                assert (stand_in.attr_timeout, stand_in.entry_timeout) == (0, 0)
                assert await failure(ops.lookup, w.root.ino, name, PROGRAM) == errno.ENOENT
                await remove(w.root.ino, name, CHILD)
            numbers.add(stand_in.st_ino)
        assert len(numbers) == 2
        assert not numbers & w.fs.tree.nodes.keys()
        await ops.forget([(number, 1) for number in numbers])
        assert w.transactions == before


async def test_a_name_that_is_back(tmp_path: Path) -> None:
    """What is there again isn't deleted, neither for the kernel nor on the phone."""
    (tmp_path / "f").write_bytes(b"old")
    async with adapted(tmp_path) as (ops, w, echo):
        node = w.root.children[b"f"]
        (tmp_path / "f").unlink()
        w.fs.tree.drop(node)
        again = await w.put(b"f", b"new")
        with at(echo, News.VANISHED, node):
            assert (await ops.lookup(w.root.ino, b"f", CHILD)).st_ino == again.ino
            assert await failure(ops.unlink, w.root.ino, b"f", CHILD) == errno.ESTALE
    assert (tmp_path / "f").read_bytes() == b"new"


async def test_no_date_is_set(tmp_path: Path) -> None:
    """The child's utime changes nothing; a program's does."""
    (tmp_path / "f").touch()
    async with adapted(tmp_path) as (ops, w, echo):
        node = w.root.children[b"f"]
        date, before = node.modified, w.transactions
        wanted = attributes(st_mtime_ns=1_000_000_000 * 10**9)
        with at(echo, News.ALTERED, node):
            told = await ops.setattr(node.ino, wanted, fields(update_mtime=True), None, CHILD)
        assert (told.st_mtime_ns, node.modified) == (int(date * 10**9), date)
        assert w.transactions == before
        await ops.setattr(node.ino, wanted, fields(update_mtime=True), None, PROGRAM)
        assert node.modified == 1_000_000_000


async def test_what_is_no_step_is_refused(tmp_path: Path) -> None:
    """A late request of the child's does nothing."""
    (tmp_path / "f").touch()
    async with adapted(tmp_path) as (ops, w, _):
        for call in (
            (ops.mknod, w.root.ino, b"g", 0o600, 0, CHILD),
            (ops.mkdir, w.root.ino, b"d", 0o700, CHILD),
            (ops.unlink, w.root.ino, b"f", CHILD),
            (ops.rmdir, w.root.ino, b"d", CHILD),
            (ops.setattr, 12345, None, fields(), None, CHILD),
        ):
            assert await failure(*call) == errno.ESTALE
    assert os.listdir(tmp_path) == ["f"]


async def test_a_device_that_is_away(tmp_path: Path) -> None:
    """Nothing is answered that the kernel could keep."""
    (tmp_path / "f").touch()
    async with adapted(tmp_path) as (ops, w, echo):
        node = w.root.children[b"f"]
        w.transport.unplug()
        with trio.fail_after(10):
            while not w.fs.device.session.gone:
                await trio.sleep(0.02)
        assert await failure(ops.lookup, w.root.ino, b"f", CHILD) == errno.ENODEV
        assert await failure(ops.getattr, node.ino, CHILD) == errno.ENODEV
        with at(echo, News.APPEARED, node):
            assert await failure(ops.mknod, w.root.ino, b"f", 0o600, 0, CHILD) == errno.ENODEV


async def test_others_are_programs(tmp_path: Path) -> None:
    """So are those that the kernel knows no number of, also while there is no child."""
    async with adapted(tmp_path) as (ops, w, echo):
        for process_id in (CHILD.pid, Echo("/nowhere").process_id):
            echo.process_id = process_id
            await ops.mkdir(w.root.ino, b"d", 0o755, FOREIGN)
            assert (tmp_path / "d").is_dir()
            assert (await ops.getattr(w.root.ino, FOREIGN)).attr_timeout > 0
            await ops.rmdir(w.root.ino, b"d", FOREIGN)
            assert not (tmp_path / "d").exists()


class Calls:
    """Stands for the child."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, echo: Echo, *errors: int) -> None:
        self.made: list[tuple[bytes, ...]] = []
        self._errors = iter(errors)
        monkeypatch.setattr(module, "device_of", lambda _: 1)
        monkeypatch.setattr(echo, "_start", self._start)
        monkeypatch.setattr(echo, "_call", self._call)

    async def _start(self, device: int) -> str:
        del device
        return ""

    async def _call(self, *words: bytes) -> int:
        self.made.append(words)
        return next(self._errors, 0)


async def test_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    """Each is told once, in order, unless it isn't so any more; more than a hundred in one directory as one."""
    for name in ("f", "g", "h"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    async with adapted(tmp_path) as (_, w, echo):
        calls = Calls(monkeypatch, echo, 0, errno.EEXIST)
        nursery.start_soon(echo.run)
        await trio.testing.wait_all_tasks_blocked()
        w.root.lookups += 1
        root = w.root.path_bytes.lstrip(b"/")
        f, g, h, directory = (w.root.children[name] for name in (b"f", b"g", b"h", b"d"))
        w.fs.tree.drop(h)
        for news, node in (
            (News.APPEARED, f),
            (News.APPEARED, f),
            (News.APPEARED, directory),
            (News.VANISHED, g),  # it is there
            (News.VANISHED, h),
            (News.ALTERED, f),
            (News.ALTERED, h),  # it isn't
            (News.ALTERED, w.fs.tree.root),
        ):
            echo.heard(news, node)
        with trio.fail_after(5):
            while len(calls.made) < 6:
                await trio.sleep(0.05)
        assert calls.made == [
            (b"mknod", root, b"f"),
            (b"mkdir", root, b"d"),
            (b"utime", root, b"d"),  # mkdir has found it
            (b"unlink", root, b"h"),
            (b"utime", root, b"f"),
            (b"utime", b"", b""),
        ]
        calls.made.clear()
        directory.lookups += 1
        for number in range(MOST + 1):
            (tmp_path / "d" / f"{number}").touch()
        for node in await w.fs.entries(directory):
            echo.heard(News.APPEARED, node)
        with trio.fail_after(5):
            while not calls.made:
                await trio.sleep(0.05)
        assert calls.made == [(b"utime", root, b"d")]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
async def test_without_permission_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The next try would be refused, too."""
    (tmp_path / "f").touch()
    async with adapted(tmp_path) as (_, w, echo):
        calls = Calls(monkeypatch, echo, code)
        w.root.lookups += 1
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo.run)
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(2):
                    echo.heard(News.ALTERED, w.root.children[b"f"])
                    echo.heard(News.ALTERED, w.root)
        assert len(calls.made) == 1


async def test_a_child_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no process can be started, or it ends by itself, the mount goes on, and says why nothing is told."""
    caplog.set_level("INFO", "mtpfs.fuse.echo")
    monkeypatch.setattr(module, "device_of", lambda _: 1)
    async with adapted(tmp_path) as (_, w, _):
        for program in (str(tmp_path / "none"), "/bin/false"):
            monkeypatch.setattr(sys, "executable", program)
            echo = Echo("/nowhere")
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(echo.run)
                    await trio.testing.wait_all_tasks_blocked()
                    echo.heard(News.ALTERED, w.fs.tree.root)
                await echo.ended(20)
    assert ["No such file" in caplog.messages[0], "Broken pipe" in caplog.messages[1]] == [True, True]


def test_unwatched_directories_cost_nothing() -> None:
    """A directory that the kernel doesn't know is watched by no program."""
    echo = Echo("/nowhere")
    echo._is_on = True
    root = Node(1, None, b"", is_folder=True)
    directory = Node(2, root, b"d", is_folder=True)
    echo.heard(News.APPEARED, Node(3, directory, b"f", is_folder=False))
    assert not echo._waiting
    echo.heard(News.APPEARED, directory)
    assert list(echo._waiting) == [root]


def touch(base: Path, device: int, *words: str) -> int:
    """Have the child do one thing; return its errno."""
    child = subprocess.run(
        [sys.executable, "-I", "-S", hand.__file__, str(base), str(device)],
        input=b"".join(os.fsencode(word) + b"\0" for word in words),
        stdout=subprocess.PIPE,
        check=True,
        timeout=20,
    )
    return int(child.stdout)


def test_hand(tmp_path: Path) -> None:
    """The child does what it is told, in the directory that it is told."""
    (tmp_path / "d\n").mkdir()
    device = tmp_path.stat().st_dev
    assert touch(tmp_path, device, "mknod", "d\n", "f") == 0
    assert touch(tmp_path, device, "mknod", "d\n", "f") == errno.EEXIST
    assert touch(tmp_path, device, "mkdir", "", "e") == 0
    os.utime(tmp_path / "e", (0, 0))
    os.utime(tmp_path, (0, 0))
    assert touch(tmp_path, device, "utime", "", "e") == touch(tmp_path, device, "utime", "", "") == 0
    assert min((tmp_path / "e").stat().st_mtime, tmp_path.stat().st_mtime) > 0
    assert touch(tmp_path, device, "unlink", "d\n", "f") == touch(tmp_path, device, "rmdir", "", "e") == 0
    assert touch(tmp_path, device, "look", "", "e") == errno.ENOENT
    assert [path.name for path in tmp_path.rglob("*")] == ["d\n"]


@pytest.mark.parametrize("word", ["mknod", "mkdir", "unlink", "rmdir", "utime"])
def test_hand_touches_nothing_but_the_mount(tmp_path: Path, word: str) -> None:
    """After an unmount the path leads to what lies below the mount: a file of the same name there isn't touched."""
    name = "d" if word == "rmdir" else "f"
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    os.utime(tmp_path / "f", (0, 0))
    assert touch(tmp_path, tmp_path.stat().st_dev + 1, word, "", name) == errno.ENODEV
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]
    assert (tmp_path / "f").stat().st_mtime == 0
