"""Commands that break off at a chosen step, each in a process of its own: killed, unplugged, refused, out of room.

A server has everything loaded, and forks for each command. The child's virtual phone counts what is written to it. At
the chosen write the child is killed, or the cable is cut; or the phone fails the chosen command; or the disk here is
full from the chosen write on. The phone itself lives on for long enough to notice, as a phone does.
"""

from __future__ import annotations

import atexit
import errno
import functools
import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mtpfs.cli.main
import mtpfs.library.local
import mtpfs.sync
import mtpfs.virtual.transport
from mtpfs.transport import Buffer
from mtpfs.virtual.capabilities import parse_virtual
from mtpfs.virtual.faults import Fault, FaultScript, parse_fault
from mtpfs.virtual.responder import Responder
from mtpfs.virtual.transport import VirtualTransport
from vfs.severed import Severed

KILLED = 137


@dataclass(frozen=True)
class Break:
    """What goes wrong, and when; -1: never."""

    killed: int = -1
    """The process is killed at this write to the phone."""
    unplugged: int = -1
    part: int = 0
    """Bytes of that write which are through by then."""
    fault: str = ""
    full: int = -1
    """The disk here takes only half of this write, and nothing any more."""


@dataclass
class Ended:
    """How a command ended, and what it did."""

    status: int
    lines: list[dict[str, Any]]
    error: str
    writes: list[int] = field(default_factory=list)
    """Bytes of each write to the phone."""
    commands: int = 0
    local: int = 0
    """Writes to this machine's disk."""
    struck: int = 0
    """Faults that came true."""

    def done(self) -> set[str]:
        """Return the files that were moved."""
        return {
            line["target"]
            for line in self.lines
            if line["status"] == "done" and line.get("action", "copy") in {"copy", "replace"}
        }


class _Counting(FaultScript):
    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.commands = 0

    def take(self, operation: int) -> Fault | None:
        self.commands += 1
        return super().take(operation)


class _Phone(Severed):
    """Counts from the start, and may kill its process."""

    def __init__(self, responder: Responder, plan: Break) -> None:
        super().__init__(responder)
        self.watching = True
        self._kills = plan.killed >= 0
        self.plan(max(plan.killed, plan.unplugged), plan.part)

    def write(self, data: Buffer, timeout: float) -> int:
        if self._kills and len(self.sizes) == self._last:
            if self._part:
                VirtualTransport.write(self, memoryview(data).cast("B")[: self._part], timeout)
            self._responder.close()
            os._exit(KILLED)
        return super().write(data, timeout)


class _Disk:
    """This machine's disk, which may be full: `os`, as the module that receives files has it."""

    def __init__(self, full: int) -> None:
        self._full = full
        self._write = os.pwrite
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        number, self.writes = self.writes, self.writes + 1
        if self._full >= 0 and number >= self._full:
            if number == self._full and (half := memoryview(data).nbytes // 2):
                return self._write(descriptor, memoryview(data)[:half], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(descriptor, data, offset)


def _child(request: dict[str, Any]) -> None:
    os.chdir(request["directory"])
    os.environ.update(request["environment"])
    time.tzset()
    for number, name in enumerate(request["files"], 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    plan = Break(**request["plan"])
    faults, disk, cables = _Counting(*([parse_fault(plan.fault)] if plan.fault else [])), _Disk(plan.full), []

    def opened(argument: str) -> VirtualTransport:
        directories, capabilities = parse_virtual(argument)
        cables.append(_Phone(Responder(directories, capabilities, faults=faults), plan))
        return cables[-1]

    with (
        patch.object(mtpfs.virtual.transport, "open_virtual", opened),
        patch.object(mtpfs.library.local, "os", disk),
    ):
        try:
            status = mtpfs.cli.main.main(request["words"])
        except BaseException:  # noqa: BLE001 - it is what the test is told
            traceback.print_exc()
            status = 1
    for cable in cables:
        cable.responder.close()
    facts = {
        "writes": [size for cable in cables for size in cable.sizes],
        "commands": faults.commands,
        "local": disk.writes,
        "struck": len(faults.struck),
    }
    Path(request["facts"]).write_text(json.dumps(facts))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def serve() -> None:
    """Fork for each request on the standard input."""
    for line in sys.stdin:
        if not (child := os.fork()):
            try:
                _child(json.loads(line))
            except BaseException:  # noqa: BLE001 - a child must not go on as a server
                traceback.print_exc()
            os._exit(99)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


class Server:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from cli.breaking import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.runs: Counter[str] = Counter()

    def run(
        self, words: list[str], directory: Path, environment: dict[str, str], scratch: Path, plan: Break
    ) -> Ended:
        """Run a command of mtpfs with `--json`."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        out, err, facts = (scratch / name for name in ("out", "err", "facts"))
        facts.write_text("{}")
        request = {
            "words": [*words, "--json"],
            "directory": str(directory),
            "environment": environment,
            "files": [str(out), str(err)],
            "facts": str(facts),
            "plan": asdict(plan),
        }
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], 100)
        if not ready:
            server.cache_clear()  # the next one has a server of its own
            raise AssertionError(f"{words} takes too long with {plan}")
        status = int(process.stdout.readline())
        self.runs[words[0]] += 1
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        ended = Ended(status, lines, err.read_text())
        assert "Traceback" not in ended.error, ended.error
        return replace(ended, **json.loads(facts.read_text()))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@functools.cache
def server() -> Server:
    """Return the one of this process."""
    found = Server()
    atexit.register(found.close)
    return found
