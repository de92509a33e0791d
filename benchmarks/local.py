"""What is measured without USB, on mounts of the virtual phone: transactions, memory, starting.

Strategy: counts come from the mount's own statistics. Nothing here depends on
how fast the machine is, but for the times of starting, which say so.

Invariant: a count is of everything that the work caused, prefetching included.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from programs import Program, mounted

HUGE = 4 << 30  # bytes
_VIRTUAL = "Internal shared storage"


def on_phone(base: Path, fill: Callable[[Path], None], work: Callable[[Path], None]) -> dict[str, float]:
    """Fill a phone, mount it, do the work on its root; return transactions, seconds and peak memory in bytes."""
    phone = base / "phone"
    phone.mkdir()
    fill(phone)
    (phone / "large.bin").touch()
    words = [sys.executable, "-m", "mtpfs", f"virtual:{phone}"]
    program = Program("mtpfs", lambda _serial, place: [*words, place, "-f"])
    try:
        with mounted(program, "", base / "mount", _VIRTUAL) as mount:
            os.listdir(base / "mount" / _VIRTUAL)
            before, started = mount.transactions(), time.perf_counter()
            work(base / "mount" / _VIRTUAL)
            seconds = time.perf_counter() - started
            return {
                "transactions": mount.transactions() - before,
                "seconds": seconds,
                "memory": mount.peak_memory(),
            }
    finally:
        subprocess.run(["rm", "-rf", phone], check=True)


def _files(directory: Path, count: int, size: int = 0) -> None:
    directory.mkdir(parents=True)
    for number in range(count):
        with (directory / f"{number:05}").open("wb") as file:
            file.truncate(size)


def _list(directory: Path) -> None:
    for entry in os.scandir(directory):
        entry.stat()


def _walk(directory: Path) -> None:
    for _ in os.walk(directory):
        pass


def _read_randomly(path: Path) -> None:
    chance = random.Random(1)
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    for _ in range(100):
        os.pread(file, 4096, chance.randrange(0, 1 << 18) * 4096)
    os.close(file)


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-r", source, target], check=True)


def measure(base: Path) -> dict[str, dict[str, float]]:
    """Measure everything below `base`, a directory on disk with room for 4 GiB.

    `limit` is the bar: transactions, or transactions for each of `per` things and `allowance` more.
    """
    found = {}
    for count in (1000, 10_000):
        found[f"ls -l of {count} files"] = {"limit": 8.0} | on_phone(
            base,
            lambda phone, count=count: _files(phone / "d", count),  # type: ignore[misc]
            lambda root: _list(root / "d"),
        )
    found["ls -l of 10000 files, again"] = {"limit": 0.0} | _second_listing(base)

    def tree(phone: Path) -> None:
        for number in range(2000):
            _files(phone / f"t/{number}", 10)

    found["find over 2000 directories of 10 files"] = {"limit": 6.0, "per": 2001.0} | on_phone(
        base, tree, lambda root: _walk(root / "t")
    )
    found["100 random reads of 4 KiB"] = {"limit": 1.0, "per": 100.0, "allowance": 2.0} | on_phone(
        base, lambda phone: _files(phone / "r", 1, 1 << 30), lambda root: _read_randomly(root / "r/00000")
    )
    found["500 files of 10 KB out"] = {"limit": 2.0, "per": 500.0, "allowance": 10.0} | on_phone(
        base,
        lambda phone: _files(phone / "s", 500, 10_000),
        lambda root: _copy(root / "s", base / "out"),
    )
    found["500 files of 10 KB in"] = {"limit": 3.0, "per": 500.0, "allowance": 10.0} | on_phone(
        base, lambda _phone: None, lambda root: _copy(base / "out", root / "in")
    )
    subprocess.run(["rm", "-r", base / "out"], check=True)
    found["4 GiB out"] = on_phone(
        base,
        lambda phone: _files(phone / "h", 1, HUGE),
        lambda root: _copy(root / "h/00000", Path("/dev/null")),
    )
    with (base / "huge").open("wb") as file:
        file.truncate(HUGE)
    found["4 GiB in"] = on_phone(
        base,
        lambda _phone: None,
        lambda root: subprocess.run(
            ["cp", "--sparse=never", base / "huge", root / "huge"], check=True
        ).check_returncode(),
    )
    (base / "huge").unlink()
    return found


def _second_listing(base: Path) -> dict[str, float]:
    def work(root: Path) -> None:
        _list(root / "d")

    counted: dict[str, float] = {}

    def twice(root: Path) -> None:
        import json  # noqa: PLC0415 - the statistics of this mount

        def transactions() -> int:
            text = (root.parent / ".mtpfs-statistics").read_text()
            return int(json.loads(text)["session"]["transactions"])

        work(root)
        before = transactions()
        work(root)
        counted["transactions"] = transactions() - before

    return on_phone(base, lambda phone: _files(phone / "d", 10_000), twice) | counted


def starting(base: Path) -> dict[str, float]:
    """Return seconds until a virtual phone is mounted, and until the help is there; the best of five."""
    phone, place = base / "phone", base / "mount"
    phone.mkdir()
    place.mkdir(exist_ok=True)
    mounting, helping, bare = [], [], []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "mtpfs", f"virtual:{phone}", place], check=True)
        mounting.append(time.perf_counter() - started)
        subprocess.run(["fusermount3", "-u", place], check=True)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "mtpfs", "--help"], check=True, stdout=subprocess.DEVNULL)
        helping.append(time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        bare.append(time.perf_counter() - started)
    phone.rmdir()
    return {"mounted after": min(mounting), "help, own imports": min(helping) - min(bare)}
