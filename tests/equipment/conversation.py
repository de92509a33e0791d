"""The other end of a phone's control socket: a test says a line, and hears when it is done."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 20  # seconds
Say = Callable[[str], str]


@contextmanager
def conversation(path: Path) -> Iterator[Say]:
    """Say a line, hear the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fspath(path))
        with connection.makefile("rw", encoding="utf-8") as stream:

            def say(line: str) -> str:
                print(line, file=stream, flush=True)
                return stream.readline().removesuffix("\n")

            yield say
