"""The command `mtpfs`, with a virtual phone that obeys words: `python -m equipment.held SOCKET WORDS...`.

A mount's phone is inside the mount's own process, so nobody else can pull its cable. Users have no need to, and the
package no socket for it. This launcher runs the command itself, and puts a `ControlSocket` on the phone that it opens.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from equipment.control import ControlSocket
from mtpfs.cli.main import main as mtpfs
from mtpfs.virtual import transport
from mtpfs.virtual.transport import VirtualTransport, open_virtual


def main(path: Path, words: list[str]) -> int:
    """Run `mtpfs WORDS...`; return its exit status. The socket is gone when it ends."""
    with ExitStack() as sockets:

        def open_held(argument: str) -> VirtualTransport:
            phone = open_virtual(argument)
            sockets.callback(ControlSocket(path, phone).close)
            return phone

        sockets.enter_context(patch.object(transport, "open_virtual", open_held))
        return mtpfs(words)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
