"""Going into the background once the mount is usable, and saying so in the foreground.

Strategy: fork before anything that doesn't survive it is loaded (libusb starts
a thread). The parent waits at a pipe: a byte means "ready" and it exits 0; the
end of the pipe means that the child has failed, has said why on the caller's
stderr, and the parent exits with its status. No timeout is needed, because
every step of the child has one.

Invariant: whoever waits for the command gets its status and keeps no
descriptor of a running mount open.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import socket
from collections.abc import Callable
from pathlib import Path

from mtpfs.cli.output import printable

INTERNAL = 4  # exit status of a bug, after mount(8)
LOG_SOCKET = Path("/dev/log")
_SYSTEMD_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class _Formatter(logging.Formatter):
    """One line a message, whatever names are in it; tracebacks keep theirs."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)


class _PriorityFormatter(_Formatter):
    """`<4>mtpfs: text`, as the journal wants it on stderr."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_SYSTEMD_PRIORITIES.get(record.levelno, 6)}>{super().format(record)}"


def log_to_stderr(*, debug: bool) -> None:
    """Log to stderr: warnings, or everything with `debug`."""
    handler = logging.StreamHandler()
    formatter = _PriorityFormatter if _stderr_is_journal() else _Formatter
    handler.setFormatter(formatter("mtpfs: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if debug else logging.WARNING, force=True)


def in_foreground(run: Callable[[Callable[[], None]], int]) -> int:
    """Run `run(ready)` here; tell systemd when it is ready and when it stops."""
    status = run(lambda: notify_systemd("READY=1"))
    notify_systemd("STOPPING=1")
    return status


def in_background(run: Callable[[Callable[[], None]], int]) -> int:
    """Run `run(ready)` in a child; return 0 once it is ready, its status if it never is."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_child(run, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if pipe.read(1):
            return 0
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or 1


def notify_systemd(message: str) -> None:
    """Send a line to the service manager, if there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.sendto(message.encode(), address)


def _run_child(run: Callable[[Callable[[], None]], int], writer: int) -> None:
    status = INTERNAL
    try:
        os.setsid()
        status = run(lambda: _detach(writer))
    except BaseException:
        logging.getLogger(__name__).critical("internal error", exc_info=True)
    finally:
        logging.shutdown()
        os._exit(status)  # the parent's atexit handlers are not ours to run


def _detach(writer: int) -> None:
    """Let go of the caller: its directory, its terminal, its pipes."""
    os.chdir("/")
    if LOG_SOCKET.exists():
        handler = logging.handlers.SysLogHandler(str(LOG_SOCKET), logging.handlers.SysLogHandler.LOG_DAEMON)
        handler.setFormatter(_Formatter(f"mtpfs[{os.getpid()}]: %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.getLogger().level, force=True)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.write(writer, b"1")
    os.close(writer)


def _stderr_is_journal() -> bool:
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
