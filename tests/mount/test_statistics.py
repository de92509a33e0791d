"""What a mount tells of itself: the hidden file, `mtpfs stats`, SIGUSR1."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mount.conftest import MTPFS, Mount, run, wait_until

NAME = ".mtpfs-statistics"


def test_stats_counts(android: Mount) -> None:
    """`mtpfs stats --json` counts what has happened between two calls, and asks the device for nothing."""
    (android.phone / "file").write_bytes(b"x" * 1000)
    (android.root / "file").read_bytes()

    def stats() -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(
            run(*MTPFS, "stats", "--json", android.mountpoint).stdout
        )
        return found

    def asked(found: dict[str, dict[str, Any]]) -> dict[str, int]:
        # Somebody who looks at all mounts may ask for their space.
        operations: dict[str, int] = found["session"]["operations"]
        return {name: count for name, count in operations.items() if name != "GetStorageInfo"}

    before = stats()
    assert asked(stats()) == asked(before)
    (android.root / "new").write_bytes(b"y" * 5000)
    after = stats()
    assert after["session"]["bytes_out"] - before["session"]["bytes_out"] > 5000
    assert before["session"]["bytes_in"] > 1000
    assert before["cache"]["window_misses"] == 1


def test_stats_for_people(android: Mount) -> None:
    """`mtpfs stats` names the operations."""
    os.listdir(android.root)
    shown = run(*MTPFS, "stats", android.mountpoint).stdout
    assert "GetObjectHandles" in shown
    assert "waits, metadata" in shown


def test_statistics_are_not_in_the_way(android: Mount) -> None:
    """The file is in no listing, can't be written, and is not in other directories."""
    path = android.mountpoint / NAME
    assert json.loads(path.read_text())["session"]["operations"]["OpenSession"] == 1
    assert NAME not in os.listdir(android.mountpoint)
    with pytest.raises(PermissionError):
        path.write_text("{}")
    assert not (android.root / NAME).exists()


def test_stats_of_something_else(tmp_path: Path) -> None:
    """A directory that is no mount is refused in one line."""
    refused = run(*MTPFS, "stats", tmp_path, check=False)
    assert refused.returncode == 1
    assert refused.stderr == f"mtpfs: {tmp_path}: nothing is mounted here\n"


def test_signal_logs_statistics(mount_phone: Callable[..., Mount]) -> None:
    """SIGUSR1 has the statistics logged, at whatever level the mount logs."""
    mounted = mount_phone("")
    mounted.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: mounted.log.read_text().endswith("\n"), "the statistics in the log")
    line = mounted.log.read_text()
    assert line.startswith("mtpfs: {")
    assert json.loads(line.removeprefix("mtpfs: "))["cache"]["nodes"] >= 1


def test_unanswered_attributes(android: Mount) -> None:
    """Extended attributes are declined as a whole, so that the kernel doesn't ask for them at every write."""
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        os.getxattr(android.root, "user.any")


def test_mount_that_does_not_answer(mount_phone: Callable[..., Mount]) -> None:
    """A mount whose program is stopped is an error within seconds, for `stats` and for somebody who mounts there again."""
    mounted = mount_phone()
    mounted.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = run(*MTPFS, "stats", mounted.mountpoint, check=False)
        assert answer.returncode == 1
        assert "the mount doesn't answer (in 3 s)" in answer.stderr
        assert time.monotonic() - started < 20
        answer = run(*MTPFS, "any", mounted.mountpoint, check=False)
        assert "mounted here already" in answer.stderr
    finally:
        mounted.process.send_signal(signal.SIGCONT)
