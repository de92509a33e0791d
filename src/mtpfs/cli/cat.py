"""`mtpfs cat`: contents of files on the phone, to the standard output."""

from __future__ import annotations

import errno
import os
import sys

from mtpfs.cli.files import FileParser, Run, run_with_phone, to_output
from mtpfs.cli.paths import find

PIECE = 1 << 20  # bytes


def run(words: list[str]) -> int:
    """Run `mtpfs cat`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "cat", "[--source SOURCE] PATH...", "Write files of the phone to the standard output.", has_json=False
    )
    parser.add_paths("paths", "+")
    return run_with_phone("cat", parser.parse(words), _write)


def _write(run: Run) -> None:
    for word in run.chosen.paths:
        with run.going_on():
            for entry in find(run.phone, word):
                if entry.is_dir:
                    run.fail(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), entry.path))
                else:
                    write_out(run, entry.path)


def write_out(run: Run, path: str) -> None:
    """Write a file to the standard output. Raises `OSError`."""
    with run.phone.open(path) as file:
        while data := file.read(PIECE):
            with to_output():
                sys.stdout.buffer.write(data)
    with to_output():
        sys.stdout.buffer.flush()
