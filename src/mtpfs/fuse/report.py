"""What a mount tells of itself, as files that no listing shows.

The names can be looked up in the mount's root and read. But programs that copy or search the mount don't come across
them. Every open takes a snapshot. An extended attribute would be the obvious place. But a mount that answers getxattr
at all is asked for ACLs at every stat of `ls -l`, and for capabilities at every write(2). A mount that answers none is
never asked again.

Invariant: reading the statistics sends nothing to the device.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

from mtpfs.device.description import describe
from mtpfs.settings import INFO_NAME, STATISTICS_NAME
from mtpfs.vfs import Filesystem

_FIRST = 1 << 63
INODES = {STATISTICS_NAME.encode(): _FIRST, INFO_NAME.encode(): _FIRST + 1}
"""Above the numbers of nodes, which end at 2**63 - 1 (`mtpfs.vfs.numbers`)."""

log = logging.getLogger("mtpfs.statistics")
log.setLevel(logging.INFO)  # it is only said when asked for (SIGUSR1), and then at any level


def statistics(fs: Filesystem) -> dict[str, Any]:
    """Return what the device, its session and the caches have done, as plain values.

    `storage` is the one that is the root, by its name; "": the root holds all of them.
    """
    only = fs.tree.root.storage
    return {
        "device": fs.device.name,
        "storage": (only.description or only.volume) if only is not None else "",
        "transport": fs.device.session.transport_name,
        "session": dataclasses.asdict(fs.device.session.statistics()),
        "cache": dataclasses.asdict(fs.statistics()),
    }


class Report:
    """The open snapshots of the files, by file handle."""

    def __init__(self, fs: Filesystem, process: dict[str, int | str]) -> None:
        self._fs = fs
        self._process = process
        self._open: dict[int, bytes] = {}

    def __contains__(self, handle: int) -> bool:
        return handle in self._open

    async def open(self, ino: int) -> int:
        """Take a snapshot of the file with this inode number; return its handle."""
        if ino == _FIRST:
            content = statistics(self._fs) | {"process": self._process}
        else:
            content = dataclasses.asdict(await describe(self._fs.device))
        handle = _FIRST
        while handle in self._open:
            handle += 1
        self._open[handle] = json.dumps(content, indent=2).encode() + b"\n"
        return handle

    def read(self, handle: int, offset: int, count: int) -> bytes:
        return self._open[handle][offset : offset + count]

    def release(self, handle: int) -> None:
        del self._open[handle]

    def say(self) -> None:
        """Log the statistics, in one line."""
        log.info("%s", json.dumps(statistics(self._fs)))
