"""A mount in a process of its own, the hand on its phone, and the gauges on its process.

Strategy: the phone listens on a socket, be it inside the mount's own process or a
program on a USB gadget; so both are held in the same way. Gauges read /proc.

Invariant: leaving the context leaves no mount and no process behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipment.programs import environment, held, on_usb
from mtpfs.cli.mounts import is_mounted

START, END = 60.0, 60.0  # seconds for the mount to come and to go
WARM_UP = 60  # seconds, at least, until caches are full, and every path has been taken
STATISTICS = ".mtpfs-statistics"


class Hand:
    """Says words to a phone. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(END)
        self._connection.connect(os.fspath(path))
        self._stream = self._connection.makefile("rw", encoding="utf-8")

    def say(self, words: str) -> str:
        """Have it done; return what the answer adds to the words."""
        print(words, file=self._stream, flush=True)
        answer = self._stream.readline().strip()
        if not answer.startswith(f"done: {words}"):
            raise RuntimeError(f"{words}: {answer}")
        return answer.removeprefix(f"done: {words}").strip()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the phone has gone for good
            self._stream.close()
        self._connection.close()


@dataclass
class Rig:
    """A mounted phone: `root` on the mount is `phone` on this machine's disk."""

    mountpoint: Path
    root: Path
    phone: Path
    hand: Hand
    process: subprocess.Popen[str]
    spool: Path
    log: Path

    def statistics(self) -> dict[str, Any]:
        """Return what the mount tells of itself."""
        found: dict[str, Any] = json.loads((self.mountpoint / STATISTICS).read_bytes())
        return found

    @property
    def descriptors(self) -> list[str]:
        """What the process has open, sockets and pipes without their numbers."""
        found = []
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found.append(os.readlink(entry).partition(":[")[0])  # noqa: PTH115 - it needn't be a path
            except FileNotFoundError:
                continue
        return sorted(found)

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def dump(self) -> None:
        """End the process, and have it write into the log where each of its threads is."""
        self.process.send_signal(signal.SIGABRT)

    def unmount(self) -> int:
        """Unmount in order; return the exit status."""
        command = ["fusermount3", "-u", str(self.mountpoint)]
        # The child that tells watchers of changes may have it for a moment.
        wait_until(lambda: subprocess.run(command, check=False, timeout=END).returncode == 0, "the unmount")
        return self.process.wait(END)


def wait_until(condition: Callable[[], bool], what: str, patience: float = START) -> None:
    """Look again and again until the condition holds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} didn't happen in {patience:.0f} s")
        time.sleep(0.02)


@contextmanager
def rig(base: Path, words: str = "", *, usb: bool = False) -> Iterator[Rig]:
    """Mount a virtual phone that has its directories below `base`; with `usb` on a real bus (as root)."""
    phone, mountpoint, spool = base / "phone", base / "mount", base / "spool"
    for directory in (phone, mountpoint, spool):
        directory.mkdir()
    control, log = base / "control", base / "log"
    argument = f"{phone}?serial={base.name}&{words}".rstrip("&")
    source, command = f"virtual:{argument}", held(control)
    programs: list[subprocess.Popen[str]] = []
    with log.open("w") as stream:
        try:
            if usb:
                gadget = on_usb(argument, base.name, control)
                programs.append(
                    subprocess.Popen(
                        gadget, stdin=subprocess.PIPE, stdout=stream, text=True, env=environment()
                    )
                )
                wait_until(control.exists, "the phone's arrival")
                source = f"serial:{base.name}"
                command = [sys.executable, "-m", "mtpfs"]
                time.sleep(2)  # the bus has to notice
            process = subprocess.Popen(
                [*command, source, mountpoint, "-f", "-o", "timeout=2"],
                stdin=subprocess.DEVNULL,
                stderr=stream,
                text=True,
                env=environment(TMPDIR=str(spool), PYTHONFAULTHANDLER="1"),
            )
            programs.append(process)
            wait_until(lambda: os.path.ismount(mountpoint) or process.poll() is not None, "the mount")
            if process.poll() is not None:
                raise RuntimeError(f"the mount ended: {log.read_text()}")
            with contextlib.closing(Hand(control)) as hand:
                yield Rig(mountpoint, next(mountpoint.iterdir()), phone, hand, process, spool, log)
        finally:
            if is_mounted(str(mountpoint)):
                subprocess.run(["fusermount3", "-uz", mountpoint], check=False, timeout=END)
            for program in reversed(programs):
                program.terminate()
                try:
                    program.wait(END)
                except subprocess.TimeoutExpired:
                    program.kill()
                    program.wait()


@dataclass
class Gauges:
    """Samples the process's memory once a second, and remembers its most threads and descriptors."""

    rig: Rig
    memory: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._ended.wait(1):
            try:
                self.memory.append(self.rig.memory)
            except FileNotFoundError:
                return

    def end(self) -> None:
        self._ended.set()

    def growth(self) -> int:
        """Return by how many bytes the last third's least exceeds the middle third's.

        The first third is for caches to fill. The least (a tenth is below it), because the allocator
        holds up to 40 MiB of freed buffers for a while.
        """
        third = len(self.memory) // 3
        if third < WARM_UP:
            return 0
        middle, last = sorted(self.memory[third : 2 * third]), sorted(self.memory[2 * third :])
        return last[third // 10] - middle[third // 10]
