"""kill -9 of a mount that is at work: the next mount shows old or new contents, whole, and nothing else.

When it strikes isn't in the tests' hands to the byte (tests/vfs/test_every_step.py does that), but it is a real
process, with a real kernel above it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mount.conftest import PATIENCE, Mount, run, virtual_mount, wait_until
from mtpfs.vfs.temporaries import parse

OLD, NEW = b"old" * 1_000_000, b"newer" * 8_000_000


def kill(mounted: Mount) -> None:
    """Kill the mount, and clear what the kernel still has of it."""
    mounted.process.kill()
    mounted.process.wait(PATIENCE)
    run("fusermount3", "-uz", mounted.mountpoint)


def places(tmp_path: Path) -> tuple[Path, Path]:
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    return phone, mountpoint


def temporaries(phone: Path) -> list[Path]:
    return [path for path in phone.iterdir() if parse(path.name) is not None]


@pytest.mark.parametrize("words", ["", "no-edit"])
@pytest.mark.parametrize("arrived", [0, 1, 20_000_000])
def test_killed_while_replacing(tmp_path: Path, words: str, arrived: int) -> None:
    """A program that was replacing a file hears of it, and the old file is still there, alone."""
    phone, mountpoint = places(tmp_path)
    (phone / "f").write_bytes(OLD)
    (tmp_path / "source").write_bytes(NEW)
    with virtual_mount(phone, mountpoint, words) as mounted:
        copying = subprocess.Popen(
            ["cp", tmp_path / "source", mounted.root / "f"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        wait_until(
            lambda: (
                any(path.stat().st_size >= arrived for path in temporaries(phone))
                or copying.poll() is not None
            ),
            "the beginning of the upload",
        )
        kill(mounted)
        copying.communicate(timeout=PATIENCE)
    with virtual_mount(phone, mountpoint, words) as mounted:
        found = (mounted.root / "f").read_bytes()
        assert found in ({NEW} if copying.returncode == 0 else {OLD, NEW})
        assert os.listdir(mounted.root) == ["f"]
    assert os.listdir(phone) == ["f"]


_MAPPING = """
import mmap, sys
with open(sys.argv[1], "w+b") as file:
    file.truncate(40_000_000)
    with mmap.mmap(file.fileno(), 0) as memory:
        memory[:] = b"m" * len(memory)
        print(flush=True)
        sys.stdin.read()
"""


def test_killed_while_the_kernel_hands_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the mount at its end, for what was written into mapped files, isn't the mount: that could never end."""
    sync = tmp_path / "bin/sync"
    sync.parent.mkdir()
    sync.write_text(
        f'#!/bin/sh\nkill -STOP $PPID\nexec {shutil.which("sync")} "$@"\n'
    )  # so that nothing is answered
    sync.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sync.parent}:{os.environ['PATH']}")
    with virtual_mount(*places(tmp_path)) as mounted:
        program = subprocess.Popen(
            [sys.executable, "-c", _MAPPING, str(mounted.root / "f")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert program.stdout is not None
        assert program.stdout.readline()
        mounted.process.send_signal(signal.SIGTERM)
        wait_until(lambda: state(mounted.process.pid) == "T", "the end of the mount")
        wait_until(lambda: "request_wait_answer" in waits(mounted.process.pid), "the question")
        kill(mounted)
        program.communicate(timeout=PATIENCE)


def state(process: int) -> str:
    """Return the letter that the kernel has for it: T is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def waits(process: int) -> set[str]:
    """Return where in the kernel its children wait."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return {Path(f"/proc/{child}/wchan").read_text() for child in children}


def test_killed_while_saving_again_and_again(tmp_path: Path) -> None:
    """Whenever the mount dies under an editor that saves by renaming, one version is there, whole."""
    phone, mountpoint = places(tmp_path)
    versions = [bytes([number]) * (1000 + number) for number in range(256)]
    (phone / "f").write_bytes(versions[0])
    saved = 0
    for round_ in range(8):
        with virtual_mount(phone, mountpoint) as mounted:
            timer = threading.Timer(0.05 + 0.037 * round_, kill, (mounted,))
            timer.start()
            try:
                while True:
                    (mounted.root / "draft").write_bytes(versions[(saved + 1) % 256])
                    (mounted.root / "draft").rename(mounted.root / "f")
                    saved += 1
            except OSError:
                timer.join(PATIENCE)
        with virtual_mount(phone, mountpoint) as mounted:
            found = (mounted.root / "f").read_bytes()
            assert found in {versions[saved % 256], versions[(saved + 1) % 256]}
            names = set(os.listdir(mounted.root))
            assert names <= {"f", "draft"}
            assert set(os.listdir(phone)) == names
            saved = versions.index(found)
            if "draft" in names:
                (mounted.root / "draft").unlink()
    assert saved, "nothing was ever saved"


def test_killed_while_a_deleted_file_is_open(tmp_path: Path) -> None:
    """What was deleted stays deleted, and takes no room."""
    phone, mountpoint = places(tmp_path)
    (phone / "f").write_bytes(OLD)
    with virtual_mount(phone, mountpoint) as mounted:
        file = os.open(mounted.root / "f", os.O_RDONLY)
        (mounted.root / "f").unlink()
        assert len(temporaries(phone)) == 1
        kill(mounted)
        with pytest.raises(OSError, match="not connected"):
            os.pread(file, 100_000, 2_000_000)
        with contextlib.suppress(OSError):
            os.close(file)
    with virtual_mount(phone, mountpoint) as mounted:
        assert os.listdir(mounted.root) == []
    assert os.listdir(phone) == []


def test_killed_before_an_fsync_returns(tmp_path: Path) -> None:
    """What fsync said is saved is there after a kill, and what it said is only said when it is."""
    phone, mountpoint = places(tmp_path)
    program = """
import os, sys
for number in range(100000):
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(file, b"%06d" % number * 1000)
    os.fsync(file)
    os.close(file)
    print(number, flush=True)
"""
    with virtual_mount(phone, mountpoint) as mounted:
        writing = subprocess.Popen(
            [sys.executable, "-c", program, mounted.root / "f"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert writing.stdout is not None
        for _ in range(20):
            writing.stdout.readline()
        kill(mounted)
        rest, _ = writing.communicate(timeout=PATIENCE)
        last = int(rest.split()[-1]) if rest.split() else 19
    with virtual_mount(phone, mountpoint) as mounted:
        assert (mounted.root / "f").read_bytes() in {b"%06d" % number * 1000 for number in (last, last + 1)}
    assert os.listdir(phone) == ["f"]
