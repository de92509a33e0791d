"""Mounts virtual phones, one after the other, each in a process of its own: `python -m equipment.rounds`.

Strategy: everything is imported once, and each mount is a fork of that, so hundreds of mounts take seconds. A line on
standard input, `PHONE MOUNTPOINT LOG` as JSON, mounts; the first answer is the process, the second, when it has ended,
its wait status.

The phones look for changes in their directories all the time, and watchers are told four times as often: most of what
a mount does then is to handle events.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from functools import partial

import trio

from mtpfs.fuse import echo
from mtpfs.mount import serve
from mtpfs.settings import Settings
from mtpfs.virtual import transport

log = logging.getLogger(__name__)

POLL_INTERVAL = 0.002  # seconds
GATHERED = 0.05  # seconds; without a rest in between, fusermount3 would find the mount busy all the time


def main() -> None:
    """Serve the lines, until there are no more."""
    transport.POLL_INTERVAL = POLL_INTERVAL
    echo.GATHERED = GATHERED
    for line in sys.stdin:
        phone, mountpoint, log_file = json.loads(line)
        child = os.fork()
        if child == 0:
            _mount(phone, mountpoint, log_file)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


def _mount(phone: str, mountpoint: str, log_file: str) -> None:
    status = 1
    try:
        os.dup2(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        logging.basicConfig(level=logging.WARNING)
        trio.run(
            serve, partial(transport.open_virtual, phone), mountpoint, Settings(), lambda: None, lambda: None
        )
        status = 0
    except BaseException:
        log.critical("the mount has failed", exc_info=True)
    finally:
        os._exit(status)  # the end of the input is for the one that forks


if __name__ == "__main__":
    main()
