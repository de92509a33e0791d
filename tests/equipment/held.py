"""The command `mtpfs`, with a virtual phone that obeys words: `python -m equipment.held CLOCK SOCKET WORDS...`.

A mount's phone is inside the mount's own process, so nobody else can pull its cable. Users have no need to, and the
package no socket for it. This launcher runs the command itself, and puts a `ControlSocket` on the phone that it opens.

CLOCK is `jumping`, so that a timeout takes no time, or `real`: then a phone that is late keeps programs waiting.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from equipment.control import ControlSocket
from mtpfs.cli.main import main as mtpfs
from mtpfs.virtual import transport
from mtpfs.virtual.transport import VirtualTransport, open_virtual


def main(clock: str, path: Path, words: list[str]) -> int:
    """Run `mtpfs WORDS...`; return its exit status. The socket is gone when it ends."""
    sleeper = {"jumping": None, "real": time.sleep}[clock]
    with ExitStack() as sockets:

        def open_held(argument: str) -> VirtualTransport:
            phone = open_virtual(argument, sleeper=sleeper)
            sockets.callback(ControlSocket(path, phone).close)
            return phone

        sockets.enter_context(patch.object(transport, "open_virtual", open_held))
        return mtpfs(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
