"""Going into the background once the mount is usable, and saying so in the foreground.

The fork comes before anything is loaded that doesn't survive it (libusb starts
a thread). The parent waits at a pipe. A byte means "ready", and the parent exits 0.
The end of the pipe means that the child has failed and has said why on the caller's
stderr. Then the parent exits with its status. No timeout is needed, because
every step of the child has one.

Signals that ask for an end are blocked until they can be answered: by the mount once
trio runs, and by the parent, which hands them on. A terminal's Ctrl-C doesn't reach a
child with a session of its own.

Invariant: a program that waits for the command gets its status and keeps no
descriptor of a running mount open. If the command was interrupted, nothing is mounted.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from mtpfs import redaction
from mtpfs.cli.command import printable
from mtpfs.errors import InterruptedSetupError, MachineError, SetupError
from mtpfs.settings import END_SIGNALS

log = logging.getLogger(__name__)

Call = Callable[[], None]
Run = Callable[[Call, Call], int]
"""(ready, stopping) → exit status: mounts, calls the one when that is done and the other when it ends."""

INTERNAL = 4  # exit status of a bug, after mount(8)
LOG_SOCKET = Path("/dev/log")
_SYSTEMD_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class _Formatter(redaction.Formatter):
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


def in_foreground(run: Run) -> int:
    """Run it here; tell systemd when it is ready and when it stops."""
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    return run(lambda: notify_systemd("READY=1"), lambda: notify_systemd("STOPPING=1"))


def in_background(run: Run) -> int:
    """Run it in a child; return 0 once it is ready, its status if it never is.

    Raises `MachineError` if there can be no child, `InterruptedSetupError` if
    a signal came first, `SetupError` if the child was killed.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        reader, writer = os.pipe()
        child = os.fork()
    except OSError as error:
        raise MachineError(f"no process can be started for the mount: {error.strerror}") from error
    if child == 0:
        os.close(reader)
        _run_child(run, writer)
    os.close(writer)
    interrupted = False

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        os.kill(child, signal.SIGTERM)

    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    with os.fdopen(reader, "rb") as pipe:
        usable = bool(pipe.read(1))
    if usable and not interrupted:
        return 0
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)  # `child` may be another process from now on
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise SetupError(f"the program was killed by {name} before the mount was usable")
    if interrupted and status == 0:  # it was usable for a moment
        raise InterruptedSetupError
    return os.waitstatus_to_exitcode(status) or INTERNAL


def notify_systemd(message: str) -> None:
    """Send a line to the service manager, if there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.sendto(message.encode(), address)
    except OSError as error:  # no reason to unmount
        log.warning("the service manager can't be told %s: %s", message, error)


def _run_child(run: Run, writer: int) -> None:
    status = INTERNAL
    try:
        os.setsid()
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # what the caller's terminal does is nothing to us
        status = run(lambda: _detach(writer), lambda: None)
    except BaseException:
        logging.getLogger(__name__).critical("internal error", exc_info=True)
    finally:
        logging.shutdown()
        os._exit(status)  # the parent's atexit handlers are not ours to run


def _detach(writer: int) -> None:
    """Let go of the caller: its directory, its terminal, its pipes."""
    if chosen := os.environ.get("TMPDIR"):
        os.environ["TMPDIR"] = os.path.abspath(chosen)  # noqa: PTH100 - as it was meant where this was called
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
