"""The commands for files beside those of others, without any mount.

Strategy: as for mounts, one phone, each program with the phone plugged in anew, all in turns. Programs that take one
file at a time (aft-mtp-cli) get all of them in one call. The small files are judged by the raw link's small
transaction, of which sending takes two for each file and fetching one.

Invariant: what was copied is compared with the original, so nothing that lost a byte has a time.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bus import HUGE, LARGE_NAME, SIZES, measure_link
from programs import OURS, STORAGE, mounted
from samples import Samples
from vm.phones import UmtpPhone

COUNT, SMALL = 3000, 10_000  # files, bytes
PATIENCE = 300.0  # seconds for one call; some programs hang
BIG_NAME = "big.bin"

GET_BIG, GET_SMALL = "get of 1 GiB", f"get of {COUNT} files of 10 KB"
PUT_BIG, PUT_SMALL = "put of 200 MiB", f"put of {COUNT} files of 10 KB"


@dataclass(frozen=True, slots=True)
class Commands:
    """A program's words for each work, given the phone's serial number and the local directory; the work's own first."""

    name: str
    words: dict[str, Callable[[str, Path], list[str]]]


def _ours(*words: str) -> Callable[[str, Path], list[str]]:
    return lambda serial, local: [
        sys.executable,
        "-m",
        "mtpfs",
        *(word.replace("LOCAL", str(local)) for word in words),
        "--source",
        f"serial:{serial}",
    ]


def _names() -> list[str]:
    return [f"{number:04}.bin" for number in range(COUNT)]


OUR_COMMANDS = Commands(
    "mtpfs",
    {
        GET_BIG: _ours("get", f"phone:/{STORAGE}/{BIG_NAME}", "LOCAL/got/"),
        PUT_BIG: _ours("put", f"LOCAL/{LARGE_NAME}", f"phone:/{STORAGE}/put/"),
        GET_SMALL: _ours("get", "-r", f"phone:/{STORAGE}/small", "LOCAL/got/"),
        PUT_SMALL: _ours("put", "-r", "LOCAL/small", f"phone:/{STORAGE}/put/"),
    },
)
AFT = Commands(
    "aft-mtp-cli",
    {
        GET_BIG: lambda _serial, _local: ["aft-mtp-cli", f"get {BIG_NAME}"],
        PUT_BIG: lambda _serial, local: ["aft-mtp-cli", "cd put", f"put {local / LARGE_NAME}"],
        GET_SMALL: lambda _serial, _local: ["aft-mtp-cli", "cd small", *(f"get {name}" for name in _names())],
        PUT_SMALL: lambda _serial, local: [
            "aft-mtp-cli",
            "cd put",
            "mkdir small",
            "cd small",
            *(f"put {local / 'small' / name}" for name in _names()),
        ],
    },
)


@dataclass(slots=True)
class Commanded:
    """What was measured: seconds as times as long as `mtpfs`, and for it in other units."""

    mount: Samples = field(default_factory=Samples)
    """How long `get` of 1 GiB took, as a share of `cat` on a mount in the same round."""
    steps: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    """Seconds for each small file, in small transactions of the same round."""
    others: dict[str, Samples] = field(default_factory=lambda: defaultdict(Samples))
    """How many times as long aft-mtp-cli took."""
    notes: dict[str, str] = field(default_factory=dict)


class _Course:
    def __init__(self, base: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._directory, self._local, self._place = base / "phone", base / "local", base / "mount"
        for place in (self._directory / "small", self._local / "small"):
            place.mkdir(parents=True)
        block = os.urandom(1 << 20)
        for name in _names():
            start = int(name[:4])
            (self._directory / "small" / name).write_bytes(block[start : start + SMALL])
            (self._local / "small" / name).write_bytes(block[start : start + SMALL])
        for path, size in (
            (self._directory / BIG_NAME, HUGE // SIZES.divisor),
            (self._local / LARGE_NAME, SIZES.large),
        ):
            with path.open("wb") as file:
                for _ in range(size >> 20):
                    file.write(block)
        shutil.copy(self._local / LARGE_NAME, self._directory)
        self.phone = UmtpPhone(0, self._directory, events=False)

    def round(self, found: Commanded) -> None:
        link = measure_link(self.phone.serial)
        for work in (GET_BIG, PUT_BIG, GET_SMALL, PUT_SMALL):
            ours = self._run(OUR_COMMANDS, work)
            if work in {GET_SMALL, PUT_SMALL}:
                found.steps[work].add(ours / COUNT / link.transaction)
            if work == GET_BIG:
                found.mount.add(ours / self._cat())
            if work in found.notes:
                continue
            try:
                found.others[work].add(self._run(AFT, work) / ours)
            except FileNotFoundError:
                found.notes[work] = "not installed"
            except (OSError, subprocess.SubprocessError) as error:
                found.notes[work] = f"fails: {type(error).__name__}"
                self._say(f"  {work}, {AFT.name}: {error}"[:300])

    def _run(self, program: Commands, work: str) -> float:
        self._again()
        words = program.words[work](self.phone.serial, self._local)
        started = time.perf_counter()
        subprocess.run(
            words,
            cwd=self._local / "got"
            if work == GET_BIG or program is OUR_COMMANDS
            else self._local / "got/small",
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        seconds = time.perf_counter() - started
        self._check(work)
        self._say(f"  {work}, {program.name}: {seconds:.2f} s")
        return seconds

    def _cat(self) -> float:
        self._again()
        with mounted(OURS, self.phone.serial, self._place) as mount:
            started = time.perf_counter()
            subprocess.run(["cp", mount.root / BIG_NAME, self._local / "got"], check=True, timeout=PATIENCE)
            return time.perf_counter() - started

    def _check(self, work: str) -> None:
        """Raise `OSError` unless what was copied is the same."""
        got, put = self._local / "got", self._directory / "put"
        pairs = {
            GET_BIG: [(got / BIG_NAME, self._directory / BIG_NAME)],
            PUT_BIG: [(put / LARGE_NAME, self._local / LARGE_NAME)],
            GET_SMALL: [(got / "small" / name, self._directory / "small" / name) for name in _names()],
            PUT_SMALL: [(put / "small" / name, self._local / "small" / name) for name in _names()],
        }
        for copy, original in pairs[work]:
            if not filecmp.cmp(copy, original, shallow=False):
                raise OSError(f"{copy} differs")

    def _again(self) -> None:
        self.phone.unplug()
        for place in (self._local / "got", self._directory / "put"):
            if place.exists():
                shutil.rmtree(place)
        (self._local / "got/small").mkdir(parents=True)
        (self._directory / "put").mkdir()
        self.phone.plug_in()


def measure(base: Path, rounds: int, say: Callable[[str], None]) -> Commanded:
    """Measure in `rounds` rounds. `base` is a directory in memory, with room for three files of 1 GiB."""
    found = Commanded()
    course = _Course(base, say)
    try:
        for _ in range(rounds):
            course.round(found)
    finally:
        course.phone.unplug()
    return found
