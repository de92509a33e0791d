"""`mtpfs umount`: unmount, and wait until the phone has everything.

The kernel lets a mount go before the program behind it has sent what was still unsent, so the end of fusermount3 says
nothing about the cable. That program is asked first who it is (`mtpfs.unmount`), and watched until it has ended.

The wait is finite: it ends with the program, or when that has sent nothing for some time. Ctrl-C ends the wait only,
because the program has a session of its own. The exit status is 0 exactly if nothing is missing on the phone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtpfs.cli.command import Parser, add_redact, printable
from mtpfs.cli.mounts import is_dead, real_path, report
from mtpfs.errors import MachineError, SetupError
from mtpfs.redaction import hide_name, redact
from mtpfs.settings import STATISTICS_NAME, UNMOUNT_REPORT

STALLED = 120.0  # seconds without anything being sent, after which waiting is no use
PASSING = 2.0  # seconds for which a mount may be busy without a program that stays in it
INTERVAL = 1.0  # seconds between two looks
SHOWN = 20  # files that are named, at most
INTERRUPTED = 130  # exit status


def run(words: list[str]) -> int:
    """Run `mtpfs umount`; return 0 if everything is on the phone, else 1. Raises `SetupError`."""
    parser = Parser(
        prog="mtpfs umount",
        usage="mtpfs umount MOUNTPOINT [--redact]",
        description="Unmount, wait until everything is on the phone, and tell what isn't.",
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    add_redact(parser)
    mountpoint = parser.parse(words).mountpoint
    if is_dead(mountpoint):
        unmount(mountpoint)
        raise SetupError(
            f"{mountpoint} is unmounted; but its program had died before. What it had not sent yet is lost"
        )
    with watched(mountpoint) as program:
        unmount(mountpoint)
        try:
            try:
                program.wait()
            finally:
                if sys.stderr.isatty():
                    print("\x1b[K", end="", file=sys.stderr, flush=True)  # the progress
        except KeyboardInterrupt:
            _say(f"{mountpoint} is unmounted, but its program (pid {program.pid}) goes on sending")
            return INTERRUPTED
        return _tell(mountpoint, program.told())


@dataclass(frozen=True, slots=True)
class Program:
    """The process behind a mount."""

    pid: int
    process: int
    """A descriptor of it, which is readable when it has ended (pidfd_open(2))."""
    report: int
    """A descriptor of the file in its memory to which it tells its end."""

    def wait(self) -> None:
        """Wait for its end, and show how far it is. Raises `SetupError` if it sends nothing for long."""
        poll = select.poll()
        poll.register(self.process, select.POLLIN)
        latest: dict[str, Any] = {}
        since = time.monotonic()
        while not poll.poll(INTERVAL * 1000):
            told = self.told()
            if told != latest:
                _show_progress(told, latest)
                latest, since = told, time.monotonic()
            elif time.monotonic() - since > STALLED:
                raise SetupError(
                    f"it is unmounted, but its program (pid {self.pid}) has sent nothing for {STALLED:.0f} s, "
                    "and hasn't ended"
                )

    def told(self) -> dict[str, Any]:
        """Return the last line that it has told; nothing if there is none yet."""
        size = os.fstat(self.report).st_size
        lines = os.pread(self.report, size, 0).splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        found: dict[str, Any] = json.loads(whole[-1]) if whole else {}
        return found


@contextlib.contextmanager
def watched(mountpoint: str) -> Iterator[Program]:
    """Watch the program behind a mount. Raises `SetupError` where there is none that can be watched."""
    told = report(mountpoint, STATISTICS_NAME).get("process", {})
    with contextlib.ExitStack() as stack:
        try:
            pid = int(told["pid"])
            process = os.pidfd_open(pid)
            stack.callback(os.close, process)
            place = f"/proc/{pid}/fd/{int(told['unmount_report'])}"
            if not os.readlink(place).startswith(f"/memfd:{UNMOUNT_REPORT} "):  # noqa: PTH115 - no path
                raise ProcessLookupError
            report_file = os.open(place, os.O_RDONLY)
            stack.callback(os.close, report_file)
            fcntl.flock(report_file, fcntl.LOCK_SH)  # so it knows that this waits
        except PermissionError as error:
            raise SetupError(f"{mountpoint}: another user has mounted this, and has to unmount it") from error
        except (OSError, KeyError, ValueError) as error:
            raise SetupError(
                f"{mountpoint}: its program can't be watched from here; "
                f"`{' '.join(_command(mountpoint))}` unmounts without waiting"
            ) from error
        yield Program(pid, process, report_file)


def _command(mountpoint: str) -> list[str]:
    return ["umount", mountpoint] if os.geteuid() == 0 else ["fusermount3", "-u", mountpoint]


def unmount(mountpoint: str) -> None:
    """Unmount, and don't wait. Raises `SetupError`."""
    real = real_path(mountpoint)
    command = _command(real)
    deadline = time.monotonic() + PASSING
    seen: set[str] = set()
    while True:
        try:
            result = subprocess.run(
                command, check=False, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
            )
        except FileNotFoundError as error:
            raise MachineError(f"{command[0]} isn't installed") from error
        if result.returncode == 0:
            return
        said = result.stderr.strip()
        if "busy" not in said.lower():
            break
        # What only looks at it (df, or the mount's own child) has it for a moment.
        users = _users(real)
        staying = [user for user in users if user in seen]
        if staying or time.monotonic() > deadline:
            raise SetupError(
                f"{mountpoint} is in use by {', '.join(staying) or 'a program'}: close what is open there, "
                "or leave the directory, and try again"
            )
        seen.update(users)
        time.sleep(PASSING / 10)
    lines = [line.removeprefix(f"{command[0]}: ") for line in said.splitlines()]
    raise SetupError(f"{mountpoint} can't be unmounted: {'; '.join(lines) or f'status {result.returncode}'}")


def _users(directory: str) -> list[str]:
    """Return the processes that have something below a directory open, or are in it, as far as we may see."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue  # we may be there ourselves: `mtpfs umount .`
        try:
            name = (process / "comm").read_text().strip()
            links = [process / "cwd", *(process / "fd").iterdir()]
            targets = [os.readlink(link) for link in links]  # noqa: PTH115 - not followed
        except OSError:
            continue  # it ended, or belongs to another user
        if any(target == directory or target.startswith(f"{directory}/") for target in targets):
            found.append(f"{name} (pid {process.name})")
    return found


def _show_progress(told: dict[str, Any], before: dict[str, Any]) -> None:
    """Say how far the program is: on a terminal each second, elsewhere when a file is done."""
    if not told.get("left"):
        return
    text = f"mtpfs: {_counted(told['left'])} still to be sent ({told['sent'] >> 20} MiB so far); don't disconnect yet"
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="\r", file=sys.stderr, flush=True)
    elif told["left"] != before.get("left"):
        _write(text)


def _tell(mountpoint: str, told: dict[str, Any]) -> int:
    """Print the outcome; return the exit status. Raises `SetupError` if there is none."""
    if "unsent" not in told:
        raise SetupError(
            f"{mountpoint} is unmounted; but its program ended without telling whether everything has arrived. "
            "Its log may tell more"
        )
    for path in (*told["arrived"], *(each[key] for each in told["unsent"] for key in ("path", "kept"))):
        for name in path.split("/"):
            hide_name(name)
    for path in told["arrived"][:SHOWN]:
        _print(f"arrived: {path}")
    if len(told["arrived"]) > SHOWN:
        _print(f"arrived: and {len(told['arrived']) - SHOWN} more")
    for each in told["unsent"]:
        where = f"kept as {each['kept']}" if each["kept"] else "not kept"
        _say(f"not on the phone: {each['path']}, {where} ({each['reason']})")
    if told["unsent"]:
        _say(f"{mountpoint} is unmounted; {_counted(len(told['unsent']))} could not be sent")
        return 1
    _print(f"{mountpoint} is unmounted, and {told['device']} can be disconnected.")
    return 0


def _print(text: str) -> None:
    print(printable(redact(text)), flush=True)


def _say(text: str) -> None:
    _write(f"mtpfs: {printable(redact(text))}")


def _write(line: str) -> None:
    # In one piece: Ctrl-C may come in between, and has a line of its own.
    print(f"{line}\n", end="", file=sys.stderr, flush=True)


def _counted(files: int) -> str:
    return f"{files} file{'s' * (files != 1)}"
