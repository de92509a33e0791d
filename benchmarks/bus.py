"""What is measured over USB: each program alone with a phone on a bus of software.

Strategy: one phone, one program at a time, each work on a fresh mount so that
no cache of the kernel's helps. In a round every program does the same work, one
after the other, and the raw link is measured first. Rates are told as shares of
it: another machine, or the same one when it is busy, has other times, but hardly
other shares. Of several rounds the median counts, for every program.

The phone is uMTP-Responder without its events: with them it is deaf until each
has been taken, and programs that never take one can't write to it at all.

Invariant: what was copied is compared with the original, so nothing that lost
a byte has a rate.
"""

from __future__ import annotations

import filecmp
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import raw
from programs import OURS, PEERS, Mounted, Program, UnusableError, mounted
from samples import Samples
from vm.phones import UmtpPhone

LARGE, HUGE = 200 << 20, 1 << 30  # bytes, for a bus at native speed


@dataclass(slots=True)
class Sizes:
    """Bytes of the files that are copied: `divisor` times smaller on a bus that is emulated."""

    divisor: int = 1

    @property
    def large(self) -> int:
        return LARGE // self.divisor

    @property
    def huge(self) -> int:
        return HUGE // self.divisor


SIZES = Sizes()
LARGE_NAME, HUGE_NAME = "large.bin", "huge0.bin"
HUGE_FILES = 10
LONG = 2.0  # seconds; who needs that for a byte isn't asked for another one
FILES, SMALL_FILES, SMALL = 200, 500, 10_000
PATIENCE = 180.0  # seconds for one copy; some programs hang
FAR_BEHIND = 10  # times as long as mtpfs: nobody doubts that, so it isn't measured again
_CHUNK = 1 << 20

READ, FIRST_BYTE, WRITE = "sequential read", "first byte of a large file", "sequential write (cp)"
LIST = f"ls -l of {FILES} files"
OUT, IN = f"{SMALL_FILES} files of 10 KB out", f"{SMALL_FILES} files of 10 KB in"


@dataclass
class Result:
    """What was measured of one program, by work; what it can't do is missing and has a note."""

    program: str
    seconds: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    shares: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    """Rates, as shares of the raw link's in the same round."""
    steps: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    """Seconds, in small transactions of the same round."""
    times: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    """How many times as long as mtpfs it took, in the same round."""
    transactions: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    """Most bytes resident."""
    cpu: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    """Seconds of the program's own, in user and kernel mode."""
    notes: dict[str, str] = field(default_factory=dict)


def prepare(directory: Path) -> None:
    """Put on the phone what is read."""
    block = os.urandom(_CHUNK)
    with (directory / LARGE_NAME).open("wb") as file:
        for _ in range(SIZES.large // _CHUNK):
            file.write(block)
    for number in range(HUGE_FILES):
        with (directory / f"huge{number}.bin").open("wb") as file:
            file.truncate(SIZES.huge)
    for name, count, size in (("listed", FILES, 100), ("small", SMALL_FILES, SMALL)):
        (directory / name).mkdir()
        for number in range(count):
            (directory / name / f"{number:04}.bin").write_bytes(block[number : number + size])


def read_large(phone: Mounted, _scratch: Path) -> None:
    with (phone.root / LARGE_NAME).open("rb", buffering=0) as file:
        buffer = bytearray(_CHUNK)
        while file.readinto(buffer):
            pass


def first_byte(phone: Mounted, _scratch: Path) -> float:
    """Return the median of several files."""
    times: list[float] = []
    while len(times) < HUGE_FILES and sum(times) < LONG:
        started = time.perf_counter()
        with (phone.root / f"huge{len(times)}.bin").open("rb", buffering=0) as file:
            file.read(1)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def write_large(phone: Mounted, scratch: Path) -> None:
    subprocess.run(["cp", scratch / LARGE_NAME, phone.root / "written.bin"], check=True, timeout=PATIENCE)


def list_files(phone: Mounted, _scratch: Path) -> None:
    entries = os.listdir(phone.root / "listed")
    for name in entries:
        (phone.root / "listed" / name).stat()
    if len(entries) != FILES:
        raise OSError(f"{len(entries)} entries of {FILES}")


def copy_small_out(phone: Mounted, scratch: Path) -> None:
    subprocess.run(["cp", "-r", phone.root / "small", scratch / "out"], check=True, timeout=PATIENCE)


def copy_small_in(phone: Mounted, scratch: Path) -> None:
    subprocess.run(["cp", "-r", scratch / "small", phone.root / "in"], check=True, timeout=PATIENCE)


WORK: dict[str, Callable[[Mounted, Path], float | None]] = {
    READ: read_large,
    FIRST_BYTE: first_byte,
    LIST: list_files,
    OUT: copy_small_out,
    WRITE: write_large,
    IN: copy_small_in,
}
"""They return how long it took if that isn't all of the time."""


def check(work: str, directory: Path, scratch: Path) -> None:
    """Raise `OSError` unless what was copied is the same."""
    if work == WRITE and not filecmp.cmp(directory / "written.bin", scratch / LARGE_NAME, shallow=False):
        raise OSError("the copy differs")
    for place, original in ((scratch / "out", OUT), (directory / "in", IN)):
        if work == original:
            names = sorted(os.listdir(directory / "small"))
            _, different, missing = filecmp.cmpfiles(directory / "small", place, names, shallow=False)
            if different or missing:
                raise OSError(f"{len(different) + len(missing)} copies differ")


class Bench:
    """The phone, and what has been measured with it so far."""

    def __init__(self, base: Path, say: Callable[[str], None]) -> None:
        self.directory, self._scratch, self._place = base / "phone", base / "scratch", base / "mount"
        for place in (self.directory, self._scratch):
            place.mkdir()
        prepare(self.directory)
        subprocess.run(
            ["cp", "-r", self.directory / "small", self.directory / LARGE_NAME, self._scratch], check=True
        )
        self._say = say
        self.phone = UmtpPhone(0, self.directory, events=False)
        self.ours = Result(OURS.name)
        self.peers = [Result(program.name) for program in PEERS]
        self.tool = Result("mtp-getfile", notes={work: "no mount" for work in WORK if work != READ})

    def round(self, *, alone: bool) -> None:
        """Have every program do everything once, beside the raw link; mtpfs only if `alone`."""
        self._replug()
        link = measure_link(self.phone.serial)
        self._say(f"link: {link}")
        for work in WORK:
            seconds = self._take_part(OURS, self.ours, work, link)
            for program, result in [] if alone else zip(PEERS, self.peers, strict=True):
                if work in result.notes or READ in result.notes:
                    continue  # what it can't do once it can't do later
                if result.times[work] and result.times[work].median > FAR_BEHIND:
                    continue
                theirs = self._take_part(program, result, work, link)
                if seconds is not None and theirs is not None:
                    result.times[work].add(theirs / seconds)
            if not alone and work == READ:
                self._use_tool(link, seconds)

    def _take_part(self, program: Program, result: Result, work: str, link: raw.Link) -> float | None:
        """Have a program do a work; return the seconds that it took, None if it can't."""
        self._replug()  # whatever the one before has left the responder in
        try:
            seconds = self._measure(program, result, work)
        except UnusableError as error:
            result.notes[READ] = str(error)
            return None
        if seconds is None:
            self._say(f"  {work}, {program.name}: {result.notes[work]}")
            return None
        rate = {READ: link.read, WRITE: link.write}.get(work)
        if rate is not None:
            result.shares[work].add(SIZES.large / seconds / rate)
        result.steps[work].add(seconds / link.transaction)
        self._say(f"  {work}, {program.name}: {seconds:.2f} s")
        return seconds

    def _use_tool(self, link: raw.Link, ours: float | None) -> None:
        """Measure libmtp's own tool at getting the large file; it looks for the device and its objects first."""
        result, copy = self.tool, self._scratch / "got.bin"
        if READ in result.notes:
            return
        self._replug()
        try:
            listing = _run("mtp-files")
            number = listing.split(f"Filename: {LARGE_NAME}")[0].rpartition("File ID: ")[2].split()[0]
            started = time.perf_counter()
            _run("mtp-getfile", number, str(copy))
            seconds = time.perf_counter() - started
            if not filecmp.cmp(copy, self._scratch / LARGE_NAME, shallow=False):
                raise OSError("the copy differs")
            result.seconds[READ].add(seconds)
            result.shares[READ].add(SIZES.large / seconds / link.read)
            if ours is not None:
                result.times[READ].add(seconds / ours)
        except FileNotFoundError:
            result.notes[READ] = "not installed"
        except (OSError, IndexError, subprocess.SubprocessError) as error:
            result.notes[READ] = f"fails: {error}"
        copy.unlink(missing_ok=True)

    def end(self) -> None:
        self.phone.unplug()

    def _replug(self) -> None:
        self.phone.unplug()
        self._clean()
        self.phone.plug_in()

    def _clean(self) -> None:
        (self.directory / "written.bin").unlink(missing_ok=True)
        for leftover in (self.directory / "in", self._scratch / "out"):
            subprocess.run(["rm", "-rf", leftover], check=True)

    def _measure(self, program: Program, result: Result, work: str) -> float | None:
        try:
            with mounted(program, self.phone.serial, self._place) as mount:
                before = mount.transactions() if program is OURS else 0
                cpu, started = mount.cpu(), time.perf_counter()
                seconds = WORK[work](mount, self._scratch) or time.perf_counter() - started
                computed = mount.cpu() - cpu
                if program is OURS:
                    result.transactions[work] = mount.transactions() - before
                    result.memory[work] = max(mount.peak_memory(), result.memory.get(work, 0))
            check(work, self.directory, self._scratch)
        except (OSError, subprocess.SubprocessError) as error:
            reached = isinstance(error, subprocess.SubprocessError)
            result.notes[work] = "cp fails or hangs" if reached else str(error)
            return None
        result.seconds[work].add(seconds)
        result.cpu[work].add(computed)
        return seconds


def _run(*words: str) -> str:
    finished = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE
    )
    return finished.stdout.decode("utf-8", "replace")


def measure_link(serial: str, size: int | None = None) -> raw.Link:
    """Measure the raw link to a phone that has the large file, of `size` bytes (those of `SIZES`)."""
    # In a process of its own: without udev, libusb never learns of what is plugged in after it has started.
    words = [sys.executable, raw.__file__, serial, LARGE_NAME, f"{SIZES.large if size is None else size}"]
    answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=PATIENCE)
    return raw.Link(**json.loads(answer.stdout))
