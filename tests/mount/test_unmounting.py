"""Unmounting in the middle of events, again and again: it ends in order, and nothing hangs in the kernel.

The phone changes its files all the time, so the mount has names to invalidate all the time. The kernel takes a
directory's lock for that, and so do the programs whose requests the mount has to answer. A mount ends by
fusermount3 (which refuses while a program is in it), by a lazy one (which doesn't), and by a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equipment.programs import environment
from mount.conftest import PATIENCE, run, wait_until

ROUNDS = 10
FOLDERS = ("", "d", "d/e")
FILES = 8


class Phone:
    """The directory that a virtual phone serves, and the hand on it, which rests only when told."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.seed = seed
        self.changes = 0
        self._random = random.Random(seed)
        for folder in FOLDERS:
            (directory / folder).mkdir()
            for number in range(FILES):
                (directory / folder / f"{number}").write_bytes(b"x" * number)

    def change(self) -> None:
        """Add, change or remove something. The other side does likewise, so anything may be there, or not."""
        folder = self.directory / self._random.choice(FOLDERS)
        path = folder / f"{self._random.randrange(2 * FILES)}"
        with contextlib.suppress(FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
            match self._random.randrange(4):
                case 0:
                    path.unlink()
                case 1:
                    path.write_bytes(b"y" * self._random.randrange(100))
                case 2:
                    (folder / f"folder{path.name}").mkdir()
                case _:
                    (folder / f"folder{path.name}").rmdir()
        self.changes += 1
        time.sleep(0.001)


class Program:
    """Looks into all of a mount, reads, creates, removes, until it is told to stop or finds no mount."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self._random = random.Random(seed)

    def work(self) -> None:
        """Do one thing. The phone takes files away, so it may fail; but it has an answer each time."""
        folder = self.root / self._random.choice(FOLDERS)
        path = folder / f"{self._random.randrange(2 * FILES)}"
        with contextlib.suppress(OSError):
            match self._random.randrange(5):
                case 0:
                    os.listdir(folder)
                case 1:
                    path.read_bytes()
                case 2:
                    path.with_name(f"{path.name}{id(self)}").write_bytes(
                        b"z"
                    )  # a name that the phone doesn't take
                case 3:
                    path.unlink()
                case _:
                    path.stat()


@contextlib.contextmanager
def repeated(*calls: Callable[[], None]) -> Iterator[None]:
    """Call each again and again, in a thread of its own. At the end none may be in a call that doesn't return."""
    stop = threading.Event()

    def repeat(call: Callable[[], None]) -> None:
        while not stop.is_set():
            call()

    threads = [threading.Thread(target=repeat, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not [thread for thread in threads if thread.is_alive()], "a program waits for an answer"


class Mounts:
    """Mounts in order, each by a process of its own (`equipment.rounds`)."""

    def __init__(self, server: subprocess.Popen[str], directory: Path) -> None:
        self._server = server
        self._directory = directory
        self.mountpoint = directory / "mount"
        self.mountpoint.mkdir()
        self.log = directory / "log"
        self._abort = Path()
        """What ends the last mount's connection in the kernel, where that is shown."""

    def mount(self, phone: Path) -> int:
        """Mount; return the process."""
        print(
            json.dumps([str(phone), str(self.mountpoint), str(self.log)]), file=self._server.stdin, flush=True
        )
        process = int(self._answer())
        wait_until(lambda: os.path.ismount(self.mountpoint), "the mount")
        device = os.minor(self.mountpoint.stat().st_dev)
        self._abort = Path(f"/sys/fs/fuse/connections/{device}/abort")
        return process

    def ended(self, process: int) -> None:
        """Wait for the end of the process, which has to be in order, within PATIENCE."""
        late = threading.Timer(PATIENCE, self._kill, (process,))
        late.start()
        try:
            status = int(self._answer())
        finally:
            late.cancel()
        log = self.log.read_text()
        assert status == 0, f"wait status {status}\n{log}"
        assert not log

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def _kill(self, process: int) -> None:
        """Say what doesn't end, and end it: what waits for an answer of it gets one."""
        with self.log.open("a") as log:
            for task in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(OSError):  # it has just ended
                    state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                    print(f"thread {task.name} in state {state}: {(task / 'wchan').read_text()}", file=log)
        os.kill(process, signal.SIGKILL)
        run("fusermount3", "-uz", self.mountpoint, check=False)
        if self._abort.exists():  # what hangs in the kernel hears of nothing else
            self._abort.write_text("1")


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """Mounts, made one after the other."""
    server = subprocess.Popen(
        [sys.executable, "-m", "equipment.rounds"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield Mounts(server, tmp_path)
    finally:
        if os.path.ismount(tmp_path / "mount"):
            run("fusermount3", "-uz", tmp_path / "mount")
        server.communicate(timeout=PATIENCE)
        assert server.returncode == 0


def by_fusermount(mountpoint: Path, process: int) -> None:
    """Unmount as soon as the child that tells watchers of changes isn't in it."""
    del process
    wait_until(
        lambda: run("fusermount3", "-u", mountpoint, check=False).returncode == 0, "the unmount", 3 * PATIENCE
    )


def lazily(mountpoint: Path, process: int) -> None:
    """Unmount; what programs have open stays connected until they let it go."""
    del process
    run("fusermount3", "-uz", mountpoint)


def by_signal(mountpoint: Path, process: int) -> None:
    """Have the mount unmount itself."""
    del mountpoint
    os.kill(process, signal.SIGTERM)


@pytest.mark.parametrize(
    ("unmount", "programs"),
    [(by_fusermount, 0), (lazily, 3), (by_signal, 0), (by_signal, 3)],
)
def test_unmounting_in_the_middle_of_events(
    tmp_path: Path,
    mounts: Mounts,
    request: pytest.FixtureRequest,
    unmount: Callable[[Path, int], None],
    programs: int,
) -> None:
    """The process ends in order, and has nothing to complain of; no program waits for an answer."""
    for seed in range(request.config.getoption("--unmounts") or ROUNDS):
        _mount_and_unmount(Phone(tmp_path / f"phone{seed}", seed), mounts, unmount, programs)


def _mount_and_unmount(
    phone: Phone, mounts: Mounts, unmount: Callable[[Path, int], None], programs: int
) -> None:
    process = mounts.mount(phone.directory)
    root = next(mounts.mountpoint.iterdir())
    for folder in FOLDERS:
        os.listdir(root / folder)
    at_work = [Program(root, phone.seed + number) for number in range(programs)]
    with repeated(phone.change, *(program.work for program in at_work)):
        wait_until(lambda: phone.changes > 20 + phone.seed % 20, "the changes")
        unmount(mounts.mountpoint, process)
        mounts.ended(process)
    assert not os.path.ismount(mounts.mountpoint)
