"""What is told after a mount has left the kernel, while its process still sends what the phone hasn't got.

fusermount3, umount(8) and file managers return at once. A user who wants to pull the cable has to know when that
process has ended, and what became of the files. Before it unmounts, `mtpfs umount` asks the mount for its process, and
for the number of a file descriptor there. That is a file in memory. A line of JSON is appended to it each second, and
a last one with the outcome. So nothing is written to a disk, and nothing has to be cleared away. A process that was
killed has not written the last line.

A user who unmounts in a file manager gets a notification of the desktop, if there was anything to send. A program of
the desktop sends it. That program isn't waited for: the end of a mount must not depend on it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import html
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import trio

from mtpfs.settings import UNMOUNT_REPORT
from mtpfs.vfs import Filesystem
from mtpfs.vfs.outcome import Outcome

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two lines


class UnmountReport:
    """The file in memory. `process` is what another process needs to read it."""

    def __init__(self) -> None:
        self._file = os.memfd_create(UNMOUNT_REPORT)

    @property
    def process(self) -> dict[str, int | str]:
        return {"pid": os.getpid(), "unmount_report": self._file}

    async def follow(self, fs: Filesystem) -> None:
        """Tell each second how many files are left, and how many bytes were sent. Ends when cancelled."""
        before = fs.device.session.statistics().bytes_out
        while True:
            self._tell({"left": fs.unsaved, "sent": fs.device.session.statistics().bytes_out - before})
            await trio.sleep(INTERVAL)

    def conclude(self, fs: Filesystem) -> None:
        """Tell how it ended: to `mtpfs umount`, or, if that doesn't wait, to the desktop."""
        self._tell({"device": fs.device.name} | dataclasses.asdict(fs.outcome))
        if (fs.outcome.arrived or fs.outcome.unsent) and not self._is_awaited():
            notify_desktop(*_in_words(fs.device.name, fs.outcome))

    def _tell(self, facts: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(facts).encode() + b"\n")

    def _is_awaited(self) -> bool:
        """Tell whether a reader has the file locked: that is how it shows that it is still there."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        os.close(self._file)


def notify_desktop(summary: str, body: str) -> None:
    """Show a notification, where there is a desktop and a program for it. Waits for nothing, and never fails."""
    bus = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS") and not os.path.exists(bus / "bus"):  # noqa: PTH110 - never fails
        return
    command = _notify_send(summary, body) or _gdbus(summary, body)
    if not command:
        return
    null = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        *((os.POSIX_SPAWN_DUP2, 0, to) for to in (1, 2)),
    )
    try:
        os.posix_spawn(
            command[0],
            command,
            {**os.environ, "XDG_RUNTIME_DIR": str(bus)},
            file_actions=null,
            setsid=True,
            setsigmask=(),
        )
    except (OSError, ValueError) as error:
        log.info("the desktop can't be told: %s", error)


def _notify_send(summary: str, body: str) -> list[str]:
    program = shutil.which("notify-send")
    if program is None:
        return []
    return [program, "--app-name=mtpfs", "--icon=phone", "--", summary, html.escape(body, quote=False)]


def _gdbus(summary: str, body: str) -> list[str]:
    program = shutil.which("gdbus")
    if program is None:
        return []
    name, path = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
    # Texts as GVariant reads them; JSON writes them so.
    texts = [json.dumps(text, ensure_ascii=False) for text in (summary, html.escape(body, quote=False))]
    call = ["call", "--session", "--timeout=5", f"--dest={name}", f"--object-path={path}"]
    return [program, *call, f"--method={name}.Notify", '"mtpfs"', "uint32 0", '"phone"', *texts, *_DEFAULTS]


_DEFAULTS = ("@as []", "@a{sv} {}", "int32 -1")
"""No buttons, no hints, and shown for as long as the desktop likes."""


def _in_words(device: str, outcome: Outcome) -> tuple[str, str]:
    """Return summary and body of the notification."""
    if not outcome.unsent:
        return (
            f"{device} can be disconnected",
            f"Files that arrived after it was unmounted: {len(outcome.arrived)}.",
        )
    kept = [str(Path(each.kept).parent) for each in outcome.unsent if each.kept]
    where = f" What was kept is below {os.path.commonpath(kept)}." if kept else ""
    return f"Not everything is on {device}", f"Files that could not be sent: {len(outcome.unsent)}.{where}"
