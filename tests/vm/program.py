"""mtpfs in a process of its own, without a new interpreter.

Strategy: the process is forked from the tests', which has all modules already: to import them takes an
emulated machine three seconds, and there are some eighty starts. Nothing else of the tests comes along: descriptors are
closed, log handlers and warning filters are as in a new process. The tests that are about the command itself
(mount(8), udev, daemons) start it in earnest.

Invariant: the child never returns into the tests' code.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

import mtpfs.cli.devices
import mtpfs.cli.doctor
import mtpfs.cli.info
import mtpfs.fuse.mount
import mtpfs.transport.usb  # noqa: F401 - these are what takes long
from mtpfs.cli.main import main


class Program:
    """A running `mtpfs WORDS...`, to be used as a `subprocess.Popen`."""

    def __init__(self, *words: str | Path, spool: Path | None = None) -> None:
        self.words = [str(word) for word in words]
        self.returncode: int | None = None
        self._spool = spool
        self._files = [tempfile.TemporaryFile() for _ in ("stdout", "stderr")]  # noqa: SIM115 - for the process's life
        self.pid = os.fork()
        if not self.pid:
            self._become_mtpfs()

    def _become_mtpfs(self) -> NoReturn:
        status = 70
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor, file in enumerate(self._files, 1):
                os.dup2(file.fileno(), descriptor)
            os.closerange(3, 1 << 16)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            logging.getLogger().handlers.clear()
            warnings.resetwarnings()
            Path("/proc/self/comm").write_text("mtpfs")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self._spool is not None:
                os.environ["TMPDIR"] = str(self._spool)
            status = main(self.words)
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
                raise subprocess.TimeoutExpired(self.words, timeout)
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
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1]


def mtpfs_says(*words: str | Path) -> tuple[int, str, str]:
    """Run `mtpfs WORDS...` to its end; return status, standard output and standard error."""
    program = Program(*words)
    output, errors = program.communicate(300)
    assert program.returncode is not None
    return program.returncode, output, errors
