"""What is measured over USB: uMTP-Responder on a bus of software, read and written by each program.

Strategy: one phone, one program at a time, each work on a fresh mount so that
no cache of the kernel's helps; the raw link is measured in the same run, before
and after, and everything is told as a ratio to it.

Invariant: what was copied is compared with the original, so nothing that lost
a byte has a rate.
"""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import raw
from programs import PROGRAMS, Mounted, Program, UnusableError, mounted
from vm.phones import UmtpPhone

LARGE = 200 << 20  # bytes
FILES, SMALL_FILES, SMALL = 200, 500, 10_000
DIRECTORIES = 40
PATIENCE = 120.0  # seconds for one copy; some programs hang
_CHUNK = 1 << 20


@dataclass
class Result:
    """What was measured of one program; None where it can't do the work."""

    program: str
    values: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def prepare(directory: Path) -> None:
    """Put on the phone what is read."""
    block = os.urandom(_CHUNK)
    with (directory / "large.bin").open("wb") as file:
        for _ in range(LARGE // _CHUNK):
            file.write(block)
    with (directory / "huge.bin").open("wb") as file:
        file.truncate(1 << 30)
    for name, count, size in (("listed", FILES, 100), ("small", SMALL_FILES, SMALL)):
        (directory / name).mkdir()
        for number in range(count):
            (directory / name / f"{number:04}.bin").write_bytes(block[number : number + size])
    for number in range(DIRECTORIES):
        (directory / f"d{number}").mkdir()
        for file_number in range(5):
            (directory / f"d{number}/{file_number}").touch()


def read_large(phone: Mounted, _scratch: Path) -> None:
    with (phone.root / "large.bin").open("rb", buffering=0) as file:
        buffer = bytearray(_CHUNK)
        while file.readinto(buffer):
            pass


def first_byte(phone: Mounted, _scratch: Path) -> None:
    with (phone.root / "huge.bin").open("rb", buffering=0) as file:
        file.read(1)


def write_large(phone: Mounted, scratch: Path) -> None:
    subprocess.run(["cp", scratch / "large.bin", phone.root / "written.bin"], check=True, timeout=PATIENCE)


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


WORK: dict[str, Callable[[Mounted, Path], None]] = {
    "read 200 MiB": read_large,
    "first byte of 1 GiB": first_byte,
    "write 200 MiB": write_large,
    f"ls -l of {FILES} files": list_files,
    f"{SMALL_FILES} files of 10 KB out": copy_small_out,
    f"{SMALL_FILES} files of 10 KB in": copy_small_in,
}


def check(work: str, directory: Path, scratch: Path) -> None:
    """Raise `OSError` unless what was copied is the same, and take it away."""
    if work.startswith("write"):
        if not filecmp.cmp(directory / "written.bin", scratch / "large.bin", shallow=False):
            raise OSError("the copy differs")
        (directory / "written.bin").unlink()
    for word, copy, original in (("out", scratch / "out", "small"), ("in", directory / "in", "small")):
        if work.endswith(f" {word}"):
            names = sorted(os.listdir(directory / original))
            _, different, missing = filecmp.cmpfiles(directory / original, copy, names, shallow=False)
            if different or missing:
                raise OSError(f"{len(different) + len(missing)} copies differ")
            subprocess.run(["rm", "-r", copy], check=True)


def measure(base: Path, say: Callable[[str], None]) -> tuple[raw.Link, list[Result]]:
    """Measure everything below `base`, a directory with room for a gigabyte, best in memory."""
    directory, scratch = base / "phone", base / "scratch"
    for place in (directory, scratch):
        place.mkdir()
    prepare(directory)
    subprocess.run(["cp", "-r", directory / "small", directory / "large.bin", scratch], check=True)
    phone = UmtpPhone(0, directory)
    links = [_measure_link(phone)]
    results = []
    for program in PROGRAMS:
        say(program.name)
        phone.unplug()  # whatever the one before has left the responder in
        phone.plug_in()
        results.append(_measure_program(program, phone, scratch, base / "mount"))
        say("  " + str(results[-1].notes))
        say("  " + ", ".join(f"{work} {value:.3g}" for work, value in results[-1].values.items()))
    phone.unplug()
    phone.plug_in()
    links.append(_measure_link(phone))
    phone.unplug()
    best = raw.Link(
        max(link.read for link in links),
        max(link.write for link in links),
        min(link.transaction for link in links),
    )
    return best, results


def _measure_link(phone: UmtpPhone) -> raw.Link:
    # In a process of its own: without udev, libusb never learns of what is plugged in after it has started.
    words = [sys.executable, raw.__file__, phone.serial, "large.bin", f"{LARGE}"]
    answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, timeout=PATIENCE)
    return raw.Link(**json.loads(answer.stdout))


def _measure_program(program: Program, phone: UmtpPhone, scratch: Path, place: Path) -> Result:
    result = Result(program.name)
    for work, run in WORK.items():
        if work.endswith(" in") and "write 200 MiB" in result.notes:
            result.notes[work] = result.notes["write 200 MiB"]
            continue
        try:
            with mounted(program, phone.serial, place) as mount:
                ours = program.name == "mtpfs"
                before = mount.transactions() if ours else 0
                started = time.perf_counter()
                run(mount, scratch)
                result.values[work] = time.perf_counter() - started
                if ours:
                    result.values[f"{work}: transactions"] = mount.transactions() - before
                    result.values[f"{work}: memory"] = mount.peak_memory()
                    result.values |= _meanwhile(mount, work)
            check(work, phone.directory, scratch)
        except (UnusableError, OSError, subprocess.SubprocessError) as error:
            result.values.pop(work, None)
            reached = isinstance(error, subprocess.SubprocessError)
            result.notes[work] = "cp fails or hangs" if reached else str(error)
            result.values = {
                key: value for key, value in result.values.items() if not key.startswith(f"{work}:")
            }
            phone.unplug()
            phone.plug_in()
            if isinstance(error, UnusableError):
                break
    return result


def _meanwhile(mount: Mounted, work: str) -> dict[str, float]:
    """List directories while a large file is read: how long the slowest took, and the reading."""
    if not work.startswith("ls"):
        return {}
    started = time.perf_counter()
    reader = subprocess.Popen(["cat", mount.root / "large.bin"], stdout=subprocess.DEVNULL)
    waits = []
    for number in range(DIRECTORIES):
        time.sleep(0.05)
        if reader.poll() is not None:
            break
        begun = time.perf_counter()
        os.listdir(mount.root / f"d{number}")
        waits.append(time.perf_counter() - begun)
    reader.wait()
    return {"ls meanwhile": max(waits, default=0.0), "read meanwhile": time.perf_counter() - started}
