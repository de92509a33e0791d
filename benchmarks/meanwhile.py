"""What is measured over USB of mtpfs alone: listing while a large file is copied, and devices that can't edit.

Strategy: a copy of the largest file runs twice, alone and with somebody who lists a directory
that was never listed before every `PAUSE` seconds. A device without edit operations
is our own phone of software on the same kind of bus; what is measured there is
close(2), for before that the file only goes into the spool.

Invariant: a wait is as long as it takes until all names are there, not only until
the device is free.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import raw
from bus import HUGE_NAME, LARGE_NAME, SIZES, measure_link
from programs import OURS, mounted
from vm.phones import UmtpPhone, VirtualUsbPhone

PAUSE = 0.5  # seconds between two listings
DIRECTORIES, ENTRIES = 400, 5
WINDOW = 4 << 20  # bytes
_CHUNK = 1 << 20
_VIRTUAL = "Internal shared storage"


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """How long listings took during a copy, in windows of 4 MiB, and how much longer the copy took for them."""

    listings: int
    p99: float
    longest: float
    waiting_p99: float
    """How long their transactions waited for their turn, in windows."""
    slower: float
    """The copy's additional time as a share of what it takes alone."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A large file written to a device that can't edit."""

    share: float
    """The rate of close(2), as a share of the raw SendObject's."""
    with_spooling: float
    """The same of the whole copy."""
    memory: int


def list_during_copy(phone: UmtpPhone, place: Path) -> Meanwhile:
    """Copy alone, then with listings. The directories are made here and removed again."""
    for number in range(DIRECTORIES):
        (phone.directory / f"d{number}").mkdir()
        for entry in range(ENTRIES):
            (phone.directory / f"d{number}/{entry}").touch()
    phone.unplug()
    phone.plug_in()

    def copy(meanwhile: Callable[[Path, subprocess.Popen[bytes]], None]) -> tuple[float, float]:
        with mounted(OURS, phone.serial, place) as mount:
            os.listdir(mount.root)
            started = time.perf_counter()
            reader = subprocess.Popen(["cat", mount.root / HUGE_NAME], stdout=subprocess.DEVNULL)
            meanwhile(mount.root, reader)
            if reader.wait():
                raise OSError("the copy failed")
            return time.perf_counter() - started, mount.statistics()["session"]["metadata_waits"]["p99"]

    waits: list[float] = []

    def listing(root: Path, reader: subprocess.Popen[bytes]) -> None:
        for number in range(DIRECTORIES):
            time.sleep(PAUSE)
            if reader.poll() is not None:
                return
            begun = time.perf_counter()
            if len(os.listdir(root / f"d{number}")) != ENTRIES:
                raise OSError("entries are missing")
            waits.append(time.perf_counter() - begun)

    alone, _ = copy(lambda _root, _reader: None)
    together, waiting = copy(listing)
    subprocess.run(["rm", "-r", *(phone.directory / f"d{n}" for n in range(DIRECTORIES))], check=True)
    window = alone * WINDOW / (phone.directory / HUGE_NAME).stat().st_size
    waits.sort()
    p99 = waits[-(-99 * len(waits) // 100) - 1]
    return Meanwhile(
        len(waits), p99 / window, waits[-1] / window, waiting / window, (together - alone) / alone
    )


def write_without_edit(base: Path) -> Spooled:
    """Write to a phone whose files can only be sent as a whole."""
    directory = base / "spool-phone"
    directory.mkdir()
    source = base / "phone" / LARGE_NAME
    subprocess.run(["cp", source, directory], check=True)
    phone = VirtualUsbPhone(directory, "bench", "no-edit")
    try:
        link: raw.Link = measure_link("bench")
        with mounted(OURS, "bench", base / "mount", _VIRTUAL) as mount:
            with source.open("rb", buffering=0) as original:
                target = os.open(mount.root / "written.bin", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                started = time.perf_counter()
                while block := original.read(_CHUNK):
                    os.write(target, block)
                spooled = time.perf_counter()
                os.close(target)
                ended = time.perf_counter()
            memory = mount.peak_memory()
        if not filecmp.cmp(source, directory / "written.bin", shallow=False):
            raise OSError("the copy differs")
    finally:
        phone.end()
        subprocess.run(["rm", "-rf", directory], check=True)
    rate = link.write
    return Spooled(SIZES.large / (ended - spooled) / rate, SIZES.large / (ended - started) / rate, memory)
