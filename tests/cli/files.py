"""The file commands on a virtual phone, over the cable or through a mount."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mount.conftest import MTPFS

STORAGE = "/Internal shared storage"

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


@dataclass
class Commands:
    """A phone's directory, one for this machine's files, and how commands are called."""

    phone: Path
    here: Path
    source: str
    faults: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", _FAULTY, *self.faults, "--"] if self.faults else MTPFS

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MTPFS_SOURCE": self.source, "TZ": "UTC"}

    def run(
        self, *words: str | Path, status: int = 0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, which has to end with a status; its output as text."""
        result = subprocess.run(
            [*self.command, *map(str, words)],
            check=False,
            capture_output=True,
            input=stdin,
            timeout=60,
            cwd=self.here,
            env=self.environment,
        )
        out, err = result.stdout.decode("utf-8", "surrogateescape"), result.stderr.decode()
        assert result.returncode == status, err
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(result.args, result.returncode, out, err)

    def lines(self, *words: str | Path, **how: Any) -> list[str]:
        """Return the lines that a command prints. It says nothing else."""
        result = self.run(*words, **how)
        assert result.stderr == ""
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


def local_file(path: Path, data: bytes, date: float = 1_500_000_000) -> Path:
    """Make a file with a date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (date, date))
    return path
