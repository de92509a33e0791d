"""Programs that are interrupted in the middle: they end, what they had written is saved, and others don't notice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from equipment.conversation import conversation
from mount.conftest import PATIENCE, Mount, run, wait_until

SIZE = 20 << 20  # bytes: several of the device's transfers, and of the kernel's reads
LATE = 1500  # milliseconds for which the device keeps a program waiting: enough to send a signal meanwhile

interruptions = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])


def start(*words: str | Path, output: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=file, stderr=subprocess.DEVNULL
        )


@interruptions
@pytest.mark.parametrize("size", [0, 1, SIZE + 1])
def test_interrupted_copy(android: Mount, number: signal.Signals, size: int) -> None:
    """What a copy has written when it is interrupted is on the phone, no more and no less; the next one is whole."""
    data = os.urandom(size)
    copy = android.root / "copy"
    with start("cp", "/dev/stdin", copy) as program:
        assert program.stdin is not None
        program.stdin.write(data)
        program.stdin.flush()
        wait_until(lambda: copy.exists() and copy.stat().st_size == size, "the copy")
        program.send_signal(number)  # it waits for more
        assert program.wait(PATIENCE) == -number
    if not size:  # nothing was written: it is sent when the kernel lets it go, which no program waits for
        wait_until((android.phone / "copy").exists, "the empty file")
    assert (android.phone / "copy").read_bytes() == data
    assert copy.read_bytes() == data
    with start("cp", "/dev/stdin", copy) as program:
        program.communicate(b"whole", PATIENCE)
        assert program.returncode == 0
    assert (android.phone / "copy").read_bytes() == b"whole"


@interruptions
def test_interrupted_close(mount_phone: Callable[..., Mount], tmp_path: Path, number: signal.Signals) -> None:
    """A copy that is interrupted while its file is on the way to the phone ends, and the file arrives whole."""
    mounted = mount_phone(control="control", clock="real")
    (tmp_path / "source").write_bytes(os.urandom(SIZE))
    with conversation(tmp_path / "control") as say:
        assert say(f"late SendObject amount={LATE}").startswith("done")
        with start("cp", tmp_path / "source", mounted.root / "copy") as program:
            assert say("struck").startswith("done")
            program.send_signal(number)
            assert program.wait(PATIENCE) == -number
    run("cmp", tmp_path / "source", mounted.root / "copy")
    run("cmp", tmp_path / "source", mounted.phone / "copy")


def test_interrupted_reader(mount_phone: Callable[..., Mount], tmp_path: Path) -> None:
    """A reader that is interrupted while the phone keeps it waiting ends; another one gets everything."""
    mounted = mount_phone(control="control", clock="real")
    (mounted.phone / "large").write_bytes(os.urandom(SIZE))
    with conversation(tmp_path / "control") as say:
        assert say(f"late GetPartialObject64 amount={LATE}").startswith("done")
        programs = [start("cat", mounted.root / "large", output=tmp_path / name) for name in "abc"]
        assert say("struck").startswith("done")
        programs[0].send_signal(signal.SIGINT)
        programs[1].kill()
        assert [program.wait(PATIENCE) for program in programs] == [-signal.SIGINT, -signal.SIGKILL, 0]
    for program in programs:
        assert program.stdin is not None
        program.stdin.close()
    run("cmp", mounted.phone / "large", tmp_path / "c")
    assert (tmp_path / "a").stat().st_size < SIZE
