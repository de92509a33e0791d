"""The programs that are compared: how each is mounted, where it shows the storage, how it is unmounted.

Strategy: all are started alike, in the foreground where they can be, so that
their process and its memory are known; a program that isn't installed, or shows
nothing, is left out and said so.

Invariant: leaving the context unmounts, whatever has happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds
STORAGE = "Internal"


@dataclass(frozen=True, slots=True)
class Program:
    """One program, and the words that mount the phone with a serial number on a directory."""

    name: str
    words: Callable[[str, str], list[str]]

    @property
    def installed(self) -> bool:
        return shutil.which(self.words("", "")[0]) is not None


OURS = Program(
    "mtpfs", lambda serial, place: [sys.executable, "-m", "mtpfs", f"serial:{serial}", place, "-f"]
)
PEERS = [
    Program("jmtpfs", lambda _serial, place: ["jmtpfs", "-f", place]),
    Program("go-mtpfs", lambda _serial, place: ["go-mtpfs", place]),
    Program("aft-mtp-mount", lambda _serial, place: ["aft-mtp-mount", "-f", place]),
]
"""They take the only phone that there is."""


class UnusableError(Exception):
    """A program doesn't work here; the text says why."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mounted phone."""

    mountpoint: Path
    root: Path
    process: subprocess.Popen[bytes]

    def transactions(self) -> int:
        """Return how many transactions mtpfs has run so far."""
        return int(self.statistics()["session"]["transactions"])

    def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.mountpoint / ".mtpfs-statistics").read_text())
        return found

    def cpu(self) -> float:
        """Return the seconds that the program has computed so far, in user and kernel mode."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> int:
        """Return the most memory that the program has had so far, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) << 10


@contextlib.contextmanager
def mounted(program: Program, serial: str, place: Path, storage: str = STORAGE) -> Iterator[Mounted]:
    """Mount the phone by a program. Raises `UnusableError`."""
    if not program.installed:
        raise UnusableError("not installed")
    place.mkdir(exist_ok=True)
    process = subprocess.Popen(
        program.words(serial, str(place)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not place.is_mount():
            if process.poll() is not None or time.monotonic() > deadline:
                raise UnusableError("doesn't mount")
            time.sleep(0.02)
        result = Mounted(place, place / storage, process)
        try:
            if not (result.root / "large.bin").exists():
                raise UnusableError("doesn't show the files")
        except OSError as error:
            raise UnusableError(f"fails: {error.strerror}") from error
        yield result
    finally:
        subprocess.run(["fusermount3", "-u", place], check=False, capture_output=True)
        if place.is_mount():
            subprocess.run(["fusermount3", "-uz", place], check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
