"""`mtpfs mkdir`: directories on the phone."""

from __future__ import annotations

import errno
import os

from mtpfs.cli.files import FileParser, Run, run_with_phone
from mtpfs.cli.paths import place_for


def run(words: list[str]) -> int:
    """Run `mtpfs mkdir`; return its exit status. Raises `SetupError`."""
    parser = FileParser("mkdir", "[-p] [--json] [--source SOURCE] PATH...", "Make directories on the phone.")
    parser.add_paths("paths", "+")
    parser.add_argument(
        "-p", "--parents", action="store_true", help="those above it, too; one that is there is no failure"
    )
    return run_with_phone("mkdir", parser.parse(words), _make)


def _make(run: Run) -> None:
    parents = run.chosen.parents
    for word in run.chosen.paths:
        with run.going_on():
            path, there = place_for(run.phone, word)
            if there is not None and not (parents and there.is_dir):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            run.phone.mkdir(path, parents=parents, exist_ok=parents)
            if run.chosen.json:
                run.say_json({"path": path, "status": "done"})
