"""Programs that are interrupted in the middle: the phone stays usable, and nobody waits for long."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mount.conftest import PATIENCE, Mount, run

SIZE = 120 << 20  # bytes: enough that a copy isn't over at once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_copy(android: Mount, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C on cp, at any moment: it ends, what it says is true, and the next copy arrives whole."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    for delay in (0.01, 0.1, 0.4):
        copy = android.root / f"copy {delay}"
        program = subprocess.Popen(["cp", source, copy], stderr=subprocess.DEVNULL)
        time.sleep(delay)  # not for anything to happen: it is this moment that is tested
        program.send_signal(number)
        status = program.wait(PATIENCE)
        begun = time.monotonic()
        (android.root / "check").write_bytes(b"%f" % delay)
        assert (android.phone / "check").read_bytes() == b"%f" % delay
        assert time.monotonic() - begun < PATIENCE
        if status == 0:
            assert (android.phone / copy.name).read_bytes() == source.read_bytes()
        if copy.exists():
            assert copy.stat().st_size == (android.phone / copy.name).stat().st_size
            copy.unlink()
    run("cp", source, android.root / "whole")
    run("cmp", source, android.phone / "whole")


def test_interrupted_reader(android: Mount, tmp_path: Path) -> None:
    """So it is while reading; other readers don't notice."""
    (android.phone / "large").write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    for _ in range(3):
        programs = [
            subprocess.Popen(["cat", android.root / "large"], stdout=subprocess.DEVNULL) for _ in range(3)
        ]
        programs[0].send_signal(signal.SIGINT)
        programs[1].kill()
        assert programs[0].wait(PATIENCE) in {0, -signal.SIGINT}
        assert programs[1].wait(PATIENCE) in {0, -signal.SIGKILL}
        assert programs[2].wait(PATIENCE) == 0
    run("cmp", android.phone / "large", android.root / "large")
