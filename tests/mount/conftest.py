"""Real mounts of the virtual phone, each by the real command in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds
MTPFS = [sys.executable, "-m", "mtpfs"]
CAPABILITIES = (
    "",
    "no-edit",
    "no-partial64",
    "no-partial",
    "no-proplist",
    "no-move&no-rename",
    "samsung",
    "storages=2",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip real mounts where this machine has no FUSE."""
    if Path("/dev/fuse").exists() and shutil.which("fusermount3"):
        return
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason="no /dev/fuse or no fusermount3"))


def run(*words: str | Path, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which a hanging mount would never let come."""
    return subprocess.run(
        [str(word) for word in words],
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} didn't happen"
        time.sleep(0.02)


@dataclass
class Mount:
    """A mounted virtual phone: `root` on the mount is `phone` on this machine's disk."""

    mountpoint: Path
    root: Path
    phone: Path
    words: str
    process: subprocess.Popen[str]

    def unmount(self) -> str:
        """Unmount in order; return what the program logged."""
        run("fusermount3", "-u", self.mountpoint)
        _, log = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, log
        return log


@pytest.fixture
def mount_phone(tmp_path: Path) -> Iterator[Callable[..., Mount]]:
    """Mount a virtual phone with capability words and options; everything is unmounted at the end."""
    mounts: list[Mount] = []

    def mount(words: str = "", *options: str) -> Mount:
        base = tmp_path / f"phone{len(mounts)}"
        mountpoint = tmp_path / f"mount{len(mounts)}"
        base.mkdir()
        mountpoint.mkdir()
        process = subprocess.Popen(
            [*MTPFS, f"virtual:{base}?{words}" if words else f"virtual:{base}", mountpoint, "-f", *options],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: os.path.ismount(mountpoint) or process.poll() is not None, "the mount")
        assert process.poll() is None, process.communicate()[1]
        storage = min(mountpoint.iterdir())
        phone = base / storage.name if "storages" in words else base
        mounts.append(Mount(mountpoint, storage, phone, words, process))
        return mounts[-1]

    yield mount
    for mounted in mounts:
        if os.path.ismount(mounted.mountpoint):
            run("fusermount3", "-u", mounted.mountpoint, check=False)
        try:
            _, log = mounted.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            run("fusermount3", "-uz", mounted.mountpoint, check=False)
            mounted.process.kill()
            _, log = mounted.process.communicate()
            raise
        assert "Traceback" not in log, log


@pytest.fixture(params=CAPABILITIES, ids=lambda words: words or "android")
def mounted(request: pytest.FixtureRequest, mount_phone: Callable[..., Mount]) -> Mount:
    """A mount of each kind of phone."""
    return mount_phone(request.param)


@pytest.fixture
def android(mount_phone: Callable[..., Mount]) -> Mount:
    """A mount of a phone with everything."""
    return mount_phone()
