"""A phone that is as fast as its link: what mtpfs itself costs, and how much of a fast link it leaves.

Strategy: the responder is `fast_phone.c`, at the speed that the bus has (`dummy_hcd.is_super_speed=1` makes it USB 3).
It sends and takes at a fixed rate. In a round the raw link is measured, then mtpfs, both ways. Beside the rate
stands the CPU beyond what the raw link takes, because one CPU serves everything here: phone, bus, mtpfs and reader.

Invariant: what is read is compared with the phone's pattern, in a pass of its own; what is written the phone compares.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import raw
from bus import LARGE_NAME, measure_link
from equipment.gadget import Gadget, Identity, free_controller
from programs import OURS, Mounted, mounted
from samples import Samples
from vm.phones import port_of, wait_until

RATES = {"480": 40e6, "5000": 240e6}
"""Bytes per second, by what sysfs calls the bus's speed: what fast phones reach."""
SIZE = 512 << 20  # bytes
PATTERN = 1048573  # bytes, as in fast_phone.c
_CHUNK = 1 << 20
_SOURCE = Path(__file__).with_name("fast_phone.c")


@dataclass(slots=True)
class Fast:
    """What was measured: rates as shares of the raw link's, CPU as seconds per GB beyond the raw link's."""

    speed: str = ""
    """Megabits per second of the bus."""
    rate: float = 0.0
    """Bytes per second of the phone."""
    read: Samples = field(default_factory=Samples)
    read_cpu: Samples = field(default_factory=Samples)
    write: Samples = field(default_factory=Samples)
    write_cpu: Samples = field(default_factory=Samples)
    memory: int = 0
    """Most bytes resident."""


class FastPhone:
    """The responder on the bus; for one run."""

    serial = "fast"

    def __init__(self, base: Path, rate: float) -> None:
        program = base / "fast_phone"
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, _SOURCE], check=True)
        self._stack = contextlib.ExitStack()
        identity = Identity("fast", self.serial, product="Fast phone")
        gadget = self._stack.enter_context(Gadget(identity, free_controller()).made())
        words = [program, gadget.endpoints, f"{rate:.0f}", f"{SIZE}"]
        self._program = subprocess.Popen([str(word) for word in words])
        self._stack.callback(self._end)
        wait_until((gadget.endpoints / "ep1").exists, "the fast phone's start")
        gadget.plug_in()
        wait_until(lambda: port_of(self.serial) is not None, "the fast phone's arrival")

    @property
    def speed(self) -> str:
        port = port_of(self.serial)
        assert port is not None
        return (port / "speed").read_text().strip()

    def end(self) -> None:
        self._stack.close()

    def _end(self) -> None:
        self._program.kill()
        self._program.wait()


def bus_speed() -> str:
    """Return the speed of the fastest bus that a phone of software can be on, in megabits per second."""
    controllers = Path("/sys/class/udc")
    names = [(path / "maximum_speed").read_text().strip() for path in controllers.iterdir()]
    return "5000" if "super-speed" in names else "480"


def measure(base: Path, rounds: int) -> Fast:
    """Measure in `rounds` rounds. `base` is a directory in memory with room for two such files."""
    speed = bus_speed()
    found = Fast(speed, RATES[speed])
    phone = FastPhone(base, found.rate)
    try:
        if phone.speed != speed:
            raise OSError(f"the phone is at {phone.speed} Mbit/s, not {speed}")
        for _ in range(rounds):
            link = measure_link(phone.serial, SIZE)
            with mounted(OURS, phone.serial, base / "mount") as mount:
                _round(mount, link, base / "copy", found)
    finally:
        phone.end()
    return found


def _round(mount: Mounted, link: raw.Link, copy: Path, found: Fast) -> None:
    large = mount.root / LARGE_NAME
    # First of all what isn't timed: to touch memory for the first time is dear on emulated machines.
    with large.open("rb", buffering=0) as file, copy.open("wb") as target:
        for offset in range(0, SIZE, _CHUNK):
            data = file.read(_CHUNK)
            if data != _pattern(offset, len(data)):
                raise OSError(f"other bytes than the phone's, at {offset}")
            target.write(data)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with _timed(mount) as took, large.open("rb", buffering=0) as file:
        buffer = bytearray(_CHUNK)
        while file.readinto(buffer):
            pass
    found.read.add(SIZE / took.seconds / link.read)
    found.read_cpu.add(1e9 * (took.cpu / SIZE - link.read_cpu))
    with _timed(mount) as took:
        subprocess.run(["cp", copy, mount.root / "written.bin"], check=True)
    found.write.add(SIZE / took.seconds / link.write)
    found.write_cpu.add(1e9 * (took.cpu / SIZE - link.write_cpu))
    (mount.root / "written.bin").unlink()
    copy.unlink()
    found.memory = max(found.memory, mount.peak_memory())


_REPEATED = bytes((i % PATTERN * 2654435761 & 0xFFFFFFFF) >> 24 for i in range(PATTERN + _CHUNK))


def _pattern(offset: int, count: int) -> bytes:
    start = offset % PATTERN
    return _REPEATED[start : start + count]


@dataclass(slots=True)
class _Took:
    seconds: float = 0.0
    cpu: float = 0.0


@contextlib.contextmanager
def _timed(mount: Mounted) -> Iterator[_Took]:
    took = _Took()
    cpu, started = mount.cpu(), time.perf_counter()
    yield took
    took.seconds, took.cpu = time.perf_counter() - started, mount.cpu() - cpu
