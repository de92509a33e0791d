"""mtpfs in a process of its own, without a new interpreter.

Strategy: the process is forked from the tests', which has all modules already: to import them takes an
emulated machine three seconds, and there are some eighty starts. Nothing else of the tests comes along: descriptors are
closed, log handlers and warning filters are as in a new process. The tests that are about the command itself
(mount(8), udev, daemons) start it in earnest.

Invariant: the child never returns into the tests' code.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

import mtpfs.cli.doctor
import mtpfs.cli.info
import mtpfs.cli.list
import mtpfs.mount
import mtpfs.transport.usb  # noqa: F401 - these are what takes long
from mtpfs.cli.main import main


class Program:
    """A running `mtpfs WORDS...`, to be used as a `subprocess.Popen`."""

    def __init__(self, *words: str | Path, spool: Path | None = None) -> None:
        self.returncode: int | None = None
        self._words = [str(word) for word in words]
        self._spool = spool
        self._written = [os.memfd_create(name) for name in ("stdout", "stderr")]
        self.pid = os.fork()
        if not self.pid:
            self._become_mtpfs()

    def _become_mtpfs(self) -> NoReturn:
        status = 70
        try:
            gc.freeze()  # or what the tests have left would one day close descriptors that are others by then
            logging.getLogger().handlers.clear()
            warnings.resetwarnings()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor, file in enumerate(self._written, 1):
                os.dup2(file, descriptor)
            os.closerange(3, 1 << 16)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            Path("/proc/self/comm").write_text("mtpfs")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self._spool is not None:
                os.environ["TMPDIR"] = str(self._spool)
            status = main(self._words)
            sys.stdout.flush()
            sys.stderr.flush()
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else 1
        except BaseException:  # noqa: BLE001 - as the interpreter itself does
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def poll(self) -> int | None:
        """Return the status if it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end; return the status."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(self._words, timeout)
            time.sleep(0.05)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it where it stands."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """Wait for the end; return what it wrote to standard output and standard error."""
        self.wait(timeout)
        output, errors = (os.pread(file, os.fstat(file).st_size, 0).decode() for file in self._written)
        return output, errors

    def __del__(self) -> None:
        for file in self._written:
            os.close(file)


def mtpfs_says(*words: str | Path) -> tuple[int, str, str]:
    """Run `mtpfs WORDS...` to its end; return status, standard output and standard error."""
    program = Program(*words)
    output, errors = program.communicate(300)
    assert program.returncode is not None
    return program.returncode, output, errors
