"""The file commands on a virtual phone, over the cable or through a mount."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mount.conftest import HAS_FUSE, MTPFS, Mount, running

STORAGE = "/Internal shared storage"
SLOW = ("late GetPartialObject64 times=0 amount=300",)
"""A phone that takes 0.3 s for each part of a file."""

_FAULTY = """
import sys
from unittest.mock import patch
from mtpfs.cli.main import main
from mtpfs.virtual import transport
from mtpfs.virtual.faults import FaultScript, parse_fault

at = sys.argv.index("--")
faults, words = sys.argv[1:at], sys.argv[at + 1:]
real = transport.open_virtual
with patch.object(transport, "open_virtual", lambda argument: real(argument, faults=FaultScript(*map(parse_fault, faults)))):
    sys.exit(main(words))
"""


_FORKING = """
import json, os, sys, time, traceback
import mtpfs.cli.main, mtpfs.sync, mtpfs.virtual.transport
for line in sys.stdin:
    request = json.loads(line)
    if not (child := os.fork()):
        os.chdir(request["directory"])
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        for number, (name, flags) in enumerate(request["files"]):
            os.dup2(os.open(name, flags), number)
        try:
            status = mtpfs.cli.main.main(request["words"])
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forker:
    """A process with everything loaded, that forks for each command: ten times as fast as an interpreter for each."""

    def __init__(self, before: str = "") -> None:
        """`before`: code that is run first of all."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", before + _FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, words: list[str], directory: Path, environment: dict[str, str], stdin: bytes) -> Any:
        """Run a command; return what `subprocess.run` would."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with tempfile.TemporaryDirectory() as place:
            names = [f"{place}/{number}" for number in range(3)]
            Path(names[0]).write_bytes(stdin)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            request = {
                "words": words,
                "directory": str(directory),
                "environment": environment,
                "files": list(zip(names, (os.O_RDONLY, flags, flags), strict=True)),
            }
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 60)
            assert ready, f"{words} takes too long"
            status = int(process.stdout.readline())
            out, err = (Path(name).read_bytes() for name in names[1:])
        return subprocess.CompletedProcess(words, status, out, err)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@functools.cache
def forker() -> Forker:
    """Return the one of this process."""
    found = Forker()
    atexit.register(found.close)
    return found


@dataclass
class Commands:
    """A phone's directory, one for this machine's files, and how commands are called."""

    phone: Path
    here: Path
    source: str
    faults: tuple[str, ...] = ()
    """What the phone does wrong when a command reaches it over the cable (see `parse_fault`)."""

    @property
    def command(self) -> list[str]:
        return with_faults(self.faults) if self.faults else MTPFS

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MTPFS_SOURCE": self.source, "TZ": "UTC"}

    def run(
        self, *words: str | Path, status: int = 0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, which has to end with a status; its output as text."""
        if self.faults:
            result = subprocess.run(
                [*self.command, *map(str, words)],
                check=False,
                capture_output=True,
                input=stdin,
                timeout=60,
                cwd=self.here,
                env=self.environment,
            )
        else:
            result = forker().run([*map(str, words)], self.here, self.environment, stdin)
        out, err = result.stdout.decode("utf-8", "surrogateescape"), result.stderr.decode()
        assert result.returncode == status, err
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(result.args, result.returncode, out, err)

    def lines(self, *words: str | Path, **how: Any) -> list[str]:
        """Return the lines that a command prints. It says nothing else."""
        result = self.run(*words, **how)
        assert result.stderr == "", result.stderr
        return result.stdout.splitlines()

    def objects(self, *words: str | Path, **how: Any) -> list[dict[str, Any]]:
        """Return what a command prints with `--json`."""
        return [json.loads(line) for line in self.run(*words, "--json", **how).stdout.splitlines()]

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a command."""
        return subprocess.Popen(
            [*self.command, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.here,
            env=self.environment,
        )


def with_faults(faults: tuple[str, ...]) -> list[str]:
    """Return the command `mtpfs` for which virtual phones have faults (see `parse_fault`)."""
    return [sys.executable, "-c", _FAULTY, *faults, "--"]


def local_file(path: Path, data: bytes, date: float = 1_500_000_000) -> Path:
    """Make a file with a date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (date, date))
    return path


@contextmanager
def reached(
    way: str, commands: Commands, mountpoint: Path, faults: tuple[str, ...] = ()
) -> Iterator[Mount | None]:
    """Have the phone reached over the `cable`, or, for another word, behind a mount, which is yielded."""
    if way == "cable":
        commands.faults = faults
        yield None
        return
    if not HAS_FUSE:
        pytest.skip("no FUSE")
    mountpoint.mkdir()
    source = f"virtual:{commands.phone}?ghost=0"
    command = with_faults(faults) if faults else MTPFS
    with running([*command, source, str(mountpoint), "-f"], commands.phone, mountpoint, "ghost=0") as mounted:
        yield mounted
