"""The synchronous face: the same names and parameters, and calls that can be interrupted."""

from __future__ import annotations

import errno
import inspect
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mtpfs
from library.world import STORAGE
from mtpfs import sync

NAMES = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
"""What is called otherwise without `async`."""
PLAIN = {"name", "serial", "mode", "size", "closed"}


def parameters(function: Callable[..., object]) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("ours", "theirs"), [(sync.Phone, mtpfs.Phone), (sync.File, mtpfs.File)])
def test_both_are_equal(ours: type, theirs: type) -> None:
    """Every public name is in both, with the same parameters, defaults and order."""
    wanted = {NAMES.get(name, name) for name in vars(theirs) if not name.startswith("_")}
    if theirs is mtpfs.File:
        wanted |= {"name", "mode"}  # fields there
    assert {name for name in vars(ours) if not name.startswith("_")} == wanted
    for name, function in vars(theirs).items():
        if (not name.startswith("_") or name in NAMES) and inspect.isfunction(function):
            assert parameters(vars(ours)[NAMES.get(name, name)]) == parameters(function), name


def test_functions_are_equal() -> None:
    """So are the functions, and the list has nothing else but the events' class."""
    for function in (mtpfs.connect, mtpfs.devices):
        assert parameters(getattr(sync, function.__name__)) == parameters(function)
    assert set(sync.__all__) == {*mtpfs.__all__, "Events"} - {"sync"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "phone/D").mkdir(parents=True)
    for number in range(600):
        (tmp_path / f"phone/D/{number}").touch()
    return tmp_path / "phone"


def test_everything(directory: Path) -> None:
    """Each method does what its asynchronous one does."""
    local = directory.parent / "local"
    local.write_bytes(b"contents")
    with sync.connect(f"virtual:{directory}?ghost=0") as phone:
        assert phone.name == "mtpfs Virtual phone"
        assert phone.serial
        assert [storage.path for storage in phone.storages()] == [STORAGE]
        assert len(list(phone.walk())) == 602
        assert next(phone.walk()).path == STORAGE
        phone.upload(local, f"{STORAGE}/f")
        phone.download(f"{STORAGE}/f", directory.parent / "back")
        assert (directory.parent / "back").read_bytes() == b"contents"
        with phone.open(f"{STORAGE}/f", "r+b") as file:
            assert (file.name, file.mode, file.size, file.closed) == (f"{STORAGE}/f", "r+b", 8, False)
            assert (file.seek(3), file.tell()) == (3, 3)
            file.write(b"X")
            file.truncate(5)
            file.sync()
            file.set_modified(1_500_000_000)
            file.seek(0)
            assert file.read() == b"conXe"
        phone.mkdir(f"{STORAGE}/M")
        phone.copy(f"{STORAGE}/f", f"{STORAGE}/M/f")
        phone.move(f"{STORAGE}/M/f", f"{STORAGE}/M/g")
        phone.rename(f"{STORAGE}/M", f"{STORAGE}/N")
        assert [entry.name for entry in phone.scandir(f"{STORAGE}/N")] == ["g"]
        assert phone.properties(f"{STORAGE}/N/g")["ObjectSize"] == 5
        with pytest.raises(OSError, match="no thumbnail"):
            phone.thumbnail(f"{STORAGE}/N/g")
        with phone.events() as events:
            phone.scandir(STORAGE)
            (directory / "new").touch()
            assert next(events) == sync.Event(sync.EventKind.ADDED, f"{STORAGE}/new")
        with pytest.raises(StopIteration):
            next(events)
        phone.remove(f"{STORAGE}/N", recursive=True)
        with pytest.raises(FileNotFoundError) as caught:
            phone.stat(f"{STORAGE}/N")
        assert caught.value.filename == f"{STORAGE}/N"
    with pytest.raises(OSError, match="closed"):
        phone.stat(STORAGE)
    assert threading.active_count() == 1 or "mtpfs" not in {t.name for t in threading.enumerate()}


def test_failing_block(directory: Path) -> None:
    """An exception leaves the block as it is, and nothing unsaved is sent."""

    def fail() -> None:
        with sync.connect(f"virtual:{directory}") as phone:
            phone.open(f"{STORAGE}/new", "wb").write(b"x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not (directory / "new").exists()


def test_no_phone() -> None:
    """What `connect` raises comes out of the call, and no thread is left."""
    with pytest.raises(OSError, match="no such source") as caught, sync.connect("nonsense"):
        pass
    assert caught.value.filename == "nonsense"
    assert "mtpfs" not in {thread.name for thread in threading.enumerate()}


def test_threads(directory: Path) -> None:
    """Several threads use one phone at a time."""
    found: list[int] = []
    with sync.connect(f"virtual:{directory}") as phone:
        threads = [
            threading.Thread(target=lambda: found.append(len(phone.scandir(f"{STORAGE}/D"))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert found == [600] * 8


_INTERRUPTED = """
import os, signal, sys
from mtpfs import sync
with sync.connect(f"virtual:{sys.argv[1]}") as phone:
    signals = [signal.SIGINT]
    try:
        phone.upload(sys.argv[2], "/Internal shared storage/f",
                     progress=lambda done, size: signals and os.kill(os.getpid(), signals.pop()))
    except KeyboardInterrupt:
        names = sorted(entry.name for entry in phone.scandir("/Internal shared storage"))
    try:
        print("interrupted", names, flush=True)
        for event in phone.events():
            pass
    except KeyboardInterrupt:
        print("again")
"""


def test_interrupt(directory: Path) -> None:
    """Ctrl-C breaks a call off; nothing half is left, and the phone goes on."""
    local = directory.parent / "local"
    with local.open("wb") as file:
        file.truncate(512 << 20)  # more than can be sent before the signal has arrived
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, directory, local], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted ['D']\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "again\n"
        assert process.wait(20) == 0


@pytest.mark.parametrize("number", range(5))
def test_closed_while_threads_use_it(directory: Path, number: int) -> None:
    """However far the end is: they are told that it is closed, and nothing hangs."""
    told: list[object] = []
    heard: list[sync.Event] = []

    def use(phone: sync.Phone) -> None:
        try:
            while True:
                phone.stat(f"{STORAGE}/D")
        except OSError as error:
            told.append(error.errno)

    with sync.connect(f"virtual:{directory}") as phone:
        threads = [threading.Thread(target=use, args=(phone,)) for _ in range(4)]
        threads.append(threading.Thread(target=heard.extend, args=(phone.events(),)))
        for thread in threads:
            thread.daemon = True  # one that hangs fails the test, and no more
            thread.start()
        time.sleep(0.02 * number)
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert told == [errno.EBADF] * 4
