"""Real mounts of the virtual phone, each by the real command in a process of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from equipment.conversation import Say
from equipment.programs import environment, held, on_network
from mtpfs.cli.mounts import is_mounted
from phones import DIFFERENT, name

PATIENCE = 20.0  # seconds
MTPFS = [sys.executable, "-m", "mtpfs"]
HAS_FUSE = Path("/dev/fuse").exists() and shutil.which("fusermount3") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip real mounts where this machine has no FUSE."""
    if HAS_FUSE:
        return
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason="no /dev/fuse or no fusermount3"))


def run(
    *words: str | Path, check: bool = True, cwd: Path | None = None, patience: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which a hanging mount would never let come: `patience` seconds at most."""
    return subprocess.run(
        [str(word) for word in words],
        check=check,
        capture_output=True,
        text=True,
        timeout=patience,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Look again and again until the condition holds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} didn't happen"
        time.sleep(0.02)


def contents(path: Path) -> bytes | None:
    """Return what is in a file; None while it can't be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


@dataclass
class Mount:
    """A mounted virtual phone: `root` on the mount is `phone` on this machine's disk."""

    mountpoint: Path
    root: Path
    phone: Path
    words: str
    process: subprocess.Popen[bytes]
    log: Path
    """What the program writes to standard error: a file, because nobody reads a pipe while the tests run."""

    def unmount(self) -> str:
        """Unmount in order; return what the program logged."""
        wait_until(lambda: unmounted(self.mountpoint), "the unmount")
        return self.ended()

    def ended(self) -> str:
        """Wait for the program's end, in order; return what it logged."""
        status = self.process.wait(PATIENCE)
        log = self.log.read_text()
        assert status == 0, log
        return log


@contextmanager
def virtual_mount(
    base: Path,
    mountpoint: Path,
    words: str = "",
    *options: str,
    control: Path | None = None,
    clock: str = "jumping",
) -> Iterator[Mount]:
    """Mount a virtual phone with capability words and options; unmount it at the end if nobody has.

    With `control`, the phone obeys words on a socket. `clock` is that of such a phone (see `equipment.held`).
    """
    command = MTPFS if control is None else held(control, clock=clock)
    source = f"virtual:{base}?{words}" if words else f"virtual:{base}"
    with running([*command, source, str(mountpoint), "-f", *options], base, mountpoint, words) as mounted:
        yield mounted


@contextmanager
def camera_in_network(phone: str) -> Iterator[tuple[int, Say]]:
    """Have a virtual phone (`DIR?words`) reached by PTP/IP: its port, and how to say words to it.

    It is a process of its own. A program that reads mapped memory can't do anything else until that has come.
    """
    with subprocess.Popen(
        on_network(phone), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        tell, answers = process.stdin, process.stdout

        def say(line: str) -> str:
            print(line, file=tell, flush=True)
            return answers.readline().removesuffix("\n")

        try:
            yield int(answers.readline()), say
        finally:
            process.terminate()


@contextmanager
def network_mount(
    base: Path, mountpoint: Path, words: str = "", *options: str
) -> Iterator[tuple[Mount, Say]]:
    """Mount a virtual phone over TCP. It obeys words."""
    with camera_in_network(f"{base}?{words}") as (port, say):
        command = [*MTPFS, f"ip:127.0.0.1:{port}", str(mountpoint), "-f", *options]
        with running(command, base, mountpoint, words) as mounted:
            yield mounted, say


_FAULTY = """
import sys
import trio
from mtpfs.mount import serve
from mtpfs.settings import Settings
from mtpfs.virtual.faults import FaultScript, parse_fault
from mtpfs.virtual.transport import open_virtual

phone, mountpoint, *faults = sys.argv[1:]
script = FaultScript(*map(parse_fault, faults))
trio.run(serve, lambda: open_virtual(phone, faults=script), mountpoint, Settings(), lambda: None, lambda: None)
"""


@contextmanager
def served(base: Path, mountpoint: Path, *faults: str, words: str = "") -> Iterator[Mount]:
    """Mount a virtual phone that fails as `parse_fault` understands."""
    source = f"{base}?{words}" if words else str(base)
    with running(
        [sys.executable, "-c", _FAULTY, source, str(mountpoint), *faults], base, mountpoint, words
    ) as mounted:
        yield mounted


def unmounted(mountpoint: Path) -> bool:
    """Unmount, unless that is done; tell whether it is.

    Commands of other tests look into all mounts, and the mount's own child tells watchers: each has it for a moment.
    """
    return not run("fusermount3", "-u", mountpoint, check=False).returncode or not is_mounted(str(mountpoint))


@contextmanager
def running(command: list[str], base: Path, mountpoint: Path, words: str) -> Iterator[Mount]:
    """Run a command that mounts; unmount at the end if nobody has."""
    log = mountpoint.with_name(f"{mountpoint.name}.log")
    with log.open("w") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=file, env=environment())
    try:
        wait_until(lambda: os.path.ismount(mountpoint) or process.poll() is not None, "the mount")
        assert process.poll() is None, log.read_text()
        storage = min(mountpoint.iterdir())
        phone = base / storage.name if "storages" in words else base
        yield Mount(mountpoint, storage, phone, words, process, log)
    finally:
        if is_mounted(str(mountpoint)):
            wait_until(lambda: unmounted(mountpoint), "the unmount")
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            run("fusermount3", "-uz", mountpoint, check=False)
            process.kill()
            process.wait()
            raise
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def mount_phone(tmp_path: Path) -> Iterator[Callable[..., Mount]]:
    """Mount a virtual phone with capability words and options; everything is unmounted at the end.

    With `control`, the phone obeys words on a socket of that name beside its mountpoint.
    """
    with ExitStack() as mounts:
        numbers = itertools.count()

        def mount(words: str = "", *options: str, control: str = "", clock: str = "jumping") -> Mount:
            number = next(numbers)
            base, mountpoint = tmp_path / f"phone{number}", tmp_path / f"mount{number}"
            base.mkdir()
            mountpoint.mkdir()
            socket = tmp_path / control if control else None
            return mounts.enter_context(
                virtual_mount(base, mountpoint, words, *options, control=socket, clock=clock)
            )

        yield mount


@pytest.fixture(params=DIFFERENT, ids=name)
def mounted(request: pytest.FixtureRequest, mount_phone: Callable[..., Mount]) -> Mount:
    """A mount of a phone, of several kinds."""
    return mount_phone(request.param)


@pytest.fixture
def android(mount_phone: Callable[..., Mount]) -> Mount:
    """A mount of a phone with everything."""
    return mount_phone()
