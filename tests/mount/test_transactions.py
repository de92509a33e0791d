"""How many transactions the kernel's ways of asking cost, counted by the mount itself."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mount.conftest import Mount, run, virtual_mount


def session(mounted: Mount) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((mounted.mountpoint / ".mtpfs-statistics").read_text())["session"]
    return found


def operations(mounted: Mount) -> Counter[str]:
    """Return how often each operation was asked for so far, but for what anybody's look at all mounts costs."""
    counts = Counter(session(mounted)["operations"])
    del counts["GetStorageInfo"]
    return counts


def transactions(mounted: Mount) -> int:
    return operations(mounted).total()


def fill(directory: Path, count: int, size: int = 0) -> None:
    directory.mkdir(parents=True)
    for number in range(count):
        (directory / f"{number}").write_bytes(bytes(size))


@pytest.mark.parametrize("count", [10, 1000])
def test_listing(android: Mount, count: int) -> None:
    """A directory is listed with attributes in at most 8 transactions, whatever its size; again in none."""
    fill(android.phone / "d", count)
    os.listdir(android.root)
    before = transactions(android)
    run("ls", "-l", android.root / "d")
    listed = transactions(android)
    assert listed - before <= 8
    run("ls", "-l", android.root / "d")
    assert transactions(android) == listed


def test_walking(android: Mount) -> None:
    """A tree is walked in at most 6 transactions per directory, and none is listed twice."""
    for number in range(50):
        fill(android.phone / f"t/{number}", 10)
    os.listdir(android.root)
    before = transactions(android)
    run("find", android.root / "t", "-type", "f", "-size", "+1")
    walked = transactions(android)
    assert walked - before <= 6 * 51
    run("find", android.root / "t", "-type", "f", "-size", "+1")
    assert transactions(android) == walked


def test_small_files(android: Mount, tmp_path: Path) -> None:
    """A small file costs at most 3 transactions on its way in, and 2 on its way out."""
    fill(tmp_path / "s", 100, 10_000)
    fill(android.phone / "out", 100, 10_000)
    os.listdir(android.root / "out")
    before = transactions(android)
    run("cp", "-r", tmp_path / "s", android.root / "in")
    copied_in = transactions(android)
    assert copied_in - before <= 3 * 100 + 8
    before = transactions(android)
    run("cp", "-r", android.root / "out", tmp_path / "back")
    assert transactions(android) - before <= 2 * 100 + 8
    run("diff", "-r", tmp_path / "s", tmp_path / "back")


def test_random_reads(android: Mount) -> None:
    """A random read of 4 KiB is one transaction, and fetches nothing else."""
    (android.phone / "large").write_bytes(bytes(64 << 20))
    chance = random.Random(1)
    file = os.open(android.root / "large", os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        before, asked = session(android), transactions(android)
        places = chance.sample(range(1 << 14), 50)
        for place in places:
            os.pread(file, 4096, place * 4096)
        after = session(android)
        assert transactions(android) - asked == len(places)
    finally:
        os.close(file)
    assert after["bytes_in"] - before["bytes_in"] < 50 * 5000


def test_first_byte(android: Mount) -> None:
    """The first byte of a large file doesn't wait for more than one small window."""
    with (android.phone / "huge").open("wb") as huge:
        huge.truncate(1 << 30)
    os.listdir(android.root)
    before, asked = session(android), transactions(android)
    with (android.root / "huge").open("rb", buffering=0) as file:
        file.read(1)
    after = session(android)
    assert after["bytes_in"] - before["bytes_in"] < 2 << 20
    assert transactions(android) - asked <= 3


def test_listing_without_lists(tmp_path: Path) -> None:
    """A device that only describes single objects is asked once for each, and once for the directory."""
    for directory in ("m", "phone"):
        (tmp_path / directory).mkdir()
    with virtual_mount(tmp_path / "phone", tmp_path / "m", "no-proplist") as mounted:
        fill(mounted.phone / "d", 200)
        os.listdir(mounted.root)
        before = transactions(mounted)
        run("ls", "-l", mounted.root / "d")
        listed = transactions(mounted)
        assert listed - before <= 1.1 * 200
        run("ls", "-l", mounted.root / "d")
        assert transactions(mounted) == listed


LARGE = 150 << 20


@pytest.mark.parametrize("words", ["", "no-edit"])
def test_large_files(words: str, tmp_path: Path) -> None:
    """A large file comes in windows of 4 MiB, goes as one SendObject, and is never in memory as a whole."""
    source = tmp_path / "source"
    with source.open("wb") as file:
        for number in range(LARGE >> 20):
            file.write(number.to_bytes(4, "little") * (1 << 18))
    for directory in ("m", "phone"):
        (tmp_path / directory).mkdir()
    with virtual_mount(tmp_path / "phone", tmp_path / "m", words) as mounted:
        os.listdir(mounted.root)
        before = operations(mounted)
        run("cp", source, mounted.root / "large")
        written = operations(mounted)
        # The size is compared afterwards. How much room there is may be asked for by others, too.
        asked = {
            word: count for word, count in (written - before).items() if not word.startswith("GetStorage")
        }
        assert asked == {"SendObjectInfo": 1, "SendObject": 1, "GetObjectInfo": 1}
        run("cmp", source, mounted.root / "large")
        windows = LARGE / (4 << 20)
        assert windows <= (operations(mounted) - written).total() <= windows + 8
        status = Path(f"/proc/{mounted.process.pid}/status").read_text()
        assert int(status.split("VmHWM:")[1].split()[0]) << 10 < 96 << 20


def test_reading_a_little_from_the_middle(android: Mount) -> None:
    """Reading one place in a large file fetches what is asked for, not a window."""
    (android.phone / "large").write_bytes(bytes(64 << 20))
    os.listdir(android.root)
    before = session(android)
    file = os.open(android.root / "large", os.O_RDONLY)
    try:
        os.pread(file, 4096, 30 << 20)
    finally:
        os.close(file)
    after = session(android)
    assert after["bytes_in"] - before["bytes_in"] < 256 << 10
