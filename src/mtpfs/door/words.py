"""What a mount and its owner's commands agree on: where the socket is, who may use it, what a line looks like.

A request is one line of JSON, and so is its answer; then the next one may follow. Names that aren't UTF-8 are in it as
Python has them (lone surrogates, escaped). A line has a limit on each side, so neither can have the other keep more.

    {"do": "thumbnail", "path": P}               {"data": BASE64}
    {"do": "copy", "source": P, "target": P}     {}
    any of them                                  {"error": {"errno": N, "text": T}}

A path is the mount's, and begins with its root: `/Internal shared storage/DCIM/a.jpg`.

The socket lies where only its owner can get to: in a directory of mode 0700 below XDG_RUNTIME_DIR, or below
`/run/user/UID` where that isn't set. It has mode 0600, and either side asks the kernel who the other one is. Root's
mounts have none: who is root needs none, and nobody else may use it.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Protocol

REQUEST_LIMIT = 64 << 10
"""Bytes of a request: two paths, each character of which may take six."""
ANSWER_LIMIT = 8 << 20
"""Bytes of an answer: a thumbnail of 4 MiB takes a third more."""
LONGEST_PLACE = 100
"""Bytes of a socket's path, a little less than the kernel takes."""
_CREDENTIALS = struct.Struct("3i")


def runtime_directory() -> Path | None:
    """Return the directory that is this user's alone; None for root, and where there is none."""
    user = os.geteuid()
    if not user:
        return None
    for place in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}"):
        directory = Path(place or "-")
        try:
            status = directory.stat()
        except OSError:
            continue
        is_private = status.st_uid == user and not status.st_mode & 0o077
        if directory.is_absolute() and stat.S_ISDIR(status.st_mode) and is_private:
            return directory
    return None


class Connection(Protocol):
    """A socket, or trio's stream over one."""

    def getsockopt(self, level: int, option: int, buffersize: int, /) -> bytes: ...


def is_own(connection: Connection) -> bool:
    """Tell whether the other side is a process of this user's."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(data)
    return bool(user == os.geteuid())


def encoded(facts: dict[str, Any]) -> bytes:
    """Return a line."""
    return json.dumps(facts).encode("ascii") + b"\n"


def decoded(line: bytes) -> dict[str, Any]:
    """Return what a line says. Raises `ValueError` or `TypeError` if it is none."""
    try:
        facts = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is too deep") from error
    if not isinstance(facts, dict):
        raise TypeError("it isn't an object")
    return facts
